//! Tests of the store from outside.

mod ledger;
mod ledger_faults;
mod ledger_tamper;
