//! Tests of the ledger's mathematics from outside.

mod entries;
mod oracles;
mod vectors;
