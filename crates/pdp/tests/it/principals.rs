//! Who must permit what, and who may work for which purpose.

use cordon_core::{Facts, Role, UnknownReason, Value};
use cordon_pdp::{PolicySet, could_allow, decide};

use crate::support::{NOON, compile, facts, judge, request, shown};

const READER: &str = r#"
    @id("agent") permit(principal == Agent::"a", action in [Action::"data.read", Action::"files.read"], resource);
    @id("user") permit(principal is User, action in Action::"data.read", resource)
    when { principal has clearance && principal.clearance >= 3 };
    @id("owner") permit(principal == User::"o", action in Action::"money.move", resource);"#;

const SCHEMA: &str = "entity User = { clearance?: Long };";

fn set(principals: &str) -> PolicySet {
    compile(&[
        ("permissions/p.cedar", READER),
        ("schema/s.cedarschema", SCHEMA),
        ("data/principals.json", principals),
    ])
}

#[track_caller]
fn check(principals: &str, words: &str, want: &str) {
    let set = set(principals);
    let judgement = judge(&set, words);
    assert_eq!(shown(&judgement), want, "{words}\n{:#?}", judgement.reasons);
    let request = request(&set, words);
    let allowed = want.starts_with("allow");
    assert_eq!(could_allow(&set, &request, &facts(), NOON), allowed, "what is listed is what is allowed");
}

#[test]
fn data_is_readable_only_when_the_agent_acts_for_a_user_with_the_attribute() {
    let golden = r#"{"data.read":{"must":["agent","user"]}}"#;
    check(golden, "owner:o agent:a user:u.clearance=3 does t/t data.read read", "allow: permitted agent");
    check(
        golden,
        "owner:o agent:a user:u.clearance=2 does t/t data.read read",
        "deny: not_permitted cordon:no-permit",
    );
    check(golden, "owner:o agent:a user:u does t/t data.read read", "deny: not_permitted cordon:no-permit");
    check(
        golden,
        "owner:o agent:a user:u.clearance=? does t/t data.read read",
        "deny: not_permitted cordon:no-permit",
    );
    check(golden, "owner:o agent:a does t/t data.read read", "deny: not_permitted cordon:no-user");
    check(
        golden,
        "owner:o agent:b user:u.clearance=3 does t/t data.read read",
        "deny: not_permitted cordon:no-permit",
    );
    // Neither the owner nor another class is covered by the user's right.
    check(
        "{}",
        "owner:o agent:a user:u.clearance=3 does t/t data.read read",
        "deny: not_permitted cordon:no-permit",
    );
    check(
        golden,
        "owner:o agent:a user:u.clearance=3 does t/t data.read,files.read read",
        "deny: not_permitted cordon:no-permit",
    );
}

#[test]
fn an_agent_acts_by_itself_only_where_the_class_says_autonomous() {
    let principals = r#"{"files.read":{"must":["agent"],"autonomous":true}}"#;
    check(principals, "owner:o agent:a does t/t files.read read", "allow: permitted agent");
    check(principals, "owner:o agent:a user:u does t/t files.read read", "allow: permitted agent");
    check(principals, "agent:a does t/t data.read read", "deny: not_permitted cordon:no-user");
    check(principals, "agent:a does t/t files.read,data.read read", "deny: not_permitted cordon:no-user");
    // The agent's own scope caps whoever else permits it.
    check(
        r#"{"money.move":{"must":["owner"]}}"#,
        "owner:o agent:a user:u does t/t money.move write",
        "deny: not_permitted cordon:no-permit",
    );
}

#[test]
fn a_principal_that_must_permit_must_be_named() {
    let both = r#"{"data.read":{"must":["owner","user"]}}"#;
    check(
        both,
        "agent:a user:u.clearance=3 does t/t data.read read",
        "deny: not_permitted cordon:principal-missing",
    );
    check(
        both,
        "owner:o.clearance=3 agent:a user:u.clearance=3 does t/t data.read read",
        "allow: permitted agent",
    );
    check(
        both,
        "owner:o.clearance=3 does t/t data.read read",
        "deny: not_permitted cordon:principal-missing",
    );
}

#[test]
fn work_that_was_passed_on_needs_the_permit_of_everybody_it_passed() {
    let set = compile(&[
        (
            "permissions/p.cedar",
            r#"@id("a") permit(principal in Team::"trusted", action, resource);
           @id("u") permit(principal is User, action, resource) when { context.chain.depth <= 2 };"#,
        ),
        (
            "data/entities.json",
            r#"[{"type":"Agent","id":"a","teams":["trusted"]},{"type":"Agent","id":"b","teams":["trusted"]}]"#,
        ),
    ]);
    let judged = |words: &str| judge(&set, words);
    assert_eq!(shown(&judged("agent:a user:u does t/t - read")), "allow: permitted a");
    assert_eq!(shown(&judged("agent:a via:b user:u does t/t - read")), "allow: permitted a");
    let refused = judged("agent:a via:b via:c user:u does t/t - read");
    assert_eq!(shown(&refused), "deny: not_permitted cordon:no-permit");
    assert_eq!(refused.reasons[0].principal, Some(Role::Via));
    assert_eq!(
        shown(&judged("agent:a via:b via:b via:b user:u does t/t - read")),
        "deny: not_permitted cordon:no-permit"
    );
}

#[test]
fn a_prohibition_and_an_obligation_count_for_a_principal_who_need_not_permit() {
    let set = compile(&[
        (
            "permissions/p.cedar",
            r#"permit(principal is Agent, action, resource);
            @id("leave") forbid(principal == User::"o", action, resource);"#,
        ),
        (
            "obligations/o.cedar",
            r#"@obligation("approve") @role("approver") permit(principal == User::"p", action, resource);"#,
        ),
        ("data/principals.json", r#"{"default":{"must":["agent"],"autonomous":true}}"#),
    ]);
    assert!(shown(&judge(&set, "owner:q agent:a does t/t - read")).starts_with("allow"));
    assert_eq!(shown(&judge(&set, "owner:o agent:a does t/t - read")), "deny: forbidden leave");
    assert!(shown(&judge(&set, "owner:p agent:a does t/t - read")).starts_with("ask"));
}

#[test]
fn a_purpose_is_one_that_the_registry_lets_these_principals_claim() {
    let any = ("permissions/p.cedar", "@id(\"any\") permit(principal, action, resource);");
    let registry = compile(&[any, ("data/purposes.json", r#"{"care":{"user":["ann"]},"audit":{}}"#)]);
    let judged = |set: &PolicySet, user: &str, purpose: Option<&str>| {
        let mut asked = request(set, &format!("agent:a user:{user} does t/t - read"));
        asked.context.purpose = purpose.map(Into::into);
        shown(&decide(set, &asked, &Facts::default(), NOON))
    };
    assert_eq!(judged(&registry, "ann", Some("care")), "allow: permitted any");
    assert_eq!(judged(&registry, "bob", Some("care")), "deny: refused cordon:purpose");
    assert_eq!(judged(&registry, "bob", Some("audit")), "allow: permitted any");
    assert_eq!(judged(&registry, "ann", Some("marketing")), "deny: refused cordon:purpose");
    assert_eq!(judged(&registry, "ann", None), "allow: permitted any");
    let none = compile(&[any]);
    assert!(registry.has_purposes() && !none.has_purposes());
    assert_eq!(judged(&none, "ann", Some("anything")), "allow: permitted any");
}

#[test]
fn a_group_that_is_too_old_is_unknown_and_a_prohibition_that_reads_it_denies() {
    let set = compile(&[
        (
            "permissions/p.cedar",
            r#"permit(principal, action, resource);
            @id("banned") forbid(principal is User, action, resource)
            when { principal has groups && principal.groups.contains("banned") };"#,
        ),
        ("schema/s.cedarschema", "entity User = { groups?: Set<String> };"),
    ]);
    let judged = |groups: Option<Value>| {
        let mut asked = request(&set, "agent:a user:u does t/t - read");
        let mut user = asked.chain.on_behalf_of().unwrap().clone();
        user.attributes.extend(groups.map(|groups| ("groups".into(), groups)));
        asked.chain = cordon_core::Chain::new(None, asked.chain.agent().cloned(), Some(user)).unwrap();
        shown(&decide(&set, &asked, &Facts::default(), NOON))
    };
    assert!(judged(Some(Value::texts(["staff"]))).starts_with("allow"));
    assert!(judged(None).starts_with("allow"));
    assert_eq!(judged(Some(Value::texts(["banned"]))), "deny: forbidden banned");
    assert_eq!(judged(Some(Value::Unknown(UnknownReason::Stale))), "deny: indeterminate banned");
}

#[test]
fn an_agent_is_found_by_its_workload() {
    let set = compile(&[(
        "data/entities.json",
        r#"[{"type":"Agent","id":"reader","attributes":{"spiffe_id":"spiffe://prod.example/reader"}}]"#,
    )]);
    assert_eq!(set.agent_of(&"spiffe://prod.example/reader".parse().unwrap()), Some("reader"));
    assert_eq!(set.agent_of(&"spiffe://prod.example/reader2".parse().unwrap()), None);
    assert_eq!(set.agent_of(&"spiffe://test.example/reader".parse().unwrap()), None);
}
