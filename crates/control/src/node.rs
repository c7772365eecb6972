//! What the API needs from the node beside the guard.

use std::future::Future;
use std::pin::Pin;

use cordon_guard::Guard;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::view::{
    ConsoleView, KeysView, KillBundleView, KillsLoadedView, LedgerView, PolicyView, RotatedView, StatusView,
    ToolDefinition,
};
use crate::{Caller, Refusal};

/// A future that the node returns.
pub type NodeFuture<'n, T> = Pin<Box<dyn Future<Output = T> + Send + 'n>>;

/// The answer to a request for a decision: an HTTP status and a JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// 200 for every judgement, 4xx for a request that is none.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// The process that owns the data directory.
pub trait Node: Send + Sync + 'static {
    /// The guard.
    fn guard(&self) -> &Guard;
    /// How the node is.
    fn status(&self) -> StatusView;
    /// The policies in force.
    fn policy(&self) -> PolicyView;
    /// Loads the bundle again; a bad one is refused and the old one stays.
    fn reload<'n>(&'n self, author: &'n str) -> NodeFuture<'n, Result<PolicyView, String>>;
    /// The trusted keys.
    fn keys(&self) -> KeysView;
    /// Puts a new key in the place of the log's.
    fn rotate(&self) -> NodeFuture<'_, Result<RotatedView, String>>;
    /// A link that opens the console once.
    fn console(&self) -> Result<ConsoleView, String>;
    /// The end of the ledger, with the signed checkpoint.
    fn ledger(&self) -> NodeFuture<'_, Result<LedgerView, String>>;
    /// The definition of a tool that was accepted last, if it was kept.
    fn accepted_definition(&self, tool: &str) -> Option<ToolDefinition>;
    /// Judges one AuthZEN request and records it.
    fn decide<'n>(&'n self, body: &'n [u8], caller: &'n Caller) -> NodeFuture<'n, Answered>;
    /// Verifies a kill bundle and puts its switches in force.
    fn load_kills(&self, bundle: KillBundleView) -> NodeFuture<'_, Result<KillsLoadedView, Refusal>>;
    /// What is recorded from now on.
    fn events(&self) -> broadcast::Receiver<Event>;
}

/// One record that was taken, without the content of the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The record.
    pub entry: String,
    /// Its kind.
    pub kind: &'static str,
    /// When it happened (RFC 3339).
    pub at: String,
    /// The session it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What was decided, if it is a decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionEvent>,
}

/// What a decision's record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecisionEvent {
    /// The action.
    pub action: String,
    /// What the policies said: `allow`, `ask` or `deny`.
    pub verdict: String,
    /// What was done: `permitted`, `held`, `refused` or `answered`.
    pub enforced: String,
    /// Who acts, as `role kind:id`.
    pub principals: Vec<String>,
    /// Why.
    pub reasons: Vec<ReasonEvent>,
}

/// One reason of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReasonEvent {
    /// The rule.
    pub rule: String,
    /// The file it stands in; empty for a rule that is part of Cordon.
    pub file: String,
    /// The line.
    pub line: u64,
    /// What it says.
    pub message: String,
}
