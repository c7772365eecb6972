//! The guard itself: the ports it was given, the policies in force, and the sessions it knows.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use cordon_core::{
    ActionName, ApprovalId, CallId, Digest, KillId, PostureState, RecordId, SessionId, Timestamp,
};
use cordon_inspect::SignFinder;
use cordon_ledger::{Level, Receipt};
use cordon_pdp::PolicySet;
use cordon_workflow::{Answer, Approval, Ballot, Event, Progress};

use crate::approvers::{Approvers, BallotError};
use crate::backlog::{Backlog, LateOf};
use crate::capabilities::{Capabilities, RefusedToken};
use crate::containment::{Cause, Standing};
use crate::declared::Declared;
use crate::gate::Gate;
use crate::kills::Kills;
use crate::ports::{Clock, Draw, Ledger, LedgerDown, Random, Shown, Store, StoreDown};
use crate::readings::Readings;
use crate::record::{self, AdminAct};
use crate::restraint_records;
use crate::risk::{Exposure, Profile, Profiles};
use crate::shadow::ShadowPolicies;
use crate::throttle::Throttle;
use crate::tools::{Change, Described, ListedTool, Tool, Tools};
use crate::watch::Watch;
use crate::{Opening, Session};

/// The ports that a guard is given.
#[derive(Clone)]
pub struct Ports {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub random: Arc<dyn Random>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// The state store.
    pub store: Arc<dyn Store>,
}

/// The policies in force and where they came from.
#[derive(Debug)]
pub struct ActivePolicies {
    /// The compiled policies.
    pub set: PolicySet,
    /// The bundle's epoch; none for unsigned source.
    pub epoch: Option<u64>,
    /// Whether the bundle's signatures held.
    pub signed: bool,
}

/// How long approvals and holds last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardLimits {
    /// How long an approval may stay unanswered or unspent, in seconds.
    pub approval_s: u32,
    /// Most sessions that are open at once.
    pub sessions_max: u32,
    /// Most approvals of one session that wait for an answer at once.
    pub approvals_waiting_max: u32,
}

impl Default for GuardLimits {
    fn default() -> Self {
        Self { approval_s: 900, sessions_max: 100_000, approvals_waiting_max: 32 }
    }
}

/// The one enforcement path; cheap to clone.
#[derive(Clone)]
pub struct Guard {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) policies: ArcSwap<ActivePolicies>,
    pub(crate) shadow: ArcSwapOption<ShadowPolicies>,
    pub(crate) approvers: ArcSwap<Approvers>,
    pub(crate) tools: Tools,
    pub(crate) described: Described,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) watch: Watch,
    /// The kill switches that are on.
    pub(crate) kills: Kills,
    /// Where calls leave.
    pub(crate) gate: Arc<Gate>,
    /// Records that follow what is in force already.
    pub(crate) backlog: Backlog,
    /// Sessions whose posture the store has not taken.
    pub(crate) unkept: Mutex<Vec<Arc<Live>>>,
    /// Held while kill switches or a posture change, so that no change is lost.
    narrowing: Mutex<()>,
    pub(crate) capabilities: Capabilities,
    pub(crate) signs: SignFinder,
    /// What is known of agents from their past.
    pub(crate) profiles: Profiles,
    pub(crate) limits: GuardLimits,
    /// Open sessions by identifier; the store is the truth, this saves a query for each call.
    pub(crate) sessions: RwLock<HashMap<SessionId, Arc<Live>>>,
    /// Held while a held call is asked for, so that two identical calls share one approval.
    pub(crate) asking: Mutex<()>,
}

/// An open session and what is counted in it.
pub(crate) struct Live {
    pub(crate) session: Arc<Session>,
    /// The obligations that its door and the guard carry out.
    pub(crate) supported: BTreeSet<&'static str>,
    /// The tools that it brought along.
    pub(crate) declared: Declared,
    pub(crate) calls: Arc<AtomicU64>,
    /// How it stands; nothing when nothing was ever taken from it.
    pub(crate) standing: Arc<ArcSwapOption<Standing>>,
    /// What its context was exposed to, once that is looked at.
    pub(crate) exposure: Arc<Mutex<Option<Exposure>>>,
    /// What was read for it just before.
    pub(crate) readings: Arc<Readings>,
    /// The past of its agent, once that is looked at.
    pub(crate) profile: OnceLock<Arc<Mutex<Profile>>>,
}

/// Something could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The state store failed.
    #[error(transparent)]
    Store(#[from] StoreDown),
    /// The ledger cannot be written.
    #[error(transparent)]
    Ledger(#[from] LedgerDown),
    /// A session names no owner or no agent.
    #[error("a session needs an owner and an agent")]
    Principals,
    /// Too many sessions are open.
    #[error("more than {0} sessions are open; close some, or raise `limits.sessions_max`")]
    TooManySessions(u32),
    /// There is no such session.
    #[error("there is no session `{0}`")]
    UnknownSession(SessionId),
    /// There is no such approval.
    #[error("there is no approval `{0}`")]
    UnknownApproval(ApprovalId),
    /// Too many approvals of one caller wait.
    #[error(
        "{0} approvals of this caller wait for an answer already; wait until some are answered or expire"
    )]
    TooManyWaiting(u32),
    /// The answer does not count.
    #[error(transparent)]
    Ballot(#[from] BallotError),
    /// The answer is for another call than the one that is held.
    #[error("the answer is bound to another call than approval `{0}`")]
    Binding(ApprovalId),
    /// The approval is settled, or this person may not answer it.
    #[error("approval `{id}` is {progress}; this answer changes nothing ({why})")]
    Unchanged {
        /// The approval.
        id: ApprovalId,
        /// How far it got.
        progress: &'static str,
        /// Why the answer changes nothing.
        why: &'static str,
    },
    /// There is no such kill switch.
    #[error("no kill switch `{0}` is on; `cordon kill ls` lists them")]
    UnknownKill(KillId),
    /// The kill switch is a bundle's.
    #[error("kill bundle {0} turned this switch; only a newer kill bundle lifts it")]
    KillOfBundle(u64),
    /// Too many kill switches are on.
    #[error("{0} kill switches are on; lift some, or turn one that covers more")]
    TooManyKills(usize),
    /// The switches of a kill bundle are on, and those that it lifts are, too.
    #[error("the bundle's switches are on; what it lifts stays off until that is recorded: {0}")]
    KillsNotLifted(LedgerDown),
    /// Nothing was taken from the session.
    #[error("nothing was taken from session `{0}`")]
    NotContained(SessionId),
    /// The word is about something else than what is in force.
    #[error("the signature is for another state than the one in force; look again, and sign again")]
    LiftBinding,
    /// The session may do nothing any more.
    #[error("session `{0}` is terminated, and nothing is granted to it")]
    Terminated(SessionId),
    /// A capability token cannot be granted.
    #[error(transparent)]
    Token(RefusedToken),
    /// There is no such tool.
    #[error("no server listed the tool `{0}`; connect it once so that it is listed")]
    UnknownTool(ActionName),
}

impl Guard {
    /// A guard over these ports with these policies in force.
    pub fn new(ports: Ports, policies: ActivePolicies, approvers: Approvers, limits: GuardLimits) -> Self {
        let Ports { clock, random, ledger, store } = ports;
        let capabilities = Capabilities::new(&*random);
        let kills = Kills::restore(store.kills(), clock.now());
        let guard = Self {
            shared: Arc::new(Shared {
                clock,
                random,
                ledger,
                store,
                policies: ArcSwap::from_pointee(policies),
                shadow: ArcSwapOption::empty(),
                approvers: ArcSwap::from_pointee(approvers),
                tools: Tools::default(),
                described: Described::default(),
                throttle: Arc::new(Throttle::default()),
                watch: Watch::default(),
                kills,
                gate: Arc::default(),
                backlog: Backlog::default(),
                unkept: Mutex::default(),
                narrowing: Mutex::default(),
                capabilities,
                signs: SignFinder::default(),
                profiles: Profiles::default(),
                limits,
                sessions: RwLock::default(),
                asking: Mutex::new(()),
            }),
        };
        guard.record_again();
        guard
    }

    /// Hands to the ledger what was in force before the last end and is not known to be on record.
    fn record_again(&self) {
        let shared = &self.shared;
        for kill in self.kills().iter().filter(|kill| !kill.recorded) {
            let draft = restraint_records::kill_turned(shared, kill);
            shared.backlog.add(&*shared.ledger, draft, LateOf::Kill(kill.id));
        }
        for standing in shared.store.unrecorded().unwrap_or_default() {
            let (session, revision) = (standing.session, standing.revision);
            if let Ok(Some(found)) = shared.store.session(session) {
                let live = Live::new(found, Some(standing.clone()));
                let draft = restraint_records::contained(shared, &live, &standing, Cause::Person("cordon"));
                shared.backlog.add(&*shared.ledger, draft, LateOf::Posture(session, revision));
            }
        }
    }

    /// The time now, by the guard's clock.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// The policies in force.
    pub fn policies(&self) -> Arc<ActivePolicies> {
        self.shared.policies.load_full()
    }

    /// The approvers who are trusted.
    pub fn approvers(&self) -> Arc<Approvers> {
        self.shared.approvers.load_full()
    }

    /// Puts policies in force, once the change is recorded durably.
    pub async fn activate(&self, policies: ActivePolicies, author: &str) -> Result<Receipt, GuardError> {
        let before = self.policies().set.digest();
        let act =
            AdminAct::Bundle { before: Some(before), after: policies.set.digest(), epoch: policies.epoch };
        let receipt = self.administer(act, author).await?;
        self.shared.policies.store(Arc::new(policies));
        Ok(receipt)
    }

    /// Trusts these approvers, once the change is recorded durably.
    pub async fn trust(
        &self,
        approvers: Approvers,
        author: &str,
        digests: [Option<Digest>; 2],
    ) -> Result<Receipt, GuardError> {
        let [before, after] = digests;
        let receipt = self.administer(AdminAct::Keys { before, after }, author).await?;
        self.shared.approvers.store(Arc::new(approvers));
        Ok(receipt)
    }

    /// Records an administrative change durably.
    pub async fn administer(&self, act: AdminAct, author: &str) -> Result<Receipt, GuardError> {
        let draft = record::admin(&self.shared, &act, author);
        Ok(self.shared.ledger.append(draft, Level::Durable).await?)
    }

    /// Opens a session, or finds the open one of the same key.
    pub async fn open(&self, opening: Opening) -> Result<Arc<Session>, GuardError> {
        if opening.chain.owner().is_none() || opening.chain.agent().is_none() {
            return Err(GuardError::Principals);
        }
        let now = self.now();
        if let Some(found) = self.shared.reopen(&opening, now)? {
            return Ok(found);
        }
        if self.shared.live_count() >= self.shared.limits.sessions_max as usize {
            return Err(GuardError::TooManySessions(self.shared.limits.sessions_max));
        }
        let id = SessionId::new(now, &mut Draw(&*self.shared.random));
        let session = Session { id, opening, opened: now, closed: None };
        let draft = record::session_opened(&self.shared, &session);
        self.shared.ledger.append(draft, Level::Durable).await?;
        self.shared.store.insert_session(&session)?;
        let inherited = self.shared.inherited(&session)?.filter(|before| !before.posture.is_normal());
        let live = {
            let mut sessions = self.shared.sessions.write().unwrap_or_else(PoisonError::into_inner);
            let live = Arc::new(Live::new(session, None));
            // Ending a session and beginning another under its name gives nothing back.
            if let Some(before) = &inherited {
                self.shared.narrow(&live, &before.posture, Cause::Session(before.session));
            }
            self.shared.remember(&mut sessions, live)
        };
        Ok(Arc::clone(&live.session))
    }

    /// Ends a session: no call that begins after this returns is permitted in it.
    pub fn close(&self, id: SessionId) -> Result<(), GuardError> {
        let session = self.shared.live(id)?.ok_or(GuardError::UnknownSession(id))?;
        let forgotten = self.shared.forget(id);
        self.shared.gate.narrowed();
        forgotten?;
        self.shared.throttle.forget(id);
        self.shared.keep_past(&session);
        // Narrowing never waits for its record.
        drop(
            self.shared
                .ledger
                .append(record::session_closed(&self.shared, &session.session), Level::Accepted),
        );
        Ok(())
    }

    /// The newest sessions.
    pub fn sessions(&self, most: u32) -> Result<Vec<Session>, GuardError> {
        Ok(self.shared.store.sessions(most)?)
    }

    /// The session with this identifier.
    pub fn session(&self, id: SessionId) -> Result<Session, GuardError> {
        // Those that are open are known here; each call of an enforcement point asks.
        let sessions = self.shared.sessions.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = sessions.get(&id) {
            return Ok(Session::clone(&live.session));
        }
        drop(sessions);
        self.shared.store.session(id)?.ok_or(GuardError::UnknownSession(id))
    }

    /// The newest approvals with what approvers are shown.
    pub fn approvals(&self, most: u32) -> Result<Vec<(Approval, Shown)>, GuardError> {
        let now = self.now();
        let approvals = self.shared.store.approvals(most)?;
        Ok(approvals.into_iter().map(|(approval, shown)| (approval.apply(Event::Tick, now), shown)).collect())
    }

    /// One approval with what approvers are shown.
    pub fn approval(&self, id: ApprovalId) -> Result<(Approval, Shown), GuardError> {
        let (approval, shown) = self.shared.store.approval(id)?.ok_or(GuardError::UnknownApproval(id))?;
        Ok((approval.apply(Event::Tick, self.now()), shown))
    }

    /// Ends once the approval is no longer pending; at once if it is not.
    pub async fn settled(&self, id: ApprovalId) -> Result<Approval, GuardError> {
        loop {
            let mark = self.shared.watch.mark(id);
            let (approval, _) = self.approval(id)?;
            if !matches!(approval.progress, Progress::Pending { .. }) {
                self.shared.watch.report(id, true);
                return Ok(approval);
            }
            self.shared.watch.changed(id, mark).await;
        }
    }

    /// Counts an approver's signed answer. A grant takes effect once it is recorded durably; a
    /// refusal takes effect at once.
    pub async fn answer(
        &self,
        ballot: &Ballot,
        signature: &cordon_core::ed25519::Signature,
    ) -> Result<(Approval, Option<Receipt>), GuardError> {
        let vote = self.approvers().verify(ballot, signature)?;
        let (approval, _) = self.approval(ballot.approval)?;
        if approval.terms.binding != ballot.binding {
            return Err(GuardError::Binding(ballot.approval));
        }
        if ballot.answer == Answer::Grant {
            self.refuse_grant_of_terminated(approval.terms.session)?;
        }
        let event = Event::Answered { vote, answer: ballot.answer };
        let now = self.now();
        if approval.clone().apply(event.clone(), now) == approval {
            return Err(unchanged(&approval, ballot));
        }
        let draft = record::answered(&self.shared, &approval.terms, ballot, signature);
        let receipt = match ballot.answer {
            Answer::Grant => Some(self.shared.ledger.append(draft, Level::Durable).await?),
            Answer::Deny => {
                drop(self.shared.ledger.append(draft, Level::Accepted));
                None
            }
        };
        let (before, after) = self
            .shared
            .store
            .apply(ballot.approval, event, now)?
            .ok_or(GuardError::UnknownApproval(ballot.approval))?;
        if before == after {
            return Err(unchanged(&before, ballot));
        }
        if let Some(live) = self.shared.live(approval.terms.session)? {
            self.shared.count_answer(&live, ballot.answer == Answer::Grant, now)?;
        }
        let pending = matches!(after.progress, Progress::Pending { .. });
        self.shared.watch.report(ballot.approval, !pending);
        Ok((after, receipt))
    }

    /// Nothing is granted any more to a session that may do nothing any more.
    fn refuse_grant_of_terminated(&self, id: SessionId) -> Result<(), GuardError> {
        let state = self.standing(id)?.map(|standing| standing.posture.state());
        match state {
            Some(PostureState::Terminated) => Err(GuardError::Terminated(id)),
            _ => Ok(()),
        }
    }

    /// Takes a server's whole tool listing: pins are compared, new quarantines recorded.
    pub fn listed(&self, server: &str, listing: Vec<ListedTool>) -> Result<Vec<Arc<Tool>>, GuardError> {
        let policies = self.policies();
        let mut accepted = HashMap::new();
        for tool in &listing {
            if let Ok(action) = ActionName::tool(server, &tool.name)
                && let Some(pin) = self.shared.store.pin(&action)?
            {
                accepted.insert(action, pin);
            }
        }
        let changes = self.shared.tools.listed(
            server,
            listing,
            |action| policies.set.manifest(action).cloned(),
            |action| accepted.get(action).copied(),
        );
        for change in changes {
            if let Change::FirstSeen { tool, pin } = &change {
                self.shared.store.accept_pin(tool, *pin)?;
            }
            let draft = record::tool_change(&self.shared, &change);
            drop(self.shared.ledger.append(draft, Level::Accepted));
        }
        Ok(self.tools().into_iter().filter(|tool| tool.action.server() == server).collect())
    }

    /// Every tool that any server listed.
    pub fn tools(&self) -> Vec<Arc<Tool>> {
        self.shared.tools.all()
    }

    /// The tool of this name, if its server listed it.
    pub fn tool(&self, action: &ActionName) -> Option<Arc<Tool>> {
        self.shared.tools.get(action.server(), action.operation())
    }

    /// Accepts a tool's present definition, once the change is recorded durably.
    pub async fn approve_tool(
        &self,
        action: &ActionName,
        pin: Digest,
        author: &str,
    ) -> Result<Receipt, GuardError> {
        let unknown = || GuardError::UnknownTool(action.clone());
        let tool = self.tool(action).filter(|tool| tool.listed.pin == pin).ok_or_else(unknown)?;
        let before = self.shared.store.pin(&tool.action)?;
        let act = AdminAct::Tool { tool: tool.action.clone(), before, after: pin };
        let receipt = self.administer(act, author).await?;
        self.shared.store.accept_pin(action, pin)?;
        self.shared.tools.lift(action, pin);
        Ok(receipt)
    }

    /// A new call identifier.
    pub(crate) fn call_id(&self, now: Timestamp) -> CallId {
        CallId::new(now, &mut Draw(&*self.shared.random))
    }
}

/// Why an answer that was properly signed changes nothing.
fn unchanged(approval: &Approval, ballot: &Ballot) -> GuardError {
    let why = match &approval.progress {
        Progress::Pending { .. } if approval.terms.requesters.contains(&ballot.approver) => {
            "the requester cannot answer its own call"
        }
        Progress::Pending { .. } => "this person has already said yes",
        _ => "it is settled",
    };
    GuardError::Unchanged { id: approval.terms.id, progress: approval.progress.as_str(), why }
}

impl Shared {
    /// A new record identifier.
    pub(crate) fn record_id(&self, now: Timestamp) -> RecordId {
        RecordId::new(now, &mut Draw(&*self.random))
    }

    /// The open session with this identifier, from memory or the store.
    pub(crate) fn live(&self, id: SessionId) -> Result<Option<Arc<Live>>, StoreDown> {
        let now = self.clock.now();
        let cached = self.sessions.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(live) = cached {
            return Ok(live.session.is_open(now).then_some(live));
        }
        // The store is asked under the lock, so that a session which is closed meanwhile is not
        // remembered as open.
        let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = self.store.session(id)?.filter(|session| session.is_open(now)) {
            let standing = self.store.standing(id)?;
            self.remember(&mut sessions, Arc::new(Live::new(session, standing)));
        }
        Ok(sessions.get(&id).cloned())
    }

    /// The open session of the same key and the same principals, if there is one.
    fn reopen(&self, opening: &Opening, now: Timestamp) -> Result<Option<Arc<Session>>, StoreDown> {
        let Some(key) = &opening.key else { return Ok(None) };
        let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        let found = self.store.session_by_key(key)?.filter(|found| {
            found.is_open(now)
                && found.opening.chain.is_like(&opening.chain)
                && found.opening.tenant == opening.tenant
                && found.opening.capability == opening.capability
        });
        let Some(mut found) = found else { return Ok(None) };
        found.opening.supported.clone_from(&opening.supported);
        // A fresh credential says the same of the same principals, and until later.
        found.opening.chain.clone_from(&opening.chain);
        found.opening.assurance = opening.assurance;
        let live = match sessions.get(&found.id) {
            Some(live) if live.session.opening == found.opening => Arc::clone(live),
            // What was taken from the session is taken from it under every credential.
            Some(live) => {
                let live = Arc::new(live.renewed(found));
                sessions.insert(live.session.id, Arc::clone(&live));
                live
            }
            None => {
                let standing = self.store.standing(found.id)?;
                self.remember(&mut sessions, Arc::new(Live::new(found, standing)))
            }
        };
        Ok(Some(Arc::clone(&live.session)))
    }

    /// Closes a session in the store and forgets it, in one step for whoever looks it up.
    pub(crate) fn forget(&self, id: SessionId) -> Result<(), StoreDown> {
        let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        // It is out of memory even when the store fails: narrowing first.
        sessions.remove(&id);
        self.store.close_session(id, self.clock.now())
    }

    /// Keeps a session in memory; one that is there already stays, with how it stands.
    fn remember(&self, sessions: &mut HashMap<SessionId, Arc<Live>>, session: Arc<Live>) -> Arc<Live> {
        let now = self.clock.now();
        if sessions.len() >= self.limits.sessions_max as usize {
            sessions.retain(|_, live| live.session.is_open(now));
        }
        Arc::clone(sessions.entry(session.session.id).or_insert(session))
    }

    /// Held by whoever changes kill switches or a posture.
    pub(crate) fn narrowing(&self) -> MutexGuard<'_, ()> {
        self.narrowing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live_count(&self) -> usize {
        let now = self.clock.now();
        let sessions = self.sessions.read().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() < self.limits.sessions_max as usize {
            return sessions.len();
        }
        sessions.values().filter(|live| live.session.is_open(now)).count()
    }
}

/// The obligations about the session itself.
const CONTAINING: [&str; 9] = [
    "block_delegation",
    "disable_tool",
    "isolate",
    "monitor",
    "network_off",
    "read_only",
    "revoke",
    "rotate_credentials",
    "terminate",
];

/// The obligations that the guard itself carries out, whatever the door supports.
pub(crate) fn supported(session: &Session) -> BTreeSet<&'static str> {
    let mut supported = session.opening.supported.clone();
    supported.insert("approve");
    supported.extend(CONTAINING);
    supported
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("policies", &self.policies().set.digest()).finish_non_exhaustive()
    }
}
