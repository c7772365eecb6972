//! What the decision means: each thing allowed beside its nearest neighbour denied.

use std::collections::BTreeSet;

use cordon_core::{Facts, ReasonKind, Role, Timestamp, Value, Verdict};
use cordon_pdp::{RuleOutcome, could_allow, decide, explain};

use crate::support::{NOON, check, compile, facts, judge, policies, request, shown};

const ANY: &str = "@id(\"any\") permit(principal, action, resource);";

#[test]
fn nothing_is_permitted_without_a_rule() {
    check("", "agent:a does mail/read data.read read", "deny: not_permitted cordon:no-permit");
    check(ANY, "agent:a does mail/read data.read read", "allow: permitted any");
    assert_eq!(
        shown(&judge(&cordon_pdp::PolicySet::deny_all(), "agent:a does x/y")),
        "deny: not_permitted cordon:no-permit"
    );
}

#[test]
fn every_principal_of_the_chain_must_be_permitted() {
    let text = r#"
        @id("a") permit(principal == Agent::"a", action, resource);
        @id("o") permit(principal == User::"o", action, resource);"#;
    check(text, "agent:a does x/y - read", "allow: permitted a");
    check(text, "agent:a owner:o does x/y - read", "allow: permitted a");
    check(text, "agent:a owner:o user:v does x/y - read", "deny: not_permitted cordon:no-permit");
    check(text, "agent:a owner:o user:o does x/y - read", "allow: permitted a");
    check(text, "agent:b owner:o does x/y - read", "deny: not_permitted cordon:no-permit");
    let judgement = judge(&policies(text), "agent:a owner:o user:v does x/y - read");
    assert_eq!(judgement.reasons[0].principal, Some(Role::OnBehalfOf));
    assert!(judgement.reasons[0].message.contains("User::\"v\""), "{}", judgement.reasons[0].message);
    assert!(judgement.reasons[0].remedy.as_deref().unwrap().contains("Action::\"x/y\""));
}

#[test]
fn a_prohibition_for_any_principal_denies_and_says_why() {
    let text = r#"
        permit(principal, action, resource);
        @id("no-o") @message("o is on leave") @remedy("ask p")
        forbid(principal == User::"o", action, resource);"#;
    check(text, "agent:a user:v does x/y - read", "allow: permitted permissions/p.cedar:2");
    check(text, "agent:a owner:o does x/y - read", "deny: forbidden no-o");
    let judgement = judge(&policies(text), "agent:a owner:o does x/y - read");
    let reason = &judgement.reasons[0];
    assert_eq!(
        (&*reason.message, reason.remedy.as_deref(), reason.rule.line),
        ("o is on leave", Some("ask p"), 4)
    );
    assert_eq!(judgement.reasons.len(), 1, "{:#?}", judgement.reasons);
}

#[test]
fn a_broken_forbid_still_forbids_and_a_broken_permit_permits_nothing() {
    let manifest = "tool = \"x/y\"\nclasses = []\neffect = \"read\"";
    let forbid = |condition: &str| {
        format!(
            "{ANY}\n@id(\"f\") forbid(principal, action == Action::\"x/y\", resource) when {{ {condition} }};\n---\n\n---\n{manifest}"
        )
    };
    check(&forbid("context.args.n > 3"), "agent:a does x/y with n=4", "deny: forbidden f");
    check(&forbid("context.args.n > 3"), "agent:a does x/y with n=3", "allow: permitted any");
    check(&forbid("context.args.n > 3"), "agent:a does x/y", "deny: indeterminate f");
    check(&forbid("context.args.n > 3"), "agent:a does x/y with n=three", "deny: indeterminate f");
    check(&forbid("context.args has n && context.args.n > 3"), "agent:a does x/y", "allow: permitted any");
    check(
        &forbid("9223372036854775807 + context.args.n > 3"),
        "agent:a does x/y with n=4",
        "deny: indeterminate f",
    );
    let permit = format!(
        "@id(\"p\") permit(principal, action == Action::\"x/y\", resource) when {{ context.args.n > 3 }};\n---\n\n---\n{manifest}"
    );
    check(&permit, "agent:a does x/y with n=4", "allow: permitted p");
    check(&permit, "agent:a does x/y", "deny: not_permitted cordon:no-permit");
    let message = &judge(&policies(&permit), "agent:a does x/y").reasons[0].message;
    assert!(message.contains("`p (permissions/p.cedar:1)` could not be judged"), "{message}");
}

#[test]
fn a_broken_obligation_denies() {
    let text = format!(
        "{ANY}\n---\n@id(\"o\") @obligation(\"monitor\")\npermit(principal, action == Action::\"x/y\", resource) when {{ context.args.n > 3 }};\n---\ntool = \"x/y\"\nclasses = []\neffect = \"read\""
    );
    check(&text, "agent:a does x/y with n=4", "allow: permitted any +monitor");
    check(&text, "agent:a does x/y with n=1", "allow: permitted any");
    check(&text, "agent:a does x/y", "deny: indeterminate o");
    check(&text, "agent:a does x/y with n=?", "deny: indeterminate o");
}

#[test]
fn an_unknown_value_that_a_prohibition_mentions_denies_and_an_absent_one_is_absent() {
    let text = format!(
        "{ANY}\n@id(\"f\") forbid(principal, action, resource) when {{ context.args has to && context.args.to == \"evil\" }};"
    );
    check(&text, "agent:a does x/y - read with to=good", "allow: permitted any");
    check(&text, "agent:a does x/y - read with to=evil", "deny: forbidden f");
    check(&text, "agent:a does x/y - read", "allow: permitted any");
    check(&text, "agent:a does x/y - read with to=?", "deny: indeterminate f");
    check(&text, "agent:a does x/y - read with cc=?", "allow: permitted any");
    let judgement = judge(&policies(&text), "agent:a does x/y - read with to=?");
    assert!(judgement.reasons[0].message.contains("context.args.to"), "{}", judgement.reasons[0].message);
    // A permission that mentions it is not satisfied; another one still permits.
    let permit = "@id(\"p\") permit(principal, action, resource) when { !(context.args has to) };";
    check(permit, "agent:a does x/y - read", "allow: permitted p");
    check(permit, "agent:a does x/y - read with to=?", "deny: not_permitted cordon:no-permit");
    check(&format!("{permit}{ANY}"), "agent:a does x/y - read with to=?", "allow: permitted any");
}

#[test]
fn a_prohibition_about_somebody_else_is_not_in_doubt() {
    let text = format!(
        "{ANY}\n@id(\"f\") forbid(principal == Agent::\"b\", action, resource) when {{ context.args has to }};"
    );
    check(&text, "agent:a does x/y - read with to=?", "allow: permitted any");
    check(&text, "agent:b does x/y - read with to=?", "deny: indeterminate f");
}

#[test]
fn an_unknown_part_of_a_set_or_record_makes_what_reads_it_doubtful() {
    let set = policies(&format!(
        "{ANY}\n@id(\"f\") forbid(principal, action, resource) when {{ context.args has to && context.args.to.contains(\"evil\") }};"
    ));
    let mut asked = request(&set, "agent:a does x/y - read");
    let unknown = || Value::Unknown(cordon_core::UnknownReason::Truncated);
    asked.context.args.insert("to".into(), Value::Set(vec![Value::text("good"), unknown()]));
    assert_eq!(shown(&decide(&set, &asked, &facts(), NOON)), "deny: indeterminate f");
    asked.context.args.insert("to".into(), Value::texts(["good"]));
    assert_eq!(shown(&decide(&set, &asked, &facts(), NOON)), "allow: permitted any");

    let deep = policies(&format!(
        "{ANY}\n@id(\"f\") forbid(principal, action, resource) when {{ context.args has to && context.args.to has host && context.args.to.host == \"evil\" }};"
    ));
    let mut asked = request(&deep, "agent:a does x/y - read");
    let record =
        |host: Value, port: Value| Value::Record([("host".into(), host), ("port".into(), port)].into());
    asked.context.args.insert("to".into(), record(Value::text("good"), unknown()));
    // `context.args has to` reads no more than whether it is there, but a prefix counts as a mention.
    assert_eq!(shown(&decide(&deep, &asked, &facts(), NOON)), "deny: indeterminate f");
    asked.context.args.insert("to".into(), record(unknown(), Value::Long(1)));
    assert_eq!(shown(&decide(&deep, &asked, &facts(), NOON)), "deny: indeterminate f");
    asked.context.args.insert("to".into(), record(Value::text("good"), Value::Long(1)));
    assert_eq!(shown(&decide(&deep, &asked, &facts(), NOON)), "allow: permitted any");
}

#[test]
fn an_unknown_attribute_of_a_principal_is_doubtful_wherever_it_is_read() {
    let text = format!(
        "{ANY}\n@id(\"f\") forbid(principal is User, action, resource) when {{ principal has level && principal.level < 3 }};"
    );
    check(&text, "agent:a owner:o.level=3 does x/y - read", "allow: permitted any");
    check(&text, "agent:a owner:o.level=2 does x/y - read", "deny: forbidden f");
    check(&text, "agent:a owner:o.level=? does x/y - read", "deny: indeterminate f");
    check(&text, "agent:a owner:o does x/y - read", "allow: permitted any");
    // The same person with two different levels has none that is known.
    check(&text, "owner:o.level=3 user:o.level=4 does x/y - read", "deny: indeterminate f");
    check(&text, "owner:o.level=3 user:o.level=3 does x/y - read", "allow: permitted any");
}

#[test]
fn an_undeclared_action_is_in_no_class_for_a_permit_and_in_every_class_for_a_restriction() {
    let class = "@id(\"c\") permit(principal, action in Action::\"data.read\", resource);";
    check(class, "agent:a does x/y data.read read", "allow: permitted c");
    check(class, "agent:a does x/y data.write read", "deny: not_permitted cordon:no-permit");
    check(class, "agent:a does x/y", "deny: not_permitted cordon:no-permit");
    let effect = "@id(\"e\") permit(principal, action in Action::\"effect:irreversible\", resource);";
    check(effect, "agent:a does x/y - irreversible", "allow: permitted e");
    check(effect, "agent:a does x/y", "deny: not_permitted cordon:no-permit");
    check(
        "@id(\"n\") permit(principal, action == Action::\"x/y\", resource);",
        "agent:a does x/y",
        "allow: permitted n",
    );
    for group in ["data.read", "admin", "effect:irreversible", "data.read:orders"] {
        let forbid = format!("{ANY}@id(\"f\") forbid(principal, action in Action::\"{group}\", resource);");
        check(&forbid, "agent:a does x/y", "deny: forbidden f");
        check(&forbid, "agent:a does x/y data.write write", "allow: permitted any");
        let oblige = format!(
            "{ANY}\n---\n@obligation(\"monitor\") permit(principal, action in Action::\"{group}\", resource);"
        );
        check(&oblige, "agent:a does x/y", "allow: permitted any +monitor");
    }
    let read = format!("{ANY}@id(\"f\") forbid(principal, action in Action::\"effect:read\", resource);");
    check(&read, "agent:a does x/y", "allow: permitted any");
}

#[test]
fn asking_for_groups_in_a_condition_does_not_loosen_an_undeclared_action() {
    let unless = "@id(\"p\") permit(principal, action, resource) unless { action in Action::\"admin\" };";
    check(unless, "agent:a does x/y data.read read", "allow: permitted p");
    check(unless, "agent:a does x/y admin read", "deny: not_permitted cordon:no-permit");
    check(unless, "agent:a does x/y", "deny: not_permitted cordon:no-permit");
    let forbid = format!(
        "{ANY}@id(\"f\") forbid(principal, action, resource) unless {{ action in Action::\"data.read\" }};"
    );
    check(&forbid, "agent:a does x/y data.read read", "allow: permitted any");
    check(&forbid, "agent:a does x/y admin read", "deny: forbidden f");
    check(&forbid, "agent:a does x/y", "deny: forbidden f");
    let two = format!(
        "{ANY}@id(\"f\") forbid(principal, action, resource) when {{ action in Action::\"admin\" && !(action in Action::\"data.read\") }};"
    );
    check(&two, "agent:a does x/y admin read", "deny: forbidden f");
    check(&two, "agent:a does x/y data.read read", "allow: permitted any");
    check(&two, "agent:a does x/y", "deny: indeterminate f");
    let half = format!(
        "{ANY}@id(\"f\") forbid(principal, action, resource) when {{ action in Action::\"admin\" && principal is User }};"
    );
    check(&half, "agent:a does x/y", "allow: permitted any");
    check(&half, "agent:a owner:o does x/y", "deny: forbidden f");
}

#[test]
fn an_action_cannot_take_the_name_of_a_group() {
    let class = "@id(\"c\") permit(principal, action in Action::\"data.read\", resource);";
    for name in ["data.read", "effect:read", "data.read:orders", "admin"] {
        check(class, &format!("agent:a does {name}"), "deny: indeterminate cordon:unreadable");
        check(ANY, &format!("agent:a does {name}"), "deny: indeterminate cordon:unreadable");
    }
}

#[test]
fn a_part_of_a_class_is_in_its_class_and_not_the_other_way_round() {
    let whole = "@id(\"c\") permit(principal, action in Action::\"data.read\", resource);";
    check(whole, "agent:a does x/y data.read:orders read", "allow: permitted c");
    let part = "@id(\"c\") permit(principal, action in Action::\"data.read:orders\", resource);";
    check(part, "agent:a does x/y data.read:orders read", "allow: permitted c");
    check(part, "agent:a does x/y data.read:people read", "deny: not_permitted cordon:no-permit");
    check(part, "agent:a does x/y data.read read", "deny: not_permitted cordon:no-permit");
}

#[test]
fn ask_needs_an_approval_that_is_due_and_deny_goes_before_it() {
    let ask = format!(
        "{ANY}\n---\n@id(\"o\") @obligation(\"approve\") @role(\"approver\")\npermit(principal, action in Action::\"money.move\", resource);"
    );
    check(&ask, "agent:a does x/y money.move write", "ask: approval_due o +approve");
    check(&ask, "agent:a does x/y data.read read", "allow: permitted any");
    let denied = ask.replace(ANY, &format!("{ANY}@id(\"f\") forbid(principal, action, resource);"));
    check(&denied, "agent:a does x/y money.move write", "deny: forbidden f");
}

#[test]
fn an_obligation_that_cannot_be_carried_out_denies() {
    let set = policies(&format!(
        "{ANY}\n---\n@id(\"o\") @obligation(\"redact\") @fields(\"ssn\")\npermit(principal, action, resource);"
    ));
    let asked = request(&set, "agent:a does x/y - read");
    assert_eq!(shown(&decide(&set, &asked, &facts(), NOON)), "allow: permitted any +redact");
    let none = Facts::default();
    assert_eq!(shown(&decide(&set, &asked, &none, NOON)), "deny: unenforceable o");
    let other = Facts { supported: BTreeSet::from(["mask"]), ..Facts::default() };
    assert_eq!(shown(&decide(&set, &asked, &other, NOON)), "deny: unenforceable o");
}

#[test]
fn containing_obligations_act_on_a_denial_and_the_others_do_not() {
    let text = "@id(\"f\") forbid(principal, action, resource);\n---\n\
        @obligation(\"isolate\") permit(principal, action, resource);\n\
        @obligation(\"redact\") @fields(\"x\") permit(principal, action, resource);";
    check(text, "agent:a does x/y - read", "deny: forbidden f +isolate");
}

#[test]
fn obligations_of_all_principals_are_joined() {
    let text = format!(
        "{ANY}\n---\n\
        @obligation(\"max_rows\") @limit(\"10\") permit(principal is Agent, action, resource);\n\
        @obligation(\"max_rows\") @limit(\"3\") permit(principal is User, action, resource);"
    );
    let judgement = judge(&policies(&text), "agent:a owner:o does x/y - read");
    assert_eq!(judgement.obligations.len(), 1);
    assert_eq!(judgement.obligations[0].kind, cordon_core::ObligationKind::MaxRows { limit: 3 });
    assert_eq!(judgement.obligations[0].rules.len(), 2);
}

#[test]
fn the_context_is_what_the_vocabulary_says() {
    let set = |condition: &str| {
        policies(&format!("@id(\"p\") permit(principal, action, resource) when {{ {condition} }};"))
    };
    let judged = |condition: &str| {
        let set = set(condition);
        let mut asked = request(&set, "agent:a owner:o does mail/send message.send write with n=3");
        asked.context.purpose = Some("billing".into());
        asked.context.model.insert("name".into(), Value::text("m-1"));
        asked.context.asserted.insert("ip".into(), Value::text("10.0.0.1"));
        let mut facts = facts();
        facts.region = Some("eu".into());
        decide(&set, &asked, &facts, NOON).verdict
    };
    for condition in [
        "context has purpose && context.purpose like \"bill*\"".to_owned(),
        "!(context has project)".to_owned(),
        "context.model has name && context.model.name == \"m-1\" && !(context.model has version)".to_owned(),
        "context.env.now > datetime(\"2026-01-01\") && context.env has region && context.env.region == \"eu\"".to_owned(),
        format!("context.env.now == datetime(\"{}\")", NOON.to_string().replace('Z', ".000Z")),
        "context.env.now.toTime() < duration(\"24h\")".to_owned(),
        "context.session.calls == 0 && context.session.integrity == 0 && !(context.session has id)".to_owned(),
        "context.chain has owner && context.chain.owner == \"o\" && !(context.chain has on_behalf_of)".to_owned(),
        "context.role == \"agent\" || context.role == \"owner\"".to_owned(),
        "context.ambiguous.isEmpty()".to_owned(),
        "context.args has n && context.args.n == 3".to_owned(),
        "context.asserted has ip && context.asserted.ip == \"10.0.0.1\"".to_owned(),
        "principal.id == \"a\" || principal.id == \"o\"".to_owned(),
        "resource in Server::\"mail\" && resource.id == \"mail/send\" && resource is Tool && resource.tenant == \"default\"".to_owned(),
        "resource.markings.isEmpty()".to_owned(),
        "action in [Action::\"message.send\", Action::\"admin\"] && action in Action::\"effect:write\"".to_owned(),
    ] {
        let text = format!("permit(principal, action, resource) when {{ {condition} }};");
        let compiled = cordon_pdp::PolicySet::compile(&crate::support::source(&[("permissions/p.cedar", &text)]));
        assert!(compiled.is_ok(), "{condition}: {compiled:?}");
        assert_eq!(judged(&condition), Verdict::Allow, "{condition}");
        assert_eq!(judged(&format!("!({condition})")), Verdict::Deny, "{condition}");
    }
}

#[test]
fn the_role_tells_principals_apart_that_are_the_same_person() {
    let text = format!(
        "{ANY}@id(\"f\") forbid(principal, action, resource) when {{ context.role == \"on_behalf_of\" }};"
    );
    check(&text, "owner:o does x/y - read", "allow: permitted any");
    check(&text, "owner:o user:o does x/y - read", "deny: forbidden f");
}

#[test]
fn time_is_the_time_that_is_passed_in() {
    let set = policies(&format!(
        "{ANY}@id(\"f\") forbid(principal, action, resource) when {{ context.env.now >= datetime(\"2026-11-22\") }};"
    ));
    let asked = request(&set, "agent:a does x/y - read");
    let at = |text: &str| decide(&set, &asked, &facts(), Timestamp::parse_rfc3339(text).unwrap()).verdict;
    assert_eq!(at("2026-11-21T23:59:59.999999Z"), Verdict::Allow);
    assert_eq!(at("2026-11-22T00:00:00Z"), Verdict::Deny);
    // A time that the engine cannot hold is not judged.
    assert_eq!(decide(&set, &asked, &facts(), Timestamp::from_micros(u64::MAX)).verdict, Verdict::Deny);
}

#[test]
fn signed_data_goes_before_what_a_request_claims() {
    let set = compile(&[
        (
            "permissions/p.cedar",
            "@id(\"p\") permit(principal is User in Team::\"staff\", action, resource) when { principal has level && principal.level >= 3 };",
        ),
        ("schema/s.cedarschema", "entity User = { level?: Long };"),
        (
            "data/entities.json",
            r#"[{"type":"User","id":"o","attributes":{"level":2},"teams":["ops"]},{"type":"User","id":"p","attributes":{"level":3},"teams":["ops"]},{"type":"Team","id":"ops","teams":["staff"]},{"type":"Team","id":"staff","teams":["ops"]}]"#,
        ),
        ("data/asserted.json", r#"["User.level"]"#),
    ]);
    assert_eq!(judge(&set, "owner:p does x/y - read").verdict, Verdict::Allow);
    assert_eq!(judge(&set, "owner:o does x/y - read").verdict, Verdict::Deny);
    assert_eq!(judge(&set, "owner:o.level=9 does x/y - read").verdict, Verdict::Deny);
    assert_eq!(judge(&set, "owner:o.level=9 user:o.level=8 does x/y - read").verdict, Verdict::Deny);
    assert_eq!(judge(&set, "owner:q.level=9 does x/y - read").verdict, Verdict::Deny);
    assert!(
        set.may_assert("User", "level")
            && !set.may_assert("User", "teams")
            && !set.may_assert("Agent", "level")
    );
}

#[test]
fn other_peoples_enforcement_points_can_bring_their_own_types() {
    // The shape of AuthZEN requests: `can_read` of a `record`.
    let files = [
        (
            "schema/s.cedarschema",
            "entity record = { owner?: String };\naction can_read, can_write in [\"data.read\", \"effect:read\"] appliesTo { principal: [User], resource: [record] };",
        ),
        (
            "permissions/p.cedar",
            "@id(\"own\") permit(principal, action in Action::\"data.read\", resource is record) when { resource has owner && resource.owner == principal.id };",
        ),
    ];
    let set = compile(&files);
    let ask = |owner: &str, action: &str| {
        let mut asked = request(&set, &format!("user:alice does {action} on record:1"));
        asked.resource.attributes.insert("owner".into(), Value::text(owner));
        decide(&set, &asked, &facts(), NOON).verdict
    };
    assert_eq!(ask("alice", "can_read"), Verdict::Allow);
    assert_eq!(ask("bob", "can_read"), Verdict::Deny);
    assert_eq!(ask("alice", "can_delete"), Verdict::Deny);
    // Without a schema a permission by name works, with a warning.
    let compiled = cordon_pdp::PolicySet::compile(&crate::support::source(&[(
        "permissions/p.cedar",
        "@id(\"r\") permit(principal == User::\"alice\", action == Action::\"can_read\", resource is record) when { resource.public };",
    )]))
    .unwrap();
    assert_eq!(compiled.warnings.len(), 3, "{:#?}", compiled.warnings);
    let mut asked = request(&compiled.policies, "user:alice does can_read on record:1");
    assert_eq!(decide(&compiled.policies, &asked, &facts(), NOON).verdict, Verdict::Deny);
    asked.resource.attributes.insert("public".into(), Value::Bool(true));
    assert_eq!(decide(&compiled.policies, &asked, &facts(), NOON).verdict, Verdict::Allow);
    // A type that cannot be written in a policy is not judged.
    asked.resource.kind = cordon_core::ResourceKind::new("no such::type!");
    assert_eq!(
        shown(&decide(&compiled.policies, &asked, &facts(), NOON)),
        "deny: indeterminate cordon:unreadable"
    );
}

#[test]
fn what_some_arguments_could_allow_may_be_seen() {
    let set = policies(&format!(
        "{ANY}\n\
        forbid(principal, action == Action::\"x/args\", resource) when {{ context.args.to == \"evil\" }};\n\
        forbid(principal, action == Action::\"x/never\", resource);\n\
        forbid(principal == User::\"o\", action == Action::\"x/not_o\", resource);\n---\n\
        @obligation(\"approve\") @role(\"r\") permit(principal, action == Action::\"x/held\", resource);\n\
        @obligation(\"redact\") @fields(\"f\") permit(principal, action == Action::\"x/redacted\", resource);"
    ));
    let supported = Facts { supported: BTreeSet::from(["approve"]), ..Facts::default() };
    let seen = |words: &str| could_allow(&set, &request(&set, words), &supported, NOON);
    assert!(seen("agent:a owner:o does x/args - read with to=evil"));
    assert!(seen("agent:a owner:o does x/held - read"));
    assert!(!seen("agent:a owner:o does x/never - read"));
    assert!(!seen("agent:a owner:o does x/not_o - read"));
    assert!(seen("agent:a owner:p does x/not_o - read"));
    assert!(!seen("agent:a owner:o does x/redacted - read"));
    let narrow =
        policies("permit(principal == Agent::\"a\", action, resource) when { context.args.to == \"good\" };");
    let seen = |words: &str| could_allow(&narrow, &request(&narrow, words), &supported, NOON);
    assert!(seen("agent:a does x/y - read"));
    assert!(!seen("agent:b does x/y - read"));
}

#[test]
fn an_explanation_names_every_rule_about_the_action() {
    let set = policies(
        "@id(\"a\") permit(principal is Agent, action, resource);\n\
        @id(\"b\") permit(principal, action in Action::\"admin\", resource);\n\
        @id(\"c\") forbid(principal, action, resource) when { context.args has to };",
    );
    let told =
        explain(&set, &request(&set, "agent:a owner:o does x/y data.read read with to=?"), &facts(), NOON);
    assert_eq!(told.judgement.verdict, Verdict::Deny);
    assert_eq!(told.principals.len(), 2);
    let of = |role: Role| {
        let part = told.principals.iter().find(|part| part.role == role).unwrap();
        part.rules.iter().map(|rule| (rule.rule.rule.to_string(), rule.outcome.clone())).collect::<Vec<_>>()
    };
    let doubt = RuleOutcome::Unknown("context.args.to".into());
    assert_eq!(of(Role::Agent), [("a".to_owned(), RuleOutcome::Satisfied), ("c".to_owned(), doubt.clone())]);
    assert_eq!(of(Role::Owner), [("a".to_owned(), RuleOutcome::NotSatisfied), ("c".to_owned(), doubt)]);
    assert!(told.judgement.reasons.iter().any(|reason| reason.kind == ReasonKind::NotPermitted));
}

#[test]
fn what_is_said_of_a_resource_gives_a_principal_nothing() {
    let set =
        policies("permit(principal, action, resource) when { principal has level && principal.level >= 3 };");
    let ask = |words: &str, level: Option<i64>| {
        let mut asked = request(&set, words);
        asked.resource.attributes.extend(level.map(|level| ("level".into(), Value::Long(level))));
        decide(&set, &asked, &facts(), NOON).verdict
    };
    assert_eq!(ask("user:o does x/y - read on User:o", Some(9)), Verdict::Deny);
    assert_eq!(ask("user:o.level=2 does x/y - read on User:o", Some(9)), Verdict::Deny);
    assert_eq!(ask("user:o.level=3 does x/y - read on User:o", None), Verdict::Allow);
    assert_eq!(ask("user:o.level=3 does x/y - read on User:p", Some(1)), Verdict::Allow);
    assert_eq!(ask("user:o.level=3 does x/y - read on Action:admin", None), Verdict::Deny);
}

#[test]
fn a_name_written_with_escapes_is_the_same_name() {
    let text = format!("{ANY}@id(\"f\") forbid(principal, action == Action::\"x\\u{{2f}}y\", resource);");
    check(&text, "agent:a does x/y - read", "deny: forbidden f");
    check(&text, "agent:a does x/z - read", "allow: permitted any");
}

#[test]
fn two_texts_that_no_rule_names_are_not_the_same_text() {
    let text = format!(
        "{ANY}@id(\"f\") forbid(principal, action, resource) when {{ context.args has a && context.args has b && context.args.a == context.args.b }};"
    );
    check(&text, "agent:a does x/y - read with a=never-seen,b=never-seen-either", "allow: permitted any");
    check(&text, "agent:a does x/y - read with a=never-seen,b=never-seen", "deny: forbidden f");
}

#[test]
fn what_the_program_does_not_hold_is_left_to_stock_cedar_rule_by_rule() {
    let set = policies(
        "@id(\"held\") permit(principal, action, resource) when { context.role == \"agent\" };\n\
        @id(\"left\") forbid(principal, action == Action::\"x/y\", resource) when { [principal.id, \"evil\"].contains(context.args.to) };\n---\n\n---\n\
        tool = \"x/y\"\nclasses = []\neffect = \"read\"",
    );
    let left: Vec<_> = set.left_to_stock_cedar().map(|(rule, why)| format!("{}: {why}", rule.rule)).collect();
    assert_eq!(left, ["left: a set with a part that is not written in the rule"]);
    for (words, want) in [
        ("agent:a does x/y with to=evil", "deny: forbidden left"),
        ("agent:a does x/y with to=a", "deny: forbidden left"),
        ("agent:a does x/y with to=b", "allow: permitted held"),
        ("agent:a does x/y with cc=b", "deny: indeterminate left"),
        ("agent:a does x/y with to=?", "deny: indeterminate left"),
        ("agent:a does x/z - read with to=evil", "allow: permitted held"),
    ] {
        assert_eq!(shown(&judge(&set, words)), want, "{words}");
    }
}

#[test]
fn asking_whether_there_is_a_role_is_asking_about_the_principal() {
    let forbid = format!("{ANY}@id(\"f\") forbid(principal, action, resource) when {{ context has role }};");
    check(&forbid, "agent:a owner:o does x/y - read", "deny: forbidden f");
    let unless = "@id(\"p\") permit(principal, action, resource) unless { context has role };";
    check(unless, "agent:a owner:o does x/y - read", "deny: not_permitted cordon:no-permit");
}
