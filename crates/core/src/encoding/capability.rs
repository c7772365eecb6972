//! A verified capability as CBOR.

use std::collections::BTreeSet;

use super::{Encode, ShapeError};
use crate::capability::{Bound, Capability, CapabilityBlock, Caveat, Party};
use crate::cbor::Cbor;
use crate::ed25519::VerifyingKey;
use crate::{Class, Digest, SessionId};

impl Encode for Capability {
    fn to_cbor(&self) -> Cbor {
        let block = |block: &CapabilityBlock| {
            let caveats = block.caveats.iter().map(Encode::to_cbor).collect();
            Cbor::Array(vec![Cbor::bytes(*block.id.as_bytes()), block.used.into(), Cbor::Array(caveats)])
        };
        let blocks = self.blocks.iter().map(block).collect();
        Cbor::Array(vec![Cbor::bytes(*self.holder.as_bytes()), Cbor::Array(blocks)])
    }

    fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError> {
        let Some([holder, Cbor::Array(blocks)]) = cbor.as_array() else {
            return Err(ShapeError("a holder and blocks"));
        };
        let holder = VerifyingKey::from_bytes(bytes(holder)?).map_err(|_| ShapeError("a public key"))?;
        let block = |cbor: &Cbor| match cbor.as_array() {
            Some([id, Cbor::Uint(used), Cbor::Array(caveats)]) => Ok(CapabilityBlock {
                id: Digest::from_bytes(bytes(id)?),
                caveats: caveats.iter().map(Caveat::from_cbor).collect::<Result<_, _>>()?,
                used: *used,
            }),
            _ => Err(ShapeError("a block's name, use and caveats")),
        };
        Ok(Self { blocks: blocks.iter().map(block).collect::<Result<_, _>>()?, holder })
    }
}

impl Encode for Caveat {
    fn to_cbor(&self) -> Cbor {
        let set =
            |set: &BTreeSet<Box<str>>| Cbor::Array(set.iter().map(|text| Cbor::from(&**text)).collect());
        let classes: BTreeSet<Box<str>>;
        let parts = match self {
            Self::Classes(granted) => {
                classes = granted.iter().map(|class| class.to_string().into()).collect();
                vec!["class".into(), set(&classes)]
            }
            Self::Tools(granted) => vec!["tool".into(), set(granted)],
            Self::Resources(granted) => vec!["resource".into(), set(granted)],
            Self::Tenant(id) => vec!["tenant".into(), (&**id).into()],
            Self::Session(id) => vec!["session".into(), Cbor::bytes(*id.as_bytes())],
            Self::Purpose(id) => vec!["purpose".into(), (&**id).into()],
            Self::Principal(party, id) => vec![party.as_str().into(), (&**id).into()],
            Self::MaxDepth(most) => vec!["depth".into(), u64::from(*most).into()],
            Self::Expires(at) => vec!["time".into(), (*at).into()],
            Self::Calls(most) => vec!["calls".into(), (*most).into()],
            Self::Argument(at, bound) => {
                let (how, bound) = match bound {
                    Bound::OneOf(texts) => ("in", set(texts)),
                    Bound::Prefix(prefix) => ("prefix", (&**prefix).into()),
                    Bound::AtLeast(least) => ("least", super::long(*least)),
                    Bound::AtMost(most) => ("most", super::long(*most)),
                };
                vec!["arg".into(), (&**at).into(), how.into(), bound]
            }
        };
        Cbor::Array(parts)
    }

    fn from_cbor(cbor: &Cbor) -> Result<Self, ShapeError> {
        let (name, rest) = match cbor.as_array() {
            Some([Cbor::Text(name), rest @ ..]) => (&**name, rest),
            _ => return Err(ShapeError("a caveat")),
        };
        Ok(match (name, rest) {
            ("class", [set]) => {
                let classes: Result<_, _> = texts(set)?.iter().map(|text| text.parse::<Class>()).collect();
                Self::Classes(classes.map_err(|_| ShapeError("classes"))?)
            }
            ("tool", [set]) => Self::Tools(texts(set)?),
            ("resource", [set]) => Self::Resources(texts(set)?),
            ("tenant", [Cbor::Text(id)]) => Self::Tenant(id.clone()),
            ("session", [id]) => Self::Session(SessionId::from_bytes(bytes(id)?)),
            ("purpose", [Cbor::Text(id)]) => Self::Purpose(id.clone()),
            ("depth", [Cbor::Uint(most)]) => {
                Self::MaxDepth(u32::try_from(*most).map_err(|_| ShapeError("a depth"))?)
            }
            ("time", [Cbor::Uint(at)]) => Self::Expires(*at),
            ("calls", [Cbor::Uint(most)]) => Self::Calls(*most),
            ("arg", [Cbor::Text(at), Cbor::Text(how), bound]) => {
                Self::Argument(at.clone(), bound_of(how, bound)?)
            }
            (name, [Cbor::Text(id)]) => {
                let party = Party::ALL.into_iter().find(|party| party.as_str() == name);
                Self::Principal(party.ok_or(ShapeError("a caveat"))?, id.clone())
            }
            _ => return Err(ShapeError("a caveat")),
        })
    }
}

fn bound_of(how: &str, bound: &Cbor) -> Result<Bound, ShapeError> {
    let number = || super::from_long(bound);
    Ok(match (how, bound) {
        ("in", set) => Bound::OneOf(texts(set)?),
        ("prefix", Cbor::Text(prefix)) => Bound::Prefix(prefix.clone()),
        ("least", _) => Bound::AtLeast(number()?),
        ("most", _) => Bound::AtMost(number()?),
        _ => return Err(ShapeError("a bound")),
    })
}

fn texts(cbor: &Cbor) -> Result<BTreeSet<Box<str>>, ShapeError> {
    let text = |cbor: &Cbor| cbor.as_text().map(Box::from).ok_or(ShapeError("a text"));
    cbor.as_array().ok_or(ShapeError("texts"))?.iter().map(text).collect()
}

fn bytes<const N: usize>(cbor: &Cbor) -> Result<[u8; N], ShapeError> {
    cbor.as_bytes().and_then(|bytes| bytes.try_into().ok()).ok_or(ShapeError("bytes of a fixed length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_caveat_comes_back_as_it_was() {
        let set = || BTreeSet::from([Box::from("a"), Box::from("b")]);
        let argument = |bound| Caveat::Argument("/x".into(), bound);
        let caveats = vec![
            Caveat::Classes(["data.read:orders".parse().unwrap()].into()),
            Caveat::Tools(set()),
            Caveat::Resources(set()),
            Caveat::Tenant("t".into()),
            Caveat::Session(SessionId::from_bytes([7; 16])),
            Caveat::Purpose("p".into()),
            Caveat::Principal(Party::Owner, "o".into()),
            Caveat::Principal(Party::Agent, "a".into()),
            Caveat::Principal(Party::User, "u".into()),
            Caveat::MaxDepth(2),
            Caveat::Expires(9),
            Caveat::Calls(4),
            argument(Bound::OneOf(set())),
            argument(Bound::Prefix("x".into())),
            argument(Bound::AtLeast(i64::MIN)),
            argument(Bound::AtMost(i64::MAX)),
        ];
        let holder = crate::ed25519::SigningKey::from_seed(&[1; 32]).unwrap().verifying_key();
        let block = CapabilityBlock { id: Digest::of(b"b"), caveats, used: 3 };
        let capability = Capability { blocks: vec![block], holder };
        let bytes = capability.to_cbor().encode();
        assert_eq!(Capability::from_cbor(&Cbor::decode(&bytes).unwrap()), Ok(capability));
        assert!(Caveat::from_cbor(&Cbor::Array(vec!["unheard".into(), "x".into()])).is_err());
    }
}
