//! What may be written to a server.

use std::sync::Arc;

use cordon_core::ExactBytes;
use cordon_wire::mcp::Message;
use cordon_wire::mcp::header::Mirrored;

/// What may be written to a server, once a permit for it is spent.
#[derive(Debug, Clone)]
pub enum OutboundMessage {
    /// One message. Over HTTP the headers that repeat its body are made from it anew.
    Message {
        /// The message.
        message: Arc<Message>,
        /// The arguments that its tool's schema wants repeated in headers.
        mirrored: Arc<[Mirrored]>,
    },
    /// Opens the stream of messages that answer nothing (HTTP, legacy era).
    OpenStream,
    /// Ends the server's session (HTTP, legacy era).
    EndSession,
}

impl OutboundMessage {
    /// A message without arguments in headers.
    pub fn plain(message: Arc<Message>) -> Self {
        Self::Message { message, mirrored: Arc::from([]) }
    }
}

impl ExactBytes for OutboundMessage {
    fn exact_bytes(&self) -> &[u8] {
        match self {
            Self::Message { message, .. } => message.bytes(),
            Self::OpenStream => b"GET",
            Self::EndSession => b"DELETE",
        }
    }
}
