//! The input document that guards read (`spec/rego-input.md`).

use std::collections::{BTreeMap, BTreeSet};

use cordon_core::{
    Action, Facts, Marking, PostureState, Principal, Record, Request, RiskLevel, SignalKind, Timestamp,
    UnknownReason, Value as Datum,
};
use regorus::value::Object as Members;
use regorus::{Rc, Value};

use crate::argument::ArgType;
use crate::data::{Directory, teams};
use crate::frame::ambiguities;
use crate::risk::{RiskView, State};

/// Largest decimal, in ten-thousandths, that a Rego number holds exactly.
const DECIMAL_MAX: u64 = 1_000_000_000_000_000;
/// Deepest nesting of a value that is handed to the engine.
const DEPTH_MAX: u16 = 64;

/// The members of `input`.
pub(super) const MEMBERS: &[&str] =
    &["agent", "user", "owner", "via", "resource", "action", "classes", "effect", "args", "context"];

/// The members of `input.context`, and of those of its members that are closed.
pub(super) const CONTEXT: &[(&str, &[&str])] = &[
    ("purpose", &[]),
    ("project", &[]),
    ("workflow", &[]),
    ("task", &[]),
    ("model", &["provider", "name", "version"]),
    ("asserted", &[]),
    ("session", &["id", "calls", "integrity", "posture", "lineage", "markings"]),
    ("env", &["now", "now_ms", "region"]),
    ("ambiguous", &[]),
    ("preconditions", &[]),
    (
        "risk",
        &[
            "score",
            "level",
            "identity",
            "permissions",
            "prompt_context",
            "tool",
            "destination",
            "history",
            "data_classification",
            "threat_intelligence",
            "approvals",
            "confidence",
        ],
    ),
];

/// Names of attributes that are always defined, by the part of the input that has them.
#[derive(Debug, Clone, Default)]
pub(super) struct Declared {
    /// Attributes of entity types, by type.
    pub(super) types: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
    /// Members of `context.asserted`.
    pub(super) asserted: BTreeSet<Box<str>>,
    /// Names that any guard reads of anything.
    pub(super) read: BTreeSet<Box<str>>,
    /// Paths below `input` that any guard reads.
    pub(super) paths: BTreeSet<Vec<Box<str>>>,
}

/// What a document is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Material<'m> {
    pub(super) request: &'m Request,
    pub(super) facts: &'m Facts,
    pub(super) risk: &'m RiskView,
    pub(super) now: Timestamp,
    pub(super) directory: &'m Directory,
    pub(super) arguments: &'m ArgType,
    pub(super) declared: &'m Declared,
}

/// The input of one request.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(super) input: Value,
    /// Paths of values that exist and are not known.
    pub(super) unknown: Vec<Vec<Box<str>>>,
    /// Roughly how large it is, in bytes.
    pub(super) size: usize,
}

impl Material<'_> {
    /// The document; `classes` are the capability classes that the action counts as.
    pub(super) fn document(&self, classes: &[Box<str>]) -> Document {
        let mut maker = Maker::default();
        let mut entities = self.entities();
        let mut input = Members::new();
        for (name, principal) in [
            ("agent", self.request.chain.agent()),
            ("user", self.request.chain.on_behalf_of()),
            ("owner", self.request.chain.owner()),
        ] {
            let mut members = match principal {
                Some(principal) => maker.principal(name, principal, &entities, self.directory),
                None => Members::from_iter([
                    text("id", None),
                    text("type", None),
                    (Value::from("teams"), Value::new_array()),
                ]),
            };
            self.declare(&mut members, principal.map_or("User", |principal| principal.kind.as_str()));
            input.insert(Value::from(name), members.into_value());
        }
        let via = self.request.chain.via().iter().map(|principal| {
            let mut members = maker.principal("via", principal, &entities, self.directory);
            self.declare(&mut members, principal.kind.as_str());
            members.into_value()
        });
        input.insert(Value::from("via"), Value::from(via.collect::<Vec<_>>()));
        let resource = &self.request.resource;
        let attributes = entities.remove(&(resource.kind.as_str(), &*resource.id)).unwrap_or_default();
        let mut members = maker.record(&["resource"], &attributes);
        members.extend([
            text("type", Some(resource.kind.as_str())),
            text("id", Some(&resource.id)),
            text("tenant", Some(&resource.tenant)),
            (Value::from("markings"), texts(resource.markings.iter().map(|marking| marking.as_str()))),
        ]);
        self.declare(&mut members, resource.kind.as_str());
        input.insert(Value::from("resource"), members.into_value());
        let mut args = maker.record(&["args"], &self.request.context.args);
        declare_arguments(&mut args, self.arguments);
        let action: &Action = &self.request.action;
        input.extend([
            text("action", Some(action.name().as_str())),
            (Value::from("classes"), texts(classes.iter().map(|class| &**class))),
            text("effect", Some(action.effect().as_str())),
            (Value::from("args"), args.into_value()),
            (Value::from("context"), self.context(&mut maker).into_value()),
        ]);
        for path in &self.declared.paths {
            define(&mut input, path);
        }
        Document { input: input.into_value(), unknown: maker.unknown, size: maker.size }
    }

    /// The attributes of the principals and the resource; one that occurs twice is one entity, and an
    /// attribute of which not everybody says the same is not known.
    fn entities(&self) -> BTreeMap<(&str, &str), Record> {
        let mut entities: BTreeMap<(&str, &str), Record> = BTreeMap::new();
        let mut add = |key, attributes: &Record| match entities.entry(key) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(attributes.clone());
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let have = entry.get_mut();
                for (name, value) in attributes {
                    if have.get(name) != Some(value) {
                        have.insert(name.clone(), Datum::Unknown(UnknownReason::Unparsed));
                    }
                }
            }
        };
        let principals = || self.request.chain.members().map(|(_, principal)| principal);
        for principal in principals() {
            add((principal.kind.as_str(), &*principal.id), &principal.attributes);
        }
        let resource = &self.request.resource;
        add((resource.kind.as_str(), &*resource.id), &resource.attributes);
        for principal in principals() {
            let known = self.directory.known(principal.kind, &principal.id);
            let entity = entities.entry((principal.kind.as_str(), &principal.id)).or_default();
            let signed = known.into_iter().flat_map(|known| &known.attributes);
            entity.extend(signed.map(|(name, value)| (name.clone(), value.clone())));
        }
        entities
    }

    /// Gives an entity every attribute that its type declares and every one that a guard reads.
    fn declare(&self, members: &mut Members, kind: &str) {
        let declared = self.declared.types.get(kind).into_iter().flatten();
        for name in declared.chain(&self.declared.read) {
            members.get_or_insert_with(Value::from(&**name), || Value::Null);
        }
    }

    fn context(&self, maker: &mut Maker) -> Members {
        let (asked, facts) = (&self.request.context, self.facts);
        let mut model = maker.record(&["context", "model"], &asked.model);
        for name in ["provider", "name", "version"] {
            model.get_or_insert_with(Value::from(name), || Value::Null);
        }
        let mut asserted = maker.record(&["context", "asserted"], &asked.asserted);
        for name in &self.declared.asserted {
            asserted.get_or_insert_with(Value::from(&**name), || Value::Null);
        }
        let session = facts.session.as_ref();
        let posture = session.map_or(PostureState::Normal, |session| session.posture.state());
        let lineage = session.into_iter().flat_map(|session| session.lineage.iter().map(|from| &**from));
        let read = session.into_iter().flat_map(|session| session.markings.iter().map(Marking::as_str));
        let session = Members::from_iter([
            (Value::from("lineage"), texts(lineage)),
            (Value::from("markings"), texts(read)),
            text("id", session.map(|session| session.id.to_string()).as_deref()),
            text("posture", Some(posture.as_str())),
            (Value::from("calls"), Value::from(session.map_or(0, |session| session.calls))),
            (Value::from("integrity"), Value::from(session.map_or(0, |session| session.integrity.as_long()))),
        ]);
        let env = Members::from_iter([
            text("now", Some(&self.now.to_string())),
            (Value::from("now_ms"), Value::from(self.now.as_micros() / 1_000)),
            text("region", facts.region.as_deref()),
        ]);
        let ambiguous = ambiguities(self.request, facts);
        Members::from_iter([
            text("purpose", asked.purpose.as_deref()),
            text("project", asked.project.as_deref()),
            text("workflow", asked.workflow.as_deref()),
            text("task", asked.task.as_deref()),
            (Value::from("model"), model.into_value()),
            (Value::from("asserted"), asserted.into_value()),
            (Value::from("session"), session.into_value()),
            (Value::from("env"), env.into_value()),
            (Value::from("ambiguous"), texts(ambiguous.iter().map(|one| one.as_str()))),
            (
                Value::from("preconditions"),
                maker.record(&["context", "preconditions"], &facts.gathered.values).into_value(),
            ),
            (Value::from("risk"), self.risk(maker).into_value()),
        ])
    }

    /// The risk; what is not known of it is null and noted.
    fn risk(&self, maker: &mut Maker) -> Members {
        maker.unknown.extend(self.risk.unknown().map(|mut path| {
            path.insert(0, "context".into());
            path
        }));
        let number =
            |number: Option<u16>| number.map_or(Value::Null, |number| Value::from(u64::from(number)));
        let signal = |kind: SignalKind| match self.risk.signal(kind) {
            State::Known(value) => Some(value),
            State::Absent | State::Unknown => None,
        };
        let signals =
            SignalKind::ALL.into_iter().map(|kind| (Value::from(kind.as_str()), number(signal(kind))));
        let own = [
            (Value::from("score"), number(self.risk.score)),
            text("level", self.risk.level.map(RiskLevel::as_str)),
        ];
        own.into_iter().chain(signals).collect()
    }
}

/// What is noticed while a document is made.
#[derive(Debug, Default)]
struct Maker {
    unknown: Vec<Vec<Box<str>>>,
    size: usize,
}

impl Maker {
    fn principal(
        &mut self,
        name: &str,
        principal: &Principal,
        entities: &BTreeMap<(&str, &str), Record>,
        directory: &Directory,
    ) -> Members {
        let attributes = entities.get(&(principal.kind.as_str(), &*principal.id));
        let mut members = attributes.map(|attributes| self.record(&[name], attributes)).unwrap_or_default();
        members.extend([
            text("id", Some(&principal.id)),
            text("type", Some(principal.kind.as_str())),
            (Value::from("teams"), texts(teams(directory, principal).iter().map(|team| &**team))),
        ]);
        members
    }

    fn record(&mut self, at: &[&str], record: &Record) -> Members {
        let mut path: Vec<Box<str>> = at.iter().map(|name| (*name).into()).collect();
        self.members(&mut path, record, 0)
    }

    fn members(&mut self, path: &mut Vec<Box<str>>, record: &Record, depth: u16) -> Members {
        let mut members = Members::new();
        for (name, value) in record {
            path.push(name.clone());
            self.size = self.size.saturating_add(name.len());
            members.insert(Value::from(&**name), self.value(path, value, depth));
            path.pop();
        }
        members
    }

    /// The value as Rego has it; what is not known, or cannot be exact, is `null` and noted.
    fn value(&mut self, path: &mut Vec<Box<str>>, value: &Datum, depth: u16) -> Value {
        self.size = self.size.saturating_add(8);
        let deeper = depth.saturating_add(1);
        match value {
            Datum::Bool(truth) => Value::from(*truth),
            Datum::Long(number) => Value::from(*number),
            Datum::Decimal(number) if number.ten_thousandths().unsigned_abs() <= DECIMAL_MAX => {
                Value::from_numeric_string(&number.to_string()).unwrap_or(Value::Null)
            }
            Datum::Text(text) => {
                self.size = self.size.saturating_add(text.len());
                Value::from(&**text)
            }
            Datum::Set(items) if depth < DEPTH_MAX && !items.iter().any(Datum::has_unknown) => {
                Value::from(items.iter().map(|item| self.value(path, item, deeper)).collect::<Vec<_>>())
            }
            Datum::Record(record) if depth < DEPTH_MAX => self.members(path, record, deeper).into_value(),
            Datum::Entity(kind, id) => {
                self.size = self.size.saturating_add(id.len());
                Members::from_iter([text("type", Some(kind)), text("id", Some(id))]).into_value()
            }
            Datum::Unknown(_) | Datum::Decimal(_) | Datum::Set(_) | Datum::Record(_) => {
                self.unknown.push(path.clone());
                Value::Null
            }
        }
    }
}

/// Gives an object every member that the input schema of the tool declares.
fn declare_arguments(members: &mut Members, declared: &ArgType) {
    let ArgType::Record(known) = declared else { return };
    for (name, member) in known {
        let value = members.get_or_insert_with(Value::from(&**name), || Value::Null);
        if let Value::Object(inner) = value {
            declare_arguments(Rc::make_mut(inner), &member.kind);
        }
    }
}

/// Makes sure that there is something at `path`: `null` where nothing is.
fn define(members: &mut Members, path: &[Box<str>]) {
    let Some((first, rest)) = path.split_first() else { return };
    let value = members.get_or_insert_with(Value::from(&**first), || match rest.is_empty() {
        true => Value::Null,
        false => Value::new_object(),
    });
    if let Value::Object(inner) = value {
        define(Rc::make_mut(inner), rest);
    }
}

/// The longest part of `path` that leads to a value which is not an object, if any does before its end.
pub(super) fn blocked(input: &Value, path: &[Box<str>]) -> Option<usize> {
    let mut at = input;
    for (place, name) in path.iter().enumerate() {
        let Value::Object(members) = at else { return Some(place) };
        at = members.get(&Value::from(&**name))?;
    }
    None
}

fn text(name: &str, value: Option<&str>) -> (Value, Value) {
    (Value::from(name), value.map_or(Value::Null, Value::from))
}

fn texts<'t>(items: impl Iterator<Item = &'t str>) -> Value {
    Value::from(items.map(Value::from).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::RiskModel;
    use cordon_core::{Chain, Context, Decimal, Effect, PrincipalKind, Resource};

    /// The specification, whose example is what this module makes.
    const SPEC: &str = include_str!("../../../../spec/rego-input.md");

    fn payment() -> Request {
        let attribute = |name: &str, value: Datum| (Box::from(name), value);
        let mut agent = Principal::new(PrincipalKind::Agent, "a7");
        agent.teams = vec!["bots".into()];
        agent.attributes.extend([attribute("role", Datum::text("support"))]);
        let mut user = Principal::new(PrincipalKind::User, "bob");
        user.attributes.extend([attribute("level", Datum::Long(3))]);
        let mut resource = Resource::new("Tool", "office/pay", "acme");
        resource.markings.insert("pii".parse().unwrap());
        resource.attributes.extend([attribute("server", Datum::text("office"))]);
        let to = Record::from_iter([attribute("iban", Datum::text("DE1"))]);
        let mut context = Context { purpose: Some("billing".into()), ..Context::default() };
        context.model.extend([attribute("provider", Datum::text("acme"))]);
        context.args.extend([
            attribute("amount", Datum::Decimal(Decimal::from_ten_thousandths(125_000))),
            attribute("to", Datum::Record(to)),
            attribute("items", Datum::texts(["a", "b"])),
        ]);
        let class = "money.move".parse().unwrap();
        Request {
            chain: Chain::new(None, Some(agent), Some(user)).unwrap(),
            action: Action::declared("office/pay".parse().unwrap(), [class], Effect::Irreversible),
            resource,
            context,
        }
    }

    fn document(request: &Request) -> Document {
        let names =
            |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect::<BTreeSet<Box<str>>>();
        let declared = Declared {
            types: BTreeMap::from([
                ("Agent".into(), names(&["markings", "tenant"])),
                ("Tool".into(), names(&["server", "name"])),
            ]),
            asserted: BTreeSet::new(),
            read: names(&["role", "level"]),
            paths: BTreeSet::from([vec!["args".into(), "to".into(), "country".into()]]),
        };
        let schema = r#"{"type": "object", "properties": {"note": {"type": "string"}}}"#;
        let facts = Facts { region: Some("eu".into()), ..Facts::default() };
        let material = Material {
            request,
            facts: &facts,
            risk: &RiskModel::default().view(&facts, Timestamp::default()),
            now: Timestamp::from_micros(1_795_264_200_000_000),
            directory: &Directory::default(),
            arguments: &ArgType::of_input(Some(schema)),
            declared: &declared,
        };
        material.document(&["money.move".into()])
    }

    #[test]
    fn the_document_of_the_specification_is_the_one_that_is_made() {
        let (_, rest) = SPEC.split_once("```json\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        let got = document(&payment());
        assert_eq!(got.input, Value::from_json_str(example).unwrap(), "{}", got.input.to_json_str().unwrap());
        assert!(got.unknown.is_empty());
    }

    #[test]
    fn every_function_and_member_of_the_specification_is_there_and_no_other() {
        for name in super::super::builtin::names() {
            assert!(SPEC.contains(&format!("`{name}`")), "{name}");
        }
        let input = document(&payment()).input;
        let Value::Object(members) = &input else { panic!() };
        let have: Vec<String> =
            members.keys_sorted().map(|name| name.as_string().unwrap().to_string()).collect();
        let mut want: Vec<&str> = MEMBERS.to_vec();
        want.sort_unstable();
        assert_eq!(have, want);
        let Value::Object(context) = &input["context"] else { panic!() };
        assert_eq!(context.len(), CONTEXT.len());
        for (name, known) in CONTEXT {
            let value = context.get(&Value::from(*name)).unwrap();
            let have = value.as_object().map_or(0, |members| members.len());
            assert_eq!(have, known.len(), "{name}");
        }
    }

    #[test]
    fn what_has_no_exact_counterpart_is_null_and_noted() {
        let mut request = payment();
        request.context.args.clear();
        request.context.args.extend([
            ("large".into(), Datum::Decimal(Decimal::from_ten_thousandths(i64::MAX))),
            ("set".into(), Datum::Set(vec![Datum::Unknown(UnknownReason::Stale), Datum::Long(1)])),
            ("whole".into(), Datum::Long(i64::MAX)),
        ]);
        let got = document(&request);
        let unknown: Vec<String> = got.unknown.iter().map(|path| path.join(".")).collect();
        assert_eq!(unknown, ["args.large", "args.set"]);
        assert_eq!(got.input["args"]["whole"], Value::from(i64::MAX));
    }
}
