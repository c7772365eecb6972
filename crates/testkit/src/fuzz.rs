//! What every parser promises for any bytes at all: it ends, never panics, and what it takes it means.
//!
//! Each target is run by the fuzzer (`fuzz/`) on new input and by an ordinary test on the committed
//! corpus. A target panics when a promise is broken.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cordon_core::cbor::Cbor;
use cordon_core::ed25519::SigningKey;
use cordon_core::json;
use cordon_core::{Encode, Facts, Limits, Request, Timestamp};
use cordon_guard::policy::{
    Bundle, BundleRole, ENVELOPE_FILE, PolicySet, PolicySource, RoleTrust, Trust, manifest_from_json,
    parse_manifests,
};
use cordon_inspect::{Schema, SchemaLimits};
use cordon_ledger::{
    Entry, EntryProof, Frame, HEADER_BYTES, Header, NoteKey, Origin, Outline, SignedCheckpoint, judge_tail,
};
use cordon_wire::mcp::{self, Era, ListKind, Listing, Message, Method, Operation, Outcome, Sender};

/// A promise about bytes.
pub type Target = fn(&[u8]);

/// Every target by the name of its fuzz target and of its corpus.
pub const TARGETS: [(&str, Target); 10] = [
    ("json_rpc", json_rpc),
    ("sse", sse),
    ("schema", schema),
    ("cbor", cbor),
    ("entry", entry),
    ("frame", frame),
    ("checkpoint", checkpoint),
    ("bundle", bundle),
    ("policy", policy),
    ("manifest", manifest),
];

/// An MCP message: parsed, classified, observed, rewritten; a splice of nothing changes nothing.
pub fn json_rpc(data: &[u8]) {
    let Ok(message) = Message::parse(data, &Limits::DEFAULT) else { return };
    assert_eq!(message.bytes(), data, "what is held is what came");
    let again = json::parse(message.root().to_string().as_bytes(), &Limits::DEFAULT);
    assert_eq!(
        again.map(|node| node.canonical()).ok(),
        Some(message.root().canonical()),
        "a printed value reads as itself"
    );
    for era in [Era::Legacy, Era::Modern] {
        let _ = Era::of(&message, Some("2026-07-28"));
        for sender in [Sender::Client, Sender::Server] {
            let Ok(operation) = Operation::of(&message, sender, era) else { continue };
            let _ = operation.action("server");
            let _ = operation.resources("server", "default");
        }
        for method in [Method::CallTool, Method::ListTools, Method::GetTask] {
            if let Ok(outcome) = Outcome::of(&message, method, era) {
                assert!(outcome.requests().len() <= data.len());
            }
        }
    }
    mcp::observe::observe(&message, |seen| drop(seen.decoded()));
    for kind in [ListKind::Tools, ListKind::Resources, ListKind::Prompts] {
        let Ok(listing) = Listing::of(&message, kind) else { continue };
        for item in listing.items() {
            mcp::pin(item.node());
            let _ = item.mirrored();
        }
        let kept = listing.rewrite(|_| mcp::Edit::Keep);
        let same = kept.is_ok_and(|kept| kept.bytes() == data);
        assert!(same || listing.malformed() > 0, "keeping everything keeps every byte");
    }
}

/// An event stream gives the same events however it is cut.
pub fn sse(data: &[u8]) {
    let (cut, body) = data.split_first().map_or((0, data), |(first, rest)| (usize::from(*first), rest));
    let cut = cut.min(body.len());
    let whole = mcp::sse::Reader::new(mcp::sse::SseLimits::default()).feed(body);
    let mut reader = mcp::sse::Reader::new(mcp::sse::SseLimits::default());
    let (head, tail) = body.split_at(cut);
    let parts = reader.feed(head).and_then(|mut items| {
        items.extend(reader.feed(tail)?);
        Ok(items)
    });
    if let (Ok(whole), Ok(parts)) = (whole, parts) {
        assert_eq!(whole, parts, "cut at {cut}");
    }
}

/// A JSON Schema compiles or is refused, and then validates without end or escape.
pub fn schema(data: &[u8]) {
    let Ok(schema) = Schema::compile(data, &SchemaLimits::default()) else { return };
    let probe = br#"{"a":[1,-2.5,1e9,"x",null,true,{"b":{}}],"n":123456789012345678901234567890}"#;
    let Ok(value) = json::parse(probe, &Limits::DEFAULT) else { return };
    let _ = schema.validate(&value);
    let _ = schema.typed(&value);
}

/// Deterministic CBOR has one encoding for each value, and requests read back as themselves.
pub fn cbor(data: &[u8]) {
    let Ok(value) = Cbor::decode(data) else { return };
    assert_eq!(value.encode(), data, "what decodes is the one encoding of its value");
    if let Ok(request) = Request::from_cbor(&value) {
        assert_eq!(Request::from_cbor(&request.to_cbor()), Ok(request));
    }
    if let Ok(facts) = Facts::from_cbor(&value) {
        assert_eq!(Facts::from_cbor(&facts.to_cbor()), Ok(facts));
    }
}

/// A ledger entry: the quick reader takes nothing that the full one refuses.
pub fn entry(data: &[u8]) {
    let full = Entry::decode(data);
    if full.is_ok() {
        assert!(Outline::read(data).is_ok(), "a whole entry has an outline");
    }
    let _ = cordon_ledger::locate(data);
}

/// A frame: its header has one encoding, and its parts lie within it.
pub fn frame(data: &[u8]) {
    let _ = judge_tail(data);
    let Ok(header) = Header::decode(data) else { return };
    assert_eq!(Some(&header.encode()[..]), data.get(..HEADER_BYTES), "a header has one encoding");
    let Some(frame) = Frame::split(header, data) else { return };
    let _ = (frame.body_holds(), frame.sealed_holds(), frame.padding_holds());
    let inside = frame.entries().flatten().chain(frame.sealed().flatten()).map(<[u8]>::len);
    assert!(inside.fold(0usize, usize::saturating_add) <= data.len());
}

/// Checkpoints, keys and proofs as text: nothing is signed by a key that never signed.
pub fn checkpoint(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(key) = text.parse::<NoteKey>() {
        assert_eq!(key.to_string().parse::<NoteKey>().ok(), Some(key));
    }
    let Ok(origin) = "example.com/log".parse::<Origin>() else { return };
    let Ok(key) = SigningKey::from_seed(&[42; 32]) else { return };
    let key = NoteKey::new(origin, key.verifying_key());
    assert!(SignedCheckpoint::open(text, &key).is_err(), "this key never signed anything");
    if let Ok(proof) = EntryProof::parse(text) {
        assert!(proof.verify(b"entry", &key).is_err());
    }
}

/// A bundle's envelope, as it is and, signed by a trusted key, as the statement inside.
pub fn bundle(data: &[u8]) {
    let Ok(key) = SigningKey::from_seed(&[42; 32]) else { return };
    let Ok(role) = RoleTrust::new(1, [key.verifying_key()]) else { return };
    let trust = Trust::new().with(BundleRole::Policy, role);
    let now = Timestamp::from_micros(1_800_000_000_000_000);
    let verify = |envelope: Vec<u8>| {
        let files = BTreeMap::from([(ENVELOPE_FILE.into(), envelope)]);
        Bundle::verify(files, &trust, BundleRole::Policy, None, now)
    };
    assert!(verify(data.to_vec()).is_err(), "no input is signed by a key that never signed it");
    if let Ok(bundle) = verify(envelope(data, &key).into_bytes()) {
        assert!(bundle.statement().files.is_empty(), "no file came with it");
        let _ = bundle.activate();
    }
}

/// A DSSE envelope over `payload` (secure-systems-lab/dsse, `protocol.md`).
fn envelope(payload: &[u8], key: &SigningKey) -> String {
    const KIND: &str = "application/vnd.in-toto+json";
    let mut message = format!("DSSEv1 {} {KIND} {} ", KIND.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    let signature = STANDARD.encode(key.sign(&message).as_bytes());
    format!(
        "{{\"payload\":\"{}\",\"payloadType\":\"{KIND}\",\"signatures\":[{{\"sig\":\"{signature}\"}}]}}",
        STANDARD.encode(payload)
    )
}

/// A policy source of one file; the first byte chooses the folder.
pub fn policy(data: &[u8]) {
    let Some((first, text)) = data.split_first() else { return };
    let path = match first % 6 {
        0 => "permissions/a.cedar",
        1 => "obligations/a.cedar",
        2 => "schema/a.cedarschema",
        3 => "data/entities.json",
        4 => "tests/a.toml",
        _ => "risk.toml",
    };
    let source: PolicySource = [(path, text)].into_iter().collect();
    match PolicySet::compile(&source) {
        Ok(compiled) => {
            let first = compiled.policies.run_tests();
            assert_eq!(first, compiled.policies.run_tests(), "the same judgement twice");
        }
        Err(findings) => {
            assert!(!findings.is_empty(), "a refusal says why");
            findings.iter().for_each(|finding| drop(finding.render()));
        }
    }
}

/// Tool manifests, as a file and inline over the API.
pub fn manifest(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(manifests) = parse_manifests("tools/a.toml", text)
    {
        for manifest in manifests {
            let written = cordon_guard::policy::manifest_to_toml(&manifest);
            let again = parse_manifests("tools/a.toml", &written);
            assert_eq!(again.ok().as_deref(), Some(&[manifest][..]), "{written}");
        }
    }
    if let Ok(node) = json::parse(data, &Limits::DEFAULT) {
        let text = std::str::from_utf8(data).unwrap_or_default();
        let _ = manifest_from_json(text, &node);
    }
}
