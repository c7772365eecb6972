//! A request as an AuthZEN evaluation that `cordon decide` and `cordon policy explain` take again.

use cordon_core::{Chain, Facts, Principal, Record, Request, Timestamp, Value};
use serde_json::{Map, Value as Json, json};

/// The request as an AuthZEN evaluation (§6).
pub(super) fn evaluation(request: &Request, facts: &Facts) -> Json {
    let context = &request.context;
    let mut members = object(&context.asserted);
    for (name, text) in [
        ("purpose", &context.purpose),
        ("project", &context.project),
        ("workflow", &context.workflow),
        ("task", &context.task),
    ] {
        members.extend(text.as_deref().map(|text| (name.to_owned(), text.into())));
    }
    for (name, record) in [("args", &context.args), ("model", &context.model)] {
        members.extend((!record.is_empty()).then(|| (name.to_owned(), object(record).into())));
    }
    members.insert("supported_obligations".to_owned(), facts.supported.iter().copied().collect());
    let (subject, others) = subject(&request.chain);
    members.extend(others);
    let resource = &request.resource;
    json!({
        "subject": subject,
        "action": {"name": request.action.name().as_str()},
        "resource": {
            "type": resource.kind.as_str(),
            "id": resource.id,
            "properties": object(&resource.attributes),
        },
        "context": members,
    })
}

/// What Cordon itself knew, which an evaluation cannot say.
pub(super) fn facts(facts: &Facts, now: Timestamp) -> Json {
    json!({
        "now": now.to_string(),
        "calls": facts.session.as_ref().map(|session| session.calls),
        "integrity": facts.session.as_ref().map(|session| session.integrity.as_str()),
        "ambiguous": facts.ambiguous.iter().map(|why| why.as_str()).collect::<Vec<_>>(),
        "region": facts.region,
    })
}

/// One line for people: who does what to what, with which arguments.
pub(super) fn line(request: &Request) -> String {
    let who = |(role, who): (cordon_core::Role, &Principal)| {
        format!("{} {}:{}", role.as_str(), who.kind.as_str(), who.id)
    };
    let chain: Vec<String> = request.chain.members().map(who).collect();
    let resource = &request.resource;
    let on = match *resource.id == *request.action.name().as_str() {
        true => String::new(),
        false => format!(" on {} {}", resource.kind.as_str(), resource.id),
    };
    let args = Json::Object(object(&request.context.args));
    format!("{} {args}{on} by {}", request.action.name(), chain.join(", "))
}

/// The agent, or else a user, is the subject; the others are named in the context.
fn subject(chain: &Chain) -> (Json, Vec<(String, Json)>) {
    let named = |name: &str, who: Option<&Principal>| Some((name.to_owned(), principal(who?)));
    let typed = |kind: &str, who: &Principal| json!({"type": kind, "id": who.id, "properties": object(&who.attributes)});
    let (owner, user) = (named("owner", chain.owner()), named("user", chain.on_behalf_of()));
    match (chain.agent(), chain.on_behalf_of(), chain.owner()) {
        (Some(agent), _, _) => (typed("agent", agent), owner.into_iter().chain(user).collect()),
        (None, Some(user), _) => (typed("user", user), owner.into_iter().collect()),
        (None, None, owner) => (owner.map_or(Json::Null, |owner| typed("user", owner)), Vec::new()),
    }
}

fn principal(who: &Principal) -> Json {
    json!({"id": who.id, "properties": object(&who.attributes)})
}

fn object(record: &Record) -> Map<String, Json> {
    record.iter().map(|(name, value)| (name.to_string(), self::value(value))).collect()
}

/// A value as JSON; one that is not known is shown as such.
pub(super) fn value(value: &Value) -> Json {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::Long(number) => (*number).into(),
        Value::Text(text) => (**text).into(),
        Value::Set(items) => items.iter().map(self::value).collect(),
        Value::Decimal(number) => decimal(number.ten_thousandths()),
        Value::Record(record) => object(record).into(),
        Value::Entity(kind, id) => json!({"type": kind, "id": id}),
        Value::Unknown(reason) => json!({"unknown": reason.as_str()}),
    }
}

/// A decimal as the shortest JSON number that is exactly it.
fn decimal(ten_thousandths: i64) -> Json {
    let sign = if ten_thousandths < 0 { "-" } else { "" };
    let size = ten_thousandths.unsigned_abs();
    let text = format!("{sign}{}.{:04}", size / 10_000, size % 10_000);
    let short = text.trim_end_matches('0').trim_end_matches('.');
    serde_json::from_str(short).unwrap_or_else(|_| text.as_str().into())
}

#[cfg(test)]
mod tests {
    use cordon_core::{Action, Context, Decimal, Effect, PrincipalKind, Resource, json};
    use cordon_gateway::authzen::{self, Properties};
    use cordon_guard::policy::PolicySet;

    use super::*;

    #[test]
    fn the_evaluation_that_is_printed_is_read_as_the_same_request() {
        let who = |kind, id| Some(Principal::new(kind, id));
        let request = Request {
            chain: Chain::new(
                who(PrincipalKind::User, "ann"),
                who(PrincipalKind::Agent, "bot"),
                who(PrincipalKind::User, "bob"),
            )
            .unwrap(),
            action: Action::declared("bank/pay".parse().unwrap(), [], Effect::Write),
            resource: Resource::new("Tool", "bank/pay", "default"),
            context: Context {
                purpose: Some("billing".into()),
                args: Record::from([
                    ("amount".into(), Value::Long(7)),
                    ("rate".into(), Value::Decimal(Decimal::from_ten_thousandths(-12_500))),
                    ("to".into(), Value::text("a\"b")),
                ]),
                asserted: Record::from([("ip".into(), Value::text("10.0.0.1"))]),
                ..Context::default()
            },
        };
        let facts = Facts { supported: ["redact"].into(), ..Facts::default() };
        let text = evaluation(&request, &facts).to_string();
        let node = json::parse(text.as_bytes(), &cordon_core::Limits::DEFAULT).unwrap();
        let members = ["subject", "action", "resource", "context"].map(|name| node.get(name));
        let read = authzen::evaluation(members, &PolicySet::deny_all(), "default", Properties::All).unwrap();
        assert_eq!(read.request.chain, request.chain);
        assert_eq!(read.request.context, request.context);
        assert_eq!(read.request.resource, request.resource);
        assert_eq!(read.supported, Some(facts.supported));
    }
}
