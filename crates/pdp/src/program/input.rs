//! A request as a program reads it: nothing is copied, and what is not read costs nothing.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use cordon_core::{
    Facts, PostureState, Principal, PrincipalKind, Record, Request, ResourceKind, Timestamp, Value,
};

use super::node::{Member, Uid};
use super::value::{Ambiguities, Entity, Items, Names, Val};
use crate::data::{Directory, Known};
use crate::few::Few;
use crate::frame::{DEPTH_MAX, LATEST, Unknown};
use crate::needs::Needs;
use crate::person::{Person, same};
use crate::risk::{RiskView, State};

/// A request as a program reads it.
#[derive(Debug)]
pub(crate) struct Inputs<'r> {
    request: &'r Request,
    facts: &'r Facts,
    risk: RiskView,
    now_ms: i64,
    /// The principals to judge; identical ones are judged once.
    judged: Few<Judged<'r>>,
    ambiguous: Ambiguities,
    session_id: OnceCell<String>,
    server: Option<&'r str>,
    /// What exists and is not known.
    pub(crate) unknown: Unknown,
}

/// One principal to judge.
#[derive(Debug, Clone)]
pub(crate) struct Judged<'r> {
    pub(crate) person: Person<'r>,
    known: Option<&'r Known>,
    /// Teams that its teams are in, where the bundle has teams in teams.
    outer: BTreeSet<&'r str>,
}

/// What the request is, short of being judged.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    unknown: bool,
    odd: bool,
}

impl<'r> Judged<'r> {
    fn new(person: Person<'r>, directory: &'r Directory) -> Self {
        let known = directory.known(person.principal.kind, &person.principal.id);
        let mut judged = Self { person, known, outer: BTreeSet::new() };
        if directory.is_nested() {
            let mut open: Vec<&'r str> = judged.teams().collect();
            while let Some(team) = open.pop() {
                let outer =
                    directory.known(PrincipalKind::Team, team).into_iter().flat_map(|team| &team.teams);
                open.extend(outer.map(|outer| &**outer).filter(|outer| judged.outer.insert(outer)));
            }
        }
        judged
    }

    /// Its type without namespace, and its identifier.
    pub(crate) fn name(&self) -> (&'r str, &'r str) {
        (self.person.principal.kind.as_str(), &self.person.principal.id)
    }

    fn teams(&self) -> impl Iterator<Item = &'r str> + use<'r> {
        let known = self.known.into_iter().flat_map(|known| &known.teams);
        self.person.principal.teams.iter().chain(known).map(|team| &**team)
    }

    /// Every team it is in, directly or through another one; one may come twice.
    pub(crate) fn all_teams(&self) -> impl Iterator<Item = &str> {
        self.teams().chain(self.outer.iter().copied())
    }

    /// Whether it is in a team, directly or through another one.
    pub(crate) fn is_in_team(&self, team: &str) -> bool {
        self.teams().any(|direct| direct == team) || self.outer.contains(team)
    }
}

impl<'r> Inputs<'r> {
    /// Looks a request through. `None` for a request that only stock Cedar is given: it names
    /// entities in its values, nests deeper than is handed on, says two things of one principal, has a
    /// team as a principal, or comes at a time or with a type that Cedar may not be able to read.
    pub(crate) fn new(
        request: &'r Request,
        facts: &'r Facts,
        risk: RiskView,
        now: Timestamp,
        directory: &'r Directory,
        needs: &Needs,
        people: &Few<Person<'r>>,
    ) -> Option<Self> {
        let resource = &request.resource;
        let kind = resource.kind.as_str();
        if kind == "Action" || !is_plain_name(kind) || (now > LATEST && needs.context("env")) {
            return None;
        }
        let mut look = Look::default();
        let context = &request.context;
        let gathered = &facts.gathered.values;
        for record in [&context.args, &context.model, &context.asserted, &resource.attributes, gathered] {
            look.record(record);
        }
        let mut inputs = Self {
            request,
            facts,
            risk,
            now_ms: i64::try_from(now.as_micros() / 1_000).ok()?,
            judged: Few::default(),
            ambiguous: Ambiguities::default(),
            session_id: OnceCell::new(),
            server: server(request),
            unknown: Unknown::default(),
        };
        for (_, principal) in request.chain.members() {
            look.record(&principal.attributes);
            let same_as_resource = principal.kind.as_str() == kind && principal.id == resource.id;
            let twice = request.chain.members().any(|(_, other)| {
                !std::ptr::eq(principal, other) && same(principal, other) && principal != other
            });
            if same_as_resource || principal.kind == PrincipalKind::Team || twice {
                return None;
            }
        }
        if look.odd {
            return None;
        }
        inputs.judged = people.iter().map(|person| Judged::new(*person, directory)).collect();
        facts.ambiguous.iter().for_each(|ambiguity| inputs.ambiguous.add(*ambiguity));
        inputs.ambiguous.no_manifest |= !request.action.is_declared();
        inputs.ambiguous.unknown_input |= look.unknown;
        if look.unknown {
            inputs.unknown = inputs.unknown(needs);
        }
        if needs.context("risk") {
            inputs.unknown.context.extend(risk.unknown());
        }
        Some(inputs)
    }

    /// The principals to judge, in order.
    pub(crate) fn judged(&self) -> impl Iterator<Item = &Judged<'r>> {
        self.judged.iter()
    }

    /// The server that the resource belongs to.
    pub(crate) fn server(&self) -> Option<&'r str> {
        self.server
    }

    /// The request.
    pub(crate) fn request(&self) -> &'r Request {
        self.request
    }

    /// A member of `context`, or `None` if it is absent.
    pub(crate) fn member(&'r self, member: Member, judged: Option<&Judged<'r>>) -> Option<Val<'r>> {
        let context = &self.request.context;
        let text = |text: &'r Option<Box<str>>| text.as_deref().map(Val::Text);
        let id = |principal: Option<&'r Principal>| principal.map(|principal| Val::Text(&principal.id));
        let session = self.facts.session.as_ref();
        match member {
            Member::Purpose => text(&context.purpose),
            Member::Project => text(&context.project),
            Member::Workflow => text(&context.workflow),
            Member::Task => text(&context.task),
            Member::Calls => {
                let calls = session.map_or(0, |session| session.calls);
                Some(Val::Long(i64::try_from(calls).unwrap_or(i64::MAX)))
            }
            Member::Integrity => Some(Val::Long(session.map_or(0, |session| session.integrity.as_long()))),
            Member::Posture => {
                let state = session.map_or(PostureState::Normal, |session| session.posture.state());
                Some(Val::Text(state.as_str()))
            }
            Member::SessionId => {
                session.map(|session| Val::Text(self.session_id.get_or_init(|| session.id.to_string())))
            }
            Member::Now => Some(Val::Datetime(self.now_ms)),
            Member::Region => text(&self.facts.region),
            Member::Owner => id(self.request.chain.owner()),
            Member::Agent => id(self.request.chain.agent()),
            Member::OnBehalfOf => id(self.request.chain.on_behalf_of()),
            Member::Via => Some(Val::Set(Items::Principals(self.request.chain.via()))),
            Member::Depth => {
                Some(Val::Long(i64::try_from(self.request.chain.via().len()).unwrap_or(i64::MAX)))
            }
            Member::Role => {
                judged.and_then(|judged| judged.person.role()).map(|role| Val::Text(role.as_str()))
            }
            Member::Ambiguous => Some(Val::Set(Items::Ambiguities(self.ambiguous))),
            Member::Args => Some(Val::Record(&context.args)),
            Member::Model => Some(Val::Record(&context.model)),
            Member::Asserted => Some(Val::Record(&context.asserted)),
            Member::Preconditions => Some(Val::Record(&self.facts.gathered.values)),
            Member::Lineage => {
                Some(Val::Set(session.map_or(Items::Values(&[]), |session| Items::Texts(&session.lineage))))
            }
            Member::SessionMarkings => Some(Val::Set(
                session.map_or(Items::Values(&[]), |session| Items::Markings(&session.markings)),
            )),
            Member::RiskScore => self.risk.score.map(|score| Val::Long(i64::from(score))),
            Member::RiskLevel => self.risk.level.map(|level| Val::Text(level.as_str())),
            Member::Risk(kind) => match self.risk.signal(kind) {
                State::Known(value) => Some(Val::Long(i64::from(value))),
                State::Absent | State::Unknown => None,
            },
        }
    }

    /// An attribute of a principal.
    pub(crate) fn of_principal(&'r self, judged: &Judged<'r>, name: &str) -> Option<Val<'r>> {
        let principal = judged.person.principal;
        if name == "id" {
            return Some(Val::Text(&principal.id));
        }
        let known = judged.known.and_then(|known| known.attributes.get(name));
        let found = known.or_else(|| principal.attributes.get(name)).and_then(Val::of);
        if found.is_none() && principal.kind == PrincipalKind::Agent && name == "markings" {
            return Some(Val::Set(Items::Values(&[])));
        }
        found
    }

    /// An attribute of the resource.
    pub(crate) fn of_resource(&'r self, name: &str) -> Option<Val<'r>> {
        let resource = &self.request.resource;
        match name {
            "id" => Some(Val::Text(&resource.id)),
            "tenant" => Some(Val::Text(&resource.tenant)),
            "markings" => Some(Val::Set(Items::Markings(&resource.markings))),
            _ => resource.attributes.get(name).and_then(Val::of),
        }
    }

    /// Which of the request's entities a name that a rule uses stands for.
    pub(crate) fn resolve(&self, uid: &Uid) -> Option<Found<'_, 'r>> {
        let (kind, id) = (&*uid.kind, &*uid.id);
        if (kind, id) == (self.request.resource.kind.as_str(), &*self.request.resource.id) {
            return Some(Found::Resource);
        }
        if (kind, id) == ("Action", self.request.action.name().as_str()) {
            return Some(Found::Action);
        }
        self.judged().find(|judged| judged.name() == (kind, id)).map(Found::Principal)
    }

    /// What is not known in the request, by path and by attribute.
    fn unknown(&self, needs: &Needs) -> Unknown {
        let mut unknown = Unknown::default();
        let context = &self.request.context;
        for (name, record) in
            [("args", &context.args), ("model", &context.model), ("asserted", &context.asserted)]
        {
            let path = &mut vec![name.into()];
            let needed = |below: &str| name != "args" || needs.arg(below);
            for (below, value) in record.iter().filter(|(below, _)| needed(below)) {
                path.push(below.clone());
                paths(value, path, &mut unknown.context);
                path.pop();
            }
        }
        let resource = &self.request.resource.attributes;
        let open = |name: &str, value: &Value| value.has_unknown() && needs.attribute(name);
        let of_resource = resource
            .iter()
            .filter(|(name, value)| !matches!(&***name, "tenant" | "markings") && open(name, value));
        unknown.attributes.extend(of_resource.map(|(name, _)| name.clone()));
        for judged in self.judged() {
            let signed = |name: &str| judged.known.is_some_and(|known| known.attributes.contains_key(name));
            let attributes = &judged.person.principal.attributes;
            let open = attributes.iter().filter(|(name, value)| !signed(name) && open(name, value));
            unknown.attributes.extend(open.map(|(name, _)| name.clone()));
        }
        unknown
    }
}

/// An entity of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found<'i, 'r> {
    Principal(&'i Judged<'r>),
    Action,
    Resource,
}

/// Names of the request's entities, seen from one principal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'i, 'r> {
    pub(crate) inputs: &'i Inputs<'r>,
    pub(crate) judged: Option<&'i Judged<'r>>,
}

impl Names for Seen<'_, '_> {
    fn name<'n>(&'n self, entity: Entity<'n>) -> (&'n str, &'n str) {
        let request = self.inputs.request;
        match entity {
            Entity::Principal => self.judged.map_or(("", ""), Judged::name),
            Entity::Action => ("Action", request.action.name().as_str()),
            Entity::Resource => (request.resource.kind.as_str(), &request.resource.id),
            Entity::Named(uid) => (&uid.kind, &uid.id),
        }
    }
}

impl Look {
    fn record(&mut self, record: &Record) {
        record.values().for_each(|value| self.value(value, 0));
    }

    fn value(&mut self, value: &Value, depth: u16) {
        let deeper = depth.saturating_add(1);
        match value {
            Value::Bool(_) | Value::Long(_) | Value::Decimal(_) | Value::Text(_) => {}
            Value::Unknown(_) => self.unknown = true,
            Value::Entity(..) => self.odd = true,
            Value::Set(_) | Value::Record(_) if depth >= DEPTH_MAX => self.odd = true,
            Value::Set(items) => items.iter().for_each(|item| self.value(item, deeper)),
            Value::Record(record) => record.values().for_each(|value| self.value(value, deeper)),
        }
    }
}

/// Where in `value` something is not known; of a set it is the whole.
fn paths(value: &Value, path: &mut Vec<Box<str>>, found: &mut Vec<Vec<Box<str>>>) {
    match value {
        Value::Record(record) => {
            for (name, value) in record {
                path.push(name.clone());
                paths(value, path, found);
                path.pop();
            }
        }
        other if other.has_unknown() => found.push(path.clone()),
        _ => {}
    }
}

/// The server that the resource belongs to: these have identifiers of the form `server/…`.
fn server(request: &Request) -> Option<&str> {
    let resource = &request.resource;
    match resource.kind.as_str() {
        ResourceKind::TOOL | ResourceKind::DOCUMENT | ResourceKind::PROMPT => {
            resource.id.split_once('/').map(|(server, _)| server)
        }
        _ => None,
    }
}

/// Whether Cedar reads `name` as a name without doubt.
fn is_plain_name(name: &str) -> bool {
    let reserved =
        matches!(name, "true" | "false" | "if" | "then" | "else" | "in" | "is" | "like" | "has" | "__cedar");
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
    first && !reserved && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
