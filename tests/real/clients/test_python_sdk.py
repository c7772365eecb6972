"""The Python SDK's client, in both eras, over both transports."""

import asyncio

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from clients.conftest import DENIED

pytestmark = pytest.mark.anyio
MODES = {"legacy": "2025-11-25", "2026-07-28": "2026-07-28", "auto": "2026-07-28"}
TRANSPORTS = ["http", "stdio"]


@pytest.fixture(params=TRANSPORTS)
def transport(request):
    """HTTP or pipes."""
    return request.param


@pytest.fixture(params=["legacy", "2026-07-28"])
def mode(request):
    """The older or the newer era."""
    return request.param


@pytest.mark.parametrize("mode", MODES)
async def test_both_sides_agree_on_an_era(route, transport, mode):
    """A gateway that hid one era would change what is negotiated."""
    async with route.client(transport, mode) as client:
        assert client.protocol_version == MODES[mode]


async def test_tools_resources_prompts_and_completions_answer(route, transport, mode):
    """One of each."""
    async with route.client(transport, mode) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert listed["json_schema_2020_12_tool"].input_schema["$defs"]["address"]["$anchor"] == "addressDef"
        called = await client.call_tool("test_simple_text", {})
        assert called.content[0].text == "This is a simple text response for testing."
        read = await client.read_resource("test://template/7/data")
        assert '"id": "7"' in read.contents[0].text
        got = await client.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "ü"})
        assert got.messages[0].content.text == "Prompt with arguments: arg1='a', arg2='ü'"
        reference = types.PromptReference(type="ref/prompt", name="test_prompt_with_arguments")
        completed = await client.complete(reference, {"name": "arg1", "value": "par"})
        assert completed.completion.values == ["paris", "park", "party"]


async def test_a_failing_tool_fails_in_its_own_words(route, transport, mode):
    """A tool's failure is a result, not an error of the protocol."""
    async with route.client(transport, mode) as client:
        result = await client.call_tool("test_error_handling", {})
        assert result.is_error
        assert result.content[0].text == "This tool intentionally returns an error for testing"


async def test_progress_arrives_while_a_tool_runs(route, transport, mode):
    """Notifications keep their order and are not held back to the end."""
    seen = []

    async def note(progress, total, message):
        seen.append((progress, total))

    async with route.client(transport, mode) as client:
        await client.call_tool("test_tool_with_progress", {}, progress_callback=note)
    assert seen == [(0, 100), (50, 100), (100, 100)]


async def test_a_server_may_ask_the_user(route, transport, mode):
    """The older era asks over the back channel, the newer one inside the result."""
    asked = []

    async def answer(context, params):
        asked.append(params.message)
        return types.ElicitResult(action="accept", content={"name": "Ada", "username": "ada", "email": "a@example.com"})

    async with route.client(transport, mode, elicitation_callback=answer) as client:
        if mode == "legacy":
            result = await client.call_tool("test_elicitation", {"message": "Who?"})
            assert asked == ["Who?"] and '"ada"' in result.content[0].text
        else:
            result = await client.call_tool("test_input_required_result_elicitation", {})
            assert asked == ["What is your name?"] and result.content[0].text == "Hello, Ada!"


async def test_a_server_may_ask_the_model(route, transport, mode):
    """Sampling, in the way of each era."""

    async def answer(context, params):
        return types.CreateMessageResult(
            role="assistant", content=types.TextContent(type="text", text="Paris"), model="scripted"
        )

    async with route.client(transport, mode, sampling_callback=answer) as client:
        name, arguments = ("test_sampling", {"prompt": "Capital?"}) if mode == "legacy" else (
            "test_input_required_result_sampling", {})
        result = await client.call_tool(name, arguments)
        assert result.content[0].text.endswith("Paris")


async def test_several_rounds_carry_the_servers_own_state(route, transport):
    """The state of one round comes back unchanged in the next."""
    answers = iter([{"name": "Ada"}, {"color": "green"}])

    async def answer(context, params):
        return types.ElicitResult(action="accept", content=next(answers))

    async with route.client(transport, "2026-07-28", elicitation_callback=answer) as client:
        result = await client.call_tool("test_input_required_result_multi_round", {})
        assert result.content[0].text == "Ada likes green."


async def test_calls_at_the_same_time_do_not_mix(route, transport, mode):
    """Twenty calls, twenty answers, each its own."""
    async with route.client(transport, mode) as client:
        regions = [f"region-{number}" for number in range(20)]
        calls = [client.call_tool("test_mirrored_argument", {"region": region}) for region in regions]
        results = await asyncio.gather(*calls)
        assert [result.content[0].text for result in results] == [f"region={region}" for region in regions]


async def test_a_binary_resource_arrives_whole(route, transport, mode):
    """Base64 is passed on as it is."""
    async with route.client(transport, mode) as client:
        read = await client.read_resource("test://static-binary")
        assert read.contents[0].blob.startswith("iVBORw0KGgo") and read.contents[0].mime_type == "image/png"


async def test_a_tool_that_is_not_permitted_is_not_listed_and_not_called(cordon_route, direct_route, transport, mode):
    """The denial says what, by which rule, what would make it possible, and where it is recorded."""
    async with direct_route.client(transport, mode) as client:
        assert DENIED in {tool.name for tool in (await client.list_tools()).tools}
    async with cordon_route.client(transport, mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert DENIED not in names and "test_audio_content" in names
        with pytest.raises(MCPError) as denied:
            await client.call_tool(DENIED, {})
        words = str(denied.value)
        assert f"fixture/{DENIED}" in words and "cordon:no-permit" in words, words
        assert "entry" in words.lower() and "permit" in words.lower(), words
        # The connection goes on.
        assert not (await client.call_tool("test_audio_content", {})).is_error
