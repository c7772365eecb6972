"""The fixture, reached directly and through Cordon, over HTTP and over pipes."""

from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

import policy
from fixture.tools import TOOLS
from harness import FIXTURE_STDIO, HERE, Project, fixture_server

# The one tool that the policy does not permit.
DENIED = "test_image_content"


@dataclass(frozen=True)
class Route:
    """How a client reaches the fixture."""

    url: str
    command: list[str]
    environment: dict[str, str]
    token: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What an HTTP client has to send along."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    @asynccontextmanager
    async def client(self, transport: str, mode: str, **options):
        """A connected client of the Python SDK."""
        if transport == "stdio":
            program, *arguments = self.command
            server = StdioServerParameters(command=program, args=arguments, env=self.environment, cwd=HERE)
            async with Client(stdio_client(server), mode=mode, **options) as client:
                yield client
            return
        async with httpx2.AsyncClient(headers=self.headers, timeout=60) as http:
            async with Client(streamable_http_client(self.url, http_client=http), mode=mode, **options) as client:
                yield client


@pytest.fixture(scope="session")
def direct_route(tmp_path_factory):
    """The fixture itself."""
    with fixture_server(tmp_path_factory.mktemp("clients-direct")) as url:
        yield Route(url, FIXTURE_STDIO, {"PYTHONPATH": str(HERE)})


@pytest.fixture(scope="session")
def cordon_route(needs_cordon, tmp_path_factory):
    """The fixture behind Cordon: one project for HTTP, one for pipes, each owned by one process."""
    root = tmp_path_factory.mktemp("clients-through")
    allowed = [name for name in TOOLS if name != DENIED]
    source = policy.write(root / "source", "fixture", allowed)
    with fixture_server(root) as url:
        served = Project(root / "http", source, [{"name": "fixture", "url": url}])
        piped = Project(root / "stdio", source)
        with served.serving() as base:
            command = piped.wrapped("fixture", ["env", f"PYTHONPATH={HERE}", *FIXTURE_STDIO])
            yield Route(f"{base}/mcp/fixture", command, piped.environment, served.token())


@pytest.fixture(params=["direct", "through"])
def route(request):
    """Each test runs directly first: what fails there is not Cordon's."""
    return request.getfixturevalue("direct_route" if request.param == "direct" else "cordon_route")
