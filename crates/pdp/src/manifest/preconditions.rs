//! The part of a manifest that says what has to be read before its tool is called.

use std::collections::BTreeMap;

use cordon_core::json::quote;
use cordon_core::{Precondition, ReadArgument, Taken, TakenKind};

use super::read::{pointer, tool_name};
use super::write::table;
use crate::tree::{Name, Reader, Tree, TreeValue, member};

/// Most preconditions of one tool: each is a call.
const PRECONDITIONS_MAX: usize = 8;
/// How old a reading may be where the manifest does not say, in milliseconds.
const MAX_AGE_MS: u32 = 10_000;

/// `[{ name, tool, arguments = { id = { from = "/customer" } }, take = { status = { at = "/status",
/// type = "text" } }, max_age_ms }]`.
pub(super) fn read(reader: &mut Reader<'_>, tree: &Tree) -> Vec<Precondition> {
    let items = reader.list("preconditions", tree).unwrap_or_default();
    if items.len() > PRECONDITIONS_MAX {
        reader.refuse(&tree.span, format!("more than {PRECONDITIONS_MAX} preconditions"));
    }
    let found: Vec<Precondition> = items.iter().filter_map(|item| precondition(reader, item)).collect();
    for (at, one) in found.iter().enumerate() {
        if found.iter().take(at).any(|other| other.name == one.name) {
            reader.refuse(&tree.span, format!("two preconditions are named `{}`", one.name));
        }
    }
    found
}

fn precondition(reader: &mut Reader<'_>, tree: &Tree) -> Option<Precondition> {
    let members = reader.table("a precondition", tree)?;
    reader.known("a precondition", members, &["name", "tool", "arguments", "take", "max_age_ms"]);
    let mut need = |name: &str| {
        let found = member(members, name);
        if found.is_none() {
            reader.refuse(&tree.span, format!("`{name}` of the precondition is missing"));
        }
        found
    };
    let (name, tool, take) = (need("name")?, need("tool")?, need("take")?);
    let arguments = member(members, "arguments").map(|tree| arguments(reader, tree));
    let age = member(members, "max_age_ms").map(|tree| reader.integer("max_age_ms", tree, 1, 3_600_000));
    Some(Precondition {
        name: identifier(reader, name)?,
        tool: tool_name(reader, "tool", tool)?,
        arguments: arguments.unwrap_or_default(),
        take: taken(reader, take),
        max_age_ms: age.map_or(Some(MAX_AGE_MS), |age| u32::try_from(age?).ok())?,
    })
}

/// A name that policies can write after a dot.
fn identifier(reader: &mut Reader<'_>, tree: &Tree) -> Option<Box<str>> {
    let text = reader.text("name", tree)?;
    if is_identifier(&text) {
        return Some(text);
    }
    reader.refuse(&tree.span, format!("`{text}` is not a name of letters, digits and `_`"));
    None
}

fn is_identifier(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    first && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn arguments(reader: &mut Reader<'_>, tree: &Tree) -> BTreeMap<Box<str>, ReadArgument> {
    let members: &[(Name, Tree)] = reader.table("arguments", tree).unwrap_or_default();
    let mut arguments = BTreeMap::new();
    for (name, tree) in members {
        let argument = match &tree.value {
            TreeValue::Text(text) => Some(ReadArgument::Text(text.clone())),
            TreeValue::Integer(number) => Some(ReadArgument::Long(*number)),
            TreeValue::Bool(truth) => Some(ReadArgument::Bool(*truth)),
            TreeValue::Table(table) => {
                reader.known("an argument", table, &["from"]);
                member(table, "from").and_then(|from| pointer(reader, "from", from)).map(ReadArgument::From)
            }
            _ => None,
        };
        match argument {
            Some(argument) => drop(arguments.insert(name.text.clone(), argument)),
            None => {
                let help = "write a text, a whole number, true, false or `{ from = \"/path\" }`";
                let message = format!("the argument `{}` cannot be read", name.text);
                reader.refuse_help(&tree.span, message, help);
            }
        }
    }
    arguments
}

fn taken(reader: &mut Reader<'_>, tree: &Tree) -> BTreeMap<Box<str>, Taken> {
    let mut all = BTreeMap::new();
    for (name, tree) in reader.table("take", tree).unwrap_or_default() {
        if !is_identifier(&name.text) {
            let message = format!("`{}` is not a name of letters, digits and `_`", name.text);
            reader.refuse(&name.span.clone(), message);
        }
        let Some(members) = reader.table(&name.text, tree) else { continue };
        reader.known("a value that is taken", members, &["at", "type"]);
        let at = member(members, "at").and_then(|tree| pointer(reader, "at", tree));
        let kind = member(members, "type").and_then(|tree| Some((reader.text("type", tree)?, tree)));
        let known = kind
            .as_ref()
            .and_then(|(text, _)| TakenKind::ALL.into_iter().find(|kind| kind.as_str() == &**text));
        match (at, known) {
            (Some(at), Some(kind)) => drop(all.insert(name.text.clone(), Taken { at, kind })),
            _ => {
                let help = "write `{ at = \"/path\", type = \"text\" }`; types are `text`, `long` and `bool`";
                reader.refuse_help(&tree.span, format!("`{}` cannot be taken like this", name.text), help);
            }
        }
    }
    if all.is_empty() && reader.findings.is_empty() {
        reader.refuse(&tree.span, "a precondition takes at least one value");
    }
    all
}

/// One precondition as TOML.
pub(super) fn write(precondition: &Precondition) -> String {
    let arguments = precondition.arguments.iter().map(|(name, argument)| {
        let value = match argument {
            ReadArgument::From(pointer) => format!("{{ from = {} }}", quote(pointer)),
            ReadArgument::Text(text) => quote(text),
            ReadArgument::Long(number) => number.to_string(),
            ReadArgument::Bool(truth) => truth.to_string(),
        };
        format!("{} = {value}", quote(name))
    });
    let take = precondition.take.iter().map(|(name, taken)| {
        format!("{name} = {{ at = {}, type = {} }}", quote(&taken.at), quote(taken.kind.as_str()))
    });
    table([
        format!("name = {}", quote(&precondition.name)),
        format!("tool = {}", quote(precondition.tool.as_str())),
        format!("arguments = {}", table(arguments)),
        format!("take = {}", table(take)),
        format!("max_age_ms = {}", precondition.max_age_ms),
    ])
}
