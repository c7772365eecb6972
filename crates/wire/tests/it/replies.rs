//! What a door answers by itself.

use cordon_core::{Digest, Reason, ReasonKind, Role, RuleRef, Verdict};
use cordon_wire::mcp::reply::{self, Approval, Denial, Entry};
use cordon_wire::mcp::{Era, Kind, Message, Outcome, RequestId};

use crate::{message, parse};

fn read(bytes: Vec<u8>) -> Message {
    message(std::str::from_utf8(&bytes).unwrap())
}

#[test]
fn a_denial_says_what_which_rule_what_would_help_and_which_record() {
    let reasons = [Reason {
        kind: ReasonKind::Forbidden,
        rule: RuleRef { rule: "no-\"outside\"".into(), file: "permissions/mail.cedar".into(), line: 7 },
        principal: Some(Role::Agent),
        message: "mail leaves\nthe company".into(),
        remedy: Some("send it to example.com".into()),
    }];
    let denial = Denial {
        text: "Cordon refused mail/send.\nBecause.",
        verdict: Verdict::Deny,
        action: "mail/send",
        reasons: &reasons,
        bundle: Some(Digest::of(b"")),
        entry: Some(Entry { id: "rec_1", level: "durable", index: Some(4) }),
        approval: None,
    };
    let id = message(r#"{"jsonrpc":"2.0","id":"\u0061","method":"tools/call","params":{"name":"x"}}"#)
        .id()
        .cloned()
        .unwrap();
    let answer = read(reply::denied(&id, &denial));
    assert_eq!(answer.id().map(RequestId::as_json), Some(r#""\u0061""#));
    let Ok(Outcome::Error { code, message: text }) =
        Outcome::of(&answer, cordon_wire::mcp::Method::CallTool, Era::Modern)
    else {
        panic!("{answer:?}")
    };
    assert_eq!((code, text), (reply::DENIED, denial.text));
    let data = answer.error().unwrap().get("data").unwrap();
    let at = |pointer: &str| data.select(pointer).first().map(ToString::to_string).unwrap_or_default();
    assert_eq!(at("/verdict"), "\"deny\"");
    assert_eq!(at("/reasons/0/rule"), r#""no-\"outside\"""#);
    assert_eq!((at("/reasons/0/line"), at("/reasons/0/principal")), ("7".to_owned(), "\"agent\"".to_owned()));
    assert_eq!(
        (at("/reasons/0/remedy"), at("/entry/index")),
        ("\"send it to example.com\"".to_owned(), "4".to_owned())
    );
    assert_eq!(at("/approval"), "");

    let held = Denial {
        verdict: Verdict::Ask,
        approval: Some(Approval { id: "apr_1", expires: "2026-11-21T00:00:00Z" }),
        ..denial
    };
    let answer = read(reply::denied(&id, &held));
    assert_eq!(answer.error().unwrap().get("code").unwrap().as_i64(), Some(reply::HELD));
    assert!(
        answer
            .raw(answer.error().unwrap())
            .contains(r#""approval":{"id":"apr_1","expires":"2026-11-21T00:00:00Z"}"#)
    );

    for (era, has) in [(Era::Modern, true), (Era::Legacy, false)] {
        let answer = read(reply::denied_as_result(&id, &denial, era));
        let outcome = Outcome::of(&answer, cordon_wire::mcp::Method::CallTool, era).unwrap();
        assert_eq!(outcome, Outcome::Complete { is_error: true, structured: None });
        assert_eq!(answer.result().unwrap().get("resultType").is_some(), has);
    }
}

#[test]
fn codes_keep_out_of_the_ranges_of_others() {
    for code in [reply::DENIED, reply::HELD, reply::UPSTREAM, reply::UNAVAILABLE] {
        assert!(!(-32768..=-32000).contains(&code), "{code}");
    }
}

#[test]
fn a_refusal_is_answered_under_its_id_or_under_none() {
    let refusal = parse(r#"{"jsonrpc":"2.0","id":9,"method":"ping","params":7}"#).unwrap_err();
    let answer = read(reply::refused(&refusal));
    assert_eq!(answer.id(), Some(&RequestId::whole(9)));
    let answer = read(reply::refused(&parse("[]").unwrap_err()));
    assert_eq!(answer.kind(), &Kind::Error { id: None });
    let version =
        crate::request("tools/list", r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"1900-01-01"}}"#);
    let answer = read(reply::refused(&Era::of(&version, None).unwrap_err()));
    let data = answer.error().unwrap().get("data").unwrap().to_string();
    assert_eq!(
        data,
        r#"{"supported":["2026-07-28","2025-11-25","2025-06-18","2025-03-26","2024-11-05"],"requested":"1900-01-01"}"#
    );
}

#[test]
fn progress_and_cancelling_are_messages_of_the_protocol() {
    let progress = read(reply::progress("\"tok\\u0041\"", 1, Some(30), "waiting for \"apr_1\""));
    assert_eq!(progress.method(), Some("notifications/progress"));
    assert_eq!(progress.raw(progress.param("progressToken").unwrap()), "\"tok\\u0041\"");
    let cancelled = read(reply::cancelled(&RequestId::text("x"), "the client left"));
    assert_eq!(cancelled.raw(cancelled.param("requestId").unwrap()), "\"x\"");
}
