"""Starting the program and its counterparts, and stopping them again."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
REAL = Path(os.environ.get("CORDON_REAL_DIR", REPOSITORY / "target" / "real"))
NODE_MODULES = REAL / "node" / "node_modules"
START_S = 30
STOP_S = 10


def node_program(name: str) -> str:
    """The path of an installed Node program."""
    path = NODE_MODULES / ".bin" / name
    assert path.exists(), f"{path} is missing: run `cargo xtask test --only node`"
    return str(path)


def python_program(name: str) -> str:
    """The path of a program of the Python environment."""
    return str(Path(sys.executable).parent / name)


def free_port() -> int:
    """A loopback port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(command: list[str], log: Path, **options):
    """A process in its own group, told to stop at the end, its output in a file."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, **options
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    """Waits until a server answers at all, whatever it answers."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"it stopped with {process.returncode}:\n{log.read_text()}"
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"{url} did not answer within {START_S} s:\n{log.read_text()}")


@contextlib.contextmanager
def fixture_server(directory: Path, *arguments: str):
    """The fixture over HTTP; yields its address."""
    port = free_port()
    log = directory / "fixture.log"
    command = [sys.executable, "-W", "ignore", "-m", "fixture", "--port", str(port), *arguments]
    with running(command, log, cwd=HERE) as process:
        url = f"http://127.0.0.1:{port}/mcp"
        wait_for(url, process, log)
        yield url


FIXTURE_STDIO = [sys.executable, "-W", "ignore", "-m", "fixture", "--stdio"]


class Project:
    """A directory with a configuration, keys, a signed policy and data, as a user would have it."""

    def __init__(self, root: Path, policy: Path, servers: list[dict] = (), hold_s: int = 30) -> None:
        self.binary = os.environ["CORDON_BIN"]
        self.root = root
        self.port = free_port()
        self.data = root / "data"
        self.log = root / "cordon.log"
        root.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **os.environ,
            "XDG_CONFIG_HOME": str(root / "config"),
            "XDG_STATE_HOME": str(root / "state"),
            "PYTHONPATH": str(HERE),
        }
        author = self.new_key("policy", "author")
        approver = self.new_key("approver", "alice")
        shutil.copytree(policy, root / "policy")
        self.configuration = root / "cordon.toml"
        self.configuration.write_text(self.configured(author, approver, servers, hold_s))
        self.run("policy", "build", str(root / "policy"), "--key", "author")

    def configured(self, author: str, approver: str, servers: list[dict], hold_s: int) -> str:
        """The text of `cordon.toml`."""
        lines = [
            f"data.dir = {quoted(self.data)}",
            'policy.path = "policy"',
            f"trust.policy.keys = [{quoted(author)}]",
            f"trust.approvers.alice.key = {quoted(approver)}",
            f'serve.listen = "127.0.0.1:{self.port}"',
            f"mcp.hold_s = {hold_s}",
            "owner.idle_s = 1",
        ]
        tables = [", ".join(f"{name} = {quoted(value)}" for name, value in server.items()) for server in servers]
        lines.append("mcp.server = [" + ", ".join(f"{{ {table} }}" for table in tables) + "]")
        return "\n".join(lines) + "\n"

    def command(self, *arguments: str) -> list[str]:
        """A command line of the program in this project."""
        return [self.binary, "--config", str(self.configuration), *arguments]

    def run(self, *arguments: str, status: int = 0) -> str:
        """Runs the program to its end and returns its standard output."""
        return self.finish(self.command(*arguments), status)

    def finish(self, command: list[str], status: int = 0) -> str:
        """Runs a command to its end, which must have the given status."""
        done = subprocess.run(
            command, env=self.environment, cwd=self.root, capture_output=True, text=True, timeout=60, check=False
        )
        words = " ".join(command)
        assert done.returncode == status, f"`{words}` ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def new_key(self, role: str, name: str) -> str:
        """Makes a key and returns its public text."""
        printed = self.finish([self.binary, "--format", "json", "keys", "new", "--role", role, "--name", name])
        return re.search(r"ed25519:[A-Za-z0-9+/=]+", printed)[0]

    def wrapped(self, name: str, command: list[str]) -> list[str]:
        """A stdio server behind the program."""
        return self.command("mcp", "--name", name, "--", *command)

    @contextlib.contextmanager
    def serving(self):
        """The program as a server; yields its base address."""
        with running(self.command("serve"), self.log, env=self.environment, cwd=self.root) as process:
            base = f"http://127.0.0.1:{self.port}"
            wait_for(f"{base}/healthz", process, self.log)
            deadline = time.monotonic() + START_S
            while not ready(f"{base}/readyz") and time.monotonic() < deadline:
                time.sleep(0.05)
            yield base

    def token(self, role: str = "agent") -> str:
        """The bearer token of a role; there once the program has run."""
        return (self.data / "tokens" / role).read_text().strip()

    def pending(self) -> list[dict]:
        """The approvals that wait for somebody."""
        printed = json.loads(self.run("--format", "json", "approve", "ls"))
        return [each for each in objects(printed) if "id" in each and each.get("state", "pending") == "pending"]

    def grant(self, approval: str) -> None:
        """Grants one approval in the name of the only approver."""
        self.run("approve", "grant", approval)


def ready(url: str) -> bool:
    """Whether a readiness page says yes."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def objects(value) -> list[dict]:
    """The objects of a JSON text that is a list, or an object with a list in it."""
    if isinstance(value, dict):
        return next((items for items in value.values() if isinstance(items, list)), [value] if "id" in value else [])
    return [item for item in value if isinstance(item, dict)]


def quoted(value) -> str:
    """A value as TOML; JSON's text and lists are TOML's as well."""
    return json.dumps(str(value) if isinstance(value, Path) else value)
