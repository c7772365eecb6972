//! Every text that a model could come to see.

use cordon_core::Digest;
use cordon_wire::mcp::observe::{self, TextKind};

use crate::{message, result};

fn check(message: &cordon_wire::mcp::Message, want: &[(&str, &str, TextKind)]) {
    let got = observe::texts(message);
    for (path, text, kind) in want {
        assert!(
            got.iter().any(|(p, t, k)| p == path && t == text && k == kind),
            "{path} {text} {kind:?} in {got:#?}"
        );
    }
}

#[test]
fn a_tool_result_is_seen_whole() {
    let message = result(
        r#"{"content":[{"type":"text","text":"T1","annotations":{"audience":["user"]},"_meta":{"k":"M1"}},
        {"type":"resource","resource":{"uri":"file:///a","text":"T2"}},{"type":"resource","resource":{"uri":"file:///b","blob":"SGk="}},
        {"type":"resource_link","uri":"file:///c","name":"N1","description":"D1"},{"type":"image","data":"AAAA","mimeType":"image/png"},
        {"type":"hologram","words":"H1"}],"structuredContent":{"S1":[{"text":"S2"}]},"_meta":{"M2":{"M3":"M4"}},"invented":"I1"}"#,
    );
    check(
        &message,
        &[
            ("/result/content/0/text", "T1", TextKind::Content),
            ("/result/content/0/_meta/k", "M1", TextKind::Meta),
            ("/result/content/1/resource/text", "T2", TextKind::Content),
            ("/result/content/1/resource/uri", "file:///a", TextKind::Uri),
            ("/result/content/2/resource/blob", "SGk=", TextKind::Blob),
            ("/result/content/3/name", "N1", TextKind::Description),
            ("/result/content/3/description", "D1", TextKind::Description),
            ("/result/content/4/data", "AAAA", TextKind::Blob),
            ("/result/content/5/words", "H1", TextKind::Other),
            ("/result/content/5/words", "words", TextKind::Name),
            ("/result/structuredContent/S1", "S1", TextKind::Name),
            ("/result/structuredContent/S1/0/text", "S2", TextKind::Structured),
            ("/result/_meta/M2", "M2", TextKind::Name),
            ("/result/_meta/M2/M3", "M4", TextKind::Meta),
            ("/result/invented", "I1", TextKind::Other),
        ],
    );
    assert_eq!(observe::observe(&message, |_| {}), Digest::of(message.bytes()));
    let mut decoded = None;
    observe::observe(&message, |seen| decoded = decoded.take().or(seen.decoded()));
    assert_eq!(decoded, Some(b"Hi".to_vec()));
}

#[test]
fn prompts_resources_errors_lists_and_notifications_are_seen_too() {
    check(
        &result(r#"{"messages":[{"role":"user","content":{"type":"text","text":"P"}}]}"#),
        &[("/result/messages/0/content/text", "P", TextKind::Content)],
    );
    check(
        &result(r#"{"contents":[{"uri":"u","text":"R"}]}"#),
        &[("/result/contents/0/text", "R", TextKind::Content)],
    );
    check(
        &result(r#"{"completion":{"values":["C"]}}"#),
        &[("/result/completion/values/0", "C", TextKind::Content)],
    );
    check(
        &result(
            r#"{"tools":[{"name":"n","description":"d","inputSchema":{"properties":{"p":{"description":"hidden","enum":["e"]}}}}],"instructions":"i"}"#,
        ),
        &[
            ("/result/tools/0/description", "d", TextKind::Description),
            ("/result/tools/0/inputSchema/properties/p/description", "hidden", TextKind::Description),
            ("/result/tools/0/inputSchema/properties/p", "p", TextKind::Name),
            ("/result/tools/0/inputSchema/properties/p/enum/0", "e", TextKind::Description),
            ("/result/instructions", "i", TextKind::Description),
        ],
    );
    check(
        &message(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"E","data":{"text":["F"]}}}"#),
        &[("/error/message", "E", TextKind::Error), ("/error/data/text/0", "F", TextKind::Error)],
    );
    check(
        &message(
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":{"note":"L"}}}"#,
        ),
        &[("/params/data/note", "L", TextKind::Other)],
    );
    check(
        &message(
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1,"message":"G"}}"#,
        ),
        &[("/params/message", "G", TextKind::Content)],
    );
    check(
        &result(
            r#"{"resultType":"input_required","inputRequests":{"KEY":{"method":"sampling/createMessage","params":{"systemPrompt":"Y","messages":[{"role":"user","content":[{"type":"text","text":"Z"}]}]}}}}"#,
        ),
        &[
            ("/result/inputRequests/KEY", "KEY", TextKind::Name),
            ("/result/inputRequests/KEY/params/systemPrompt", "Y", TextKind::Content),
            ("/result/inputRequests/KEY/params/messages/0/content/0/text", "Z", TextKind::Content),
        ],
    );
    check(
        &message(r#"{"jsonrpc":"2.0","id":1,"result":{},"a/b":"outside"}"#),
        &[("/a~1b", "outside", TextKind::Other), ("/a~1b", "a/b", TextKind::Name)],
    );
}
