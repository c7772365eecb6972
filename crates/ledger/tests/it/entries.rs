//! Entries: complete, canonical, and honest about which field was changed.

use cordon_core::cbor::Cbor;
use cordon_core::{Entropy, RecordId, SessionId, Timestamp};
use cordon_ledger::{
    AbsentReason, Draft, Entry, FieldId, Item, Kind, Link, Opening, Outline, leaf_hash, locate,
};
use proptest::prelude::*;

pub(crate) struct Counting(pub(crate) u8);
impl Entropy for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

pub(crate) fn identity() -> Cbor {
    Cbor::map([(1, Cbor::from("example.com/log+00000000+key"))])
}

pub(crate) fn decision() -> Draft {
    Draft::new(
        RecordId::from_bytes([1; 16]),
        Timestamp::from_micros(1_795_000_000_000_000),
        "acme",
        Kind::Decision,
    )
    .in_session(SessionId::from_bytes([2; 16]))
    .with(FieldId::PromptText, "what the user said")
    .with(FieldId::Confidence, 9_100)
    .with(FieldId::Action, "mail/send")
    .with(FieldId::Classes, Cbor::Array(vec!["message.send".into()]))
    .without(FieldId::SandboxId, AbsentReason::NotApplicable)
    .attach(Cbor::map([(1, Cbor::from("request"))]))
}

pub(crate) fn encoded(draft: Draft) -> (Vec<u8>, Vec<Opening>) {
    let (body, openings) = draft.close(&identity(), &mut Counting(0)).unwrap();
    (body.place(Link::FIRST).0, openings)
}

#[test]
fn a_decision_accounts_for_every_field_exactly_once() {
    let (bytes, openings) = encoded(decision());
    let entry = Entry::decode(&bytes).unwrap();
    for field in FieldId::EVIDENCE.iter().chain(FieldId::TRACE) {
        assert_eq!(entry.fields.iter().filter(|(found, _)| found == field).count(), 1, "{field}");
    }
    assert_eq!(entry.get(FieldId::PromptHash), Some(&Item::Absent(AbsentReason::NotProvided)));
    assert_eq!(entry.get(FieldId::SandboxId), Some(&Item::Absent(AbsentReason::NotApplicable)));
    assert_eq!(entry.clear(FieldId::Confidence), Some(&Cbor::Uint(9_100)));
    assert_eq!(entry.clear(FieldId::CryptographicIdentity), Some(&identity()));
    let outline = Outline::read(&bytes).unwrap();
    assert_eq!((outline.kind, outline.committed), (Kind::Decision, 2));
    assert_eq!(openings.len(), 2);
    for opening in &openings {
        assert_eq!(entry.get(opening.field), Some(&Item::Committed(opening.commitment())));
    }
    assert_ne!(openings[0].salt, openings[1].salt);
}

#[test]
fn nothing_that_is_sealed_appears_in_the_entry() {
    let mut draft = decision();
    for field in FieldId::ALL.iter().filter(|field| field.exposure() == cordon_ledger::Exposure::Sealed) {
        draft = draft.with(*field, "canary");
    }
    let (bytes, openings) = encoded(draft);
    assert!(!bytes.windows(6).any(|window| window == b"canary"));
    assert!(openings.len() > 10);
}

#[test]
fn the_last_value_counts_and_the_logs_own_fields_are_refused() {
    let twice =
        decision().with(FieldId::Action, "files/read").without(FieldId::Confidence, AbsentReason::Unknown);
    let entry = Entry::decode(&encoded(twice).0).unwrap();
    assert_eq!(entry.clear(FieldId::Action), Some(&"files/read".into()));
    assert_eq!(entry.get(FieldId::Confidence), Some(&Item::Absent(AbsentReason::Unknown)));
    for field in [FieldId::Timestamp, FieldId::Link, FieldId::Kind] {
        assert!(decision().with(field, 1).close(&identity(), &mut Counting(0)).is_err());
    }
}

#[test]
fn a_decision_that_lacks_a_field_is_not_in_the_format() {
    let (bytes, _) = encoded(decision());
    // The kind is the first field: `01 82 00 02`. A result need not have what a decision must have.
    let at = bytes.windows(4).position(|window| window == [1, 0x82, 0, 2]).unwrap();
    let draft = Draft::new(RecordId::from_bytes([1; 16]), Timestamp::from_micros(1), "acme", Kind::Result);
    let (mut result, _) = encoded(draft);
    assert!(Outline::read(&result).is_ok());
    let kind = result.windows(4).position(|window| window == [1, 0x82, 0, 3]).unwrap();
    result[kind + 3] = 2;
    let fault = Outline::read(&result).unwrap_err();
    assert_eq!(fault.field, Some(FieldId::PromptHash), "{fault}");
    assert_eq!(bytes[at], 1);
}

/// The span of each field's key and item in an entry.
fn spans(bytes: &[u8]) -> Vec<(FieldId, std::ops::Range<usize>)> {
    let entry = Entry::decode(bytes).unwrap();
    let mut end = bytes.len();
    let mut spans = Vec::new();
    for (field, item) in entry.fields.iter().rev() {
        let mut encoded = Vec::new();
        cordon_core::cbor::head(&mut encoded, 0, u64::from(field.code()));
        encoded.push(0x82);
        match item {
            Item::Clear(value) => {
                encoded.push(0);
                value.encode_to(&mut encoded);
            }
            Item::Committed(commitment) => {
                encoded.extend([1, 0x58, 32]);
                encoded.extend(commitment.as_bytes());
            }
            Item::Absent(reason) => {
                encoded.push(2);
                cordon_core::cbor::head(&mut encoded, 0, reason.code());
            }
        }
        let start = end - encoded.len();
        assert_eq!(bytes[start..end], encoded);
        spans.push((*field, start..end));
        end = start;
    }
    spans
}

#[test]
fn every_changed_bit_of_every_field_is_named() {
    let (bytes, _) = encoded(decision());
    assert_eq!(locate(&bytes), None);
    for (field, span) in spans(&bytes) {
        for at in span {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert_ne!(leaf_hash(&changed), leaf_hash(&bytes));
                assert_eq!(locate(&changed), Some(field), "byte {at}, bit {bit}");
            }
        }
    }
}

proptest! {
    #[test]
    fn the_quick_check_and_the_whole_reader_agree_on_changed_entries(
        at in 0usize..2_000, to in any::<u8>(), cut in any::<bool>(),
    ) {
        let (mut bytes, _) = encoded(decision());
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = to }
        let whole = Entry::decode(&bytes);
        // The quick check refuses more (missing fields), never less.
        if Outline::read(&bytes).is_ok() {
            prop_assert!(whole.is_ok());
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (Entry::decode(&bytes), Outline::read(&bytes), locate(&bytes));
    }
}
