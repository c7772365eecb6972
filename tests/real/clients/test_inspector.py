"""The Inspector's command line."""

import json
import os
import subprocess

import pytest

from clients.conftest import DENIED
from harness import HERE, node_program


def inspector(route, transport: str, home, *arguments: str, status: int = 0):
    """Runs the Inspector once and returns the JSON it printed."""
    if transport == "http":
        target = [route.url, "--transport", "http"]
        target += [part for name, value in route.headers.items() for part in ("--header", f"{name}: {value}")]
        words = [node_program("mcp-inspector"), "--cli", *target, *arguments]
    else:
        config = home / "servers.json"
        program, *rest = route.command
        server = {"command": program, "args": rest, "env": route.environment, "cwd": str(HERE)}
        config.write_text(json.dumps({"mcpServers": {"fixture": server}}))
        words = [node_program("mcp-inspector"), "--cli", "--config", str(config), "--server", "fixture", *arguments]
    environment = {**os.environ, "HOME": str(home)}
    done = subprocess.run(words, env=environment, cwd=HERE, capture_output=True, text=True, timeout=90, check=False)
    if status:
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("transport", ["http", "stdio"])
def test_the_inspector_lists_and_calls(route, transport, tmp_path):
    """Both of its commands that matter to an agent."""
    listed = inspector(route, transport, tmp_path, "--method", "tools/list")
    assert "test_simple_text" in {tool["name"] for tool in listed["tools"]}
    arguments = ["--method", "tools/call", "--tool-name", "test_mirrored_argument", "--tool-arg", "region=north"]
    called = inspector(route, transport, tmp_path, *arguments)
    assert called["content"][0]["text"] == "region=north"


@pytest.mark.parametrize("transport", ["http", "stdio"])
def test_the_inspector_shows_the_denial(cordon_route, transport, tmp_path):
    """The refusal reaches a person in words."""
    listed = inspector(cordon_route, transport, tmp_path, "--method", "tools/list")
    assert DENIED not in {tool["name"] for tool in listed["tools"]}
    words = inspector(cordon_route, transport, tmp_path, "--method", "tools/call", "--tool-name", DENIED, status=1)
    assert DENIED in words
