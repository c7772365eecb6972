"""One case for each server: a call that is allowed, one that is denied, one that is held."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
import subprocess

from harness import node_program, python_program


@dataclass(frozen=True)
class Call:
    """A call of a tool, and a part of what it answers when it runs."""

    tool: str
    arguments: dict
    answers: str = ""


@dataclass(frozen=True)
class Case:
    """A server with its command and its three calls."""

    name: str
    command: list[str]
    allowed: Call
    denied: Call
    held: Call
    # A condition under which the denied call is forbidden; without one nothing permits its tool.
    forbidden_when: str = ""
    # What can be seen from outside once the held, or the denied, call has run.
    effect: Callable[[], bool] | None = None
    harm: Callable[[], bool] | None = None
    eras: list[str] = field(default_factory=lambda: ["legacy"])


def everything(root: Path) -> Case:
    """The reference server that shows every feature; its environment must not leak."""
    return Case(
        name="everything",
        command=[node_program("mcp-server-everything")],
        allowed=Call("echo", {"message": "grüße"}, "grüße"),
        denied=Call("get-env", {}),
        held=Call("get-sum", {"a": 2, "b": 40}, "42"),
    )


def filesystem(root: Path) -> Case:
    """Files under one directory."""
    home = root / "files"
    home.mkdir()
    (home / "kept.txt").write_text("kept")
    written = home / "written.txt"
    return Case(
        name="filesystem",
        command=[node_program("mcp-server-filesystem"), str(home)],
        allowed=Call("read_text_file", {"path": str(home / "kept.txt")}, "kept"),
        denied=Call("move_file", {"source": str(home / "kept.txt"), "destination": str(home / "moved.txt")}),
        held=Call("write_file", {"path": str(written), "content": "approved"}, "written.txt"),
        effect=lambda: written.exists() and written.read_text() == "approved",
        harm=lambda: (home / "moved.txt").exists(),
    )


def memory(root: Path) -> Case:
    """A graph in a file."""
    path = root / "memory.jsonl"
    path.write_text('{"type":"entity","name":"Ada","entityType":"person","observations":["counts"]}\n')
    return Case(
        name="memory",
        command=["env", f"MEMORY_FILE_PATH={path}", node_program("mcp-server-memory")],
        allowed=Call("read_graph", {}, "Ada"),
        denied=Call("delete_entities", {"entityNames": ["Ada"]}),
        held=Call(
            "create_entities",
            {"entities": [{"name": "Bob", "entityType": "person", "observations": ["builds"]}]},
            "Bob",
        ),
        effect=lambda: "Bob" in path.read_text(),
        harm=lambda: "Ada" not in path.read_text(),
    )


def clock(root: Path) -> Case:
    """The time; the same tool is allowed for one place and forbidden for another."""
    return Case(
        name="time",
        command=[python_program("mcp-server-time"), "--local-timezone", "UTC"],
        allowed=Call("get_current_time", {"timezone": "Europe/Zurich"}, "Europe/Zurich"),
        denied=Call("get_current_time", {"timezone": "America/New_York"}),
        forbidden_when='context.args has timezone && context.args.timezone == "America/New_York"',
        held=Call(
            "convert_time",
            {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"},
            "21:00",
        ),
        eras=["legacy", "2026-07-28"],
    )


def git(root: Path) -> Case:
    """A repository with one staged file."""
    repository = root / "repository"
    repository.mkdir()

    def run(*arguments: str) -> str:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
        words = ["git", "-C", str(repository), *identity, *arguments]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    run("init", "-q", "-b", "main")
    run("commit", "-q", "--allow-empty", "-m", "first")
    (repository / "staged.txt").write_text("staged")
    run("add", "staged.txt")
    where = {"repo_path": str(repository)}
    return Case(
        name="git",
        command=[python_program("mcp-server-git"), "--repository", str(repository)],
        allowed=Call("git_status", where, "staged.txt"),
        denied=Call("git_reset", where),
        held=Call("git_create_branch", {**where, "branch_name": "topic"}, "topic"),
        effect=lambda: "topic" in run("branch"),
        harm=lambda: "staged.txt" not in run("diff", "--cached", "--name-only"),
        eras=["legacy", "2026-07-28"],
    )


CASES = {case.__name__: case for case in (everything, filesystem, memory, clock, git)}
