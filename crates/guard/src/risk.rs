//! The risk signals of one attempt, each from its own source (`spec/risk.md`).
//!
//! What is known of an agent and of a session is kept in the store: an agent's past every half minute
//! and when a session ends, since what is forgotten of it is less familiar and so riskier; what a
//! session was exposed to before the text is handed over, since that only ever adds risk.

mod destination;
mod exposure;
mod habit;
mod profile;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cordon_core::cbor::Cbor;
use cordon_core::json::Node;
use cordon_core::{
    Assurance, Duration, Effect, Marking, Request, SessionId, Signal, SignalKind, Signals, Timestamp,
    ToolManifest,
};

use crate::guard::{ActivePolicies, Guard, Live, Shared};
use crate::ports::StoreDown;
pub(crate) use destination::{Destination, destinations};
pub(crate) use exposure::{Exposure, Finding};
pub(crate) use profile::Profile;

/// Most agents whose past is held in memory; the rest is read again when it is needed.
const PROFILES_MAX: usize = 10_000;

/// How often the pasts that changed are kept.
const KEEP_EVERY: Duration = Duration::from_secs(30);

/// The pasts of the agents that have been active.
#[derive(Debug, Default)]
pub(crate) struct Profiles {
    by_name: Mutex<HashMap<Box<str>, Arc<Mutex<Profile>>>>,
    /// When they were kept last, in microseconds.
    kept: AtomicU64,
}

/// The tools whose results a session was given, and what those are marked.
type Told = (Arc<BTreeSet<Box<str>>>, Arc<BTreeSet<Marking>>);

/// What is looked at for the signals of one attempt.
pub(crate) struct Observed<'o> {
    pub(crate) policies: &'o ActivePolicies,
    pub(crate) request: &'o Request,
    pub(crate) manifest: Option<&'o ToolManifest>,
    pub(crate) arguments: Option<&'o Node>,
    /// How sure the model says it is, from 0 to 1000.
    pub(crate) confidence: Option<u16>,
    pub(crate) now: Timestamp,
}

impl Observed<'_> {
    /// Where the call would reach.
    pub(crate) fn destinations(&self) -> Vec<Destination> {
        destinations(self.request, self.manifest, self.arguments)
    }

    /// The signals that come from the request itself and from signed data.
    pub(crate) fn signals(&self, destinations: &[Destination]) -> Signals {
        let model = self.policies.set.risk();
        let mut signals = Signals::new();
        let mut add =
            |kind, value, source: &'static str| signals.insert(kind, Signal::known(value, source, self.now));
        add(SignalKind::Permissions, self.reach(), "manifest");
        let resource = model.sensitivity(&self.request.resource.markings);
        add(SignalKind::DataClassification, resource.max(model.sensitivity(self.returned())), "manifest");
        if let Some(confidence) = self.confidence {
            add(SignalKind::Confidence, model.doubt(confidence), "caller");
        }
        if let Some(threats) = self.policies.set.threats() {
            let agent = self.request.chain.agent().map(|agent| &*agent.id);
            let hosts = destinations.iter().flat_map(|to| [Some(&*to.name), to.host.as_deref()]).flatten();
            let score = threats.score(hosts, self.request.action.name().as_str(), agent);
            let signal = Signal::known(score, "data/threats.json", threats.as_of());
            signals.insert(SignalKind::ThreatIntelligence, signal);
        }
        signals
    }

    /// How much the permission that is used could do.
    fn reach(&self) -> u16 {
        let action = &self.request.action;
        if !action.is_declared() {
            return Signal::MAX;
        }
        let model = self.policies.set.risk();
        let classes = action.classes().iter().map(|class| model.reach(class.kind()));
        let effect = if action.effect() == Effect::Irreversible { 200 } else { 0 };
        classes.max().unwrap_or_default().saturating_add(effect)
    }

    /// What the manifest says of the data that the call returns.
    fn returned(&self) -> impl Iterator<Item = &Marking> {
        let labels = self.manifest.into_iter().flat_map(|manifest| manifest.outputs.values());
        labels.flat_map(|label| &label.markings)
    }

    /// How far the tool is known: not at all, or not by its pin, and whether its calls went well.
    fn tool(&self, trouble: u16) -> u16 {
        let is_tool = self.arguments.is_some() && self.request.action.name().server() != "mcp";
        let known = match self.manifest {
            Some(manifest) if manifest.pin.is_some() || !is_tool => 0,
            Some(_) => 200,
            None if is_tool => 800,
            None => 0,
        };
        trouble.max(known)
    }
}

/// How unsure it is who acts.
fn identity(assurance: Assurance, request: &Request) -> u16 {
    let sure = match assurance {
        Assurance::Asserted => 600,
        Assurance::Local => 300,
        Assurance::Credential => 100,
        Assurance::Bound => 0,
    };
    let hops = u16::try_from(request.chain.via().len()).unwrap_or(u16::MAX).saturating_mul(100);
    let stale =
        request.chain.members().any(|(_, who)| who.attributes.values().any(|value| value.has_unknown()));
    let alone = request.chain.on_behalf_of().is_none();
    [hops, if stale { 200 } else { 0 }, if alone { 100 } else { 0 }]
        .into_iter()
        .fold(sure, u16::saturating_add)
}

impl Guard {
    /// Keeps what is known of agents from their past; for the end of a process. While one runs it is
    /// kept every half minute and when a session ends.
    pub fn keep_pasts(&self) {
        self.shared.keep_pasts();
    }
}

impl Shared {
    /// Every signal of an attempt in a session, and where it would reach.
    pub(crate) fn signals(
        &self,
        live: &Live,
        observed: &Observed<'_>,
    ) -> Result<(Signals, Vec<Destination>), StoreDown> {
        let destinations = observed.destinations();
        let model = observed.policies.set.risk();
        let now = observed.now;
        let mut signals = observed.signals(&destinations);
        let assurance = live.session.opening.assurance;
        let sure = Signal::known(identity(assurance, observed.request), assurance.as_str(), now);
        signals.insert(SignalKind::Identity, sure);
        let exposure = self.exposure(live)?;
        let exposure = exposure.as_ref().unwrap_or(&NOTHING);
        let read = model.sensitivity(exposure.markings.iter());
        if let Some(data) = signals.get_mut(&SignalKind::DataClassification)
            && data.value < Some(read)
        {
            *data = Signal::known(read, "session", now);
        }
        if !exposure.lineage.is_empty() {
            let found = exposure.finding.as_ref();
            let signal = found.map_or_else(
                || Signal::known(0, "inspect", now),
                |found| Signal::known(found.score, String::from(found.source.clone()), found.at),
            );
            signals.insert(SignalKind::PromptContext, signal);
        }
        let action = observed.request.action.name().as_str();
        let unfamiliar =
            destinations.iter().filter(|to| !model.is_familiar(&to.name) && !is_familiar_host(model, to));
        let profile = self.profile(live)?;
        let profile = lock(&profile);
        profile.signals(action, unfamiliar.map(|to| &*to.name), now, &mut signals);
        if !destinations.is_empty() && !signals.contains_key(&SignalKind::Destination) {
            signals.insert(SignalKind::Destination, Signal::known(0, "risk.toml", now));
        }
        let refused = exposure.refused.saturating_mul(100);
        if let Some(history) = signals.get_mut(&SignalKind::History)
            && history.value < Some(refused)
        {
            *history = Signal::known(refused, "session", now);
        }
        let tool = observed.tool(profile.trouble(action));
        signals.insert(SignalKind::Tool, Signal::known(tool, "manifest", now));
        Ok((signals, destinations))
    }

    /// What the session's context was exposed to, read from the store once; nothing if nothing is kept.
    fn exposure<'l>(&self, live: &'l Live) -> Result<MutexGuard<'l, Option<Exposure>>, StoreDown> {
        let mut exposure = lock(&live.exposure);
        if exposure.is_none() {
            *exposure = Some(match self.store.observation(&of_session(live.session.id))? {
                Some(kept) => read(&kept, Exposure::from_cbor)?,
                None => Exposure::default(),
            });
        }
        Ok(exposure)
    }

    /// Whose results the session was given, and what they are marked.
    pub(crate) fn told(&self, live: &Live) -> Result<Told, StoreDown> {
        let exposure = self.exposure(live)?;
        let exposure = exposure.as_ref().unwrap_or(&NOTHING);
        Ok((Arc::clone(&exposure.lineage), Arc::clone(&exposure.markings)))
    }

    /// Adds what a result brings to a session before it is handed over.
    pub(crate) fn expose<'m>(
        &self,
        live: &Live,
        source: &str,
        markings: impl IntoIterator<Item = &'m Marking>,
        finding: Option<Finding>,
    ) -> Result<(), StoreDown> {
        let mut guarded = self.exposure(live)?;
        let Some(exposure) = guarded.as_mut() else { return Ok(()) };
        exposure.unkept |= exposure.told(source, markings, finding);
        if exposure.unkept {
            self.store.keep_observation(&of_session(live.session.id), &exposure.to_cbor().encode())?;
            exposure.unkept = false;
        }
        Ok(())
    }

    /// Counts a refused call of a session.
    pub(crate) fn count_refusal(&self, live: &Live) {
        if let Ok(mut exposure) = self.exposure(live)
            && let Some(exposure) = exposure.as_mut()
        {
            exposure.refused = exposure.refused.saturating_add(1);
        }
    }

    /// Counts a permitted call.
    pub(crate) fn count_use(&self, live: &Live, action: &str, to: &[Destination], now: Timestamp) {
        if let Ok(profile) = self.profile(live) {
            lock(&profile).used(action, to.iter().map(|to| &*to.name), now);
        }
    }

    /// Counts how a call went.
    pub(crate) fn count_outcome(&self, live: &Live, action: &str, trouble: bool) {
        if let Ok(profile) = self.profile(live) {
            lock(&profile).went(action, trouble);
        }
    }

    /// Counts what a person said about a call of a session, and keeps it.
    pub(crate) fn count_answer(&self, live: &Live, granted: bool, now: Timestamp) -> Result<(), StoreDown> {
        let profile = self.profile(live)?;
        lock(&profile).answered(granted, now);
        self.keep(&of_agent(live), &profile)
    }

    /// Keeps the past of a session's agent. What is forgotten of it makes it less familiar, never more.
    pub(crate) fn keep_past(&self, live: &Live) {
        if let Some(profile) = live.profile.get() {
            drop(self.keep(&of_agent(live), profile));
        }
    }

    /// The past of the session's agent, from memory or the store.
    fn profile(&self, live: &Live) -> Result<Arc<Mutex<Profile>>, StoreDown> {
        if let Some(profile) = live.profile.get() {
            return Ok(Arc::clone(profile));
        }
        let name = of_agent(live);
        let mut profiles = lock(&self.profiles.by_name);
        if let Some(profile) = profiles.get(&name) {
            return Ok(Arc::clone(live.profile.get_or_init(|| Arc::clone(profile))));
        }
        let kept = self.store.observation(&name)?;
        let profile = kept.map(|kept| read(&kept, Profile::from_cbor)).transpose()?.unwrap_or_default();
        let profile = Arc::new(Mutex::new(profile));
        if profiles.len() >= PROFILES_MAX {
            // Who is held by no session and was kept can be read again.
            profiles.retain(|_, profile| Arc::strong_count(profile) > 1 || lock(profile).changed);
        }
        profiles.insert(name, Arc::clone(&profile));
        Ok(Arc::clone(live.profile.get_or_init(|| profile)))
    }

    /// Keeps the pasts that changed, unless that was done a moment ago.
    pub(crate) fn keep_pasts_in_time(&self) {
        let now = self.clock.now().as_micros();
        let due = self.profiles.kept.load(Ordering::Relaxed).saturating_add(KEEP_EVERY.as_micros());
        if now >= due {
            self.profiles.kept.store(now, Ordering::Relaxed);
            self.keep_pasts();
        }
    }

    /// Keeps the pasts that changed.
    pub(crate) fn keep_pasts(&self) {
        let pasts = lock(&self.profiles.by_name);
        let all: Vec<_> = pasts.iter().map(|(name, one)| (name.clone(), Arc::clone(one))).collect();
        drop(pasts);
        for (name, profile) in all {
            drop(self.keep(&name, &profile));
        }
    }

    fn keep(&self, name: &str, profile: &Mutex<Profile>) -> Result<(), StoreDown> {
        let bytes = {
            let mut profile = lock(profile);
            if !std::mem::take(&mut profile.changed) {
                return Ok(());
            }
            profile.to_cbor().encode()
        };
        self.store.keep_observation(name, &bytes).inspect_err(|_| lock(profile).changed = true)
    }
}

/// What a session without an exposure was exposed to.
static NOTHING: std::sync::LazyLock<Exposure> = std::sync::LazyLock::new(Exposure::default);

fn is_familiar_host(model: &cordon_pdp::RiskModel, to: &Destination) -> bool {
    to.host.as_deref().is_some_and(|host| model.is_familiar(host))
}

fn of_session(id: SessionId) -> Box<str> {
    format!("session|{id}").into()
}

/// A name for the agent of a session that no other agent of any tenant has.
fn of_agent(live: &Live) -> Box<str> {
    let opening = &live.session.opening;
    let agent = opening.chain.agent().map_or("", |agent| &*agent.id);
    format!("agent|{}:{}|{agent}", opening.tenant.len(), opening.tenant).into()
}

fn read<T>(
    bytes: &[u8],
    decode: impl Fn(&Cbor) -> Result<T, cordon_core::ShapeError>,
) -> Result<T, StoreDown> {
    let cbor = Cbor::decode(bytes).map_err(|error| StoreDown(error.to_string()))?;
    decode(&cbor).map_err(|error| StoreDown(format!("what was observed cannot be read: {error}")))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
