"""The frozen conformance sets against one fixture: directly, and through Cordon."""

import tomllib
from functools import cache

import pytest

from conformance import suite
from harness import HERE, REPOSITORY, Project, fixture_server

CASES = [(revision, name) for revision in suite.REVISIONS for name in suite.requirements(revision)]
DIFFERENCES = tomllib.loads((HERE / "conformance-differences.toml").read_text()).get("difference", [])
UNSUPPORTED = tomllib.loads((HERE / "conformance-differences.toml").read_text()).get("fixture", [])


@pytest.fixture(scope="session")
def direct(tmp_path_factory, tables):
    """What the suite finds without Cordon, by revision."""
    with fixture_server(tmp_path_factory.mktemp("direct")) as url:

        @cache
        def found(revision):
            result = suite.run(url, revision, tmp_path_factory.mktemp(f"direct-{revision}"))
            tables.append(suite.table(f"{revision}, directly", result))
            return result

        yield found


@pytest.fixture(scope="session")
def through(needs_cordon, tmp_path_factory, tables):
    """What the suite finds through Cordon, by revision."""
    root = tmp_path_factory.mktemp("through")
    with fixture_server(root) as url:
        project = Project(root / "project", REPOSITORY / "policies" / "conformance", [{"name": "fixture", "url": url}])
        with project.serving() as base:

            @cache
            def found(revision):
                output = tmp_path_factory.mktemp(f"through-{revision}")
                result = suite.run(f"{base}/mcp/fixture", revision, output, project.token())
                tables.append(suite.table(f"{revision}, through Cordon", result))
                return result

            yield found


@pytest.fixture(scope="session")
def with_token(tmp_path_factory):
    """What the suite finds when the fixture itself wants a token, by revision."""
    with fixture_server(tmp_path_factory.mktemp("token"), "--token", "a-token") as url:
        yield cache(
            lambda revision: suite.run(url, revision, tmp_path_factory.mktemp(f"token-{revision}"), "a-token")
        )


def listed(entries: list[dict], revision: str, name: str) -> bool:
    """Whether a list has an entry for a scenario."""
    return any(revision in entry["revisions"] and name in entry["scenarios"] for entry in entries)


@pytest.mark.parametrize(("revision", "name"), CASES)
def test_the_fixture_passes_directly(direct, revision, name):
    """What the fixture cannot do is listed with its cause, and never a scored scenario."""
    checks = direct(revision)[name]
    if listed(UNSUPPORTED, revision, name):
        assert suite.requirements(revision)[name] != "scored"
        assert "SUCCESS" not in checks.values() or not suite.passes(checks), "it passes: remove it from the list"
    else:
        assert suite.passes(checks), suite.failures(checks)


@pytest.mark.parametrize(("revision", "name"), CASES)
def test_what_passes_directly_passes_through(direct, through, revision, name):
    """Every check that holds directly holds through Cordon, unless its cause is listed."""
    worse = suite.worsened(direct(revision)[name], through(revision)[name])
    if listed(DIFFERENCES, revision, name):
        assert worse, "nothing differs: remove it from conformance-differences.toml"
        assert suite.passes(through(revision)[name]), "a listed difference may not fail its scenario"
    else:
        assert not worse, f"worse through Cordon: {worse}"


@pytest.mark.parametrize("revision", suite.REVISIONS)
def test_the_added_token_changes_nothing_else(direct, with_token, revision):
    """The preloaded module reaches every request of the suite, and no scenario notices it."""
    assert with_token(revision) == direct(revision)


def test_without_the_token_nothing_is_reached(tmp_path):
    """The neighbour of the test above: the token is what opened the fixture."""
    with fixture_server(tmp_path, "--token", "a-token") as url:
        found = suite.run(url, "2026-07-28", tmp_path, "another-token")
    assert not any(suite.passes(found[name]) for name in ("tools-list", "prompts-list", "resources-list"))


def test_every_listed_difference_has_a_cause():
    """A list without reasons is a list of excuses."""
    for entry in [*DIFFERENCES, *UNSUPPORTED]:
        assert entry["cause"].strip()
        for name in entry["scenarios"]:
            assert any((revision, name) in CASES for revision in entry["revisions"]), f"unknown scenario {name}"
