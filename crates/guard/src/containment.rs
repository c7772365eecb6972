//! Containing a session and releasing it: narrowing at once and by anybody who may, widening by a
//! named approver once that is on record.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError};

use cordon_core::cbor::Cbor;
use cordon_core::ed25519::Signature;
use cordon_core::{
    CallId, Digest, Encode, Judgement, Obligation, Posture, PostureState, PrincipalKind, RuleRef, SessionId,
    Timestamp,
};
use cordon_ledger::{Level, Receipt};
use cordon_workflow::{Lift, LiftOf};

use crate::Session;
use crate::approvers::BallotError;
use crate::backlog::LateOf;
use crate::declared::Declared;
use crate::guard::{Guard, GuardError, Live, Shared, supported};
use crate::kills::Narrowed;
use crate::ports::StoreDown;
use crate::restraint_records as record;

/// How a session stands: its posture, and how it came to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The session.
    pub session: SessionId,
    /// The name under which the session is found again; whoever opens it anew inherits the posture.
    pub key: Option<Box<str>>,
    /// What it may still do.
    pub posture: Posture,
    /// How often it changed, so that a word about one posture never counts for a later one.
    pub revision: u64,
    /// When it changed.
    pub changed: Timestamp,
    /// What changed it, in words for people.
    pub cause: Box<str>,
    /// Whether the ledger has the change.
    pub recorded: bool,
}

impl Standing {
    /// What a person who releases the session signs: a digest over session, posture and revision.
    pub fn binding(&self) -> Digest {
        let parts = Cbor::Array(vec![
            "cordon/posture/v1".into(),
            Cbor::bytes(*self.session.as_bytes()),
            self.posture.to_cbor(),
            self.revision.into(),
        ]);
        Digest::of(&parts.encode())
    }
}

/// What changed a session's posture.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cause<'c> {
    /// Somebody who may.
    Person(&'c str),
    /// The obligations of a judgement on this call.
    Rules(CallId, &'c [&'c Obligation]),
    /// The session before it under the same name.
    Session(SessionId),
}

impl Cause<'_> {
    /// The rules behind it.
    pub(crate) fn rules(&self) -> Vec<RuleRef> {
        match self {
            Self::Rules(_, obligations) => {
                obligations.iter().flat_map(|obligation| obligation.rules.iter().cloned()).collect()
            }
            _ => Vec::new(),
        }
    }

    fn words(&self) -> Box<str> {
        match self {
            Self::Person(name) => format!("by {name}").into(),
            Self::Session(session) => format!("as {session} before it").into(),
            Self::Rules(call, _) => {
                let rules: Vec<String> = self.rules().iter().map(ToString::to_string).collect();
                format!("by {} on {call}", rules.join(", ")).into()
            }
        }
    }
}

impl Guard {
    /// Narrows a session. It is in force at every door when this returns: nothing waits for the store
    /// or the ledger.
    pub fn contain(
        &self,
        id: SessionId,
        posture: &Posture,
        author: &str,
    ) -> Result<Narrowed<Standing>, GuardError> {
        let shared = &self.shared;
        let live = shared.sessions.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        match live {
            Some(live) => Ok(shared.narrow(&live, posture, Cause::Person(author))),
            // One that is not in memory may be opened again under its name, and inherits.
            None => {
                let session = self.session(id)?;
                let live = match shared.live(id)? {
                    Some(live) => live,
                    None => Arc::new(Live::new(session, shared.store.standing(id)?)),
                };
                Ok(shared.narrow(&live, posture, Cause::Person(author)))
            }
        }
    }

    /// Releases a session from its posture in the name of an approver who signed for it, once that is
    /// recorded durably. A terminated session stays ended; a new one may begin under its name.
    pub async fn release(
        &self,
        lift: &Lift,
        signature: &Signature,
    ) -> Result<(Standing, Receipt), GuardError> {
        let shared = &self.shared;
        let LiftOf::Session(id) = lift.of else { return Err(GuardError::LiftBinding) };
        let session = self.session(id)?;
        let before = self.standing(id)?.filter(|standing| !standing.posture.is_normal());
        let before = before.ok_or(GuardError::NotContained(id))?;
        self.approvers().verify_lift(lift, signature)?;
        let mut members = session.opening.chain.members();
        if members.any(|(_, who)| who.kind == PrincipalKind::Agent && who.id == lift.approver) {
            return Err(BallotError::Requester(lift.approver.clone()).into());
        }
        if before.binding() != lift.binding {
            return Err(GuardError::LiftBinding);
        }
        let draft = record::released(shared, &session, &before, lift, signature);
        let receipt = shared.ledger.append(draft, Level::Durable).await?;
        let _one_at_a_time = shared.narrowing();
        // Something may have been taken meanwhile, and nobody signed for that.
        if self.standing(id)?.is_none_or(|now| now.binding() != lift.binding) {
            return Err(GuardError::LiftBinding);
        }
        if before.posture.state() == PostureState::Terminated {
            shared.forget(id)?;
        }
        let after = Standing {
            posture: Posture::default(),
            revision: before.revision.saturating_add(1),
            changed: shared.clock.now(),
            cause: format!("released by {}", lift.approver).into(),
            recorded: true,
            ..before
        };
        shared.store.keep_standing(&after)?;
        let live = shared.sessions.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(live) = live {
            live.standing.store(Some(Arc::new(after.clone())));
        }
        Ok((after, receipt))
    }

    /// How a session stands; `None` when nothing was ever taken from it.
    pub fn standing(&self, id: SessionId) -> Result<Option<Standing>, GuardError> {
        let live = self.shared.sessions.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        Ok(match live {
            Some(live) => live.standing.load_full().map(|standing| Standing::clone(&standing)),
            None => self.shared.store.standing(id)?,
        })
    }

    /// How the sessions stand from which something was taken, the newest first.
    pub fn standings(&self, most: u32) -> Result<BTreeMap<SessionId, Standing>, GuardError> {
        let kept = self.shared.store.standings(most)?;
        Ok(kept.into_iter().map(|standing| (standing.session, standing)).collect())
    }

    /// Carries out what a judgement asks for about the session itself.
    pub(crate) fn contain_as_judged(&self, live: &Arc<Live>, call: CallId, judgement: &Judgement) {
        let due: Vec<&Obligation> =
            judgement.obligations.iter().filter(|due| due.kind.is_containing()).collect();
        if !due.is_empty() {
            self.narrow_by(live, call, &due);
        }
    }

    /// Watches a session more closely when a judgement asks for it.
    pub(crate) fn watch_as_judged(&self, live: &Arc<Live>, call: CallId, judgement: &Judgement) {
        let due: Vec<&Obligation> =
            judgement.obligations.iter().filter(|due| due.kind.name() == "monitor").collect();
        if !due.is_empty() {
            self.narrow_by(live, call, &due);
        }
    }

    fn narrow_by(&self, live: &Arc<Live>, call: CallId, due: &[&Obligation]) {
        let postures = due.iter().filter_map(|due| Posture::of_obligation(&due.kind));
        let posture = postures.fold(Posture::default(), |all, one| all.join(&one));
        self.shared.narrow(live, &posture, Cause::Rules(call, due));
    }

    /// Tries again what the store did not take.
    pub(crate) fn keep_again(&self) {
        let shared = &self.shared;
        shared.keep_kills_again();
        shared.keep_pasts_in_time();
        let unkept = std::mem::take(&mut *shared.unkept.lock().unwrap_or_else(PoisonError::into_inner));
        for live in unkept {
            let _one_at_a_time = shared.narrowing();
            if let Some(standing) = live.standing.load_full()
                && shared.store.keep_standing(&standing).is_err()
            {
                shared.unkept.lock().unwrap_or_else(PoisonError::into_inner).push(live);
            }
        }
    }

    /// Remembers that the ledger has a change.
    pub(crate) fn on_record(&self, of: LateOf) {
        match of {
            LateOf::Kill(id) => self.shared.kill_on_record(id),
            LateOf::Posture(session, revision) => self.shared.posture_on_record(session, revision),
            LateOf::Other => {}
        }
    }
}

impl Live {
    /// An open session that stands like this.
    pub(crate) fn new(session: Session, standing: Option<Standing>) -> Self {
        Self {
            supported: supported(&session),
            declared: Declared::of(&session.opening.declared),
            session: Arc::new(session),
            calls: Default::default(),
            standing: Arc::new(arc_swap::ArcSwapOption::from_pointee(standing)),
            exposure: Arc::default(),
            readings: Arc::default(),
            profile: OnceLock::new(),
        }
    }

    /// The same session with what a fresh credential says; counts and posture stay one.
    pub(crate) fn renewed(&self, session: Session) -> Self {
        Self {
            supported: supported(&session),
            declared: Declared::of(&session.opening.declared),
            session: Arc::new(session),
            calls: Arc::clone(&self.calls),
            standing: Arc::clone(&self.standing),
            exposure: Arc::clone(&self.exposure),
            readings: Arc::clone(&self.readings),
            profile: self.profile.clone(),
        }
    }

    /// What the session may still do.
    pub(crate) fn posture(&self) -> Posture {
        let standing = self.standing.load();
        standing.as_ref().map_or_else(Posture::default, |standing| standing.posture.clone())
    }

    /// How far the session is contained.
    pub(crate) fn state(&self) -> PostureState {
        let standing = self.standing.load();
        standing.as_ref().map_or(PostureState::Normal, |standing| standing.posture.state())
    }
}

impl Shared {
    /// Narrows an open session at once; nothing changes when everything was taken already.
    pub(crate) fn narrow(&self, live: &Arc<Live>, posture: &Posture, cause: Cause<'_>) -> Narrowed<Standing> {
        let _one_at_a_time = self.narrowing();
        let before = live.standing.load_full();
        let had = before.as_ref().map(|standing| standing.posture.clone()).unwrap_or_default();
        let narrower = had.join(posture);
        let revision = before.as_ref().map_or(0, |standing| standing.revision);
        if narrower == had {
            let now = before.map(|standing| Standing::clone(&standing));
            let now = now.unwrap_or_else(|| self.stand(live, narrower, revision, cause));
            return Narrowed { now, receipt: None, kept: true };
        }
        let standing = self.stand(live, narrower, revision.saturating_add(1), cause);
        live.standing.store(Some(Arc::new(standing.clone())));
        self.gate.narrowed();
        let kept = self.store.keep_standing(&standing).is_ok();
        if !kept {
            self.unkept.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(live));
        }
        let draft = record::contained(self, live, &standing, cause);
        let of = LateOf::Posture(standing.session, standing.revision);
        let receipt = self.backlog.add(&*self.ledger, draft, of);
        Narrowed { now: standing, receipt: Some(receipt), kept }
    }

    /// The posture that a session which is opened anew under its name inherits.
    pub(crate) fn inherited(&self, session: &Session) -> Result<Option<Standing>, StoreDown> {
        let Some(key) = &session.opening.key else { return Ok(None) };
        self.store.standing_by_key(key)
    }

    fn stand(&self, live: &Live, posture: Posture, revision: u64, cause: Cause<'_>) -> Standing {
        Standing {
            session: live.session.id,
            key: live.session.opening.key.clone(),
            posture,
            revision,
            changed: self.clock.now(),
            cause: cause.words(),
            recorded: false,
        }
    }

    fn posture_on_record(&self, id: SessionId, revision: u64) {
        let _one_at_a_time = self.narrowing();
        let live = self.sessions.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        let standing = live.as_ref().and_then(|live| live.standing.load_full());
        if let (Some(live), Some(standing)) = (live, standing)
            && standing.revision == revision
        {
            live.standing.store(Some(Arc::new(Standing { recorded: true, ..Standing::clone(&standing) })));
        }
        // If this is not kept, the next start records the change once more, which does no harm.
        drop(self.store.standing_recorded(id, revision));
    }
}
