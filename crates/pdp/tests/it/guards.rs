//! Guards in Rego: what they deny, what they oblige, and what is never let through.

use cordon_core::{
    Action, Effect, Facts, Principal, PrincipalKind, Request, Resource, UnknownReason, Value, Verdict,
};
use cordon_pdp::{PolicySet, could_allow, decide, explain};

use super::support::{NOON, compile, facts, request, shown, source};

const OPEN: &str = "permit(principal, action, resource);";

/// Everything is permitted, but for what the guard says.
fn guarded(guard: &str) -> PolicySet {
    compile(&[("permissions/p.cedar", OPEN), ("guards/g.rego", &format!("package cordon\n{guard}\n"))])
}

#[track_caller]
fn check(guard: &str, words: &str, want: &str) {
    let policies = guarded(guard);
    let judgement = decide(&policies, &request(&policies, words), &facts(), NOON);
    assert_eq!(shown(&judgement), want, "{words}\n{:#?}", judgement.reasons);
}

#[track_caller]
fn refused(guard: &str, want: &str) {
    let text = format!("package cordon\n{guard}\n");
    let findings = match PolicySet::compile(&source(&[("guards/g.rego", &text)])) {
        Ok(_) => panic!("it loads: {guard}"),
        Err(findings) => findings,
    };
    let all: String = findings.iter().map(|finding| finding.to_string()).collect::<Vec<_>>().join("\n");
    assert!(all.contains(want), "{all}\nwanted: {want}");
}

const FINANCE: &str = r#"deny[msg] { input.agent.role != "finance"; input.resource.classification == "restricted"; msg := "Restricted financial dataset" }"#;

fn finance(role: Option<Value>, classification: Option<Value>) -> Request {
    let mut agent = Principal::new(PrincipalKind::Agent, "a");
    agent.attributes.extend(role.map(|role| ("role".into(), role)));
    let mut resource = Resource::new("Tool", "data/read", "default");
    resource.attributes.extend(classification.map(|value| ("classification".into(), value)));
    Request {
        chain: cordon_core::Chain::new(None, Some(agent), None).unwrap(),
        action: Action::declared("data/read".parse().unwrap(), ["data.read".parse().unwrap()], Effect::Read),
        resource,
        context: cordon_core::Context::default(),
    }
}

#[test]
fn the_rule_from_the_field_works_as_it_is_written() {
    let policies = guarded(FINANCE);
    let text = |text: &str| Some(Value::text(text));
    let denied = "deny: forbidden guards/g.rego:2";
    for (role, classification, want) in [
        (text("sales"), text("restricted"), denied),
        (None, text("restricted"), denied),
        (text("finance"), text("restricted"), "allow: permitted permissions/p.cedar:1"),
        (None, text("public"), "allow: permitted permissions/p.cedar:1"),
        (None, None, "allow: permitted permissions/p.cedar:1"),
        (
            Some(Value::Unknown(UnknownReason::Stale)),
            text("restricted"),
            "deny: indeterminate guards/g.rego:2",
        ),
        (text("finance"), Some(Value::Unknown(UnknownReason::Stale)), "deny: indeterminate guards/g.rego:2"),
    ] {
        let judgement = decide(&policies, &finance(role.clone(), classification.clone()), &facts(), NOON);
        assert_eq!(shown(&judgement), want, "{role:?} {classification:?} {:#?}", judgement.reasons);
        if want == denied {
            let reason = &judgement.reasons[0];
            assert_eq!(&*reason.message, "Restricted financial dataset");
            assert_eq!((&*reason.rule.file, reason.rule.line), ("guards/g.rego", 2));
        }
    }
}

#[test]
fn both_versions_of_the_language_are_read_and_told_apart() {
    for guard in [
        "deny[msg] { input.action == \"a/b\"; msg := \"no\" }",
        "deny contains \"no\" if input.action == \"a/b\"",
        "import rego.v1\ndeny contains msg if { input.action == \"a/b\"; msg := \"no\" }",
        "import future.keywords\ndeny contains msg if { input.action == \"a/b\"; msg := \"no\" }",
        "deny[\"no\"] { input.action == \"a/b\" }",
    ] {
        let line = if guard.starts_with("import") { 3 } else { 2 };
        check(guard, "agent:a does a/b - read", &format!("deny: forbidden guards/g.rego:{line}"));
        check(guard, "agent:a does a/c - read", "allow: permitted permissions/p.cedar:1");
    }
    let files = |guard: &str| {
        guarded(guard)
            .guard_files()
            .iter()
            .map(|file| format!("{} {}", file.path, file.version))
            .collect::<Vec<_>>()
    };
    assert_eq!(files(FINANCE), ["guards/g.rego Rego v0"]);
    assert_eq!(files("deny contains \"no\" if input.action == \"a/b\""), ["guards/g.rego Rego v1"]);
}

#[test]
fn a_guard_denies_what_everything_else_permits_and_permits_nothing() {
    let policies =
        compile(&[("guards/g.rego", "package cordon\ndeny contains \"no\" if input.action == \"a/b\"")]);
    for action in ["a/b", "a/c"] {
        let words = format!("agent:a does {action} - read");
        assert_eq!(decide(&policies, &request(&policies, &words), &facts(), NOON).verdict, Verdict::Deny);
    }
    refused("allow if input.action == \"a/b\"", "a guard cannot define `allow`");
    refused("default permit := true", "a guard cannot define `permit`");
    refused("deny if input.action == \"a/b\"", "does not define a set of values");
    refused("deny := true", "does not define a set of values");
    refused("deny[msg] if { msg := \"x\" }", "does not define a set of values");
}

#[test]
fn every_message_is_a_reason_in_order_and_a_helper_may_say_them() {
    let guard = "bad contains \"b\" if input.args.n > 1\nbad contains \"a\" if input.args.n > 1\ndeny contains msg if some msg in bad";
    let policies = guarded(guard);
    let judgement =
        decide(&policies, &request(&policies, "agent:a does x/y - read with n=2"), &facts(), NOON);
    let messages: Vec<&str> = judgement.reasons.iter().map(|reason| &*reason.message).collect();
    assert_eq!(messages, ["a", "b"]);
    check(guard, "agent:a does x/y - read with n=1", "allow: permitted permissions/p.cedar:1");
}

#[test]
fn obligations_of_guards_are_those_of_the_vocabulary() {
    let approve = r#"obligation contains {"type": "approve", "properties": {"role": "finance", "quorum": 2}} if input.args.n > 5"#;
    check(approve, "agent:a does x/y - read with n=6", "ask: approval_due guards/g.rego:2 +approve");
    check(approve, "agent:a does x/y - read with n=5", "allow: permitted permissions/p.cedar:1");
    let chosen = r#"obligation contains {"type": kind, "properties": {}} if { kind := input.args.kind; kind != null }"#;
    check(
        chosen,
        "agent:a does x/y - read with kind=monitor",
        "allow: permitted permissions/p.cedar:1 +monitor",
    );
    check(chosen, "agent:a does x/y - read with kind=sing", "deny: indeterminate guards/g.rego:2");
    refused(r#"obligation contains {"type": "aprove"} if input.args.n > 5"#, "did you mean `approve`?");
    let redact = "obligation contains o if { fields := [name | some name in [\"ssn\"]]; o := {\"type\": \"redact\", \"properties\": {\"fields\": fields}} }";
    check(redact, "agent:a does x/y - read", "allow: permitted permissions/p.cedar:1 +redact");
    let policies = guarded(redact);
    let weak = Facts { supported: ["approve"].into_iter().collect(), ..Facts::default() };
    let judgement = decide(&policies, &request(&policies, "agent:a does x/y - read"), &weak, NOON);
    assert_eq!(shown(&judgement), "deny: unenforceable guards/g.rego:2");
}

#[test]
fn what_a_guard_reads_and_nobody_knows_denies_and_what_it_does_not_read_does_not() {
    let guard = "deny contains \"no\" if input.args.to == \"x\"";
    check(guard, "agent:a does x/y - read with to=?", "deny: indeterminate guards/g.rego:2");
    check(guard, "agent:a does x/y - read with cc=?", "allow: permitted permissions/p.cedar:1");
    for aliased in [
        "deny contains \"no\" if { a := input.args; a.to == \"x\" }",
        "deny contains \"no\" if { some k, v in input.args; v == \"x\" }",
        "to := input.args.to\ndeny contains \"no\" if to == \"x\"",
        "f(x) if x.to == \"x\"\ndeny contains \"no\" if f(input.args)",
        "deny contains \"no\" if { k := \"to\"; input.args[k] == \"x\" }",
        "deny contains \"no\" if object.get(input, [\"args\", \"to\"], \"\") == \"x\"",
    ] {
        let policies = guarded(aliased);
        let judgement =
            decide(&policies, &request(&policies, "agent:a does x/y - read with to=?"), &facts(), NOON);
        assert!(shown(&judgement).starts_with("deny: indeterminate"), "{aliased}: {}", shown(&judgement));
    }
    // A rule about another action is not asked.
    let other = "deny contains \"no\" if { input.action == \"x/z\"; input.args.to == \"x\" }";
    check(other, "agent:a does x/y - read with to=?", "allow: permitted permissions/p.cedar:1");
    check(other, "agent:a does x/z - read with to=?", "deny: indeterminate guards/g.rego:2");
}

#[test]
fn what_cannot_be_evaluated_denies() {
    for (guard, words) in [
        ("deny contains \"no\" if input.args.n + 1 > 5", "agent:a does x/y - read with n=x"),
        ("deny contains \"no\" if count(input.args.n) > 5", "agent:a does x/y - read"),
        ("deny contains \"no\" if lower(input.args.n) == \"a\"", "agent:a does x/y - read with n=1"),
        ("deny contains \"no\" if not lower(input.args.n) == \"a\"", "agent:a does x/y - read with n=1"),
        (
            "deny contains \"no\" if count([x | x := lower(input.args.n)]) > 3",
            "agent:a does x/y - read with n=1",
        ),
        (
            "f(x) := lower(x)\ndeny contains \"no\" if f(input.args.n) == \"a\"",
            "agent:a does x/y - read with n=1",
        ),
        ("deny contains \"no\" if 1 / input.args.n > 5", "agent:a does x/y - read with n=0"),
        (
            "deny contains sprintf(\"%s %s\", [input.args.n]) if input.action == \"x/y\"",
            "agent:a does x/y - read",
        ),
        ("deny contains \"no\" if input.args.n.host == \"a\"", "agent:a does x/y - read with n=text"),
        (
            "v := 1 if input.args.n == 1\nv := 2 if input.args.n > 0\ndeny contains \"no\" if v == 3",
            "agent:a does x/y - read with n=1",
        ),
    ] {
        let policies = guarded(guard);
        let judgement = decide(&policies, &request(&policies, words), &facts(), NOON);
        assert!(
            shown(&judgement).starts_with("deny: indeterminate guards/g.rego:"),
            "{guard}: {judgement:#?}"
        );
    }
}

#[test]
fn conditions_that_hold_deny_although_the_message_is_undefined() {
    for guard in [
        "name = \"x\" { input.args.n == 7 }\ndeny[msg] { input.action == \"x/y\"; msg := sprintf(\"no %s\", [name]) }",
        "name := \"x\" if input.args.n == 7\ndeny contains sprintf(\"no %s\", [name]) if input.action == \"x/y\"",
        "name := \"x\" if input.args.n == 7\nobligation contains {\"type\": \"notify\", \"properties\": {\"to\": name}} if input.action == \"x/y\"",
    ] {
        check(guard, "agent:a does x/y - read with n=1", "deny: indeterminate guards/g.rego:3");
        check(guard, "agent:a does x/z - read with n=1", "allow: permitted permissions/p.cedar:1");
    }
}

#[test]
fn nothing_that_reaches_out_can_be_called() {
    for call in [
        "time.now_ns()",
        "http.send({\"method\": \"get\", \"url\": \"http://a.example\"})",
        "rand.intn(\"x\", 5)",
        "uuid.rfc4122(\"x\")",
        "opa.runtime()",
        "net.lookup_ip_addr(\"a.example\")",
        "io.jwt.decode(\"x\")",
        "trace(\"x\")",
        "print(\"x\")",
        "walk(input)",
        "json.marshal(input)",
        "crypto.sha256(\"x\")",
        "graph.reachable({}, [])",
        "bits.lsh(1, 1000000000)",
    ] {
        let guard = format!("x := 1\ndeny contains \"no\" if {{\n  y := {call}\n  y == x\n}}");
        refused(&guard, "guards/g.rego:4:");
        refused(&guard, "cannot be called");
    }
    refused("deny contains \"no\" if data.secrets.x == 1", "`data` cannot be read");
    refused("import data.cordon.x\ndeny contains \"no\" if x == 1", "cannot be imported");
    refused("import input.agent as a\ndeny contains \"no\" if a.role == 1", "cannot be imported");
    refused("x if input.args.n == 1\ndeny contains \"no\" if x with input as {}", "`with` is not supported");
    refused("deny contains \"no\" if count(obligation) > 0", "`obligation` cannot be read by a rule");
    refused("x := deny\ndeny contains \"no\" if count(x) > 0", "`deny` cannot be read by a rule");
    refused("deny contains \"no\" if regex.match(input.args.p, \"x\")", "not written out");
}

#[test]
fn hostile_guards_are_refused_or_stop_at_a_limit() {
    refused("f(x) := f(x)\ndeny contains \"no\" if f(1) == 1", "is read by itself");
    refused("a := b\nb := a\ndeny contains \"no\" if a", "is read by itself");
    let chain: String = (0..200).map(|n| format!("r{n} := r{}\n", n + 1)).collect();
    refused(&format!("{chain}r200 := 1\ndeny contains \"no\" if r0 == 1"), "read each other");
    let doubling: String = (0..40).map(|n| format!("  v{} := [v{n}, v{n}]\n", n + 1)).collect();
    refused(
        &format!("deny contains \"no\" if {{\n  v0 := input.args\n{doubling}  v40 == v39\n}}"),
        "could double",
    );
    let calls = format!(
        "f(x) := [x, x, x, x]\ndeny contains \"no\" if {}input{} == 1",
        "f(".repeat(10),
        ")".repeat(10)
    );
    refused(&calls, "could double");
    let squares: String = (0..40).map(|n| format!("  v{} := v{n} * v{n}\n", n + 1)).collect();
    refused(&format!("deny contains \"no\" if {{\n  v0 := 1000\n{squares}  v40 == 1\n}}"), "could double");
    refused(
        &format!("deny contains \"no\" if {}1{} == 1", "[".repeat(500), "]".repeat(500)),
        "guards/g.rego",
    );
    refused(
        &format!("# {}\ndeny contains \"no\" if input.action == \"x\"", "x".repeat(1 << 20)),
        "larger than",
    );
    refused("deny contains \"no\" if input.args.n > 1e400000000", "exponent");
    let many: String = (0..100).map(|n| format!("  input.args.a{n} == 1\n")).collect();
    refused(&format!("deny contains \"no\" if {{\n{many}}}"), "100 conditions");

    let steps = "deny contains \"no\" if {\n  some a in numbers.range(1, 9000)\n  some b in numbers.range(1, 9000)\n  a * b == -1\n}";
    check(steps, "agent:a does x/y - read", "deny: indeterminate guards/g.rego:2");
    let set = "deny contains \"no\" if count({[a, b] | some a in numbers.range(1, 9000); some b in numbers.range(1, 9000)}) == 1";
    check(set, "agent:a does x/y - read", "deny: indeterminate guards/g.rego:2");
    let range = "deny contains \"no\" if count(numbers.range(0, 1000000000)) == 1";
    check(range, "agent:a does x/y - read", "deny: indeterminate guards/g.rego:2");
    let pattern = "deny contains \"no\" if regex.match(`^(a+)+$`, input.args.n)";
    check(
        pattern,
        &format!("agent:a does x/y - read with n={}!", "a".repeat(50_000)),
        "allow: permitted permissions/p.cedar:1",
    );
    let large = "deny contains \"no\" if regex.match(`((a{1000}){1000}){1000}`, \"a\")";
    check(large, "agent:a does x/y - read", "deny: indeterminate guards/g.rego:2");
    // Loops nest, in helpers too: what is accepted fits into the stack of a small thread.
    let tower = |floors: usize| {
        let loops = |n: usize| (0..50).map(|k| format!("  some x{n}_{k} in [x]\n")).collect::<String>();
        let floor = |n: usize| format!("f{n}(x) if {{\n{}  f{}(x)\n}}\n", loops(n), n + 1);
        let floors_text: String = (0..floors).map(floor).collect();
        format!("{floors_text}f{floors}(x) if x == 1\ndeny contains \"no\" if f0(1)")
    };
    let small = std::thread::Builder::new().stack_size(2 << 20);
    let outcome =
        small.spawn(move || check(&tower(4), "agent:a does x/y - read", "deny: forbidden guards/g.rego:215"));
    outcome.unwrap().join().unwrap();
    refused(&tower(12), "conditions with the rules it reads");
    let nested: String = (0..60).map(|n| format!("  some x{n} in [1]\n")).collect();
    check(
        &format!("deny contains \"no\" if {{\n{nested}  x59 == 1\n}}"),
        "agent:a does x/y - read",
        "deny: forbidden guards/g.rego:2",
    );
}

#[test]
fn the_same_request_has_the_same_judgement_every_time_and_on_every_thread() {
    let policies = guarded(
        "deny contains m if { some x in {\"b\", \"a\", \"c\"}; m := sprintf(\"%s %v\", [x, input.args]) }",
    );
    let request = request(&policies, "agent:a does x/y - read with n=1,m=2");
    let first = decide(&policies, &request, &facts(), NOON);
    assert_eq!(first.reasons.len(), 3);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(decide(&policies, &request, &facts(), NOON), first);
                }
            });
        }
    });
    assert_eq!(
        decide(
            &guarded(
                "deny contains m if { some x in {\"b\", \"a\", \"c\"}; m := sprintf(\"%s %v\", [x, input.args]) }"
            ),
            &request,
            &facts(),
            NOON
        ),
        first
    );
}

#[test]
fn an_action_without_a_manifest_counts_as_every_class_and_as_none() {
    check(
        "deny contains \"no\" if \"money.move\" in input.classes",
        "agent:a does x/y",
        "deny: forbidden guards/g.rego:2",
    );
    check(
        "deny contains \"no\" if not \"data.read\" in input.classes",
        "agent:a does x/y",
        "deny: forbidden guards/g.rego:2",
    );
    check(
        "deny contains \"no\" if not \"data.read\" in input.classes",
        "agent:a does x/y data.read read",
        "allow: permitted permissions/p.cedar:1",
    );
    check(
        "deny contains \"no\" if \"money.move\" in input.classes",
        "agent:a does x/y data.read read",
        "allow: permitted permissions/p.cedar:1",
    );
    let both =
        "deny contains \"no\" if { \"money.move\" in input.classes; not \"data.read\" in input.classes }";
    check(both, "agent:a does x/y", "deny: indeterminate guards/g.rego:2");
    check(both, "agent:a does x/y money.move write", "deny: forbidden guards/g.rego:2");
    check(
        "deny contains \"no\" if input.effect == \"irreversible\"",
        "agent:a does x/y",
        "deny: forbidden guards/g.rego:2",
    );
}

#[test]
fn what_the_caller_may_see_is_what_some_arguments_make_possible() {
    let sees = |guard: &str, words: &str| {
        let policies = guarded(guard);
        could_allow(&policies, &request(&policies, words), &facts(), NOON)
    };
    assert!(!sees("deny contains \"no\" if input.action == \"x/y\"", "agent:a does x/y - read"));
    assert!(sees("deny contains \"no\" if input.action == \"x/y\"", "agent:a does x/z - read"));
    // Some arguments pass it, so the tool is shown, although without any it denies or fails.
    assert!(sees("deny contains \"no\" if input.args.to != \"a\"", "agent:a does x/y - read"));
    assert!(sees("deny contains \"no\" if count(input.args.to) > 1", "agent:a does x/y - read"));
    assert!(sees("f(x) if x.to != \"a\"\ndeny contains \"no\" if f(input.args)", "agent:a does x/y - read"));
    assert!(!sees("deny contains \"no\" if lower(input.agent.level) == \"a\"", "agent:a does x/y - read"));
    let policies = guarded("obligation contains {\"type\": \"dry_run\"} if input.action == \"x/y\"");
    let asked = request(&policies, "agent:a does x/y - read");
    assert!(could_allow(&policies, &asked, &facts(), NOON));
    assert!(!could_allow(&policies, &asked, &Facts::default(), NOON));
}

#[test]
fn an_explanation_names_every_guard_about_the_action() {
    let policies = guarded(
        "deny contains \"no\" if input.args.n > 1\ndeny contains \"never\" if input.action == \"x/z\"\nobligation contains {\"type\": \"monitor\"} if input.action == \"x/y\"",
    );
    let explanation =
        explain(&policies, &request(&policies, "agent:a does x/y - read with n=1"), &facts(), NOON);
    let shown: Vec<String> =
        explanation.guards.iter().map(|rule| format!("{} {:?}", rule.rule.rule, rule.outcome)).collect();
    assert_eq!(shown, ["guards/g.rego:2 NotSatisfied", "guards/g.rego:4 Satisfied"]);
}

#[test]
fn members_that_the_input_does_not_have_are_found_before_they_are_missed() {
    refused(
        "deny contains \"no\" if input.agnt.role == \"x\"",
        "guards/g.rego:2:23: error: `input` has no member `agnt` (did you mean `agent`?)",
    );
    refused("deny contains \"no\" if input.context.purpos == \"x\"", "did you mean `purpose`?");
    refused("deny contains \"no\" if input.context.env.nw == \"x\"", "did you mean `now`?");
    refused("deny contains \"no\" if startwith(input.action, \"x\")", "did you mean `startswith`?");
    refused("deny contains \"no\" if { input.args.p == null; input.args.p.q == 1 }", "read as a whole");
    let compiled = PolicySet::compile(&source(&[
        ("schema/s.cedarschema", "namespace Cordon { entity Agent = { role?: String }; }"),
        (
            "guards/g.rego",
            "package cordon\ndeny contains \"no\" if input.agent.rol == \"x\"\ndenny contains \"x\"\n",
        ),
    ]));
    let warnings: String = compiled.unwrap().warnings.iter().map(|finding| finding.to_string()).collect();
    assert!(warnings.contains("no schema declares the attribute `rol` (did you mean `role`?"), "{warnings}");
    assert!(warnings.contains("reads the rule `denny` (did you mean `deny`?)"), "{warnings}");
}

#[test]
fn absent_is_null_however_deep_it_is_read() {
    check(
        "deny contains \"no\" if input.args.payment.currency != \"EUR\"",
        "agent:a does x/y - read",
        "deny: forbidden guards/g.rego:2",
    );
    check(
        "deny contains \"no\" if input.user.id == null",
        "agent:a does x/y - read",
        "deny: forbidden guards/g.rego:2",
    );
    check(
        "deny contains \"no\" if input.user.id == null",
        "agent:a user:u does x/y - read",
        "allow: permitted permissions/p.cedar:1",
    );
    check(
        "deny contains \"no\" if input.user.role != \"x\"",
        "agent:a does x/y - read",
        "deny: forbidden guards/g.rego:2",
    );
    check(
        "deny contains \"no\" if { a := input.agent; a.role != \"x\" }",
        "agent:a does x/y - read",
        "deny: forbidden guards/g.rego:2",
    );
    check(
        "deny contains \"no\" if input.context.purpose != \"x\"",
        "agent:a does x/y - read",
        "deny: forbidden guards/g.rego:2",
    );
}

#[test]
fn the_tests_of_a_bundle_exercise_its_guards() {
    let policies = compile(&[
        ("permissions/p.cedar", OPEN),
        ("guards/g.rego", "package cordon\ndeny contains \"too much\" if input.args.n > 5\n"),
        (
            "tests/t.toml",
            "[[test]]\nname = \"much\"\nagent = \"a\"\naction = \"x/y\"\neffect = \"read\"\nargs = { n = 6 }\nexpect = \"deny\"\nrule = \"guards/g.rego:2\"\n\
             [[test]]\nname = \"little\"\nagent = \"a\"\naction = \"x/y\"\neffect = \"read\"\nargs = { n = 5 }\nexpect = \"allow\"\n",
        ),
    ]);
    assert_eq!(policies.run_tests().failed(), 0, "{:?}", policies.run_tests().first_failure());
}
