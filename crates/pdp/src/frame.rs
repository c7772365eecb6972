//! A request as the engine reads it, and what in it is not known.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use cedar_policy::{Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use cordon_core::{
    Ambiguity, Facts, PostureState, Record, Request, ResourceKind, Role, SignalKind, Timestamp,
    UnknownReason, Value,
};

use crate::data::{Directory, Known, teams};
use crate::needs::Needs;
use crate::person::people;
use crate::risk::{RiskView, State};

/// A request as the engine reads it.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) action: EntityUid,
    pub(crate) resource: EntityUid,
    /// Entities with the action in all its groups.
    pub(crate) grouped: Entities,
    /// Entities with the action in no class; only for an action that nobody declared.
    pub(crate) ungrouped: Option<Entities>,
    /// The principals to judge; identical ones are judged once.
    pub(crate) judged: Vec<Judged>,
    pub(crate) unknown: Unknown,
}

/// One principal to judge.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) uid: EntityUid,
    pub(crate) context: Context,
}

/// The values that exist and are not known.
#[derive(Debug, Default)]
pub(crate) struct Unknown {
    /// Paths below `context`.
    pub(crate) context: Vec<Vec<Box<str>>>,
    /// Names of attributes of any entity.
    pub(crate) attributes: BTreeSet<Box<str>>,
}

impl Unknown {
    pub(crate) fn is_empty(&self) -> bool {
        self.context.is_empty() && self.attributes.is_empty()
    }

    /// The first unknown value that a rule mentions, as it would be written in a policy.
    pub(crate) fn mentioned(&self, mentions: &crate::mention::Mentions) -> Option<String> {
        let path = self.context.iter().find(|path| mentions.context_path(path));
        if let Some(path) = path {
            return Some(format!("context.{}", path.join(".")));
        }
        let name = self.attributes.iter().find(|name| mentions.attribute(name))?;
        Some(format!("the attribute `{name}`"))
    }
}

/// What preparing a request needs to know of the policies.
#[derive(Debug)]
pub(crate) struct Maker<'p> {
    pub(crate) needs: &'p Needs,
    pub(crate) directory: &'p Directory,
    pub(crate) types: &'p HashMap<Box<str>, EntityTypeName>,
    /// The groups that the action is in for a prohibition or an obligation; its own name may be one.
    pub(crate) restricting: &'p [Box<str>],
    /// The groups that the action is in for a permission; its own name may be one.
    pub(crate) permitting: &'p [Box<str>],
}

/// The last instant that Cedar's `datetime` can be written for: the end of the year 9999.
pub(crate) const LATEST: Timestamp = Timestamp::from_micros(253_402_300_799_999_999);

/// Deepest nesting of a value that is handed to the engine.
pub(crate) const DEPTH_MAX: u16 = 64;

/// The namespace of entity types.
const NAMESPACE: &str = crate::cedar_text::NAMESPACE;

impl Maker<'_> {
    /// Prepares a request; the text says what cannot be handed to the engine.
    pub(crate) fn frame(
        &self,
        request: &Request,
        facts: &Facts,
        risk: &RiskView,
        now: Timestamp,
    ) -> Result<Frame, String> {
        let mut unknown = Unknown::default();
        if request.resource.kind.as_str() == "Action" {
            return Err("an action cannot be acted on".to_owned());
        }
        let action = self.uid("Action", request.action.name().as_str())?;
        let resource = self.uid(request.resource.kind.as_str(), &request.resource.id)?;
        let entities = self.entities(request, &resource, &mut unknown)?;
        let with_action = |groups: &[Box<str>], entities: Vec<Entity>| {
            let groups = groups.iter().filter(|group| ***group != *request.action.name().as_str());
            let groups: HashSet<EntityUid> =
                groups.map(|group| self.uid("Action", group)).collect::<Result<_, _>>()?;
            let action = Entity::new_no_attrs(action.clone(), groups);
            Entities::from_entities(entities.into_iter().chain([action]), None)
                .map_err(|error| error.to_string())
        };
        let ungrouped = match request.action.is_declared() {
            true => None,
            false => Some(with_action(self.permitting, entities.clone())?),
        };
        let grouped = with_action(self.restricting, entities)?;
        let judged = self.judged(request, facts, risk, now, &mut unknown)?;
        Ok(Frame { action, resource, grouped, ungrouped, judged, unknown })
    }

    fn uid(&self, kind: &str, id: &str) -> Result<EntityUid, String> {
        let name = match self.types.get(kind) {
            Some(name) => name.clone(),
            None => format!("{NAMESPACE}::{kind}")
                .parse()
                .map_err(|_| format!("`{kind}` is not a name that a policy could use for a type"))?,
        };
        Ok(EntityUid::from_type_name_and_id(name, EntityId::new(id)))
    }

    /// The principals and the resource; one that occurs twice is one entity.
    fn entities(
        &self,
        request: &Request,
        resource: &EntityUid,
        unknown: &mut Unknown,
    ) -> Result<Vec<Entity>, String> {
        let mut parts: BTreeMap<(&str, &str), Part> = BTreeMap::new();
        for (_, principal) in request.chain.members() {
            parts.entry((principal.kind.as_str(), &principal.id)).or_default().merge(&principal.attributes);
        }
        let target = &request.resource;
        let principal = parts.contains_key(&(target.kind.as_str(), &*target.id));
        let part = parts.entry((target.kind.as_str(), &target.id)).or_default();
        if principal {
            part.claim(&target.attributes)
        } else {
            part.merge(&target.attributes)
        }
        for (_, principal) in request.chain.members() {
            let known = self.directory.known(principal.kind, &principal.id);
            let part = parts.entry((principal.kind.as_str(), &principal.id)).or_default();
            part.merge_over(known);
            part.teams.extend(teams(self.directory, principal));
        }
        let part = parts.entry((target.kind.as_str(), &target.id)).or_default();
        part.attributes.insert("tenant".into(), Value::Text(target.tenant.clone()));
        let markings = target.markings.iter().map(|marking| marking.as_str());
        part.attributes.insert("markings".into(), Value::texts(markings));
        part.server = server(request);
        let mut entities = Vec::with_capacity(parts.len().saturating_add(1));
        for ((kind, id), part) in parts {
            let uid = if (kind, id) == (target.kind.as_str(), &target.id) {
                resource.clone()
            } else {
                self.uid(kind, id)?
            };
            entities.push(self.entity(uid, id, part, unknown)?);
        }
        Ok(entities)
    }

    fn entity(&self, uid: EntityUid, id: &str, part: Part, unknown: &mut Unknown) -> Result<Entity, String> {
        let mut attributes = HashMap::new();
        for (name, value) in part.attributes.iter().filter(|(name, _)| self.needs.attribute(name)) {
            let mut paths = Vec::new();
            if let Some(value) = self.value(value, &mut vec![name.clone()], &mut paths, 0)? {
                attributes.insert(name.to_string(), value);
            }
            if !paths.is_empty() {
                unknown.attributes.insert(name.clone());
            }
        }
        if uid.type_name().basename() == "Agent" && !attributes.contains_key("markings") {
            attributes.insert("markings".to_owned(), RestrictedExpression::new_set([]));
        }
        attributes.insert("id".to_owned(), RestrictedExpression::new_string(id.to_owned()));
        let teams = part.teams.iter().map(|team| self.uid("Team", team));
        let servers = part.server.iter().map(|server| self.uid(ResourceKind::SERVER, server));
        let parents = teams.chain(servers).collect::<Result<_, _>>()?;
        Entity::new(uid, attributes, parents).map_err(|error| error.to_string())
    }

    fn judged(
        &self,
        request: &Request,
        facts: &Facts,
        risk: &RiskView,
        now: Timestamp,
        unknown: &mut Unknown,
    ) -> Result<Vec<Judged>, String> {
        let members = self.members(request, facts, risk, now, unknown)?;
        let mut judged: Vec<Judged> = Vec::new();
        let mut shared: Option<Context> = None;
        let per_role = self.needs.context("role");
        for person in people(request, per_role).iter() {
            let uid = self.uid(person.principal.kind.as_str(), &person.principal.id)?;
            let context = match &shared {
                Some(context) if !per_role => context.clone(),
                _ => {
                    let role = person.role().filter(|_| per_role).map(|role| {
                        ("role".to_owned(), RestrictedExpression::new_string(role.as_str().to_owned()))
                    });
                    let pairs = members.iter().cloned().chain(role);
                    Context::from_pairs(pairs).map_err(|error| error.to_string())?
                }
            };
            shared = Some(context.clone());
            judged.push(Judged { uid, context });
        }
        Ok(judged)
    }

    /// The members of `context` that any rule could read, but for the role.
    fn members(
        &self,
        request: &Request,
        facts: &Facts,
        risk: &RiskView,
        now: Timestamp,
        unknown: &mut Unknown,
    ) -> Result<Vec<(String, RestrictedExpression)>, String> {
        let mut members: Vec<(String, RestrictedExpression)> = Vec::new();
        let asked = &request.context;
        let texts = [
            ("purpose", &asked.purpose),
            ("project", &asked.project),
            ("workflow", &asked.workflow),
            ("task", &asked.task),
        ];
        for (name, text) in texts {
            if let Some(text) = text.as_deref().filter(|_| self.needs.context(name)) {
                members.push((name.to_owned(), RestrictedExpression::new_string(text.to_owned())));
            }
        }
        let mut paths = Vec::new();
        let args = asked.args.iter().filter(|(name, _)| self.needs.arg(name));
        members.push(("args".to_owned(), self.record("args", args, &mut paths)?));
        for (name, record) in [("model", &asked.model), ("asserted", &asked.asserted)] {
            if self.needs.context(name) {
                members.push((name.to_owned(), self.record(name, record.iter(), &mut paths)?));
            }
        }
        if self.needs.context("preconditions") {
            let gathered = facts.gathered.values.iter();
            members.push(("preconditions".to_owned(), self.record("preconditions", gathered, &mut paths)?));
        }
        unknown.context = paths;
        if self.needs.context("risk") {
            unknown.context.extend(risk.unknown());
            members.push(("risk".to_owned(), risk_record(risk)?));
        }
        self.own_members(request, facts, now, &mut members)?;
        Ok(members)
    }

    /// The members of `context` that Cordon sets itself.
    fn own_members(
        &self,
        request: &Request,
        facts: &Facts,
        now: Timestamp,
        members: &mut Vec<(String, RestrictedExpression)>,
    ) -> Result<(), String> {
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let mut add = |name: &str, fields: Vec<(String, RestrictedExpression)>| {
            let record = RestrictedExpression::new_record(fields).map_err(|error| error.to_string())?;
            members.push((name.to_owned(), record));
            Ok::<(), String>(())
        };
        if self.needs.context("session") {
            let session = facts.session.as_ref();
            let calls = session.map_or(0, |session| i64::try_from(session.calls).unwrap_or(i64::MAX));
            let integrity = session.map_or(0, |session| session.integrity.as_long());
            let posture = session.map_or(PostureState::Normal, |session| session.posture.state());
            let mut fields = vec![
                ("calls".to_owned(), RestrictedExpression::new_long(calls)),
                ("integrity".to_owned(), RestrictedExpression::new_long(integrity)),
                ("posture".to_owned(), text(posture.as_str())),
            ];
            let lineage = session.into_iter().flat_map(|session| session.lineage.iter());
            let lineage = RestrictedExpression::new_set(lineage.map(|from| text(from)));
            let read = session.into_iter().flat_map(|session| session.markings.iter());
            let read = RestrictedExpression::new_set(read.map(|marking| text(marking.as_str())));
            fields.extend([("lineage".to_owned(), lineage), ("markings".to_owned(), read)]);
            fields.extend(session.map(|session| ("id".to_owned(), text(&session.id.to_string()))));
            add("session", fields)?;
        }
        if self.needs.context("env") {
            let mut fields = vec![("now".to_owned(), RestrictedExpression::new_datetime(instant(now)))];
            fields.extend(facts.region.as_ref().map(|region| ("region".to_owned(), text(region))));
            add("env", fields)?;
        }
        if self.needs.context("chain") {
            let single = request.chain.members().filter(|(role, _)| *role != Role::Via);
            let mut fields: Vec<_> =
                single.map(|(role, one)| (role.as_str().to_owned(), text(&one.id))).collect();
            let via = request.chain.via();
            let set = RestrictedExpression::new_set(via.iter().map(|one| text(&one.id)));
            fields.push(("via".to_owned(), set));
            let depth = i64::try_from(via.len()).unwrap_or(i64::MAX);
            fields.push(("depth".to_owned(), RestrictedExpression::new_long(depth)));
            add("chain", fields)?;
        }
        if self.needs.context("ambiguous") {
            let set = ambiguities(request, facts).into_iter().map(|ambiguity| text(ambiguity.as_str()));
            members.push(("ambiguous".to_owned(), RestrictedExpression::new_set(set)));
        }
        Ok(())
    }

    fn record<'r>(
        &self,
        name: &str,
        record: impl Iterator<Item = (&'r Box<str>, &'r Value)>,
        paths: &mut Vec<Vec<Box<str>>>,
    ) -> Result<RestrictedExpression, String> {
        let mut path = vec![name.into()];
        let mut fields = Vec::new();
        for (name, value) in record {
            path.push(name.clone());
            if let Some(value) = self.value(value, &mut path, paths, 0)? {
                fields.push((name.to_string(), value));
            }
            path.pop();
        }
        RestrictedExpression::new_record(fields).map_err(|error| error.to_string())
    }

    /// The value for the engine; `None` when it, or part of it that cannot be left out, is unknown.
    fn value(
        &self,
        value: &Value,
        path: &mut Vec<Box<str>>,
        paths: &mut Vec<Vec<Box<str>>>,
        depth: u16,
    ) -> Result<Option<RestrictedExpression>, String> {
        let deeper = depth.saturating_add(1);
        Ok(Some(match value {
            Value::Bool(value) => RestrictedExpression::new_bool(*value),
            Value::Long(number) => RestrictedExpression::new_long(*number),
            Value::Decimal(number) => RestrictedExpression::new_decimal(number.to_string()),
            Value::Text(text) => RestrictedExpression::new_string(text.to_string()),
            Value::Entity(kind, id) => RestrictedExpression::new_entity_uid(self.uid(kind, id)?),
            Value::Set(items) if depth < DEPTH_MAX && !items.iter().any(Value::has_unknown) => {
                let mut set = Vec::with_capacity(items.len());
                for item in items {
                    match self.value(item, path, paths, deeper)? {
                        Some(item) => set.push(item),
                        None => return Ok(None),
                    }
                }
                RestrictedExpression::new_set(set)
            }
            Value::Record(record) if depth < DEPTH_MAX => {
                let mut fields = Vec::with_capacity(record.len());
                for (name, value) in record {
                    path.push(name.clone());
                    if let Some(value) = self.value(value, path, paths, deeper)? {
                        fields.push((name.to_string(), value));
                    }
                    path.pop();
                }
                RestrictedExpression::new_record(fields).map_err(|error| error.to_string())?
            }
            Value::Unknown(_) | Value::Set(_) | Value::Record(_) => {
                paths.push(path.clone());
                return Ok(None);
            }
        }))
    }
}

/// One entity in the making.
#[derive(Debug, Default)]
struct Part {
    attributes: Record,
    teams: BTreeSet<Box<str>>,
    server: Option<Box<str>>,
}

impl Part {
    /// Adds attributes; one that is said to have two values has none that is known.
    fn merge(&mut self, attributes: &Record) {
        for (name, value) in attributes {
            match self.attributes.get(name) {
                Some(other) if other != value => {
                    self.attributes.insert(name.clone(), Value::Unknown(UnknownReason::Unparsed));
                }
                _ => {
                    self.attributes.insert(name.clone(), value.clone());
                }
            }
        }
    }

    /// Adds attributes of a resource that is one of the principals: what is said of a resource gives
    /// a principal nothing, so that an attribute of which both do not say the same is not known.
    fn claim(&mut self, attributes: &Record) {
        for (name, value) in attributes {
            if self.attributes.get(name) != Some(value) {
                self.attributes.insert(name.clone(), Value::Unknown(UnknownReason::Unparsed));
            }
        }
    }

    /// Adds what the bundle says; it is signed and goes before anything else.
    fn merge_over(&mut self, known: Option<&Known>) {
        for (name, value) in known.into_iter().flat_map(|known| &known.attributes) {
            self.attributes.insert(name.clone(), value.clone());
        }
    }
}

/// The server that the resource belongs to: these have identifiers of the form `server/…`.
fn server(request: &Request) -> Option<Box<str>> {
    let resource = &request.resource;
    match resource.kind.as_str() {
        ResourceKind::TOOL | ResourceKind::DOCUMENT | ResourceKind::PROMPT => {
            resource.id.split_once('/').map(|(server, _)| server.into())
        }
        _ => None,
    }
}

/// Why it is not sure what the action would do: what the caller of the decision point found, and
/// what shows in the request itself.
pub(crate) fn ambiguities(request: &Request, facts: &Facts) -> BTreeSet<Ambiguity> {
    let mut found = facts.ambiguous.clone();
    if !request.action.is_declared() {
        found.insert(Ambiguity::NoManifest);
    }
    let records = [&request.context.args, &request.context.model, &request.context.asserted];
    let principals = request.chain.members().map(|(_, principal)| &principal.attributes);
    let mut all = records.into_iter().chain(principals).chain([&request.resource.attributes]);
    if all.any(|record| record.values().any(Value::has_unknown)) {
        found.insert(Ambiguity::UnknownInput);
    }
    found
}

/// The risk as a record; what is absent or not known is not in it.
fn risk_record(risk: &RiskView) -> Result<RestrictedExpression, String> {
    let long = |number: u16| RestrictedExpression::new_long(i64::from(number));
    let signals = SignalKind::ALL.into_iter().filter_map(|kind| match risk.signal(kind) {
        State::Known(value) => Some((kind.as_str(), long(value))),
        State::Absent | State::Unknown => None,
    });
    let level = risk.level.map(|level| RestrictedExpression::new_string(level.as_str().to_owned()));
    let own = [("score", risk.score.map(long)), ("level", level)];
    let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
    RestrictedExpression::new_record(own.chain(signals).map(|(name, value)| (name.to_owned(), value)))
        .map_err(|error| error.to_string())
}

/// The instant as Cedar writes one: whole milliseconds.
fn instant(now: Timestamp) -> String {
    let text = Timestamp::from_micros(now.as_secs().saturating_mul(1_000_000)).to_string();
    let millis = now.as_micros() % 1_000_000 / 1_000;
    format!("{}.{millis:03}Z", text.trim_end_matches('Z'))
}
