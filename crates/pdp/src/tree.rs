//! Structured text as a tree with positions: TOML and JSON read the same way.

use std::ops::Range;

use cordon_core::json::{self, Node};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Diagnostic;
use crate::diagnostic::nearest;

/// One value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) span: Range<usize>,
    pub(crate) value: TreeValue,
}

/// What a value is; numbers keep their text.
#[derive(Debug, Clone)]
pub(crate) enum TreeValue {
    Null,
    Bool(bool),
    Integer(i64),
    Number(Box<str>),
    Text(Box<str>),
    List(Vec<Tree>),
    Table(Vec<(Name, Tree)>),
}

/// The name of a member and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) text: Box<str>,
    pub(crate) span: Range<usize>,
}

/// Deepest nesting that is read.
const DEPTH_MAX: u16 = 32;

impl TreeValue {
    fn noun(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a truth value",
            Self::Integer(_) => "a whole number",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Reads a TOML document.
pub(crate) fn from_toml(file: &str, text: &str) -> Result<Tree, Box<Diagnostic>> {
    let table = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        Box::new(Diagnostic::error(file, error.message().trim_end_matches('.')).at(text, span))
    })?;
    let span = table.span();
    let refuse = |span: Range<usize>, what: &str| Box::new(Diagnostic::error(file, what).at(text, span));
    Ok(Tree { value: toml_table(table.into_inner(), 0, &refuse)?, span })
}

type Refuse<'a> = &'a dyn Fn(Range<usize>, &str) -> Box<Diagnostic>;

fn toml_table(table: DeTable<'_>, depth: u16, refuse: Refuse<'_>) -> Result<TreeValue, Box<Diagnostic>> {
    let mut members = Vec::new();
    for (name, value) in table {
        let name = Name { span: name.span(), text: name.into_inner().into() };
        members.push((name, toml_value(value, depth, refuse)?));
    }
    Ok(TreeValue::Table(members))
}

fn toml_value(value: Spanned<DeValue<'_>>, depth: u16, refuse: Refuse<'_>) -> Result<Tree, Box<Diagnostic>> {
    let span = value.span();
    let deeper = depth.saturating_add(1);
    if deeper > DEPTH_MAX {
        return Err(refuse(span, &format!("nested deeper than {DEPTH_MAX} levels")));
    }
    let value = match value.into_inner() {
        DeValue::String(text) => TreeValue::Text(text.into()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => TreeValue::Integer(number),
            Err(_) => return Err(refuse(span, "the whole number does not fit 64 bits")),
        },
        DeValue::Float(number) => TreeValue::Number(number.as_str().into()),
        DeValue::Boolean(value) => TreeValue::Bool(value),
        DeValue::Datetime(_) => return Err(refuse(span, "write times as text in quotes")),
        DeValue::Array(items) => TreeValue::List(
            items.into_iter().map(|item| toml_value(item, deeper, refuse)).collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => toml_table(table, deeper, refuse)?,
    };
    Ok(Tree { span, value })
}

/// Reads a JSON document.
pub(crate) fn from_json_text(file: &str, text: &str) -> Result<Tree, Box<Diagnostic>> {
    let limits = cordon_core::Limits {
        message_bytes_max: crate::FILE_BYTES_MAX,
        depth_max: DEPTH_MAX,
        nodes_max: 1_000_000,
        ..cordon_core::Limits::DEFAULT
    };
    let node = json::parse(text.as_bytes(), &limits).map_err(|error| {
        let end = error.offset.saturating_add(1);
        Box::new(Diagnostic::error(file, error.problem.to_string()).at(text, error.offset..end))
    })?;
    Ok(from_json(&node))
}

/// The tree of a JSON value that was already read.
pub(crate) fn from_json(node: &Node) -> Tree {
    let value = match node.kind() {
        json::Kind::Null => TreeValue::Null,
        json::Kind::Bool(value) => TreeValue::Bool(*value),
        json::Kind::Number(text) => {
            text.parse().map_or_else(|_| TreeValue::Number(text.clone()), TreeValue::Integer)
        }
        json::Kind::Text(text) => TreeValue::Text(text.clone()),
        json::Kind::Array(items) => TreeValue::List(items.iter().map(from_json).collect()),
        json::Kind::Object(members) => TreeValue::Table(
            members
                .iter()
                .map(|(name, node)| (Name { text: name.clone(), span: node.span() }, from_json(node)))
                .collect(),
        ),
    };
    Tree { span: node.span(), value }
}

/// Reads the members of tables and collects what is wrong.
#[derive(Debug)]
pub(crate) struct Reader<'s> {
    file: &'s str,
    text: &'s str,
    pub(crate) findings: Vec<Diagnostic>,
}

impl<'s> Reader<'s> {
    pub(crate) fn new(file: &'s str, text: &'s str) -> Self {
        Self { file, text, findings: Vec::new() }
    }

    /// Records an error at `span`.
    pub(crate) fn refuse(&mut self, span: &Range<usize>, message: impl Into<Box<str>>) {
        self.findings.push(Diagnostic::error(self.file, message).at(self.text, span.clone()));
    }

    /// Records an error at `span` with a remedy.
    pub(crate) fn refuse_help(&mut self, span: &Range<usize>, message: String, help: impl Into<Box<str>>) {
        self.findings.push(Diagnostic::error(self.file, message).at(self.text, span.clone()).help(help));
    }

    fn expected<T>(&mut self, name: &str, tree: &Tree, expected: &str) -> Option<T> {
        let message = format!("`{name}` is {}, expected {expected}", tree.value.noun());
        self.refuse(&tree.span, message);
        None
    }

    /// The members of a table.
    pub(crate) fn table<'t>(&mut self, name: &str, tree: &'t Tree) -> Option<&'t [(Name, Tree)]> {
        match &tree.value {
            TreeValue::Table(members) => Some(members),
            _ => self.expected(name, tree, "a table"),
        }
    }

    /// Refuses members whose names are not known.
    pub(crate) fn known(&mut self, what: &str, members: &[(Name, Tree)], known: &[&str]) {
        for (name, _) in members {
            if known.contains(&&*name.text) {
                continue;
            }
            let help = match nearest(&name.text, known.iter().copied()) {
                Some(close) => format!("did you mean `{close}`?"),
                None => format!("expected one of `{}`", known.join("`, `")),
            };
            self.refuse_help(&name.span.clone(), format!("unknown field `{}` of {what}", name.text), help);
        }
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &str, tree: &Tree) -> Option<Box<str>> {
        match &tree.value {
            TreeValue::Text(text) => Some(text.clone()),
            _ => self.expected(name, tree, "a text in quotes"),
        }
    }

    /// A text that parses as a `T`.
    pub(crate) fn parsed<T: std::str::FromStr>(&mut self, name: &str, tree: &Tree) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        let text = self.text(name, tree)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(&tree.span, format!("`{name}`: {error}"));
                None
            }
        }
    }

    /// A whole number from `min` to `max`.
    pub(crate) fn integer(&mut self, name: &str, tree: &Tree, min: i64, max: i64) -> Option<i64> {
        match &tree.value {
            TreeValue::Integer(number) if (min..=max).contains(number) => Some(*number),
            TreeValue::Integer(number) => {
                let message = format!("`{name}` is {number}, expected a whole number from {min} to {max}");
                self.refuse(&tree.span, message);
                None
            }
            _ => self.expected(name, tree, "a whole number"),
        }
    }

    /// The items of a list.
    pub(crate) fn list<'t>(&mut self, name: &str, tree: &'t Tree) -> Option<&'t [Tree]> {
        match &tree.value {
            TreeValue::List(items) => Some(items),
            _ => self.expected(name, tree, "a list"),
        }
    }

    /// A list of texts that parse as `T`.
    pub(crate) fn parsed_list<T: std::str::FromStr>(&mut self, name: &str, tree: &Tree) -> Vec<T>
    where
        T::Err: std::fmt::Display,
    {
        let items = self.list(name, tree).unwrap_or_default();
        items.iter().filter_map(|item| self.parsed(name, item)).collect()
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, name: &str, tree: &Tree) -> Vec<Box<str>> {
        let items = self.list(name, tree).unwrap_or_default();
        items.iter().filter_map(|item| self.text(name, item)).collect()
    }
}

/// The member `name` of a table.
pub(crate) fn member<'t>(members: &'t [(Name, Tree)], name: &str) -> Option<&'t Tree> {
    members.iter().find_map(|(have, tree)| (&*have.text == name).then_some(tree))
}
