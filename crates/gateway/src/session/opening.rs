//! The body that opens a session: who acts, for whom, what for.

use std::collections::{BTreeMap, BTreeSet};

use cordon_core::json::{self, Kind, Node};
use cordon_core::{
    ActionName, Assurance, Chain, Duration, Limits, Principal, PrincipalKind, Record, Timestamp, Value,
};
use cordon_guard::Opening;
use cordon_guard::policy::{Credential, PolicySet, manifest_from_json};

use crate::authzen::parse::obligation_types;
use crate::{Caller, CallerRole, Mismatch};

/// How long a session lasts if nothing is said, and at most.
const LASTS: Duration = Duration::from_secs(8 * 3_600);
const LASTS_MAX_S: i64 = 24 * 3_600;
/// Longest identifier or name, in bytes.
const NAME_BYTES_MAX: usize = 1_024;
/// Most tools that a session may declare.
const DECLARED_MAX: usize = 256;
/// Most tools that a session may name.
const TOOLS_MAX: usize = 4_096;

const MEMBERS: &[&str] = &[
    "agent",
    "expires_s",
    "model",
    "on_behalf_of",
    "owner",
    "project",
    "purpose",
    "supported_obligations",
    "task",
    "tenant",
    "tools",
    "workflow",
];

/// A body is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBody {
    /// A member is malformed.
    #[error("`{at}`: expected {expected}")]
    Malformed {
        /// Which, as a dotted path.
        at: String,
        /// What was expected.
        expected: &'static str,
    },
    /// There is a member that means nothing here.
    #[error("`{0}` is not a member of this body")]
    Unknown(String),
    /// The bundle does not know a tool.
    #[error("the bundle describes no tool `{0}`; add its manifest to tools/")]
    Tool(String),
    /// A tool is declared by a caller who may not.
    #[error(
        "`tools`: this caller may not declare tools; name those that the bundle describes, or list the caller in data/declarers.json"
    )]
    Declarer,
    /// A declared tool is one that the bundle describes.
    #[error("`tools`: the bundle describes `{0}` itself; name it, and what the bundle says counts")]
    Conflict(String),
    /// A declared tool's manifest is malformed.
    #[error("`tools`: {0}")]
    Manifest(String),
    /// The body names somebody whom the caller's credential does not.
    #[error(transparent)]
    Identity(#[from] Mismatch),
    /// The body names another tenant than the caller's credential.
    #[error("the request is for tenant `{got}`, and the credential is for `{has}`")]
    Tenant {
        /// Which was named.
        got: Box<str>,
        /// The credential's.
        has: Box<str>,
    },
    /// Only an enforcement point vouches for the attributes of others.
    #[error("`{at}.attributes`: only the credential of an enforcement point vouches for attributes")]
    Attributes {
        /// Whose.
        at: &'static str,
    },
}

/// Reads the body of `POST /v1/sessions`. A `pep` credential names the principals and vouches for their
/// attributes; any other speaks for itself alone.
pub(super) fn read(
    body: &Node,
    caller: &Caller,
    policies: &PolicySet,
    now: Timestamp,
) -> Result<Opening, InvalidBody> {
    known(body, MEMBERS)?;
    let chain = chain(body, caller)?;
    if let Some(tenant) = text(body, "tenant")?
        && *tenant != *caller.tenant
    {
        return Err(InvalidBody::Tenant { got: tenant, has: caller.tenant.clone() });
    }
    let model = match member(body, "model") {
        None => Record::new(),
        Some(node) => match Value::from_json(node) {
            Some(Value::Record(record)) => record,
            _ => return malformed("model", "an object"),
        },
    };
    let lasts = match member(body, "expires_s") {
        None => LASTS,
        Some(node) => match node.as_i64().filter(|secs| (1..=LASTS_MAX_S).contains(secs)) {
            Some(secs) => Duration::from_secs(secs.unsigned_abs()),
            None => return malformed("expires_s", "a whole number of seconds from 1 to 86400"),
        },
    };
    let Tools { named, declared } = match member(body, "tools") {
        None => Tools::default(),
        Some(listed) => tools(listed, caller, policies)?,
    };
    Ok(Opening {
        chain,
        tenant: caller.tenant.clone(),
        purpose: text(body, "purpose")?,
        project: text(body, "project")?,
        workflow: text(body, "workflow")?,
        task: text(body, "task")?,
        model,
        tools: named,
        declared,
        supported: supported(body)?,
        key: None,
        // An enforcement point says for whom it asks, and nobody checks that.
        assurance: match caller.role {
            CallerRole::Agent => caller.assurance,
            CallerRole::Operator | CallerRole::Pep => Assurance::Asserted,
        },
        capability: caller.capability.clone(),
        expires: now.plus(lasts),
    })
}

fn chain(body: &Node, caller: &Caller) -> Result<Chain, InvalidBody> {
    let of = |name, kind| principal(member(body, name), name, kind, caller.role);
    let owner = of("owner", PrincipalKind::User)?;
    let agent = of("agent", PrincipalKind::Agent)?;
    let user = of("on_behalf_of", PrincipalKind::User)?;
    if caller.role == CallerRole::Agent && owner.is_none() && agent.is_none() && user.is_none() {
        return Ok(caller.chain.clone());
    }
    // Who answers for the agent is known from the credential; whom it acts for has to be said.
    let owner = owner.or_else(|| caller.chain.owner().filter(|_| caller.role != CallerRole::Agent).cloned());
    let chain = Chain::new(owner, agent, user).or_else(|_| malformed("agent", "a principal"))?;
    Ok(caller.speaks_for(chain)?)
}

fn principal(
    node: Option<&Node>,
    at: &'static str,
    kind: PrincipalKind,
    role: CallerRole,
) -> Result<Option<Principal>, InvalidBody> {
    let Some(node) = node else { return Ok(None) };
    if !node.is_object() {
        return malformed(at, "an object {id, attributes?}");
    }
    known(node, &["attributes", "id"])?;
    let Some(id) = text(node, "id")? else { return malformed(&format!("{at}.id"), "text") };
    let attributes = match member(node, "attributes") {
        None => Record::new(),
        Some(_) if role != CallerRole::Pep => return Err(InvalidBody::Attributes { at }),
        Some(given) => match Value::from_json(given) {
            Some(Value::Record(record)) => record,
            _ => return malformed(&format!("{at}.attributes"), "an object"),
        },
    };
    Ok(Some(Principal { attributes, ..Principal::new(kind, id) }))
}

/// The tools that a session is limited to, and the manifests of those that its caller declares.
#[derive(Default)]
struct Tools {
    named: Option<BTreeSet<ActionName>>,
    declared: BTreeMap<ActionName, Box<str>>,
}

fn tools(node: &Node, caller: &Caller, policies: &PolicySet) -> Result<Tools, InvalidBody> {
    let expected = "an array of at most 4096 names such as `mail/send`, or manifests";
    if !matches!(node.kind(), Kind::Array(_)) || node.items().len() > TOOLS_MAX {
        return malformed("tools", expected);
    }
    let mut named = BTreeSet::new();
    let mut declared = BTreeMap::new();
    for item in node.items() {
        let name = match item.as_text() {
            Some(text) => {
                let name: ActionName = text.parse().or_else(|_| malformed("tools", expected))?;
                if policies.manifest(&name).is_none() {
                    return Err(InvalidBody::Tool(name.to_string()));
                }
                name
            }
            None if item.is_object() => {
                let (name, text) = declaration(item, caller, policies)?;
                if declared.len() >= DECLARED_MAX || declared.insert(name.clone(), text).is_some() {
                    let most = format!("at most {DECLARED_MAX} tools may be declared, each once");
                    return Err(InvalidBody::Manifest(most));
                }
                name
            }
            None => return malformed("tools", expected),
        };
        named.insert(name);
    }
    Ok(Tools { named: Some(named), declared })
}

/// A manifest that the caller declares. The bundle's own tools cannot be declared: what a caller says
/// of one could make it less dangerous than it is.
fn declaration(
    node: &Node,
    caller: &Caller,
    policies: &PolicySet,
) -> Result<(ActionName, Box<str>), InvalidBody> {
    let credential = if caller.role == CallerRole::Pep { Credential::Pep } else { Credential::Other };
    if !policies.may_declare(credential, &caller.chain) {
        return Err(InvalidBody::Declarer);
    }
    let text = node.canonical();
    let again = json::parse(text.as_bytes(), &Limits::DEFAULT);
    let again = again.map_err(|error| InvalidBody::Manifest(error.to_string()))?;
    let manifest = manifest_from_json(&text, &again).map_err(|findings| {
        InvalidBody::Manifest(findings.first().map(ToString::to_string).unwrap_or_default())
    })?;
    if !manifest.preconditions.is_empty() {
        return Err(InvalidBody::Manifest("`preconditions` belong into a manifest of the bundle".to_owned()));
    }
    if policies.manifest(&manifest.tool).is_some() {
        return Err(InvalidBody::Conflict(manifest.tool.to_string()));
    }
    Ok((manifest.tool, text.into()))
}

fn supported(body: &Node) -> Result<BTreeSet<&'static str>, InvalidBody> {
    let expected = "an array of obligation types (spec/obligations.md)";
    let Some(node) = member(body, "supported_obligations") else { return Ok(BTreeSet::new()) };
    obligation_types(node).map_or_else(|| malformed("supported_obligations", expected), Ok)
}

/// Refuses members that nobody reads: one that was meant to narrow would be lost.
pub(super) fn known(body: &Node, members: &[&str]) -> Result<(), InvalidBody> {
    if !body.is_object() {
        return malformed("", "an object");
    }
    match body.members().iter().find(|(name, _)| !members.contains(&&**name)) {
        Some((name, _)) => Err(InvalidBody::Unknown(name.chars().take(80).collect())),
        None => Ok(()),
    }
}

/// A member that is there and not `null`.
pub(super) fn member<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    node.get(name).filter(|node| !node.is_null())
}

pub(super) fn text(node: &Node, name: &str) -> Result<Option<Box<str>>, InvalidBody> {
    let Some(node) = member(node, name) else { return Ok(None) };
    let text = node.as_text().filter(|text| !text.is_empty() && text.len() <= NAME_BYTES_MAX);
    text.map_or_else(|| malformed(name, "text of 1 to 1024 bytes"), |text| Ok(Some(text.into())))
}

pub(super) fn malformed<T>(at: &str, expected: &'static str) -> Result<T, InvalidBody> {
    Err(InvalidBody::Malformed { at: at.to_owned(), expected })
}
