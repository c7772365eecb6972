//! The permission that came closest to letting a principal through, and what it still asks for.

use cedar_policy::pst::{BinaryOp, Clause, Expr, PrincipalConstraint, ResourceConstraint, Var};
use cedar_policy::{Policy, PolicySet as CedarSet};
use cordon_core::{Principal, Record, Request, RuleRef, Value};

use crate::cedar_text::NAMESPACE;
use crate::engine::{Asked, Outcome};
use crate::explain::RuleOutcome;
use crate::index::id;
use crate::mention::chain;
use crate::rule::{Body, Rule};

/// Most permissions that are taken apart for one principal.
const PERMISSIONS_MAX: usize = 256;
/// Most parts of one permission.
const PARTS_MAX: usize = 64;

/// A permission that is not satisfied, part by part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearestPermission {
    /// The permission.
    pub rule: RuleRef,
    /// Its scope and its conditions, in the order in which they are written.
    pub parts: Vec<PermissionPart>,
}

/// One part of a permission, which has to hold like every other one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionPart {
    /// The part as Cedar text.
    pub text: Box<str>,
    /// Whether it holds; a part that presumes an earlier one is not looked at when that one fails.
    pub outcome: Option<RuleOutcome>,
    /// The values of the request that it asks about, by path, where they can be told; `None` is absent.
    pub values: Vec<(Box<str>, Option<Value>)>,
}

impl PermissionPart {
    /// Whether it holds.
    pub fn holds(&self) -> bool {
        self.outcome == Some(RuleOutcome::Satisfied)
    }
}

/// The permission with the fewest parts that fail for the principal at place `person`; the first of
/// those with as few. None where no permission is about the action.
pub(crate) fn nearest(
    asked: &Asked<'_, '_>,
    person: usize,
    principal: &Principal,
) -> Option<NearestPermission> {
    let rules = asked.about().into_iter().filter_map(|place| asked.inner.rules.get(place));
    let permissions = rules.filter(|rule| rule.body == Body::Permission).take(PERMISSIONS_MAX);
    let taken = permissions.filter_map(|rule| apart(asked, person, principal, rule));
    taken.min_by_key(|near| near.parts.iter().filter(|part| !part.holds()).count())
}

fn apart(
    asked: &Asked<'_, '_>,
    person: usize,
    principal: &Principal,
    rule: &Rule,
) -> Option<NearestPermission> {
    let parts = parts(rule);
    let mut set = CedarSet::new();
    for (place, part) in parts.iter().enumerate() {
        let policy = Policy::parse(Some(id(place)), part.policy()).ok()?;
        set.add(policy).ok()?;
    }
    let outcomes = asked.apart(person, &set).ok()?;
    let mut failed_clause = None;
    let parts = parts.into_iter().enumerate().map(|(place, part)| {
        let outcome = match outcomes.get(&place) {
            Some(Outcome::Satisfied) => Some(RuleOutcome::Satisfied),
            None | Some(Outcome::NotSatisfied) => Some(RuleOutcome::NotSatisfied),
            // What an earlier part of the same clause makes sure of is not so.
            Some(Outcome::Error(_)) if part.clause.is_some() && failed_clause == part.clause => None,
            Some(Outcome::Error(problem)) => Some(RuleOutcome::Error(problem.as_str().into())),
            Some(Outcome::Unknown(path)) => Some(RuleOutcome::Unknown(path.as_str().into())),
            Some(Outcome::Rows(rows)) => Some(RuleOutcome::Rows(rows.to_json().into())),
        };
        if outcome != Some(RuleOutcome::Satisfied) {
            failed_clause = part.clause;
        }
        let told = |path: &Vec<Box<str>>| Some((path.join(".").into(), value(asked, path, principal)?));
        PermissionPart { values: part.paths.iter().filter_map(told).collect(), text: part.shown(), outcome }
    });
    Some(NearestPermission { rule: rule.at.clone(), parts: parts.collect() })
}

/// One part as it is asked.
struct Part {
    principal: String,
    resource: String,
    condition: Option<String>,
    /// The clause it belongs to.
    clause: Option<usize>,
    paths: Vec<Vec<Box<str>>>,
}

impl Part {
    fn policy(&self) -> String {
        let Self { principal, resource, condition, .. } = self;
        let when = condition.as_ref().map(|condition| format!(" when {{ {condition} }}")).unwrap_or_default();
        format!("permit({principal}, action, {resource}){when};")
    }

    fn shown(&self) -> Box<str> {
        let scope = if self.resource == "resource" { &self.principal } else { &self.resource };
        self.condition.as_ref().unwrap_or(scope).replace(&format!("{NAMESPACE}::"), "").into()
    }
}

fn parts(rule: &Rule) -> Vec<Part> {
    let tree = &rule.tree;
    let scope = |principal: String, resource: String| Part {
        principal,
        resource,
        condition: None,
        clause: None,
        paths: Vec::new(),
    };
    let plain = || ("principal".to_owned(), "resource".to_owned());
    let mut parts = Vec::new();
    if tree.principal != PrincipalConstraint::Any {
        parts.push(scope(format!("principal {}", tree.principal), plain().1));
    }
    if tree.resource != ResourceConstraint::Any {
        parts.push(scope(plain().0, format!("resource {}", tree.resource)));
    }
    for (at, clause) in tree.clauses.iter().enumerate() {
        let mut found = Vec::new();
        match clause {
            Clause::When(condition) => split(condition, BinaryOp::And, &mut found),
            Clause::Unless(condition) => split(condition, BinaryOp::Or, &mut found),
        }
        parts.extend(found.into_iter().map(|expr| {
            let condition = match clause {
                Clause::When(_) => expr.to_string(),
                Clause::Unless(_) => format!("!({expr})"),
            };
            let mut paths = Vec::new();
            mentioned(expr, &mut paths);
            let (principal, resource) = plain();
            Part { principal, resource, condition: Some(condition), clause: Some(at), paths }
        }));
    }
    parts.truncate(PARTS_MAX);
    parts
}

/// The parts of `a && b && c`, or of `a || b || c`.
fn split<'e>(expr: &'e Expr, by: BinaryOp, parts: &mut Vec<&'e Expr>) {
    match expr {
        Expr::BinaryOp { op, left, right } if *op == by => {
            split(left, by, parts);
            split(right, by, parts);
        }
        other => parts.push(other),
    }
}

/// The attribute paths in an expression, each once.
fn mentioned(expr: &Expr, paths: &mut Vec<Vec<Box<str>>>) {
    if let Some((root, names)) = chain(expr) {
        let root = match root {
            Expr::Var(Var::Context) => "context",
            Expr::Var(Var::Principal) => "principal",
            Expr::Var(Var::Resource) => "resource",
            other => return mentioned(other, paths),
        };
        let path: Vec<Box<str>> = [Box::from(root)].into_iter().chain(names).collect();
        if !paths.contains(&path) {
            paths.push(path);
        }
        return;
    }
    match expr {
        Expr::UnaryOp { expr, .. } | Expr::Like { expr, .. } | Expr::Is { expr, .. } => {
            mentioned(expr, paths)
        }
        Expr::BinaryOp { left, right, .. } => {
            [left, right].into_iter().for_each(|side| mentioned(side, paths))
        }
        Expr::IfThenElse { cond, then_expr, else_expr } => {
            [cond, then_expr, else_expr].into_iter().for_each(|part| mentioned(part, paths));
        }
        Expr::Set(items) => items.iter().for_each(|item| mentioned(item, paths)),
        _ => {}
    }
}

/// The value at a path: the outer `None` for what is not told here, the inner one for what is absent.
fn value(asked: &Asked<'_, '_>, path: &[Box<str>], principal: &Principal) -> Option<Option<Value>> {
    let names: Vec<&str> = path.iter().map(|name| &**name).collect();
    let Request { context, resource, .. } = asked.request;
    let session = asked.facts.session.as_ref();
    let text = |text: &Option<Box<str>>| text.clone().map(Value::Text);
    Some(match names.as_slice() {
        ["context", "args", rest @ ..] => member(&context.args, rest),
        ["context", "asserted", rest @ ..] => member(&context.asserted, rest),
        ["context", "model", rest @ ..] => member(&context.model, rest),
        ["context", "purpose"] => text(&context.purpose),
        ["context", "project"] => text(&context.project),
        ["context", "workflow"] => text(&context.workflow),
        ["context", "task"] => text(&context.task),
        ["context", "session", "calls"] => {
            let calls = session.map_or(0, |session| session.calls);
            i64::try_from(calls).ok().map(Value::Long)
        }
        ["context", "session", "posture"] => {
            let state = session.map(|session| session.posture.state()).unwrap_or_default();
            Some(Value::text(state.as_str()))
        }
        ["resource", "tenant"] => Some(Value::Text(resource.tenant.clone())),
        ["resource", "markings"] => {
            Some(Value::texts(resource.markings.iter().map(|marking| marking.as_str())))
        }
        ["resource", rest @ ..] => member(&resource.attributes, rest),
        ["principal", rest @ ..] => {
            let known = asked.inner.directory.known(principal.kind, &principal.id);
            let known = known.and_then(|known| member(&known.attributes, rest));
            known.or_else(|| member(&principal.attributes, rest))
        }
        _ => return None,
    })
}

fn member(record: &Record, path: &[&str]) -> Option<Value> {
    let (name, rest) = path.split_first()?;
    match (record.get(*name)?, rest) {
        (value, []) => Some(value.clone()),
        (Value::Record(inner), rest) => member(inner, rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use cordon_core::{Chain, Context, Facts, PrincipalKind, Resource, Timestamp};

    use super::*;
    use crate::{PolicySet, PolicySource, explain};

    const TOOL: &str = r#"
tool = "bank/pay"
classes = []
effect = "write"
input_schema = '''{"type":"object","properties":{"to":{"type":"string"},"amount":{"type":"integer"}}}'''
"#;

    /// The parts of the nearest permission: `+` holds, `-` does not, `?` was not looked at.
    fn check(permissions: &str, args: Record, want: &[&str]) {
        let source: PolicySource =
            [("permissions/p.cedar", permissions), ("tools/t.toml", TOOL)].into_iter().collect();
        let policies = PolicySet::compile(&source).unwrap().policies;
        let request = Request {
            chain: Chain::new(None, Some(Principal::new(PrincipalKind::Agent, "bot")), None).unwrap(),
            action: policies.action(&"bank/pay".parse().unwrap()),
            resource: Resource::new("Tool", "bank/pay", "default"),
            context: Context { args, ..Context::default() },
        };
        let explained = explain(&policies, &request, &Facts::default(), Timestamp::from_micros(0));
        let near = explained.principals[0].nearest.clone().unwrap();
        let shown = near.parts.iter().map(|part| {
            let mark = match &part.outcome {
                Some(RuleOutcome::Satisfied) => '+',
                Some(_) => '-',
                None => '?',
            };
            let values = part.values.iter().map(|(path, value)| format!(" {path}={value:?}"));
            format!("{mark} {}{}", part.text, values.collect::<String>())
        });
        assert_eq!(shown.collect::<Vec<_>>(), want);
    }

    #[test]
    fn the_part_that_fails_is_named_with_the_value_that_it_failed_for() {
        let rule = r#"permit (principal is Agent, action, resource)
            when { context.args has amount && context.args.amount < 10 }
            unless { context.args has to && context.args.to == "eve" };"#;
        let scope = "+ principal is Agent";
        let to = "+ !((context.args has to) && (context.args.to == \"eve\")) context.args.to=None";
        let seventy = Record::from([("amount".into(), Value::Long(70))]);
        let has = "+ context.args has amount context.args.amount=Some(Long(70))";
        check(
            rule,
            seventy,
            &[scope, has, "- context.args.amount < 10 context.args.amount=Some(Long(70))", to],
        );
        let hasnt = "- context.args has amount context.args.amount=None";
        check(
            rule,
            Record::new(),
            &[scope, hasnt, "? context.args.amount < 10 context.args.amount=None", to],
        );
    }

    #[test]
    fn the_permission_with_the_fewest_failing_parts_is_nearest() {
        let far = r#"permit (principal == Agent::"other", action, resource) when { context.args has to };"#;
        let near = r#"permit (principal == Agent::"bot", action, resource) when { context.args has to };"#;
        let want = ["+ principal == Agent::\"bot\"", "- context.args has to context.args.to=None"];
        check(&format!("{far}\n{near}"), Record::new(), &want);
    }
}
