//! Streams of events and of lines.

use cordon_wire::mcp::sse::{Event, Item, Reader, SseError, SseLimits};
use cordon_wire::mcp::stdio::{Line, Lines};

fn read(bytes: &[u8]) -> Vec<Item> {
    Reader::new(SseLimits::DEFAULT).feed(bytes).unwrap()
}

fn event(event: Option<&str>, data: Option<&str>, id: Option<&str>, retry_ms: Option<u64>) -> Item {
    let own = |text: Option<&str>| text.map(str::to_owned);
    Item::Event(Event { event: own(event), data: own(data), id: own(id), retry_ms })
}

#[test]
fn events_are_read_as_the_standard_says() {
    let comment = |text: &str| Item::Comment(text.to_owned());
    for (text, want) in [
        ("data: a\n\n", vec![event(None, Some("a"), None, None)]),
        (
            "data:a\r\rdata:  b\r\r",
            vec![event(None, Some("a"), None, None), event(None, Some(" b"), None, None)],
        ),
        (
            "event: message\r\nid: 7\r\ndata: {\r\ndata: }\r\n\r\n",
            vec![event(Some("message"), Some("{\n}"), Some("7"), None)],
        ),
        ("\u{feff}data: a\n\n", vec![event(None, Some("a"), None, None)]),
        ("data: \u{feff}a\n\n", vec![event(None, Some("\u{feff}a"), None, None)]),
        (":\n: ping\n\n:\r\n", vec![comment(""), comment("ping"), comment("")]),
        ("data\n\n", vec![event(None, Some(""), None, None)]),
        ("id: 1\ndata:\n\n", vec![event(None, Some(""), Some("1"), None)]),
        ("data\ndata\n\n", vec![event(None, Some("\n"), None, None)]),
        ("id: 1\nretry: 500\n\n", vec![event(None, None, Some("1"), Some(500))]),
        ("retry: 5x\nid: a\0b\nData: x\nunknown: y\n\n", vec![]),
        (
            "data: a\n: in between\ndata: b\n\n",
            vec![comment("in between"), event(None, Some("a\nb"), None, None)],
        ),
        ("data: never ended\n", vec![]),
        ("\n\n\n", vec![]),
    ] {
        assert_eq!(read(text.as_bytes()), want, "{text:?}");
    }
}

#[test]
fn limits_and_bad_text_end_a_stream() {
    let limits = SseLimits { line_bytes_max: 10, event_bytes_max: 8 };
    let error = |bytes: &[u8]| Reader::new(limits).feed(bytes).unwrap_err();
    assert_eq!(error(b"data: 12345"), SseError::LineTooLong(10));
    assert_eq!(error(b"data:1234\ndata:1234\n"), SseError::EventTooLarge(8));
    assert_eq!(error(b"data:\xff\n"), SseError::Utf8);
    assert_eq!(Reader::new(limits).feed(b"data:12345\n\ndata:12345\n\n").map(|items| items.len()), Ok(2));
    let mut reader = Reader::new(limits);
    let mut items = Vec::new();
    assert!(reader.read(b"data: a\n\ndata:\xff\n\ndata: b\n\n", &mut items).is_err());
    assert_eq!(items, [event(None, Some("a"), None, None)]);
    assert_eq!(reader.feed(b"data: c\n\n"), Err(SseError::Utf8));
    let mut cut = Reader::new(limits);
    assert!(!cut.is_cut());
    assert!(cut.feed(b"data: a\n").is_ok() && cut.is_cut());
}

#[test]
fn what_is_written_is_read_back() {
    let written = Event {
        event: Some("x\ny".into()),
        data: Some("a\r\nb\rc\n".into()),
        id: Some("1".into()),
        retry_ms: Some(5),
    };
    assert_eq!(read(&written.write()), [event(Some("x"), Some("a\nb\nc\n"), Some("1"), Some(5))]);
    assert_eq!(Event::message("{}").write(), b"data: {}\n\n");
}

#[test]
fn one_line_is_one_message() {
    let lines = |bytes: &[u8]| Lines::new(8).feed(bytes);
    let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
    assert_eq!(lines(b"a\nb\r\n\n \t\r\nc"), [whole("a"), whole("b")]);
    assert_eq!(lines(b"12345678\r\n123456789\nok\n"), [whole("12345678"), Line::TooLong, whole("ok")]);
    let mut cut = Lines::new(8);
    assert!(cut.feed(b"a\nbc").len() == 1 && cut.is_cut());
    assert!(cut.feed(b"\n").len() == 1 && !cut.is_cut());
    assert_eq!(cordon_wire::mcp::stdio::frame(b"{}"), b"{}\n");
}
