//! One entry of the log: `[version, locators, {field number: item}]` in deterministic CBOR.
//!
//! An item is `[0, value]` in the clear, `[1, commitment]`, or `[2, reason]` for a field that is absent.
//! The leaf hash alone authenticates an entry. The locators (four bytes a field, CRC32C of its key and
//! item) authenticate nothing: they let a verifier say *which* field of a changed entry was changed.

use cordon_core::cbor::{Cbor, head};
use cordon_core::{Digest, RecordId, SessionId, Timestamp};

use crate::scan::{Head, Scan};
use crate::tree::leaf_hash;
use crate::{AbsentReason, Commitment, Exposure, FieldId, Kind};

/// The version of the entry format.
pub(crate) const VERSION: u64 = 1;

/// Counter and previous leaf hash.
pub(crate) const LINK_BYTES: usize = 40;

/// The tags of an item.
pub(crate) mod item {
    pub(crate) const CLEAR: u64 = 0;
    pub(crate) const COMMITTED: u64 = 1;
    pub(crate) const ABSENT: u64 = 2;
}

/// A place in a session: the counter without gaps and the leaf hash of the session's entry before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Link {
    /// How many entries of the session came before.
    pub counter: u64,
    /// The leaf hash of the one before; zeros for the first.
    pub previous: Digest,
}

impl Link {
    /// The place of a session's first entry.
    pub const FIRST: Self = Self { counter: 0, previous: Digest::from_bytes([0; 32]) };

    /// The place behind an entry at this place that has this leaf hash.
    #[must_use]
    pub const fn next(self, leaf: Digest) -> Self {
        Self { counter: self.counter.saturating_add(1), previous: leaf }
    }

    fn to_bytes(self) -> [u8; LINK_BYTES] {
        let mut bytes = [0; LINK_BYTES];
        let parts = self.counter.to_be_bytes().into_iter().chain(*self.previous.as_bytes());
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (counter, previous) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            counter: u64::from_be_bytes(*counter),
            previous: Digest::from_bytes(previous.try_into().ok()?),
        })
    }
}

/// An encoded entry whose place in its session is still open.
#[derive(Debug, Clone)]
pub struct Body {
    bytes: Vec<u8>,
    /// Where the link's bytes and its locator are.
    link_at: Option<(usize, usize)>,
    id: RecordId,
    kind: Kind,
    session: Option<SessionId>,
}

impl Body {
    pub(crate) const fn new(
        bytes: Vec<u8>,
        link_at: Option<(usize, usize)>,
        id: RecordId,
        kind: Kind,
        session: Option<SessionId>,
    ) -> Self {
        Self { bytes, link_at, id, kind, session }
    }

    /// The entry's size in bytes, which its place does not change.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no bytes; there always are.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The record's identifier.
    pub const fn id(&self) -> RecordId {
        self.id
    }

    /// What the record is about.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The session it belongs to.
    pub const fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// Fills in the place in the session and returns the entry's bytes and leaf hash.
    pub fn place(mut self, link: Link) -> (Vec<u8>, Digest) {
        if let Some((link_at, locator_at)) = self.link_at {
            let place = link.to_bytes();
            let mut field = Vec::with_capacity(LINK_BYTES.saturating_add(5));
            head(&mut field, 0, u64::from(FieldId::Link.code()));
            head(&mut field, 4, 2);
            head(&mut field, 0, item::CLEAR);
            head(&mut field, 2, LINK_BYTES as u64);
            field.extend_from_slice(&place);
            patch(&mut self.bytes, link_at, &place);
            patch(&mut self.bytes, locator_at, &crc32c::crc32c(&field).to_be_bytes());
        }
        let leaf = leaf_hash(&self.bytes);
        (self.bytes, leaf)
    }
}

fn patch(bytes: &mut [u8], at: usize, with: &[u8]) {
    let spot = bytes.get_mut(at..).into_iter().flatten();
    spot.zip(with).for_each(|(to, from)| *to = *from);
}

/// What one field of an entry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A value in the clear.
    Clear(Cbor),
    /// A commitment to a sealed value.
    Committed(Commitment),
    /// No value, and why.
    Absent(AbsentReason),
}

/// An entry, read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its fields in the order of the registry.
    pub fields: Vec<(FieldId, Item)>,
}

impl Entry {
    /// Reads an entry's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryFault> {
        let mut fields = Vec::new();
        walk(bytes, |field, shape, value| {
            let item = match shape {
                Shape::Clear => Item::Clear(Cbor::decode(value).map_err(|_| bad(field, "a CBOR value"))?),
                Shape::Committed(commitment) => Item::Committed(commitment),
                Shape::Absent(reason) => Item::Absent(reason),
            };
            fields.push((field, item));
            Ok(())
        })?;
        Ok(Self { fields })
    }

    /// What a field holds; none if the entry does not have it.
    pub fn get(&self, field: FieldId) -> Option<&Item> {
        self.fields.iter().find(|(found, _)| *found == field).map(|(_, item)| item)
    }

    /// A field's value in the clear.
    pub fn clear(&self, field: FieldId) -> Option<&Cbor> {
        match self.get(field) {
            Some(Item::Clear(value)) => Some(value),
            _ => None,
        }
    }
}

/// What is wrong with an entry's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}expected {expected}", .field.map_or(String::new(), |field| format!("field `{field}`: ")))]
pub struct EntryFault {
    /// The field, where one can be named.
    pub field: Option<FieldId>,
    /// What was expected.
    pub expected: &'static str,
}

const fn bad(field: FieldId, expected: &'static str) -> EntryFault {
    EntryFault { field: Some(field), expected }
}

/// The parts of an entry that the log itself acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline {
    /// What it is about.
    pub kind: Kind,
    /// The record's identifier.
    pub id: RecordId,
    /// When it happened.
    pub at: Timestamp,
    /// Its session and its place there.
    pub session: Option<(SessionId, Link)>,
    /// How many of its fields are committed.
    pub committed: u32,
}

impl Outline {
    /// Reads no more of an entry than its kind and its place in a session; they come first.
    pub(crate) fn peek(bytes: &[u8]) -> Option<(Kind, Option<(SessionId, Link)>)> {
        let (mut scan, _, _) = opening(bytes).ok()?;
        let (mut kind, mut session, mut last) = (None, None, None);
        loop {
            let Ok((field, _, value)) = field(&mut scan, last) else { return Some((kind?, None)) };
            let mut value = Scan::new(value);
            match field {
                FieldId::Kind => kind = value.uint().and_then(Kind::from_code),
                FieldId::Session => session = value.bytes()?.try_into().ok().map(SessionId::from_bytes),
                FieldId::Link => return Some((kind?, session.zip(Link::from_bytes(value.bytes()?)))),
                _ if field > FieldId::Link => return Some((kind?, None)),
                _ => {}
            }
            last = Some(field);
        }
    }

    /// Checks an entry's whole form without allocating: canonical, ordered, registered, complete.
    pub fn read(bytes: &[u8]) -> Result<Self, EntryFault> {
        let (mut kind, mut id, mut at, mut session, mut link) = (None, None, None, None, None);
        let mut committed = 0u32;
        let mut seen = 0u64;
        let tenant = walk(bytes, |field, shape, value| {
            if field.code() < 64 {
                seen |= 1 << field.code();
            }
            let mut scan = Scan::new(value);
            let held = match (field, shape) {
                (FieldId::Kind, Shape::Clear) => {
                    kind = scan.uint().and_then(Kind::from_code);
                    kind.is_some()
                }
                (FieldId::Record, Shape::Clear) => {
                    id = scan.bytes().and_then(|bytes| bytes.try_into().ok()).map(RecordId::from_bytes);
                    id.is_some()
                }
                (FieldId::Timestamp, Shape::Clear) => {
                    at = scan.uint().map(Timestamp::from_micros);
                    at.is_some()
                }
                (FieldId::Tenant, Shape::Clear) => matches!(scan.head(), Some(Head::Text(_))),
                (FieldId::Session, Shape::Clear) => {
                    session = scan.bytes().and_then(|bytes| bytes.try_into().ok()).map(SessionId::from_bytes);
                    session.is_some()
                }
                (FieldId::Link, Shape::Clear) => {
                    link = scan.bytes().and_then(Link::from_bytes);
                    link.is_some()
                }
                (_, Shape::Committed(_)) => {
                    committed = committed.saturating_add(1);
                    field.is_authored()
                }
                _ => field.is_authored(),
            };
            if held { Ok(()) } else { Err(bad(field, "the value that the registry describes")) }
        });
        tenant?;
        let kind = kind.ok_or(bad(FieldId::Kind, "a kind"))?;
        let due = due_fields(kind);
        if seen & due != due {
            let missing = (due & !seen).trailing_zeros();
            let field = FieldId::from_code(u64::from(missing));
            return Err(EntryFault {
                field,
                expected: "a value, a commitment or the reason for its absence",
            });
        }
        Ok(Self {
            kind,
            id: id.ok_or(bad(FieldId::Record, "an identifier"))?,
            at: at.ok_or(bad(FieldId::Timestamp, "a time"))?,
            session: match (session, link) {
                (Some(session), Some(link)) => Some((session, link)),
                (None, None) => None,
                _ => return Err(bad(FieldId::Link, "a session and a place in it, or neither")),
            },
            committed,
        })
    }
}

/// The fields that an entry of this kind must account for, as a bit set of numbers below 64.
const fn due_fields(kind: Kind) -> u64 {
    const ALWAYS: u64 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4;
    const DECISION: u64 = bits(FieldId::EVIDENCE) | bits(FieldId::TRACE);
    match kind {
        Kind::Decision => ALWAYS | DECISION,
        _ => ALWAYS,
    }
}

#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "evaluated while compiling")]
const fn bits(fields: &[FieldId]) -> u64 {
    let (mut bits, mut at) = (0, 0);
    while at < fields.len() {
        bits |= 1 << fields[at].code();
        at += 1;
    }
    bits
}

/// The shape of an item; a clear value is passed beside it.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Clear,
    Committed(Commitment),
    Absent(AbsentReason),
}

/// Walks over an entry's fields in order, refusing what is not exactly the format.
fn walk(
    bytes: &[u8],
    mut visit: impl FnMut(FieldId, Shape, &[u8]) -> Result<(), EntryFault>,
) -> Result<(), EntryFault> {
    let (mut scan, locators, count) = opening(bytes)?;
    if locators.len() as u64 != count.saturating_mul(4) {
        return Err(EntryFault { field: None, expected: "one locator a field" });
    }
    let mut last = None;
    for _ in 0..count {
        let (field, shape, value) = field(&mut scan, last)?;
        last = Some(field);
        visit(field, shape, value)?;
    }
    match scan.rest() {
        [] => Ok(()),
        _ => Err(EntryFault { field: last, expected: "the end of the entry" }),
    }
}

fn opening(bytes: &[u8]) -> Result<(Scan<'_>, &[u8], u64), EntryFault> {
    let fault = |expected| EntryFault { field: None, expected };
    let mut scan = Scan::new(bytes);
    if scan.head() != Some(Head::Array(3)) || scan.uint() != Some(VERSION) {
        return Err(fault("an array of three that begins with version 1"));
    }
    let locators = scan.bytes().ok_or(fault("the locators"))?;
    match scan.head() {
        Some(Head::Map(count)) => Ok((scan, locators, count)),
        _ => Err(fault("the fields")),
    }
}

fn field<'b>(scan: &mut Scan<'b>, last: Option<FieldId>) -> Result<(FieldId, Shape, &'b [u8]), EntryFault> {
    let unnamed = EntryFault { field: None, expected: "a registered field in ascending order" };
    let field =
        scan.uint().and_then(FieldId::from_code).filter(|field| last.is_none_or(|last| last < *field));
    let field = field.ok_or(unnamed)?;
    let shaped = |scan: &mut Scan<'b>| -> Option<(Shape, &'b [u8])> {
        if scan.head()? != Head::Array(2) {
            return None;
        }
        match (scan.uint()?, field.exposure()) {
            (item::CLEAR, Exposure::Clear) => Some((Shape::Clear, scan.value()?)),
            (item::COMMITTED, Exposure::Sealed) => {
                let commitment = scan.bytes()?.try_into().ok().map(Commitment::from_bytes)?;
                Some((Shape::Committed(commitment), &[]))
            }
            (item::ABSENT, _) => Some((Shape::Absent(AbsentReason::from_code(scan.uint()?)?), &[])),
            _ => None,
        }
    };
    let (shape, value) =
        shaped(scan).ok_or(bad(field, "a value, a commitment or the reason for its absence"))?;
    Ok((field, shape, value))
}

/// The first field of a changed entry whose bytes do not fit its locator, if the change can be placed.
pub fn locate(bytes: &[u8]) -> Option<FieldId> {
    let (mut scan, locators, count) = opening(bytes).ok()?;
    let mut locators = locators.as_chunks::<4>().0.iter();
    let mut last = None;
    for _ in 0..count {
        let before = scan.rest();
        let read = field(&mut scan, last);
        let span = before.get(..before.len().checked_sub(scan.rest().len())?)?;
        let locator = u32::from_be_bytes(*locators.next()?);
        match read {
            Ok((field, ..)) if crc32c::crc32c(span) == locator => last = Some(field),
            // The key may be what was changed, so that the item is still whole behind it.
            Ok((field, ..)) => return renamed(before, locator, last).or(Some(field)),
            Err(fault) => {
                return renamed(before, locator, last).or(fault.field).or_else(|| successor(last));
            }
        }
    }
    None
}

/// The field whose key, before the item that is there, fits the locator.
fn renamed(bytes: &[u8], locator: u32, last: Option<FieldId>) -> Option<FieldId> {
    let mut candidates = FieldId::ALL.iter().copied().filter(|field| last.is_none_or(|last| last < *field));
    candidates.find(|field| {
        let mut key = Vec::with_capacity(3);
        head(&mut key, 0, u64::from(field.code()));
        let item = bytes.get(key.len()..).and_then(|rest| Scan::new(rest).value());
        item.is_some_and(|item| crc32c::crc32c_append(crc32c::crc32c(&key), item) == locator)
    })
}

/// The field that follows in the registry.
fn successor(last: Option<FieldId>) -> Option<FieldId> {
    FieldId::ALL.iter().copied().find(|field| last.is_none_or(|last| last < *field))
}
