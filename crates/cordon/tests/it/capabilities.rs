//! A capability token over the network: granted, narrowed offline, shown, taken back.

use cordon_core::ed25519::SigningKey;
use cordon_core::{Caveat, Digest, Entropy, Timestamp};
use cordon_guard::{Proof, Subject, Token};
use serde_json::{Value, json};

use crate::world::{Answer, CORDON, Server, World};

const PATH: &str = "/mcp/office";

struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(5).wrapping_add(7);
            *byte = self.0;
        }
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

fn world() -> World {
    let world = World::office();
    let server = format!(
        "\n[[mcp.server]]\nname = \"office\"\ncommand = {CORDON:?}\nargs = [\"fixture-server\", \"office\"]\n"
    );
    world.append("cordon.toml", &server);
    world
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap())
}

fn call(tool: &str, arguments: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments,
        "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {}}}})
    .to_string()
}

/// Sends a call with these headers, each ending its line.
fn send(server: &Server<'_>, tool: &str, headers: &str, body: &str) -> Answer {
    server.raw(&format!(
        "POST {PATH} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
         Mcp-Method: tools/call\r\nMcp-Name: {tool}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        server.address,
        body.len()
    ))
}

fn shown(token: &Token, holder: u8, nonce: u8, body: &str) -> String {
    let subject = Subject { token, method: "POST", target: PATH, body: Digest::of(body.as_bytes()) };
    let proof = Proof::new(&key(holder), &subject, [nonce; 16], now());
    format!("Cordon-Capability: {}\r\nCordon-Proof: {proof}\r\n", token.to_text())
}

fn granted(server: &Server<'_>, more: Value) -> (Token, String) {
    let mut request = json!({"holder": key(1).verifying_key().to_string(), "expires_s": 600});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = server.request(Some("agent"), "POST", "/v1/capabilities", &request.to_string());
    assert_eq!(answer.status, 201, "{}", answer.body);
    let answer = answer.json();
    (Token::parse(answer["token"].as_str().unwrap()).unwrap(), answer["block"].as_str().unwrap().to_owned())
}

#[test]
fn a_token_is_enough_to_call_and_only_for_what_it_says() {
    let world = world();
    let server = world.serve();
    let (token, block) = granted(&server, json!({"tools": ["office/read_mail", "office/list_mail"]}));
    let read = call("read_mail", &json!({"id": "m2"}));
    let answer = send(&server, "read_mail", &shown(&token, 1, 1, &read), &read);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.json()["result"]["content"][0]["text"].is_string(), "{}", answer.body);
    let pay = call("pay", &json!({"to": "ACME", "amount": 1, "reference": "r"}));
    let refused = send(&server, "pay", &shown(&token, 1, 2, &pay), &pay);
    assert!(
        refused.body.contains("cordon:capability") && refused.body.contains("tool in"),
        "{}",
        refused.body
    );

    let narrower = token
        .attenuate(
            &key(1),
            &key(2).verifying_key(),
            &[Caveat::Tools(["office/list_mail".into()].into())],
            &mut Counting(1),
        )
        .unwrap();
    let refused = send(&server, "read_mail", &shown(&narrower, 2, 3, &read), &read);
    assert!(refused.body.contains("block 1"), "{}", refused.body);
    let thief = send(&server, "read_mail", &shown(&token, 2, 4, &read), &read);
    assert_eq!(thief.status, 403, "{}", thief.body);
    let bare = send(&server, "read_mail", &format!("Cordon-Capability: {}\r\n", token.to_text()), &read);
    assert_eq!(bare.status, 403, "{}", bare.body);
    let again = shown(&token, 1, 5, &read);
    assert_eq!(send(&server, "read_mail", &again, &read).status, 200);
    assert_eq!(send(&server, "read_mail", &again, &read).status, 403, "a proof counts once");
    let other = call("read_mail", &json!({"id": "m1"}));
    assert_eq!(send(&server, "read_mail", &shown(&token, 1, 6, &other), &read).status, 403, "another body");

    let revoke = json!({"block": block}).to_string();
    assert_eq!(server.request(Some("agent"), "POST", "/v1/capabilities/revoke", &revoke).status, 403);
    assert_eq!(server.request(Some("operator"), "POST", "/v1/capabilities/revoke", &revoke).status, 200);
    let ended = send(&server, "read_mail", &shown(&token, 1, 7, &read), &read);
    assert!(ended.status == 403 && ended.body.contains("taken back"), "{}", ended.body);
}

#[test]
fn a_token_opens_no_other_door_and_does_not_outlive_its_run() {
    let world = world();
    let server = world.serve();
    let (token, _) = granted(&server, json!({"max_depth": 0}));
    let head = shown(&token, 1, 1, "{}");
    for path in ["/v1/status", "/v1/capabilities", "/access/v1/evaluation"] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\n{head}Connection: close\r\nContent-Length: 2\r\n\r\n{{}}",
            server.address
        );
        assert_eq!(server.raw(&request).status, 403, "{path}");
    }
    for wrong in [
        json!({"tool": ["x"]}),
        json!({"classes": ["no.class"]}),
        json!({"expires_s": 0}),
        json!({"expires_s": 90_000}),
        json!({"arguments": [{"at": "amount", "at_most": 1}]}),
        json!({"arguments": {"at": "/amount", "at_most": 1}}),
        json!({"arguments": [{"at": "/amount"}]}),
    ] {
        let mut request = json!({"holder": key(1).verifying_key().to_string(), "expires_s": 600});
        request.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let answer = server.request(Some("agent"), "POST", "/v1/capabilities", &request.to_string());
        assert_eq!(answer.status, 422, "{request}: {}", answer.body);
    }
    let passed = token.attenuate(&key(1), &key(2).verifying_key(), &[], &mut Counting(1)).unwrap();
    let read = call("read_mail", &json!({"id": "m2"}));
    let deeper = send(&server, "read_mail", &shown(&passed, 2, 2, &read), &read);
    assert!(deeper.body.contains("depth <= 0"), "{}", deeper.body);
    assert_eq!(send(&server, "read_mail", &shown(&token, 1, 3, &read), &read).status, 200);
    assert_eq!(server.end("-TERM"), Some(0));
    let server = world.serve();
    assert_eq!(send(&server, "read_mail", &shown(&token, 1, 4, &read), &read).status, 403);
}
