"""Real servers behind `cordon mcp`: what is listed, allowed, denied, held and then approved."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError

import policy
from harness import Project
from servers.cases import CASES

pytestmark = pytest.mark.anyio


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    """A fresh server with something in it."""
    return CASES[request.param](tmp_path)


def project(case, root, hold_s: int) -> Project:
    """A project whose policy has the case's three answers."""
    forbidden = policy.forbid(case.name, case.denied.tool, case.forbidden_when) if case.forbidden_when else ""
    source = policy.write(root / "source", case.name, [case.allowed.tool], [case.held.tool], forbidden)
    return Project(root / "project", source, hold_s=hold_s)


@asynccontextmanager
async def connected(command: list[str], environment: dict | None = None, mode: str = "legacy", **options):
    """A client of a stdio server."""
    program, *arguments = command
    server = StdioServerParameters(command=program, args=arguments, env=environment)
    async with Client(stdio_client(server), mode=mode, **options) as client:
        yield client


def words(result) -> str:
    """All text of a result."""
    return "\n".join(part.text for part in result.content if part.type == "text")


async def refused(client, call) -> str:
    """The words with which a call is refused."""
    with pytest.raises(MCPError) as error:
        await client.call_tool(call.tool, call.arguments)
    return str(error.value)


async def until(found, seconds: float = 20):
    """Waits until a function returns something."""
    for _ in range(int(seconds * 10)):
        if value := found():
            return value
        await asyncio.sleep(0.1)
    raise AssertionError("it did not happen in time")


async def test_directly_every_call_runs(case):
    """Without Cordon nothing stops any of the three: the tests below test Cordon."""
    async with connected(case.command) as client:
        for call in (case.allowed, case.held, case.denied):
            result = await client.call_tool(call.tool, call.arguments)
            assert not result.is_error and call.answers in words(result), words(result)
    assert case.effect is None or case.effect()
    assert case.harm is None or case.harm()


async def test_every_era_the_server_speaks_goes_through(needs_cordon, case, tmp_path):
    """Neither era is lost, none is invented."""
    door = project(case, tmp_path, hold_s=1)
    for era in case.eras:
        async with connected(door.wrapped(case.name, case.command), door.environment, era) as client:
            result = await client.call_tool(case.allowed.tool, case.allowed.arguments)
            assert case.allowed.answers in words(result)
    async with connected(case.command, mode="auto") as client:
        directly = client.protocol_version
    async with connected(door.wrapped(case.name, case.command), door.environment, "auto") as client:
        assert client.protocol_version == directly


async def test_what_may_be_called_is_listed_and_runs(needs_cordon, case, tmp_path):
    """The list is what the policy leaves of the server's own."""
    async with connected(case.command) as client:
        all_tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    door = project(case, tmp_path, hold_s=1)
    async with connected(door.wrapped(case.name, case.command), door.environment) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(listed) == {case.allowed.tool, case.held.tool} & set(all_tools)
        for name, tool in listed.items():
            assert tool == all_tools[name], "a tool that is listed is listed unchanged"
        result = await client.call_tool(case.allowed.tool, case.allowed.arguments)
        assert not result.is_error and case.allowed.answers in words(result)


async def test_a_denied_call_leaves_nothing_behind(needs_cordon, case, tmp_path):
    """It is refused with the rule, and what it would have done has not happened."""
    door = project(case, tmp_path, hold_s=1)
    async with connected(door.wrapped(case.name, case.command), door.environment) as client:
        said = await refused(client, case.denied)
        assert f"{case.name}/{case.denied.tool}" in said, said
        assert ("forbidden" if case.forbidden_when else "cordon:no-permit") in said, said
        result = await client.call_tool(case.allowed.tool, case.allowed.arguments)
        assert not result.is_error, "the connection goes on"
    assert case.harm is None or not case.harm()


async def test_a_held_call_runs_once_it_is_approved(needs_cordon, case, tmp_path):
    """The call waits, a person grants it, and the same call goes on by itself."""
    door = project(case, tmp_path, hold_s=60)
    async with connected(door.wrapped(case.name, case.command), door.environment) as client:
        waiting = asyncio.ensure_future(client.call_tool(case.held.tool, case.held.arguments))
        pending = await until(lambda: waiting.done() or door.pending())
        assert not waiting.done(), "it ran, or was refused, before anybody was asked"
        assert len(pending) == 1 and (case.effect is None or not case.effect())
        await asyncio.to_thread(door.grant, pending[0]["id"])
        result = await asyncio.wait_for(waiting, 30)
        assert not result.is_error and case.held.answers in words(result)
    assert case.effect is None or case.effect()


async def test_a_grant_that_comes_late_is_spent_by_the_identical_call_only(needs_cordon, case, tmp_path):
    """The held call is answered with its approval's id; the grant binds exactly that call, once."""
    door = project(case, tmp_path, hold_s=1)
    async with connected(door.wrapped(case.name, case.command), door.environment) as client:
        said = await refused(client, case.held)
        [pending] = door.pending()
        assert pending["id"] in said, said
        await asyncio.to_thread(door.grant, pending["id"])
        # The nearest neighbour: one more argument makes it another call.
        other = type(case.held)(case.held.tool, {**case.held.arguments, "another": 1})
        assert pending["id"] not in await refused(client, other)
        assert case.effect is None or not case.effect()
        result = await client.call_tool(case.held.tool, case.held.arguments)
        assert not result.is_error and case.held.answers in words(result)
        assert pending["id"] not in await refused(client, case.held), "a spent grant is not spent again"


async def test_the_record_of_it_all_verifies(needs_cordon, case, tmp_path):
    """Afterwards the ledger holds, without any server."""
    door = project(case, tmp_path, hold_s=1)
    async with connected(door.wrapped(case.name, case.command), door.environment) as client:
        await client.call_tool(case.allowed.tool, case.allowed.arguments)
        await refused(client, case.denied)
    door.run("ledger", "verify")
    shown = door.run("--format", "json", "ledger", "show")
    assert f"{case.name}/{case.allowed.tool}" in shown and f"{case.name}/{case.denied.tool}" in shown


async def test_the_environment_is_not_handed_on(needs_cordon, tmp_path):
    """A secret in the agent's environment does not reach the server behind the door."""
    case = CASES["everything"](tmp_path)
    source = policy.write(tmp_path / "source", case.name, [case.denied.tool])
    door = Project(tmp_path / "project", source, hold_s=1)
    secret = {"CANARY_TOKEN": "canary-value"}
    async with connected(case.command, secret) as client:
        assert "canary-value" in words(await client.call_tool(case.denied.tool, {}))
    environment = {**door.environment, **secret}
    async with connected(door.wrapped(case.name, case.command), environment) as client:
        said = words(await client.call_tool(case.denied.tool, {}))
        assert "PATH" in said and "canary-value" not in said
