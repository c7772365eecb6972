//! Which connection a request belongs to: by session in the legacy era, by caller in the modern.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cordon_guard::Guard;
use cordon_wire::mcp::Era;
use hyper::StatusCode;
use hyper::header::HeaderMap;

use super::peer::Peer;
use crate::Caller;
use crate::mcp::upstream::SESSION;
use crate::mcp::{OpenError, Server};

/// The legacy sessions. Each belongs to the caller and the path that opened it.
pub(super) struct Sessions {
    open: Mutex<HashMap<Box<str>, Entry>>,
    most: usize,
    idle: Duration,
}

struct Entry {
    peer: Peer,
    owner: Owner,
    used: Instant,
}

/// Whose a connection is, and for which path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Owner {
    caller: String,
    server: Option<Box<str>>,
}

impl Owner {
    fn new(caller: &Caller, which: Option<&Arc<Server>>) -> Self {
        Self { caller: caller.key(), server: which.map(|server| server.name().into()) }
    }
}

impl Sessions {
    pub(super) fn new(most: usize, idle: Duration) -> Self {
        Self { open: Mutex::default(), most, idle }
    }

    /// Opens a session and gives its name; the connection back if there are too many.
    pub(super) fn insert(
        &self,
        peer: Peer,
        which: Option<&Arc<Server>>,
        caller: &Caller,
    ) -> Result<String, Peer> {
        let mut random = [0; 24];
        if rand::fill(&mut random).is_err() {
            return Err(peer);
        }
        let name = URL_SAFE_NO_PAD.encode(random);
        let mut open = self.lock();
        if open.len() >= self.most {
            let idle = self.idle;
            open.retain(|_, entry| entry.used.elapsed() < idle && !entry.peer.is_closed());
        }
        if open.len() >= self.most {
            return Err(peer);
        }
        let owner = Owner::new(caller, which);
        open.insert(name.as_str().into(), Entry { peer, owner, used: Instant::now() });
        Ok(name)
    }

    /// The session that the headers name, if it is this caller's: 400 without a name, 404 for any
    /// other, so that a name that leaked is worth nothing.
    pub(super) fn find(
        &self,
        headers: &HeaderMap,
        which: Option<&Arc<Server>>,
        caller: &Caller,
    ) -> Result<Peer, StatusCode> {
        let name = session_name(headers)?;
        let mut open = self.lock();
        let owner = Owner::new(caller, which);
        let entry = open.get_mut(name).filter(|entry| entry.owner == owner).ok_or(StatusCode::NOT_FOUND)?;
        if entry.used.elapsed() >= self.idle || entry.peer.is_closed() {
            open.remove(name);
            return Err(StatusCode::NOT_FOUND);
        }
        entry.used = Instant::now();
        Ok(entry.peer.clone())
    }

    /// Ends the session that the headers name, if it is this caller's.
    pub(super) fn remove(
        &self,
        headers: &HeaderMap,
        which: Option<&Arc<Server>>,
        caller: &Caller,
    ) -> Result<Peer, StatusCode> {
        let peer = self.find(headers, which, caller)?;
        self.lock().remove(session_name(headers)?);
        Ok(peer)
    }

    pub(super) fn take_all(&self) -> Vec<Peer> {
        std::mem::take(&mut *self.lock()).into_values().map(|entry| entry.peer).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Entry>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn session_name(headers: &HeaderMap) -> Result<&str, StatusCode> {
    let mut names = headers.get_all(SESSION).iter();
    let name = names.next().and_then(|name| name.to_str().ok()).ok_or(StatusCode::BAD_REQUEST)?;
    if names.next().is_some() { Err(StatusCode::BAD_REQUEST) } else { Ok(name) }
}

/// The connections of the modern era: one for each caller and path.
pub(super) struct Stateless {
    open: tokio::sync::Mutex<HashMap<Owner, Shared>>,
    most: usize,
    idle: Duration,
}

struct Shared {
    peer: Peer,
    used: Instant,
}

impl Stateless {
    pub(super) fn new(most: usize, idle: Duration) -> Self {
        Self { open: tokio::sync::Mutex::default(), most, idle }
    }

    /// This caller's connection, opened where there is none or its server has gone.
    pub(super) async fn find(
        &self,
        guard: &Guard,
        servers: &BTreeMap<Box<str>, Arc<Server>>,
        which: Option<&Arc<Server>>,
        caller: &Caller,
    ) -> Result<Peer, OpenError> {
        let owner = Owner::new(caller, which);
        let mut open = self.open.lock().await;
        if let Some(shared) = open.get_mut(&owner).filter(|shared| !shared.peer.is_closed()) {
            shared.used = Instant::now();
            return Ok(shared.peer.clone());
        }
        if open.len() >= self.most {
            let idle = self.idle;
            open.retain(|_, shared| shared.used.elapsed() < idle && !shared.peer.is_closed());
        }
        if open.len() >= self.most
            && let Some(oldest) =
                open.iter().min_by_key(|(_, shared)| shared.used).map(|(owner, _)| owner.clone())
        {
            // Requests in flight keep their own handle; the connection ends with the last.
            open.remove(&oldest);
        }
        let peer = Peer::connect(guard, servers, which, caller.clone(), Era::Modern).await?;
        open.insert(owner, Shared { peer: peer.clone(), used: Instant::now() });
        Ok(peer)
    }

    pub(super) fn take_all(&self) -> Vec<Peer> {
        match self.open.try_lock() {
            Ok(mut open) => std::mem::take(&mut *open).into_values().map(|shared| shared.peer).collect(),
            Err(_) => Vec::new(),
        }
    }
}
