//! The schema that a bundle's policies are validated against.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Schema, SchemaFragment};
use cordon_core::{ClassKind, Effect, ResourceKind};
use serde_json::{Map, Value as Json, json};

use crate::Diagnostic;
use crate::argument::ArgType;
use crate::cedar_text::NAMESPACE;
use crate::diagnostic::Severity;
use crate::program::{Column, Columns};
use crate::rule::engine_finding;

/// The contract: entity types, context, classes and effects.
const BASE: &str = include_str!("../../../spec/cordon.cedarschema");

/// Entity types that act.
pub(crate) const PRINCIPALS: [&str; 3] = ["User", "Agent", "Team"];

/// The declarations that every action's schema shares.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vocabulary {
    entity_types: Map<String, Json>,
    common_types: Map<String, Json>,
    context: Map<String, Json>,
    /// The bundle's own actions and groups, with the groups each is in directly.
    pub(crate) actions: BTreeMap<Box<str>, OwnAction>,
    /// Whether the bundle brings a schema of its own.
    pub(crate) extended: bool,
}

/// An action or group that the bundle's own schema declares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct OwnAction {
    pub(crate) groups: BTreeSet<Box<str>>,
    principals: Vec<String>,
    resources: Vec<String>,
}

/// One action as the validator shall see it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SchemaAction {
    pub(crate) groups: BTreeSet<Box<str>>,
    pub(crate) resources: Vec<String>,
    pub(crate) args: ArgType,
    pub(crate) preconditions: ArgType,
}

/// Whether `name` is a class or an effect.
pub(crate) fn is_reserved_group(name: &str) -> bool {
    name.starts_with("effect:") || name.parse::<cordon_core::Class>().is_ok()
}

impl Vocabulary {
    /// The contract alone.
    pub(crate) fn base() -> Result<Self, Vec<Diagnostic>> {
        let namespace = fragment("spec/cordon.cedarschema", BASE)?.remove(NAMESPACE).unwrap_or_default();
        let mut common_types = object(namespace.get("commonTypes"));
        let context = object(common_types.remove("Context").as_ref().and_then(|kind| kind.get("attributes")));
        Ok(Self {
            entity_types: object(namespace.get("entityTypes")),
            common_types,
            context,
            actions: BTreeMap::new(),
            extended: false,
        })
    }

    /// Adds one of the bundle's own schema files; it may add members and types, and change none.
    pub(crate) fn extend(&mut self, path: &str, text: &str) -> Result<(), Vec<Diagnostic>> {
        self.extended = true;
        let mut findings = Vec::new();
        for (namespace, body) in fragment(path, text)? {
            if !namespace.is_empty() && namespace != NAMESPACE {
                let message = format!("the namespace `{namespace}` is not supported");
                findings.push(
                    Diagnostic::error(path, message)
                        .help("declare types without a namespace, or in `Cordon`"),
                );
                continue;
            }
            let mut refuse = |message: String| findings.push(place(path, text, message));
            for (name, kind) in object(body.get("entityTypes")) {
                self.add_entity_type(&name, kind).unwrap_or_else(&mut refuse);
            }
            for (name, kind) in object(body.get("commonTypes")) {
                self.add_common_type(&name, kind).unwrap_or_else(&mut refuse);
            }
            for (name, action) in object(body.get("actions")) {
                self.add_action(&name, &action).unwrap_or_else(&mut refuse);
            }
        }
        if findings.is_empty() { Ok(()) } else { Err(findings) }
    }

    /// Declares an entity type that only policies name.
    pub(crate) fn add_bare_type(&mut self, name: &str) {
        if !self.has_type(name) {
            self.entity_types.insert(name.to_owned(), resource_type(&Json::Null));
        }
    }

    /// Whether the entity type is declared.
    pub(crate) fn has_type(&self, name: &str) -> bool {
        self.entity_types.contains_key(name)
    }

    /// Every entity type that can be acted on.
    pub(crate) fn resources(&self) -> Vec<String> {
        self.entity_types.keys().filter(|name| !matches!(name.as_str(), "User" | "Team")).cloned().collect()
    }

    /// The names of all entity types.
    pub(crate) fn types(&self) -> impl Iterator<Item = &str> {
        self.entity_types.keys().map(String::as_str)
    }

    /// The attributes that each entity type declares.
    pub(crate) fn attributes(&self) -> BTreeMap<Box<str>, BTreeSet<Box<str>>> {
        let names = |kind: &Json| {
            let declared = object(kind.get("shape").and_then(|shape| shape.get("attributes")));
            declared.keys().map(|name| name.as_str().into()).collect()
        };
        self.entity_types.iter().map(|(name, kind)| (name.as_str().into(), names(kind))).collect()
    }

    /// The attributes of a type of rows that differ from row to row; `None` if it is not declared.
    pub(crate) fn columns(&self, kind: &str) -> Option<Columns> {
        let declared = self.entity_types.get(kind)?;
        let declared = object(declared.get("shape").and_then(|shape| shape.get("attributes")));
        let own = declared.iter().filter(|(name, _)| !matches!(name.as_str(), "id" | "tenant" | "markings"));
        Some(own.map(|(name, kind)| (name.as_str().into(), self.column(kind))).collect())
    }

    fn column(&self, kind: &Json) -> Column {
        let word = |name: &str| kind.get(name).and_then(Json::as_str);
        let name = match word("type") {
            Some("EntityOrCommon" | "Entity" | "Extension") => word("name").unwrap_or_default(),
            other => other.unwrap_or_default(),
        };
        match name.rsplit("::").next().unwrap_or_default() {
            "String" => Column::Text,
            "Long" => Column::Long,
            "Bool" | "Boolean" => Column::Bool,
            "decimal" => Column::Decimal,
            entity if self.has_type(entity) => Column::Entity(entity.into()),
            _ => Column::Other,
        }
    }

    /// The members that `context.asserted` is declared to have.
    pub(crate) fn asserted(&self) -> BTreeSet<Box<str>> {
        let declared = self.common_types.get("Asserted").and_then(|kind| kind.get("attributes"));
        object(declared).keys().map(|name| name.as_str().into()).collect()
    }

    /// The bundle's own action as the validator shall see it.
    pub(crate) fn own_action(&self, own: &OwnAction) -> SchemaAction {
        let resources = if own.resources.is_empty() { self.resources() } else { own.resources.clone() };
        SchemaAction {
            groups: own.groups.clone(),
            resources,
            args: ArgType::Open,
            preconditions: ArgType::Open,
        }
    }

    /// The whole schema: `live` actions apply to requests, `inert` ones are only known by name.
    pub(crate) fn schema<'a>(
        &self,
        live: impl IntoIterator<Item = (&'a str, SchemaAction)>,
        inert: impl IntoIterator<Item = &'a str>,
        parts: &BTreeSet<Box<str>>,
    ) -> Result<Schema, String> {
        let mut actions = Map::new();
        for kind in ClassKind::ALL {
            actions.insert(kind.as_str().to_owned(), json!({}));
        }
        for effect in Effect::ALL {
            actions.insert(format!("effect:{effect}"), json!({}));
        }
        for part in parts {
            let class = part.split(':').next().unwrap_or_default();
            actions.insert(part.to_string(), json!({ "memberOf": [{ "id": class }] }));
        }
        for (name, own) in &self.actions {
            actions.insert(name.to_string(), json!({ "memberOf": members(&own.groups) }));
        }
        for name in inert {
            actions.entry(name).or_insert_with(|| json!({}));
        }
        for (name, action) in live {
            let principals =
                self.actions.get(name).map(|own| own.principals.clone()).filter(|list| !list.is_empty());
            let principals = principals.unwrap_or_else(|| PRINCIPALS.map(str::to_owned).to_vec());
            let mut context = self.context.clone();
            for (member, kind) in [("args", &action.args), ("preconditions", &action.preconditions)] {
                if let ArgType::Record(_) = kind {
                    let mut kind = cedar_type(kind);
                    if let Some(kind) = kind.as_object_mut() {
                        kind.insert("required".to_owned(), json!(true));
                    }
                    context.insert(member.to_owned(), kind);
                }
            }
            actions.insert(
                name.to_owned(),
                json!({
                    "memberOf": members(&action.groups),
                    "appliesTo": {
                        "principalTypes": principals,
                        "resourceTypes": action.resources,
                        "context": { "type": "Record", "attributes": context },
                    }
                }),
            );
        }
        let whole = json!({
            NAMESPACE: {
                "entityTypes": self.entity_types,
                "commonTypes": self.common_types,
                "actions": actions,
            }
        });
        Schema::from_json_value(whole).map_err(|error| error.to_string())
    }

    fn add_entity_type(&mut self, name: &str, kind: Json) -> Result<(), String> {
        if kind.get("tags").is_some() || kind.get("enum").is_some() {
            return Err(format!(
                "the entity type `{name}` has tags or is an enumeration, which this version does not support"
            ));
        }
        let whole = match self.entity_types.get(name) {
            None => resource_type(&kind),
            Some(have) => {
                let mut whole = have.clone();
                let added = object(kind.get("shape").and_then(|shape| shape.get("attributes")));
                let have = object(have.get("shape").and_then(|shape| shape.get("attributes")));
                let attributes = join(&format!("the entity type `{name}`"), have, added)?;
                let parents =
                    [strings(whole.get("memberOfTypes")), strings(kind.get("memberOfTypes"))].concat();
                let parents: BTreeSet<String> = parents.into_iter().collect();
                if let Some(whole) = whole.as_object_mut() {
                    whole.insert("shape".to_owned(), json!({ "type": "Record", "attributes": attributes }));
                    whole.insert("memberOfTypes".to_owned(), json!(parents));
                }
                whole
            }
        };
        self.entity_types.insert(name.to_owned(), whole);
        Ok(())
    }

    fn add_common_type(&mut self, name: &str, kind: Json) -> Result<(), String> {
        let kind = match self.common_types.get(name) {
            None if name != "Context" => kind,
            Some(have) if name == "Asserted" => {
                let have = object(have.get("attributes"));
                let attributes = join("the type `Asserted`", have, object(kind.get("attributes")))?;
                json!({ "type": "Record", "attributes": attributes })
            }
            _ => {
                return Err(format!(
                    "the type `{name}` belongs to Cordon; a bundle can add members to `Asserted` only"
                ));
            }
        };
        self.common_types.insert(name.to_owned(), kind);
        Ok(())
    }

    fn add_action(&mut self, name: &str, action: &Json) -> Result<(), String> {
        if is_reserved_group(name) || name.starts_with("mcp/") || name.starts_with("cordon/") {
            return Err(format!("the action `{name}` belongs to Cordon"));
        }
        let applies = action.get("appliesTo");
        let context = applies.and_then(|applies| applies.get("context"));
        if !object(context.and_then(|context| context.get("attributes"))).is_empty() {
            return Err(format!(
                "the action `{name}` declares a context; the context is always Cordon's (arguments are typed in tools/*.toml)"
            ));
        }
        let list = action.get("memberOf").and_then(Json::as_array).cloned().unwrap_or_default();
        let groups =
            list.iter().filter_map(|group| group.get("id").and_then(Json::as_str).map(Into::into)).collect();
        let types = |name: &str| strings(applies.and_then(|applies| applies.get(name)));
        let own =
            OwnAction { groups, principals: types("principalTypes"), resources: types("resourceTypes") };
        if self.actions.insert(name.into(), own).is_some() {
            return Err(format!("the action `{name}` is declared twice"));
        }
        Ok(())
    }
}

/// The kinds of resource that a tool call acts on.
pub(crate) fn tool_resources() -> Vec<String> {
    vec![ResourceKind::TOOL.to_owned()]
}

fn fragment(path: &str, text: &str) -> Result<Map<String, Json>, Vec<Diagnostic>> {
    let whole = SchemaFragment::from_cedarschema_str(text)
        .map(|(fragment, _)| fragment)
        .map_err(|error| {
            let plain = crate::cedar_text::CedarText::plain(text);
            vec![engine_finding(path, text, &plain, Severity::Error, &error)]
        })?
        .to_json_value()
        .map_err(|error| vec![Diagnostic::error(path, error.to_string())])?;
    Ok(object(Some(&whole)))
}

/// A resource type with the members that every resource has.
fn resource_type(kind: &Json) -> Json {
    let mut attributes = object(kind.get("shape").and_then(|shape| shape.get("attributes")));
    let text = json!({ "type": "EntityOrCommon", "name": "String", "required": true });
    attributes.insert("id".to_owned(), text.clone());
    attributes.insert("tenant".to_owned(), text);
    let set =
        json!({ "type": "Set", "element": { "type": "EntityOrCommon", "name": "String" }, "required": true });
    attributes.insert("markings".to_owned(), set);
    json!({
        "memberOfTypes": strings(kind.get("memberOfTypes")),
        "shape": { "type": "Record", "attributes": attributes },
    })
}

fn join(
    what: &str,
    mut have: Map<String, Json>,
    added: Map<String, Json>,
) -> Result<Map<String, Json>, String> {
    for (name, kind) in added {
        if have.get(&name).is_some_and(|other| *other != kind) {
            return Err(format!("{what} has a member `{name}` of another type already"));
        }
        have.insert(name, kind);
    }
    Ok(have)
}

fn members(groups: &BTreeSet<Box<str>>) -> Json {
    groups.iter().map(|group| json!({ "id": group })).collect()
}

fn cedar_type(kind: &ArgType) -> Json {
    let named = |name: &str| json!({ "type": "EntityOrCommon", "name": name });
    match kind {
        ArgType::Bool => named("Bool"),
        ArgType::Long => named("Long"),
        ArgType::Decimal => named("decimal"),
        ArgType::Text | ArgType::Open => named("String"),
        ArgType::Set(item) => json!({ "type": "Set", "element": cedar_type(item) }),
        ArgType::Record(members) => {
            let attributes: Map<String, Json> = members
                .iter()
                // What cannot be typed is left out, so that reading it is noticed.
                .filter(|(_, member)| !matches!(member.kind, ArgType::Open))
                .map(|(name, member)| {
                    let mut kind = cedar_type(&member.kind);
                    if let Some(kind) = kind.as_object_mut() {
                        kind.insert("required".to_owned(), json!(member.required));
                    }
                    (name.to_string(), kind)
                })
                .collect();
            json!({ "type": "Record", "attributes": attributes })
        }
    }
}

fn object(value: Option<&Json>) -> Map<String, Json> {
    value.and_then(Json::as_object).cloned().unwrap_or_default()
}

fn strings(value: Option<&Json>) -> Vec<String> {
    let list = value.and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Json::as_str).map(ToOwned::to_owned).collect()
}

/// Points at the first thing in backticks, if the file has it.
fn place(path: &str, text: &str, message: String) -> Diagnostic {
    let at = message.split('`').nth(1).and_then(|word| Some((text.find(word)?, word.len())));
    let finding = Diagnostic::error(path, message);
    match at {
        Some((start, length)) => finding.at(text, start..start.saturating_add(length)),
        None => finding,
    }
}
