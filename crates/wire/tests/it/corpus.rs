//! The corpus of messages, replayed whole and mutated: each file is read in one way or refused with a
//! reason, and nothing panics. Files whose name starts with `bad-` are refused.

use std::fs;
use std::path::PathBuf;

use cordon_core::Limits;
use cordon_wire::mcp::sse::{Reader, SseLimits};
use cordon_wire::mcp::stdio::Lines;
use cordon_wire::mcp::{
    Edit, Era, ListKind, Listing, Message, Method, Operation, Outcome, Sender, header, observe, pin, reply,
};

fn files() -> Vec<(String, Vec<u8>)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/mcp");
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Everything that the codec can do with some bytes.
pub(crate) fn exercise(bytes: &[u8]) {
    let _ = Reader::new(SseLimits { line_bytes_max: 64, event_bytes_max: 64 }).feed(bytes);
    let _ = Lines::new(64).feed(bytes);
    let _ = header::decode(bytes);
    let message = match Message::parse(bytes, &Limits::DEFAULT) {
        Ok(message) => message,
        Err(refusal) => {
            let answer = reply::refused(&refusal);
            assert!(Message::parse(answer, &Limits::DEFAULT).is_ok());
            return;
        }
    };
    let _ = Era::of(&message, None);
    let texts = observe::texts(&message);
    assert!(texts.iter().all(|(path, _, _)| path.starts_with('/')));
    for era in [Era::Legacy, Era::Modern] {
        for sender in [Sender::Client, Sender::Server] {
            if let Ok(operation) = Operation::of(&message, sender, era) {
                let _ = operation.action("srv");
                assert!(!operation.resources("srv", "t").is_empty());
            }
        }
        for method in Method::ALL {
            let _ = Outcome::of(&message, *method, era);
        }
        let _ = Outcome::of_task_notification(&message);
        let _ = header::check(&message, era, &[], &[]);
    }
    let _ =
        (message.call_digest(), message.arguments_digest(), message.look_alikes(), message.retry().is_some());
    for kind in [ListKind::Tools, ListKind::Resources, ListKind::Templates, ListKind::Prompts] {
        let Ok(listing) = Listing::of(&message, kind) else { continue };
        for item in listing.items() {
            let _ = (pin(item.node()), item.mirrored());
        }
        let none = listing.rewrite(|_| Edit::Drop).unwrap();
        assert!(Listing::of(&none, kind).unwrap().items().is_empty());
        let all = listing.rewrite(|_| Edit::Keep).unwrap();
        assert!(listing.malformed() > 0 || all.bytes() == message.bytes());
    }
    let line = message.clone().on_one_line();
    assert_eq!(
        Message::parse(line.bytes(), &Limits::DEFAULT).as_ref().map(Message::root),
        Ok(message.root())
    );
}

#[test]
fn every_file_is_read_in_one_way_or_refused() {
    let files = files();
    assert!(files.len() >= 40, "{}", files.len());
    for (name, bytes) in &files {
        exercise(bytes);
        let read = Message::parse(&**bytes, &Limits::DEFAULT);
        assert_eq!(read.is_err(), name.starts_with("bad-"), "{name}: {read:?}");
    }
}

#[test]
fn every_file_with_any_byte_changed_or_missing_is_handled() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for (_, bytes) in files() {
        for n in 0..bytes.len().min(400) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let mut changed = bytes.clone();
            changed[n] = state.to_le_bytes()[0];
            exercise(&changed);
            let mut missing = bytes.clone();
            missing.remove(n);
            exercise(&missing);
            exercise(&bytes[..n]);
        }
    }
}
