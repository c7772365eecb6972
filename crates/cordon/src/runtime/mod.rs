//! The owner process and what talks to it.
//!
//! [`owner`] wires store, ledger, policies and guard together; [`serve`] runs it until a signal;
//! [`listen`] and [`attach`] are its doors to the outside; [`start`] finds or starts it from another
//! process; [`front`] is the other end of `cordon mcp`.

pub(crate) mod archive;
pub(crate) mod attach;
mod authzen;
pub(crate) mod bundle;
mod capabilities;
pub(crate) mod console;
pub(crate) mod definitions;
pub(crate) mod enforcer;
pub(crate) mod front;
pub(crate) mod keys;
pub(crate) mod known;
pub(crate) mod listen;
pub(crate) mod node;
pub(crate) mod owner;
pub(crate) mod recorder;
pub(crate) mod restraints;
pub(crate) mod rotate;
pub(crate) mod serve;
pub(crate) mod shadow;
pub(crate) mod start;
pub(crate) mod tls;
