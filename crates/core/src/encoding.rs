//! Requests and facts as deterministic CBOR and back, so that a recorded decision can be replayed.
//!
//! Maps have integer keys; the registry is `spec/request.md`. Judgements are only written: a replay
//! compares the bytes of two and reads neither. Decoding refuses unknown keys and types.

mod judgement;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cbor::{Cbor, Key};
use crate::risk::{signals_from_cbor, signals_to_cbor};
use crate::{
    Action, ActionName, Ambiguity, Capability, Chain, Class, Context, Decimal, Effect, Facts, Gathered,
    Integrity, KillSwitch, Marking, Posture, Principal, PrincipalKind, Record, Request, Resource,
    ResourceKind, SessionFacts, SessionId, Timestamp, UnknownReason, Value,
};

mod capability;

/// The CBOR value does not have the shape of what it should encode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct ShapeError(pub &'static str);

/// Has one CBOR form.
pub trait Encode: Sized {
    /// The CBOR form.
    fn to_cbor(&self) -> Cbor;
    /// The value that this is the CBOR form of.
    fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError>;
}

impl Encode for Value {
    fn to_cbor(&self) -> Cbor {
        let tagged = |tag: u64, value: Cbor| Cbor::map([(tag, value)]);
        match self {
            Self::Bool(value) => Cbor::Bool(*value),
            Self::Long(number) => long(*number),
            Self::Text(text) => (&**text).into(),
            Self::Set(items) => Cbor::Array(items.iter().map(Self::to_cbor).collect()),
            Self::Decimal(number) => tagged(0, long(number.ten_thousandths())),
            Self::Record(record) => tagged(1, record.to_cbor()),
            Self::Entity(kind, id) => tagged(2, Cbor::Array(vec![(&**kind).into(), (&**id).into()])),
            Self::Unknown(reason) => tagged(3, reason.as_str().into()),
        }
    }

    fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError> {
        Ok(match cbor {
            Cbor::Bool(value) => Self::Bool(*value),
            Cbor::Uint(_) | Cbor::Nint(_) => Self::Long(from_long(cbor)?),
            Cbor::Text(text) => Self::Text(text.clone()),
            Cbor::Array(items) => Self::Set(items.iter().map(Self::from_cbor).collect::<Result<_, _>>()?),
            Cbor::Map(map) => match map.iter().next().filter(|_| map.len() == 1) {
                Some((Key::Int(0), number)) => {
                    Self::Decimal(Decimal::from_ten_thousandths(from_long(number)?))
                }
                Some((Key::Int(1), record)) => Self::Record(Record::from_cbor(record)?),
                Some((Key::Int(2), Cbor::Array(pair))) => match &pair[..] {
                    [Cbor::Text(kind), Cbor::Text(id)] => Self::Entity(kind.clone(), id.clone()),
                    _ => return Err(ShapeError("an entity type and an identifier")),
                },
                Some((Key::Int(3), Cbor::Text(reason))) => Self::Unknown(unknown_reason(reason)?),
                _ => return Err(ShapeError("a decimal, a record, an entity or an unknown value")),
            },
            Cbor::Bytes(_) | Cbor::Null => return Err(ShapeError("a value")),
        })
    }
}

impl Encode for Record {
    fn to_cbor(&self) -> Cbor {
        Cbor::Map(self.iter().map(|(name, value)| (Key::Text(name.clone()), value.to_cbor())).collect())
    }

    fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError> {
        let Cbor::Map(map) = cbor else { return Err(ShapeError("a record")) };
        map.iter()
            .map(|(key, value)| match key {
                Key::Text(name) => Ok((name.clone(), Value::from_cbor(value)?)),
                Key::Int(_) => Err(ShapeError("a named attribute")),
            })
            .collect()
    }
}

impl Encode for Principal {
    fn to_cbor(&self) -> Cbor {
        Cbor::map(
            [
                (0, self.kind.as_str().into()),
                (1, (&*self.id).into()),
                (2, self.attributes.to_cbor()),
                (3, texts(&self.teams)),
            ]
            .into_iter()
            .chain((!self.stale_from.is_empty()).then(|| (4, stale_from(self)))),
        )
    }

    fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError> {
        let fields = Fields::of(cbor, 5)?;
        let kind = match fields.text(0)? {
            "User" => PrincipalKind::User,
            "Agent" => PrincipalKind::Agent,
            "Team" => PrincipalKind::Team,
            _ => return Err(ShapeError("`User`, `Agent` or `Team`")),
        };
        Ok(Self {
            kind,
            id: fields.text(1)?.into(),
            attributes: Record::from_cbor(fields.need(2)?)?,
            teams: fields.texts(3)?,
            stale_from: fields.get(4).map(ages).transpose()?.unwrap_or_default(),
        })
    }
}

fn stale_from(principal: &Principal) -> Cbor {
    let pairs = principal.stale_from.iter();
    Cbor::Array(pairs.map(|(name, at)| Cbor::Array(vec![(&**name).into(), at.as_micros().into()])).collect())
}

fn ages(cbor: &Cbor) -> Result<BTreeMap<Box<str>, Timestamp>, ShapeError> {
    let pair = |cbor: &Cbor| match cbor.as_array() {
        Some([Cbor::Text(name), Cbor::Uint(at)]) => Ok((name.clone(), Timestamp::from_micros(*at))),
        _ => Err(ShapeError("an attribute and a time")),
    };
    cbor.as_array().ok_or(ShapeError("attributes and times"))?.iter().map(pair).collect()
}

impl Encode for Chain {
    fn to_cbor(&self) -> Cbor {
        let members = [(0, self.owner()), (1, self.agent()), (2, self.on_behalf_of())];
        let members = members.into_iter().filter_map(|(key, who)| Some((key, who?.to_cbor())));
        let via = || Cbor::Array(self.via().iter().map(Encode::to_cbor).collect());
        Cbor::map(members.chain((!self.via().is_empty()).then(|| (3, via()))))
    }

    fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError> {
        let fields = Fields::of(cbor, 4)?;
        let member = |key| fields.get(key).map(Principal::from_cbor).transpose();
        let chain = Self::new(member(0)?, member(1)?, member(2)?)
            .map_err(|_| ShapeError("at least one principal"))?;
        let via = fields.get(3).map(|via| via.as_array().ok_or(ShapeError("principals"))).transpose()?;
        let via = via.unwrap_or_default().iter().map(Principal::from_cbor).collect::<Result<_, _>>()?;
        chain.with_via(via).map_err(|_| ShapeError("an agent and at most eight before it"))
    }
}

impl Encode for Action {
    fn to_cbor(&self) -> Cbor {
        let name = (0, self.name().as_str().into());
        if !self.is_declared() {
            return Cbor::map([name]);
        }
        let classes = self.classes().iter().map(|class| Cbor::from(class.to_string().as_str())).collect();
        Cbor::map([name, (1, Cbor::Array(classes)), (2, self.effect().as_str().into())])
    }

    fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError> {
        let fields = Fields::of(cbor, 3)?;
        let name: ActionName = fields.text(0)?.parse().map_err(|_| ShapeError("an action name"))?;
        if fields.get(1).is_none() {
            return Ok(Self::undeclared(name));
        }
        let classes: Result<Vec<Class>, _> = fields.texts(1)?.iter().map(|text| text.parse()).collect();
        let effect: Effect = fields.text(2)?.parse().map_err(|_| ShapeError("an effect"))?;
        Ok(Self::declared(name, classes.map_err(|_| ShapeError("capability classes"))?, effect))
    }
}

impl Encode for Resource {
    fn to_cbor(&self) -> Cbor {
        let markings: Vec<Box<str>> = self.markings.iter().map(|marking| marking.as_str().into()).collect();
        Cbor::map([
            (0, self.kind.as_str().into()),
            (1, (&*self.id).into()),
            (2, (&*self.tenant).into()),
            (3, texts(&markings)),
            (4, self.attributes.to_cbor()),
        ])
    }

    fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError> {
        let fields = Fields::of(cbor, 5)?;
        let markings: Result<BTreeSet<Marking>, _> =
            fields.texts(3)?.iter().map(|text| text.parse()).collect();
        Ok(Self {
            kind: ResourceKind::new(fields.text(0)?),
            id: fields.text(1)?.into(),
            tenant: fields.text(2)?.into(),
            markings: markings.map_err(|_| ShapeError("markings"))?,
            attributes: Record::from_cbor(fields.need(4)?)?,
        })
    }
}

impl Encode for Context {
    fn to_cbor(&self) -> Cbor {
        let texts = [(0, &self.purpose), (1, &self.project), (2, &self.workflow), (3, &self.task)];
        let records = [(4, &self.model), (5, &self.args), (6, &self.asserted)];
        Cbor::map(
            texts
                .into_iter()
                .filter_map(|(key, text)| Some((key, Cbor::from(&**text.as_ref()?))))
                .chain(records.into_iter().map(|(key, record)| (key, record.to_cbor()))),
        )
    }

    fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError> {
        let fields = Fields::of(cbor, 7)?;
        let text = |key| fields.get(key).map(|_| fields.text(key).map(Into::into)).transpose();
        let record = |key| Record::from_cbor(fields.need(key)?);
        Ok(Self {
            purpose: text(0)?,
            project: text(1)?,
            workflow: text(2)?,
            task: text(3)?,
            model: record(4)?,
            args: record(5)?,
            asserted: record(6)?,
        })
    }
}

impl Encode for Request {
    fn to_cbor(&self) -> Cbor {
        Cbor::map([
            (0, self.chain.to_cbor()),
            (1, self.action.to_cbor()),
            (2, self.resource.to_cbor()),
            (3, self.context.to_cbor()),
        ])
    }

    fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError> {
        let fields = Fields::of(cbor, 4)?;
        Ok(Self {
            chain: Chain::from_cbor(fields.need(0)?)?,
            action: Action::from_cbor(fields.need(1)?)?,
            resource: Resource::from_cbor(fields.need(2)?)?,
            context: Context::from_cbor(fields.need(3)?)?,
        })
    }
}

impl Encode for Facts {
    fn to_cbor(&self) -> Cbor {
        let session = self.session.as_ref().map(|session| {
            let mut parts = vec![
                Cbor::bytes(*session.id.as_bytes()),
                session.calls.into(),
                session.integrity.as_str().into(),
            ];
            let told = !session.lineage.is_empty() || !session.markings.is_empty();
            parts.extend((told || !session.posture.is_normal()).then(|| session.posture.to_cbor()));
            if told {
                let markings = session.markings.iter().map(|marking| marking.as_str().into());
                parts.push(texts(&session.lineage.iter().cloned().collect::<Vec<_>>()));
                parts.push(texts(&markings.collect::<Vec<_>>()));
            }
            Cbor::Array(parts)
        });
        let ambiguous = self.ambiguous.iter().map(|why| Cbor::from(why.as_str())).collect();
        let supported = self.supported.iter().map(|name| Cbor::from(*name)).collect();
        let region = self.region.as_deref().map(Cbor::from);
        let kills = self.kills.iter().map(KillSwitch::to_cbor).collect();
        let kills = (!self.kills.is_empty()).then_some(Cbor::Array(kills));
        Cbor::map(
            [(1, Cbor::Array(ambiguous)), (2, Cbor::Array(supported))]
                .into_iter()
                .chain(session.map(|session| (0, session)))
                .chain(region.map(|region| (3, region)))
                .chain(kills.map(|kills| (4, kills)))
                .chain(self.capability.as_ref().map(|capability| (5, capability.to_cbor())))
                .chain((!self.signals.is_empty()).then(|| (6, signals_to_cbor(&self.signals))))
                .chain((!self.gathered.is_empty()).then(|| (7, self.gathered.to_cbor()))),
        )
    }

    fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError> {
        let fields = Fields::of(cbor, 8)?;
        let session = fields.get(0).map(session_facts).transpose()?;
        let ambiguous: Result<_, _> = fields.texts(1)?.iter().map(|text| ambiguity(text)).collect();
        let supported: Result<_, _> = fields.texts(2)?.iter().map(|text| obligation_name(text)).collect();
        let region = fields.get(3).map(|_| fields.text(3).map(Into::into)).transpose()?;
        let kills = fields.get(4).map_or(Some(&[][..]), Cbor::as_array).ok_or(ShapeError("kill switches"))?;
        let kills = kills.iter().map(KillSwitch::from_cbor).collect::<Result<_, _>>()?;
        let capability = fields.get(5).map(Capability::from_cbor).transpose()?;
        let signals = fields.get(6).map(signals_from_cbor).transpose()?.unwrap_or_default();
        let gathered = fields.get(7).map(Gathered::from_cbor).transpose()?.unwrap_or_default();
        let (ambiguous, supported) = (ambiguous?, supported?);
        Ok(Self { session, ambiguous, supported, kills, region, capability, signals, gathered })
    }
}

/// `[id, calls, integrity, ? posture, ? lineage, ? markings]`, the last two together.
fn session_facts(cbor: &Cbor) -> Result<SessionFacts, ShapeError> {
    let Some([Cbor::Bytes(id), Cbor::Uint(calls), Cbor::Text(integrity), rest @ ..]) = cbor.as_array() else {
        return Err(ShapeError("a session, its calls and its integrity"));
    };
    if !matches!(rest.len(), 0 | 1 | 3) {
        return Err(ShapeError("a session of three, four or six parts"));
    }
    let names = |at: usize| {
        let items = rest.get(at).map_or(Some(&[][..]), Cbor::as_array).ok_or(ShapeError("texts"))?;
        items.iter().map(|item| item.as_text().ok_or(ShapeError("text"))).collect::<Result<Vec<_>, _>>()
    };
    let markings: Result<BTreeSet<Marking>, _> = names(2)?.into_iter().map(str::parse).collect();
    Ok(SessionFacts {
        id: SessionId::from_bytes(id.as_slice().try_into().map_err(|_| ShapeError("a session"))?),
        calls: *calls,
        integrity: integrity.parse::<Integrity>().map_err(|_| ShapeError("an integrity level"))?,
        posture: rest.first().map(Posture::from_cbor).transpose()?.unwrap_or_default(),
        lineage: Arc::new(names(1)?.into_iter().map(Into::into).collect()),
        markings: Arc::new(markings.map_err(|_| ShapeError("markings"))?),
    })
}

fn ambiguity(text: &str) -> Result<Ambiguity, ShapeError> {
    [Ambiguity::NoManifest, Ambiguity::Unparsed, Ambiguity::UnknownInput]
        .into_iter()
        .find(|why| why.as_str() == text)
        .ok_or(ShapeError("an ambiguity"))
}

fn obligation_name(text: &str) -> Result<&'static str, ShapeError> {
    crate::ObligationKind::NAMES
        .iter()
        .copied()
        .find(|name| *name == text)
        .ok_or(ShapeError("an obligation type"))
}

fn unknown_reason(text: &str) -> Result<UnknownReason, ShapeError> {
    use UnknownReason::{Stale, Truncated, Unavailable, Unparsed};
    [Truncated, Unparsed, Stale, Unavailable]
        .into_iter()
        .find(|reason| reason.as_str() == text)
        .ok_or(ShapeError("a reason for being unknown"))
}

fn long(number: i64) -> Cbor {
    match u64::try_from(number) {
        Ok(number) => Cbor::Uint(number),
        // CBOR writes the negative number n as -1 - n, which is its bitwise complement.
        Err(_) => Cbor::Nint((!number).unsigned_abs()),
    }
}

fn from_long(cbor: &Cbor) -> Result<i64, ShapeError> {
    match cbor {
        Cbor::Uint(number) => i64::try_from(*number).map_err(|_| ShapeError("a 64-bit number")),
        Cbor::Nint(number) => i64::try_from(*number).map(|n| !n).map_err(|_| ShapeError("a 64-bit number")),
        _ => Err(ShapeError("a whole number")),
    }
}

fn texts(texts: &[Box<str>]) -> Cbor {
    Cbor::Array(texts.iter().map(|text| Cbor::from(&**text)).collect())
}

struct Fields<'c>(&'c BTreeMap<Key, Cbor>);

impl<'c> Fields<'c> {
    fn of(cbor: &'c Cbor, count: u64) -> Result<Self, ShapeError> {
        match cbor {
            Cbor::Map(map) if map.keys().all(|key| matches!(key, Key::Int(n) if *n < count)) => Ok(Self(map)),
            _ => Err(ShapeError("a map with registered keys only")),
        }
    }

    fn get(&self, key: u64) -> Option<&'c Cbor> {
        self.0.get(&Key::Int(key))
    }

    fn need(&self, key: u64) -> Result<&'c Cbor, ShapeError> {
        self.get(key).ok_or(ShapeError("a field that is missing"))
    }

    fn text(&self, key: u64) -> Result<&'c str, ShapeError> {
        self.need(key)?.as_text().ok_or(ShapeError("text"))
    }

    fn texts(&self, key: u64) -> Result<Vec<Box<str>>, ShapeError> {
        let items = self.need(key)?.as_array().ok_or(ShapeError("an array of texts"))?;
        items.iter().map(|item| item.as_text().map(Into::into).ok_or(ShapeError("text"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClassKind, Signal, SignalKind, Signals};

    fn request(args: Record) -> Request {
        let mut agent = Principal::new(PrincipalKind::Agent, "bot");
        agent.attributes.insert("clearance".into(), Value::Long(-3));
        agent.teams.push("ops".into());
        Request {
            chain: Chain::new(Some(Principal::new(PrincipalKind::User, "ann")), Some(agent), None).unwrap(),
            action: Action::declared(
                "mail/send".parse().unwrap(),
                [Class::whole(ClassKind::MessageSend), "data.read:orders".parse().unwrap()],
                Effect::Irreversible,
            ),
            resource: Resource {
                markings: BTreeSet::from(["pii".parse().unwrap()]),
                ..Resource::new("Tool", "mail/send", "acme")
            },
            context: Context { purpose: Some("support".into()), args, ..Context::default() },
        }
    }

    #[test]
    fn a_request_and_its_facts_come_back_as_they_were() {
        let args = Record::from([
            ("n".into(), Value::Long(i64::MIN)),
            ("d".into(), Value::Decimal(Decimal::from_ten_thousandths(-1))),
            ("r".into(), Value::Record(Record::from([("x".into(), Value::Bool(true))]))),
            ("s".into(), Value::texts(["a", "b"])),
            ("e".into(), Value::Entity("User".into(), "ann".into())),
            ("u".into(), Value::Unknown(UnknownReason::Truncated)),
        ]);
        let request = request(args);
        let bytes = request.to_cbor().encode();
        assert_eq!(Request::from_cbor(&Cbor::decode(&bytes).unwrap()), Ok(request.clone()));
        let mut user = Principal::new(PrincipalKind::User, "uma");
        user.stale_from.insert("groups".into(), Timestamp::from_micros(7));
        let agent = |id| Principal::new(PrincipalKind::Agent, id);
        let chain =
            Chain::new(None, Some(agent("b")), Some(user)).unwrap().with_via(vec![agent("a")]).unwrap();
        let passed_on = Request { chain, ..request.clone() };
        assert_eq!(Request::from_cbor(&passed_on.to_cbor()), Ok(passed_on));
        let undeclared = Request { action: Action::undeclared("a/b".parse().unwrap()), ..request };
        assert_eq!(Request::from_cbor(&undeclared.to_cbor()), Ok(undeclared));

        let facts = Facts {
            session: Some(SessionFacts {
                id: SessionId::from_bytes([9; 16]),
                calls: 4,
                integrity: Integrity::Untrusted,
                posture: Posture::new(
                    crate::PostureState::Watched,
                    ["data.write:orders".parse().unwrap()],
                    ["mail/send".parse().unwrap()],
                    [crate::Restraint::ReadOnly],
                ),
                lineage: Arc::new(BTreeSet::from(["web/fetch".into()])),
                markings: Arc::new(BTreeSet::from(["pii".parse().unwrap()])),
            }),
            ambiguous: BTreeSet::from([Ambiguity::NoManifest]),
            supported: BTreeSet::from(["approve", "redact"]),
            kills: ["money.move", "data.read:orders", "irreversible"]
                .into_iter()
                .zip([
                    crate::KillOrigin::Order,
                    crate::KillOrigin::Bundle { epoch: 7 },
                    crate::KillOrigin::Unreadable,
                ])
                .map(|(target, origin)| KillSwitch {
                    target: target.parse().unwrap(),
                    agent: Some("bot".into()),
                    tenant: None,
                    origin,
                })
                .collect(),
            region: Some("eu".into()),
            capability: None,
            signals: Signals::from([(
                SignalKind::Identity,
                Signal::known(1, "credential", Timestamp::from_micros(3)),
            )]),
            gathered: Gathered {
                values: Record::from([("customer".into(), Value::Record(Record::new()))]),
                at: BTreeMap::from([("customer".into(), Timestamp::from_micros(4))]),
            },
        };
        assert_eq!(Facts::from_cbor(&facts.to_cbor()), Ok(facts));
        assert_eq!(Facts::from_cbor(&Facts::default().to_cbor()), Ok(Facts::default()));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let Cbor::Map(mut map) = request(Record::new()).to_cbor() else { panic!() };
        map.insert(Key::Int(9), Cbor::Null);
        assert!(Request::from_cbor(&Cbor::Map(map)).is_err());
    }
}
