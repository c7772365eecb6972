"""Both interfaces against their own description, asked by a generator of valid and of wrong requests."""

import subprocess

import pytest

from harness import REPOSITORY, Project, python_program

# What holds of every operation, whatever is sent.
ALWAYS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
]
# What holds where the description says exactly which requests are understood.
EXACT = ["negative_data_rejection", "positive_data_acceptance", "unsupported_method", "allow_header_conformance"]
SECONDS = 40


@pytest.fixture(scope="module")
def node(needs_cordon, tmp_path_factory):
    """A node with the policies of the AuthZEN certification scenario."""
    root = tmp_path_factory.mktemp("schemathesis")
    project = Project(root / "project", REPOSITORY / "policies" / "authzen", [])
    with project.serving() as base:
        yield project, base


def described(node, role: str, checks: list[str], *options: str) -> None:
    """Runs the generator over the description that the node serves."""
    project, base = node
    command = [
        python_program("st"), "run", f"{base}/v1/openapi.json",
        "--header", f"Authorization: Bearer {project.token(role)}",
        "--checks", ",".join(checks), "--phases", "examples,coverage,fuzzing",
        "--max-time", str(SECONDS), "--max-examples", "40", "--seed", "1",
        "--request-timeout", "10", "--continue-on-failure", *options,
    ]
    done = subprocess.run(
        command, cwd=project.root, capture_output=True, text=True, timeout=4 * SECONDS, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-20_000:]}{done.stderr[-5_000:]}"


def test_authzen_answers_what_it_describes_and_refuses_the_rest(node):
    described(node, "pep", [*ALWAYS, *EXACT], "--include-path-regex", "^/access/v1/(evaluation|search)")


def test_administration_answers_what_it_describes(node):
    # A stream of events has no end to wait for.
    described(node, "operator", ALWAYS, "--exclude-path-regex", "^/access/v1/(evaluation|search)|^/v1/events$")
