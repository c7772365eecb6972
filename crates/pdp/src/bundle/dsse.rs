//! The signed envelope: DSSE 1.0 (secure-systems-lab/dsse, `envelope.md` and `protocol.md`).

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cordon_core::Limits;
use cordon_core::ed25519::{Signature, SigningKey, VerifyingKey};
use cordon_core::json::{self, Node, quote};

use super::BundleError;

/// The payload type of in-toto statements.
pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Most signatures that are looked at; more are refused, so that checking stays cheap.
const SIGNATURES_MAX: usize = 64;

/// Largest envelope, in bytes.
const ENVELOPE_BYTES_MAX: usize = 8 << 20;

/// A payload and signatures over it, none of them checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    payload: Vec<u8>,
    signatures: Vec<Signature>,
}

impl Envelope {
    /// Signs `payload` with every key.
    pub(crate) fn sign(payload: Vec<u8>, keys: &[SigningKey]) -> String {
        let message = pae(&payload);
        let signatures: Vec<String> = keys
            .iter()
            .map(|key| {
                let id = key.verifying_key().id();
                format!("{{\"keyid\":{},\"sig\":\"{}\"}}", quote(&id), key.sign(&message))
            })
            .collect();
        format!(
            "{{\"payload\":\"{}\",\"payloadType\":\"{PAYLOAD_TYPE}\",\"signatures\":[{}]}}\n",
            STANDARD.encode(&payload),
            signatures.join(",")
        )
    }

    /// Reads an envelope strictly: unknown members, other payload types and other encodings are refused.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        let bad = |problem: String| BundleError::Envelope { problem };
        let limits = Limits { message_bytes_max: ENVELOPE_BYTES_MAX, depth_max: 8, ..Limits::DEFAULT };
        let node = json::parse(bytes, &limits).map_err(|error| bad(error.to_string()))?;
        only(&node, &["payload", "payloadType", "signatures"]).map_err(bad)?;
        let kind = node.get("payloadType").and_then(Node::as_text).unwrap_or_default();
        if kind != PAYLOAD_TYPE {
            return Err(bad(format!("`payloadType` is `{kind}`, expected `{PAYLOAD_TYPE}`")));
        }
        let payload = node
            .get("payload")
            .and_then(Node::as_text)
            .and_then(|text| STANDARD.decode(text).ok())
            .ok_or_else(|| bad("`payload` is not base64 text".to_owned()))?;
        let listed = node.get("signatures").map(Node::items).unwrap_or_default();
        if listed.is_empty() || listed.len() > SIGNATURES_MAX {
            let count = listed.len();
            return Err(bad(format!("expected 1 to {SIGNATURES_MAX} `signatures`, got {count}")));
        }
        let mut signatures = Vec::with_capacity(listed.len());
        for item in listed {
            only(item, &["keyid", "sig"]).map_err(bad)?;
            // The `keyid` is a hint for people; which key signed is found out by checking.
            let text = item.get("sig").and_then(Node::as_text).unwrap_or_default();
            signatures.push(text.parse::<Signature>().map_err(|error| bad(error.to_string()))?);
        }
        Ok(Self { payload, signatures })
    }

    /// The payload and those of `keys` that signed it; each key counts once.
    pub(crate) fn signers<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k VerifyingKey>,
    ) -> (&[u8], BTreeSet<VerifyingKey>) {
        let message = pae(&self.payload);
        let signed =
            |key: &&VerifyingKey| self.signatures.iter().any(|sig| key.verify(&message, sig).is_ok());
        (&self.payload, keys.into_iter().filter(signed).copied().collect())
    }
}

/// The pre-authentication encoding: what is signed binds the payload's type to its bytes.
fn pae(payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

/// Refuses a value that is not an object of exactly these members.
pub(super) fn only(node: &Node, names: &[&str]) -> Result<(), String> {
    if !node.is_object() {
        return Err("expected a JSON object".to_owned());
    }
    if let Some((name, _)) = node.members().iter().find(|(name, _)| !names.contains(&&**name)) {
        return Err(format!("unknown member `{name}`, expected one of `{}`", names.join("`, `")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_that_is_signed_is_the_one_of_the_standard() {
        assert_eq!(pae(b"{}"), b"DSSEv1 28 application/vnd.in-toto+json 2 {}");
    }

    #[test]
    fn only_the_keys_that_signed_are_found_and_each_counts_once() {
        let keys: Vec<_> = (1..4).map(|n| SigningKey::from_seed(&[n; 32]).unwrap()).collect();
        let text = Envelope::sign(b"{}".to_vec(), &[keys[0].clone(), keys[0].clone(), keys[2].clone()]);
        let envelope = Envelope::parse(text.as_bytes()).unwrap();
        let trusted: Vec<_> = keys.iter().map(SigningKey::verifying_key).collect();
        let (payload, signers) = envelope.signers(&trusted);
        assert_eq!(payload, b"{}");
        assert_eq!(signers, BTreeSet::from([trusted[0], trusted[2]]));
    }

    #[test]
    fn envelopes_that_are_not_fully_understood_are_refused() {
        let good = Envelope::sign(b"{}".to_vec(), &[SigningKey::from_seed(&[1; 32]).unwrap()]);
        assert!(Envelope::parse(good.as_bytes()).is_ok());
        for (from, to) in [
            ("in-toto+json", "in-toto+xml"),
            ("\"payload\"", "\"payload\":\"\",\"payload\""),
            ("\"payload\"", "\"extra\":1,\"payload\""),
            ("\"keyid\"", "\"extra\":1,\"keyid\""),
            ("e30=", "e30"),
            ("\"sig\":\"", "\"sig\":\"AAAA"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert!(Envelope::parse(bad.as_bytes()).is_err(), "{to}");
        }
        let none = good.split("\"signatures\"").next().unwrap().to_owned() + "\"signatures\":[]}";
        assert!(Envelope::parse(none.as_bytes()).is_err());
    }
}
