//! What all doors to one server share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cordon_core::{Digest, SessionId, Timestamp};
use cordon_guard::Pending;

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

/// Which session each task belongs to.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<HashMap<Box<str>, (SessionId, Timestamp)>>);

/// Most tasks whose owner is remembered; the oldest are forgotten, and then nobody's.
const TASKS_MAX: usize = 16_384;

impl Tasks {
    /// Remembers that `task` belongs to `session`; false if it is somebody else's.
    pub(crate) fn claim(&self, task: &str, session: SessionId, now: Timestamp) -> bool {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((owner, _)) = tasks.get(task) {
            return *owner == session;
        }
        if tasks.len() >= TASKS_MAX {
            let oldest = tasks.iter().min_by_key(|(_, (_, at))| *at).map(|(task, _)| task.clone());
            oldest.map(|task| tasks.remove(&task));
        }
        tasks.insert(task.into(), (session, now));
        true
    }

    /// Whether `task` is known to belong to `session`.
    pub(crate) fn owns(&self, task: &str, session: SessionId) -> bool {
        let tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.get(task).is_some_and(|(owner, _)| *owner == session)
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
        assert!(!tasks.owns("t", a));
        assert!(tasks.claim("t", a, now) && tasks.claim("t", a, now));
        assert!(!tasks.claim("t", b, now));
        assert!(tasks.owns("t", a) && !tasks.owns("t", b));
    }
}
