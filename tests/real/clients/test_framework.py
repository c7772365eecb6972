"""An agent of pydantic-ai with a scripted model."""

import httpx2
import pytest
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel

from clients.conftest import DENIED

pytestmark = pytest.mark.anyio


def scripted(tool: str, arguments: dict):
    """A model that calls one tool and then repeats what came back; it also notes what it was offered."""
    offered: list[str] = []

    def model(messages, info):
        offered[:] = [each.name for each in info.function_tools]
        returned = [part for part in messages[-1].parts if isinstance(part, ToolReturnPart)]
        if returned:
            return ModelResponse(parts=[TextPart(f"It said: {returned[0].content}")])
        return ModelResponse(parts=[ToolCallPart(tool, arguments)])

    return FunctionModel(model), offered


async def test_an_agent_calls_a_tool_and_reads_its_answer(route):
    """The whole loop: list, choose, call, read."""
    model, offered = scripted("test_mirrored_argument", {"region": "south"})
    async with httpx2.AsyncClient(headers=route.headers) as http:
        agent = Agent(model, toolsets=[MCPToolset(route.url, http_client=http)])
        async with agent:
            done = await agent.run("Where?")
    assert done.output == "It said: region=south"
    assert "test_simple_text" in offered


async def test_an_agent_is_not_offered_what_it_may_not_call(cordon_route):
    """A model does not see the tool, so it is not tempted."""
    model, offered = scripted("test_simple_text", {})
    async with httpx2.AsyncClient(headers=cordon_route.headers) as http:
        agent = Agent(model, toolsets=[MCPToolset(cordon_route.url, http_client=http)])
        async with agent:
            await agent.run("Go")
    assert "test_simple_text" in offered and DENIED not in offered
