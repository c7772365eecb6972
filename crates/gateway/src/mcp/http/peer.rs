//! What a path leads to: one server, or all of them as one.

use std::collections::BTreeMap;
use std::sync::Arc;

use cordon_guard::Guard;
use cordon_wire::mcp::{Era, Message};

use super::aggregate::Aggregate;
use crate::Caller;
use crate::mcp::{ClientMessage, Door, DoorLimits, Mode, OpenError, Outlet, Reply, Server};

/// What a client's messages go to; cheap to clone.
#[derive(Debug, Clone)]
pub(super) enum Peer {
    One(Door),
    All(Arc<Aggregate>),
}

impl Peer {
    /// A connection for one caller: its own in the legacy era, one for all its requests in the modern.
    pub(super) async fn connect(
        guard: &Guard,
        servers: &BTreeMap<Box<str>, Arc<Server>>,
        which: Option<&Arc<Server>>,
        caller: Caller,
        era: Era,
    ) -> Result<Self, OpenError> {
        let mode = if era == Era::Legacy { Mode::Alone } else { Mode::Shared };
        match which {
            Some(server) => {
                Door::connect(guard.clone(), caller, Arc::clone(server), mode).await.map(Self::One)
            }
            None => Ok(Self::All(Aggregate::new(guard.clone(), servers.values().cloned().collect(), caller))),
        }
    }

    pub(super) async fn request(&self, incoming: ClientMessage) -> Option<Reply> {
        match self {
            Self::One(door) => door.request(incoming).await,
            Self::All(aggregate) => aggregate.request(incoming).await,
        }
    }

    pub(super) async fn notify(&self, incoming: ClientMessage) -> Result<(), Reply> {
        match self {
            Self::One(door) => door.notify(incoming).await,
            Self::All(aggregate) => aggregate.notify(incoming).await,
        }
    }

    pub(super) async fn respond(&self, message: Message) -> Result<(), Reply> {
        match self {
            Self::One(door) => door.respond(message).await,
            Self::All(_) => Ok(()),
        }
    }

    pub(super) fn set_client(&self, outlet: Outlet) {
        match self {
            Self::One(door) => door.set_client(outlet),
            Self::All(aggregate) => aggregate.set_client(outlet),
        }
    }

    pub(super) async fn open_stream(&self) -> Result<(), Reply> {
        match self {
            Self::One(door) => door.open_stream().await,
            Self::All(_) => Ok(()),
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::One(door) => {
                door.close().await;
                door.forget_client();
            }
            Self::All(aggregate) => aggregate.close().await,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::One(door) => door.is_closed(),
            Self::All(_) => false,
        }
    }

    pub(super) fn limits(&self) -> DoorLimits {
        match self {
            Self::One(door) => *door.server().limits(),
            Self::All(_) => DoorLimits::DEFAULT,
        }
    }
}
