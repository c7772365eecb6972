//! The network listener: who is let in, and to what.

use serde_json::json;

use crate::world::World;

#[test]
fn every_door_but_the_open_ones_asks_for_a_token() {
    let world = World::office();
    let server = world.serve();
    for path in ["/healthz", "/readyz", "/.well-known/authzen-configuration"] {
        assert_eq!(server.request(None, "GET", path, "").status, 200, "{path}");
    }
    for path in
        ["/metrics", "/v1/status", "/v1/approvals", "/mcp", "/mcp/office", "/access/v1/evaluation", "/"]
    {
        let answer = server.request(None, "POST", path, "{}");
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.head.contains("www-authenticate: bearer"), "{path}: {}", answer.head);
    }
    let forged = format!(
        "GET /v1/status HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        server.address,
        "A".repeat(43)
    );
    assert_eq!(server.raw(&forged).status, 401);
    assert_eq!(server.request(Some("operator"), "GET", "/v1/status", "").json()["ready"], true);
    let metrics = server.request(Some("pep"), "GET", "/metrics", "");
    assert!(
        metrics.body.contains("cordon_ready 1") && metrics.body.contains("cordon_records_total"),
        "{}",
        metrics.body
    );
}

#[test]
fn another_host_name_is_turned_away() {
    let world = World::office();
    let server = world.serve();
    let request = |host: &str| {
        server.raw(&format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).status
    };
    assert_eq!(request("localhost"), 200);
    assert_eq!(request("evil.test"), 403);
    assert_eq!(request("localhost.evil.test"), 403);
}

#[test]
fn the_agents_token_opens_nothing_that_widens() {
    let world = World::office();
    let mut agent = world.agent().hello();
    agent.told("pay", json!({"to": "ACME", "amount": 900_000, "reference": "r"}));
    let id = world.json(&["approve", "ls"])[0]["id"].as_str().unwrap().to_owned();
    agent.leave();
    world.signal_owner("-TERM");

    let server = world.serve();
    let answer = format!("/v1/approvals/{id}/answer");
    for (method, path) in [
        ("POST", answer.as_str()),
        ("GET", "/v1/approvals"),
        ("GET", "/v1/sessions"),
        ("POST", "/v1/tools/approve"),
        ("POST", "/v1/policy/reload"),
        ("POST", "/v1/keys/rotate"),
        ("POST", "/v1/decide"),
        ("POST", "/access/v1/evaluation"),
        ("GET", "/v1/status"),
        ("GET", "/v1/events"),
        ("GET", "/v1/keys"),
    ] {
        let refused = server.request(Some("agent"), method, path, "{}");
        assert_eq!(refused.status, 403, "{method} {path}: {}", refused.body);
        assert_eq!(refused.json()["error"]["code"], "forbidden");
    }
    assert_eq!(server.request(Some("pep"), "POST", &answer, "{}").status, 403);
    // It may look at what its own call waits for, and nobody answers without an approver's signature.
    let own = server.request(Some("agent"), "GET", &format!("/v1/approvals/{id}"), "");
    assert_eq!(own.json()["state"], "pending", "{}", own.body);
    let binding = own.json()["binding"].clone();
    let unsigned =
        json!({"answer": "grant", "approver": "root", "at": 1, "binding": binding, "signature": "AAAA"});
    assert_eq!(server.request(Some("operator"), "POST", &answer, &unsigned.to_string()).status, 422);
    let forged = json!({"answer": "grant", "approver": "nobody", "at": 1, "binding": own.json()["binding"],
        "signature": format!("{}==", "A".repeat(86))});
    let refused = server.request(Some("operator"), "POST", &answer, &forged.to_string());
    assert_eq!(
        (refused.status, refused.json()["error"]["code"].as_str()),
        (403, Some("ballot")),
        "{}",
        refused.body
    );
    assert_eq!(
        server.request(Some("agent"), "GET", &format!("/v1/approvals/{id}"), "").json()["state"],
        "pending"
    );
}

#[test]
fn a_body_with_a_name_twice_or_an_unknown_name_is_refused() {
    let world = World::office();
    let server = world.serve();
    let id = "apr_00000000000000000000000000000000";
    for body in [r#"{"answer":"deny","answer":"grant"}"#, r#"{"answer":"deny","more":1}"#, "", "[]"] {
        let refused = server.request(Some("operator"), "POST", &format!("/v1/approvals/{id}/answer"), body);
        assert_eq!(refused.status, 422, "{body}: {}", refused.body);
    }
    assert_eq!(server.request(Some("operator"), "GET", &format!("/v1/approvals/{id}"), "").status, 404);
    assert_eq!(server.request(Some("operator"), "GET", "/v1/approvals/apr_1", "").status, 422);
}

#[test]
fn others_points_of_enforcement_get_decisions() {
    let world = World::office();
    let server = world.serve();
    let evaluation = |tool: &str| {
        json!({"subject": {"type": "agent", "id": "agent"}, "action": {"name": format!("office/{tool}")},
               "resource": {"type": "Tool", "id": format!("office/{tool}")}})
    };
    let allowed =
        server.request(Some("pep"), "POST", "/access/v1/evaluation", &evaluation("list_mail").to_string());
    assert_eq!((allowed.status, &allowed.json()["decision"]), (200, &json!(true)), "{}", allowed.body);
    let batch = json!({"evaluations": [evaluation("list_mail"), evaluation("nothing-known")]});
    let answers = server.request(Some("pep"), "POST", "/access/v1/evaluations", &batch.to_string()).json();
    assert_eq!(answers["evaluations"][0]["decision"], true, "{answers}");
    assert_eq!(answers["evaluations"][1]["decision"], false, "{answers}");
    let malformed = server.request(
        Some("pep"),
        "POST",
        "/access/v1/evaluation",
        r#"{"subject":{"type":"team","id":"x"}}"#,
    );
    assert_eq!(malformed.status, 400);
}

#[test]
fn every_answer_to_a_decision_request_carries_its_name_and_says_what_is_wrong() {
    let world = World::office();
    let server = world.serve();
    let body = json!({"subject": {"type": "agent", "id": "agent"}, "action": {"name": "office/list_mail"},
                      "resource": {"type": "Tool", "id": "office/list_mail"}})
    .to_string();
    let ask = |method: &str, path: &str, role: Option<&str>, kind: &str, id: &str| {
        let token = role.map(|role| format!("Authorization: Bearer {}\r\n", server.token(role)));
        let id = if id.is_empty() { String::new() } else { format!("X-Request-ID: {id}\r\n") };
        server.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{}{id}Content-Type: {kind}\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            server.address,
            token.unwrap_or_default(),
            body.len()
        ))
    };
    let one = "/access/v1/evaluation";
    for (status, method, path, role, kind) in [
        (200, "POST", one, Some("pep"), "application/json"),
        (200, "POST", one, Some("pep"), "application/json; charset=utf-8"),
        (200, "POST", "/access/v1/evaluations", Some("operator"), "application/json"),
        (200, "POST", "/access/v1/search/action", Some("pep"), "application/json"),
        (200, "POST", "/access/v1/search/subject", Some("pep"), "application/json"),
        (400, "POST", one, Some("pep"), "text/plain"),
        (400, "POST", "/access/v1/search/resource", Some("pep"), "text/plain"),
        (401, "POST", one, None, "application/json"),
        (403, "POST", one, Some("agent"), "application/json"),
        (403, "POST", "/access/v1/search/subject", Some("agent"), "application/json"),
        (404, "POST", "/access/v1/search/anything", Some("pep"), "application/json"),
        (405, "GET", one, Some("pep"), "application/json"),
    ] {
        let answer = ask(method, path, role, kind, "bfe9eb29-ab87");
        assert_eq!(answer.status, status, "{method} {path} {kind}: {}", answer.body);
        assert!(answer.head.contains("x-request-id: bfe9eb29-ab87"), "{status}: {}", answer.head);
        assert!(answer.head.contains("content-type: application/json"), "{status}: {}", answer.head);
        assert_eq!(status == 405, answer.head.contains("allow: post"), "{}", answer.head);
    }
    let unnamed = ask("POST", one, Some("pep"), "application/json", "");
    assert_eq!(unnamed.status, 200);
    assert!(!unnamed.head.contains("x-request-id"), "{}", unnamed.head);
    let tools = ask("POST", "/access/v1/search/action", Some("pep"), "application/json", "").json();
    let found = tools["results"].as_array().unwrap();
    assert!(found.iter().any(|result| result["name"] == "office/list_mail"), "{tools}");
    assert!(
        !found.iter().any(|result| result["name"] == "office/pay"),
        "a payment without arguments: {tools}"
    );
}

#[test]
fn what_a_person_grants_out_of_band_is_allowed_once_and_replays() {
    let world = World::office();
    let server = world.serve();
    let pay = json!({"subject": {"type": "agent", "id": "agent"}, "resource": {"type": "Tool", "id": "office/pay"},
        "action": {"name": "office/pay", "properties": {"to": "ACME", "amount": 900_000, "reference": "r"}}});
    let send =
        |path: &str, body: &serde_json::Value| server.request(Some("pep"), "POST", path, &body.to_string());
    let denied = send("/access/v1/evaluation", &pay).json();
    assert_eq!(
        (&denied["decision"], &denied["context"]["verdict"]),
        (&json!(false), &json!("ask")),
        "{denied}"
    );
    let mut ask = pay.clone();
    ask["denial"] = denied["context"]["access_request"].clone();
    let metadata = server.request(None, "GET", "/.well-known/authzen-configuration", "").json();
    assert_eq!(metadata["access_request_endpoint"], ask["denial"]["endpoint"]);
    let task = send("/access/v1/requests", &ask);
    assert_eq!(task.status, 202, "{}", task.body);
    let id = task.json()["task"]["id"].as_str().unwrap().to_owned();
    assert!(world.done(&["approve", "show", &id]).contains("900000"));
    world.done(&["approve", "grant", &id]);
    let path = format!("/access/v1/requests/{id}");
    let done = server.request(Some("pep"), "GET", &path, "").json();
    let mut again = pay.clone();
    again["context"] = json!({"approval": done["result"]["approval"]});
    assert_eq!(send("/access/v1/evaluation", &again).json()["decision"], true, "{done}");
    assert_eq!(send("/access/v1/evaluation", &again).json()["decision"], false, "it was spent");

    assert_eq!(server.request(Some("operator"), "GET", &path, "").status, 404, "another caller's");
    assert_eq!(server.request(Some("agent"), "GET", &path, "").status, 403);
    let wrong = send("/access/v1/requests", &pay);
    assert_eq!(wrong.status, 400, "{}", wrong.body);
    assert!(wrong.head.contains("content-type: application/problem+json"), "{}", wrong.head);
    assert_eq!(server.request(Some("pep"), "DELETE", &path, "").status, 405);
    drop(server);
    assert!(world.done(&["ledger", "replay"]).contains("R1 ok"));
    assert!(world.done(&["ledger", "verify"]).contains("ok"));
}

#[test]
fn an_address_that_others_reach_needs_tls_and_an_authorization_server() {
    let world = World::office();
    let said = world.fails(&["serve", "--listen", "0.0.0.0:0"], 2);
    assert!(
        said.contains("SERVE-001") && said.contains("[serve] tls") && said.contains("[auth.oauth]"),
        "{said}"
    );
    world.append("cordon.toml", "\n[serve.tls]\ncert = \"c.pem\"\nkey = \"k.pem\"\n");
    let said = world.fails(&["serve", "--listen", "[::]:0"], 2);
    assert!(said.contains("[auth.oauth]") && !said.contains("`[serve] tls`"), "{said}");
}

#[test]
fn a_configured_server_is_governed_over_http() {
    let world = World::office();
    world.append(
        "cordon.toml",
        &format!("\n[[mcp.server]]\nname = \"office\"\ncommand = \"{}\"\nargs = [\"fixture-server\", \"office\"]\n", crate::world::CORDON),
    );
    let server = world.serve();
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let answer = server.request(Some("agent"), "POST", "/mcp/office", &hello.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.head.contains("mcp-session-id:"), "{}", answer.head);
    assert_eq!(server.request(Some("agent"), "POST", "/mcp/other", &hello.to_string()).status, 404);
}

#[test]
fn only_a_server_that_is_opened_by_name_asks_for_no_token() {
    let world = World::office();
    for (name, more) in [("open", "open_loopback = true\n"), ("shut", "")] {
        world.append(
            "cordon.toml",
            &format!(
                "\n[[mcp.server]]\nname = \"{name}\"\ncommand = \"{}\"\nargs = [\"fixture-server\", \"office\"]\n{more}",
                crate::world::CORDON
            ),
        );
    }
    let server = world.serve();
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    assert_eq!(server.request(None, "POST", "/mcp/open", &hello.to_string()).status, 200);
    for path in ["/mcp/shut", "/mcp/open/", "/mcp", "/mcp/open/../shut", "/v1/status"] {
        assert_eq!(server.request(None, "POST", path, &hello.to_string()).status, 401, "{path}");
    }
    let wrong = format!(
        "POST /mcp/open HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer wrong\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        server.address
    );
    assert_eq!(server.raw(&wrong).status, 401, "a bad token is never taken for none");
}

#[test]
fn the_console_is_entered_once_and_only_by_the_operators_link() {
    let world = World::office();
    let server = world.serve();
    let page = server.request(None, "GET", "/", "");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    assert_eq!(server.request(None, "GET", "/console/none.js", "").status, 401);
    let link = world.json(&["console"])["url"].as_str().unwrap().to_owned();
    let once = link.split_once("/#once=").unwrap().1;
    for wrong in ["{}", r#"{"once":"x","once":"y"}"#, "once"] {
        assert_eq!(server.request(None, "POST", "/console/enter", wrong).status, 422, "{wrong}");
    }
    let entered = server.request(None, "POST", "/console/enter", &format!(r#"{{"once":"{once}"}}"#));
    let token = entered.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(
        server.request(None, "POST", "/console/enter", &format!(r#"{{"once":"{once}"}}"#)).status,
        401
    );
    let ask = |path: &str, token: &str| {
        let host = server.address;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        server.raw(&head).status
    };
    assert_eq!(ask("/v1/approvals", &token), 200);
    assert_eq!(ask("/v1/approvals", once), 401, "a link's secret is no token");
    assert_eq!(ask("/v1/approvals", &format!("{token}x")), 401);
    assert_eq!(ask("/mcp", &token), 401, "a console calls no tools");
    assert_eq!(server.request(Some("agent"), "POST", "/v1/console", "null").status, 403);
}

#[test]
fn an_enforcement_point_opens_a_session_asks_and_reports_over_the_network() {
    let world = World::office();
    let write = |path: &str, text: &str| std::fs::write(world.path(path), text).unwrap();
    write(
        "policy/permissions/api.cedar",
        "@id(\"api\") permit (principal, action == Action::\"crm/find\", resource);\n",
    );
    write("policy/tools/api.toml", "tool = \"crm/find\"\nclasses = [\"data.read\"]\neffect = \"read\"\n");
    world.build();
    let server = world.serve();
    let open = json!({"agent": {"id": "bot"}, "on_behalf_of": {"id": "ann"}, "task": "T-1"}).to_string();
    assert_eq!(server.request(None, "POST", "/v1/sessions", &open).status, 401);
    assert_eq!(server.request(Some("agent"), "POST", "/v1/sessions", &open).status, 403);
    let opened = server.request(Some("pep"), "POST", "/v1/sessions", &open);
    assert_eq!(opened.status, 201, "{}", opened.body);
    let session = opened.json()["session"].as_str().unwrap().to_owned();
    let calls = format!("/v1/sessions/{session}/calls");
    let ask = |tool: &str| json!({"tool": tool, "arguments": {"name": "x"}, "confidence": 700}).to_string();
    let told = server.request(Some("pep"), "POST", &calls, &ask("crm/find")).json();
    assert_eq!(told["verdict"], "allow", "{told}");
    assert_eq!(server.request(Some("pep"), "POST", &calls, &ask("crm/drop")).json()["verdict"], "deny");
    assert_eq!(server.request(Some("agent"), "POST", &calls, &ask("crm/find")).status, 404);
    let result = json!({"call": told["call"], "content": "found"}).to_string();
    let seen =
        server.request(Some("pep"), "POST", &format!("/v1/sessions/{session}/results"), &result).json();
    assert_eq!(seen["band"], "pass", "{seen}");
    let path = format!("/v1/sessions/{session}");
    assert_eq!(server.request(Some("pep"), "DELETE", &path, "").status, 200);
    assert_eq!(server.request(Some("pep"), "POST", &calls, &ask("crm/find")).status, 409);
    assert_eq!(server.end("-TERM"), Some(0));
    let entry = told["entry"]["id"].as_str().unwrap();
    let shown = world.done(&["ledger", "show", "--record", entry]);
    assert!(shown.contains("700") && shown.contains("crm/find"), "{shown}");
}
