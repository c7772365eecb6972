//! The client's side over two streams, one message a line: `cordon mcp`, and anything like it.

use std::sync::Arc;
use std::time::Duration;

use cordon_wire::mcp::stdio::{Line, Lines};
use cordon_wire::mcp::{Era, Kind, Message, Refusal, reply};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::door::era_of;
use super::{ClientMessage, Door, Outlet};

/// Why serving a client ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The client closed its side.
    ClientLeft,
    /// The client sent a line that is too long to be read, or reading failed.
    ClientBroke(Box<str>),
    /// The server went away; every request that waited was answered so.
    ServerGone,
}

/// How long a client may take to read one message.
const WRITE_MAX: Duration = Duration::from_secs(20);
/// How long answers may take to leave once the client closed its side.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Serves one client through `door` until either side ends, then ends the connection to the server.
///
/// Requests run side by side; a notification is sent before anything that came after it is read.
pub async fn serve(
    door: Door,
    read: impl AsyncRead + Send + Unpin + 'static,
    write: impl AsyncWrite + Send + Unpin + 'static,
) -> End {
    let (outlet, queue) = Outlet::new();
    door.set_client(outlet.clone());
    let writing = tokio::spawn(write_lines(write, queue));
    let client = Client::new(door.clone(), outlet);
    let end = client.read(read).await;
    door.close().await;
    door.forget_client();
    drop(door);
    let _ = timeout(DRAIN_MAX, writing).await;
    end
}

struct Client {
    door: Door,
    outlet: Outlet,
    era: Era,
    running: JoinSet<()>,
    places: Arc<Semaphore>,
}

impl Client {
    fn new(door: Door, outlet: Outlet) -> Self {
        let most = door.server().limits().in_flight_max as usize;
        Self {
            door,
            outlet,
            era: Era::Legacy,
            running: JoinSet::new(),
            places: Arc::new(Semaphore::new(most)),
        }
    }

    async fn read(mut self, mut read: impl AsyncRead + Unpin) -> End {
        let bytes_max = self.door.server().limits().message.message_bytes_max;
        let mut lines = Lines::new(bytes_max);
        let mut buffer = vec![0; 32 << 10];
        loop {
            let n = tokio::select! {
                read = read.read(&mut buffer) => match read {
                    Ok(0) => return self.left().await,
                    Ok(n) => n,
                    Err(error) => return End::ClientBroke(format!("reading failed: {error}").into()),
                },
                // What waits for the server is answered by the door; then there is nothing to serve.
                () = self.door.gone() => {
                    self.drain().await;
                    return End::ServerGone;
                }
            };
            for line in lines.feed(buffer.get(..n).unwrap_or_default()) {
                match line {
                    Line::Whole(line) => self.take(line).await,
                    Line::TooLong => {
                        let text = format!("a message is longer than {bytes_max} bytes");
                        self.outlet.give(reply::error(None, reply::PARSE_ERROR, &text, None)).await;
                    }
                }
            }
            while self.running.try_join_next().is_some() {}
        }
    }

    async fn take(&mut self, line: Vec<u8>) {
        let message = match Message::parse(line, &self.door.server().limits().message) {
            Ok(message) => message,
            Err(refusal) => return self.refuse(&refusal).await,
        };
        let era = match era_of(&message, None, self.era) {
            Ok(era) => era,
            Err(refusal) => return self.refuse(&refusal).await,
        };
        match message.kind() {
            Kind::Request { .. } => {
                self.era = era;
                self.run(message, era).await;
            }
            Kind::Notification { .. } => {
                let incoming = ClientMessage { message, era, headers: None, outlet: None };
                // A notification has no answer, not even a refusal.
                let _ = self.door.notify(incoming).await;
            }
            Kind::Result { .. } | Kind::Error { .. } => {
                let _ = self.door.respond(message).await;
            }
        }
    }

    async fn run(&mut self, message: Message, era: Era) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let text = "too many requests are in flight; wait for their answers";
            self.outlet.give(reply::error(message.id(), reply::UNAVAILABLE, text, None)).await;
            return;
        };
        let (door, outlet) = (self.door.clone(), self.outlet.clone());
        self.running.spawn(async move {
            let incoming = ClientMessage { message, era, headers: None, outlet: Some(outlet.clone()) };
            if let Some(reply) = door.request(incoming).await {
                outlet.give(reply.bytes).await;
            }
            drop(place);
        });
    }

    async fn refuse(&self, refusal: &Refusal) {
        self.outlet.give(reply::refused(refusal)).await;
    }

    /// The client closed its side: what still runs is given a moment, then given up.
    async fn left(mut self) -> End {
        self.drain().await;
        End::ClientLeft
    }

    async fn drain(&mut self) {
        let _ = timeout(DRAIN_MAX, async { while self.running.join_next().await.is_some() {} }).await;
        self.running.shutdown().await;
    }
}

async fn write_lines(mut write: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(mut message) = queue.recv().await {
        // Line breaks stand only between tokens of a message that was read, or was made here.
        for byte in &mut message {
            if matches!(*byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        message.push(b'\n');
        let written = timeout(WRITE_MAX, async {
            write.write_all(&message).await?;
            write.flush().await
        });
        if !matches!(written.await, Ok(Ok(()))) {
            return;
        }
    }
}
