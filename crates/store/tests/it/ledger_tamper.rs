//! Altered logs: whatever was changed is found, and named down to the field.

use std::fs;
use std::path::{Path, PathBuf};

use cordon_core::cbor::{Cbor, head};
use cordon_core::{CallId, Digest, Verdict};
use cordon_ledger::{
    DataEdge, Draft, EnforcementDecision, ExecutionGraph, Exposure, FieldId, Frame, Header, Kind, Level,
    PolicyVersion, SignatureState,
};
use cordon_store::ledger::{Engine, Report, VerifyOptions, verify};

use crate::ledger::{Log, decision, log_key, now, opening_key, options, record, session, verify_at};

/// A decision in which each of the eleven evidence fields has a value.
fn evidence() -> Draft {
    let graph = ExecutionGraph {
        parents: vec![record()],
        edges: vec![DataEdge { from: record(), data: cordon_ledger::Commitment::from_bytes([4; 32]) }],
        call: Some(CallId::from_bytes([5; 16])),
    };
    let policy = PolicyVersion {
        bundle: Digest::of(b"bundle"),
        epoch: Some(7),
        signature: SignatureState::Valid,
        rules: vec!["rule-1".into()],
    };
    Draft::new(record(), now(), "acme", Kind::Decision)
        .in_session(session(1))
        .with(FieldId::PromptHash, Cbor::bytes(*Digest::of(b"prompt").as_bytes()))
        .with(FieldId::PromptText, "the prompt")
        .with(FieldId::RetrievedDocuments, Cbor::Array(vec!["a document".into(), "another".into()]))
        .with(FieldId::ToolInvocation, "mail/send with its arguments")
        .with(FieldId::ExecutionGraph, graph)
        .with(FieldId::PolicyVersion, policy)
        .with(FieldId::Confidence, 9_000)
        .with(
            FieldId::EnforcementDecision,
            EnforcementDecision { verdict: Verdict::Allow, enforced: "permitted" },
        )
        .with(FieldId::HumanApproval, Cbor::Array(vec!["alice".into(), "bob".into()]))
}

fn only_segment(dir: &Path) -> PathBuf {
    dir.join("seg/00000000000000000000.seg")
}

fn frame_at(bytes: &[u8], index: u64) -> (usize, Header) {
    let mut at = 0;
    loop {
        let header = Header::decode(&bytes[at..]).unwrap();
        if header.end() > index {
            return (at, header);
        }
        at += header.extent() as usize;
    }
}

/// Where `wanted` lies in `bytes`, which it does once.
fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    let mut found = bytes.windows(wanted.len()).enumerate().filter(|(_, window)| *window == wanted);
    let (at, _) = found.next().expect("it is there");
    assert!(found.next().is_none(), "it is there once");
    at
}

/// The offsets, in the segment, of a clear field's value in an entry, or of a sealed field's opening.
fn bytes_of(segment: &[u8], frame: usize, header: &Header, field: FieldId) -> std::ops::Range<usize> {
    let parts = Frame::split(header.clone(), &segment[frame..]).unwrap();
    let offset_in = |part: &[u8]| part.as_ptr() as usize - segment.as_ptr() as usize;
    match field.exposure() {
        Exposure::Clear => {
            let entry = parts.entries().next().unwrap().unwrap();
            let decoded = cordon_ledger::Entry::decode(entry).unwrap();
            let mut item = Vec::new();
            head(&mut item, 0, u64::from(field.code()));
            item.extend([0x82, 0]);
            let value = decoded.clear(field).unwrap().encode();
            item.extend(&value);
            let at = offset_in(entry) + find(entry, &item) + item.len();
            at - value.len()..at
        }
        Exposure::Sealed => {
            let sealed = parts.sealed().next().unwrap().unwrap();
            let mut at = 40;
            loop {
                let code = u16::from_be_bytes([sealed[at], sealed[at + 1]]);
                let length = u32::from_be_bytes(sealed[at + 2..at + 6].try_into().unwrap()) as usize;
                if code == field.code() {
                    let start = offset_in(sealed) + at + 10;
                    return start..start + length;
                }
                at += 10 + length;
            }
        }
    }
}

/// Makes every checksum fit again, as somebody would who knows the format and not the keys.
fn fix_checksums(segment: &mut [u8], at: usize, header: &Header) {
    let frame = Frame::split(header.clone(), &segment[at..]).unwrap();
    let body_crc = crc32c::crc32c_append(crc32c::crc32c(frame.leaves), frame.entries);
    let sealed_crc = crc32c::crc32c(frame.sealed);
    let fixed = Header { body_crc, sealed_crc, ..header.clone() };
    segment[at..at + 144].copy_from_slice(&fixed.encode());
}

fn names(report: &Report, entry: u64, field: FieldId) -> bool {
    report.problems.iter().any(|problem| problem.entry == Some(entry) && problem.field == Some(field))
}

#[test]
fn a_changed_byte_in_each_of_the_eleven_fields_is_found_and_named() {
    let log = Log::new();
    let (engine, _) = log.open();
    engine.append(decision(0), Level::Durable).wait().unwrap();
    let index = engine.append(evidence(), Level::Durable).wait().unwrap().index.unwrap();
    engine.append(decision(1), Level::Durable).wait().unwrap();
    drop(engine);
    assert!(log.verify().holds());
    let path = only_segment(&log.dir());
    let good = fs::read(&path).unwrap();
    let (at, header) = frame_at(&good, index);
    assert_eq!(FieldId::EVIDENCE.len(), 11);
    for field in FieldId::EVIDENCE {
        let span = bytes_of(&good, at, &header, *field);
        assert!(!span.is_empty());
        for byte in span {
            for fixed in [false, true] {
                let mut bad = good.clone();
                bad[byte] ^= 1;
                if fixed {
                    fix_checksums(&mut bad, at, &header);
                }
                fs::write(&path, &bad).unwrap();
                let report = log.verify();
                assert!(!report.holds());
                assert!(names(&report, index, *field), "{field} at {byte}: {:?}", report.problems);
            }
        }
    }
    fs::write(&path, &good).unwrap();
    assert!(log.verify().holds());
}

#[test]
fn a_changed_commitment_is_named_and_without_the_key_a_damaged_opening_too() {
    let log = Log::new();
    let (engine, _) = log.open();
    let index = engine.append(evidence(), Level::Durable).wait().unwrap().index.unwrap();
    drop(engine);
    let path = only_segment(&log.dir());
    let good = fs::read(&path).unwrap();
    let (at, header) = frame_at(&good, index);
    let no_key = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        verify(&log.dir(), &VerifyOptions { derived: true, ..VerifyOptions::default() }, &mut |_| {}).unwrap()
    };
    for field in [FieldId::PromptText, FieldId::HumanApproval] {
        let mut bad = good.clone();
        bad[bytes_of(&good, at, &header, field).start + 3] ^= 0x40;
        assert!(names(&no_key(&bad), index, field), "{field}");

        let entry =
            Frame::split(header.clone(), &good[at..]).unwrap().entries().next().unwrap().unwrap().to_vec();
        let mut item = Vec::new();
        head(&mut item, 0, u64::from(field.code()));
        item.extend([0x82, 1, 0x58, 32]);
        let mut bad = good.clone();
        let commitment = find(&good, &entry) + find(&entry, &item) + item.len();
        bad[commitment + 9] ^= 1;
        assert!(names(&no_key(&bad), index, field), "{field}");
    }
    assert!(no_key(&good).holds());
}

/// A log of many frames in several segments, closed in order.
pub(crate) fn sample() -> Log {
    let log = Log::new();
    let (engine, _) = log.open();
    for n in 0..120 {
        let batch = (0..=n % 4).map(|k| engine.append(decision(n + k), Level::Durable)).collect::<Vec<_>>();
        batch.into_iter().for_each(|append| {
            append.wait().unwrap();
        });
    }
    drop(engine);
    assert!(log.verify().holds());
    log
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir.join("seg"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_stem().unwrap().len() == 20)
        .collect();
    paths.sort();
    paths
}

/// A sequence of numbers that looks random and is the same each time.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(state >> 17)
    })
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn at_a_thousand_points_a_flipped_bit_is_found_and_a_start_over_it_is_refused() {
    let log = sample();
    // Without a snapshot a start replays everything.
    fs::remove_dir_all(log.dir().join("snap")).unwrap();
    let paths = segments(&log.dir());
    assert!(paths.len() >= 3);
    let mut random = numbers(11);
    for round in 0..1_000 {
        let path = &paths[random.next().unwrap() as usize % paths.len()];
        let good = fs::read(path).unwrap();
        let used = good.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        // One in ten behind the last frame, where nothing should be.
        let at = match round % 10 {
            0 if used < good.len() => used + random.next().unwrap() as usize % (good.len() - used),
            _ => random.next().unwrap() as usize % used,
        };
        let mut bad = good.clone();
        bad[at] ^= 1 << (random.next().unwrap() % 8);
        fs::write(path, &bad).unwrap();
        let report = verify_at(&log.dir(), Some(&log.head()));
        assert!(!report.problems.is_empty(), "byte {at} of {}", path.display());
        let named = &report.problems[0];
        assert_eq!(named.path, *path, "{named}");
        let offset = named.offset.unwrap() as usize;
        assert!(offset <= at, "{named}");
        let refused = log.try_open();
        assert!(refused.is_err(), "byte {at} of {}", path.display());
        fs::write(path, &good).unwrap();
    }
    assert!(log.verify().holds());
    assert!(log.try_open().is_ok());
}

#[test]
fn at_hundreds_of_points_a_cut_log_is_found_and_a_start_over_it_is_refused() {
    let log = sample();
    let paths = segments(&log.dir());
    let path = paths.last().unwrap();
    let good = fs::read(path).unwrap();
    let used = good.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut random = numbers(5);
    for _ in 0..300 {
        let at = random.next().unwrap() as usize % used;
        fs::write(path, &good[..at]).unwrap();
        let report = verify_at(&log.dir(), Some(&log.head()));
        assert!(report.problems.iter().any(|problem| problem.what.contains("missing")), "{at}: {report:?}");
        assert!(log.try_open().is_err(), "cut at {at}");
        // A zeroed end looks like a crash; the head record knows better.
        let mut zeroed = good.clone();
        zeroed[at..].fill(0);
        fs::write(path, &zeroed).unwrap();
        assert!(!verify_at(&log.dir(), Some(&log.head())).holds());
        assert!(log.try_open().is_err(), "zeroed from {at}");
    }
    fs::remove_file(path).unwrap();
    assert!(!verify_at(&log.dir(), Some(&log.head())).holds());
    assert!(log.try_open().is_err());
    fs::write(path, &good).unwrap();
    fs::remove_file(&paths[1]).unwrap();
    let report = verify_at(&log.dir(), None);
    assert!(report.problems[0].what.contains("segment"), "{report:?}");
}

#[test]
fn a_frame_that_a_crash_cut_off_is_dropped_and_recorded_and_an_altered_one_is_not() {
    let log = Log::new();
    let (engine, _) = log.open();
    for n in 0..10 {
        engine.append(decision(n), Level::Durable).wait().unwrap();
    }
    let head_before = fs::read(log.head()).unwrap();
    let appends: Vec<_> = (0..9).map(|n| engine.append(decision(n), Level::Durable)).collect();
    appends.into_iter().for_each(|append| {
        append.wait().unwrap();
    });
    drop(engine);
    let path = only_segment(&log.dir());
    let good = fs::read(&path).unwrap();
    let (at, header) = frame_at(&good, 11);
    let last = at..at + header.extent() as usize;
    let sectors = header.extent() as usize / 512;
    let crashed = |bytes: &[u8]| {
        let other = tempfile::tempdir().unwrap();
        fs::create_dir_all(other.path().join("ledger/seg")).unwrap();
        fs::write(other.path().join("ledger.head"), &head_before).unwrap();
        fs::write(only_segment(&other.path().join("ledger")), bytes).unwrap();
        other
    };
    for lost in 0..sectors {
        let mut torn = good.clone();
        torn[last.clone()].iter_mut().skip(lost * 512).for_each(|byte| *byte = 0);
        let mut hole = good.clone();
        hole[at + lost * 512..at + (lost + 1) * 512].fill(0);
        hole[last.end..].fill(0);
        torn[last.end..].fill(0);
        for bytes in [torn, hole] {
            let other = crashed(&bytes);
            let (engine, opened) = Engine::open(options(other.path()), now()).unwrap();
            let recovery = opened.recovery.expect("a crash is recorded");
            assert_eq!((recovery.last_index, recovery.cause), (Some(10), "crash"));
            assert_eq!(recovery.dropped_bytes > 0, bytes[last.clone()].iter().any(|byte| *byte != 0));
            engine.append(decision(1), Level::Durable).wait().unwrap();
            drop(engine);
            let report = verify_at(&other.path().join("ledger"), Some(&other.path().join("ledger.head")));
            assert!(report.holds(), "{:?}", report.problems);
            assert_eq!(report.recoveries, [11]);
        }
    }
    // Whole, and not acknowledged to anyone that the head record knows of: kept.
    let other = crashed(&good);
    let (engine, opened) = Engine::open(options(other.path()), now()).unwrap();
    assert_eq!(opened.recovery.map(|found| found.dropped_bytes), Some(0));
    assert_eq!(engine.size(), good_size(&good) + 1);
    drop(engine);
    for byte in [at + 30, at + 150, at + 1_000, last.end - 600] {
        let mut altered = good.clone();
        altered[byte] ^= 2;
        let other = crashed(&altered);
        assert!(Engine::open(options(other.path()), now()).is_err(), "byte {byte}");
    }
}

fn good_size(bytes: &[u8]) -> u64 {
    let (mut at, mut size) = (0, 0);
    while let Ok(header) = Header::decode(&bytes[at..]) {
        size = header.end();
        at += header.extent() as usize;
    }
    size
}

#[test]
fn an_older_copy_and_another_history_are_refused_before_anything_is_signed() {
    let log = Log::new();
    let (engine, _) = log.open();
    engine.append(decision(0), Level::Durable).wait().unwrap();
    drop(engine);
    let older = tempfile::tempdir().unwrap();
    copy(log.root.path(), older.path());
    let (engine, _) = log.open();
    engine.append(decision(1), Level::Durable).wait().unwrap();
    drop(engine);

    // The older directory under the newer head record.
    fs::copy(log.head(), older.path().join("kept.head")).unwrap();
    let mut restored = options(older.path());
    restored.head_file = older.path().join("kept.head");
    let error = Engine::open(restored, now()).unwrap_err().to_string();
    assert!(error.contains("older copy"), "{error}");

    // A copy that went its own way.
    let (engine, _) = Engine::open(options(older.path()), now()).unwrap();
    engine.append(decision(2), Level::Durable).wait().unwrap();
    engine.append(decision(3), Level::Durable).wait().unwrap();
    drop(engine);
    let mut forked = options(older.path());
    forked.head_file = log.head();
    let error = Engine::open(forked, now()).unwrap_err().to_string();
    assert!(error.contains("another history"), "{error}");
    let report = verify_at(&older.path().join("ledger"), Some(&log.head()));
    assert!(report.problems.iter().any(|problem| problem.what.contains("another history")));

    // No head record at all: only on a person's word, and recorded.
    fs::remove_file(log.head()).unwrap();
    assert!(log.try_open().unwrap_err().to_string().contains("adopt"));
    fs::remove_file(log.head()).ok();
    let mut adopting = log.options();
    adopting.missing_head = cordon_store::ledger::MissingHead::Adopt;
    let (_engine, opened) = Engine::open(adopting, now()).unwrap();
    assert_eq!(opened.recovery.map(|found| found.cause), Some("adopted"));
}

#[test]
fn a_record_signed_with_a_stolen_format_but_another_key_is_found() {
    let log = Log::new();
    let (engine, _) = log.open();
    engine.append(decision(0), Level::Durable).wait().unwrap();
    drop(engine);
    let path = only_segment(&log.dir());
    let mut bytes = fs::read(&path).unwrap();
    let (at, header) = frame_at(&bytes, 1);
    let forged = Header { signature: log_key(6).sign(&header.checkpoint()), ..header };
    bytes[at..at + 144].copy_from_slice(&forged.encode());
    fs::write(&path, &bytes).unwrap();
    let report = log.verify();
    assert!(report.problems[0].what.contains("signature"), "{:?}", report.problems);
    fs::remove_dir_all(log.dir().join("snap")).unwrap();
    assert!(log.try_open().is_err());
}

#[test]
fn an_altered_tile_bundle_or_checkpoint_is_named() {
    let log = sample();
    for file in ["tile/0/000", "tile/entries/000", "checkpoint"] {
        let path = log.dir().join(file);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[25] ^= 1;
        fs::write(&path, &bad).unwrap();
        let report = log.verify();
        assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
        assert_eq!(report.problems[0].path, path);
        fs::write(&path, &good).unwrap();
    }
    let key = opening_key();
    assert!(format!("{key:?}").starts_with("OpeningKey("));
}

#[test]
fn what_is_derived_comes_back_when_it_is_deleted() {
    let log = sample();
    fs::remove_dir_all(log.dir().join("tile")).unwrap();
    fs::remove_file(log.dir().join("checkpoint")).unwrap();
    assert!(log.verify().holds());
    let (proof, entry) = cordon_store::ledger::prove(&log.dir(), 3).unwrap();
    assert!(proof.verify(&entry, log_key(1).public()).is_ok());
    let (engine, _) = log.open();
    engine.append(decision(1), Level::Durable).wait().unwrap();
    drop(engine);
    let report = log.verify();
    assert!(report.holds() && report.derived >= 2, "{report:?}");
    assert_eq!(report.published, Some(report.size));
}
