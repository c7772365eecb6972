//! A server over two streams of lines: a child process, or a pair that somebody else holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cordon_wire::mcp::stdio::{Line, Lines, frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::UpstreamError;
use crate::mcp::child::Child;
use crate::mcp::options::DoorLimits;

/// Most messages that wait to be written.
const WAITING_MAX: usize = 64;
/// How long the server may take to read one message.
const WRITE_MAX: Duration = Duration::from_secs(20);

/// The writing half.
#[derive(Debug)]
pub(crate) struct Link {
    lines: mpsc::Sender<Vec<u8>>,
    closed: Arc<AtomicBool>,
    end: watch::Sender<bool>,
}

/// The reading half.
pub(crate) struct Incoming {
    read: Box<dyn AsyncRead + Send + Unpin>,
    lines: Lines,
    ready: std::vec::IntoIter<Line>,
    buffer: Vec<u8>,
    closed: Arc<AtomicBool>,
    end: watch::Receiver<bool>,
    bytes_max: usize,
    /// Held so that the child lives exactly as long as somebody listens to it.
    child: Option<Child>,
}

/// What came from the server.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// One line.
    Line(Vec<u8>),
    /// A line over the limit, which was skipped.
    TooLong(usize),
    /// Nothing will come any more, and why.
    End(Box<str>),
}

impl Link {
    pub(crate) fn new(
        read: impl AsyncRead + Send + Unpin + 'static,
        write: impl AsyncWrite + Send + Unpin + 'static,
        child: Option<Child>,
        limits: &DoorLimits,
    ) -> (Self, Incoming) {
        let (lines, queue) = mpsc::channel(WAITING_MAX);
        let (end, ended) = watch::channel(false);
        let closed = Arc::new(AtomicBool::new(false));
        // One task writes, so that a caller that gives up never leaves half a line behind.
        tokio::spawn(writer(write, queue, Arc::clone(&closed), end.clone()));
        let bytes_max = limits.message.message_bytes_max;
        let incoming = Incoming {
            read: Box::new(read),
            lines: Lines::new(bytes_max),
            ready: Vec::new().into_iter(),
            buffer: vec![0; 32 << 10],
            closed: Arc::clone(&closed),
            end: ended,
            bytes_max,
            child,
        };
        (Self { lines, closed, end }, incoming)
    }

    /// Leaves one message for the server.
    pub(crate) async fn write(&self, message: &[u8]) -> Result<(), UpstreamError> {
        if self.is_closed() {
            return Err(UpstreamError::Gone("its input is closed".into()));
        }
        match timeout(WRITE_MAX, self.lines.send(frame(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(UpstreamError::Gone("its input is closed".into())),
            Err(_) => Err(UpstreamError::Stalled),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.end.send_replace(true);
    }
}

async fn writer(
    mut write: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Vec<u8>>,
    closed: Arc<AtomicBool>,
    end: watch::Sender<bool>,
) {
    let mut ended = end.subscribe();
    loop {
        let line = tokio::select! {
            line = queue.recv() => line,
            _ = ended.wait_for(|ended| *ended) => None,
        };
        let Some(line) = line else { break };
        let written = timeout(WRITE_MAX, async {
            write.write_all(&line).await?;
            write.flush().await
        });
        if !matches!(written.await, Ok(Ok(()))) {
            break;
        }
    }
    closed.store(true, Ordering::Release);
    // Closing the server's input is how it is asked to end.
    let _ = timeout(WRITE_MAX, write.shutdown()).await;
}

impl Incoming {
    /// The next thing that comes; after [`Arrived::End`] there is nothing more.
    pub(crate) async fn next(&mut self) -> Arrived {
        loop {
            match self.ready.next() {
                Some(Line::Whole(line)) => return Arrived::Line(line),
                Some(Line::TooLong) => return Arrived::TooLong(self.bytes_max),
                None => {}
            }
            let read = tokio::select! {
                read = self.read.read(&mut self.buffer) => Some(read),
                _ = self.end.wait_for(|ended| *ended) => None,
            };
            let Some(read) = read else { return self.ended("the connection was closed here") };
            match read {
                Ok(0) if self.lines.is_cut() => return self.ended("it stopped in the middle of a message"),
                Ok(0) => return self.ended("it closed its output"),
                Ok(n) => {
                    self.ready = self.lines.feed(self.buffer.get(..n).unwrap_or_default()).into_iter();
                }
                Err(error) => return self.ended(&format!("reading failed: {error}")),
            }
        }
    }

    fn ended(&mut self, why: &str) -> Arrived {
        self.closed.store(true, Ordering::Release);
        let why = match &self.child {
            Some(child) => format!("{why} ({})", child.describe()),
            None => why.to_owned(),
        };
        Arrived::End(why.into())
    }

    /// Waits for the child's end, so that the reason can name its exit status.
    pub(crate) async fn settle(&mut self) -> Option<String> {
        let child = self.child.as_mut()?;
        child.end(Duration::from_millis(200)).await;
        Some(child.describe())
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("child", &self.child).finish_non_exhaustive()
    }
}
