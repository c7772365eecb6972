//! Who, what or how: searches over what the bundle names (AuthZEN §8).
//!
//! A search is the same question asked of each candidate. Candidates are the principals of
//! `data/entities.json`, the resources of `data/resources.json`, the tools and the bundle's own actions;
//! what only a policy names, or a pattern would cover, is not among them.

use std::collections::BTreeSet;

use cordon_core::json::Node;
use cordon_core::{Chain, Context, PrincipalKind, Request, Resource};
use cordon_guard::policy::PolicySet;

use super::parse::{Named, Reading, Result, action_name, object, optional, subject_kind, supported, text};

/// What a search looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sought {
    /// Who may do it (`/access/v1/search/subject`).
    Subject,
    /// What it may be done to (`/access/v1/search/resource`).
    Resource,
    /// What may be done (`/access/v1/search/action`).
    Action,
}

impl Sought {
    /// Everything that is searched for.
    pub const ALL: [Self; 3] = [Self::Subject, Self::Resource, Self::Action];

    /// The word in the endpoint's path.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Resource => "resource",
            Self::Action => "action",
        }
    }
}

/// A search that is ready to be run.
pub(super) struct Search<'q> {
    sought: Sought,
    reading: Reading<'q>,
    /// The subject and its kind; `None` where nobody is of its type.
    subject: Option<(&'q Node, PrincipalKind)>,
    action: Option<&'q Node>,
    resource: &'q Node,
    named: Named,
    context: Context,
    /// The obligations that the enforcement point carries out.
    pub(super) supported: BTreeSet<&'static str>,
}

impl<'q> Search<'q> {
    /// Reads a search. What is sought needs no identifier, and one that is there means nothing; all the
    /// rest is named in full.
    pub(super) fn read(sought: Sought, body: &'q Node, reading: Reading<'q>) -> Result<Self> {
        let subject = object(body.get("subject"), "subject")?;
        let resource = object(body.get("resource"), "resource")?;
        let action = match sought {
            Sought::Action => None,
            _ => Some(object(body.get("action"), "action")?),
        };
        let kind = subject_kind(subject)?;
        text(resource, "type", "resource.type")?;
        if sought != Sought::Subject {
            text(subject, "id", "subject.id")?;
        }
        if sought != Sought::Resource {
            text(resource, "id", "resource.id")?;
        }
        if let Some(action) = action {
            action_name(action)?;
        }
        // What is malformed is refused, also where there is no candidate to judge.
        reading.subject(subject, kind.unwrap_or(PrincipalKind::User), "")?;
        reading.resource(resource, "")?;
        let context = optional(body.get("context"), "context")?;
        Ok(Self {
            sought,
            subject: kind.map(|kind| (subject, kind)),
            action,
            resource,
            named: reading.named(context)?,
            supported: supported(context)?.unwrap_or_default(),
            context: reading.context(action, context)?,
            reading,
        })
    }

    /// The names of everything that could be an answer, in order.
    pub(super) fn candidates(&self) -> Vec<Box<str>> {
        let policies = self.policies();
        let Some((_, kind)) = self.subject else { return Vec::new() };
        match self.sought {
            Sought::Subject => policies.known_principals(kind).into_iter().map(Into::into).collect(),
            Sought::Resource => {
                policies.known_resources(self.resource_type()).into_iter().map(Into::into).collect()
            }
            Sought::Action => policies.known_actions().iter().map(|name| name.as_str().into()).collect(),
        }
    }

    /// The request that is judged for one candidate.
    pub(super) fn request(&self, candidate: &str) -> Result<Request> {
        let policies = self.policies();
        let given = |node: &'q Node, at| text(node, "id", at);
        let name = match self.action {
            Some(action) => action_name(action)?,
            None => candidate.parse().or_else(|_| super::parse::wrong("action.name", "an action name"))?,
        };
        let resource: Resource = match self.sought {
            Sought::Resource => self.reading.resource(self.resource, candidate)?,
            _ => self.reading.resource(self.resource, given(self.resource, "resource.id")?)?,
        };
        Ok(Request {
            chain: self.chain(candidate)?,
            action: policies.action(&name),
            resource: policies.complete(resource),
            context: self.context.clone(),
        })
    }

    fn chain(&self, candidate: &str) -> Result<Chain> {
        let Some((node, kind)) = self.subject else {
            return super::parse::wrong("subject.type", "`agent` or `user`");
        };
        let id = if self.sought == Sought::Subject { candidate } else { text(node, "id", "subject.id")? };
        self.named.clone().with(self.reading.subject(node, kind, id)?)
    }

    /// One result, as the information model has it.
    pub(super) fn result(&self, candidate: &str) -> String {
        let candidate = cordon_core::json::quote(candidate);
        let kind = match (self.sought, self.subject) {
            (Sought::Action, _) => return format!(r#""name":{candidate}"#),
            (Sought::Subject, Some((_, PrincipalKind::Agent))) => "agent",
            (Sought::Subject, _) => "user",
            (Sought::Resource, _) => self.resource_type(),
        };
        format!(r#""type":{},"id":{candidate}"#, cordon_core::json::quote(kind))
    }

    /// Where was looked, in words for the answer: what is not there is not found.
    pub(super) fn looked_in(&self) -> &'static str {
        match self.sought {
            Sought::Subject => "data/entities.json",
            Sought::Resource if self.resource_type() == cordon_core::ResourceKind::TOOL => "tools/*.toml",
            Sought::Resource => "data/resources.json",
            Sought::Action => "tools/*.toml and schema/*.cedarschema, each without arguments",
        }
    }

    fn resource_type(&self) -> &str {
        self.resource.get("type").and_then(Node::as_text).unwrap_or_default()
    }

    fn policies(&self) -> &'q PolicySet {
        self.reading.policies
    }
}
