//! The guard's ports in memory: a clock moved by hand, a ledger that can be made to fail.

use std::collections::HashMap;
use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cordon_core::{ActionName, ApprovalId, Digest, Duration, SessionId, Timestamp};
use cordon_guard::ports::{
    Clock, Ledger, LedgerDown, Observations, PortFuture, Random, Restraints, Shown, Store, StoreDown,
};
use cordon_guard::{Kill, Session, Standing};
use cordon_ledger::{Draft, Level, Receipt};
use cordon_workflow::{Approval, Event, Progress};

/// A clock that moves only when it is told to.
#[derive(Debug)]
pub struct HandClock(AtomicU64);

impl HandClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicU64::new(now.as_micros()))
    }

    /// Moves the clock forward.
    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(span.as_micros(), Ordering::SeqCst);
    }

    /// Shows another time from now on, earlier or later.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Bytes that never repeat and can be foretold from the seed.
#[derive(Debug)]
pub struct SeededRandom(AtomicU64);

impl SeededRandom {
    /// The source with this seed.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let count = self.0.fetch_add(1, Ordering::SeqCst);
            let digest = Digest::of(&count.to_be_bytes());
            for (to, from) in chunk.iter_mut().zip(digest.as_bytes()) {
                *to = *from;
            }
        }
    }
}

/// A ledger that keeps its drafts in memory.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    drafts: Mutex<Vec<(Draft, Level)>>,
    down: AtomicBool,
}

impl MemoryLedger {
    /// Makes every later append fail, or work again.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Everything that was appended, with the level asked for.
    pub fn drafts(&self) -> Vec<(Draft, Level)> {
        lock(&self.drafts).clone()
    }
}

impl Ledger for MemoryLedger {
    fn append(&self, draft: Draft, level: Level) -> PortFuture<Result<Receipt, LedgerDown>> {
        if self.down.load(Ordering::SeqCst) {
            return Box::pin(ready(Err(LedgerDown("switched off by the test".to_owned()))));
        }
        let mut drafts = lock(&self.drafts);
        let receipt = Receipt { id: draft.id(), level, index: Some(drafts.len() as u64) };
        drafts.push((draft, level));
        Box::pin(ready(Ok(receipt)))
    }
}

/// A state store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    sessions: HashMap<SessionId, Session>,
    approvals: HashMap<ApprovalId, (Approval, Shown)>,
    pins: HashMap<ActionName, Digest>,
    epochs: HashMap<String, (u64, Digest)>,
    kills: Vec<Kill>,
    /// In order of their changes.
    standings: Vec<Standing>,
    observations: HashMap<String, Vec<u8>>,
    down: bool,
}

impl MemoryStore {
    /// Makes every later use of kill switches and postures fail, or work again.
    pub fn set_down(&self, down: bool) {
        lock(&self.0).down = down;
    }
}

impl Tables {
    fn up(&mut self) -> Result<&mut Self, StoreDown> {
        if self.down { Err(StoreDown("switched off by the test".to_owned())) } else { Ok(self) }
    }
}

impl Restraints for MemoryStore {
    fn kills(&self) -> Result<Vec<Kill>, StoreDown> {
        lock(&self.0).up().map(|tables| tables.kills.clone())
    }

    fn keep_kills(&self, kills: &[Kill]) -> Result<(), StoreDown> {
        lock(&self.0).up()?.kills = kills.to_vec();
        Ok(())
    }

    fn standing(&self, session: SessionId) -> Result<Option<Standing>, StoreDown> {
        Ok(lock(&self.0).standings.iter().find(|one| one.session == session).cloned())
    }

    fn standing_by_key(&self, key: &str) -> Result<Option<Standing>, StoreDown> {
        let tables = lock(&self.0);
        Ok(tables.standings.iter().rev().find(|one| one.key.as_deref() == Some(key)).cloned())
    }

    fn standings(&self, most: u32) -> Result<Vec<Standing>, StoreDown> {
        let tables = lock(&self.0);
        let narrowed = tables.standings.iter().rev().filter(|one| !one.posture.is_normal());
        Ok(narrowed.take(most as usize).cloned().collect())
    }

    fn keep_standing(&self, standing: &Standing) -> Result<(), StoreDown> {
        let mut tables = lock(&self.0);
        let standings = &mut tables.up()?.standings;
        standings.retain(|one| one.session != standing.session);
        standings.push(standing.clone());
        Ok(())
    }

    fn standing_recorded(&self, session: SessionId, revision: u64) -> Result<(), StoreDown> {
        let mut tables = lock(&self.0);
        let mut standings = tables.up()?.standings.iter_mut();
        if let Some(one) = standings.find(|one| one.session == session && one.revision == revision) {
            one.recorded = true;
        }
        Ok(())
    }

    fn unrecorded(&self) -> Result<Vec<Standing>, StoreDown> {
        Ok(lock(&self.0).standings.iter().filter(|one| !one.recorded).cloned().collect())
    }
}

impl Observations for MemoryStore {
    fn observation(&self, name: &str) -> Result<Option<Vec<u8>>, StoreDown> {
        Ok(lock(&self.0).observations.get(name).cloned())
    }

    fn keep_observation(&self, name: &str, observed: &[u8]) -> Result<(), StoreDown> {
        lock(&self.0).observations.insert(name.to_owned(), observed.to_vec());
        Ok(())
    }
}

impl Store for MemoryStore {
    fn insert_session(&self, session: &Session) -> Result<(), StoreDown> {
        lock(&self.0).sessions.insert(session.id, session.clone());
        Ok(())
    }

    fn session(&self, id: SessionId) -> Result<Option<Session>, StoreDown> {
        Ok(lock(&self.0).sessions.get(&id).cloned())
    }

    fn session_by_key(&self, key: &str) -> Result<Option<Session>, StoreDown> {
        let tables = lock(&self.0);
        let open = tables.sessions.values().filter(|session| session.closed.is_none());
        Ok(open
            .filter(|session| session.opening.key.as_deref() == Some(key))
            .max_by_key(|s| s.opened)
            .cloned())
    }

    fn sessions(&self, most: u32) -> Result<Vec<Session>, StoreDown> {
        Ok(lock(&self.0).sessions.values().take(most as usize).cloned().collect())
    }

    fn close_session(&self, id: SessionId, at: Timestamp) -> Result<(), StoreDown> {
        if let Some(session) = lock(&self.0).sessions.get_mut(&id) {
            session.closed.get_or_insert(at);
        }
        Ok(())
    }

    fn insert_approval(&self, approval: &Approval, shown: &Shown) -> Result<(), StoreDown> {
        lock(&self.0).approvals.insert(approval.terms.id, (approval.clone(), shown.clone()));
        Ok(())
    }

    fn approval(&self, id: ApprovalId) -> Result<Option<(Approval, Shown)>, StoreDown> {
        Ok(lock(&self.0).approvals.get(&id).cloned())
    }

    fn approval_for(&self, binding: Digest, now: Timestamp) -> Result<Option<Approval>, StoreDown> {
        let tables = lock(&self.0);
        let fits = |approval: &&Approval| {
            approval.terms.binding == binding
                && approval.terms.expires > now
                && matches!(approval.progress, Progress::Pending { .. } | Progress::Granted { .. })
        };
        Ok(tables.approvals.values().map(|(approval, _)| approval).find(fits).cloned())
    }

    fn approvals_waiting(&self, session: SessionId, now: Timestamp) -> Result<u32, StoreDown> {
        let tables = lock(&self.0);
        let waits = |approval: &&Approval| {
            approval.terms.session == session
                && approval.terms.expires > now
                && matches!(approval.progress, Progress::Pending { .. })
        };
        let count = tables.approvals.values().map(|(approval, _)| approval).filter(waits).count();
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn approvals(&self, most: u32) -> Result<Vec<(Approval, Shown)>, StoreDown> {
        Ok(lock(&self.0).approvals.values().take(most as usize).cloned().collect())
    }

    fn apply(
        &self,
        id: ApprovalId,
        event: Event,
        now: Timestamp,
    ) -> Result<Option<(Approval, Approval)>, StoreDown> {
        let mut tables = lock(&self.0);
        let Some((approval, _)) = tables.approvals.get_mut(&id) else { return Ok(None) };
        let before = approval.clone();
        *approval = before.clone().apply(event, now);
        Ok(Some((before, approval.clone())))
    }

    fn pin(&self, tool: &ActionName) -> Result<Option<Digest>, StoreDown> {
        Ok(lock(&self.0).pins.get(tool).copied())
    }

    fn accept_pin(&self, tool: &ActionName, pin: Digest) -> Result<(), StoreDown> {
        lock(&self.0).pins.insert(tool.clone(), pin);
        Ok(())
    }

    fn last_epoch(&self, role: &str) -> Result<Option<(u64, Digest)>, StoreDown> {
        Ok(lock(&self.0).epochs.get(role).copied())
    }

    fn accept_epoch(&self, role: &str, epoch: u64, digest: Digest) -> Result<(), StoreDown> {
        lock(&self.0).epochs.insert(role.to_owned(), (epoch, digest));
        Ok(())
    }
}

/// The ports of one test, with handles to move time and break the ledger.
#[derive(Clone)]
pub struct TestPorts {
    /// The clock.
    pub clock: Arc<HandClock>,
    /// The ledger.
    pub ledger: Arc<MemoryLedger>,
    /// The store.
    pub store: Arc<MemoryStore>,
    /// Random bytes from a seed.
    pub random: Arc<SeededRandom>,
}

impl TestPorts {
    /// Ports at 2026-01-01T00:00:00Z with an empty store and ledger.
    pub fn new() -> Self {
        Self {
            clock: Arc::new(HandClock::new(Timestamp::from_micros(1_767_225_600_000_000))),
            ledger: Arc::default(),
            store: Arc::default(),
            random: Arc::new(SeededRandom::new(1)),
        }
    }

    /// The ports as a guard takes them.
    pub fn ports(&self) -> cordon_guard::Ports {
        cordon_guard::Ports {
            clock: Arc::clone(&self.clock) as _,
            random: Arc::clone(&self.random) as _,
            ledger: Arc::clone(&self.ledger) as _,
            store: Arc::clone(&self.store) as _,
        }
    }
}

impl Default for TestPorts {
    fn default() -> Self {
        Self::new()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
