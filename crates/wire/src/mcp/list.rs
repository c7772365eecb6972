//! Lists of tools, resources, templates and prompts: dropping and renaming items without touching
//! any other byte.

use std::collections::BTreeSet;

use cordon_core::json::{Kind as Json, Node, quote};

use super::{Message, Method, Problem, Refusal, Splice, canonical, header};

/// Which list an answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// `tools/list`
    Tools,
    /// `resources/list`
    Resources,
    /// `resources/templates/list`
    Templates,
    /// `prompts/list`
    Prompts,
}

impl ListKind {
    /// The list that the answer to `method` carries, if it carries one.
    pub const fn of(method: Method) -> Option<Self> {
        Some(match method {
            Method::ListTools => Self::Tools,
            Method::ListResources => Self::Resources,
            Method::ListResourceTemplates => Self::Templates,
            Method::ListPrompts => Self::Prompts,
            _ => return None,
        })
    }

    /// The result's member that holds the list.
    pub const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
            Self::Prompts => "prompts",
        }
    }

    /// The member by which an item is named.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }
}

/// One list in one answer.
#[derive(Debug, Clone)]
pub struct Listing<'m> {
    message: &'m Message,
    list: &'m Node,
    items: Vec<Item<'m>>,
}

/// One well-formed item of a list.
#[derive(Debug, Clone, Copy)]
pub struct Item<'m> {
    name: &'m str,
    key: &'m Node,
    node: &'m Node,
    position: usize,
    bytes: &'m [u8],
}

/// What becomes of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// It stays as it is.
    Keep,
    /// It goes.
    Drop,
    /// It stays under another name.
    Rename(String),
}

impl<'m> Listing<'m> {
    /// The list of kind `kind` in the answer `message`.
    ///
    /// Items that are not objects with a name, or in which a name differs from a protocol name only
    /// by letter case, are not among [`Listing::items`] and are always dropped.
    pub fn of(message: &'m Message, kind: ListKind) -> Result<Self, Refusal> {
        let list = message.result().and_then(|result| result.get(kind.member()));
        let list = list.filter(|list| matches!(list.kind(), Json::Array(_))).ok_or_else(|| Refusal {
            id: message.id().cloned(),
            problem: Problem::Type { name: "result", expected: "one with the list that was asked for" },
        })?;
        let items = list.items().iter().enumerate();
        let items = items.filter_map(|(position, node)| {
            let key = node.get(kind.key())?;
            let name = key.as_text().filter(|name| !name.is_empty())?;
            canonical::letter_case(node, ITEM).ok()?;
            Some(Item { name, key, node, position, bytes: message.bytes() })
        });
        Ok(Self { message, list, items: items.collect() })
    }

    /// The well-formed items, in order.
    pub fn items(&self) -> &[Item<'m>] {
        &self.items
    }

    /// How many items are not well formed.
    pub fn malformed(&self) -> usize {
        self.list.items().len().saturating_sub(self.items.len())
    }

    /// Names that more than one item has: nobody can say which of them a call would reach.
    pub fn duplicates(&self) -> BTreeSet<&'m str> {
        let mut seen = BTreeSet::new();
        self.items.iter().filter_map(|item| (!seen.insert(item.name)).then_some(item.name)).collect()
    }

    /// The answer with each item kept, dropped or renamed as `edit` says. Bytes outside of dropped
    /// items and changed names stay; an answer from which nothing changes is the same bytes.
    pub fn rewrite(&self, mut edit: impl FnMut(&Item<'m>) -> Edit) -> Result<Message, Refusal> {
        let mut kept = BTreeSet::new();
        let mut splice = Splice::new();
        for item in &self.items {
            match edit(item) {
                Edit::Drop => {}
                Edit::Keep => {
                    kept.insert(item.position);
                }
                Edit::Rename(name) => {
                    kept.insert(item.position);
                    splice = splice.replace(item.key.span(), quote(&name));
                }
            }
        }
        for gap in gaps(self.list, &kept) {
            splice = splice.replace(gap, Vec::new());
        }
        if splice.is_empty() {
            return Ok(self.message.clone());
        }
        self.message.spliced(&splice)
    }
}

impl<'m> Item<'m> {
    /// Its name: `name`, `uri` or `uriTemplate`.
    pub fn name(&self) -> &'m str {
        self.name
    }

    /// The whole item.
    pub fn node(&self) -> &'m Node {
        self.node
    }

    /// Its description, for people.
    pub fn description(&self) -> Option<&'m str> {
        self.node.get("description").and_then(Node::as_text)
    }

    /// The exact text of its member `name` (such as `inputSchema`).
    pub fn raw(&self, name: &str) -> Option<&'m [u8]> {
        Some(self.node.get(name)?.raw(self.bytes))
    }

    /// The headers into which a client copies arguments of this tool (`x-mcp-header`), or why its
    /// schema asks for something that may not be: such a tool is not to be offered over HTTP.
    pub fn mirrored(&self) -> Result<Vec<header::Mirrored>, header::InvalidMirror> {
        self.node.get("inputSchema").map_or_else(|| Ok(Vec::new()), header::Mirrored::all)
    }
}

/// Names in an item that say what it is.
const ITEM: &[&str] = &[
    "name",
    "title",
    "description",
    "uri",
    "uriTemplate",
    "mimeType",
    "inputSchema",
    "outputSchema",
    "annotations",
    "icons",
    "execution",
    "arguments",
    "_meta",
];

/// The byte ranges to cut so that only the items at the `kept` positions stay: each dropped item
/// goes with the separator before it, and leading ones with the separator after them.
fn gaps(list: &Node, kept: &BTreeSet<usize>) -> Vec<std::ops::Range<usize>> {
    let items = list.items();
    let mut gaps = Vec::new();
    let first = kept.first().copied();
    let mut end = None;
    for (n, item) in items.iter().enumerate() {
        let span = item.span();
        if !kept.contains(&n) {
            match (first, end) {
                // Before the first kept item: up to the start of the next item.
                (Some(first), _) if n < first => {
                    let next = items.get(n.saturating_add(1)).map_or(span.end, |next| next.span().start);
                    gaps.push(span.start..next);
                }
                (_, Some(end)) => gaps.push(end..span.end),
                (_, None) => gaps.push(span.clone()),
            }
        }
        end = Some(span.end);
    }
    gaps
}
