//! Laws that hold for every input.

use cordon_core::Limits;
use cordon_wire::mcp::sse::{Event, Item, Reader, SseLimits};
use cordon_wire::mcp::stdio::Lines;
use cordon_wire::mcp::{Edit, ListKind, Listing, Message, RequestId, header, pin};
use proptest::prelude::*;

const STREAM: &str = "\u{feff}: hi\r\n\r\nevent: a\rdata: {\"x\":\r\ndata: \"ü€😀\"}\n\nid: 7\r\nretry: 10\r\n\r\n:\n\ndata\r\rdata: last\n\n";

#[test]
fn a_stream_cut_anywhere_gives_the_same_events() {
    let bytes = STREAM.as_bytes();
    let whole = Reader::new(SseLimits::DEFAULT).feed(bytes).unwrap();
    assert_eq!(whole.len(), 6);
    for first in 0..=bytes.len() {
        for second in first..=bytes.len() {
            let mut reader = Reader::new(SseLimits::DEFAULT);
            let mut items = Vec::new();
            for piece in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                items.extend(reader.feed(piece).unwrap());
            }
            assert_eq!(items, whole, "{first} {second}");
        }
    }
}

fn pieces(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<_> =
        cuts.iter().map(|cut| cut.checked_rem(bytes.len().saturating_add(1)).unwrap_or(0)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_stream_cut_anywhere_gives_the_same_items(
        bytes in prop::collection::vec(prop::sample::select(b"data:id \r\n\0\xff\xef\xbb\xbf7".to_vec()), 0..60),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let limits = SseLimits { line_bytes_max: 12, event_bytes_max: 9 };
        let run = |pieces: &[Vec<u8>]| {
            let mut reader = Reader::new(limits);
            let mut items = Vec::new();
            let end = pieces.iter().try_for_each(|piece| reader.read(piece, &mut items));
            (items, end, reader.is_cut())
        };
        let whole = run(std::slice::from_ref(&bytes));
        let cut = run(&pieces(&bytes, &cuts));
        prop_assert_eq!((&whole.0, whole.1), (&cut.0, cut.1));
    }

    #[test]
    fn any_lines_cut_anywhere_are_the_same_lines(
        bytes in prop::collection::vec(prop::sample::select(b"ab \r\n".to_vec()), 0..60),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let whole = Lines::new(4).feed(&bytes);
        let mut lines = Lines::new(4);
        let cut: Vec<_> = pieces(&bytes, &cuts).iter().flat_map(|piece| lines.feed(piece)).collect();
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn written_events_are_read_back(event in "[a-z]{1,5}", data in "[^\r]{0,40}", id in "[^\r\n\0]{0,5}", retry in any::<Option<u32>>()) {
        let written = Event { event: Some(event), data: Some(data), id: Some(id), retry_ms: retry.map(u64::from) };
        let read = Reader::new(SseLimits::DEFAULT).feed(&written.write());
        prop_assert_eq!(read, Ok(vec![Item::Event(written)]));
    }

    #[test]
    fn header_values_survive(value in ".{0,30}") {
        let encoded = header::encode(&value);
        let plain = encoded.bytes().all(|b| (0x20..0x7f).contains(&b) || b == b'\t');
        prop_assert!(plain);
        prop_assert_eq!(header::decode(encoded.as_bytes()), Some(value));
    }

    #[test]
    fn ids_are_echoed_as_they_were_written(text in ".{0,20}", number in any::<i64>()) {
        for id in [RequestId::text(&text), RequestId::whole(number)] {
            let request = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}");
            let message = Message::parse(request.as_bytes(), &Limits::DEFAULT).unwrap();
            prop_assert_eq!(message.id(), Some(&id));
            prop_assert_eq!(message.id().unwrap().as_json(), id.as_json());
        }
    }

    #[test]
    fn keeping_all_is_the_same_bytes_and_dropping_is_a_sub_list(
        names in prop::collection::vec("[a-z\"\\\\ü]{1,4}", 0..8),
        space in "[ \t\n\r]{0,2}",
        mask in any::<u8>(),
    ) {
        let items: Vec<_> = names.iter().map(|name| format!("{space}{{\"name\":{}}}{space}", cordon_core::json::quote(name))).collect();
        let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"tools\":[{}],\"z\":1.0}}}}", items.join(","));
        let message = Message::parse(text.as_bytes(), &Limits::DEFAULT).unwrap();
        let listing = Listing::of(&message, ListKind::Tools).unwrap();
        let all = listing.rewrite(|_| Edit::Keep).unwrap();
        prop_assert_eq!(all.bytes(), text.as_bytes());
        let mut bits = mask;
        let some = listing.rewrite(|_| {
            let keep = bits & 1 == 1;
            bits >>= 1;
            if keep { Edit::Keep } else { Edit::Drop }
        }).unwrap();
        let left: Vec<_> = Listing::of(&some, ListKind::Tools).unwrap().items().iter().map(|item| item.name().to_owned()).collect();
        let want: Vec<_> = names.iter().enumerate().filter(|(n, _)| mask >> n & 1 == 1).map(|(_, name)| name.clone()).collect();
        prop_assert_eq!(left, want);
    }

    #[test]
    fn nothing_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        crate::corpus::exercise(&bytes);
    }

    #[test]
    fn the_pin_does_not_depend_on_order(a in "[a-z]{1,3}", b in "[a-z]{1,3}") {
        prop_assume!(a != b && a != "_meta" && b != "_meta");
        let parse = |text: String| cordon_core::json::parse(text.as_bytes(), &Limits::DEFAULT).unwrap();
        prop_assert_eq!(pin(&parse(format!(r#"{{"{a}":1,"{b}":2}}"#))), pin(&parse(format!(r#"{{"{b}":2,"{a}":1}}"#))));
        prop_assert_ne!(pin(&parse(format!(r#"{{"{a}":1,"{b}":2}}"#))), pin(&parse(format!(r#"{{"{a}":2,"{b}":1}}"#))));
    }
}
