//! The way to a client for everything that is not the answer to one of its requests.

use tokio::sync::mpsc;

/// A bounded way to a client. Cheap to clone; a client that does not read loses messages, never memory.
#[derive(Debug, Clone)]
pub struct Outlet(mpsc::Sender<Vec<u8>>);

/// Most messages that wait for a client.
const WAITING_MAX: usize = 256;

impl Outlet {
    /// A way to a client and its other end, which gives messages as exact bytes.
    pub fn new() -> (Self, mpsc::Receiver<Vec<u8>>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }

    /// Whether the message could be left for the client: it is there and not too far behind.
    pub(crate) fn offer(&self, bytes: Vec<u8>) -> bool {
        self.0.try_send(bytes).is_ok()
    }

    /// Waits until the client takes messages; false when it has gone.
    pub(crate) async fn give(&self, bytes: Vec<u8>) -> bool {
        self.0.send(bytes).await.is_ok()
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Ends when nobody reads any more.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}
