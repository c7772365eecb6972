//! Capability tokens: grants that whoever holds them can narrow offline and nobody can widen.
//!
//! The format is Biscuit (version 3) with a closed vocabulary of caveats. This crate never runs
//! Datalog, does I/O, reads a clock or draws randomness: a block that says anything else than the
//! vocabulary refuses the token. Its three most important types are [`Issuer`] (who grants),
//! [`Token`] (what travels) and [`Proof`] (that the holder's key is at hand); what a verified token
//! allows is [`cordon_core::Capability`].

mod block;
mod proof;
mod shape;
mod token;

pub use proof::{InvalidProof, Proof, Subject};
pub use token::{BLOCKS_MAX, CapabilityError, Issuer, IssuerKey, TOKEN_BYTES_MAX, Token};
