//! Signed facts in a bundle: `data/entities.json` and `data/asserted.json`.

use std::collections::{BTreeSet, HashMap};

use cordon_core::{Decimal, Principal, PrincipalKind, Record, SpiffeId, Value};

use crate::Diagnostic;
use crate::tree::{self, Reader, Tree, TreeValue, member};

/// What the bundle says about one principal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Known {
    pub(crate) attributes: Record,
    pub(crate) teams: BTreeSet<Box<str>>,
}

/// Types and attributes that callers may assert.
pub(crate) type Asserted = BTreeSet<(Box<str>, Box<str>)>;

/// What the bundle says about principals, by type and identifier.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directory {
    users: HashMap<Box<str>, Known>,
    agents: HashMap<Box<str>, Known>,
    teams: HashMap<Box<str>, Known>,
    nested: bool,
}

impl Directory {
    /// What is said about one principal.
    pub(crate) fn known(&self, kind: PrincipalKind, id: &str) -> Option<&Known> {
        match kind {
            PrincipalKind::User => &self.users,
            PrincipalKind::Agent => &self.agents,
            PrincipalKind::Team => &self.teams,
        }
        .get(id)
    }

    /// The identifiers of a kind, in order.
    pub(crate) fn of_kind(&self, kind: PrincipalKind) -> Vec<&str> {
        let known = match kind {
            PrincipalKind::User => &self.users,
            PrincipalKind::Agent => &self.agents,
            PrincipalKind::Team => &self.teams,
        };
        let mut ids: Vec<&str> = known.keys().map(|id| &**id).collect();
        ids.sort_unstable();
        ids
    }

    /// Whether any team is in another one.
    pub(crate) const fn is_nested(&self) -> bool {
        self.nested
    }

    /// Adds an entry; false if there was one already.
    fn insert(&mut self, kind: PrincipalKind, id: Box<str>, known: Known) -> bool {
        self.nested |= kind == PrincipalKind::Team && !known.teams.is_empty();
        let list = match kind {
            PrincipalKind::User => &mut self.users,
            PrincipalKind::Agent => &mut self.agents,
            PrincipalKind::Team => &mut self.teams,
        };
        list.insert(id, known).is_none()
    }
}

/// Reads `data/entities.json`: a list of `{type, id, attributes?, teams?}`.
pub(crate) fn entities(file: &str, text: &str) -> Result<Directory, Vec<Diagnostic>> {
    let root = tree::from_json_text(file, text).map_err(|finding| vec![*finding])?;
    let mut reader = Reader::new(file, text);
    let mut directory = Directory::default();
    let mut workloads = BTreeSet::new();
    for item in reader.list("the file", &root).unwrap_or_default() {
        if let Some((key, known)) = entity(&mut reader, item) {
            match known.attributes.get(WORKLOAD) {
                Some(Value::Text(text)) if key.0 == PrincipalKind::Agent => match text.parse::<SpiffeId>() {
                    // One workload that is two agents could choose which of them it is.
                    Ok(id) if workloads.contains(&id) => {
                        reader.refuse(&item.span, format!("two agents have the `{WORKLOAD}` `{id}`"));
                    }
                    Ok(id) => drop(workloads.insert(id)),
                    Err(error) => reader.refuse(&item.span, error.to_string()),
                },
                Some(_) if key.0 == PrincipalKind::Agent => {
                    reader.refuse(&item.span, format!("`{WORKLOAD}` is a text"));
                }
                _ => {}
            }
            let twice = format!("`{}` `{}` is listed twice", key.0.as_str(), key.1);
            if !directory.insert(key.0, key.1, known) {
                reader.refuse(&item.span, twice);
            }
        }
    }
    if reader.findings.is_empty() { Ok(directory) } else { Err(reader.findings) }
}

/// Every team a principal is in, directly or through another team.
pub(crate) fn teams(directory: &Directory, principal: &Principal) -> BTreeSet<Box<str>> {
    let mut teams = BTreeSet::new();
    let mut open: Vec<Box<str>> = principal.teams.clone();
    let known = directory.known(principal.kind, &principal.id);
    open.extend(known.into_iter().flat_map(|known| known.teams.iter().cloned()));
    while let Some(team) = open.pop() {
        let outer = directory.known(PrincipalKind::Team, &team);
        if teams.insert(team) {
            open.extend(outer.into_iter().flat_map(|outer| outer.teams.iter().cloned()));
        }
    }
    teams
}

/// The agents that are known by the workload they run as.
pub(crate) fn workloads(directory: &Directory) -> impl Iterator<Item = (SpiffeId, &str)> {
    directory.agents.iter().filter_map(|(id, known)| match known.attributes.get(WORKLOAD) {
        Some(Value::Text(text)) => Some((text.parse().ok()?, &**id)),
        _ => None,
    })
}

/// The attribute of an agent that names its workload.
const WORKLOAD: &str = "spiffe_id";

fn entity(reader: &mut Reader<'_>, tree: &Tree) -> Option<((PrincipalKind, Box<str>), Known)> {
    let members = reader.table("an entity", tree)?;
    reader.known("an entity", members, &["type", "id", "attributes", "teams"]);
    let get = |name: &str| member(members, name);
    let Some((kind_tree, id)) = get("type").zip(get("id")) else {
        reader.refuse(&tree.span, "an entity needs `type` and `id`");
        return None;
    };
    let text = reader.text("type", kind_tree)?;
    let Some(kind) = principal_kind(&text) else {
        reader.refuse(&kind_tree.span, format!("`type` is `{text}`, expected `User`, `Agent` or `Team`"));
        return None;
    };
    let id = reader.text("id", id)?;
    let mut known = Known::default();
    if let Some(tree) = get("attributes") {
        known.attributes = record(reader, "attributes", tree)?;
        if known.attributes.contains_key("id") {
            reader.refuse(&tree.span, "the attribute `id` is always the identifier");
        }
    }
    if let Some(tree) = get("teams") {
        known.teams = reader.texts("teams", tree).into_iter().collect();
    }
    Some(((kind, id), known))
}

/// Reads `data/asserted.json`: a list of `type.attribute` that callers may assert.
pub(crate) fn asserted(file: &str, text: &str) -> Result<Asserted, Vec<Diagnostic>> {
    let root = tree::from_json_text(file, text).map_err(|finding| vec![*finding])?;
    let mut reader = Reader::new(file, text);
    let mut pairs = BTreeSet::new();
    for item in reader.list("the file", &root).unwrap_or_default() {
        let Some(text) = reader.text("an item", item) else { continue };
        match text.split_once('.').filter(|(kind, name)| !kind.is_empty() && !name.is_empty()) {
            Some((kind, name)) => {
                pairs.insert((kind.into(), name.into()));
            }
            None => reader.refuse(&item.span, format!("`{text}` is not `type.attribute`")),
        }
    }
    if reader.findings.is_empty() { Ok(pairs) } else { Err(reader.findings) }
}

/// The kind of principal that an entity type is.
pub(crate) fn principal_kind(text: &str) -> Option<PrincipalKind> {
    [PrincipalKind::User, PrincipalKind::Agent, PrincipalKind::Team]
        .into_iter()
        .find(|kind| kind.as_str() == text)
}

/// A table of values.
pub(crate) fn record(reader: &mut Reader<'_>, name: &str, tree: &Tree) -> Option<Record> {
    let members = reader.table(name, tree)?;
    let mut record = Record::new();
    for (name, tree) in members {
        if let Some(value) = value(reader, tree) {
            record.insert(name.text.clone(), value);
        }
    }
    Some(record)
}

/// One value; `null` is absent.
pub(crate) fn value(reader: &mut Reader<'_>, tree: &Tree) -> Option<Value> {
    Some(match &tree.value {
        TreeValue::Null => return None,
        TreeValue::Bool(value) => Value::Bool(*value),
        TreeValue::Integer(number) => Value::Long(*number),
        TreeValue::Number(text) => match Decimal::parse(text) {
            Some(number) => Value::Decimal(number),
            None => {
                let message = format!("`{text}` is not a number with at most four digits after the point");
                reader.refuse(&tree.span, message);
                return None;
            }
        },
        TreeValue::Text(text) => Value::Text(text.clone()),
        TreeValue::List(items) => Value::Set(items.iter().filter_map(|item| value(reader, item)).collect()),
        TreeValue::Table(_) => Value::Record(record(reader, "a record", tree)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_have_attributes_and_teams() {
        let text = r#"[{"type":"User","id":"alice","attributes":{"level":3,"rate":1.5},"teams":["ops"]}]"#;
        let directory = entities("data/entities.json", text).unwrap();
        let alice = directory.known(PrincipalKind::User, "alice").unwrap();
        assert_eq!(alice.attributes["level"], Value::Long(3));
        assert_eq!(alice.attributes["rate"], Value::Decimal(Decimal::from_ten_thousandths(15_000)));
        assert!(alice.teams.contains("ops"));
    }

    #[test]
    fn data_that_is_not_understood_is_refused() {
        for (text, want) in [
            ("{}", "expected a list"),
            ("[{\"type\":\"User\"}]", "needs `type` and `id`"),
            ("[{\"type\":\"Tool\",\"id\":\"x\"}]", "expected `User`, `Agent` or `Team`"),
            ("[{\"type\":\"User\",\"id\":\"x\",\"team\":[]}]", "did you mean `teams`?"),
            ("[{\"type\":\"User\",\"id\":\"x\"},{\"type\":\"User\",\"id\":\"x\"}]", "listed twice"),
            ("[{\"type\":\"User\",\"id\":\"x\",\"attributes\":{\"a\":1e9}}]", "four digits"),
            ("[{\"type\":\"User\",\"id\":\"x\",\"attributes\":{\"id\":\"y\"}}]", "always the identifier"),
            (r#"[{"type":"Agent","id":"x","attributes":{"spiffe_id":"x"}}]"#, "workload's name"),
            (r#"[{"type":"Agent","id":"x","attributes":{"spiffe_id":7}}]"#, "`spiffe_id` is a text"),
            (
                r#"[{"type":"Agent","id":"x","attributes":{"spiffe_id":"spiffe://a/b"}},
                    {"type":"Agent","id":"y","attributes":{"spiffe_id":"spiffe://a/b"}}]"#,
                "two agents have",
            ),
            ("[", "data/entities.json:1:2: error"),
        ] {
            let finding = entities("data/entities.json", text).unwrap_err().remove(0).to_string();
            assert!(finding.contains(want), "{finding}");
        }
        assert!(asserted("f", "[\"record.owner\"]").unwrap().contains(&("record".into(), "owner".into())));
        assert!(asserted("f", "[\"record\"]").is_err());
        assert!(asserted("f", "[1]").is_err());
    }
}
