//! The one thread that writes: all that waits becomes one frame, one write, one `fdatasync`.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use cordon_ledger::{
    Body, Checkpoint, FRAME_BYTES_MAX, Frontier, Kind, Link, LogKey, Placed, Replay, SessionStep, Sessions,
    SignedCheckpoint, encode_frame, frame_extent,
};

use super::append::{AppendError, Slot};
use super::disk::DiskFile;
use super::engine::{LedgerError, Queue, Shared, Waiting};
use super::head::{Head, HeadFile};
use super::segment::Segment;

/// Records in one frame.
const FRAME_RECORDS_MAX: usize = 65_536;
/// How long a record that no one waits for may wait for company.
const LINGER: Duration = Duration::from_millis(20);

/// Writes frames.
pub(super) struct Committer {
    shared: Arc<Shared>,
    head: HeadFile,
    segment: Option<Open>,
    /// The size of the next segment.
    next_bytes: u64,
    frontier: Frontier,
    /// The places in the sessions; the queue's order is the sessions' order.
    sessions: Sessions,
    epoch: u64,
    key: LogKey,
    buffer: Vec<u8>,
}

/// The segment that is written to.
struct Open {
    file: Box<dyn DiskFile>,
    offset: u64,
    bytes: u64,
}

/// What becomes one frame.
#[derive(Default)]
struct Batch {
    waiting: Vec<(Body, Vec<u8>)>,
    placed: Vec<Placed>,
    slots: Vec<(usize, Arc<Slot>)>,
    bytes: u64,
    rotate: Option<Box<LogKey>>,
}

impl Committer {
    /// Continues the log in this segment.
    pub(super) fn new(
        shared: Arc<Shared>,
        head: HeadFile,
        segment: Option<(Segment, u64)>,
        replay: &Replay,
        epoch: u64,
    ) -> Result<Self, LedgerError> {
        let options = &shared.options;
        let mut next_bytes = options.segment_bytes_first.min(options.segment_bytes_max);
        let mut open = None;
        if let Some((segment, offset)) = segment {
            let failed = |source| LedgerError::Io { doing: "open", path: segment.path.clone(), source };
            let bytes = std::fs::metadata(&segment.path).map_err(failed)?.len();
            let file = options.disk.open(&segment.path).map_err(failed)?;
            next_bytes = bytes.saturating_mul(2).clamp(next_bytes, options.segment_bytes_max);
            open = Some(Open { file, offset, bytes });
        }
        let key = options.key.clone();
        let (frontier, sessions) = (replay.frontier().clone(), replay.sessions().clone());
        Ok(Self {
            shared,
            head,
            segment: open,
            next_bytes,
            frontier,
            sessions,
            epoch,
            key,
            buffer: Vec::new(),
        })
    }

    /// Commits until the log is closed and nothing waits.
    pub(super) fn run(mut self) {
        let mut batch = Batch::default();
        while self.take(&mut batch) {
            if let Err(error) = self.commit(&mut batch) {
                self.stop(&error, &batch);
                break;
            }
            batch.placed.clear();
        }
        let stopped_well = matches!(self.shared.lock_queue().stopped, Some(AppendError::Closed));
        if stopped_well && self.write_head(true).is_ok() {
            let _ = self.head.sync();
        }
        let mut committed = self.shared.lock_committed();
        committed.closing = true;
        self.shared.advanced.notify_all();
    }

    /// Moves what waits, as far as it fits into one frame, into the batch; false when closed and empty.
    fn take(&self, batch: &mut Batch) -> bool {
        let mut queue = self.await_due();
        if queue.waiting.is_empty() {
            return false;
        }
        batch.slots.clear();
        batch.bytes = 0;
        batch.rotate = None;
        let most = FRAME_BYTES_MAX.min(self.shared.options.segment_bytes_max);
        while let Some(next) = queue.waiting.front() {
            let bytes = batch.bytes.saturating_add(next.frame_bytes());
            let full = frame_extent(bytes) > most || batch.waiting.len() >= FRAME_RECORDS_MAX;
            if full && !batch.waiting.is_empty() {
                break;
            }
            let Some(Waiting { body, sealed, slot, rotate }) = queue.waiting.pop_front() else { break };
            batch.slots.extend(slot.map(|slot| (batch.waiting.len(), slot)));
            batch.waiting.push((body, sealed));
            batch.bytes = bytes;
            if rotate.is_some() {
                batch.rotate = rotate;
                break;
            }
        }
        queue.bytes = queue.bytes.saturating_sub(batch.bytes);
        // What did not fit is due at once.
        queue.awaited = !queue.waiting.is_empty();
        true
    }

    /// Waits for a frame to be due: a record is awaited, much is waiting, the oldest has lingered, or
    /// the log is closed.
    ///
    /// A record that no one waits for (a result, a refusal) joins the frame of the next that is awaited;
    /// a frame of its own would stand in that one's way.
    fn await_due(&self) -> MutexGuard<'_, Queue> {
        let mut queue = self.shared.lock_queue();
        while !queue.is_due() {
            if queue.attended {
                let lingered = self.shared.queued.wait_timeout_while(queue, LINGER, |queue| !queue.is_due());
                let (woken, lingered) = lingered.unwrap_or_else(PoisonError::into_inner);
                queue = woken;
                if lingered.timed_out() && !queue.waiting.is_empty() {
                    break;
                }
                queue.attended &= !lingered.timed_out();
            } else {
                queue = self.shared.queued.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
        queue
    }

    /// Makes a batch durable under a signed checkpoint, then tells those who wait.
    fn commit(&mut self, batch: &mut Batch) -> Result<(), AppendError> {
        let first = self.frontier.size();
        self.place(batch);
        let mut frontier = self.frontier.clone();
        batch.placed.iter().for_each(|placed| frontier.push(placed.leaf));
        let checkpoint = Checkpoint { size: frontier.size(), root: frontier.root() };
        let signed = SignedCheckpoint { checkpoint, signature: self.key.sign(&checkpoint) };
        let extent = frame_extent(batch.bytes);
        self.make_room(first, extent)?;
        encode_frame(&mut self.buffer, self.epoch, first, &batch.placed, checkpoint.root, signed.signature);
        let Some(segment) = &mut self.segment else {
            return Err(AppendError::Failed("there is no segment".into()));
        };
        let at = segment.offset;
        segment
            .file
            .write_at(&self.buffer, at)
            .map_err(|error| AppendError::of_write("writing a frame", &error))?;
        segment.file.sync().map_err(|error| AppendError::of_write("syncing a frame", &error))?;
        segment.offset = at.saturating_add(self.buffer.len() as u64);
        let room = (segment.bytes.saturating_sub(segment.offset), segment.bytes);
        self.frontier = frontier;
        if let Some(key) = batch.rotate.take() {
            self.key = *key;
        }
        self.write_head(false)?;
        self.publish(signed, room);
        for (at, slot) in &batch.slots {
            slot.settle(Ok(first.saturating_add(*at as u64)));
        }
        Ok(())
    }

    /// Gives each record its place in its session, in the order of the queue.
    fn place(&mut self, batch: &mut Batch) {
        for (body, sealed) in batch.waiting.drain(..) {
            let (session, kind) = (body.session(), body.kind());
            let link = session.map_or(Link::FIRST, |session| self.sessions.next(session));
            let (entry, leaf) = body.place(link);
            if let Some(session) = session {
                self.sessions.advance(session, link, leaf);
                if kind == Kind::Session(SessionStep::Closed) {
                    self.sessions.close(session);
                }
            }
            batch.placed.push(Placed { entry, leaf, sealed });
        }
    }

    fn publish(&self, signed: SignedCheckpoint, room: (u64, u64)) {
        let mut committed = self.shared.lock_committed();
        committed.signed = Some(signed);
        committed.size = signed.checkpoint.size;
        committed.room = room;
        if committed.key.public() != self.key.public() {
            committed.key = self.key.clone();
        }
        let waited_for = std::mem::take(&mut committed.deriver_idle);
        drop(committed);
        if waited_for {
            self.shared.advanced.notify_all();
        }
    }

    fn write_head(&mut self, closed: bool) -> Result<(), AppendError> {
        let root = self.frontier.root();
        let head = Head { sequence: 0, epoch: self.epoch, size: self.frontier.size(), root, closed };
        self.head.write(head).map_err(|error| {
            let source = std::error::Error::source(&error).map_or_else(String::new, ToString::to_string);
            AppendError::Failed(format!("{error}: {source}").into())
        })
    }

    /// Begins a new segment if the frame does not fit into this one.
    fn make_room(&mut self, first: u64, extent: u64) -> Result<(), AppendError> {
        let fits = |open: &Open| open.offset.saturating_add(extent) <= open.bytes;
        if self.segment.as_ref().is_some_and(fits) {
            return Ok(());
        }
        let options = &self.shared.options;
        let path = Segment::at(&options.dir, first).path;
        let spare = self.shared.lock_committed().spare.take();
        let (file, bytes) = match spare.filter(|(_, bytes)| *bytes >= extent) {
            Some((spare, bytes)) => (options.disk.rename(&spare, &path), bytes),
            None => {
                let bytes = self.next_bytes.max(extent).next_multiple_of(4_096);
                (options.disk.create(&path, bytes), bytes)
            }
        };
        let file = file.map_err(|error: io::Error| AppendError::of_write("beginning a segment", &error))?;
        self.next_bytes = bytes.saturating_mul(2).min(options.segment_bytes_max);
        self.segment = Some(Open { file, offset: 0, bytes });
        Ok(())
    }

    /// Takes nothing more, and tells everyone who waits why.
    fn stop(&self, error: &AppendError, batch: &Batch) {
        let waiting = {
            let mut queue = self.shared.lock_queue();
            queue.stopped = Some(error.clone());
            queue.bytes = 0;
            std::mem::take(&mut queue.waiting)
        };
        for (_, slot) in &batch.slots {
            slot.settle(Err(error.clone()));
        }
        for slot in waiting.into_iter().filter_map(|waiting| waiting.slot) {
            slot.settle(Err(error.clone()));
        }
    }

    /// Where a segment is made ahead.
    pub(super) fn spare_path(shared: &Shared) -> PathBuf {
        super::segment::segments_dir(&shared.options.dir).join("spare.seg")
    }
}
