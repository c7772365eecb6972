//! A field's value as JSON that people can read: identifiers, digests and times in their text forms.

use cordon_core::cbor::{Cbor, Key};
use cordon_core::{ApprovalId, CallId, Digest, RecordId, SessionId, Timestamp};
use cordon_ledger::{FieldId, Kind};
use serde_json::{Map, Value, json};

/// The value of `field` as JSON.
pub(in crate::cli) fn value_json(field: FieldId, value: &Cbor) -> Value {
    let named = match (field, value) {
        (FieldId::Kind, Cbor::Uint(code)) => Kind::from_code(*code).map(|kind| kind.as_str().into()),
        (FieldId::Timestamp | FieldId::Expires, Cbor::Uint(micros)) => {
            Some(Timestamp::from_micros(*micros).to_string().into())
        }
        (FieldId::Link, Cbor::Bytes(bytes)) => link(bytes),
        (FieldId::Record | FieldId::Decision, value) => {
            id(value, |bytes| RecordId::from_bytes(bytes).to_string())
        }
        (FieldId::Session, value) => id(value, |bytes| SessionId::from_bytes(bytes).to_string()),
        (FieldId::Call, value) => id(value, |bytes| CallId::from_bytes(bytes).to_string()),
        (FieldId::Approval, value) => id(value, |bytes| ApprovalId::from_bytes(bytes).to_string()),
        (FieldId::PolicyVersion, value) => self::named(value, &["", "bundle", "epoch", "signature", "rules"]),
        (FieldId::Shadow, value) => self::named(value, &["", "bundle", "verdict", "rules"]),
        (FieldId::EnforcementDecision, value) => self::named(value, &["", "verdict", "enforced"]),
        (FieldId::ExecutionGraph, value) => self::named(value, &["", "parents", "edges", "call"]),
        (FieldId::Span, value) => self::named(value, &["", "phase", "id"]),
        (FieldId::Reasons, Cbor::Array(reasons)) => {
            let names = ["", "kind", "rule", "file", "line", "principal"];
            reasons
                .iter()
                .map(|reason| self::named(reason, &names))
                .collect::<Option<Vec<_>>>()
                .map(Value::Array)
        }
        _ => None,
    };
    named.unwrap_or_else(|| general(value))
}

/// A session counter and the hash of the entry before it.
fn link(bytes: &[u8]) -> Option<Value> {
    let (counter, before) = bytes.split_first_chunk::<8>()?;
    let before = Digest::from_bytes(before.try_into().ok()?);
    Some(json!({"counter": u64::from_be_bytes(*counter), "before": before.to_string()}))
}

fn id(value: &Cbor, text: impl FnOnce([u8; 16]) -> String) -> Option<Value> {
    Some(text(value.as_bytes()?.try_into().ok()?).into())
}

/// A map with numbered keys, by their names; none if it has another shape.
fn named(value: &Cbor, names: &[&str]) -> Option<Value> {
    let Cbor::Map(map) = value else { return None };
    let mut object = Map::new();
    for (key, value) in map {
        let Key::Int(number) = key else { return None };
        let name = names.get(usize::try_from(*number).ok()?).filter(|name| !name.is_empty())?;
        object.insert((*name).to_owned(), general(value));
    }
    Some(object.into())
}

/// Any value: 32 bytes are shown as a digest, other bytes in hex.
pub(in crate::cli) fn general(value: &Cbor) -> Value {
    match value {
        Cbor::Uint(number) => (*number).into(),
        Cbor::Nint(number) => json!((-1i128).saturating_sub(i128::from(*number))),
        Cbor::Bytes(bytes) => match <[u8; 32]>::try_from(bytes.as_slice()) {
            Ok(digest) => Digest::from_bytes(digest).to_string().into(),
            Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
        },
        Cbor::Text(text) => (**text).into(),
        Cbor::Array(items) => items.iter().map(general).collect(),
        Cbor::Map(map) => map
            .iter()
            .map(|(key, value)| {
                let name = match key {
                    Key::Int(number) => number.to_string(),
                    Key::Text(text) => text.to_string(),
                };
                (name, general(value))
            })
            .collect::<Map<_, _>>()
            .into(),
        Cbor::Bool(value) => (*value).into(),
        Cbor::Null => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_in_their_own_words() {
        let check = |field, value: Cbor, want: Value| assert_eq!(value_json(field, &value), want);
        check(FieldId::Kind, 2.into(), json!("decision"));
        check(FieldId::Kind, 999.into(), json!(999));
        check(FieldId::Timestamp, 0.into(), json!("1970-01-01T00:00:00Z"));
        check(FieldId::Session, Cbor::bytes([0; 16]), json!(SessionId::from_bytes([0; 16]).to_string()));
        check(FieldId::Session, Cbor::bytes([0xab]), json!("ab"));
        let decision = Cbor::map([(1, Cbor::from("ask")), (2, Cbor::from("held"))]);
        check(FieldId::EnforcementDecision, decision, json!({"verdict": "ask", "enforced": "held"}));
        check(FieldId::EnforcementDecision, Cbor::map([(9, Cbor::from("x"))]), json!({"9": "x"}));
        check(FieldId::Before, Cbor::bytes(*Digest::of(b"").as_bytes()), json!(Digest::of(b"").to_string()));
    }
}
