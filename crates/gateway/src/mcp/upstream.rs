//! The connection to a server. [`Upstream::send`] is the only function that writes to one.

use std::sync::{Arc, Mutex, PoisonError};

use cordon_guard::{Denial, Failure, Pending, Permit, ResultKind, ResultSeen};
use tokio::io::{AsyncRead, AsyncWrite};

use super::OutboundMessage;
use super::child::{self, SpawnError};
use super::options::{Command, DoorLimits};

pub(crate) mod http;
mod lines;

pub(crate) use http::{Client, Replies, SESSION, chain, connector};
pub(crate) use lines::{Arrived, Incoming};

/// A connection to one server.
#[derive(Debug)]
pub struct Upstream {
    link: Link,
    /// Taken by the door; behind a lock only so that a connection can be shared.
    incoming: Mutex<Option<Incoming>>,
}

#[derive(Debug)]
pub(crate) enum Link {
    Lines(lines::Link),
    Http(http::Link),
}

/// Why a server did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// The process ended or the connection broke.
    #[error("the server has gone: {0}")]
    Gone(Box<str>),
    /// It answered too late.
    #[error("the server did not answer within {0} ms")]
    TimedOut(u32),
    /// It answered with something that is not an acceptable message.
    #[error("the server's answer is not acceptable: {0}")]
    Malformed(Box<str>),
    /// It refused at the level of HTTP.
    #[error("the server answered with HTTP status {0}")]
    Status(u16),
    /// It wants to send the request elsewhere; a credential would go with it.
    #[error("the server redirects (HTTP status {0}), and redirects are not followed")]
    Redirect(u16),
    /// It takes no messages at this rate.
    #[error("the server does not read what it is sent")]
    Stalled,
}

/// What became of sending.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Takes what comes of the call.
    pub(crate) pending: Pending,
    /// What the server says at once; over lines every answer comes in on its own.
    pub(crate) replies: Result<Replies, UpstreamError>,
}

/// How long a server may take to accept what it does not answer.
const ACCEPT_MAX: std::time::Duration = std::time::Duration::from_secs(30);

impl Sent {
    /// Waits until the server has accepted what it does not answer, and puts on record what came of
    /// it.
    pub(crate) async fn accepted(self) -> Result<(), UpstreamError> {
        let Self { pending, replies } = self;
        let accepted = match replies {
            Ok(mut replies) => match tokio::time::timeout(ACCEPT_MAX, replies.open()).await {
                Ok(accepted) => accepted,
                Err(_) => Err(UpstreamError::Stalled),
            },
            Err(error) => Err(error),
        };
        match &accepted {
            Ok(()) => {
                drop(pending.observe(ResultSeen { bytes: b"", structured: None, kind: ResultKind::Complete }))
            }
            Err(error) => pending.failed(error.failure()),
        }
        accepted
    }
}

impl UpstreamError {
    /// The failure as the record has it.
    pub(crate) const fn failure(&self) -> Failure {
        match self {
            Self::TimedOut(_) | Self::Stalled => Failure::TimedOut,
            Self::Malformed(_) => Failure::Malformed,
            _ => Failure::Gone,
        }
    }
}

impl Upstream {
    /// Starts a child process and speaks with it over its standard streams.
    pub fn spawn(name: &str, command: &Command, limits: &DoorLimits) -> Result<Self, SpawnError> {
        let mut child = child::Child::spawn(name, command, limits.grace)?;
        let (read, write) = child.take_streams()?;
        let (link, incoming) = lines::Link::new(read, write, Some(child), limits);
        Ok(Self { link: Link::Lines(link), incoming: Mutex::new(Some(incoming)) })
    }

    /// Speaks with a server over two streams, one message a line; somebody else runs the server.
    pub fn duplex(
        read: impl AsyncRead + Send + Unpin + 'static,
        write: impl AsyncWrite + Send + Unpin + 'static,
        limits: &DoorLimits,
    ) -> Self {
        let (link, incoming) = lines::Link::new(read, write, None, limits);
        Self { link: Link::Lines(link), incoming: Mutex::new(Some(incoming)) }
    }

    pub(crate) fn http(client: Arc<Client>) -> Self {
        Self { link: Link::Http(http::Link::new(client)), incoming: Mutex::default() }
    }

    /// What comes in on its own; given once.
    pub(crate) fn take_incoming(&mut self) -> Option<Incoming> {
        self.incoming.get_mut().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Spends the permit and writes exactly what was permitted; fails when it was taken away meanwhile.
    pub(crate) async fn send(&self, permit: Permit<OutboundMessage>) -> Result<Sent, Box<Denial>> {
        let (outbound, mut pending) = permit.spend()?;
        let replies = match &self.link {
            Link::Lines(link) => {
                let replies = match outbound {
                    OutboundMessage::Message { message, .. } => link.write(message.bytes()).await,
                    // A pipe has no streams to open and no session to end.
                    OutboundMessage::OpenStream | OutboundMessage::EndSession => Ok(()),
                };
                replies.map(|()| Replies::None)
            }
            Link::Http(link) => link.send(outbound),
        };
        pending.departed();
        Ok(Sent { pending, replies })
    }

    /// Whether answers come in on one channel, so that ids must differ.
    pub(crate) fn is_shared_channel(&self) -> bool {
        matches!(self.link, Link::Lines(_))
    }

    /// Whether nothing can be sent any more.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.link {
            Link::Lines(link) => link.is_closed(),
            Link::Http(_) => false,
        }
    }

    /// What an `initialize` settled, for the headers of later messages.
    pub(crate) fn negotiated(&self, version: cordon_wire::mcp::Version) {
        if let Link::Http(link) = &self.link {
            link.negotiated(version);
        }
    }

    /// Whether the server keeps a session that is to be ended.
    pub(crate) fn has_session(&self) -> bool {
        match &self.link {
            Link::Lines(_) => false,
            Link::Http(link) => link.has_session(),
        }
    }

    /// Ends the connection: a child is told to end, and made to.
    pub(crate) fn close(&self) {
        if let Link::Lines(link) = &self.link {
            link.close();
        }
    }
}
