//! One policy file as rules that can be judged one by one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr as _;
use std::sync::Arc;

use cedar_policy::pst::{
    ActionConstraint, Clause, EntityOrSlot, EntityUID, PrincipalConstraint, ResourceConstraint,
};
use cedar_policy::{Effect, Policy, PolicyId};
use cordon_core::{ObligationKind, RuleRef};

use crate::Diagnostic;
use crate::cedar_text::{CedarText, NAMESPACE, PolicyText};
use crate::diagnostic::{Severity, nearest};
use crate::invariant;
use crate::mention::Mentions;
use crate::obligation;
use crate::validate::ANY_ACTION;

/// What a rule does when it is satisfied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Permission,
    Prohibition,
    Obligation(ObligationKind),
}

impl Body {
    /// Whether being satisfied makes the judgement stricter.
    pub(crate) const fn restricts(&self) -> bool {
        !matches!(self, Self::Permission)
    }

    /// What a rule says that has no `@message`.
    const fn message(&self) -> &'static str {
        match self {
            Self::Permission => "a permission allows it",
            Self::Prohibition => "a prohibition forbids it",
            Self::Obligation(_) => "a person has to approve it",
        }
    }
}

/// One policy.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) at: RuleRef,
    pub(crate) body: Body,
    /// What it says where it is a reason.
    pub(crate) message: Arc<str>,
    pub(crate) remedy: Option<Arc<str>>,
    /// Names of actions and groups in the scope; `None` is every action.
    pub(crate) actions: Option<Vec<Box<str>>>,
    /// Whether the scope says `action ==`.
    pub(crate) exact: bool,
    /// Entity types that the scope names for the principal.
    pub(crate) principal_types: Vec<Box<str>>,
    /// Entity types that the scope names for the resource.
    pub(crate) resource_types: Vec<Box<str>>,
    pub(crate) mentions: Mentions,
    /// The parts of its syntax tree that are compiled.
    pub(crate) tree: Tree,
    /// The policy as the engine read it.
    pub(crate) policy: Policy,
}

/// A policy's scope and its conditions.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) principal: PrincipalConstraint,
    pub(crate) action: ActionConstraint,
    pub(crate) resource: ResourceConstraint,
    pub(crate) clauses: Vec<Clause>,
}

impl Tree {
    /// The parts of a policy.
    pub(crate) fn of(policy: &cedar_policy::pst::Policy) -> Self {
        let body = policy.body();
        Self {
            principal: body.principal.clone(),
            action: body.action.clone(),
            resource: body.resource.clone(),
            clauses: body.clauses().to_vec(),
        }
    }
}

/// The kinds of policy file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folder {
    Permissions,
    Obligations,
    Invariants,
}

/// One policy file.
#[derive(Debug, Clone)]
pub(crate) struct PolicyFile<'s> {
    pub(crate) folder: Folder,
    pub(crate) path: &'s str,
    /// The path as the rules of the file share it.
    name: Arc<str>,
    pub(crate) source: &'s str,
    /// Where the lines of `source` end.
    line_ends: Vec<usize>,
    pub(crate) cedar: CedarText,
    /// The policies as the engine read them, by their place in the file.
    pub(crate) set: cedar_policy::PolicySet,
    pub(crate) rules: Vec<Rule>,
}

/// The engine's name for the policy at place `index` of a file.
pub(crate) fn policy_id(index: usize) -> PolicyId {
    PolicyId::new(format!("policy{index}"))
}

impl<'s> PolicyFile<'s> {
    /// Reads a file; what is not understood is refused.
    pub(crate) fn read(folder: Folder, path: &'s str, source: &'s str) -> Result<Self, Vec<Diagnostic>> {
        let cedar = CedarText::read(source).map_err(|deep| {
            vec![Diagnostic::error(path, "nested too deep").at(source, deep.0..deep.0.saturating_add(1))]
        })?;
        let set = cedar_policy::PolicySet::from_str(&cedar.text).map_err(|errors| {
            errors
                .iter()
                .map(|error| engine_finding(path, source, &cedar, Severity::Error, error))
                .collect::<Vec<_>>()
        })?;
        let line_ends = source.match_indices('\n').map(|(at, _)| at).collect();
        let name = path.into();
        let mut file = Self { folder, path, name, source, line_ends, cedar, set, rules: Vec::new() };
        let mut findings = Vec::new();
        if file.set.num_of_policies().saturating_add(file.set.num_of_templates()) != file.cedar.policies.len()
        {
            findings.push(Diagnostic::error(path, "the policies of the file could not be told apart"));
        }
        for (index, text) in file.cedar.policies.iter().enumerate() {
            match file.rule(folder, index, text) {
                Ok(rule) => file.rules.push(rule),
                Err((span, message, help)) => {
                    let finding = Diagnostic::error(path, message).at(source, file.cedar.original(span));
                    findings.push(match help {
                        Some(help) => finding.help(help),
                        None => finding,
                    });
                }
            }
        }
        if findings.is_empty() { Ok(file) } else { Err(findings) }
    }

    /// A finding about part of a policy: where it says `word`, or else its scope.
    pub(crate) fn finding(
        &self,
        severity: Severity,
        index: usize,
        word: &str,
        message: String,
    ) -> Diagnostic {
        let base = match severity {
            Severity::Error => Diagnostic::error(self.path, message),
            Severity::Warning => Diagnostic::warning(self.path, message),
        };
        let span = self.cedar.policies.get(index).map_or(0..0, |policy| {
            let inside = self.cedar.part(policy.span.clone());
            inside.find(word).filter(|_| !word.is_empty()).map_or(policy.effect.clone(), |at| {
                let start = policy.span.start.saturating_add(at);
                start..start.saturating_add(word.len())
            })
        });
        base.at(self.source, self.cedar.original(span))
    }

    fn rule(&self, folder: Folder, index: usize, text: &PolicyText) -> Result<Rule, Refusal> {
        let scope = text.effect.start..text.scope_end;
        let refuse = |message: String| (text.effect.clone(), message, None);
        let policy = self.set.policy(&policy_id(index)).ok_or_else(|| {
            let help = "write the principal and the resource out".to_owned();
            (scope.clone(), "policy templates are not supported".to_owned(), Some(help))
        })?;
        let annotations: BTreeMap<String, String> =
            policy.annotations().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let body = body(folder, policy, &annotations).map_err(refuse)?;
        let word = match policy.effect() {
            Effect::Forbid => "forbid",
            Effect::Permit => "permit",
        };
        if self.cedar.part(text.effect.clone()) != word {
            return Err(refuse("the policy could not be told apart from its annotations".to_owned()));
        }
        let tree = policy.to_pst().map_err(|error| refuse(error.to_string()))?;
        let mut mentions = Mentions::default();
        for Clause::When(condition) | Clause::Unless(condition) in tree.body().clauses() {
            mentions.add(condition).map_err(refuse)?;
        }
        let at = self.reference(text, &annotations).map_err(refuse)?;
        Ok(Rule {
            at,
            message: annotations.get("message").map_or(body.message(), String::as_str).into(),
            body,
            remedy: annotations.get("remedy").map(|text| text.as_str().into()),
            actions: actions(&tree.body().action).map_err(|message| (scope.clone(), message, None))?,
            exact: matches!(tree.body().action, ActionConstraint::Eq(_)),
            principal_types: principal_types(&tree.body().principal),
            resource_types: resource_types(&tree.body().resource),
            mentions,
            tree: Tree::of(&tree),
            policy: policy.clone(),
        })
    }

    fn reference(
        &self,
        text: &PolicyText,
        annotations: &BTreeMap<String, String>,
    ) -> Result<RuleRef, String> {
        let start = self.cedar.original(text.effect.clone()).start;
        let before = self.line_ends.partition_point(|end| *end < start);
        let line = u32::try_from(before.saturating_add(1)).unwrap_or(u32::MAX);
        let rule = match annotations.get("id") {
            Some(id) => {
                let plain = (1..=128).contains(&id.len()) && !id.chars().any(char::is_control);
                if !plain || id.starts_with("cordon:") {
                    return Err(format!(
                        "`@id` is `{id}`, expected 1 to 128 plain bytes not starting with `cordon:`"
                    ));
                }
                id.as_str().into()
            }
            None => format!("{}:{line}", self.path).into(),
        };
        Ok(RuleRef { rule, file: Arc::clone(&self.name), line })
    }
}

type Refusal = (Range<usize>, String, Option<String>);

fn body(folder: Folder, policy: &Policy, annotations: &BTreeMap<String, String>) -> Result<Body, String> {
    match folder {
        Folder::Obligations if policy.effect() == Effect::Forbid => {
            Err("`forbid` in obligations/: an obligation is a `permit` whose meaning is «applies»; \
             prohibitions belong in permissions/"
                .to_owned())
        }
        Folder::Obligations => obligation::read(annotations).map(Body::Obligation),
        // Satisfied where it is about the request, in doubt where that is in doubt: as a prohibition is.
        Folder::Invariants => invariant::read(policy.effect(), annotations).map(|_| Body::Prohibition),
        Folder::Permissions => {
            if annotations.contains_key("obligation") {
                return Err("obligations belong in obligations/".to_owned());
            }
            if let Some(unknown) = annotations.keys().find(|name| !obligation::is_about_rule(name)) {
                let known = obligation::RULE_ANNOTATIONS;
                let hint = nearest(unknown, known.iter().copied()).map_or_else(
                    || format!("expected one of `@{}`", known.join("`, `@")),
                    |close| format!("did you mean `@{close}`?"),
                );
                return Err(format!("unknown annotation `@{unknown}`; {hint}"));
            }
            Ok(match policy.effect() {
                Effect::Permit => Body::Permission,
                Effect::Forbid => Body::Prohibition,
            })
        }
    }
}

fn actions(scope: &ActionConstraint) -> Result<Option<Vec<Box<str>>>, String> {
    let name = |uid: &EntityUID| {
        let kind = uid.ty.to_string();
        if kind == format!("{NAMESPACE}::Action") {
            return Ok(uid.eid.as_str().into());
        }
        Err(format!("`{uid}` is not an action of the namespace `{NAMESPACE}`"))
    };
    match scope {
        ActionConstraint::Any => Ok(None),
        ActionConstraint::Eq(uid) => Ok(Some(vec![name(uid)?])),
        ActionConstraint::In(uids) => uids.iter().map(name).collect::<Result<_, _>>().map(Some),
    }
}

fn principal_types(scope: &PrincipalConstraint) -> Vec<Box<str>> {
    match scope {
        PrincipalConstraint::Any => Vec::new(),
        PrincipalConstraint::Eq(one) | PrincipalConstraint::In(one) => entity_type(one).into_iter().collect(),
        PrincipalConstraint::Is(kind) => vec![kind.to_string().into()],
        PrincipalConstraint::IsIn(kind, one) => {
            entity_type(one).into_iter().chain([kind.to_string().into()]).collect()
        }
    }
}

fn resource_types(scope: &ResourceConstraint) -> Vec<Box<str>> {
    match scope {
        ResourceConstraint::Any => Vec::new(),
        ResourceConstraint::Eq(one) | ResourceConstraint::In(one) => entity_type(one).into_iter().collect(),
        ResourceConstraint::Is(kind) => vec![kind.to_string().into()],
        ResourceConstraint::IsIn(kind, one) => {
            entity_type(one).into_iter().chain([kind.to_string().into()]).collect()
        }
    }
}

fn entity_type(slot: &EntityOrSlot) -> Option<Box<str>> {
    match slot {
        EntityOrSlot::Entity(uid) => Some(uid.ty.to_string().into()),
        EntityOrSlot::Slot(_) => None,
    }
}

/// The engine's words without its own names for policies and for actions that stand for others.
fn plain(message: &str) -> String {
    let message = message
        .strip_prefix("for policy `")
        .and_then(|rest| rest.split_once("`, "))
        .map_or(message, |(_, rest)| rest);
    message.replace(&format!("{NAMESPACE}::"), "").replace(&format!(" for Action::\"{ANY_ACTION}\""), "")
}

/// A finding of the engine, at its place in the original text.
pub(crate) fn engine_finding(
    path: &str,
    source: &str,
    cedar: &CedarText,
    severity: Severity,
    error: &dyn miette::Diagnostic,
) -> Diagnostic {
    let message = plain(&error.to_string());
    let base = match severity {
        Severity::Error => Diagnostic::error(path, message),
        Severity::Warning => Diagnostic::warning(path, message),
    };
    let label = error.labels().and_then(|mut labels| labels.next());
    let base = match &label {
        Some(label) => {
            let end = label.offset().saturating_add(label.len());
            base.at(source, cedar.original(label.offset()..end))
        }
        None => base,
    };
    let expected = label.and_then(|label| label.label().map(ToOwned::to_owned));
    match error.help().map(|help| plain(&help.to_string())).or(expected) {
        Some(help) => base.help(help),
        None => base,
    }
}
