//! Pages, names and body types.

use cordon_wire::mcp::http::{Authority, Hosts, Origins, accepts_both, is_event_stream, is_json};

#[test]
fn only_names_of_this_machine_or_listed_ones_are_answered_to() {
    let local = Hosts::loopback();
    for host in
        ["localhost", "LOCALHOST:7070", "127.0.0.1:7070", "127.9.9.9", "[::1]", "[::1]:7070", "localhost."]
    {
        assert!(local.admit(Some(host)), "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "0.0.0.0",
        "[::]",
        "localhost:x",
        "localhost:",
        "a@localhost",
        "localhost/",
        " localhost",
        "[::1",
        "",
        "169.254.169.254",
        "127.1",
    ] {
        assert!(!local.admit(Some(host)), "{host}");
    }
    assert!(!local.admit(None));
    let listed = Hosts::default().with(Authority::parse("cordon.example:443").unwrap());
    assert!(listed.admit(Some("Cordon.Example:443")));
    for host in ["cordon.example", "cordon.example:80", "localhost", "x.cordon.example:443"] {
        assert!(!listed.admit(Some(host)), "{host}");
    }
}

#[test]
fn only_pages_of_this_machine_or_listed_ones_may_speak() {
    let local = Origins::loopback();
    assert!(local.admit(None));
    for origin in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:7070"] {
        assert!(local.admit(Some(origin)), "{origin}");
    }
    for origin in [
        "http://evil.example",
        "null",
        "",
        "http://localhost.evil.example",
        "http://localhost:3000/",
        "file://",
        "http://a@localhost",
        "http://localhost http://evil.example",
        "chrome-extension://abc",
        "localhost",
    ] {
        assert!(!local.admit(Some(origin)), "{origin}");
    }
    let listed = Origins::default().with("https://app.example").unwrap();
    assert!(listed.admit(Some("https://APP.example")) && listed.admit(Some("https://app.example:443")));
    for origin in
        ["http://app.example", "https://app.example:8443", "http://localhost", "https://x.app.example"]
    {
        assert!(!listed.admit(Some(origin)), "{origin}");
    }
    assert_eq!(Origins::default().with("app.example"), None);
}

#[test]
fn body_types_are_read_without_their_parameters() {
    assert!(is_json("application/json") && is_json("Application/JSON; charset=utf-8"));
    assert!(!is_json("application/jsonp") && !is_json("text/plain") && !is_json(""));
    assert!(is_event_stream("text/event-stream;charset=utf-8") && !is_event_stream("text/event"));
    for accept in [
        "application/json, text/event-stream",
        "*/*",
        "text/*,application/*;q=0.5",
        "text/event-stream;q=1,application/json",
    ] {
        assert!(accepts_both(accept), "{accept}");
    }
    for accept in [
        "application/json",
        "text/event-stream",
        "",
        "application/json, text/event-stream;q=0",
        "application/jsonx,text/event-stream",
    ] {
        assert!(!accepts_both(accept), "{accept}");
    }
}
