//! A stream of server-sent events as the body of an answer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cordon_wire::mcp::sse::{Event, KEEP_ALIVE};
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::mcp::Reply;

/// A request on its way to its answer. Dropping it is giving it up.
pub(super) type Running = Pin<Box<dyn Future<Output = Option<Reply>> + Send>>;

/// Messages as they come, then the answer, then the end.
pub(super) struct Events {
    ready: VecDeque<Bytes>,
    queue: mpsc::Receiver<Vec<u8>>,
    source: Source,
    keep_alive: Interval,
}

enum Source {
    /// The answer is on its way.
    Running(Running),
    /// Messages only, until their sender ends.
    Open,
    /// Nothing more comes.
    Done,
}

impl Events {
    pub(super) fn new(queue: mpsc::Receiver<Vec<u8>>, keep_alive: Duration) -> Self {
        let every = keep_alive.max(Duration::from_millis(100));
        let mut keep_alive =
            interval_at(Instant::now().checked_add(every).unwrap_or_else(Instant::now), every);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ready: VecDeque::new(), queue, source: Source::Open, keep_alive }
    }

    /// Adds one message.
    pub(super) fn push(&mut self, message: Vec<u8>) {
        // Messages are UTF-8: they were read strictly, or made here.
        let text = String::from_utf8_lossy(&message).into_owned();
        self.ready.push_back(Event::message(text).write().into());
    }

    /// The stream ends with the answer to this request.
    pub(super) fn run(&mut self, running: Running) {
        self.source = Source::Running(running);
    }

    /// The stream ends with this answer, after what was queued.
    pub(super) fn finish(&mut self, answer: Option<Reply>) {
        while let Ok(message) = self.queue.try_recv() {
            self.push(message);
        }
        if let Some(reply) = answer {
            self.push(reply.bytes);
        }
        self.source = Source::Done;
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(event))));
            }
            if matches!(self.source, Source::Done) {
                return Poll::Ready(None);
            }
            if let Poll::Ready(next) = self.queue.poll_recv(context) {
                match (next, &self.source) {
                    (Some(message), _) => {
                        self.push(message);
                        continue;
                    }
                    (None, Source::Open) => {
                        self.source = Source::Done;
                        continue;
                    }
                    (None, _) => {}
                }
            }
            if let Source::Running(running) = &mut self.source
                && let Poll::Ready(answer) = running.as_mut().poll(context)
            {
                self.finish(answer);
                continue;
            }
            if self.keep_alive.poll_tick(context).is_ready() {
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(KEEP_ALIVE)))));
            }
            return Poll::Pending;
        }
    }
}
