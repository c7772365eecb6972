"""Policy sources for one server, written for a test."""

from pathlib import Path


def write(root: Path, server: str, allowed: list[str], held: list[str] = (), forbidden: str = "") -> Path:
    """A source that lets some tools be called, holds some for approval, and forbids what `forbidden` says.

    Messages of the protocol are allowed, every other tool is not permitted by anything.
    """
    files = {
        "permissions/main.cedar": permissions(server, [*allowed, *held]) + forbidden,
        "obligations/main.cedar": obligations(server, held) if held else "",
    }
    for path, text in files.items():
        if text:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
    return root


def actions(server: str, tools: list[str]) -> str:
    """A Cedar list of the actions that tools are."""
    return "[" + ", ".join(f'Cordon::Action::"{server}/{tool}"' for tool in tools) + "]"


def permissions(server: str, tools: list[str]) -> str:
    """Permits for the protocol and for some tools."""
    return f"""\
@id("messages")
permit (principal, action in Cordon::Action::"effect:read", resource);

@id("model")
permit (principal, action in Cordon::Action::"model.call", resource);

@id("tools")
permit (principal, action in {actions(server, tools)}, resource);
"""


def obligations(server: str, tools: list[str]) -> str:
    """Approval for some tools."""
    return f"""\
@id("held")
@obligation("approve")
@role("approver")
permit (principal, action in {actions(server, tools)}, resource);
"""


def forbid(server: str, tool: str, when: str) -> str:
    """A prohibition of one tool under a condition."""
    return f"""
@id("forbidden")
@message("this use of {tool} is forbidden")
@remedy("use another argument")
forbid (principal, action == Cordon::Action::"{server}/{tool}", resource)
when {{ {when} }};
"""
