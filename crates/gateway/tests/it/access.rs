//! A denial that a person could lift: what it says, who may ask, and what a grant is good for.

use std::collections::BTreeMap;

use cordon_core::ed25519::SigningKey;
use cordon_core::{Duration, KillOrder};
use cordon_gateway::authzen::Endpoint;
use cordon_gateway::{Answer, Caller, CallerRole};
use cordon_guard::{Approver, Approvers, GuardError};
use cordon_workflow::{Answer as Word, Ballot};
use serde_json::{Value, json};

use crate::support::{World, caller};

const PERMIT: &str = r#"
@id("pays") permit (principal, action == Action::"bank/pay", resource);
@id("cap") @message("at most 100") forbid (principal, action == Action::"bank/pay", resource)
    when { context.args.amount > 100 };
"#;
const ASK: &str = r#"
@id("ask") @message("above 10 a person approves") @obligation("approve") @role("approver")
permit (principal, action == Action::"bank/pay", resource) when { context.args.amount > 10 };
"#;
const TOOLS: &str = r#"
tool = "bank/pay"
classes = ["money.move"]
effect = "irreversible"
input_schema = '{"type":"object","properties":{"amount":{"type":"integer"}},"required":["amount"]}'
"#;

struct Desk {
    world: World,
    endpoint: Endpoint,
    caller: Caller,
    key: SigningKey,
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

impl Desk {
    fn new() -> Self {
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let approver = |name: &str| {
            (Box::from(name), Approver { key: key.verifying_key(), roles: [Box::from("approver")].into() })
        };
        let approvers = Approvers::new(BTreeMap::from([approver("carol"), approver("ann")]));
        let world = World::with(PERMIT, ASK, TOOLS, approvers);
        let endpoint = Endpoint::at(world.guard.clone(), "https://pdp.example");
        Self { world, endpoint, caller: Caller { role: CallerRole::Pep, ..caller("omar", "pep") }, key }
    }

    async fn evaluate(&self, body: &Value) -> Value {
        let answer = self.endpoint.evaluation(body.to_string().as_bytes(), &self.caller).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        json_of(&answer)
    }

    async fn submit(&self, body: &Value) -> (u16, Value) {
        let answer = self.endpoint.request_access(body.to_string().as_bytes(), &self.caller).await;
        (answer.status, json_of(&answer))
    }

    /// Asks for what was denied, as the denial says.
    async fn ask(&self, evaluation: &Value) -> (u16, Value) {
        let denied = self.evaluate(evaluation).await;
        let mut body = evaluation.clone();
        body["denial"] = denied["context"]["access_request"].clone();
        body["context"]["business_justification"] = json!("the invoice is due");
        self.submit(&body).await
    }

    fn task(&self, id: &Value) -> (u16, Value) {
        let answer = self.endpoint.requested(id.as_str().unwrap(), &self.caller);
        (answer.status, json_of(&answer))
    }

    async fn answer(&self, who: &str, answer: Word) -> Result<(), GuardError> {
        let (approval, _) = self.world.guard.approvals(1).unwrap().remove(0);
        let ballot = Ballot {
            approval: approval.terms.id,
            binding: approval.terms.binding,
            answer,
            approver: who.into(),
            at: self.world.guard.now(),
        };
        self.world.guard.answer(&ballot, &self.key.sign(&ballot.signing_bytes())).await.map(drop)
    }

    /// An approval of this very evaluation, granted by carol.
    async fn granted(&self, evaluation: &Value) -> Value {
        let (status, task) = self.ask(evaluation).await;
        assert_eq!((status, &task["task"]["status"]), (202, &json!("pending")), "{task}");
        self.answer("carol", Word::Grant).await.unwrap();
        let (_, done) = self.task(&task["task"]["id"]);
        assert_eq!(done["task"]["status"], "approved");
        assert_eq!(done["result"]["mode"], "reevaluate");
        done["result"]["approval"].clone()
    }
}

fn pay(amount: u32) -> Value {
    json!({"subject": {"type": "user", "id": "ann"}, "resource": {"type": "Tool", "id": "bank/pay"},
        "action": {"name": "bank/pay", "properties": {"amount": amount}}, "context": {}})
}

fn with(mut evaluation: Value, approval: &Value) -> Value {
    evaluation["context"]["approval"] = approval.clone();
    evaluation
}

#[tokio::test]
async fn a_held_evaluation_says_how_to_ask_and_a_grant_lets_it_through_once() {
    let desk = Desk::new();
    assert_eq!(desk.evaluate(&pay(5)).await["decision"], true, "below the limit nobody is asked");
    let denied = desk.evaluate(&pay(50)).await;
    let context = &denied["context"];
    assert_eq!((&denied["decision"], &context["verdict"]), (&json!(false), &json!("ask")), "{denied}");
    assert_eq!(context["reason"], "approval_required");
    assert_eq!(context["evaluation_id"], context["entry"]["id"]);
    assert_eq!(context["access_request"]["endpoint"], "https://pdp.example/access/v1/requests");
    assert!(desk.world.guard.approvals(9).unwrap().is_empty(), "asking what is allowed asks nobody");

    let (status, task) = desk.ask(&pay(50)).await;
    assert_eq!(status, 202, "{task}");
    let id = task["task"]["id"].clone();
    assert_eq!(
        task["task"]["status_endpoint"],
        format!("https://pdp.example/access/v1/requests/{}", id.as_str().unwrap())
    );
    let (_, shown) = desk.world.guard.approvals(1).unwrap().remove(0);
    assert_eq!(&*shown.arguments, r#"{"amount":50}"#);
    let (_, again) = desk.ask(&pay(50)).await;
    assert_eq!(again["task"]["id"], id, "the same request is one task");
    let early = desk.evaluate(&with(pay(50), &json!({"id": id}))).await;
    assert_eq!((&early["decision"], &early["context"]["next_action"]), (&json!(false), &json!("retry")));

    desk.answer("carol", Word::Grant).await.unwrap();
    let (_, done) = desk.task(&id);
    let approval = &done["result"]["approval"];
    let allowed = desk.evaluate(&with(pay(50), approval)).await;
    assert_eq!(
        (&allowed["decision"], &allowed["context"]["verdict"]),
        (&json!(true), &json!("allow")),
        "{allowed}"
    );
    let spent = desk.evaluate(&with(pay(50), approval)).await;
    assert_eq!(spent["decision"], false, "a grant is spent once");
    assert_eq!(spent["context"]["reason"], "approval_expired");
    assert!(spent["context"]["access_request"]["binding_token"].is_string(), "it can be asked for anew");
    assert_eq!(desk.evaluate(&pay(50)).await["decision"], false);
}

#[tokio::test]
async fn a_grant_is_for_its_own_request_and_caller() {
    let desk = Desk::new();
    let approval = desk.granted(&pay(50)).await;
    let mut somebody = pay(50);
    somebody["subject"]["id"] = json!("bob");
    let mut elsewhere = pay(50);
    elsewhere["context"]["note"] = json!("other");
    for other in [pay(51), somebody, elsewhere] {
        let answer = desk.evaluate(&with(other.clone(), &approval)).await;
        assert_eq!(
            (&answer["decision"], &answer["context"]["reason"]),
            (&json!(false), &json!("out_of_scope")),
            "{other}"
        );
    }
    for unknown in [json!({"id": "apr_00000000000000000000000000000000"}), json!({"id": "x"})] {
        let answer = desk.evaluate(&with(pay(50), &unknown)).await;
        assert_eq!(
            (&answer["decision"], &answer["context"]["reason"]),
            (&json!(false), &json!("approval_unverifiable"))
        );
    }
    let mut other = caller("eve", "pep");
    other.role = CallerRole::Pep;
    let body = with(pay(50), &approval).to_string();
    let stolen = json_of(&desk.endpoint.evaluation(body.as_bytes(), &other).await);
    assert_eq!(
        (&stolen["decision"], &stolen["context"]["reason"]),
        (&json!(false), &json!("approval_unverifiable"))
    );
    assert_eq!(desk.endpoint.requested(approval["id"].as_str().unwrap(), &other).status, 404);
    assert_eq!(desk.evaluate(&with(pay(50), &approval)).await["decision"], true, "it was not touched");
}

#[tokio::test]
async fn only_what_a_person_may_grant_can_be_asked_for_and_only_after_its_own_denial() {
    let desk = Desk::new();
    let hint = desk.evaluate(&pay(50)).await["context"]["access_request"].clone();
    let submitted = |evaluation: Value, denial: Value| {
        let mut body = evaluation;
        body["denial"] = denial;
        body
    };
    for (body, want) in [
        (submitted(pay(500), hint.clone()), "not_requestable"),
        (submitted(pay(5), hint.clone()), "not_requestable"),
        (submitted(pay(51), hint.clone()), "invalid_denial_binding"),
        (submitted(pay(50), json!({"binding_token": "AAAA"})), "invalid_denial_binding"),
        (submitted(pay(50), json!({"evaluation_id": "rec_1"})), "invalid_denial_binding"),
        (submitted(json!({"subject": 1}), hint.clone()), "invalid_request"),
        (submitted(json!({"subject": pay(50)["subject"], "items": []}), hint.clone()), "invalid_request"),
    ] {
        let (status, problem) = desk.submit(&body).await;
        let kind = format!("urn:openid:authzen:access-request:error:{want}");
        assert_eq!((status, problem["type"].as_str()), (400, Some(&*kind)), "{problem}");
    }
    assert!(desk.evaluate(&pay(500)).await["context"].get("access_request").is_none());
    desk.world.ports.clock.advance(Duration::from_secs(601));
    let late = desk.submit(&submitted(pay(50), hint)).await;
    assert_eq!((late.0, late.1["status"].as_u64()), (410, Some(410)), "{}", late.1);
    assert!(desk.world.guard.approvals(9).unwrap().is_empty(), "nobody was asked");
    assert_eq!(desk.ask(&pay(50)).await.0, 202, "and its neighbour is");
}

#[tokio::test]
async fn a_refusal_stands_and_nobody_answers_for_themselves() {
    let desk = Desk::new();
    let (_, task) = desk.ask(&pay(50)).await;
    assert!(desk.answer("ann", Word::Grant).await.is_err(), "ann is whom the request is for");
    desk.answer("carol", Word::Deny).await.unwrap();
    let id = &task["task"]["id"];
    assert_eq!(desk.task(id).1["task"]["status"], "denied");
    assert!(desk.task(id).1.get("result").is_none());
    let answer = desk.evaluate(&with(pay(50), &json!({"id": id}))).await;
    assert_eq!((&answer["decision"], &answer["context"]["next_action"]), (&json!(false), &json!("none")));
}

#[tokio::test]
async fn a_grant_never_outlives_a_kill_switch_its_time_or_the_ledger() {
    let desk = Desk::new();
    let approval = desk.granted(&pay(50)).await;
    desk.world.ports.ledger.set_down(true);
    let body = with(pay(60), &approval).to_string();
    assert_eq!(desk.endpoint.evaluation(body.as_bytes(), &desk.caller).await.status, 500);
    desk.world.ports.ledger.set_down(false);
    let order = KillOrder { target: "money.move".parse().unwrap(), agent: None, tenant: None };
    desk.world.guard.kill(order, "omar").unwrap();
    let killed = desk.evaluate(&with(pay(50), &approval)).await;
    assert_eq!((&killed["decision"], &killed["context"]["reason"]), (&json!(false), &json!("policy_denied")));

    let desk = Desk::new();
    let approval = desk.granted(&pay(50)).await;
    desk.world.ports.clock.advance(Duration::from_secs(901));
    let late = desk.evaluate(&with(pay(50), &approval)).await;
    assert_eq!((&late["decision"], &late["context"]["reason"]), (&json!(false), &json!("approval_expired")));
}

#[tokio::test]
async fn one_caller_keeps_only_so_many_people_waiting() {
    let desk = Desk::new();
    for amount in 11..43 {
        assert_eq!(desk.ask(&pay(amount)).await.0, 202, "{amount}");
    }
    assert_eq!(desk.ask(&pay(43)).await.0, 429);
    assert_eq!(desk.ask(&pay(42)).await.0, 202, "what waits already is found");
}
