"""What an HTTP client must bring before anything is decided."""

import httpx2
import pytest

CALL = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
    "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}}
ACCEPT = {"Accept": "application/json, text/event-stream"}


def post(route, content=None, **headers):
    """One POST to the endpoint."""
    return httpx2.post(route.url, headers={**ACCEPT, **headers}, json=CALL if content is None else content, timeout=30)


def test_a_request_without_a_token_learns_where_to_get_one(cordon_route):
    """RFC 9728: the challenge names the metadata."""
    answer = post(cordon_route)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("token", ["wrong", "a" * 43])
def test_a_wrong_token_is_refused(cordon_route, token):
    """Near misses included."""
    assert post(cordon_route, Authorization=f"Bearer {token}").status_code == 401


def test_the_right_token_is_let_in(cordon_route):
    """The neighbour of the refusals."""
    assert post(cordon_route, **cordon_route.headers).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1.evil.example", "null"])
def test_another_sites_origin_is_refused_even_with_the_token(cordon_route, origin):
    """A browser on another site cannot use the agent's token."""
    assert post(cordon_route, Origin=origin, **cordon_route.headers).status_code == 403


def test_another_hosts_name_is_refused_even_with_the_token(cordon_route):
    """DNS rebinding."""
    assert 400 <= post(cordon_route, Host="evil.example", **cordon_route.headers).status_code < 500


def test_the_agents_token_administers_nothing(cordon_route):
    """An agent never approves, releases or reads tokens."""
    base = cordon_route.url.removesuffix("/mcp/fixture")
    answer = httpx2.get(f"{base}/v1/approvals", headers=cordon_route.headers, timeout=30)
    assert answer.status_code in (401, 403)


def test_a_server_that_is_not_configured_is_not_there(cordon_route):
    """No name leads anywhere but to its own server."""
    url = cordon_route.url.replace("/mcp/fixture", "/mcp/other")
    answer = httpx2.post(url, headers={**ACCEPT, **cordon_route.headers}, json=CALL, timeout=30)
    assert answer.status_code == 404
