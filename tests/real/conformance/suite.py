"""Running the MCP conformance suite and reading what it found."""

import json
import os
import subprocess
from pathlib import Path

from harness import HERE, NODE_MODULES, node_program

REVISIONS = ["2025-11-25", "2026-07-28"]
SUITE_S = 600


def requirements(revision: str) -> dict[str, str]:
    """The frozen set of one revision: each server scenario, and `scored` or why it is not."""
    path = NODE_MODULES / "@modelcontextprotocol" / "conformance" / "requirements" / f"{revision}.yaml"
    scenarios: dict[str, str] = {}
    section, name, leg = "", "", ""
    for line in path.read_text().splitlines():
        words = line.split("#")[0].rstrip()
        if words and not words.startswith(" "):
            section = words.rstrip(":")
        elif section == "server" and words.startswith("  - "):
            scenarios[words.removeprefix("  - ")] = "scored"
        elif section == "not_scored" and ":" in words:
            key, value = words.strip().removeprefix("- ").split(":", 1)
            name = value.strip() if key == "scenario" else name
            leg = value.strip() if key == "leg" else leg
            if key == "reason" and leg == "server":
                scenarios[name] = value.strip()
    return scenarios


def run(url: str, revision: str, output: Path, token: str | None = None) -> dict[str, dict[str, str]]:
    """Runs the frozen set against a server: each scenario with its checks and their status.

    The suite has no way to send a token, so a preloaded module adds it to every request to that origin.
    """
    environment = dict(os.environ)
    if token is not None:
        environment["NODE_OPTIONS"] = f"--import={HERE / 'bearer.mjs'}"
        environment["BEARER_ORIGIN"] = url
        environment["BEARER_TOKEN"] = token
    command = [node_program("conformance"), "server", "--url", url, "--requirements", revision, "-o", str(output)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SUITE_S, check=False)
    (output / "suite.log").write_text(done.stdout + done.stderr)
    found = {name: {} for name in requirements(revision)}
    for name in found:
        for path in sorted(output.glob(f"server-{name}-{'[0-9]' * 4}-*/checks.json")):
            for check in json.loads(path.read_text()):
                found[name][check["id"]] = worse(found[name].get(check["id"]), check["status"])
    return found


def worse(first: str | None, second: str) -> str:
    """The worse of two outcomes of one check."""
    order = ["SKIPPED", "INFO", "SUCCESS", "WARNING", "FAILURE"]
    return max(first or second, second, key=lambda status: order.index(status) if status in order else len(order))


def failures(checks: dict[str, str]) -> list[str]:
    """The checks that failed, by name."""
    return sorted(name for name, status in checks.items() if status not in ("SUCCESS", "INFO", "SKIPPED", "WARNING"))


def worsened(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    """The checks that ended worse the second time, with both outcomes; a check that held must hold again."""
    changes = {}
    for name in sorted(before.keys() | after.keys()):
        first, second = before.get(name, "absent"), after.get(name, "absent")
        lost = first == "SUCCESS" and second != "SUCCESS"
        if lost or (second in ("WARNING", "FAILURE") and first not in ("WARNING", "FAILURE")):
            changes[name] = f"{first} -> {second}"
        elif first == "WARNING" and second == "FAILURE":
            changes[name] = "WARNING -> FAILURE"
    return changes


def passes(checks: dict[str, str]) -> bool:
    """Whether a scenario ran and nothing in it failed."""
    return bool(checks) and not failures(checks)


def table(title: str, found: dict[str, dict[str, str]]) -> str:
    """One line a scenario: how it ended and which checks failed."""
    lines = [f"\n{title}"]
    for name, checks in found.items():
        mark = "pass" if passes(checks) else "FAIL" if checks else "none"
        good = sum(status == "SUCCESS" for status in checks.values())
        lines.append(f"  {mark} {name:<48} {good:>3}/{len(checks):<3} {' '.join(failures(checks))}")
    passed = sum(passes(checks) for checks in found.values())
    lines.append(f"  {passed} of {len(found)} scenarios pass")
    return "\n".join(lines)
