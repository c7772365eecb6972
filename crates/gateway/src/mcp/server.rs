//! What all doors to one server share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cordon_core::{Digest, Obligation, SessionId, Timestamp};
use cordon_guard::{Pending, ResultTerms};

use super::child::SpawnError;
use super::options::{DoorLimits, InvalidOptions, ServerOptions, UpstreamOptions};
use super::rate::Rates;
use super::upstream::{Client, Upstream};

/// One configured server and what all doors to it share: whose tasks are whose, which questions are
/// open, how often what was called.
#[derive(Debug)]
pub struct Server {
    pub(crate) options: ServerOptions,
    client: Option<Arc<Client>>,
    pub(crate) tasks: Tasks,
    pub(crate) questions: Questions,
    pub(crate) rates: Rates,
}

impl Server {
    /// The server that `options` describe. Nothing is started or connected yet.
    pub fn new(options: ServerOptions) -> Result<Arc<Self>, InvalidOptions> {
        let client = match &options.upstream {
            UpstreamOptions::Stdio(_) => None,
            UpstreamOptions::Http(endpoint) => {
                Some(Arc::new(Client::new(endpoint.clone(), &options.limits)?))
            }
        };
        Ok(Arc::new(Self {
            options,
            client,
            tasks: Tasks::default(),
            questions: Questions::default(),
            rates: Rates::default(),
        }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// The bounds on talking to it.
    pub fn limits(&self) -> &DoorLimits {
        &self.options.limits
    }

    /// A new connection to it.
    pub fn connect(&self) -> Result<Upstream, SpawnError> {
        match (&self.options.upstream, &self.client) {
            (UpstreamOptions::Stdio(command), _) => Upstream::spawn(self.name(), command, self.limits()),
            (UpstreamOptions::Http(_), Some(client)) => Ok(Upstream::http(Arc::clone(client))),
            (UpstreamOptions::Http(endpoint), None) => Err(SpawnError::Missing {
                program: endpoint.url.to_string(),
                source: std::io::Error::other("there is no client for it"),
            }),
        }
    }
}

/// Which session each task belongs to, and what its result owes to the call that made it.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<HashMap<Box<str>, Task>>);

#[derive(Debug)]
struct Task {
    owner: SessionId,
    at: Timestamp,
    owed: Arc<Owed>,
}

/// What a call asks of its result, also of one that comes later and by another request.
#[derive(Debug)]
pub(crate) struct Owed {
    pub(crate) terms: Option<ResultTerms>,
    pub(crate) obligations: Arc<[Obligation]>,
}

/// Most tasks whose owner is remembered; the oldest are forgotten, and then nobody's.
const TASKS_MAX: usize = 16_384;

impl Tasks {
    /// Remembers a new task of `session`; false if another call made it.
    pub(crate) fn claim(&self, task: &str, session: SessionId, now: Timestamp, owed: Arc<Owed>) -> bool {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.contains_key(task) {
            return false;
        }
        if tasks.len() >= TASKS_MAX {
            let oldest = tasks.iter().min_by_key(|(_, task)| task.at).map(|(id, _)| id.clone());
            oldest.map(|id| tasks.remove(&id));
        }
        tasks.insert(task.into(), Task { owner: session, at: now, owed });
        true
    }

    /// What the result of a task owes, if the task is known to belong to `session`.
    pub(crate) fn owed(&self, task: &str, session: SessionId) -> Option<Arc<Owed>> {
        let tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.get(task).filter(|task| task.owner == session).map(|task| Arc::clone(&task.owed))
    }
}

/// The questions that servers asked in results, until the client repeats its request with answers.
#[derive(Debug, Default)]
pub(crate) struct Questions(Mutex<HashMap<(SessionId, Digest), Question>>);

/// One result that asked for input.
#[derive(Debug)]
pub(crate) struct Question {
    /// The digest of the request that it answered: only the same may be repeated.
    pub(crate) call: Digest,
    /// What takes the answers.
    pub(crate) pending: Vec<Pending>,
    /// When it was asked.
    pub(crate) at: Timestamp,
}

/// Most open questions; the oldest are forgotten, and their requests begin anew.
const QUESTIONS_MAX: usize = 4_096;

impl Questions {
    /// Remembers a question under the digest of the server's state.
    pub(crate) fn ask(&self, session: SessionId, state: Digest, question: Question) {
        let mut questions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if questions.len() >= QUESTIONS_MAX {
            let oldest = questions.iter().min_by_key(|(_, question)| question.at).map(|(key, _)| *key);
            oldest.map(|key| questions.remove(&key));
        }
        questions.insert((session, state), question);
    }

    /// The call that the question under `state` belongs to, and what takes its answers (once).
    pub(crate) fn answer(&self, session: SessionId, state: Digest) -> Option<(Digest, Vec<Pending>)> {
        let mut questions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let question = questions.get_mut(&(session, state))?;
        Some((question.call, std::mem::take(&mut question.pending)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_its_sessions_and_nobody_elses() {
        let tasks = Tasks::default();
        let (a, b) = (SessionId::from_bytes([1; 16]), SessionId::from_bytes([2; 16]));
        let now = Timestamp::default();
        let owed = || Arc::new(Owed { terms: None, obligations: Arc::from([]) });
        assert!(tasks.owed("t", a).is_none());
        assert!(tasks.claim("t", a, now, owed()));
        assert!(!tasks.claim("t", b, now, owed()));
        // A second call cannot put its own, laxer terms on the first one's task.
        assert!(!tasks.claim("t", a, now, owed()));
        assert!(tasks.owed("t", a).is_some() && tasks.owed("t", b).is_none());
    }
}
