//! What one block of a token says: its caveats and its holder, and nothing else.

use std::collections::BTreeSet;

use biscuit_auth::builder::{BlockBuilder, Fact, Term};
use biscuit_auth::format::schema;
use cordon_core::ed25519::{Signature, VerifyingKey};
use cordon_core::{Bound, Caveat, Class, Party, SessionId};

use crate::CapabilityError;
use crate::shape::{Comparison, Shape, constant, symbol};
use crate::token::signature;

/// A block as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) caveats: Vec<Caveat>,
    /// Who may use the token from here on.
    pub(crate) holder: VerifyingKey,
    /// The holder before, saying so.
    pub(crate) passed: Option<Signature>,
}

const HOLDER: &str = "holder";
/// The versions of a block that hold nothing beyond the vocabulary (Biscuit 3.0 to 3.3).
const VERSIONS: std::ops::RangeInclusive<u32> = 3..=6;

type Read<T> = Result<T, &'static str>;

/// The block with these caveats for this holder.
pub(crate) fn write(
    caveats: &[Caveat],
    holder: &VerifyingKey,
    passed: Option<&Signature>,
) -> Result<BlockBuilder, CapabilityError> {
    let unwritable = |_| CapabilityError::Unreadable;
    let mut terms = vec![Term::Bytes(holder.as_bytes().to_vec())];
    terms.extend(passed.map(|signature| Term::Bytes(signature.as_bytes().to_vec())));
    let mut block = BlockBuilder::new().fact(Fact::new(HOLDER.to_owned(), terms)).map_err(unwritable)?;
    for caveat in caveats {
        let shape = to_shape(caveat).ok_or_else(|| CapabilityError::Caveat(caveat.to_string().into()))?;
        block = block.check(shape.write()).map_err(unwritable)?;
    }
    Ok(block)
}

/// What a block says; the text says what in it is not understood.
pub(crate) fn read(block: &schema::Block, symbols: &[String]) -> Read<Written> {
    if !block.rules.is_empty() || !block.scope.is_empty() || !block.public_keys.is_empty() {
        return Err("a rule, a scope or a key");
    }
    if !block.version.is_some_and(|version| VERSIONS.contains(&version)) {
        return Err("a version");
    }
    if block.context.is_some() {
        return Err("a context");
    }
    let [fact] = block.facts.as_slice() else { return Err("not exactly one holder") };
    let predicate = &fact.predicate;
    if symbol(predicate.name, symbols)? != HOLDER {
        return Err("a fact that is not a holder");
    }
    let terms: Vec<Term> = predicate.terms.iter().map(|term| constant(term, symbols)).collect::<Read<_>>()?;
    let (holder, passed) = match terms.as_slice() {
        [Term::Bytes(key)] => (key, None),
        [Term::Bytes(key), Term::Bytes(passed)] => (key, Some(signature(passed).ok_or("a signature")?)),
        _ => return Err("a holder"),
    };
    let holder = holder.as_slice().try_into().ok().and_then(|key| VerifyingKey::from_bytes(key).ok());
    let caveats = block.checks.iter().map(|check| from_shape(Shape::read(check, symbols)?));
    Ok(Written { caveats: caveats.collect::<Read<_>>()?, holder: holder.ok_or("a holder's key")?, passed })
}

fn to_shape(caveat: &Caveat) -> Option<Shape> {
    let shape =
        |name: &str, condition| Shape { all: false, name: name.into(), constants: Vec::new(), condition };
    let one_of = |name: &str, texts: Vec<String>| shape(name, Some((Comparison::In, set(texts))));
    let is = |name: &str, text: &str| Shape { constants: vec![text_of(text)], ..shape(name, None) };
    let texts = |texts: &BTreeSet<Box<str>>| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let number = |number: u64| i64::try_from(number).ok().map(Term::Integer);
    Some(match caveat {
        Caveat::Classes(classes) => {
            // Each class of the action, not just one of them.
            Shape { all: true, ..one_of("class", classes.iter().map(ToString::to_string).collect()) }
        }
        Caveat::Tools(tools) => one_of("tool", texts(tools)),
        Caveat::Resources(resources) => one_of("resource", texts(resources)),
        Caveat::Tenant(id) => is("tenant", id),
        Caveat::Session(id) => is("session", &id.to_string()),
        Caveat::Purpose(id) => is("purpose", id),
        Caveat::Principal(party, id) => is(party.as_str(), id),
        Caveat::MaxDepth(most) => shape("depth", Some((Comparison::AtMost, number((*most).into())?))),
        Caveat::Expires(at) => shape("time", Some((Comparison::Less, Term::Date(*at)))),
        Caveat::Calls(most) => shape("calls", Some((Comparison::Less, number(*most)?))),
        Caveat::Argument(at, bound) => {
            let condition = match bound {
                Bound::OneOf(values) => (Comparison::In, set(texts(values))),
                Bound::Prefix(prefix) => (Comparison::Prefix, text_of(prefix)),
                Bound::AtLeast(least) => (Comparison::AtLeast, Term::Integer(*least)),
                Bound::AtMost(most) => (Comparison::AtMost, Term::Integer(*most)),
            };
            Shape { constants: vec![text_of(at)], ..shape("arg", Some(condition)) }
        }
        _ => return None,
    })
}

fn from_shape(shape: Shape) -> Read<Caveat> {
    let Shape { all, name, constants, condition } = shape;
    if all != (name == "class") {
        return Err("a kind of check");
    }
    Ok(match (&*name, constants.as_slice(), condition) {
        ("class", [], Some((Comparison::In, set))) => {
            let classes: Result<_, _> = members(&set)?.iter().map(|text| text.parse::<Class>()).collect();
            Caveat::Classes(classes.map_err(|_| "a class")?)
        }
        ("tool", [], Some((Comparison::In, set))) => Caveat::Tools(members(&set)?),
        ("resource", [], Some((Comparison::In, set))) => Caveat::Resources(members(&set)?),
        ("depth", [], Some((Comparison::AtMost, Term::Integer(most)))) => {
            Caveat::MaxDepth(u32::try_from(most).map_err(|_| "a depth")?)
        }
        ("time", [], Some((Comparison::Less, Term::Date(at)))) => Caveat::Expires(at),
        ("calls", [], Some((Comparison::Less, Term::Integer(most)))) => {
            Caveat::Calls(u64::try_from(most).map_err(|_| "a number of calls")?)
        }
        ("arg", [Term::Str(at)], Some(condition)) => {
            let bound = match condition {
                (Comparison::In, set) => Bound::OneOf(members(&set)?),
                (Comparison::Prefix, Term::Str(prefix)) => Bound::Prefix(prefix.into()),
                (Comparison::AtLeast, Term::Integer(least)) => Bound::AtLeast(least),
                (Comparison::AtMost, Term::Integer(most)) => Bound::AtMost(most),
                _ => return Err("a bound of an argument"),
            };
            Caveat::Argument(at.as_str().into(), bound)
        }
        ("tenant", [Term::Str(id)], None) => Caveat::Tenant(id.as_str().into()),
        ("purpose", [Term::Str(id)], None) => Caveat::Purpose(id.as_str().into()),
        ("session", [Term::Str(id)], None) => {
            Caveat::Session(id.parse::<SessionId>().map_err(|_| "a session")?)
        }
        (name, [Term::Str(id)], None) => {
            let party = Party::ALL.into_iter().find(|party| party.as_str() == name);
            Caveat::Principal(party.ok_or("a check that is not in the vocabulary")?, id.as_str().into())
        }
        _ => return Err("a check that is not in the vocabulary"),
    })
}

fn text_of(text: &str) -> Term {
    Term::Str(text.to_owned())
}

fn set(texts: Vec<String>) -> Term {
    Term::Set(texts.into_iter().map(Term::Str).collect())
}

fn members(term: &Term) -> Read<BTreeSet<Box<str>>> {
    let Term::Set(set) = term else { return Err("something else than a set") };
    let text = |term: &Term| match term {
        Term::Str(text) => Ok(Box::from(text.as_str())),
        _ => Err("a set of something else than texts"),
    };
    set.iter().map(text).collect()
}
