//! From an evaluation request (AuthZEN §6, §7) to a request that the policies judge.

use std::collections::BTreeSet;

use cordon_core::json::{Kind, Node};
use cordon_core::{
    ActionName, Chain, Context, ObligationKind, Principal, PrincipalKind, Record, Request, Resource, Value,
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

type Result<T> = std::result::Result<T, InvalidEvaluation>;

/// Members of `context` that are not the caller's own words.
const KNOWN: &[&str] = &[
    "agent",
    "args",
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
    let reading = Reading { policies, properties };
    let subject = object(subject, "subject")?;
    let action = object(action, "action")?;
    let resource = object(resource, "resource")?;
    let context = context.filter(|context| !context.is_null());
    if context.is_some_and(|context| !context.is_object()) {
        return wrong("context", "an object");
    }
    let chain = reading.chain(subject, context)?;
    let name: ActionName = text(action, "name", "action.name")?
        .parse()
        .or_else(|_| wrong("action.name", "an action name such as `mail/send`"))?;
    let kind = text(resource, "type", "resource.type")?;
    let mut target = Resource::new(kind, text(resource, "id", "resource.id")?, tenant);
    target.attributes = reading.attributes(resource.get("properties"), kind, "resource.properties")?;
    let supported = supported(context.and_then(|context| context.get("supported_obligations")))?;
    let context = reading.context(action, context)?;
    Ok(Evaluation {
        request: Request { chain, action: policies.action(&name), resource: target, context },
        supported,
    })
}

struct Reading<'p> {
    policies: &'p PolicySet,
    properties: Properties,
}

impl Reading<'_> {
    /// The principals that are named: the subject, and those in the context.
    fn chain(&self, subject: &Node, context: Option<&Node>) -> Result<Chain> {
        let named = |name: &str| context.and_then(|context| context.get(name)).filter(|node| !node.is_null());
        let mut owner = None;
        let mut agent = None;
        let mut user = None;
        for (name, kind, slot) in [
            ("owner", PrincipalKind::User, &mut owner),
            ("agent", PrincipalKind::Agent, &mut agent),
            ("user", PrincipalKind::User, &mut user),
        ] {
            if let Some(node) = named(name) {
                *slot = Some(self.principal(node, kind, &format!("context.{name}"))?);
            }
        }
        let (kind, slot) = match text(subject, "type", "subject.type")? {
            "agent" => (PrincipalKind::Agent, &mut agent),
            "user" => (PrincipalKind::User, &mut user),
            _ => return wrong("subject.type", "`agent` or `user`"),
        };
        // Two different answers to who acts would let the milder one be judged.
        if slot.is_some() {
            return wrong("context", "no second principal of the subject's own type");
        }
        *slot = Some(self.principal(subject, kind, "subject")?);
        Chain::new(owner, agent, user).or_else(|_| wrong("subject", "a principal"))
    }

    fn principal(&self, node: &Node, kind: PrincipalKind, at: &str) -> Result<Principal> {
        if !node.is_object() {
            return wrong(at, "an object");
        }
        let id = text(node, "id", &format!("{at}.id"))?;
        let name = if kind == PrincipalKind::Agent { "agent" } else { "user" };
        let attributes = self.attributes(node.get("properties"), name, &format!("{at}.properties"))?;
        Ok(Principal { attributes, ..Principal::new(kind, id) })
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

    fn context(&self, action: &Node, context: Option<&Node>) -> Result<Context> {
        let member =
            |name: &str| context.and_then(|context| context.get(name)).filter(|node| !node.is_null());
        let words = |name: &str| -> Result<Option<Box<str>>> {
            let Some(node) = member(name) else { return Ok(None) };
            let text = node.as_text().map_or_else(|| wrong(&format!("context.{name}"), "text"), Ok)?;
            // A purpose that the registry knows needs no other leave: it says who may claim it.
            let registered = name == "purpose" && self.policies.has_purposes();
            Ok((registered || self.counts("context", name)).then(|| text.into()))
        };
        let args = match (action.get("properties"), member("args")) {
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

fn supported(node: Option<&Node>) -> Result<Option<BTreeSet<&'static str>>> {
    let Some(node) = node.filter(|node| !node.is_null()) else { return Ok(None) };
    let known = obligation_types(node).map(Some);
    known.map_or_else(|| wrong("context.supported_obligations", "an array of known obligation types"), Ok)
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

fn object<'n>(node: Option<&'n Node>, at: &str) -> Result<&'n Node> {
    node.filter(|node| node.is_object()).map_or_else(|| wrong(at, "an object"), Ok)
}

/// Longest identifier, in bytes.
const ID_BYTES_MAX: usize = 1_024;

fn text<'n>(node: &'n Node, name: &str, at: &str) -> Result<&'n str> {
    let text = node.get(name).and_then(Node::as_text);
    let text = text.filter(|text| !text.is_empty() && text.len() <= ID_BYTES_MAX);
    text.map_or_else(|| wrong(at, "text of 1 to 1024 bytes"), Ok)
}

fn wrong<T>(at: &str, expected: &'static str) -> Result<T> {
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
        check(r#""ip":"10.0.0.1""#, r#""supported_obligations":["fly"]"#, "context.supported_obligations");
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
