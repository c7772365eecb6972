//! Storage behind the guard's ports: state in SQLite, the ledger's files, keys, tokens, the data directory.
//!
//! This crate never decides anything, and never writes content to a disk unsealed. Its three most
//! important types are [`state::State`] (sessions, approvals, pins), [`datadir::DataDir`] (where
//! things lie, and who owns them) and [`keyfile::KeyRing`] (private keys, outside the data directory).

pub mod datadir;
pub mod keyfile;
pub mod ledger;
pub mod seal;
pub mod state;
pub mod system;
pub mod tokens;
pub mod tpm;

mod coding;
mod observations;
mod restraints;
