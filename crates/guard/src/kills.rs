//! Kill switches: turned at once, before and whether or not the ledger can be written; lifted by a
//! named approver, once that is on record.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use cordon_core::cbor::Cbor;
use cordon_core::ed25519::Signature;
use cordon_core::{
    Digest, Effect, Encode, KillId, KillOrder, KillOrigin, KillSwitch, KillTarget, Request, Timestamp,
};
use cordon_ledger::{Level, Receipt};
use cordon_workflow::{Lift, LiftOf};

use crate::backlog::LateOf;
use crate::guard::{Guard, GuardError, Shared};
use crate::ports::{Draw, StoreDown};
use crate::restraint_records as record;

/// Most kill switches that are on at once.
pub const KILLS_MAX: usize = 1_000;

/// One kill switch that is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// Its identifier.
    pub id: KillId,
    /// What is off, for whom, and by what.
    pub switch: KillSwitch,
    /// Who turned it.
    pub by: Box<str>,
    /// When.
    pub since: Timestamp,
    /// Whether the ledger has it.
    pub recorded: bool,
}

impl Kill {
    /// What a person who lifts it signs: a digest over identifier, switch and time.
    pub fn binding(&self) -> Digest {
        let parts = Cbor::Array(vec![
            "cordon/kill/v1".into(),
            Cbor::bytes(*self.id.as_bytes()),
            self.switch.to_cbor(),
            self.since.as_micros().into(),
        ]);
        Digest::of(&parts.encode())
    }
}

/// A narrowing that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Narrowed<T> {
    /// What is in force.
    pub now: T,
    /// Its record, on its way into the ledger; none when nothing changed.
    pub receipt: Option<Receipt>,
    /// Whether it survives a restart; if not yet, it is tried again until it does.
    pub kept: bool,
}

/// A kill bundle that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillsLoaded {
    /// How many switches it turned.
    pub on: usize,
    /// How many of the bundle before it lifted.
    pub lifted: usize,
    /// Its record.
    pub receipt: Receipt,
}

/// The switches that are on.
#[derive(Debug)]
pub(crate) struct Kills {
    on: ArcSwap<Vec<Kill>>,
    /// The store has not taken what is on.
    unkept: AtomicBool,
}

impl Kills {
    /// The switches that were kept; when they cannot be read, everything is off.
    pub(crate) fn restore(kept: Result<Vec<Kill>, StoreDown>, now: Timestamp) -> Self {
        let on = kept.unwrap_or_else(|down| {
            let switch = KillSwitch {
                target: KillTarget::Effect(Effect::Read),
                agent: None,
                tenant: None,
                origin: KillOrigin::Unreadable,
            };
            let by = down.to_string().into();
            vec![Kill { id: KillId::from_bytes([0; 16]), switch, by, since: now, recorded: true }]
        });
        Self { on: ArcSwap::from_pointee(on), unkept: AtomicBool::new(false) }
    }

    /// The switches that cover a request; no lock is taken and nothing is read from the store.
    pub(crate) fn covering(&self, request: &Request) -> Vec<KillSwitch> {
        let on = self.on.load();
        if on.is_empty() {
            return Vec::new();
        }
        on.iter().filter(|kill| kill.switch.covers(request)).map(|kill| kill.switch.clone()).collect()
    }
}

impl Guard {
    /// The kill switches that are on, in the order in which they were turned.
    pub fn kills(&self) -> Arc<Vec<Kill>> {
        self.shared.kills.on.load_full()
    }

    /// Switches something off. It is in force at every door when this returns: nothing waits for the
    /// store or the ledger.
    pub fn kill(&self, order: KillOrder, author: &str) -> Result<Narrowed<Kill>, GuardError> {
        let KillOrder { target, agent, tenant } = order;
        let switch = KillSwitch { target, agent, tenant, origin: KillOrigin::Order };
        let shared = &self.shared;
        let _one_at_a_time = shared.narrowing();
        let mut on = Vec::clone(&shared.kills.on.load());
        if let Some(same) = on.iter().find(|kill| kill.switch == switch) {
            let kept = !shared.kills.unkept.load(Ordering::SeqCst);
            return Ok(Narrowed { now: same.clone(), receipt: None, kept });
        }
        if on.len() >= KILLS_MAX {
            return Err(GuardError::TooManyKills(KILLS_MAX));
        }
        let since = shared.clock.now();
        let id = KillId::new(since, &mut Draw(&*shared.random));
        let kill = Kill { id, switch, by: author.into(), since, recorded: false };
        on.push(kill.clone());
        let kept = shared.switch(on);
        let draft = record::kill_turned(shared, &kill);
        let receipt = shared.backlog.add(&*shared.ledger, draft, LateOf::Kill(id));
        Ok(Narrowed { now: kill, receipt: Some(receipt), kept })
    }

    /// Lifts a switch that a person turned, in the name of an approver who signed for it, once that
    /// is recorded durably.
    pub async fn unkill(&self, lift: &Lift, signature: &Signature) -> Result<(Kill, Receipt), GuardError> {
        let shared = &self.shared;
        let LiftOf::Kill(id) = lift.of else { return Err(GuardError::LiftBinding) };
        let kill = self.kills().iter().find(|kill| kill.id == id).cloned();
        let kill = kill.ok_or(GuardError::UnknownKill(id))?;
        if let KillOrigin::Bundle { epoch } = kill.switch.origin {
            return Err(GuardError::KillOfBundle(epoch));
        }
        self.approvers().verify_lift(lift, signature)?;
        if kill.binding() != lift.binding {
            return Err(GuardError::LiftBinding);
        }
        let draft = record::kill_lifted(shared, &kill, lift, signature);
        let receipt = shared.ledger.append(draft, Level::Durable).await?;
        let _one_at_a_time = shared.narrowing();
        let mut on = Vec::clone(&shared.kills.on.load());
        on.retain(|kill| kill.id != id);
        // What is not kept would come back with a restart, so it stays on until it is.
        shared.store.keep_kills(&on)?;
        shared.kills.unkept.store(false, Ordering::SeqCst);
        shared.kills.on.store(Arc::new(on));
        Ok((kill, receipt))
    }

    /// Puts the switches of a verified kill bundle in force. What it turns is in force at once, what
    /// an older bundle had turned and it does not name is lifted once that is recorded durably.
    pub async fn load_kills(
        &self,
        epoch: u64,
        digest: Digest,
        orders: &BTreeSet<KillOrder>,
    ) -> Result<KillsLoaded, GuardError> {
        let shared = &self.shared;
        let origin = KillOrigin::Bundle { epoch };
        self.turn_all(orders, origin)?;
        let draft = record::kill_bundle(shared, epoch, digest, orders);
        let receipt = match shared.ledger.append(draft.clone(), Level::Durable).await {
            Ok(receipt) => receipt,
            Err(down) => {
                shared.backlog.add(&*shared.ledger, draft, LateOf::Other);
                return Err(GuardError::KillsNotLifted(down));
            }
        };
        let _one_at_a_time = shared.narrowing();
        let before = shared.kills.on.load_full();
        let of_bundle = |kill: &Kill| matches!(kill.switch.origin, KillOrigin::Bundle { .. });
        let on: Vec<Kill> =
            before.iter().filter(|kill| !of_bundle(kill) || kill.switch.origin == origin).cloned().collect();
        let named = |kill: &&Kill| {
            let KillSwitch { target, agent, tenant, .. } = kill.switch.clone();
            !orders.contains(&KillOrder { target, agent, tenant })
        };
        let lifted = before.iter().filter(|kill| of_bundle(kill)).filter(named).count();
        shared.store.keep_kills(&on)?;
        shared.kills.unkept.store(false, Ordering::SeqCst);
        shared.kills.on.store(Arc::new(on));
        Ok(KillsLoaded { on: orders.len(), lifted, receipt })
    }

    /// Turns every switch of a bundle in one step.
    fn turn_all(&self, orders: &BTreeSet<KillOrder>, origin: KillOrigin) -> Result<(), GuardError> {
        let shared = &self.shared;
        let _one_at_a_time = shared.narrowing();
        let mut on = Vec::clone(&shared.kills.on.load());
        let since = shared.clock.now();
        for order in orders {
            let KillOrder { target, agent, tenant } = order.clone();
            let switch = KillSwitch { target, agent, tenant, origin };
            if on.iter().all(|kill| kill.switch != switch) {
                let id = KillId::new(since, &mut Draw(&*shared.random));
                // The bundle's own record speaks for all of its switches.
                on.push(Kill { id, switch, by: "kill bundle".into(), since, recorded: true });
            }
        }
        if on.len() > KILLS_MAX.saturating_mul(2) {
            return Err(GuardError::TooManyKills(KILLS_MAX));
        }
        shared.switch(on);
        Ok(())
    }

    /// Ends once every call has left that began to leave before this was called.
    pub async fn departed(&self) {
        self.shared.gate.emptied().await;
    }
}

impl Shared {
    /// Puts more switches in force, then keeps them; whether the store took them.
    fn switch(&self, on: Vec<Kill>) -> bool {
        let on = Arc::new(on);
        self.kills.on.store(Arc::clone(&on));
        self.gate.narrowed();
        let kept = self.store.keep_kills(&on).is_ok();
        self.kills.unkept.store(!kept, Ordering::SeqCst);
        kept
    }

    /// Keeps the switches that the store did not take.
    pub(crate) fn keep_kills_again(&self) {
        if !self.kills.unkept.load(Ordering::SeqCst) {
            return;
        }
        let _one_at_a_time = self.narrowing();
        let kept = self.store.keep_kills(&self.kills.on.load()).is_ok();
        self.kills.unkept.store(!kept, Ordering::SeqCst);
    }

    /// Remembers that the ledger has a switch.
    pub(crate) fn kill_on_record(&self, id: KillId) {
        let _one_at_a_time = self.narrowing();
        let mut on = Vec::clone(&self.kills.on.load());
        if let Some(kill) = on.iter_mut().find(|kill| kill.id == id) {
            kill.recorded = true;
            let kept = self.store.keep_kills(&on).is_ok();
            self.kills.unkept.store(!kept, Ordering::SeqCst);
            self.kills.on.store(Arc::new(on));
        }
    }
}
