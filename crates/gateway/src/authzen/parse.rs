//! From an evaluation request (AuthZEN §6, §7) to a request that the policies judge.

use std::collections::BTreeSet;

use cordon_core::json::{Kind, Node};
use cordon_core::{
    ActionName, ApprovalId, Chain, Context, ObligationKind, Principal, PrincipalKind, Record, Request,
    Resource, Value,
};
use cordon_guard::policy::PolicySet;

/// Which of the caller's `properties` count as attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Properties {
    /// Those that the bundle lists in `data/asserted.json`.
    Asserted,
    /// All of them: the caller vouches for its own callers, or nothing is enforced by the answer.
    All,
}

/// One evaluation, ready to be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// The request.
    pub request: Request,
    /// The obligations that the enforcement point says it carries out; none if it does not say.
    pub supported: Option<BTreeSet<&'static str>>,
    /// The approval that the caller shows: a person granted this very request.
    pub approval: Option<ApprovalId>,
}

/// An evaluation is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{at}`: expected {expected}")]
pub struct InvalidEvaluation {
    /// Where, as a dotted path.
    pub at: String,
    /// What was expected.
    pub expected: &'static str,
}

pub(super) type Result<T> = std::result::Result<T, InvalidEvaluation>;

/// Members of `context` that are not the caller's own words.
const KNOWN: &[&str] = &[
    "agent",
    "approval",
    "args",
    "business_justification",
    "model",
    "owner",
    "project",
    "purpose",
    "supported_obligations",
    "task",
    "user",
    "workflow",
];

/// The evaluations of a batch: each with the members that it does not have taken from the whole
/// (AuthZEN §7.1.1). `None` when the body has no `evaluations` and is one evaluation itself.
pub fn batch(body: &Node) -> Result<Option<Vec<[Option<&Node>; 4]>>> {
    const MEMBERS: [&str; 4] = ["subject", "action", "resource", "context"];
    let Some(evaluations) = body.get("evaluations") else { return Ok(None) };
    let Kind::Array(items) = evaluations.kind() else { return wrong("evaluations", "an array") };
    if items.is_empty() {
        return Ok(None);
    }
    let mut whole = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        if !item.is_object() {
            return wrong(&format!("evaluations.{at}"), "an object");
        }
        whole.push(MEMBERS.map(|name| item.get(name).or_else(|| body.get(name))));
    }
    Ok(Some(whole))
}

/// The request that one evaluation is: `[subject, action, resource, context]`.
pub fn evaluation(
    [subject, action, resource, context]: [Option<&Node>; 4],
    policies: &PolicySet,
    tenant: &str,
    properties: Properties,
) -> Result<Evaluation> {
    let reading = Reading { policies, tenant, properties };
    let subject = object(subject, "subject")?;
    let action = object(action, "action")?;
    let resource = object(resource, "resource")?;
    let context = optional(context, "context")?;
    let kind = subject_kind(subject)?;
    let kind = kind.map_or_else(|| wrong("subject.type", "`agent` or `user`"), Ok)?;
    let subject = reading.subject(subject, kind, text(subject, "id", "subject.id")?)?;
    let chain = reading.named(context)?.with(subject)?;
    let name = action_name(action)?;
    let target = reading.resource(resource, text(resource, "id", "resource.id")?)?;
    let supported = supported(context)?;
    let approval = approval(context)?;
    let context = reading.context(Some(action), context)?;
    let (action, resource) = (policies.action(&name), policies.complete(target));
    Ok(Evaluation { request: Request { chain, action, resource, context }, supported, approval })
}

/// The approval that a context shows; a name that is none is that of no approval.
fn approval(context: Option<&Node>) -> Result<Option<ApprovalId>> {
    let Some(node) = optional(context.and_then(|context| context.get("approval")), "context.approval")?
    else {
        return Ok(None);
    };
    let id = text(node, "id", "context.approval.id")?;
    Ok(Some(id.parse().unwrap_or(ApprovalId::from_bytes([0; 16]))))
}

/// The kind of principal that a subject is; `None` for a type that no principal has.
pub(super) fn subject_kind(subject: &Node) -> Result<Option<PrincipalKind>> {
    Ok(match text(subject, "type", "subject.type")? {
        "agent" => Some(PrincipalKind::Agent),
        "user" => Some(PrincipalKind::User),
        _ => None,
    })
}

/// The name of the action.
pub(super) fn action_name(action: &Node) -> Result<ActionName> {
    let name = text(action, "name", "action.name")?.parse();
    name.or_else(|_| wrong("action.name", "an action name such as `mail/send`"))
}

/// The principals that a context names.
#[derive(Debug, Clone, Default)]
pub(super) struct Named {
    owner: Option<Principal>,
    agent: Option<Principal>,
    user: Option<Principal>,
}

impl Named {
    /// The chain of these and the subject.
    pub(super) fn with(mut self, subject: Principal) -> Result<Chain> {
        let slot = if subject.kind == PrincipalKind::Agent { &mut self.agent } else { &mut self.user };
        // Two different answers to who acts would let the milder one be judged.
        if slot.is_some() {
            return wrong("context", "no second principal of the subject's own type");
        }
        *slot = Some(subject);
        Chain::new(self.owner, self.agent, self.user).or_else(|_| wrong("subject", "a principal"))
    }
}

/// How members are read: for whom, and which of the caller's words count.
pub(super) struct Reading<'p> {
    pub(super) policies: &'p PolicySet,
    pub(super) tenant: &'p str,
    pub(super) properties: Properties,
}

impl Reading<'_> {
    /// The principals that the context names.
    pub(super) fn named(&self, context: Option<&Node>) -> Result<Named> {
        let named = |name: &str| context.and_then(|context| context.get(name)).filter(|node| !node.is_null());
        let mut found = Named::default();
        for (name, kind, slot) in [
            ("owner", PrincipalKind::User, &mut found.owner),
            ("agent", PrincipalKind::Agent, &mut found.agent),
            ("user", PrincipalKind::User, &mut found.user),
        ] {
            if let Some(node) = named(name) {
                let at = format!("context.{name}");
                if !node.is_object() {
                    return wrong(&at, "an object");
                }
                let id = text(node, "id", &format!("{at}.id"))?;
                *slot = Some(self.principal(node, kind, id, &at)?);
            }
        }
        Ok(found)
    }

    /// The subject, under this identifier.
    pub(super) fn subject(&self, node: &Node, kind: PrincipalKind, id: &str) -> Result<Principal> {
        self.principal(node, kind, id, "subject")
    }

    fn principal(&self, node: &Node, kind: PrincipalKind, id: &str, at: &str) -> Result<Principal> {
        let attributes =
            self.attributes(node.get("properties"), kind.as_str(), &format!("{at}.properties"))?;
        Ok(Principal { attributes, ..Principal::new(kind, id) })
    }

    /// The resource, under this identifier.
    pub(super) fn resource(&self, node: &Node, id: &str) -> Result<Resource> {
        let kind = text(node, "type", "resource.type")?;
        let mut resource = Resource::new(kind, id, self.tenant);
        resource.attributes = self.attributes(node.get("properties"), kind, "resource.properties")?;
        Ok(resource)
    }

    /// The properties that count as attributes of a `kind`.
    fn attributes(&self, node: Option<&Node>, kind: &str, at: &str) -> Result<Record> {
        let mut record = self.record(node, at)?;
        record.retain(|name, _| self.counts(kind, name));
        Ok(record)
    }

    fn counts(&self, kind: &str, name: &str) -> bool {
        self.properties == Properties::All || self.policies.may_assert(kind, name)
    }

    fn record(&self, node: Option<&Node>, at: &str) -> Result<Record> {
        match node.filter(|node| !node.is_null()) {
            None => Ok(Record::new()),
            Some(node) if node.is_object() => match Value::from_json(node) {
                Some(Value::Record(record)) => Ok(record),
                _ => wrong(at, "an object"),
            },
            Some(_) => wrong(at, "an object"),
        }
    }

    /// What the caller says of the circumstances; the arguments come with the action or beside it.
    pub(super) fn context(&self, action: Option<&Node>, context: Option<&Node>) -> Result<Context> {
        let member =
            |name: &str| context.and_then(|context| context.get(name)).filter(|node| !node.is_null());
        let words = |name: &str| -> Result<Option<Box<str>>> {
            let Some(node) = member(name) else { return Ok(None) };
            let text = node.as_text().map_or_else(|| wrong(&format!("context.{name}"), "text"), Ok)?;
            // A purpose that the registry knows needs no other leave: it says who may claim it.
            let registered = name == "purpose" && self.policies.has_purposes();
            Ok((registered || self.counts("context", name)).then(|| text.into()))
        };
        let args = match (action.and_then(|action| action.get("properties")), member("args")) {
            (Some(_), Some(_)) => {
                return wrong("context.args", "either these or `action.properties`, not both");
            }
            (Some(properties), None) => self.record(Some(properties), "action.properties")?,
            (None, args) => self.record(args, "context.args")?,
        };
        let mut model = self.record(member("model"), "context.model")?;
        if !self.counts("context", "model") {
            model.clear();
        }
        let mut asserted = self.record(context, "context")?;
        asserted.retain(|name, _| !KNOWN.contains(&&**name) && self.counts("context", name));
        Ok(Context {
            purpose: words("purpose")?,
            project: words("project")?,
            workflow: words("workflow")?,
            task: words("task")?,
            model,
            args,
            asserted,
        })
    }
}

/// The obligations that a context says the enforcement point carries out. A type that this decision
/// point does not advertise counts as if it were absent (Obligations profile, negotiation).
pub(super) fn supported(context: Option<&Node>) -> Result<Option<BTreeSet<&'static str>>> {
    let node = context.and_then(|context| context.get("supported_obligations"));
    let Some(node) = node.filter(|node| !node.is_null()) else { return Ok(None) };
    let texts = match node.kind() {
        Kind::Array(items) => items.iter().map(Node::as_text).collect::<Option<Vec<_>>>(),
        _ => None,
    };
    let Some(texts) = texts else {
        return wrong("context.supported_obligations", "an array of obligation types");
    };
    Ok(Some(ObligationKind::NAMES.iter().copied().filter(|known| texts.contains(known)).collect()))
}

/// A member that is an object or absent; `null` is absent.
pub(super) fn optional<'n>(node: Option<&'n Node>, at: &str) -> Result<Option<&'n Node>> {
    match node.filter(|node| !node.is_null()) {
        Some(node) if !node.is_object() => wrong(at, "an object"),
        node => Ok(node),
    }
}

/// The obligation types that an array names; nothing if it is no array or names one that is not known.
pub(crate) fn obligation_types(node: &Node) -> Option<BTreeSet<&'static str>> {
    let Kind::Array(items) = node.kind() else { return None };
    let known = |item: &Node| {
        let name = item.as_text()?;
        ObligationKind::NAMES.iter().copied().find(|known| *known == name)
    };
    items.iter().map(known).collect()
}

/// A member that must be an object.
pub(super) fn object<'n>(node: Option<&'n Node>, at: &str) -> Result<&'n Node> {
    node.filter(|node| node.is_object()).map_or_else(|| wrong(at, "an object"), Ok)
}

/// Longest identifier, in bytes.
const ID_BYTES_MAX: usize = 1_024;

/// A member that must be a text of 1 to 1024 bytes.
pub(super) fn text<'n>(node: &'n Node, name: &str, at: &str) -> Result<&'n str> {
    let text = node.get(name).and_then(Node::as_text);
    let text = text.filter(|text| !text.is_empty() && text.len() <= ID_BYTES_MAX);
    text.map_or_else(|| wrong(at, "text of 1 to 1024 bytes"), Ok)
}

pub(super) fn wrong<T>(at: &str, expected: &'static str) -> Result<T> {
    Err(InvalidEvaluation { at: at.to_owned(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_core::Limits;
    use cordon_core::json::parse;

    fn read(text: &str, properties: Properties) -> Result<Evaluation> {
        let node = parse(text.as_bytes(), &Limits::DEFAULT).unwrap();
        let members = ["subject", "action", "resource", "context"].map(|name| node.get(name));
        evaluation(members, &PolicySet::deny_all(), "default", properties)
    }

    const PLAIN: &str = r#"{"subject":{"type":"user","id":"ann","properties":{"clearance":3}},
        "action":{"name":"can_read"},"resource":{"type":"record","id":"r1","properties":{"owner":"ann"}},
        "context":{"agent":{"id":"a7"},"purpose":"care","ip":"10.0.0.1"}}"#;

    #[test]
    fn the_chain_is_the_principals_that_are_named() {
        let found = read(PLAIN, Properties::All).unwrap().request;
        let chain: Vec<_> = found.chain.members().map(|(role, who)| (role.as_str(), &*who.id)).collect();
        assert_eq!(chain, [("agent", "a7"), ("on_behalf_of", "ann")]);
        assert_eq!((found.resource.kind.as_str(), &*found.resource.id), ("record", "r1"));
        assert_eq!(found.action.name().as_str(), "can_read");
    }

    #[test]
    fn what_a_caller_says_counts_only_where_it_may_be_said() {
        let all = read(PLAIN, Properties::All).unwrap().request;
        assert_eq!(all.context.purpose.as_deref(), Some("care"));
        assert!(all.context.asserted.contains_key("ip"));
        assert!(!all.resource.attributes.is_empty());
        let asserted = read(PLAIN, Properties::Asserted).unwrap().request;
        assert_eq!(asserted.context, Context::default());
        assert!(asserted.resource.attributes.is_empty());
        assert!(asserted.chain.members().all(|(_, who)| who.attributes.is_empty()));
    }

    #[test]
    fn what_is_not_an_evaluation_is_refused_where_it_is_not() {
        let check = |from: &str, to: &str, at: &str| {
            let text = PLAIN.replace(from, to);
            assert_ne!(text, PLAIN, "{from}");
            assert_eq!(read(&text, Properties::All).unwrap_err().at, at, "{text}");
        };
        check(r#""type":"user""#, r#""type":"team""#, "subject.type");
        check(r#""id":"ann","#, "", "subject.id");
        check(r#""name":"can_read""#, r#""name":"can read""#, "action.name");
        check(r#""type":"record""#, r#""type":7"#, "resource.type");
        check(r#""id":"r1""#, r#""id":"""#, "resource.id");
        check(r#"{"id":"a7"}"#, r#""a7""#, "context.agent");
        check(r#""purpose":"care""#, r#""purpose":7"#, "context.purpose");
        check(r#""agent":{"id":"a7"}"#, r#""user":{"id":"bob"}"#, "context");
        check(r#""ip":"10.0.0.1""#, r#""supported_obligations":[7]"#, "context.supported_obligations");
        check(r#""ip":"10.0.0.1""#, r#""supported_obligations":"log""#, "context.supported_obligations");
    }

    #[test]
    fn an_obligation_type_that_nobody_advertised_counts_as_absent() {
        let with = |types: &str| {
            let text = PLAIN.replace(r#""ip":"10.0.0.1""#, &format!(r#""supported_obligations":{types}"#));
            read(&text, Properties::All).unwrap().supported
        };
        assert_eq!(with(r#"["fly","log"]"#), Some(["log"].into()));
        assert_eq!(with("[]"), Some(BTreeSet::new()));
        assert_eq!(with("null"), None);
    }

    #[test]
    fn a_batch_fills_what_each_evaluation_leaves_out() {
        let text = r#"{"subject":{"type":"user","id":"ann"},"resource":{"type":"record","id":"r1"},
            "evaluations":[{"action":{"name":"can_read"}},{"action":{"name":"can_write"},"resource":{"type":"record","id":"r2"}}]}"#;
        let node = parse(text.as_bytes(), &Limits::DEFAULT).unwrap();
        let all = batch(&node).unwrap().unwrap();
        let read = |members| evaluation(members, &PolicySet::deny_all(), "default", Properties::All).unwrap();
        let ids: Vec<_> = all.into_iter().map(|members| read(members).request.resource.id).collect();
        assert_eq!(ids, ["r1".into(), "r2".into()] as [Box<str>; 2]);
    }
}
