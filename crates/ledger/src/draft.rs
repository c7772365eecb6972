//! A record as its author hands it over, before it has a place in the log.

use cordon_core::cbor::{Cbor, head};
use cordon_core::{Entropy, RecordId, SessionId, Timestamp};

use crate::entry::{Body, LINK_BYTES, VERSION, item};
use crate::{AbsentReason, Commitment, Exposure, FieldId, Kind, Opening};

/// Largest encoded entry, in bytes; the length has two bytes in an entry bundle.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// A record as its author hands it over: which fields it has, and why the others are absent.
///
/// Whether a value is written in the clear or committed is decided by the field, not by the author.
/// A decision's evidence fields that nobody sets are recorded as absent (`not_provided`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    id: RecordId,
    at: Timestamp,
    kind: Kind,
    tenant: Box<str>,
    session: Option<SessionId>,
    given: Vec<(FieldId, Given)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Given {
    Value(Cbor),
    Absent(AbsentReason),
}

/// A draft cannot become an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// The entry would not fit into an entry bundle.
    #[error("the entry has {bytes} bytes, expected at most {ENTRY_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The log sets this field itself.
    #[error("field `{0}` is set by the log, not by a record's author")]
    NotAuthored(FieldId),
}

impl Draft {
    /// A record without fields; it happened at `at`.
    pub fn new(id: RecordId, at: Timestamp, tenant: impl Into<Box<str>>, kind: Kind) -> Self {
        Self { id, at, kind, tenant: tenant.into(), session: None, given: Vec::new() }
    }

    /// The record belongs to this session and takes the next number in it.
    #[must_use]
    pub fn in_session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// Sets a field; the last value counts.
    #[must_use]
    pub fn with(mut self, field: FieldId, value: impl Into<Cbor>) -> Self {
        self.given.push((field, Given::Value(value.into())));
        self
    }

    /// Sets a field to its value, or says why there is none.
    #[must_use]
    pub fn with_or(self, field: FieldId, value: Option<impl Into<Cbor>>, reason: AbsentReason) -> Self {
        match value {
            Some(value) => self.with(field, value),
            None => self.without(field, reason),
        }
    }

    /// Says why a field has no value.
    #[must_use]
    pub fn without(mut self, field: FieldId, reason: AbsentReason) -> Self {
        self.given.push((field, Given::Absent(reason)));
        self
    }

    /// Attaches the full request and facts, for replaying the decision.
    #[must_use]
    pub fn attach(self, request: Cbor) -> Self {
        self.with(FieldId::Attachment, request)
    }

    /// The record's identifier.
    pub const fn id(&self) -> RecordId {
        self.id
    }

    /// What the record is about.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// When it happened.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// The session it belongs to.
    pub const fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// The value that counts for a field; none where it was given none.
    pub fn value(&self, field: FieldId) -> Option<&Cbor> {
        let last = self.given.iter().rev().find(|(given, _)| *given == field)?;
        match &last.1 {
            Given::Value(value) => Some(value),
            Given::Absent(_) => None,
        }
    }

    /// Commits to the sealed fields and encodes the entry but for its place in the session.
    ///
    /// `identity` is the value of [`FieldId::CryptographicIdentity`] where the author set none.
    pub fn close(
        mut self,
        identity: &Cbor,
        entropy: &mut dyn Entropy,
    ) -> Result<(Body, Vec<Opening>), DraftError> {
        if let Some((field, _)) = self.given.iter().find(|(field, _)| !field.is_authored()) {
            return Err(DraftError::NotAuthored(*field));
        }
        self.complete(identity);
        let sealed = self.given.iter().filter(|(field, given)| is_sealed(*field, given)).count();
        let mut salts = vec![0; sealed.saturating_mul(32)];
        entropy.fill(&mut salts);
        let mut salts = salts.as_chunks::<32>().0.iter();

        let mut writer = Writer::new(self.given.len().saturating_add(6));
        writer.clear(FieldId::Kind, &self.kind.code().into());
        writer.clear(FieldId::Record, &Cbor::bytes(*self.id.as_bytes()));
        writer.clear(FieldId::Timestamp, &self.at.as_micros().into());
        writer.clear(FieldId::Tenant, &Cbor::Text(self.tenant));
        if let Some(session) = self.session {
            writer.clear(FieldId::Session, &Cbor::bytes(*session.as_bytes()));
            writer.link();
        }
        let mut openings = Vec::with_capacity(sealed);
        for (field, given) in self.given {
            match (given, field.exposure()) {
                (Given::Absent(reason), _) => writer.absent(field, reason),
                (Given::Value(value), Exposure::Clear) => writer.clear(field, &value),
                (Given::Value(value), Exposure::Sealed) => {
                    let salt = salts.next().copied().unwrap_or_default();
                    let opening = Opening { field, salt, encoded: value.encode() };
                    writer.committed(field, &opening.commitment());
                    openings.push(opening);
                }
            }
        }
        let body = writer.finish(self.id, self.kind, self.session);
        if body.len() > ENTRY_BYTES_MAX {
            return Err(DraftError::TooLarge { bytes: body.len() });
        }
        Ok((body, openings))
    }

    /// Orders the fields, keeps the last of each, and accounts for those a decision must have.
    fn complete(&mut self, identity: &Cbor) {
        let given = std::mem::take(&mut self.given);
        let mut fields: Vec<(FieldId, Given)> = Vec::with_capacity(given.len().saturating_add(24));
        let absent = |field: &FieldId| (*field, Given::Absent(AbsentReason::NotProvided));
        if self.kind == Kind::Decision {
            let due = FieldId::EVIDENCE.iter().chain(FieldId::TRACE).filter(|field| field.is_authored());
            fields.extend(due.map(absent));
        }
        fields.push((FieldId::CryptographicIdentity, Given::Value(identity.clone())));
        fields.extend(given);
        // The sort is stable, so that of two equal fields the later stays last.
        fields.sort_by_key(|(field, _)| *field);
        fields.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        self.given = fields;
    }
}

const fn is_sealed(field: FieldId, given: &Given) -> bool {
    matches!(given, Given::Value(_)) && matches!(field.exposure(), Exposure::Sealed)
}

/// Writes fields in ascending order, each with its locator.
struct Writer {
    fields: Vec<u8>,
    locators: Vec<u8>,
    count: u64,
    link_at: Option<(usize, usize)>,
}

impl Writer {
    fn new(fields: usize) -> Self {
        Self {
            fields: Vec::with_capacity(fields.saturating_mul(24)),
            locators: Vec::with_capacity(fields.saturating_mul(4)),
            count: 0,
            link_at: None,
        }
    }

    fn field(&mut self, field: FieldId, tag: u64, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.fields.len();
        head(&mut self.fields, 0, u64::from(field.code()));
        head(&mut self.fields, 4, 2);
        head(&mut self.fields, 0, tag);
        write(&mut self.fields);
        let locator = self.fields.get(start..).map_or(0, crc32c::crc32c);
        self.locators.extend_from_slice(&locator.to_be_bytes());
        self.count = self.count.saturating_add(1);
    }

    fn clear(&mut self, field: FieldId, value: &Cbor) {
        self.field(field, item::CLEAR, |out| value.encode_to(out));
    }

    fn committed(&mut self, field: FieldId, commitment: &Commitment) {
        self.field(field, item::COMMITTED, |out| {
            head(out, 2, 32);
            out.extend_from_slice(commitment.as_bytes());
        });
    }

    fn absent(&mut self, field: FieldId, reason: AbsentReason) {
        self.field(field, item::ABSENT, |out| head(out, 0, reason.code()));
    }

    /// Leaves room for the place in the session, which only the log knows.
    fn link(&mut self) {
        let locator_at = self.locators.len();
        self.field(FieldId::Link, item::CLEAR, |out| {
            head(out, 2, LINK_BYTES as u64);
            out.extend_from_slice(&[0; LINK_BYTES]);
        });
        self.link_at = Some((self.fields.len().saturating_sub(LINK_BYTES), locator_at));
    }

    fn finish(self, id: RecordId, kind: Kind, session: Option<SessionId>) -> Body {
        let mut bytes =
            Vec::with_capacity(self.fields.len().saturating_add(self.locators.len()).saturating_add(16));
        head(&mut bytes, 4, 3);
        head(&mut bytes, 0, VERSION);
        head(&mut bytes, 2, self.locators.len() as u64);
        let locators_at = bytes.len();
        bytes.extend_from_slice(&self.locators);
        head(&mut bytes, 5, self.count);
        let fields_at = bytes.len();
        bytes.extend_from_slice(&self.fields);
        let link_at = self
            .link_at
            .map(|(link, locator)| (fields_at.saturating_add(link), locators_at.saturating_add(locator)));
        Body::new(bytes, link_at, id, kind, session)
    }
}
