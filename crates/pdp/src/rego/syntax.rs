//! The syntax tree of a guard file, as the Rego parser prints it: JSON whose nodes are objects with
//! one member, named after the kind of node.

use std::ops::Range;

use serde_json::{Map, Value as Json};

/// One node: its kind, such as `Call`, and its members.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'t> {
    pub(super) kind: &'t str,
    body: &'t Map<String, Json>,
}

/// Whether the parts of a node are looked at, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    Look,
    Skip,
}

/// `root.a["b"][x].c`, taken apart.
#[derive(Debug)]
pub(super) struct Chain<'t> {
    pub(super) root: Node<'t>,
    /// The names before the first index that is not a name.
    pub(super) path: Vec<Box<str>>,
    /// Whether the names are all there is.
    pub(super) complete: bool,
    /// Every name of the chain, behind other indices, too.
    pub(super) names: Vec<Box<str>>,
    /// The indices that are not names.
    pub(super) indices: Vec<&'t Json>,
}

impl<'t> Node<'t> {
    /// The node that `json` is, if it is one.
    pub(super) fn of(json: &'t Json) -> Option<Self> {
        let members = json.as_object().filter(|members| members.len() == 1)?;
        let (kind, body) = members.iter().next()?;
        let body = body.as_object()?;
        kind.starts_with(|c: char| c.is_ascii_uppercase()).then_some(Self { kind, body })
    }

    /// A member of the node.
    pub(super) fn part(&self, name: &str) -> Option<&'t Json> {
        self.body.get(name).filter(|json| !json.is_null())
    }

    /// A member that is a node.
    pub(super) fn node(&self, name: &str) -> Option<Self> {
        self.part(name).and_then(Node::of)
    }

    /// The items of a member that is a list.
    pub(super) fn list(&self, name: &str) -> &'t [Json] {
        self.part(name).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// The text of a string, or the name of a variable.
    pub(super) fn text(&self) -> Option<&'t str> {
        self.part("value").and_then(Json::as_str)
    }

    /// The text, if the node is a string.
    pub(super) fn string(&self) -> Option<&'t str> {
        self.text().filter(|_| matches!(self.kind, "String" | "RawString"))
    }

    /// The name, if the node is a variable.
    pub(super) fn variable(&self) -> Option<&'t str> {
        self.text().filter(|_| self.kind == "Var")
    }

    /// Where in the file the node is, in bytes.
    pub(super) fn span(&self) -> Range<usize> {
        self.part("span").map(span).unwrap_or_default()
    }

    /// The line of the node, from 1.
    pub(super) fn line(&self) -> u32 {
        let line = self.part("span").and_then(|span| span.get("line")).and_then(Json::as_u64);
        line.and_then(|line| u32::try_from(line).ok()).unwrap_or(0)
    }

    /// The node as a chain of names and indices; only a `RefDot` or `RefBrack` is one.
    pub(super) fn chain(self) -> Option<Chain<'t>> {
        let mut steps: Vec<Result<Box<str>, &'t Json>> = Vec::new();
        let mut at = self;
        loop {
            match at.kind {
                "RefDot" => {
                    let name = at.list("field").get(1).and_then(Json::as_str)?;
                    steps.push(Ok(name.into()));
                }
                "RefBrack" => {
                    let index = at.part("index")?;
                    match Node::of(index).and_then(|node| node.string()) {
                        Some(name) => steps.push(Ok(name.into())),
                        None => steps.push(Err(index)),
                    }
                }
                _ => break,
            }
            at = at.node("refr")?;
        }
        if steps.is_empty() {
            return None;
        }
        steps.reverse();
        let path: Vec<Box<str>> = steps.iter().map_while(|step| step.clone().ok()).collect();
        Some(Chain {
            root: at,
            complete: path.len() == steps.len(),
            path,
            names: steps.iter().filter_map(|step| step.clone().ok()).collect(),
            indices: steps.into_iter().filter_map(Result::err).collect(),
        })
    }
}

/// Bytes `start..end` of a span.
pub(super) fn span(json: &Json) -> Range<usize> {
    let at = |name: &str| json.get(name).and_then(Json::as_u64).and_then(|n| usize::try_from(n).ok());
    let start = at("start").unwrap_or_default();
    start..at("end").unwrap_or_default().max(start)
}

/// Shows every node below `json` to `see`, outer nodes first.
///
/// The depth is bounded by that of the JSON text, 128.
pub(super) fn walk<'t>(json: &'t Json, see: &mut dyn FnMut(Node<'t>) -> Inside) {
    match json {
        Json::Array(items) => items.iter().for_each(|item| walk(item, see)),
        Json::Object(members) => {
            if let Some(node) = Node::of(json) {
                if see(node) == Inside::Look {
                    node.body.values().for_each(|part| walk(part, see));
                }
                return;
            }
            members.values().for_each(|part| walk(part, see));
        }
        _ => {}
    }
}
