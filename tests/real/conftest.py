"""Shared fixtures, and the report that `cargo xtask test` reads."""

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

TABLES: list[str] = []


@pytest.fixture
def anyio_backend():
    """Asynchronous tests run on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def tables():
    """Text that is printed after the last test."""
    return TABLES


@pytest.fixture(scope="session")
def needs_cordon():
    """Leaves a test out, with the reason, when there is no program to test."""
    binary = os.environ.get("CORDON_BIN", "")
    if not Path(binary).is_file():
        pytest.skip("CORDON_BIN names no program: run `cargo xtask test`")


def pytest_terminal_summary(terminalreporter):
    """Prints the tables that tests left."""
    for table in TABLES:
        terminalreporter.write_line(table)
    count = terminalreporter.stats
    report = {
        "passed": len(count.get("passed", [])),
        "failed": len(count.get("failed", [])) + len(count.get("error", [])),
        "skipped": [
            {"name": each.nodeid, "reason": str(each.longrepr[2]).removeprefix("Skipped: ")}
            for each in count.get("skipped", [])
        ],
    }
    if path := os.environ.get("CORDON_REPORT"):
        Path(path).write_text(json.dumps(report))
