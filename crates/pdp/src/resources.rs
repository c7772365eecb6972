//! What the bundle says about things that can be acted on: `data/resources.json`.

use std::collections::{BTreeMap, BTreeSet};

use cordon_core::{Marking, Record, Resource, ResourceKind};

use crate::Diagnostic;
use crate::data::record;
use crate::tree::{self, Reader, Tree, member};

/// What the bundle says about resources, by type and identifier.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Resources(BTreeMap<Box<str>, BTreeMap<Box<str>, Known>>);

/// What the bundle says about one resource.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Known {
    markings: BTreeSet<Marking>,
    attributes: Record,
}

/// Types whose attributes a door knows better: they come from the message that it forwards.
const OF_DOORS: [&str; 4] =
    [ResourceKind::TOOL, ResourceKind::SERVER, ResourceKind::DOCUMENT, ResourceKind::PROMPT];

impl Resources {
    /// The identifiers of a type, in order.
    pub(crate) fn of_type(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.0.get(kind).into_iter().flat_map(|known| known.keys().map(|id| &**id))
    }

    /// The resource with what the bundle says about it: signed attributes go before claimed ones,
    /// signed markings are added.
    pub(crate) fn complete(&self, mut resource: Resource) -> Resource {
        if let Some(known) = self.0.get(resource.kind.as_str()).and_then(|known| known.get(&resource.id)) {
            resource.markings.extend(known.markings.iter().cloned());
            resource
                .attributes
                .extend(known.attributes.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        resource
    }
}

/// Reads the file: a list of `{type, id, markings?, attributes?}`.
pub(crate) fn read(file: &str, text: &str) -> Result<Resources, Vec<Diagnostic>> {
    let root = tree::from_json_text(file, text).map_err(|finding| vec![*finding])?;
    let mut reader = Reader::new(file, text);
    let mut resources = Resources::default();
    for item in reader.list("the file", &root).unwrap_or_default() {
        let Some((kind, id, known)) = resource(&mut reader, item) else { continue };
        let twice = format!("`{kind}` `{id}` is listed twice");
        if resources.0.entry(kind).or_default().insert(id, known).is_some() {
            reader.refuse(&item.span, twice);
        }
    }
    if reader.findings.is_empty() { Ok(resources) } else { Err(reader.findings) }
}

fn resource(reader: &mut Reader<'_>, tree: &Tree) -> Option<(Box<str>, Box<str>, Known)> {
    let members = reader.table("a resource", tree)?;
    reader.known("a resource", members, &["type", "id", "markings", "attributes"]);
    let Some((kind_tree, id)) = member(members, "type").zip(member(members, "id")) else {
        reader.refuse(&tree.span, "a resource needs `type` and `id`");
        return None;
    };
    let (kind, id) = (reader.text("type", kind_tree)?, reader.text("id", id)?);
    if OF_DOORS.contains(&&*kind) {
        let help = "tools are described in tools/*.toml; what is known of servers, documents and prompts comes with the call";
        reader.refuse_help(&kind_tree.span, format!("`{kind}` is described by the door it is behind"), help);
        return None;
    }
    let mut known = Known::default();
    if let Some(tree) = member(members, "markings") {
        known.markings = reader.parsed_list("markings", tree).into_iter().collect();
    }
    if let Some(tree) = member(members, "attributes") {
        known.attributes = record(reader, "attributes", tree)?;
        // INVARIANT: identity is never an attribute that data could change.
        for name in ["id", "tenant", "markings"] {
            if known.attributes.contains_key(name) {
                reader.refuse(&tree.span, format!("`{name}` is no attribute of a resource"));
            }
        }
    }
    Some((kind, id, known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_core::Value;

    const FILE: &str = "data/resources.json";
    const TEXT: &str = r#"[{"type":"record","id":"r2","markings":["pii"],"attributes":{"status":"archived"}},
        {"type":"record","id":"r1"},{"type":"folder","id":"r1"}]"#;

    #[test]
    fn what_is_signed_goes_before_what_is_claimed() {
        let resources = read(FILE, TEXT).unwrap();
        assert_eq!(resources.of_type("record").collect::<Vec<_>>(), ["r1", "r2"]);
        assert_eq!(resources.of_type("Record").count(), 0);
        let claimed = |kind: &str, id: &str| {
            let mut resource = Resource::new(kind, id, "default");
            resource.attributes.insert("status".into(), Value::text("active"));
            resource.attributes.insert("owner".into(), Value::text("ann"));
            resources.complete(resource)
        };
        let known = claimed("record", "r2");
        assert_eq!(known.attributes["status"], Value::text("archived"));
        assert_eq!(known.attributes["owner"], Value::text("ann"));
        assert!(known.markings.iter().any(|marking| marking.as_str() == "pii"));
        for (kind, id) in [("record", "r3"), ("folder", "r2"), ("record", "r1")] {
            assert_eq!(claimed(kind, id).attributes["status"], Value::text("active"), "{kind} {id}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, want) in [
            ("{}", "expected a list"),
            (r#"[{"type":"record"}]"#, "needs `type` and `id`"),
            (r#"[{"type":"Tool","id":"a/b"}]"#, "described by the door"),
            (r#"[{"type":"record","id":"a","attribute":{}}]"#, "did you mean `attributes`?"),
            (r#"[{"type":"record","id":"a","attributes":{"tenant":"other"}}]"#, "no attribute of a resource"),
            (r#"[{"type":"record","id":"a"},{"type":"record","id":"a"}]"#, "listed twice"),
            (r#"[{"type":"record","id":"a","attributes":{"n":1e9}}]"#, "four digits"),
        ] {
            let finding = read(FILE, text).unwrap_err().remove(0).to_string();
            assert!(finding.contains(want), "{text}: {finding}");
        }
    }
}
