//! The log as one process uses it: opened once, appended to from any thread.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

use cordon_core::cbor::Cbor;
use cordon_core::{RecordId, Timestamp};
use cordon_guard::ports::Draw;
use cordon_ledger::{
    AbsentReason, Body, Draft, FRAME_BYTES_MAX, Fault, FieldId, Kind, Level, LogKey, NoteKey, Receipt,
    SignedCheckpoint, frame_extent, handover, placed_bytes,
};

use super::append::{Append, AppendError, Slot};
use super::commit::Committer;
use super::derive::Deriver;
use super::disk::{Disk, RealDisk};
use super::head::{HeadError, HeadFile};
use super::recover::{Recovered, recover};
use super::seal::OpeningKey;
use crate::system::SystemRandom;

/// Records that may wait to be written.
const WAITING_MAX: usize = 65_536;
/// Bytes that may wait to be written.
const WAITING_BYTES_MAX: u64 = 128 << 20;
/// Bytes that make a frame even if no one waits for them.
const LINGER_BYTES: u64 = 1 << 20;

/// What a log is opened with.
#[derive(Clone)]
pub struct Options {
    /// The log's directory.
    pub dir: PathBuf,
    /// The head record; lies outside the directory, so that a restored copy does not bring its own.
    pub head_file: PathBuf,
    /// The log's key and name.
    pub key: LogKey,
    /// The key under which openings are sealed; its file lies outside the directory.
    pub opening_key: OpeningKey,
    /// The tenant of the log's own records.
    pub tenant: Box<str>,
    /// Size of the first segment in bytes; each further one is twice as large.
    pub segment_bytes_first: u64,
    /// Size of the largest segment in bytes.
    pub segment_bytes_max: u64,
    /// Time between two published checkpoints, in milliseconds.
    pub publish_ms: u64,
    /// Frames between two snapshots.
    pub snapshot_frames: u64,
    /// What happens when there is a log and no head record.
    pub missing_head: MissingHead,
    /// Where everything that counts is written.
    pub disk: Arc<dyn Disk>,
}

/// What happens when there is a log and no head record to compare it with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingHead {
    /// The log is not opened: it might be an old copy.
    #[default]
    Refuse,
    /// The log is taken as it is; a person has made sure that it is the newest. Recorded.
    Adopt,
}

impl Options {
    /// The defaults: segments of 4 to 64 MiB, a checkpoint a second, a snapshot each 16,384 frames.
    pub fn new(
        dir: impl Into<PathBuf>,
        head_file: impl Into<PathBuf>,
        key: LogKey,
        opening_key: OpeningKey,
    ) -> Self {
        Self {
            dir: dir.into(),
            head_file: head_file.into(),
            key,
            opening_key,
            tenant: "default".into(),
            segment_bytes_first: 4 << 20,
            segment_bytes_max: 64 << 20,
            publish_ms: 1_000,
            snapshot_frames: 16_384,
            missing_head: MissingHead::Refuse,
            disk: Arc::new(RealDisk),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("dir", &self.dir)
            .field("key", self.key.public())
            .finish_non_exhaustive()
    }
}

/// A log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// An operation on a file failed.
    #[error("cannot {doing} `{}`", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The head record cannot be used.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The log was altered; nothing more is signed over it.
    #[error("the log was altered at byte {offset} of `{}`: {fault}; `cordon ledger verify` lists everything", path.display())]
    Altered {
        /// The segment.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// What is wrong.
        fault: Fault,
    },
    /// A segment is missing, or there is one too many.
    #[error("`{}` should begin with entry {expected}: a segment is missing or does not belong here", path.display())]
    SegmentOrder {
        /// The segment.
        path: PathBuf,
        /// The index that it should begin with.
        expected: u64,
    },
    /// The log is shorter than what was signed: an old copy, or cut off.
    #[error(
        "the log has {size} entries and its head record vouches for {signed}: it was restored from an older copy or cut short, and signing on would make a second history"
    )]
    Behind {
        /// How many entries the log has.
        size: u64,
        /// How many were signed.
        signed: u64,
    },
    /// The log is not the one that was signed.
    #[error("the log differs from what was signed at {signed} entries: it is another history")]
    Forked {
        /// At which size they differ.
        signed: u64,
    },
    /// There is a log and no head record.
    #[error(
        "the log has entries and the head record `{}` is missing, so an old copy could not be told from the newest; if this is the newest, adopt it explicitly", .0.display()
    )]
    HeadMissing(PathBuf),
    /// The log's current key is another.
    #[error("the log is signed by `{log}`, and the key at hand is `{given}`")]
    OtherKey {
        /// The log's current key.
        log: String,
        /// The key at hand.
        given: String,
    },
    /// The log's own first records could not be written.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// What was found when the log was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// How many entries there are, those that opening wrote included.
    pub size: u64,
    /// How many times the log has been opened.
    pub epoch: u64,
    /// How many entries were replayed and checked.
    pub replayed: u64,
    /// What had to be recovered; none if the log was closed in order or is new.
    pub recovery: Option<Recovery>,
}

/// What had to be recovered, as the log records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes behind the last whole frame that were never acknowledged.
    pub dropped_bytes: u64,
    /// The index of the last entry that was found.
    pub last_index: Option<u64>,
    /// Why: `crash` or `adopted`.
    pub cause: &'static str,
    /// The record of it.
    pub record: RecordId,
}

/// An open log.
///
/// One thread commits: it takes all that waits, writes one frame, and returns from one `fdatasync`
/// before anyone is told. A failed write stops the log for good; what follows is an error until it is
/// opened again.
pub struct Engine {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The last key that the log was handed over to, whether or not that is durable yet.
    handed: Mutex<LogKey>,
}

/// What appenders, committer and deriver share.
pub(super) struct Shared {
    pub(super) options: Options,
    /// Guards the order: what is pushed here under one hold gets consecutive places.
    pub(super) queue: Mutex<Queue>,
    /// Told when the queue is no longer empty, or closing.
    pub(super) queued: Condvar,
    /// What is durable.
    pub(super) committed: Mutex<Committed>,
    /// Told when more is durable, or closing.
    pub(super) advanced: Condvar,
    /// The value of [`FieldId::CryptographicIdentity`].
    identity: RwLock<Cbor>,
}

/// What waits to be written.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) bytes: u64,
    /// Whether someone waits for one of these records, so that the next frame is due now.
    pub(super) awaited: bool,
    /// Whether the committer looks by itself before long.
    pub(super) attended: bool,
    /// Why nothing more is taken.
    pub(super) stopped: Option<AppendError>,
}

/// One record that waits to be written.
pub(super) struct Waiting {
    pub(super) body: Body,
    pub(super) sealed: Vec<u8>,
    pub(super) slot: Option<Arc<Slot>>,
    /// The key that signs from the next frame on.
    pub(super) rotate: Option<Box<LogKey>>,
}

impl Queue {
    /// Whether the next frame is written now, rather than with the next record that is awaited.
    pub(super) fn is_due(&self) -> bool {
        self.awaited || self.bytes >= LINGER_BYTES || self.stopped.is_some()
    }
}

impl Waiting {
    /// The bytes it adds to a frame.
    pub(super) const fn frame_bytes(&self) -> u64 {
        placed_bytes(self.body.len(), self.sealed.len())
    }
}

/// What is durable, and where it ends.
pub(super) struct Committed {
    pub(super) signed: Option<SignedCheckpoint>,
    pub(super) key: LogKey,
    pub(super) size: u64,
    /// Bytes left in the segment, and its size.
    pub(super) room: (u64, u64),
    /// A segment that was made ahead, and its size.
    pub(super) spare: Option<(PathBuf, u64)>,
    pub(super) closing: bool,
    /// Whether the deriver sleeps until there is more.
    pub(super) deriver_idle: bool,
    /// Why nothing could be derived the last time.
    pub(super) derive_error: Option<String>,
}

impl Engine {
    /// Opens the log, or makes one. Everything that can be checked is checked before anything is
    /// signed; an unclean end is recorded.
    pub fn open(options: Options, now: Timestamp) -> Result<(Self, Opened), LedgerError> {
        let (mut head, known) = HeadFile::open(&options.head_file)?;
        let Recovered { replay, snapshot, segment, dropped_bytes, cause } = recover(&options, known)?;
        let before = replay.size();
        let epoch = replay.epoch().max(known.map_or(0, |head| head.epoch)).saturating_add(1);
        let root = replay.frontier().root();
        // The epoch is taken durably before its first signature.
        head.write(super::Head { sequence: 0, epoch, size: before, root, closed: false })?;
        head.sync()?;
        let head_sync = head.syncer()?;

        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::default()),
            queued: Condvar::new(),
            committed: Mutex::new(Committed {
                signed: replay.signed().copied(),
                key: options.key.clone(),
                size: before,
                room: (0, 0),
                spare: None,
                closing: false,
                deriver_idle: false,
                derive_error: None,
            }),
            advanced: Condvar::new(),
            identity: RwLock::new(identity(options.key.public())),
            options,
        });
        let committer = Committer::new(Arc::clone(&shared), head, segment, &replay, epoch)?;
        let replayed = before.saturating_sub(snapshot.replay.size());
        let deriver = Deriver::new(Arc::clone(&shared), snapshot, head_sync);
        let failed = |source| LedgerError::Io { doing: "start a thread for", path: PathBuf::new(), source };
        let threads = vec![
            std::thread::Builder::new()
                .name("ledger-commit".to_owned())
                .spawn(move || committer.run())
                .map_err(failed)?,
            std::thread::Builder::new()
                .name("ledger-derive".to_owned())
                .spawn(move || deriver.run())
                .map_err(failed)?,
        ];
        let handed = Mutex::new(shared.options.key.clone());
        let engine = Self { shared, threads: Mutex::new(threads), handed };

        let mut recovery = None;
        if before == 0 {
            engine.append(engine.genesis(now, epoch), Level::Durable).wait()?;
        }
        if let Some(cause) = cause {
            let record = new_record(now);
            let last_index = before.checked_sub(1);
            let found = Recovery { dropped_bytes, last_index, cause, record };
            engine.append(engine.recovery(&found, now, epoch), Level::Durable).wait()?;
            recovery = Some(found);
        }
        let size = engine.size();
        Ok((engine, Opened { size, epoch, replayed, recovery }))
    }

    /// Appends a record. Its place in the order is fixed when this returns; the future ends when
    /// `level` is reached.
    pub fn append(&self, draft: Draft, level: Level) -> Append {
        match self.enqueue(draft, level, None) {
            Ok(append) => append,
            Err(error) => Append::settled(Err(error)),
        }
    }

    /// Hands the log over to another key of the same log, durably. The old key signs the handover.
    pub fn rotate(&self, key: LogKey, now: Timestamp) -> Append {
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        let current = handed.clone();
        if key.public().origin() != current.public().origin() {
            let why = format!("`{}` is not a key of `{}`", key.public(), current.public().origin());
            return Append::settled(Err(AppendError::Failed(why.into())));
        }
        let signature = current.sign_bytes(&handover(current.public(), key.public()));
        let draft = self
            .own(Kind::KeyRotation, new_record(now), now)
            .with(FieldId::LogKey, key.public().to_string().as_str())
            .with(FieldId::PreviousKey, current.public().to_string().as_str())
            .with(FieldId::KeySignature, Cbor::bytes(*signature.as_bytes()));
        let identity = identity(key.public());
        match self.enqueue(draft, Level::Durable, Some(Box::new(key.clone()))) {
            Ok(append) => {
                *handed = key;
                *self.shared.identity.write().unwrap_or_else(PoisonError::into_inner) = identity;
                append
            }
            Err(error) => Append::settled(Err(error)),
        }
    }

    fn enqueue(
        &self,
        draft: Draft,
        level: Level,
        rotate: Option<Box<LogKey>>,
    ) -> Result<Append, AppendError> {
        if level > Level::Durable {
            return Err(AppendError::Unreachable(level));
        }
        let id = draft.id();
        let mut entropy = Draw(&SystemRandom);
        let (body, openings) = {
            let identity = self.shared.identity.read().unwrap_or_else(PoisonError::into_inner);
            draft.close(&identity, &mut entropy)?
        };
        let sealed = self.shared.options.opening_key.seal(id, &openings, &mut entropy);
        let sealed = sealed.map_err(|error| AppendError::Failed(error.to_string().into()))?;
        let slot = (level == Level::Durable).then(|| Arc::new(Slot::default()));
        let waiting = Waiting { body, sealed, slot: slot.clone(), rotate };
        let bytes = waiting.frame_bytes();
        let max = FRAME_BYTES_MAX.min(self.shared.options.segment_bytes_max);
        if frame_extent(bytes) > max {
            return Err(AppendError::TooLarge { bytes, max });
        }
        {
            let mut queue = self.lock_queue();
            if let Some(stopped) = &queue.stopped {
                return Err(stopped.clone());
            }
            if queue.waiting.len() >= WAITING_MAX || queue.bytes >= WAITING_BYTES_MAX {
                return Err(AppendError::Full { waiting: queue.waiting.len() });
            }
            queue.bytes = queue.bytes.saturating_add(bytes);
            let was_due = queue.is_due();
            queue.awaited |= waiting.slot.is_some();
            queue.waiting.push_back(waiting);
            // The committer wakes for what is due, and once to attend to what is not.
            let wakes = queue.is_due() && !was_due || !queue.attended;
            queue.attended = true;
            drop(queue);
            if wakes {
                self.shared.queued.notify_one();
            }
        }
        Ok(match slot {
            Some(slot) => Append::waiting(id, slot),
            None => Append::settled(Ok(Receipt { id, level: Level::Accepted, index: None })),
        })
    }

    /// The last durable checkpoint; none before the first record.
    pub fn head(&self) -> Option<SignedCheckpoint> {
        self.lock_committed().signed
    }

    /// How many entries are durable.
    pub fn size(&self) -> u64 {
        self.lock_committed().size
    }

    /// The key that signs.
    pub fn key(&self) -> NoteKey {
        self.lock_committed().key.public().clone()
    }

    /// Why records are not taken; none while they are.
    pub fn stopped(&self) -> Option<AppendError> {
        self.lock_queue().stopped.clone()
    }

    /// Why tiles, checkpoint or snapshots could not be written the last time; the log itself is whole.
    pub fn derive_error(&self) -> Option<String> {
        self.lock_committed().derive_error.clone()
    }

    /// Writes what waits, publishes it, and ends. Dropping the engine does the same.
    pub fn close(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        {
            let mut queue = self.lock_queue();
            queue.stopped.get_or_insert(AppendError::Closed);
            self.shared.queued.notify_all();
        }
        // The committer ends first and tells the deriver.
        for thread in threads {
            let _ = thread.join();
        }
    }

    fn own(&self, kind: Kind, record: RecordId, now: Timestamp) -> Draft {
        Draft::new(record, now, self.shared.options.tenant.clone(), kind)
    }

    fn genesis(&self, now: Timestamp, epoch: u64) -> Draft {
        let key = self.key();
        self.own(Kind::Genesis, new_record(now), now)
            .with(FieldId::Origin, key.origin().as_str())
            .with(FieldId::LogKey, key.to_string().as_str())
            .with(FieldId::LogEpoch, epoch)
    }

    fn recovery(&self, found: &Recovery, now: Timestamp, epoch: u64) -> Draft {
        self.own(Kind::Recovery, found.record, now)
            .with(FieldId::DroppedBytes, found.dropped_bytes)
            .with_or(FieldId::LastIndex, found.last_index, AbsentReason::NotApplicable)
            .with(FieldId::LogEpoch, epoch)
            .with(FieldId::Cause, found.cause)
    }

    fn lock_queue(&self) -> MutexGuard<'_, Queue> {
        self.shared.lock_queue()
    }

    fn lock_committed(&self) -> MutexGuard<'_, Committed> {
        self.shared.lock_committed()
    }
}

impl Shared {
    pub(super) fn lock_queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_committed(&self) -> MutexGuard<'_, Committed> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity(key: &NoteKey) -> Cbor {
    Cbor::map([(1, Cbor::Text(key.to_string().into()))])
}

fn new_record(now: Timestamp) -> RecordId {
    RecordId::new(now, &mut Draw(&SystemRandom))
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("options", &self.shared.options).finish_non_exhaustive()
    }
}
