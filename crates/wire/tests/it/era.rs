//! Which era a message belongs to.

use cordon_wire::mcp::{Era, Version};

use crate::{message, request, result};

const MODERN: &str = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#;

fn check(message: &cordon_wire::mcp::Message, header: Option<&str>, want: Result<Option<Era>, i64>) {
    let got = Era::of(message, header).map_err(|refusal| refusal.code());
    assert_eq!(got, want, "{:?} {header:?}", message.method());
}

#[test]
fn a_request_says_its_era_by_itself_or_leaves_it_to_its_connection() {
    check(&request("tools/list", MODERN), None, Ok(Some(Era::Modern)));
    check(&request("tools/list", MODERN), Some("2026-07-28"), Ok(Some(Era::Modern)));
    check(&request("initialize", r#"{"protocolVersion":"2025-06-18"}"#), None, Ok(Some(Era::Legacy)));
    check(&request("tools/list", "{}"), None, Ok(None));
    check(&request("tools/list", "{}"), Some("2025-11-25"), Ok(Some(Era::Legacy)));
    check(
        &message(r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#),
        Some("2026-07-28"),
        Ok(Some(Era::Modern)),
    );
    check(&result("{}"), Some("2025-06-18"), Ok(Some(Era::Legacy)));
    check(&result("{}"), None, Ok(None));
}

#[test]
fn versions_that_contradict_each_other_or_are_not_spoken_are_refused() {
    check(&request("tools/list", MODERN), Some("2025-11-25"), Err(-32020));
    check(&request("tools/list", "{}"), Some("2026-07-28"), Err(-32020));
    check(&request("tools/list", MODERN), Some("2026-07-28 "), Err(-32020));
    check(&request("tools/list", "{}"), Some("1900-01-01"), Err(-32022));
    let with = |version: &str| request("tools/list", &MODERN.replace("\"2026-07-28\"", version));
    check(&with("\"2027-01-01\""), None, Err(-32022));
    check(&with("\"2025-11-25\""), None, Err(-32022));
    check(&with("20260728"), None, Err(-32600));
    check(&with("\"1900-01-01\""), Some("1900-01-01"), Err(-32022));
}

#[test]
fn the_handshake_settles_on_a_version() {
    assert_eq!(
        Version::negotiated(&request("initialize", r#"{"protocolVersion":"2025-06-18"}"#)),
        Some(Version::V2025_06_18)
    );
    assert_eq!(
        Version::negotiated(&result(r#"{"protocolVersion":"2025-11-25"}"#)),
        Some(Version::V2025_11_25)
    );
    assert_eq!(Version::negotiated(&result(r#"{"protocolVersion":"soon"}"#)), None);
    for version in Version::ALL {
        assert_eq!(Version::parse(version.as_str()), Some(*version));
    }
}
