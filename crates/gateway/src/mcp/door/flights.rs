//! Requests of the client that wait for an answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cordon_guard::{Failure, Pending};
use cordon_wire::mcp::{Era, Message, RequestId, reply};
use tokio::sync::oneshot;

use super::Inner;
use crate::mcp::outlet::Outlet;
use crate::mcp::upstream::UpstreamError;

/// The requests in flight.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    by_key: HashMap<u64, Flight>,
    by_id: HashMap<RequestId, u64>,
    by_token: HashMap<String, u64>,
}

/// One request in flight.
#[derive(Debug)]
pub(super) struct Flight {
    /// The id that the server knows.
    pub(super) wire_id: RequestId,
    /// The id that the client knows.
    pub(super) client_id: RequestId,
    /// The progress token that the server knows (canonical), and the client's as written.
    pub(super) token: Option<(String, Box<str>)>,
    /// The way back for what comes before the answer.
    pub(super) outlet: Option<Outlet>,
    /// Whether the id is looked up among others on the same channel.
    pub(super) on_channel: bool,
    answer: Option<oneshot::Sender<Answer>>,
    messages: u32,
}

/// How a request in flight ends.
#[derive(Debug)]
pub(super) enum Answer {
    /// The server answered.
    Message(Box<Message>),
    /// It will not.
    Failed(UpstreamError),
    /// The client gave up.
    Cancelled,
}

/// A request cannot take off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grounded {
    /// Too many are in flight.
    Full,
    /// Another request in flight has its id or token.
    Twice,
}

/// Holds a flight's place; dropping it before it has landed is the client's giving up.
pub(super) struct Ticket {
    inner: Arc<Inner>,
    key: u64,
    /// What takes the result, once the request was sent.
    pub(super) pending: Option<Pending>,
    wire_id: RequestId,
    era: Era,
    landed: bool,
}

impl Flights {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that no flight of this door has had.
    pub(super) fn number(&self) -> u64 {
        let mut table = self.table();
        table.next = table.next.saturating_add(1);
        table.next
    }

    /// Registers a request before it is sent.
    pub(super) fn begin(
        &self,
        inner: Arc<Inner>,
        mut flight: Flight,
        era: Era,
        most: u32,
    ) -> Result<(Ticket, oneshot::Receiver<Answer>), Grounded> {
        let (sender, receiver) = oneshot::channel();
        flight.answer = Some(sender);
        let mut table = self.table();
        if table.by_key.len() >= most as usize {
            return Err(Grounded::Full);
        }
        table.next = table.next.saturating_add(1);
        let key = table.next;
        if flight.on_channel {
            let token = flight.token.as_ref().map(|(token, _)| token.clone());
            if token.as_ref().is_some_and(|token| table.by_token.contains_key(token)) {
                return Err(Grounded::Twice);
            }
            match table.by_id.entry(flight.wire_id.clone()) {
                Entry::Occupied(_) => return Err(Grounded::Twice),
                Entry::Vacant(vacant) => vacant.insert(key),
            };
            token.map(|token| table.by_token.insert(token, key));
        }
        let wire_id = flight.wire_id.clone();
        table.by_key.insert(key, flight);
        drop(table);
        Ok((Ticket { inner, key, pending: None, wire_id, era, landed: false }, receiver))
    }

    /// Ends the flight whose request has this id on the channel; false if there is none.
    pub(super) fn end(&self, id: &RequestId, answer: Answer) -> bool {
        let mut table = self.table();
        let Some(key) = table.by_id.get(id).copied() else { return false };
        let sender = table.by_key.get_mut(&key).and_then(|flight| flight.answer.take());
        drop(table);
        sender.is_some_and(|sender| sender.send(answer).is_ok())
    }

    /// Ends the flight whose request the client knows by this id, and gives the id the server knows.
    pub(super) fn cancel(&self, client_id: &RequestId) -> Option<RequestId> {
        let mut table = self.table();
        let flight = table.by_key.values_mut().find(|flight| flight.client_id == *client_id)?;
        let (sender, wire_id) = (flight.answer.take()?, flight.wire_id.clone());
        drop(table);
        sender.send(Answer::Cancelled).is_ok().then_some(wire_id)
    }

    /// Ends the only flight there is; false if there are none or several.
    pub(super) fn end_only(&self, error: &UpstreamError) -> bool {
        let mut table = self.table();
        if table.by_key.len() != 1 {
            return false;
        }
        let sender = table.by_key.values_mut().next().and_then(|flight| flight.answer.take());
        drop(table);
        sender.is_some_and(|sender| sender.send(Answer::Failed(error.clone())).is_ok())
    }

    /// Ends every flight.
    pub(super) fn end_all(&self, error: &UpstreamError) {
        let senders: Vec<_> =
            self.table().by_key.values_mut().filter_map(|flight| flight.answer.take()).collect();
        for sender in senders {
            // A flight that ended meanwhile needs no second end.
            let _ = sender.send(Answer::Failed(error.clone()));
        }
    }

    /// Looks at one flight and counts one message for it; nothing once it had too many.
    pub(super) fn with<T>(&self, which: Which<'_>, most: u32, see: impl FnOnce(&Flight) -> T) -> Option<T> {
        let mut table = self.table();
        let key = match which {
            Which::Key(key) => key,
            Which::Id(id) => table.by_id.get(id).copied()?,
            Which::Token(token) => table.by_token.get(token).copied()?,
            Which::Newest => table
                .by_key
                .iter()
                .filter(|(_, flight)| flight.outlet.as_ref().is_some_and(|outlet| !outlet.is_closed()))
                .map(|(key, _)| *key)
                .max()?,
        };
        let flight = table.by_key.get_mut(&key)?;
        flight.messages = flight.messages.saturating_add(1);
        (flight.messages <= most).then(|| see(flight))
    }

    /// How many are in flight.
    pub(super) fn count(&self) -> usize {
        self.table().by_key.len()
    }
}

/// Names one flight.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which<'w> {
    /// By its own key.
    Key(u64),
    /// By the id that the server knows.
    Id(&'w RequestId),
    /// By the progress token that the server knows, in canonical form.
    Token(&'w str),
    /// The newest that can be spoken to.
    Newest,
}

impl Flight {
    pub(super) fn new(wire_id: RequestId, client_id: RequestId, on_channel: bool) -> Self {
        Self { wire_id, client_id, token: None, outlet: None, on_channel, answer: None, messages: 0 }
    }
}

impl Ticket {
    pub(super) fn key(&self) -> u64 {
        self.key
    }

    pub(super) fn wire_id(&self) -> &RequestId {
        &self.wire_id
    }

    /// The answer has come, or it was said that none will: nothing is to be cancelled.
    pub(super) fn land(mut self) -> Option<Pending> {
        self.landed = true;
        self.pending.take()
    }

    /// Nobody waits any more: the server is told, and what comes of the call is on record.
    pub(super) fn give_up(mut self, failure: Failure) {
        self.abandon(failure);
        self.landed = true;
    }

    fn abandon(&mut self, failure: Failure) {
        let Some(pending) = self.pending.take() else { return };
        pending.failed(failure);
        // Over modern HTTP the closed stream says it.
        if self.era == Era::Modern && !self.inner.upstream.is_shared_channel() {
            return;
        }
        let (inner, bytes) = (Arc::clone(&self.inner), reply::cancelled(&self.wire_id, failure.as_str()));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { inner.tell("notifications.cancelled", bytes).await });
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut table = self.inner.flights.table();
        if let Some(flight) = table.by_key.remove(&self.key)
            && flight.on_channel
        {
            table.by_id.remove(&flight.wire_id);
            flight.token.map(|(token, _)| table.by_token.remove(&token));
        }
        drop(table);
        if !self.landed {
            self.abandon(Failure::Cancelled);
        }
    }
}
