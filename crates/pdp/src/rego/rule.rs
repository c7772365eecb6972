//! One guard rule: a definition of `deny` or of `obligation`.

use std::collections::BTreeSet;
use std::ops::Range;

use cordon_core::{Class, RuleRef};
use serde_json::Value as Json;

use super::dialect::RegoVersion;
use super::reads::Reads;
use super::syntax::{Inside, Node, span, walk};

/// What a guard rule adds to the judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GuardKind {
    /// Each value is a reason to deny.
    Deny,
    /// Each value is an obligation.
    Oblige,
}

impl GuardKind {
    /// The kind of rule that a name stands for.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "deny" => Some(Self::Deny),
            "obligation" => Some(Self::Oblige),
            _ => None,
        }
    }
}

/// One guard rule.
#[derive(Debug, Clone)]
pub(crate) struct GuardRule {
    pub(crate) at: RuleRef,
    pub(crate) kind: GuardKind,
    /// The last line of its file.
    pub(super) last_line: u32,
    /// What it and the rules that it names read.
    pub(super) reads: Reads,
    /// Actions and groups outside of which it cannot hold; `None` is every action.
    pub(super) actions: Option<BTreeSet<Box<str>>>,
    /// The rule's own name in the text that is evaluated.
    pub(super) entry: Box<str>,
    /// A rule that holds when this one does but for its message, where the two can differ.
    pub(super) due: Option<Box<str>>,
}

impl GuardRule {
    /// Whether it could hold for an action that goes by `names`.
    pub(super) fn is_about(&self, names: &[Box<str>]) -> bool {
        self.actions.as_ref().is_none_or(|about| names.iter().any(|name| about.contains(name)))
    }

    /// Whether it reads the arguments of a call.
    pub(super) fn reads_arguments(&self) -> bool {
        self.reads.mentions(&["args".into()])
    }

    /// Whether it reads the capability classes of the action.
    pub(super) fn reads_classes(&self) -> bool {
        self.reads.mentions(&["classes".into()])
    }
}

/// A definition of `deny` or `obligation` as it stands in its file.
#[derive(Debug)]
pub(super) struct Definition<'t> {
    pub(super) kind: GuardKind,
    /// The rule as a whole.
    pub(super) rule: Node<'t>,
    /// Where its name stands.
    pub(super) name: Range<usize>,
    pub(super) line: u32,
    key: Node<'t>,
    bodies: &'t [Json],
}

impl<'t> Definition<'t> {
    /// The definition that `rule` is; the text says what it should look like.
    pub(super) fn of(rule: Node<'t>) -> Option<Result<Self, &'static str>> {
        const SHAPE: &str = "write `deny contains msg if { … }`, or `deny[msg] { … }` in Rego v0; \
                             `obligation` in the same way";
        let head = rule.node("head").or_else(|| Node::of(rule.part("refr")?))?;
        let refr = if rule.kind == "Default" { head } else { head.node("refr")? };
        let root = refr.chain().map_or(refr, |chain| chain.root);
        let kind = GuardKind::of(root.variable()?)?;
        let key = head.node("key").filter(|_| head.kind == "Set" && refr.variable().is_some());
        Some(key.ok_or(SHAPE).map(|key| Self {
            kind,
            rule,
            name: refr.span(),
            line: refr.line(),
            key,
            bodies: rule.list("bodies"),
        }))
    }

    /// Where the first text of the definition stands.
    pub(super) fn place(&self) -> Range<usize> {
        self.name.clone()
    }

    /// The actions and groups that a body asks for, if every body asks for some.
    pub(super) fn actions(&self) -> Option<BTreeSet<Box<str>>> {
        if self.bodies.is_empty() {
            return None;
        }
        let mut all = BTreeSet::new();
        for body in self.bodies {
            all.extend(statements(body).iter().find_map(asked)?);
        }
        Some(all)
    }

    /// The text of a rule `name` that holds whenever the conditions of this one do, whatever becomes
    /// of its message; `None` when the message cannot be missing.
    pub(super) fn due(&self, name: &str, version: RegoVersion, text: &str) -> Option<String> {
        let mut rules = String::new();
        let mut differs = false;
        for body in self.bodies {
            let mut kept: Vec<&Json> = statements(body).iter().collect();
            let all = kept.len();
            let mut wanted: BTreeSet<Box<str>> = BTreeSet::new();
            match self.key.variable() {
                Some(key) => wanted.extend([key.into()]),
                None => {
                    let mut see = |node: Node<'_>| {
                        wanted.extend(node.variable().map(Into::into));
                        Inside::Look
                    };
                    let head = self.rule.part("head")?.get("Set")?.get("key")?;
                    walk(head, &mut see);
                    differs |= !matches!(self.key.kind, "String" | "RawString" | "Number");
                }
            }
            // What only serves the message: an assignment whose variable no other condition uses.
            loop {
                let serving = kept.iter().position(|statement| {
                    let Some((variable, value)) = assigned(statement) else { return false };
                    let used = |other: &&&Json| Reads::of(other).names.contains_key(variable);
                    let used = kept
                        .iter()
                        .filter(|other| !std::ptr::eq(**other, *statement))
                        .any(|other| used(&other));
                    let serves = wanted.contains(variable) && !used;
                    if serves {
                        wanted.extend(Reads::of(value).names.into_keys());
                    }
                    serves
                });
                match serving {
                    Some(place) => drop(kept.remove(place)),
                    None => break,
                }
            }
            differs |= kept.len() < all;
            let conditions: Option<Vec<&str>> =
                kept.iter().map(|statement| whole(text, span(statement.get("span")?))).collect();
            let conditions = match conditions?.join("\n") {
                none if none.is_empty() => "true".to_owned(),
                some => some,
            };
            rules.push_str(&match version {
                RegoVersion::V0 => format!("\n{name}[true] {{\n{conditions}\n}}\n"),
                RegoVersion::V1 => format!("\n{name} contains true if {{\n{conditions}\n}}\n"),
            });
        }
        differs.then_some(rules)
    }
}

/// The text of a statement: the parser's spans of strings leave their quotes out.
fn whole(text: &str, span: Range<usize>) -> Option<&str> {
    let quote = |place: Option<usize>| {
        place.and_then(|place| text.as_bytes().get(place)).is_some_and(|byte| matches!(byte, b'"' | b'`'))
    };
    let start = span.start.saturating_sub(usize::from(quote(span.start.checked_sub(1))));
    text.get(start..span.end.saturating_add(usize::from(quote(Some(span.end)))))
}

/// The statements of a body.
fn statements(body: &Json) -> &[Json] {
    let statements = body.get("query").and_then(|query| query.get("stmts"));
    statements.and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The expression of a statement that is no more than one.
fn expression(statement: &Json) -> Option<Node<'_>> {
    let literal = Node::of(statement.get("literal")?)?;
    literal.node("expr").filter(|_| literal.kind == "Expr")
}

/// The variable and the value of `variable := value` or `variable = value`.
fn assigned(statement: &Json) -> Option<(&str, &Json)> {
    let assign = expression(statement).filter(|node| node.kind == "AssignExpr")?;
    Some((assign.node("lhs")?.variable()?, assign.part("rhs")?))
}

/// The actions or groups that a condition asks for: `input.action == "a"`, `"c" in input.classes`.
fn asked(statement: &Json) -> Option<BTreeSet<Box<str>>> {
    let node = expression(statement)?;
    let is = |node: Node<'_>, name: &str| {
        node.chain().is_some_and(|chain| {
            chain.root.variable() == Some("input") && chain.path.iter().map(|name| &**name).eq([name])
        })
    };
    let texts = |node: Node<'_>| -> Option<BTreeSet<Box<str>>> {
        if let Some(text) = node.string() {
            return Some(BTreeSet::from([text.into()]));
        }
        let items = node.list("items");
        let collection = matches!(node.kind, "Array" | "Set") && !items.is_empty();
        collection.then(|| items.iter().map(|item| Node::of(item)?.string().map(Into::into)).collect())?
    };
    let complete = |node: Node<'_>| node.chain().is_some_and(|chain| chain.complete);
    let equal = match node.kind {
        "BoolExpr" => node.part("op").and_then(Json::as_str) == Some("Eq"),
        "AssignExpr" => true,
        _ => false,
    };
    if equal {
        let (left, right) = (node.node("lhs")?, node.node("rhs")?);
        let (input, text) = if left.string().is_some() { (right, left) } else { (left, right) };
        let text = BTreeSet::from([Box::from(text.string()?)]);
        let class = is(input, "classes") && !complete(input) && all_classes(&text);
        return ((is(input, "action") && complete(input)) || class).then_some(text);
    }
    if node.kind == "Membership" && node.part("key").is_none() {
        let (value, collection) = (node.node("value")?, node.node("collection")?);
        if is(value, "action") && complete(value) {
            return texts(collection);
        }
        let class = texts(value).filter(|_| value.string().is_some())?;
        return (is(collection, "classes") && complete(collection) && all_classes(&class)).then_some(class);
    }
    None
}

fn all_classes(names: &BTreeSet<Box<str>>) -> bool {
    names.iter().all(|name| name.parse::<Class>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rego::dialect::parse;

    fn with_definition<T>(text: &str, look: impl FnOnce(&Definition<'_>, RegoVersion, &str) -> T) -> T {
        let text = format!("package cordon\n{text}");
        let parsed = parse("g", &text).unwrap();
        let rule = Node::of(&parsed.tree[0]["ast"]["rules"][0]).unwrap();
        look(&Definition::of(rule).unwrap().unwrap(), parsed.version, &text)
    }

    #[test]
    fn a_rule_is_about_the_actions_that_every_body_asks_for() {
        for (text, want) in [
            ("deny[m] { input.action == \"a/b\"; m := \"x\" }", Some(vec!["a/b"])),
            ("deny[m] { m := \"x\"; \"a/b\" = input.action }", Some(vec!["a/b"])),
            ("deny[m] { not input.action == \"a/b\"; m := \"x\" }", None),
            ("deny[m] { input.action != \"a/b\"; m := \"x\" }", None),
            ("deny[m] { startswith(input.action, \"a/\"); m := \"x\" }", None),
            ("deny[m] { input.args.action == \"a/b\"; m := \"x\" }", None),
            ("deny[m] { input.classes[_] == \"admin\"; m := \"x\" }", Some(vec!["admin"])),
            ("deny[m] { input.classes[_] == \"none\"; m := \"x\" }", None),
            ("deny contains \"x\" if \"admin\" in input.classes", Some(vec!["admin"])),
            ("deny contains \"x\" if input.action in {\"a/b\", \"c/d\"}", Some(vec!["a/b", "c/d"])),
            ("deny contains \"x\" if input.action in [\"a/b\", input.agent.id]", None),
            ("deny contains \"x\" if \"admin\" in input.args.classes", None),
            ("deny contains \"x\"", None),
        ] {
            let got = with_definition(text, |definition, _, _| definition.actions());
            let want = want.map(|names| names.into_iter().map(Into::into).collect());
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn the_conditions_are_told_from_what_only_serves_the_message() {
        let due = |text: &str| {
            with_definition(text, |definition, version, text| {
                let due = definition.due("due", version, text);
                due.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
            })
        };
        for (text, want) in [
            ("deny[m] { input.action == \"a\"; m := \"x\" }", Some("due[true] { input.action == \"a\" }")),
            (
                "deny contains m if { input.action == \"a\"; who := input.args.who.id; m := sprintf(\"%s\", [who]) }",
                Some("due contains true if { input.action == \"a\" }"),
            ),
            (
                "deny[m] { x := input.args.n; x > 3; m := sprintf(\"%d\", [x]) }",
                Some("due[true] { x := input.args.n x > 3 }"),
            ),
            (
                "deny contains sprintf(\"%s\", [input.args.a.b]) if input.action == \"a\"",
                Some("due contains true if { input.action == \"a\" }"),
            ),
            (
                "deny[m] { \"admin\" == input.classes[_];`a` == input.action;m := `x` }",
                Some("due[true] { \"admin\" == input.classes[_] `a` == input.action }"),
            ),
            ("deny contains m if some m in input.args.bad", None),
            ("deny contains \"x\" if input.action == \"a\"", None),
        ] {
            assert_eq!(due(text).as_deref(), want, "{text}");
        }
    }
}
