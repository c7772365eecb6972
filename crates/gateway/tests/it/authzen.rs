//! AuthZEN 1.0: the decisions and searches of the certification scenario, and what is asked beside them.

use std::collections::BTreeSet;

use cordon_core::KillOrder;
use cordon_gateway::authzen::{Endpoint, Sought};
use cordon_gateway::{Caller, CallerRole};
use cordon_guard::Approvers;
use cordon_guard::policy::PolicySource;
use serde_json::{Value, json};

use crate::support::{World, caller};

struct Point {
    world: World,
    endpoint: Endpoint,
    caller: Caller,
}

impl Point {
    fn of(world: World, role: CallerRole) -> Self {
        let endpoint = Endpoint::new(world.guard.clone());
        Self { world, endpoint, caller: Caller { role, ..caller("omar", "pep") } }
    }

    /// The policies of the certification scenario, asked by a caller that may assert what the bundle
    /// lists and nothing else.
    fn scenario() -> Self {
        Self::of(World::shipped("policies/authzen"), CallerRole::Operator)
    }

    async fn evaluate(&self, body: &Value) -> (u16, Value) {
        self.evaluate_text(&body.to_string()).await
    }

    async fn evaluate_text(&self, body: &str) -> (u16, Value) {
        let answer = self.endpoint.evaluation(body.as_bytes(), &self.caller).await;
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }

    async fn decision(&self, body: &Value) -> bool {
        let (status, answer) = self.evaluate(body).await;
        assert_eq!(status, 200, "{answer}");
        answer["decision"].as_bool().unwrap()
    }

    async fn batch(&self, body: &Value) -> (u16, Value) {
        let answer = self.endpoint.evaluations(body.to_string().as_bytes(), &self.caller).await;
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }

    async fn decisions(&self, body: &Value) -> Vec<bool> {
        let (status, answer) = self.batch(body).await;
        assert_eq!(status, 200, "{answer}");
        let evaluations = answer["evaluations"].as_array().unwrap();
        evaluations.iter().map(|one| one["decision"].as_bool().unwrap()).collect()
    }

    async fn search(&self, sought: Sought, body: &Value) -> (u16, Value) {
        let answer = self.endpoint.search(sought, body.to_string().as_bytes(), &self.caller).await;
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }

    /// What a search finds, as identifiers or names.
    async fn found(&self, sought: Sought, body: &Value) -> Vec<String> {
        let (status, answer) = self.search(sought, body).await;
        assert_eq!(status, 200, "{answer}");
        names(&answer)
    }
}

fn names(answer: &Value) -> Vec<String> {
    let results = answer["results"].as_array().unwrap().iter();
    let name = |result: &Value| {
        result["id"].as_str().or(result["name"].as_str()).unwrap_or_else(|| panic!("{result}")).to_owned()
    };
    results.map(name).collect()
}

fn user(id: &str) -> Value {
    json!({"type": "user", "id": id})
}

fn record(id: &str) -> Value {
    json!({"type": "record", "id": id})
}

fn named(name: &str) -> Value {
    json!({"name": name})
}

fn archived() -> Value {
    json!({"type": "record", "id": "record-2", "properties": {"status": "archived"}})
}

fn admin() -> Value {
    json!({"type": "user", "id": "bob", "properties": {"role": "admin"}})
}

fn ask(subject: Value, action: Value, resource: Value) -> Value {
    json!({"subject": subject, "action": action, "resource": resource})
}

/// The eight decisions of the scenario, each beside what it is about.
fn eight() -> Vec<(Value, bool)> {
    let delete = |soft: bool| json!({"name": "delete", "properties": {"soft": soft}});
    vec![
        (ask(user("alice"), named("read"), record("record-1")), true),
        (ask(user("alice"), named("write"), record("record-1")), true),
        (ask(user("bob"), named("read"), record("record-1")), true),
        (ask(user("bob"), named("write"), record("record-1")), false),
        (ask(user("alice"), named("write"), archived()), false),
        (ask(admin(), named("write"), archived()), true),
        (ask(user("alice"), delete(true), record("record-1")), true),
        (ask(user("alice"), delete(false), record("record-1")), false),
    ]
}

#[tokio::test]
async fn the_eight_decisions_hold_for_either_credential_with_or_without_a_context() {
    for role in [CallerRole::Operator, CallerRole::Pep] {
        let point = Point::of(World::shipped("policies/authzen"), role);
        for (n, (mut body, want)) in eight().into_iter().enumerate() {
            // Asked twice: the same answer.
            assert_eq!(point.decision(&body).await, want, "{n}: {body}");
            assert_eq!(point.decision(&body).await, want, "{n}: {body}");
            body["context"] = json!({"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"});
            body["foo"] = json!("bar");
            body["futureField"] = json!({"nested": true});
            assert_eq!(point.decision(&body).await, want, "{n}: {body}");
        }
        let mut more = ask(user("alice"), named("read"), record("record-1"));
        more["subject"]["properties"] = json!({"department": "Sales", "role": "manager"});
        more["action"]["properties"] = json!({"method": "GET"});
        more["resource"]["properties"] = json!({"status": "active", "owner": "bob"});
        assert!(point.decision(&more).await);
    }
}

#[tokio::test]
async fn a_property_counts_where_the_bundle_lets_it_be_asserted_and_never_over_what_is_signed() {
    let point = Point::scenario();
    // A role may be asserted, for somebody whom the bundle does not know as well.
    let carol = json!({"type": "user", "id": "carol", "properties": {"role": "admin"}});
    assert!(point.decision(&ask(carol.clone(), named("write"), archived())).await);
    let plain = json!({"type": "user", "id": "carol"});
    assert!(!point.decision(&ask(plain, named("write"), archived())).await);
    // What the bundle says of record-2 goes before what the caller says of it.
    let claimed = json!({"type": "record", "id": "record-2", "properties": {"status": "active"}});
    assert!(!point.decision(&ask(user("alice"), named("write"), claimed)).await);
    let demoted = json!({"type": "user", "id": "bob", "properties": {"role": "guest"}});
    assert!(point.decision(&ask(demoted, named("write"), record("record-2"))).await);
    // A team is nothing that a property could claim.
    let staff = json!({"type": "user", "id": "mallory", "properties": {"teams": ["staff"]}});
    assert!(!point.decision(&ask(staff, named("read"), record("record-1"))).await);
}

#[tokio::test]
async fn what_is_no_evaluation_is_refused_and_says_where() {
    let point = Point::scenario();
    let whole = ask(user("alice"), named("read"), record("record-1"));
    for pointer in [
        "/subject",
        "/action",
        "/resource",
        "/subject/type",
        "/subject/id",
        "/action/name",
        "/resource/type",
        "/resource/id",
    ] {
        let mut body = whole.clone();
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(last);
        let (status, answer) = point.evaluate(&body).await;
        assert_eq!(status, 400, "{pointer}: {answer}");
        let dotted = pointer.trim_start_matches('/').replace('/', ".");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("`{dotted}`")), "{pointer}: {message}");
        let mut body = whole.clone();
        *body.pointer_mut(pointer).unwrap() = json!(123);
        assert_eq!(point.evaluate(&body).await.0, 400, "{pointer}");
    }
    for text in ["", "{", "[]", "\"x\"", r#"{"subject":1,"subject":2}"#] {
        assert_eq!(point.evaluate_text(text).await.0, 400, "{text}");
    }
    let mut body = whole;
    body["context"] = json!("now");
    assert_eq!(point.evaluate(&body).await.0, 400);
}

#[tokio::test]
async fn a_batch_inherits_whole_members_and_keeps_its_order() {
    let point = Point::scenario();
    let one = |members: Value| members;
    let active = json!({"type": "record", "id": "record-1", "properties": {"status": "active"}});
    for (body, want) in [
        (
            one(json!({"subject": user("bob"), "resource": record("record-1"),
            "evaluations": [{"action": named("read")}, {"action": named("write")}]})),
            vec![true, false],
        ),
        (
            one(json!({"subject": user("alice"), "action": named("write"),
            "evaluations": [{"resource": active}, {"resource": archived()}]})),
            vec![true, false],
        ),
        (
            one(json!({"action": named("write"), "resource": archived(),
            "evaluations": [{"subject": user("alice")}, {"subject": admin()}]})),
            vec![false, true],
        ),
        (
            one(json!({"evaluations": [ask(user("alice"), named("read"), record("record-1")),
            ask(user("bob"), named("write"), record("record-1"))]})),
            vec![true, false],
        ),
        (
            one(json!({"subject": user("alice"), "action": named("write"), "resource": active,
            "evaluations": [{}, {"resource": archived()}]})),
            vec![true, false],
        ),
        (
            one(json!({"subject": user("alice"), "action": named("read"), "context": {"time": "now"},
            "evaluations": [{"resource": record("record-1")},
                {"resource": record("record-2"), "context": {"source": "other"}}]})),
            vec![true, true],
        ),
        // A member that is there and says nothing is not inherited.
        (
            one(json!({"subject": user("alice"), "action": named("read"), "resource": record("record-1"),
            "evaluations": [{"subject": null}, {"resource": {"type": "record"}}, {}]})),
            vec![false, false, true],
        ),
    ] {
        assert_eq!(point.decisions(&body).await, want, "{body}");
    }
}

#[tokio::test]
async fn each_semantic_ends_a_batch_where_it_says() {
    let point = Point::scenario();
    let body = |semantic: Value| {
        json!({"subject": user("bob"), "resource": record("record-1"),
            "options": {"evaluations_semantic": semantic, "another_option": 1},
            "evaluations": [{"action": named("read")}, {"action": named("write")}, {"action": named("read")}]})
    };
    assert_eq!(point.decisions(&body(json!("execute_all"))).await, [true, false, true]);
    assert_eq!(point.decisions(&body(json!("deny_on_first_deny"))).await, [true, false]);
    assert_eq!(point.decisions(&body(json!("permit_on_first_permit"))).await, [true]);
    for wrong in [json!("all"), json!(7), json!(null), json!(["execute_all"])] {
        assert_eq!(point.batch(&body(wrong.clone())).await.0, 400, "{wrong}");
    }
    let mut no_options = body(json!("execute_all"));
    no_options["options"] = json!("execute_all");
    assert_eq!(point.batch(&no_options).await.0, 400);
}

#[tokio::test]
async fn a_failure_inside_a_batch_is_a_denial_in_its_place() {
    let point = Point::scenario();
    let body = json!({"subject": user("alice"), "action": named("read"),
        "options": {"evaluations_semantic": "execute_all"},
        "evaluations": [{"resource": record("record-1")}, {}]});
    let (status, answer) = point.batch(&body).await;
    assert_eq!(status, 200);
    assert_eq!(answer["evaluations"][0]["decision"], true);
    assert_eq!(answer["evaluations"][1]["decision"], false);
    assert_eq!(answer["evaluations"][1]["context"]["error"]["status"], 400);
    let mut first = body;
    first["options"] = json!({"evaluations_semantic": "deny_on_first_deny"});
    first["evaluations"].as_array_mut().unwrap().reverse();
    assert_eq!(point.decisions(&first).await, [false], "a failure ends it as a denial does");
}

#[tokio::test]
async fn without_evaluations_it_is_one_evaluation_and_too_many_are_refused() {
    let point = Point::scenario();
    let mut body = ask(user("alice"), named("read"), record("record-1"));
    assert_eq!(point.batch(&body).await.1["decision"], true);
    body["evaluations"] = json!([]);
    assert_eq!(point.batch(&body).await.1["decision"], true);
    for wrong in [json!({}), json!([7]), json!("x")] {
        body["evaluations"] = wrong;
        assert_eq!(point.batch(&body).await.0, 400, "{body}");
    }
    let many = |n: usize| {
        json!({"subject": user("alice"), "action": named("read"), "resource": record("record-1"),
            "evaluations": vec![json!({}); n]})
    };
    assert_eq!(point.decisions(&many(256)).await.len(), 256);
    assert_eq!(point.batch(&many(257)).await.0, 413);
}

#[tokio::test]
async fn the_six_searches_find_what_the_scenario_says() {
    let point = Point::scenario();
    let any_user = json!({"type": "user"});
    let any_record = json!({"type": "record"});
    let s1 = ask(any_user.clone(), named("read"), record("record-1"));
    let s2 = ask(user("alice"), named("read"), any_record.clone());
    let s3 = json!({"subject": user("alice"), "resource": record("record-1")});
    let s4 = ask(any_user, named("write"), archived());
    let s5 = ask(admin(), named("write"), any_record);
    let s6 = json!({"subject": admin(), "resource": archived()});
    for (n, sought, mut body, want) in [
        (1, Sought::Subject, s1, vec!["alice", "bob"]),
        (2, Sought::Resource, s2, vec!["record-1", "record-2"]),
        (3, Sought::Action, s3, vec!["read", "write"]),
        (4, Sought::Subject, s4, vec!["bob"]),
        (5, Sought::Resource, s5, vec!["record-2"]),
        (6, Sought::Action, s6, vec!["read", "write"]),
    ] {
        assert_eq!(point.found(sought, &body).await, want, "S{n}");
        body["context"] = json!({"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"});
        assert_eq!(point.found(sought, &body).await, want, "S{n} with a context");
        // An identifier of what is sought means nothing.
        match sought {
            Sought::Subject => body["subject"]["id"] = json!("alice"),
            Sought::Resource => body["resource"]["id"] = json!("record-1"),
            Sought::Action => body["action"] = json!({"name": 7}),
        }
        assert_eq!(point.found(sought, &body).await, want, "S{n} with an identifier");
    }
}

#[tokio::test]
async fn every_result_of_a_search_is_permitted_when_it_is_asked_for_and_is_on_record() {
    let point = Point::scenario();
    let before = point.world.ports.ledger.drafts().len();
    let body = ask(json!({"type": "user"}), named("write"), record("record-1"));
    let (_, answer) = point.search(Sought::Subject, &body).await;
    assert_eq!(names(&answer), ["alice"]);
    assert_eq!(answer["results"][0]["type"], "user");
    assert_eq!(answer["context"]["searched"], "data/entities.json");
    assert_eq!(answer["context"]["candidates"], 2);
    assert_eq!(point.world.ports.ledger.drafts().len(), before + 1, "what is told is on record");
    assert!(point.decision(&ask(user("alice"), named("write"), record("record-1"))).await);
    // With the ledger down nobody is told anything.
    point.world.ports.ledger.set_down(true);
    assert_eq!(point.search(Sought::Subject, &body).await.0, 500);
    let evaluation = ask(user("alice"), named("write"), record("record-1"));
    assert_eq!(point.evaluate(&evaluation).await.0, 500);
    let mut batch = evaluation;
    batch["evaluations"] = json!([{}]);
    assert_eq!(point.decisions(&batch).await, [false]);
}

#[tokio::test]
async fn whoever_or_whatever_is_not_known_is_not_found_and_is_no_error() {
    let point = Point::scenario();
    let nobody = json!({"subject": user("nonexistent-user"), "resource": record("record-1")});
    assert_eq!(point.found(Sought::Action, &nobody).await, [] as [&str; 0]);
    let ship = json!({"type": "spaceship"});
    let read = |subject: Value, resource: Value| ask(subject, named("read"), resource);
    assert!(point.found(Sought::Subject, &read(ship.clone(), record("record-1"))).await.is_empty());
    assert!(point.found(Sought::Resource, &read(user("alice"), ship)).await.is_empty());
    let stranger = json!({"type": "spaceship", "id": "x"});
    assert!(
        point.found(Sought::Resource, &read(stranger.clone(), json!({"type": "record"}))).await.is_empty()
    );
    let on_record = json!({"subject": stranger, "resource": record("record-1")});
    assert!(point.found(Sought::Action, &on_record).await.is_empty());
    assert!(
        point.found(Sought::Subject, &read(json!({"type": "user"}), record("record-9"))).await.len() == 2
    );
}

#[tokio::test]
async fn a_search_needs_everything_but_what_it_seeks() {
    let point = Point::scenario();
    let any_user = json!({"type": "user"});
    let any_record = json!({"type": "record"});
    for (sought, body) in [
        (Sought::Subject, json!({"subject": any_user, "resource": record("record-1")})),
        (Sought::Resource, json!({"action": named("read"), "resource": any_record})),
        (Sought::Action, json!({"subject": user("alice")})),
        (Sought::Subject, ask(any_user.clone(), named("read"), any_record.clone())),
        (Sought::Resource, ask(any_user.clone(), named("read"), any_record.clone())),
        (Sought::Action, json!({"subject": any_user, "resource": record("record-1")})),
        (Sought::Subject, ask(json!({"id": "alice"}), named("read"), record("record-1"))),
        (Sought::Subject, ask(any_user.clone(), json!({"name": "no name"}), record("record-1"))),
        (Sought::Resource, ask(json!({"type": "x", "id": "x", "properties": 7}), named("read"), any_record)),
        (Sought::Subject, ask(any_user, named("read"), json!({"type": "x", "id": "x", "properties": []}))),
    ] {
        assert_eq!(point.search(sought, &body).await.0, 400, "{} {body}", sought.as_str());
    }
}

#[tokio::test]
async fn pages_hold_every_result_once_and_a_token_fits_its_own_search_only() {
    let mut source = PolicySource::new();
    source.insert("permissions/p.cedar", "@id(\"all\") permit (principal, action, resource);");
    let people: Vec<Value> = (0..7).map(|n| json!({"type": "User", "id": format!("user-{n}")})).collect();
    source.insert("data/entities.json", json!(people).to_string());
    let point = Point::of(World::of(&source, Approvers::default()), CallerRole::Operator);
    let mut body = ask(json!({"type": "user"}), named("read"), record("record-1"));
    let all = point.found(Sought::Subject, &body).await;
    assert_eq!(all.len(), 7);
    body["page"] = json!({"limit": 3});
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let (status, answer) = point.search(Sought::Subject, &body).await;
        assert_eq!(status, 200, "{answer}");
        let found = names(&answer);
        assert_eq!(answer["page"]["count"], found.len());
        assert!(found.len() <= 3);
        seen.extend(found);
        pages += 1;
        let token = answer["page"]["next_token"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
        let mut other = body.clone();
        other["action"] = named("write");
        other["page"] = json!({"token": token});
        assert_eq!(point.search(Sought::Subject, &other).await.0, 400, "another search");
        assert_eq!(point.search(Sought::Resource, &body).await.0, 400);
        body["page"] = json!({"token": token});
    }
    assert_eq!((pages, seen), (3, all));
    body["page"] = json!({"limit": 0});
    let (_, none) = point.search(Sought::Subject, &body).await;
    assert!(names(&none).is_empty() && none["page"]["next_token"] != "", "{none}");
}

#[tokio::test]
async fn a_result_says_its_obligations_and_one_that_cannot_be_carried_out_is_none() {
    let mut source = PolicySource::new();
    source.insert("permissions/p.cedar", "@id(\"all\") permit (principal, action, resource);");
    source.insert(
        "obligations/o.cedar",
        "@id(\"quiet\") @obligation(\"redact\") @fields(\"ssn\") permit (principal == User::\"ann\", action, resource);\n\
         @id(\"person\") @obligation(\"approve\") @role(\"lead\") permit (principal == User::\"bob\", action, resource);",
    );
    let people = ["ann", "bob", "cid"].map(|id| json!({"type": "User", "id": id}));
    source.insert("data/entities.json", json!(people).to_string());
    let point = Point::of(World::of(&source, Approvers::default()), CallerRole::Pep);
    let mut body = ask(json!({"type": "user"}), named("read"), record("record-1"));
    assert_eq!(point.found(Sought::Subject, &body).await, ["cid"], "nothing was declared supported");
    body["context"] = json!({"supported_obligations": ["redact"]});
    let (_, answer) = point.search(Sought::Subject, &body).await;
    assert_eq!(names(&answer), ["ann", "cid"], "a person would have to approve the third");
    assert_eq!(answer["results"][0]["obligations"][0]["properties"]["fields"], json!(["ssn"]));
    assert!(answer["results"][1].get("obligations").is_none());
}

#[tokio::test]
async fn an_obligation_that_was_not_declared_supported_denies() {
    let world = World::new(
        "@id(\"all\") permit (principal, action, resource);",
        "@id(\"ssn\") @obligation(\"redact\") @fields(\"ssn\") permit (principal, action == Action::\"read\", resource);",
    );
    let point = Point::of(world, CallerRole::Pep);
    let mut body = ask(user("ann"), named("read"), record("r"));
    let told = |supported: Value| json!({"supported_obligations": supported});
    for (context, want) in [
        (json!({}), false),
        (told(json!([])), false),
        (told(json!(["log", "mask"])), false),
        (told(json!(["redacted", "step-up"])), false),
        (told(json!(["step-up", "redact"])), true),
    ] {
        body["context"] = context;
        let (status, answer) = point.evaluate(&body).await;
        assert_eq!((status, &answer["decision"]), (200, &json!(want)), "{answer}");
        let due = answer["context"]["obligations"].as_array().unwrap();
        match want {
            true => assert_eq!((&due[0]["id"], &due[0]["type"]), (&json!("obl-1"), &json!("redact"))),
            false => assert_eq!(answer["context"]["reasons"][0]["kind"], "unenforceable", "{answer}"),
        }
    }
    body["action"] = named("write");
    body["context"] = json!({});
    assert!(point.decision(&body).await, "what no obligation is about needs none");
}

#[tokio::test]
async fn a_kill_switch_empties_a_search_at_once() {
    let point = Point::scenario();
    let body = ask(json!({"type": "user"}), named("write"), record("record-1"));
    assert_eq!(point.found(Sought::Subject, &body).await, ["alice"]);
    let order = KillOrder { target: "write".parse().unwrap(), agent: None, tenant: None };
    point.world.guard.kill(order, "ann").unwrap();
    assert!(point.found(Sought::Subject, &body).await.is_empty());
    let read = ask(json!({"type": "user"}), named("read"), record("record-1"));
    assert_eq!(point.found(Sought::Subject, &read).await.len(), 2, "its neighbour stays");
}

#[test]
fn the_metadata_names_every_endpoint_under_the_origin() {
    let text = Endpoint::configuration("https://pdp.example/");
    let metadata: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(metadata["policy_decision_point"], "https://pdp.example");
    let endpoints: BTreeSet<&str> = metadata
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.ends_with("_endpoint"))
        .map(|(_, url)| url.as_str().unwrap().strip_prefix("https://pdp.example/access/v1/").unwrap())
        .collect();
    let types = metadata["supported_obligations"].as_array().unwrap();
    assert!(types.contains(&json!("redact")) && types.contains(&json!("approve")), "{metadata}");
    let capabilities = metadata["capabilities"].as_array().unwrap();
    assert!(capabilities.iter().all(|name| name.as_str().unwrap().starts_with("urn:")), "{metadata}");
    for path in ["evaluation", "evaluations", "search/subject", "search/resource", "search/action"] {
        assert!(endpoints.contains(path), "{path}: {metadata}");
    }
}
