//! Checks of the right type and the wrong value.

use cordon_core::{Validator, ValidatorKind};
use cordon_inspect::check_validators;

use crate::node;

fn holds(kind: ValidatorKind, value: &str) -> bool {
    check_validators(&[Validator { at: "/v".into(), kind }], &node(&format!(r#"{{"v":{value}}}"#))).is_empty()
}

#[test]
fn an_email_address_is_exactly_one_address() {
    let ok = |text: &str| holds(ValidatorKind::Email, &cordon_core::json::quote(text));
    for text in ["ann@example.com", "a.b+c@mail.example.co.uk", "x_y@a-b.org"] {
        assert!(ok(text), "{text}");
    }
    for text in [
        "ann",
        "ann@",
        "@example.com",
        "ann@localhost",
        "ann@example.com,eve@evil.example",
        "ann@example.com eve@evil.example",
        "Ann <ann@example.com>",
        "ann@example.com\r\nBcc: eve@evil.example",
        "a@b@example.com",
        ".ann@example.com",
        "an..n@example.com",
        "ann@-example.com",
        "ann@example..com",
        "ann@exämple.com",
        "\"ann\"@example.com",
        "ann@example.com.",
        "",
    ] {
        assert!(!ok(text), "{text}");
    }
    assert!(!holds(ValidatorKind::Email, "7"));
    assert!(!holds(ValidatorKind::Email, r#"["ann@example.com"]"#));
}

#[test]
fn a_url_is_absolute_of_a_permitted_scheme_and_without_tricks() {
    let https = |text: &str| holds(ValidatorKind::Url { schemes: vec![] }, &cordon_core::json::quote(text));
    for text in [
        "https://example.com",
        "HTTPS://example.com:8443/a?b#c",
        "https://[2001:db8::1]/x",
        "https://10.0.0.1/",
    ] {
        assert!(https(text), "{text}");
    }
    for text in [
        "http://example.com",
        "javascript://example.com/%0aalert(1)",
        "https:example.com",
        "//example.com",
        "https:///etc/passwd",
        "https://user@example.com",
        "https://example.com\\@evil.example",
        "https://example.com /x",
        "https://example.com:99999/",
        "https://example.com:/",
        "https://[::1/",
        "https://exa\u{430}mple.com",
        "file:///etc/passwd",
        "",
    ] {
        assert!(!https(text), "{text}");
    }
    let schemes = vec!["http".into(), "ftp".into()];
    assert!(holds(ValidatorKind::Url { schemes: schemes.clone() }, r#""ftp://example.com/a""#));
    assert!(!holds(ValidatorKind::Url { schemes }, r#""https://example.com/a""#));
}

#[test]
fn a_range_takes_whole_numbers_however_they_are_written() {
    let range = || ValidatorKind::Range { min: 1, max: 5_000 };
    for text in ["1", "5000", "5000.0", "5e3"] {
        assert!(holds(range(), text), "{text}");
    }
    for text in ["0", "5001", "4999.5", "5e4", "-1", "\"1\"", "null", "1e999", "99999999999999999999"] {
        assert!(!holds(range(), text), "{text}");
    }
}

#[test]
fn a_length_counts_characters() {
    let length = || ValidatorKind::Length { min: 1, max: 3 };
    for (text, want) in [("\"äöü\"", true), ("\"äöüß\"", false), ("\"\"", false), ("123", false)] {
        assert_eq!(holds(length(), text), want, "{text}");
    }
}

#[test]
fn one_of_is_exact() {
    let list = || ValidatorKind::OneOf { values: vec!["low".into(), "high".into()] };
    for (text, want) in
        [("\"low\"", true), ("\"Low\"", false), ("\"low \"", false), ("\"\"", false), ("1", false)]
    {
        assert_eq!(holds(list(), text), want, "{text}");
    }
}

#[test]
fn one_argument_may_not_be_after_another() {
    let check = |from: &str, to: &str| {
        let validator =
            Validator { at: "/from".into(), kind: ValidatorKind::NotAfter { other: "/to".into() } };
        check_validators(&[validator], &node(&format!(r#"{{"from":{from},"to":{to}}}"#))).is_empty()
    };
    for (from, to) in [
        ("1", "1"),
        ("1.5", "1.50001"),
        ("9007199254740992", "9007199254740993"),
        ("\"2026-01-01\"", "\"2026-01-01\""),
        ("\"2026-01-01\"", "\"2026-01-01T00:00:00Z\""),
        ("\"2026-01-01T01:00:00+02:00\"", "\"2026-01-01T00:00:00Z\""),
        ("\"2026-01-01T00:00:00.5Z\"", "\"2026-01-01T00:00:01Z\""),
    ] {
        assert!(check(from, to), "{from} {to}");
    }
    for (from, to) in [
        ("2", "1"),
        ("9007199254740993", "9007199254740992"),
        ("\"2026-01-02\"", "\"2026-01-01\""),
        ("\"2026-01-01T00:00:00-02:00\"", "\"2026-01-01T00:00:00Z\""),
        ("\"2026-02-30\"", "\"2026-03-01\""),
        ("\"yesterday\"", "\"today\""),
        ("1", "\"2\""),
        ("1", "null"),
    ] {
        assert!(!check(from, to), "{from} {to}");
    }
}

#[test]
fn every_item_is_checked_and_an_absent_value_is_the_schemas_matter() {
    let each = |value: &str| {
        let validator = Validator { at: "/to/*".into(), kind: ValidatorKind::Email };
        check_validators(&[validator], &node(value)).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(each(r#"{"to":["a@example.com","b@example.com"]}"#).is_empty());
    assert!(each("{}").is_empty());
    assert_eq!(
        each(r#"{"to":["a@example.com","b"]}"#),
        ["`/to/*`: it is not an e-mail address, expected `local@domain`"]
    );
}
