//! The door for the Model Context Protocol: stdio and Streamable HTTP, both eras.
//!
//! A [`Door`] is one governed connection to one server. A client side ([`stdio`], [`http`]) hands it
//! the client's messages as exact bytes; it has each judged, forwards the same bytes, and lets
//! nothing back that was not decided and observed. What the client speaks is what the server gets:
//! eras are mirrored, not translated, except on the aggregate endpoint.

pub mod child;
pub mod http;
pub mod stdio;

mod door;
mod options;
mod outbound;
mod outlet;
mod rate;
mod redact;
mod server;
mod upstream;

pub use door::{ClientMessage, Door, Mode, OpenError, Reply};
pub use options::{
    Command, Credential, DoorLimits, Endpoint, InvalidOptions, ServerOptions, UpstreamOptions,
};
pub use outbound::OutboundMessage;
pub use outlet::Outlet;
pub use server::Server;
pub use upstream::{Upstream, UpstreamError};
pub(crate) use upstream::{chain, connector};
