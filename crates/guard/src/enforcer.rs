//! What enforces, as the ledger names it.

use std::collections::BTreeMap;

use cordon_core::Digest;
use cordon_core::cbor::Cbor;

/// What enforces: the program, its policies, its configuration, and what the machine offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enforcer {
    /// Cordon's version.
    pub version: Box<str>,
    /// SHA-256 of the running program's file.
    pub binary: Digest,
    /// Digest of the policies in force.
    pub bundle: Digest,
    /// Digest of the configuration.
    pub config: Digest,
    /// What was found about the machine, by what was looked at.
    pub machine: BTreeMap<Box<str>, Box<str>>,
}

/// A TPM's word on what enforces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quoted {
    /// A quote over the digest of what enforces.
    Yes {
        /// The signed bytes, a `TPMS_ATTEST`.
        attest: Vec<u8>,
        /// The ECDSA signature, r and s.
        signature: Vec<u8>,
        /// The P-256 key, x and y.
        key: Vec<u8>,
    },
    /// There is no TPM.
    NoTpm,
    /// There is one, and it gave no quote.
    Failed,
}

impl Enforcer {
    /// `{1: version, 2: program, 3: bundle, 4: configuration, 5: {what: finding}}`.
    pub fn to_cbor(&self) -> Cbor {
        let digest = |digest: &Digest| Cbor::bytes(*digest.as_bytes());
        let machine = self.machine.iter().map(|(what, found)| (&**what, Cbor::Text(found.clone())));
        Cbor::map([
            (1, Cbor::Text(self.version.clone())),
            (2, digest(&self.binary)),
            (3, digest(&self.bundle)),
            (4, digest(&self.config)),
            (5, Cbor::map(machine)),
        ])
    }

    /// SHA-256 over `"cordon/enforcer/v1"` and the CBOR.
    pub fn digest(&self) -> Digest {
        let mut bytes = b"cordon/enforcer/v1".to_vec();
        self.to_cbor().encode_to(&mut bytes);
        Digest::of(&bytes)
    }
}
