//! Tests of the ledger's mathematics from outside.

mod entries;
mod hostile;
mod oracles;
mod vectors;
