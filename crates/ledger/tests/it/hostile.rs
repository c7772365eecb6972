//! Readers of bytes from outside take anything without a panic, and what they take round-trips.

use cordon_ledger::{
    EntryProof, Frame, Header, NoteKey, Origin, SignedCheckpoint, bundle_entries, judge_tail,
};
use proptest::prelude::*;

const KEY: &str = "example.com/acme/default+";

proptest! {
    #[test]
    fn frames(mut bytes in proptest::collection::vec(any::<u8>(), 0..1_200), magic in any::<bool>()) {
        if magic && bytes.len() > 8 {
            bytes[..8].copy_from_slice(b"cordonF1");
        }
        // With a checksum that fits, so that the fields behind it are reached.
        if bytes.len() >= 144 {
            let crc = crc32c::crc32c(&bytes[..140]).to_be_bytes();
            bytes[140..144].copy_from_slice(&crc);
        }
        if let Ok(header) = Header::decode(&bytes) {
            prop_assert_eq!(&header.encode()[..], &bytes[..144]);
            if let Some(frame) = Frame::split(header, &bytes) {
                let _ = (frame.entries().count(), frame.sealed().count(), frame.body_holds());
            }
        }
        let _ = (judge_tail(&bytes), bundle_entries(&bytes).count());
    }

    #[test]
    fn texts(text in "(c2sp.org/tlog-proof@v1\n)?[ -~\n\u{2014}+]{0,200}") {
        if let Ok(proof) = EntryProof::parse(&text) {
            let again = EntryProof::parse(&proof.to_text());
            prop_assert_eq!(again, Ok(proof));
        }
        let named = [KEY, text.as_str()].concat();
        for text in [text.clone(), named] {
            if let Ok(key) = text.parse::<NoteKey>() {
                prop_assert_eq!(key.to_string(), text.clone());
            }
        }
        if let Ok(origin) = text.parse::<Origin>() {
            prop_assert_eq!(origin.as_str(), text.as_str());
        }
    }

    #[test]
    fn notes(size in any::<u64>(), junk in "[ -~\n]{0,80}") {
        let signing = cordon_core::ed25519::SigningKey::from_seed(&[4; 32]).unwrap();
        let key = cordon_ledger::LogKey::new("example.com/log".parse().unwrap(), signing);
        let checkpoint = cordon_ledger::Checkpoint { size, root: cordon_core::Digest::of(junk.as_bytes()) };
        let signed = SignedCheckpoint { checkpoint, signature: key.sign(&checkpoint) };
        let note = signed.note(key.public());
        prop_assert_eq!(SignedCheckpoint::open(&note, key.public()), Ok(signed));
        let prefixed = SignedCheckpoint::open(&[junk.as_str(), &note].concat(), key.public());
        prop_assert!(prefixed.is_err() || junk.is_empty());
    }
}
