//! What part of the input a rule reads, found over its syntax tree.

use std::collections::{BTreeMap, BTreeSet};

use cordon_core::Class;
use serde_json::Value as Json;

use super::syntax::{Inside, Node, walk};

/// What one rule reads and names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Reads {
    /// Paths below `input`; the empty path is the whole of it.
    pub(super) paths: BTreeSet<Vec<Box<str>>>,
    /// Those of them that are read as a whole, not item by item.
    pub(super) wholes: BTreeSet<Vec<Box<str>>>,
    /// Every name after a dot or in brackets, whatever it is a member of.
    pub(super) members: BTreeSet<Box<str>>,
    /// Variables, which may be other rules, and functions, with how often each is named.
    pub(super) names: BTreeMap<Box<str>, u32>,
    /// Texts that name a capability class.
    pub(super) classes: BTreeSet<Box<str>>,
    /// How often a value can be doubled: each collection of several values, and each product.
    pub(super) growth: u32,
    /// How many conditions there are: evaluating them nests.
    pub(super) conditions: u32,
}

impl Reads {
    /// What is read anywhere below `json`.
    pub(super) fn of(json: &Json) -> Self {
        let mut reads = Self::default();
        reads.add(json);
        reads
    }

    /// Adds what is read below `json`.
    pub(super) fn add(&mut self, json: &Json) {
        walk(json, &mut |node| self.node(node));
    }

    /// Adds what another rule reads.
    pub(super) fn join(&mut self, other: &Self) {
        self.paths.extend(other.paths.iter().cloned());
        self.wholes.extend(other.wholes.iter().cloned());
        self.members.extend(other.members.iter().cloned());
        for (name, times) in &other.names {
            self.name(name, *times);
        }
        self.classes.extend(other.classes.iter().cloned());
        self.growth = self.growth.saturating_add(other.growth);
        self.conditions = self.conditions.saturating_add(other.conditions);
    }

    /// Whether the value at `path` below `input`, or part of it, or what it is part of, is read.
    pub(super) fn mentions(&self, path: &[Box<str>]) -> bool {
        self.paths.iter().any(|read| read.iter().zip(path).all(|(a, b)| a == b))
    }

    fn name(&mut self, name: &str, times: u32) {
        let known = self.names.entry(name.into()).or_default();
        *known = known.saturating_add(times);
    }

    fn node(&mut self, node: Node<'_>) -> Inside {
        if let Some(chain) = node.chain() {
            self.members.extend(chain.names.iter().cloned());
            chain.indices.iter().for_each(|index| self.add(index));
            match chain.root.variable() {
                Some("input") => {
                    if chain.complete {
                        self.wholes.insert(chain.path.clone());
                    }
                    self.paths.insert(chain.path);
                }
                Some(name) => self.name(name, 1),
                None => walk_node(chain.root, self),
            }
            return Inside::Skip;
        }
        match node.kind {
            "Var" if node.variable() == Some("input") => {
                self.paths.insert(Vec::new());
            }
            "Var" => self.name(node.variable().unwrap_or_default(), 1),
            "Call" => {
                self.name(&node.node("fcn").map(function_name).unwrap_or_default(), 1);
                node.list("params").iter().for_each(|item| self.add(item));
                return Inside::Skip;
            }
            "Expr" | "NotExpr" | "SomeIn" | "Every" => self.conditions = self.conditions.saturating_add(1),
            "Array" | "Set" => self.grow(node.list("items").iter()),
            "Object" => self.grow(node.list("fields").iter().filter_map(|field| field.get(2))),
            "ArithExpr" if node.part("op").and_then(Json::as_str) == Some("Mul") => {
                self.growth = self.growth.saturating_add(1);
            }
            _ => {}
        }
        if let Some(text) = node.string().filter(|text| text.parse::<Class>().is_ok()) {
            self.classes.insert(text.into());
        }
        Inside::Look
    }

    /// Notes a collection that holds several values which are not constants.
    fn grow<'t>(&mut self, items: impl Iterator<Item = &'t Json>) {
        let constant =
            |node: &Node<'_>| matches!(node.kind, "String" | "RawString" | "Number" | "Bool" | "Null");
        let varying = items.filter_map(Node::of).filter(|node| !constant(node)).count();
        let doubled = usize::BITS.saturating_sub(varying.saturating_sub(1).leading_zeros());
        self.growth = self.growth.saturating_add(if varying > 1 { doubled } else { 0 });
    }
}

fn walk_node(node: Node<'_>, reads: &mut Reads) {
    if reads.node(node) == Inside::Look {
        for part in
            ["span", "items", "fields", "term", "key", "value", "query", "expr", "lhs", "rhs", "collection"]
        {
            if let Some(part) = node.part(part) {
                reads.add(part);
            }
        }
    }
}

/// The name of a called function, with dots.
pub(super) fn function_name(function: Node<'_>) -> String {
    match function.chain() {
        Some(chain) => {
            let root = chain.root.variable().unwrap_or_default();
            std::iter::once(root).chain(chain.names.iter().map(|name| &**name)).collect::<Vec<_>>().join(".")
        }
        None => function.variable().unwrap_or_default().to_owned(),
    }
}

/// Every rule of a package with what it reads, so that what a rule reads through others can be told.
#[derive(Debug, Default)]
pub(super) struct Library(BTreeMap<Box<str>, Reads>);

/// A rule reads itself, or through too many others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tangle {
    Cycle(Box<str>),
    Deep(Box<str>),
}

/// Longest chain of rules that read each other.
pub(super) const CHAIN_MAX: usize = 16;

impl Library {
    /// Adds one definition of a rule.
    pub(super) fn add(&mut self, name: &str, reads: &Reads) {
        self.0.entry(name.into()).or_default().join(reads);
    }

    /// Whether a rule of this name is defined.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The names of all rules.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }

    /// What is read by `reads` and by every rule that it names.
    pub(super) fn closure(&self, reads: &Reads) -> Result<Reads, Tangle> {
        let mut known = BTreeMap::new();
        self.inside(reads, &mut Vec::new(), &mut known)
    }

    fn inside<'l>(
        &'l self,
        reads: &Reads,
        above: &mut Vec<&'l str>,
        known: &mut BTreeMap<&'l str, Reads>,
    ) -> Result<Reads, Tangle> {
        let mut all = reads.clone();
        let named = reads.names.iter();
        for ((name, below), times) in
            named.filter_map(|(name, times)| Some((self.0.get_key_value(name)?, *times)))
        {
            if above.contains(&&**name) {
                return Err(Tangle::Cycle(name.clone()));
            }
            if above.len() >= CHAIN_MAX {
                return Err(Tangle::Deep(name.clone()));
            }
            if !known.contains_key(&**name) {
                above.push(name);
                let found = self.inside(below, above, known);
                above.pop();
                known.insert(name, found?);
            }
            if let Some(found) = known.get(&**name) {
                all.join(found);
                let again = found.growth.saturating_mul(times.saturating_sub(1));
                all.growth = all.growth.saturating_add(again);
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rego::dialect::parse;

    fn reads(body: &str) -> Reads {
        let text = format!("package cordon\ndeny contains \"x\" if {{ {body} }}");
        let parsed = parse("g", &text).unwrap();
        Reads::of(&parsed.tree[0]["ast"]["rules"])
    }

    fn path(text: &str) -> Vec<Box<str>> {
        text.split('.').filter(|part| !part.is_empty()).map(Into::into).collect()
    }

    #[test]
    fn a_read_covers_what_is_below_it_and_what_it_is_below_and_nothing_beside() {
        for (body, unknown, want) in [
            ("input.args.to == \"a\"", "args.to", true),
            ("input.args.to == \"a\"", "args.cc", false),
            ("input.args.to == \"a\"", "args", true),
            ("input.args.to.host == \"a\"", "args.to", true),
            ("input[\"args\"][`to`] == 1", "args.to", true),
            ("input[\"args\"][`to`] == 1", "args.cc", false),
            ("x := \"to\"; input.args[x] == 1", "args.to", true),
            ("x := \"to\"; input.args[x] == 1", "agent.role", false),
            ("a := input.args; a.to == 1", "args.to", true),
            ("input[k].to == 1", "args.to", true),
            ("some k, v in input; v == 1", "agent.role", true),
            ("count([x | some x in input.args.to]) > 1", "args.to", true),
            ("startswith(lower(input.args.to), \"a\")", "args.to", true),
            ("{\"a\": input.args.to}.a == 1", "args.to", true),
            ("not input.args.to", "args.to", true),
            ("every x in input.args.to { x == 1 }", "args.to", true),
            ("object.get(input.args, \"to\", 1) == 1", "args.to", true),
            ("input.agent.role == input.resource.to", "args.to", false),
            ("[input.args.to][0] == 1", "args.to", true),
        ] {
            assert_eq!(reads(body).mentions(&path(unknown)), want, "{body} {unknown}");
        }
    }

    #[test]
    fn a_rule_reads_what_the_rules_it_names_read_and_no_rule_reads_itself() {
        let mut library = Library::default();
        library.add("a", &reads("b"));
        library.add("b", &reads("input.args.to == 1"));
        library.add("b", &reads("f(input.args.cc)"));
        library.add("f", &reads("input.agent.role == 1"));
        let all = library.closure(&reads("a")).unwrap();
        for read in ["args.to", "args.cc", "agent.role"] {
            assert!(all.mentions(&path(read)), "{read}");
        }
        library.add("f", &reads("a"));
        assert_eq!(library.closure(&reads("a")), Err(Tangle::Cycle("a".into())));
    }

    #[test]
    fn collections_of_several_values_and_products_are_counted() {
        for (body, want) in [
            ("x := [input.a, input.b]", 1),
            ("x := [input.a, input.b, input.c]", 2),
            ("x := [\"a\", \"b\", input.c]", 0),
            ("x := {\"a\": input.a, \"b\": input.b}", 1),
            ("x := input.a * input.b", 1),
            ("x := input.a + input.b", 0),
        ] {
            assert_eq!(reads(body).growth, want, "{body}");
        }
    }
}
