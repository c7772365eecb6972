//! The ledger's files, driven from outside: appending, reading, proving, verifying.

use std::path::{Path, PathBuf};

use cordon_core::cbor::Cbor;
use cordon_core::ed25519::SigningKey;
use cordon_core::{Entropy as _, RecordId, SessionId, Timestamp};
use cordon_guard::ports::Draw;
use cordon_ledger::{
    AdminSubject, Draft, EntryProof, FieldId, Kind, Level, LogKey, NoteKey, SessionStep, SignedCheckpoint,
};
use cordon_store::ledger::{
    Engine, Filter, LedgerError, Opened, OpeningKey, Options, Report, ShownValue, VerifyOptions, checkpoint,
    prove, show, verify,
};
use cordon_store::system::SystemRandom;

pub(crate) struct Log {
    pub(crate) root: tempfile::TempDir,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.root.path().join("ledger")
    }

    pub(crate) fn head(&self) -> PathBuf {
        self.root.path().join("ledger.head")
    }

    pub(crate) fn options(&self) -> Options {
        options(self.root.path())
    }

    pub(crate) fn open(&self) -> (Engine, Opened) {
        Engine::open(self.options(), now()).unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<(Engine, Opened), LedgerError> {
        Engine::open(self.options(), now())
    }

    pub(crate) fn verify(&self) -> Report {
        verify_at(&self.dir(), Some(&self.head()))
    }
}

pub(crate) fn verify_at(dir: &Path, head: Option<&Path>) -> Report {
    let (key, trusted) = (opening_key(), log_key(1));
    let options = VerifyOptions {
        trusted: Some(trusted.public()),
        head_file: head,
        opening_key: Some(&key),
        derived: true,
    };
    verify(dir, &options, &mut |_| {}).unwrap()
}

pub(crate) fn options(root: &Path) -> Options {
    let mut options = Options::new(root.join("ledger"), root.join("ledger.head"), log_key(1), opening_key());
    options.segment_bytes_first = 64 << 10;
    options.segment_bytes_max = 128 << 10;
    options.publish_ms = 20;
    options.snapshot_frames = 40;
    options
}

pub(crate) fn log_key(seed: u8) -> LogKey {
    LogKey::new("example.com/test".parse().unwrap(), SigningKey::from_seed(&[seed; 32]).unwrap())
}

pub(crate) fn opening_key() -> OpeningKey {
    OpeningKey::new(&[9; 32])
}

pub(crate) const fn now() -> Timestamp {
    Timestamp::from_micros(1_795_000_000_000_000)
}

pub(crate) fn record() -> RecordId {
    RecordId::new(now(), &mut Draw(&SystemRandom))
}

pub(crate) fn session(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

/// A decision with some of everything.
pub(crate) fn decision(n: u64) -> Draft {
    Draft::new(record(), now(), "acme", Kind::Decision)
        .in_session(session((n % 5) as u8))
        .with(FieldId::Action, "mail/send")
        .with(FieldId::Confidence, n)
        .with(FieldId::ToolInvocation, format!("canary arguments {n}").as_str())
        .with(FieldId::PromptText, "canary prompt")
        .attach(Cbor::map([(1, Cbor::from("canary request"))]))
}

#[test]
fn what_is_appended_is_shown_opened_proved_and_verified() {
    let log = Log::new();
    let (engine, opened) = log.open();
    assert_eq!((opened.size, opened.epoch, opened.recovery), (1, 1, None));
    let receipts: Vec<_> = (0..700).map(|n| engine.append(decision(n), Level::Durable)).collect();
    let receipts: Vec<_> = receipts.into_iter().map(|append| append.wait().unwrap()).collect();
    assert!(receipts.iter().enumerate().all(|(n, receipt)| receipt.index == Some(n as u64 + 1)));
    let head = engine.head().unwrap();
    assert_eq!(head.checkpoint.size, 701);
    engine.close();

    let report = log.verify();
    assert!(report.holds(), "{:?}", report.problems);
    assert_eq!((report.size, report.published, report.trusted), (701, Some(701), Some(true)));
    assert_eq!(report.kinds.get("decision"), Some(&700));
    assert!(report.opened >= 2_100 && report.derived >= 5, "{report:?}");

    let key = opening_key();
    let newest = show(&log.dir(), &Filter { most: 3, ..Filter::default() }, Some(&key)).unwrap();
    assert_eq!(newest.iter().map(|shown| shown.index).collect::<Vec<_>>(), [698, 699, 700]);
    let arguments = newest[2].fields.iter().find(|(field, _)| *field == FieldId::ToolInvocation).unwrap();
    assert_eq!(arguments.1, ShownValue::Opened("canary arguments 699".into()));
    let one = Filter { record: Some(receipts[41].id), ..Filter::default() };
    let closed = show(&log.dir(), &one, None).unwrap();
    assert_eq!(closed.len(), 1);
    assert!(closed[0].fields.iter().any(|(_, value)| matches!(value, ShownValue::Sealed(_))));

    for index in [0, 1, 255, 256, 700] {
        let (proof, entry) = prove(&log.dir(), index).unwrap();
        let read = EntryProof::parse(&proof.to_text()).unwrap();
        assert_eq!(read.verify(&entry, log_key(1).public()).unwrap().checkpoint.size, 701);
    }
    assert!(prove(&log.dir(), 701).unwrap_err().to_string().contains("701 entries"));
    let note = checkpoint(&log.dir()).unwrap();
    assert_eq!(SignedCheckpoint::open(&note, log_key(1).public()), Ok(head));
}

#[test]
fn no_content_lies_unsealed_on_the_disk() {
    let log = Log::new();
    let (engine, _) = log.open();
    for n in 0..300 {
        drop(engine.append(decision(n), Level::Accepted));
    }
    engine.close();
    let mut files = 0;
    let mut todo = vec![log.root.path().to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(6).any(|window| window == b"canary"), "{}", path.display());
        }
    }
    assert!(files > 6);
}

#[test]
fn a_closed_log_continues_where_it_ended_without_a_recovery() {
    let log = Log::new();
    for round in 0..4u64 {
        let (engine, opened) = log.open();
        assert_eq!((opened.size, opened.epoch), (1 + round * 100, round + 1));
        assert_eq!(opened.recovery, None);
        for n in 0..100 {
            engine.append(decision(n), Level::Durable).wait().unwrap();
        }
        drop(engine);
        let one = Filter { session: Some(session(3)), most: 1, ..Filter::default() };
        let last = show(&log.dir(), &one, None).unwrap();
        assert_eq!(last[0].session, Some((session(3), (round + 1) * 20 - 1)));
    }
    let report = log.verify();
    assert!(report.holds(), "{:?}", report.problems);
    assert_eq!((report.size, report.restarts), (401, 0));
}

#[test]
fn a_log_has_one_writer() {
    let log = Log::new();
    let (_engine, _) = log.open();
    assert!(log.try_open().unwrap_err().to_string().contains("another process"));
}

#[test]
fn a_key_is_handed_over_and_the_old_one_no_longer_signs() {
    let log = Log::new();
    let (engine, _) = log.open();
    engine.append(decision(1), Level::Durable).wait().unwrap();
    engine.rotate(log_key(2), now()).wait().unwrap();
    let after = engine.append(decision(2), Level::Durable).wait().unwrap();
    assert_eq!(engine.key(), *log_key(2).public());
    let again = engine.rotate(log_key(3), now());
    let twice = engine.rotate(log_key(4), now());
    again.wait().unwrap();
    twice.wait().unwrap();
    engine.close();
    drop(engine);

    let report = log.verify();
    assert!(report.holds(), "{:?}", report.problems);
    let keys: Vec<_> = report.keys.iter().map(|(_, from)| *from).collect();
    assert_eq!(keys.first(), Some(&0));
    assert_eq!(keys.len(), 4);
    let (proof, entry) = prove(&log.dir(), after.index.unwrap()).unwrap();
    assert!(proof.verify(&entry, log_key(1).public()).is_err());
    assert!(log.try_open().unwrap_err().to_string().contains("the key at hand"));
    let mut options = log.options();
    options.key = log_key(4);
    let (engine, opened) = Engine::open(options, now()).unwrap();
    assert_eq!(opened.recovery, None);
    engine.append(decision(3), Level::Durable).wait().unwrap();
    drop(engine);
    assert!(log.verify().holds());
    let stranger: NoteKey = log_key(7).public().clone();
    let options = VerifyOptions { trusted: Some(&stranger), ..VerifyOptions::default() };
    let report = verify(&log.dir(), &options, &mut |_| {}).unwrap();
    assert_eq!((report.holds(), report.trusted), (false, Some(false)));
}

#[test]
fn another_origin_cannot_take_the_log_over() {
    let log = Log::new();
    let (engine, _) = log.open();
    let key = LogKey::new("example.com/other".parse().unwrap(), SigningKey::from_seed(&[2; 32]).unwrap());
    assert!(engine.rotate(key, now()).wait().is_err());
}

#[test]
fn a_level_that_cannot_be_reached_is_refused() {
    let log = Log::new();
    let (engine, _) = log.open();
    assert!(engine.append(decision(0), Level::Witnessed).wait().is_err());
    let receipt = engine.append(decision(0), Level::Accepted).wait().unwrap();
    assert_eq!((receipt.level, receipt.index), (Level::Accepted, None));
}

#[test]
fn too_large_a_record_is_refused_and_the_next_is_taken() {
    let log = Log::new();
    let (engine, _) = log.open();
    let big = "x".repeat(200 << 10);
    let sealed = decision(0).with(FieldId::PromptText, big.as_str());
    assert!(engine.append(sealed, Level::Durable).wait().unwrap_err().to_string().contains("at most"));
    let clear = decision(0).with(FieldId::Subject, big.as_str());
    assert!(engine.append(clear, Level::Durable).wait().unwrap_err().to_string().contains("65535"));
    let fits = decision(0).with(FieldId::PromptText, "x".repeat(100 << 10).as_str());
    assert!(engine.append(fits, Level::Durable).wait().is_ok());
    drop(engine);
    assert!(log.verify().holds());
}

#[test]
fn counters_have_no_gaps_under_many_appenders() {
    let log = Log::new();
    let (engine, _) = log.open();
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let engine = &engine;
            scope.spawn(move || {
                for n in 0..60 {
                    let level = if n % 3 == 0 { Level::Accepted } else { Level::Durable };
                    engine.append(decision(thread + n), level).wait().unwrap();
                }
            });
        }
    });
    let closing = Draft::new(record(), now(), "acme", Kind::Session(SessionStep::Closed));
    engine.append(closing.in_session(session(2)), Level::Durable).wait().unwrap();
    // A result that arrives after the session was closed still takes the next place.
    let late = Draft::new(record(), now(), "acme", Kind::Result).in_session(session(2));
    engine.append(late, Level::Durable).wait().unwrap();
    drop(engine);
    let report = log.verify();
    assert!(report.holds(), "{:?}", report.problems);
    assert_eq!((report.size, report.restarts), (1 + 480 + 2, 0));
}

#[test]
fn what_no_one_waits_for_joins_the_next_frame_and_alone_is_written_soon() {
    let log = Log::new();
    let (engine, _) = log.open();
    for n in 0..10 {
        drop(engine.append(decision(n), Level::Accepted));
        engine.append(decision(n), Level::Durable).wait().unwrap();
    }
    drop(engine.append(decision(10), Level::Accepted));
    let began = std::time::Instant::now();
    while engine.size() < 1 + 20 + 1 {
        assert!(began.elapsed().as_secs() < 10, "a record that is alone was never written");
        std::thread::yield_now();
    }
    drop(engine);
    let report = log.verify();
    assert!(report.holds(), "{:?}", report.problems);
    // One frame each for the first record, the ten pairs and the last; a slow machine may split some.
    assert!(report.frames < 1 + 20 + 1, "{} frames for 11 awaited records", report.frames);
}

#[test]
fn an_administrative_change_names_its_digests_and_seals_its_author() {
    let log = Log::new();
    let (engine, _) = log.open();
    let draft = Draft::new(record(), now(), "acme", Kind::Admin(AdminSubject::Bundle))
        .with(FieldId::Subject, "policy")
        .with(FieldId::Author, "alice")
        .with(FieldId::After, Cbor::bytes([7; 32]));
    let receipt = engine.append(draft, Level::Durable).wait().unwrap();
    drop(engine);
    let one = Filter { record: Some(receipt.id), ..Filter::default() };
    let shown = show(&log.dir(), &one, None).unwrap();
    let author = shown[0].fields.iter().find(|(field, _)| *field == FieldId::Author).unwrap();
    assert!(matches!(author.1, ShownValue::Sealed(_)));
    let mut seed = [0; 32];
    Draw(&SystemRandom).fill(&mut seed);
    let other = OpeningKey::new(&seed);
    let unopened = show(&log.dir(), &one, Some(&other)).unwrap();
    assert!(unopened[0].fields.iter().any(|(_, value)| matches!(value, ShownValue::Unopened(_))));
}
