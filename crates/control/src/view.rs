//! The JSON shapes of the API, the same for the server and the client.
//!
//! Times are RFC 3339 in UTC, digests `sha256:…`, keys `ed25519:…`. The client ignores members that
//! it does not know, the server refuses them.

use std::collections::BTreeMap;

use cordon_core::ed25519::{Signature, VerifyingKey};
use cordon_core::{ApprovalId, Digest, SessionId, Timestamp};
use cordon_guard::ports::Shown;
use cordon_guard::{Session, Standing, Tool};
use cordon_ledger::Receipt;
use cordon_workflow::{Answer, Approval, Ballot, Progress};
use serde::{Deserialize, Serialize};

mod restraint;

pub use restraint::{
    ContainView, KillBundleView, KillOrderView, KillView, KillsLoadedView, LiftView, LiftedView,
    NarrowedView, PostureView,
};

/// A held call, in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalView {
    /// Its name.
    pub id: String,
    /// `pending`, `granted`, `denied`, `spent` or `expired`.
    pub state: String,
    /// What is approved: `call`.
    pub kind: String,
    /// Digest of principals, session, tool, arguments and bundle; an answer is bound to it.
    pub binding: String,
    /// The session of the call.
    pub session: String,
    /// Who cannot answer it.
    pub requesters: Vec<String>,
    /// How many of which role must say yes.
    pub requirements: Vec<RequirementView>,
    /// Who has said yes.
    pub votes: Vec<String>,
    /// Who said no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_by: Option<String>,
    /// When it was asked.
    pub asked: String,
    /// When it ends.
    pub expires: String,
    /// The action.
    pub action: String,
    /// The resource.
    pub resource: String,
    /// The principals, as `role kind:id`.
    pub principals: Vec<String>,
    /// The exact arguments, as JSON text.
    pub arguments: String,
    /// Why a person is asked.
    pub reasons: Vec<String>,
    /// The bundle that asked.
    pub bundle: String,
}

/// How many people of one role must say yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequirementView {
    /// The role.
    pub role: String,
    /// How many.
    pub quorum: u32,
}

impl ApprovalView {
    /// The approval with what approvers are shown.
    pub fn new(approval: &Approval, shown: &Shown) -> Self {
        let Approval { terms, progress } = approval;
        let (votes, refused_by) = match progress {
            Progress::Pending { votes } | Progress::Granted { votes } | Progress::Spent { votes } => {
                (votes.iter().map(|vote| vote.by.to_string()).collect(), None)
            }
            Progress::Refused { by } => (Vec::new(), Some(by.to_string())),
            Progress::Expired => (Vec::new(), None),
        };
        let requirement = |need: &cordon_workflow::Requirement| RequirementView {
            role: need.role.to_string(),
            quorum: need.quorum,
        };
        Self {
            id: terms.id.to_string(),
            state: progress.as_str().to_owned(),
            kind: terms.kind.as_str().to_owned(),
            binding: terms.binding.to_string(),
            session: terms.session.to_string(),
            requesters: texts(&terms.requesters),
            requirements: terms.requirements.iter().map(requirement).collect(),
            votes,
            refused_by,
            asked: terms.asked.to_string(),
            expires: terms.expires.to_string(),
            action: shown.action.to_string(),
            resource: shown.resource.to_string(),
            principals: texts(&shown.principals),
            arguments: shown.arguments.to_string(),
            reasons: texts(&shown.reasons),
            bundle: shown.bundle.to_string(),
        }
    }
}

/// An approver's signed answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BallotView {
    /// `grant` or `deny`.
    pub answer: String,
    /// The name of the approver's key.
    pub approver: String,
    /// When the approver signed, in microseconds since 1970.
    pub at: u64,
    /// The binding of the call that the approver was shown.
    pub binding: String,
    /// The Ed25519 signature over the ballot, in base64.
    pub signature: String,
}

impl BallotView {
    /// The ballot with its signature.
    pub fn new(ballot: &Ballot, signature: &Signature) -> Self {
        Self {
            answer: ballot.answer.as_str().to_owned(),
            approver: ballot.approver.to_string(),
            at: ballot.at.as_micros(),
            binding: ballot.binding.to_string(),
            signature: signature.to_string(),
        }
    }

    /// The ballot on approval `id` and its signature, not yet verified; else what is malformed.
    pub fn ballot(&self, id: ApprovalId) -> Result<(Ballot, Signature), String> {
        let answer = match self.answer.as_str() {
            "grant" => Answer::Grant,
            "deny" => Answer::Deny,
            other => {
                return Err(format!("`answer`: expected `grant` or `deny`, got `{}`", other.escape_debug()));
            }
        };
        let binding: Digest = self.binding.parse().map_err(|error| format!("`binding`: {error}"))?;
        let signature = self.signature.parse().map_err(|error| format!("`signature`: {error}"))?;
        let ballot = Ballot {
            approval: id,
            binding,
            answer,
            approver: self.approver.as_str().into(),
            at: Timestamp::from_micros(self.at),
        };
        Ok((ballot, signature))
    }
}

/// What an answer led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsweredView {
    /// The approval after the answer.
    pub approval: ApprovalView,
    /// The record of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryView>,
}

/// A ledger record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryView {
    /// Its name.
    pub id: String,
    /// How firmly it is kept.
    pub level: String,
    /// Its index, once durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
}

impl From<&Receipt> for EntryView {
    fn from(receipt: &Receipt) -> Self {
        Self { id: receipt.id.to_string(), level: receipt.level.to_string(), index: receipt.index }
    }
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// Its name.
    pub id: String,
    /// `open`, `closed` or `expired`.
    pub state: String,
    /// The principals by role, as `kind:id`.
    pub principals: BTreeMap<String, String>,
    /// The tenant.
    pub tenant: String,
    /// What the work is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The name under which the same session is found again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When it was opened.
    pub opened: String,
    /// When it ends by itself.
    pub expires: String,
    /// When it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
    /// What it may still do.
    pub posture: PostureView,
}

impl SessionView {
    /// The session as it stands at `now`.
    pub fn new(session: &Session, now: Timestamp, standing: Option<&Standing>) -> Self {
        let state = match session.closed {
            Some(_) => "closed",
            None if session.is_open(now) => "open",
            None => "expired",
        };
        let opening = &session.opening;
        let principals = opening
            .chain
            .members()
            .map(|(role, who)| (role.as_str().to_owned(), format!("{}:{}", who.kind.as_str(), who.id)));
        Self {
            id: session.id.to_string(),
            state: state.to_owned(),
            principals: principals.collect(),
            tenant: opening.tenant.to_string(),
            purpose: opening.purpose.as_ref().map(ToString::to_string),
            key: opening.key.as_ref().map(ToString::to_string),
            opened: session.opened.to_string(),
            expires: opening.expires.to_string(),
            closed: session.closed.map(|at| at.to_string()),
            posture: standing.map_or_else(|| restraint::normal(session.id), Into::into),
        }
    }
}

/// One tool that a server listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolView {
    /// `server/tool`.
    pub tool: String,
    /// Digest of its definition.
    pub pin: String,
    /// `usable` or `quarantined`.
    pub standing: String,
    /// Why it is quarantined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether a signed manifest describes it.
    pub manifest: bool,
    /// Its capability classes by its manifest.
    pub classes: Vec<String>,
    /// Its effect by its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
}

/// What a server says about a tool.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ToolDefinition {
    /// Digest over all of it.
    pub pin: String,
    /// Its description.
    pub description: String,
    /// JSON Schema of its input, as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<String>,
    /// JSON Schema of its output, as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<String>,
}

impl From<&Tool> for ToolDefinition {
    fn from(tool: &Tool) -> Self {
        let schema =
            |text: &Option<Vec<u8>>| text.as_deref().map(|text| String::from_utf8_lossy(text).into_owned());
        Self {
            pin: tool.listed.pin.to_string(),
            description: tool.listed.description.to_string(),
            input_schema: schema(&tool.listed.input_schema),
            output_schema: schema(&tool.listed.output_schema),
        }
    }
}

/// A tool's present definition beside the accepted one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolShown {
    /// The tool.
    pub tool: ToolView,
    /// What its server says now.
    pub listed: ToolDefinition,
    /// What was accepted, if it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<ToolDefinition>,
}

/// A person accepts a tool's present definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolApproval {
    /// `server/tool`.
    pub tool: String,
    /// The pin of the definition that the person saw.
    pub pin: String,
}

/// How the node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// Cordon's version.
    pub version: String,
    /// The owner's process.
    pub pid: u32,
    /// The data directory.
    pub data: String,
    /// The configuration file.
    pub config: String,
    /// When the owner started.
    pub started: String,
    /// Where it listens, beside its socket.
    pub listen: Vec<String>,
    /// Whether calls can be permitted: the ledger takes records and a bundle is in force.
    pub ready: bool,
    /// What stands in the way.
    pub problems: Vec<String>,
}

/// The policies in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyView {
    /// Digest of the policies.
    pub bundle: String,
    /// The bundle's epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Whether its signatures held.
    pub signed: bool,
    /// Until when it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Where it was loaded from.
    pub path: String,
    /// How many permissions, prohibitions, obligations and manifests it has.
    pub counts: BTreeMap<String, u64>,
    /// Why the last bundle that was offered is not in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The bundle in its shadow, if one is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowView>,
}

/// The bundle that is judged and recorded beside the one in force, and never enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowView {
    /// Where it was loaded from.
    pub path: String,
    /// Digest of its policies; none when it is not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// Its epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Until when it is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Why it is not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// The trusted keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysView {
    /// Whose answers to held calls count.
    pub approvers: Vec<ApproverView>,
    /// Whose signatures on bundles count, by role.
    pub bundles: BTreeMap<String, RoleTrustView>,
    /// The log's verifier key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// What the ledger's log key was changed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotatedView {
    /// The log's verifier key from now on.
    pub log: String,
}

/// A link that opens the console once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleView {
    /// The address; its fragment is a secret.
    pub url: String,
    /// Until when it may be used.
    pub until: String,
}

/// One approver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApproverView {
    /// The name.
    pub name: String,
    /// The public key.
    pub key: String,
    /// The roles.
    pub roles: Vec<String>,
}

/// How many of which keys must sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleTrustView {
    /// How many.
    pub threshold: u32,
    /// Of which.
    pub keys: Vec<String>,
}

impl RoleTrustView {
    /// How many of which keys.
    pub fn new<'k>(threshold: u32, keys: impl IntoIterator<Item = &'k VerifyingKey>) -> Self {
        Self { threshold, keys: keys.into_iter().map(ToString::to_string).collect() }
    }
}

/// The end of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerView {
    /// How many entries it has.
    pub size: u64,
    /// The tree's root, in hex.
    pub root: String,
    /// The signed checkpoint (C2SP signed note).
    pub checkpoint: String,
}

/// What a session was closed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedView {
    /// The session.
    pub session: String,
}

impl From<SessionId> for ClosedView {
    fn from(session: SessionId) -> Self {
        Self { session: session.to_string() }
    }
}

fn texts<'t>(texts: impl IntoIterator<Item = &'t Box<str>>) -> Vec<String> {
    texts.into_iter().map(|text| text.to_string()).collect()
}
