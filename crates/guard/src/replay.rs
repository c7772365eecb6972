//! Judging a recorded decision again, from its record and its policies alone (level R1).
//!
//! A decision is a function of the policies, the request, the facts and the time. The record keeps
//! the last three sealed (`spec/request.md`) and names the first by its digest, so that anybody who
//! may open the record and has the bundle can see whether the judgement was the one that it says.

use std::borrow::Cow;
use std::fmt;

use cordon_core::cbor::Cbor;
use cordon_core::{Ambiguity, Digest, Encode, Facts, Judgement, ReasonKind, Request, ShapeError, Timestamp};
use cordon_ledger::{FieldId, RuleReason};
use cordon_pdp::PolicySet;

/// A decision as it was recorded, ready to be judged again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// What was asked.
    pub request: Request,
    /// What Cordon knew.
    pub facts: Facts,
    /// When it was judged.
    pub now: Timestamp,
    /// The bundle that was asked.
    pub bundle: Digest,
    /// The check of the guard that refused it before, or whatever, the policies said.
    pub outside: Option<Box<str>>,
    judgement: Parts,
}

/// Why a record cannot be judged again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotReplay {
    /// The request is not there: sealed under a key that is not here, erased, or damaged.
    #[error("the record's attachment is not there or does not open")]
    Attachment,
    /// There was no request to judge: the attempt was made outside any session.
    #[error("there was no request to judge: `{0}` refused the attempt")]
    NoRequest(Box<str>),
    /// A field does not have the shape that this version writes.
    #[error("the record's `{field}` is not understood: {source}")]
    Shape {
        /// The field.
        field: FieldId,
        /// What was expected.
        source: ShapeError,
    },
}

/// A part of a judgement that is not the same the second time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which part.
    pub part: Part,
    /// What the record says.
    pub recorded: Cbor,
    /// What the policies say.
    pub judged: Cbor,
}

/// The parts of a judgement that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Allow, ask or deny.
    Verdict,
    /// The bundle's digest.
    Bundle,
    /// The rules, by their identifiers.
    Rules,
    /// The rules with kind, place and principal.
    Reasons,
    /// What the rules say.
    Messages,
    /// The types of the obligations that are due.
    Obligations,
    /// The whole judgement, byte for byte.
    Judgement,
}

impl Part {
    /// The part as reports name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Bundle => "bundle",
            Self::Rules => "rules",
            Self::Reasons => "reasons",
            Self::Messages => "messages",
            Self::Obligations => "obligations",
            Self::Judgement => "judgement",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

type Parts = Vec<(Part, Cbor)>;

impl Recorded {
    /// Reads a decision's record; `field` gives the value of a field, clear or opened.
    pub fn read<'v>(field: impl Fn(FieldId) -> Option<&'v Cbor>) -> Result<Self, CannotReplay> {
        let need = |id| field(id).ok_or_else(|| missing(id));
        let reasons = need(FieldId::Reasons)?;
        let outside = refused_outside(reasons);
        let Some(attachment) = field(FieldId::Attachment) else {
            // The record of a stray attempt names the check and has neither action nor request.
            return Err(match (outside, field(FieldId::Action)) {
                (Some(check), None) => CannotReplay::NoRequest(check),
                _ => CannotReplay::Attachment,
            });
        };
        let version = need(FieldId::PolicyVersion)?;
        let bundle = version.get(1).ok_or_else(|| missing(FieldId::PolicyVersion))?;
        let decision = need(FieldId::EnforcementDecision)?;
        let verdict = decision.get(1).ok_or_else(|| missing(FieldId::EnforcementDecision))?;
        let rules = version.get(4).ok_or_else(|| missing(FieldId::PolicyVersion))?;
        let mut judgement = vec![
            (Part::Verdict, verdict.clone()),
            (Part::Bundle, bundle.clone()),
            (Part::Rules, rules.clone()),
            (Part::Reasons, reasons.clone()),
            (Part::Messages, need(FieldId::Messages)?.clone()),
            (Part::Obligations, need(FieldId::Obligations)?.clone()),
        ];
        judgement.extend(attachment.get(3).map(|whole| (Part::Judgement, whole.clone())));
        let shape = |source| CannotReplay::Shape { field: FieldId::Attachment, source };
        let part = |key, what| attachment.get(key).ok_or(ShapeError(what)).map_err(shape);
        let now = part(2, "the time")?.as_u64().ok_or(ShapeError("a time")).map_err(shape)?;
        Ok(Self {
            request: Request::from_cbor(part(0, "a request")?).map_err(shape)?,
            facts: Facts::from_cbor(part(1, "facts")?).map_err(shape)?,
            now: Timestamp::from_micros(now),
            bundle: digest(bundle).ok_or_else(|| missing(FieldId::PolicyVersion))?,
            outside,
            judgement,
        })
    }

    /// What `policies` say to the recorded request, at the recorded time.
    pub fn judge(&self, policies: &PolicySet) -> Judgement {
        cordon_pdp::decide(policies, &self.request, &self.facts, self.now)
    }

    /// The recorded request and facts as they would be under other policies ([`under`]).
    pub fn under<'r>(&'r self, policies: &PolicySet) -> (Cow<'r, Request>, Cow<'r, Facts>) {
        under(policies, &self.request, &self.facts)
    }

    /// The first rule that made the recorded verdict so.
    pub fn first_rule(&self) -> &str {
        let rules = self.judgement.iter().find(|(part, _)| *part == Part::Rules);
        let rules = rules.and_then(|(_, rules)| rules.as_array()).unwrap_or_default();
        rules.first().and_then(Cbor::as_text).unwrap_or_default()
    }

    /// Whether `judgement` asks for the recorded obligations, whichever rules ask for them.
    pub fn same_obligations(&self, judgement: &Judgement) -> bool {
        let kinds = |due: Option<&Cbor>| {
            let due = due.and_then(Cbor::as_array).unwrap_or_default();
            due.iter().map(|due| (due.get(0).cloned(), due.get(1).cloned())).collect::<Vec<_>>()
        };
        let whole = self.judgement.iter().find(|(part, _)| *part == Part::Judgement);
        match whole {
            Some((_, whole)) => kinds(whole.get(2)) == kinds(judgement.to_cbor().get(2)),
            None => !self.differences(judgement).iter().any(|found| found.part == Part::Obligations),
        }
    }

    /// The verdict as it was recorded: `allow`, `ask` or `deny`, or whatever else stands there.
    pub fn verdict(&self) -> &str {
        let verdict = self.judgement.iter().find(|(part, _)| *part == Part::Verdict);
        verdict.and_then(|(_, value)| value.as_text()).unwrap_or_default()
    }

    /// The parts in which `judgement` is not the recorded one; empty when it is the same.
    pub fn differences(&self, judgement: &Judgement) -> Vec<Difference> {
        let judged = parts(judgement);
        let differing = self.judgement.iter().filter_map(|(part, recorded)| {
            let (_, judged) = judged.iter().find(|(other, _)| other == part)?;
            let differs = recorded != judged;
            differs.then(|| Difference { part: *part, recorded: recorded.clone(), judged: judged.clone() })
        });
        differing.collect()
    }
}

/// A request and facts as they would be under other policies: an action's classes and effect, whether
/// anything is known of it, and what is signed about the resource, are what those policies say. What
/// the policies in force had signed about the resource stays with it. Messages of the protocol itself
/// (`mcp/…`) are what their door says, whatever the policies.
pub fn under<'r>(
    policies: &PolicySet,
    request: &'r Request,
    facts: &'r Facts,
) -> (Cow<'r, Request>, Cow<'r, Facts>) {
    let name = request.action.name();
    let action = match name.server() {
        "mcp" => request.action.clone(),
        _ => policies.action(name),
    };
    let resource = policies.complete(request.resource.clone());
    if action == request.action && resource == request.resource {
        return (Cow::Borrowed(request), Cow::Borrowed(facts));
    }
    let mut facts = facts.clone();
    if action != request.action {
        match action.is_declared() {
            true => facts.ambiguous.remove(&Ambiguity::NoManifest),
            false => facts.ambiguous.insert(Ambiguity::NoManifest),
        };
    }
    (Cow::Owned(Request { action, resource, ..request.clone() }), Cow::Owned(facts))
}

/// The sealed value from which a decision can be judged again (`spec/request.md`).
pub(crate) fn attachment(request: &Request, facts: &Facts, now: Timestamp, judgement: &Judgement) -> Cbor {
    Cbor::map([
        (0, request.to_cbor()),
        (1, facts.to_cbor()),
        (2, now.as_micros().into()),
        (3, judgement.to_cbor()),
    ])
}

fn parts(judgement: &Judgement) -> Parts {
    let texts = |texts: &mut dyn Iterator<Item = &str>| Cbor::Array(texts.map(Cbor::from).collect());
    vec![
        (Part::Verdict, judgement.verdict.as_str().into()),
        (Part::Bundle, Cbor::bytes(*judgement.bundle.as_bytes())),
        (Part::Rules, texts(&mut judgement.reasons.iter().map(|reason| &*reason.rule.rule))),
        (Part::Reasons, RuleReason::all(judgement)),
        (Part::Messages, texts(&mut judgement.reasons.iter().map(|reason| &*reason.message))),
        (Part::Obligations, texts(&mut judgement.obligations.iter().map(|due| due.kind.name()))),
        (Part::Judgement, judgement.to_cbor()),
    ]
}

/// The guard's own check, when it alone refused: its reason says so and names no file.
fn refused_outside(reasons: &Cbor) -> Option<Box<str>> {
    let reasons = reasons.as_array()?;
    let text = |reason: &Cbor, key: u64| reason.get(key).and_then(Cbor::as_text).map(Box::from);
    let own = |reason: &Cbor| {
        text(reason, 1).as_deref() == Some(ReasonKind::Refused.as_str())
            && text(reason, 3).as_deref() == Some("")
    };
    let first = reasons.first()?;
    reasons.iter().all(own).then(|| text(first, 2)).flatten()
}

fn digest(value: &Cbor) -> Option<Digest> {
    Some(Digest::from_bytes(value.as_bytes()?.try_into().ok()?))
}

fn missing(field: FieldId) -> CannotReplay {
    CannotReplay::Shape { field, source: ShapeError("a value") }
}
