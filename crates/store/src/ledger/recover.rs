//! What an opening log is compared with before anything is signed over it.

use std::path::Path;

use cordon_core::Digest;
use cordon_ledger::{Fault, FaultKind, Frame, Header, HeaderError, Replay, Tail, judge_tail};

use super::engine::{LedgerError, MissingHead, Options};
use super::head::Head;
use super::segment::{FrameReader, Read, Segment, list, segments_dir};
use super::snapshot::Snapshot;

/// A log that was checked and may be continued.
pub(super) struct Recovered {
    /// The state after the last whole frame.
    pub(super) replay: Replay,
    /// The state that the check began with.
    pub(super) snapshot: Snapshot,
    /// The segment to continue, and where; none if there is none.
    pub(super) segment: Option<(Segment, u64)>,
    /// Bytes of a frame that was cut off.
    pub(super) dropped_bytes: u64,
    /// Why the end was not in order; none if it was.
    pub(super) cause: Option<&'static str>,
}

/// Replays the log behind its newest snapshot, cuts off a torn end, and compares it with the head record.
pub(super) fn recover(options: &Options, head: Option<Head>) -> Result<Recovered, LedgerError> {
    let dir = &options.dir;
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| LedgerError::Io { doing, path, source }
    };
    std::fs::create_dir_all(segments_dir(dir)).map_err(io("create", dir))?;
    let segments = list(dir).map_err(io("list", dir))?;
    let head_size = head.map(|head| head.size);
    let snapshot = Snapshot::newest(dir, options.key.public(), head_size.unwrap_or(u64::MAX));
    let begin = segments.iter().position(|segment| segment.first == snapshot.segment);
    let (snapshot, todo) = match begin.and_then(|at| segments.get(at..)) {
        Some(todo) => (snapshot, todo),
        None => (Snapshot::empty(), segments.as_slice()),
    };

    let mut check = Check::new(snapshot.replay.clone(), head);
    let mut last = None;
    let mut dropped_bytes = 0u64;
    for (at, segment) in (0usize..).zip(todo) {
        let offset = if at == 0 { snapshot.offset } else { 0 };
        if offset == 0 && segment.first != check.replay.size() {
            return Err(LedgerError::SegmentOrder {
                path: segment.path.clone(),
                expected: check.replay.size(),
            });
        }
        if offset > 0 {
            check_continued(segment, &snapshot)?;
        }
        // A log that was closed in order has no torn end.
        let closed = head.is_some_and(|head| head.closed);
        let may_be_torn = at.saturating_add(1) == todo.len() && !closed;
        let mut reader = FrameReader::open(&segment.path, offset).map_err(io("open", &segment.path))?;
        let end = check.segment(&mut reader, segment, may_be_torn)?;
        if let Some(torn) = end.torn {
            dropped_bytes = torn;
            cut(options, &segment.path, end.offset, torn)?;
        }
        last = Some((segment.clone(), end.offset));
    }
    check.compare_end(options)?;
    if let Some(term) = check.replay.keys().last()
        && term.key != *options.key.public()
    {
        let given = options.key.public().to_string();
        return Err(LedgerError::OtherKey { log: term.key.to_string(), given });
    }
    let cause = match head {
        _ if check.replay.size() == 0 => None,
        None => Some("adopted"),
        Some(head) if head.closed && dropped_bytes == 0 && head.size == check.replay.size() => None,
        Some(_) => Some("crash"),
    };
    Ok(Recovered { replay: check.replay, snapshot, segment: last, dropped_bytes, cause })
}

/// Checks the frames before a snapshot in the segment that will be continued: they are whole, in order,
/// and end where the snapshot says. Earlier segments are left to a verifier.
fn check_continued(segment: &Segment, snapshot: &Snapshot) -> Result<(), LedgerError> {
    let path = &segment.path;
    let io = |source| LedgerError::Io { doing: "read", path: path.clone(), source };
    let mut reader = FrameReader::open(path, 0).map_err(io)?;
    let mut size = segment.first;
    let mut root = None;
    while reader.offset() < snapshot.offset {
        let (offset, kind) = match reader.next().map_err(io)? {
            Read::Frame(_, frame)
                if frame.header.first == size
                    && frame.body_holds()
                    && frame.sealed_holds()
                    && frame.padding_holds() =>
            {
                size = frame.header.end();
                root = Some(frame.header.root);
                continue;
            }
            Read::Frame(offset, _) => (offset, FaultKind::Body),
            Read::End(offset, error) => (offset, FaultKind::Frame(error)),
        };
        let fault = Fault { frame: size, entry: None, field: None, kind };
        return Err(LedgerError::Altered { path: path.clone(), offset, fault });
    }
    let replay = &snapshot.replay;
    if size == replay.size() && root == Some(replay.frontier().root()) {
        return Ok(());
    }
    let fault = Fault { frame: size, entry: None, field: None, kind: FaultKind::Root };
    Err(LedgerError::Altered { path: path.clone(), offset: snapshot.offset, fault })
}

/// Overwrites what was cut off with zeros, so that it is never taken for content again.
fn cut(options: &Options, path: &Path, offset: u64, bytes: u64) -> Result<(), LedgerError> {
    let failed = |source| LedgerError::Io { doing: "cut the torn end of", path: path.to_owned(), source };
    let file = options.disk.open(path).map_err(failed)?;
    let zeros = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
    file.write_at(&zeros, offset).map_err(failed)?;
    file.sync().map_err(failed)
}

struct Check {
    replay: Replay,
    head: Option<Head>,
    /// The root when the log had as many entries as the head record says.
    root_at_head: Option<Digest>,
}

/// Where a segment's frames end.
struct End {
    offset: u64,
    torn: Option<u64>,
}

impl Check {
    fn new(replay: Replay, head: Option<Head>) -> Self {
        let mut check = Self { replay, head, root_at_head: None };
        check.note_root();
        check
    }

    fn note_root(&mut self) {
        if self.head.is_some_and(|head| head.size == self.replay.size()) {
            self.root_at_head = Some(self.replay.frontier().root());
        }
    }

    fn segment(
        &mut self,
        reader: &mut FrameReader,
        segment: &Segment,
        may_be_torn: bool,
    ) -> Result<End, LedgerError> {
        let io = |source| LedgerError::Io { doing: "read", path: segment.path.clone(), source };
        loop {
            // A frame whose checks fail may have been cut off by a crash; one whose checks hold was
            // written whole, and whatever is wrong with it was done to it.
            let (offset, error) = match reader.next().map_err(io)? {
                Read::Frame(offset, frame) if frame.body_holds() && frame.sealed_holds() => {
                    if let Some(fault) = self.replay.frame(&frame, |_| {}).into_iter().next() {
                        return Err(LedgerError::Altered { path: segment.path.clone(), offset, fault });
                    }
                    self.note_root();
                    continue;
                }
                Read::Frame(offset, _) => (offset, None),
                Read::End(offset, error) => (offset, Some(error)),
            };
            if reader.blank_from(offset).map_err(io)? {
                return Ok(End { offset, torn: None });
            }
            let tail = reader.tail(offset).map_err(io)?;
            if judge_tail(&tail) == Tail::Torn && may_be_torn {
                let content = tail.iter().rposition(|byte| *byte != 0);
                let torn = content.map_or(0, |at| at.saturating_add(1));
                return Ok(End { offset, torn: Some(torn as u64) });
            }
            let fault = self.name(&tail, error);
            return Err(LedgerError::Altered { path: segment.path.clone(), offset, fault });
        }
    }

    /// Says what is wrong with the frame at the start of these bytes.
    fn name(&mut self, tail: &[u8], error: Option<HeaderError>) -> Fault {
        let at = self.replay.size();
        let of = |kind| Fault { frame: at, entry: None, field: None, kind };
        match error {
            Some(HeaderError::Changed) => return of(FaultKind::Frame(HeaderError::Changed)),
            Some(_) => return of(FaultKind::Tail),
            None => {}
        }
        let frame = Header::decode(tail).ok().and_then(|header| Frame::split(header, tail));
        let named = frame.and_then(|frame| self.replay.frame(&frame, |_| {}).into_iter().next());
        named.unwrap_or_else(|| of(FaultKind::Sealed))
    }

    fn compare_end(&self, options: &Options) -> Result<(), LedgerError> {
        let size = self.replay.size();
        match self.head {
            None if size > 0 && options.missing_head == MissingHead::Refuse => {
                Err(LedgerError::HeadMissing(options.head_file.clone()))
            }
            None => Ok(()),
            Some(head) if size < head.size => Err(LedgerError::Behind { size, signed: head.size }),
            Some(head) if self.root_at_head != Some(head.root) => {
                Err(LedgerError::Forked { signed: head.size })
            }
            Some(_) => Ok(()),
        }
    }
}
