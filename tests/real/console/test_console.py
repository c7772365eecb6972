"""The console in a real browser, over a real MCP server: what is shown, what is signed, what is refused."""

import json
import os
import re
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

import policy
from harness import Project, node_program

CHROMIUM = "/usr/bin/chromium"
# Markup, a hidden direction change and an invisible character: all of it must be seen as it is.
HOSTILE = "<img src=x onerror=\"document.title='owned'\"> paid\u202eereht\u200b"


class Agent:
    """A client of the legacy era over HTTP."""

    def __init__(self, base: str, token: str) -> None:
        self.url, self.token, self.session, self.number = f"{base}/mcp/files", token, None, 0
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        self.ask("initialize", hello)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        self.ask("tools/list", {})

    def call(self, tool: str, **arguments) -> dict:
        """Calls a tool."""
        return self.ask("tools/call", {"name": tool, "arguments": arguments})

    def ask(self, method: str, params: dict) -> dict:
        """Sends one request."""
        self.number += 1
        return self.send({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params})

    def send(self, message: dict) -> dict:
        """Sends one message and reads its answer."""
        request = urllib.request.Request(self.url, json.dumps(message).encode(), method="POST")
        request.add_header("Content-Type", "application/json")
        request.add_header("Accept", "application/json, text/event-stream")
        request.add_header("Authorization", f"Bearer {self.token}")
        if self.session:
            request.add_header("Mcp-Session-Id", self.session)
        with urllib.request.urlopen(request, timeout=60) as answer:
            self.session = answer.headers.get("Mcp-Session-Id", self.session)
            text = answer.read().decode()
        data = [line[6:] for line in text.splitlines() if line.startswith("data: {")] or [text]
        return json.loads(data[-1]) if data[-1].strip() else {}


@pytest.fixture(scope="module")
def project(needs_cordon, tmp_path_factory):
    """A node in front of the filesystem server: reading is allowed, writing held, moving permitted by nothing."""
    root = tmp_path_factory.mktemp("console")
    (root / "files").mkdir()
    (root / "files" / "note.txt").write_text("hello")
    source = policy.write(root / "source", "files", ["read_text_file"], held=["write_file"])
    server = {"name": "files", "command": node_program("mcp-server-filesystem"), "args": [str(root / "files")]}
    return Project(root / "project", source, [server])


@pytest.fixture(scope="module")
def node(project):
    """The running node."""
    with project.serving() as base:
        yield base


@pytest.fixture(scope="module")
def agent(project, node):
    """An agent that works behind the node."""
    return Agent(node, project.token())


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"{CHROMIUM} is missing: install Debian's package `chromium`")
    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, node):
    """A page that reports whatever it loads from elsewhere, logs or throws."""
    context = browser.new_context(viewport={"width": 1200, "height": 1000}, locale="en-GB", timezone_id="UTC")
    page = context.new_page()
    page.wrong = []
    page.on("request", lambda asked: asked.url.startswith(node) or page.wrong.append(f"loads {asked.url}"))
    page.on("pageerror", lambda error: page.wrong.append(f"throws {error}"))
    page.on("dialog", lambda dialog: page.wrong.append(f"asks {dialog.message}"))
    yield page
    wrong = list(page.wrong)
    context.close()
    assert not wrong


@pytest.fixture
def console(page, project, node):
    """The console, opened by a link of the command line."""
    page.goto(link(project))
    expect(page.locator("#state")).to_have_text("live")
    return page


def link(project) -> str:
    """A new link."""
    return json.loads(project.run("--format", "json", "console"))["url"]


def key_file(project, name: str) -> Path:
    """The file of an approver's key."""
    return project.root / "config" / "cordon" / "keys" / "approver" / f"{name}.key"


def picture(page, name: str) -> None:
    """Keeps a picture for the documentation, if somebody wants one."""
    if directory := os.environ.get("CORDON_PICTURES"):
        page.screenshot(path=Path(directory) / f"{name}.png", full_page=True)


def test_without_a_link_the_page_shows_nothing_and_says_how_to_get_one(page, node):
    page.goto(node)
    expect(page.locator("#locked")).to_be_visible()
    expect(page.locator("#locked")).to_contain_text("cordon console")
    expect(page.locator("#open")).to_be_hidden()


def test_a_link_works_once_and_leaves_nothing_in_the_address_or_in_cookies(page, browser, project):
    url = link(project)
    page.goto(url)
    expect(page.locator("#state")).to_have_text("live")
    assert "once" not in page.url
    assert page.context.cookies() == []
    page.reload()
    expect(page.locator("#state")).to_have_text("live")
    other = browser.new_page()
    other.goto(url)
    expect(other.locator("#why")).to_contain_text("was used or has expired")
    other.close()


def test_neither_agent_nor_stranger_gets_a_link(project, node):
    for token, status in [(project.token("agent"), 403), (project.token("pep"), 403), ("cordon-console.x", 401)]:
        request = urllib.request.Request(f"{node}/v1/console", b"null", method="POST")
        request.add_header("Authorization", f"Bearer {token}")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code == status
    assert project.token("operator") not in urllib.request.urlopen(node, timeout=10).read().decode()


def test_decisions_appear_as_they_happen_with_rule_and_reason(console, agent, project):
    note = str(project.root.parent / "files" / "note.txt")
    assert "hello" in str(agent.call("read_text_file", path=note))
    first = console.locator("#decisions tr").first
    expect(first).to_contain_text("allow, permitted")
    expect(first).to_contain_text("files/read_text_file")
    expect(first).to_contain_text("tools · permissions/main.cedar:")
    assert "error" in str(agent.call("move_file", source=note, destination=HOSTILE))
    expect(first).to_contain_text("deny, refused")
    expect(first).to_contain_text("cordon:no-permit")
    picture(console, "decisions")


def test_the_exact_call_is_shown_and_runs_only_when_its_approver_signs(console, agent, project):
    target = project.root.parent / "files" / "new.txt"
    answers = []
    held = threading.Thread(target=lambda: answers.append(agent.call("write_file", path=str(target), content=HOSTILE)))
    held.start()
    card = console.locator("#approvals article")
    expect(card).to_contain_text("files/write_file")
    shown = card.locator("pre")
    expect(shown).to_contain_text("<img src=x onerror=")
    expect(shown).to_contain_text(r"paid\u{202e}ereht\u{200b}")
    assert "\u202e" not in shown.inner_text() and console.title() == "Cordon"
    expect(card.get_by_role("button", name="Grant")).to_be_disabled()
    picture(console, "approval")

    stranger = project.root / "mallory.key"
    project.new_key("approver", "mallory")
    stranger.write_bytes(key_file(project, "mallory").read_bytes())
    for file, told in [(stranger, "mallory"), (stranger.with_name("alice.key"), "signature")]:
        if not file.exists():
            file.write_bytes(stranger.read_bytes())
        console.locator("#key-file").set_input_files(file)
        card.get_by_role("button", name="Grant").click()
        expect(card.locator(".actions .deny")).to_contain_text(told)
    assert not target.exists() and held.is_alive()

    console.locator("#key-file").set_input_files(key_file(project, "alice"))
    expect(console.locator("#key-state")).to_contain_text("signed as alice")
    card.get_by_role("button", name="Grant").click()
    expect(card).to_have_count(0)
    held.join(30)
    assert "error" not in answers[0] and target.read_text() == HOSTILE


def test_a_refused_call_does_not_run(console, agent, project):
    target = project.root.parent / "files" / "never.txt"
    answers = []
    held = threading.Thread(target=lambda: answers.append(agent.call("write_file", path=str(target), content="x")))
    held.start()
    console.locator("#key-file").set_input_files(key_file(project, "alice"))
    console.get_by_role("button", name="Deny").click()
    held.join(30)
    assert "alice" in str(answers[0]["error"]) and not target.exists()


def test_a_key_that_is_none_is_refused(console, project):
    other = project.root / "policy.key"
    other.write_text((project.root / "config/cordon/keys/policy/author.key").read_text())
    console.locator("#key-file").set_input_files(other)
    expect(console.locator("#key-state")).to_contain_text("does not hold an approver key")


def test_sessions_are_listed_and_a_closed_one_permits_nothing(console, project, node):
    mine = Agent(node, project.token())
    note = str(project.root.parent / "files" / "note.txt")
    assert "hello" in str(mine.call("read_text_file", path=note))
    rows = console.locator("#sessions tr")
    expect(rows.first).to_contain_text("ses_")
    picture(console, "sessions")
    count = rows.count()
    while count:
        rows.first.get_by_role("button", name="Close").click()
        expect(rows).to_have_count(count - 1)
        count -= 1
    expect(console.locator("#sessions-none")).to_be_visible()
    assert "session" in str(mine.call("read_text_file", path=note).get("error"))


def test_a_class_is_switched_off_at_once_and_an_approver_lifts_it(console, project, node):
    mine = Agent(node, project.token())
    note = str(project.root.parent / "files" / "note.txt")
    assert "hello" in str(mine.call("read_text_file", path=note))
    console.locator("#kill-form input[name=what]").fill("everything")
    console.get_by_role("button", name="Switch off").click()
    expect(console.locator("#kill-said")).to_contain_text("`everything`")
    for what, agent in [("files.read", ""), ("money.move", HOSTILE)]:
        console.locator("#kill-form input[name=what]").fill(what)
        console.locator("#kill-form input[name=agent]").fill(agent)
        console.get_by_role("button", name="Switch off").click()
        expect(console.locator("#kill-said")).to_have_text(f"{what} is off.")
    rows = console.locator("#kills tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_contain_text(r"<img src=x onerror=")
    expect(rows.nth(1)).to_contain_text(r"\u{202e}")
    assert console.title() == "Cordon"
    assert "error" in str(mine.call("read_text_file", path=note))
    expect(rows.first.get_by_role("button", name="Lift")).to_be_disabled()
    picture(console, "kills")

    stranger = project.root / "alice.key"
    project.new_key("approver", "eve")
    stranger.write_bytes(key_file(project, "eve").read_bytes())
    console.locator("#key-file").set_input_files(stranger)
    rows.first.get_by_role("button", name="Lift").click()
    expect(rows.first.locator(".deny").last).to_contain_text("signature")
    assert "error" in str(mine.call("read_text_file", path=note))

    console.locator("#key-file").set_input_files(key_file(project, "alice"))
    rows.first.get_by_role("button", name="Lift").click()
    expect(rows).to_have_count(1)
    assert "hello" in str(mine.call("read_text_file", path=note))
    rows.first.get_by_role("button", name="Lift").click()
    expect(console.locator("#kills-none")).to_be_visible()


def test_health_shows_the_bundle_and_the_growing_ledger(console, project, node):
    entries = console.locator("#health dd", has_text="durable entries")
    before = int(re.match(r"\d+", entries.inner_text())[0])
    Agent(node, project.token())
    expect(entries).not_to_have_text(f"{before} durable entries", timeout=15_000)
    expect(console.locator("#health")).to_contain_text("sha256:")
    expect(console.locator("#health")).to_contain_text("can be permitted")


def test_a_session_is_contained_released_and_terminated(console, project, node):
    # The last test: whatever begins under the name of a terminated session is terminated, too.
    mine = Agent(node, project.token())
    note = str(project.root.parent / "files" / "note.txt")
    assert "hello" in str(mine.call("read_text_file", path=note))
    row = console.locator("#sessions tr").first
    expect(row).to_contain_text("normal")
    expect(row.get_by_role("button", name="Release")).to_have_count(0)
    row.get_by_label("What to take").select_option("watch, take nothing")
    row.get_by_role("button", name="Contain").click()
    expect(row).to_contain_text("watched")
    assert "hello" in str(mine.call("read_text_file", path=note)), "nothing was taken"
    row.get_by_label("What to take").select_option("no network")
    row.get_by_role("button", name="Contain").click()
    expect(row).to_contain_text("network_off")
    row.get_by_label("What to take").select_option("isolate: nothing at all")
    row.get_by_role("button", name="Contain").click()
    expect(row).to_contain_text("quarantined")
    assert "error" in str(mine.call("read_text_file", path=note))
    expect(row.get_by_role("button", name="Release")).to_be_disabled()
    picture(console, "contained")
    console.locator("#key-file").set_input_files(key_file(project, "alice"))
    row.get_by_role("button", name="Release").click()
    expect(row).to_contain_text("normal")
    assert "hello" in str(mine.call("read_text_file", path=note))
    row.get_by_role("button", name="Terminate").click()
    expect(row).to_contain_text("terminated")
    expect(row.get_by_role("button", name="Release")).to_have_count(0)
    assert "error" in str(mine.call("read_text_file", path=note))
    row.get_by_role("button", name="Close").click()
