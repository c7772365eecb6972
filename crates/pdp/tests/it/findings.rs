//! What is refused, where it is shown, and what is only a warning.

use cordon_pdp::{Diagnostic, PolicySet, Severity};

use crate::support::source;

fn findings(files: &[(&str, &str)]) -> Vec<Diagnostic> {
    match PolicySet::compile(&source(files)) {
        Ok(compiled) => compiled.warnings,
        Err(findings) => findings,
    }
}

/// The first finding, in one line, starts with `want`; errors come before warnings.
#[track_caller]
fn check(files: &[(&str, &str)], want: &str) {
    let found = findings(files);
    let all: Vec<String> = found.iter().map(ToString::to_string).collect();
    let first = all.first().map(String::as_str).unwrap_or_default();
    assert!(first.starts_with(want) && want.is_empty() == all.is_empty(), "expected {want}\ngot {all:#?}");
    let loaded = PolicySet::compile(&source(files)).is_ok();
    assert_eq!(loaded, found.iter().all(|finding| finding.severity == Severity::Warning));
}

fn permission(text: &str) -> Vec<(&str, &str)> {
    vec![("permissions/p.cedar", text)]
}

const TOOL: (&str, &str) = (
    "tools/t.toml",
    "tool = \"mail/send\"\nclasses = [\"message.send\"]\neffect = \"irreversible\"\n\
     input_schema = '{\"type\":\"object\",\"properties\":{\"to\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"}},\"required\":[\"to\"]}'\n",
);

const UNTYPED: (&str, &str) =
    ("tools/u.toml", "tool = \"mail/read\"\nclasses = [\"data.read\"]\neffect = \"read\"\n");

#[test]
fn a_parse_error_shows_its_line_and_a_caret() {
    let found = findings(&permission(
        "permit(principal, action, resource);\npermit(principal == User::\"é\", actoin, resource);\n",
    ));
    assert_eq!(
        found[0].render().lines().take(5).collect::<Vec<_>>(),
        [
            "error: found an invalid variable in the policy scope: actoin",
            "  --> permissions/p.cedar:2:32",
            "  |",
            "2 | permit(principal == User::\"é\", actoin, resource);",
            "  |                                ^^^^^^",
        ]
    );
}

#[test]
fn names_that_nobody_knows_are_refused_where_they_stand() {
    let ok = "permit(principal, action in Action::\"files.read\", resource);";
    check(&permission(ok), "");
    check(
        &permission(&ok.replace("files.read", "file.read")),
        "permissions/p.cedar:1:38: error: `file.read` is neither a capability class",
    );
    check(
        &permission(&ok.replace("files.read", "effect:reed")),
        "permissions/p.cedar:1:38: error: `reed` is not an effect",
    );
    check(
        &permission(&ok.replace("in Action", "== Action")),
        "permissions/p.cedar:1:38: error: `files.read` is a group of actions",
    );
    check(
        &permission("permit(principal, action, resource) when { action in Action::\"file.read\" };"),
        "permissions/p.cedar:1:63: error: `file.read` is neither",
    );
    check(
        &permission("permit(principal is Usr, action, resource);"),
        "permissions/p.cedar:1:21: error: the type `Usr` is not declared (did you mean `User`?",
    );
    check(
        &permission("permit(principal, action, resource is record);"),
        "permissions/p.cedar:1:39: warning: the type `record` is not declared",
    );
    check(
        &permission("forbid(principal, action, resource is Tol);"),
        "permissions/p.cedar:1:39: error: the type `Tol` is not declared",
    );
    check(
        &permission("permit(principal, action, resource) unless { resource is Tol };"),
        "permissions/p.cedar:1:58: error: the type `Tol` is not declared",
    );
    check(
        &permission("permit(principal == Acme::User::\"a\", action, resource);"),
        "permissions/p.cedar:1:21: error: `Acme::User` is not a type of the namespace",
    );
    check(
        &permission("permit(principal, action == Acme::Action::\"a\", resource);"),
        "permissions/p.cedar:1:1: error: `Acme::Action::\"a\"` is not an action",
    );
}

#[test]
fn an_action_without_a_manifest_is_a_warning() {
    let text = "permit(principal, action == Action::\"mail/send\", resource);";
    check(&permission(text), "permissions/p.cedar:1:38: warning: the action `mail/send` has no manifest");
    check(&[("permissions/p.cedar", text), TOOL], "");
    check(&permission("permit(principal, action == Action::\"mcp/tools.list\", resource);"), "");
}

#[test]
fn arguments_are_checked_against_the_manifest() {
    let with = |condition: &str| {
        format!("forbid(principal, action == Action::\"mail/send\", resource) when {{ {condition} }};")
    };
    let check_with = |condition: &str, want: &str| {
        check(&[("permissions/p.cedar", &with(condition)), TOOL, UNTYPED], want)
    };
    check_with("context.args.to like \"*@evil\"", "");
    check_with(
        "context.args.too like \"*@evil\"",
        "permissions/p.cedar:1:67: error: attribute `args.too` in context for Action::\"mail/send\" not found (did you mean `to`?",
    );
    check_with(
        "context.args.n > 3",
        "permissions/p.cedar:1:67: error: unable to guarantee safety of access to optional attribute `args.n`",
    );
    check_with("context.args has n && context.args.n > 3", "");
    check_with("context.args.to > 3", "permissions/p.cedar:1:67: error: unexpected type");
    check_with("context.purpos == \"x\"", "permissions/p.cedar:1:67: error: attribute `purpos` in context");
    // A tool without a schema: the rule may not be judged, which denies.
    let untyped = with("context.args.x == 1").replace("mail/send", "mail/read");
    check(
        &[("permissions/p.cedar", &untyped), TOOL, UNTYPED],
        "permissions/p.cedar:1:67: warning: attribute `args.x`",
    );
}

#[test]
fn attributes_that_no_schema_declares_are_warnings_until_there_is_one() {
    let text = "permit(principal is User, action, resource) when { principal.dept == \"x\" };";
    check(
        &permission(text),
        "permissions/p.cedar:1:52: warning: attribute `dept` on entity type `User` not found",
    );
    let own = |schema| vec![("permissions/p.cedar", text), ("schema/s.cedarschema", schema)];
    check(&own("entity User = { dept: String };"), "");
    check(&own("entity User = { team: String };"), "permissions/p.cedar:1:52: error: attribute `dept`");
    check(
        &own("entity User = { dept: Long };"),
        "permissions/p.cedar:1:52: error: the types Long and String are not compatible",
    );
}

#[test]
fn a_schema_can_add_and_not_change() {
    let own = |schema| vec![("schema/s.cedarschema", schema)];
    check(&own("entity Order in [Server] = { total: Long };"), "");
    check(&own("namespace Cordon { entity Order; }"), "");
    check(&own("type Asserted = { ip: ipaddr };"), "");
    check(
        &own("entity User = { id: Long };"),
        "schema/s.cedarschema:1:8: error: the entity type `User` has a member `id`",
    );
    check(
        &own("type Context = { x: Long };"),
        "schema/s.cedarschema:1:6: error: the type `Context` belongs to Cordon",
    );
    check(
        &own("type SessionFacts = { x: Long };"),
        "schema/s.cedarschema:1:6: error: the type `SessionFacts`",
    );
    check(&own("action admin;"), "schema/s.cedarschema:1:8: error: the action `admin` belongs to Cordon");
    check(
        &own("namespace Acme { entity X; }"),
        "schema/s.cedarschema: error: the namespace `Acme` is not supported",
    );
    check(&own("entity Order = { total: Lng };"), "schema/");
    check(&own("entity Order = {"), "schema/s.cedarschema:1:17: error");
}

#[test]
fn rules_are_named_once_and_annotated_with_known_words() {
    let two =
        "@id(\"a\") permit(principal, action, resource);\n@id(\"a\") permit(principal, action, resource);";
    check(
        &permission(two),
        "permissions/p.cedar:2:10: error: `@id(\"a\")` is used at permissions/p.cedar:1, too",
    );
    check(
        &permission("@idd(\"a\") permit(principal, action, resource);"),
        "permissions/p.cedar:1:11: error: unknown annotation `@idd`; did you mean `@id`?",
    );
    check(
        &permission("@id(\"cordon:x\") permit(principal, action, resource);"),
        "permissions/p.cedar:1:17: error: `@id` is `cordon:x`",
    );
    check(
        &permission("@obligation(\"monitor\") permit(principal, action, resource);"),
        "permissions/p.cedar:1:24: error: obligations belong in obligations/",
    );
    check(
        &permission("permit(principal == ?principal, action, resource);"),
        "permissions/p.cedar:1:1: error: policy templates are not supported",
    );
    let obligation = |text| vec![("obligations/o.cedar", text)];
    check(
        &obligation("permit(principal, action, resource);"),
        "obligations/o.cedar:1:1: error: a policy in obligations/ needs",
    );
    check(
        &obligation("@obligation(\"monitor\") forbid(principal, action, resource);"),
        "obligations/o.cedar:1:24: error: `forbid` in obligations/",
    );
    check(
        &obligation("@obligation(\"aprove\") @role(\"x\") permit(principal, action, resource);"),
        "obligations/o.cedar:1:34: error: `aprove` is not an obligation; did you mean `approve`?",
    );
}

#[test]
fn whatever_is_not_understood_refuses_the_source() {
    check(&[("guards/g.rego", "package cordon")], "");
    check(
        &[("guards/g.rego", "package other")],
        "guards/g.rego:1:9: error: guards are in the package `cordon`",
    );
    check(
        &[("guards/g.rego", "package cordon\n\ndeny[msg] { msg := }")],
        "guards/g.rego:3:11: error: expecting }",
    );
    check(&[("exports/e.toml", "")], "exports/e.toml: error: export grants are not supported");
    check(&[("data/x.json", "{}")], "data/x.json: error: data files other than");
    check(&[("risk.toml", "# later\n")], "");
    check(&[("risk.toml", "wieghts = 1")], "risk.toml:1:1: error: unknown field `wieghts`");
    check(&[("data/threats.json", "{}")], "data/threats.json:1:1: error: `as_of` is missing");
    check(&[("README.md", "")], "README.md: error: the file does not belong");
    check(&[("data/entities.json", "[{]")], "data/entities.json:1:3: error: expected a name in quotes");
    check(&[("tests/t.toml", "[[test]]\nname = 3")], "tests/t.toml:");
    check(
        &[TOOL, ("tools/v.toml", TOOL.1)],
        "tools/v.toml:1:8: error: `mail/send` has a manifest in `tools/t.toml` already",
    );
    let bytes: cordon_pdp::PolicySource =
        [("permissions/p.cedar", vec![b'/', b'/', 0xff])].into_iter().collect();
    let findings = PolicySet::compile(&bytes).unwrap_err();
    assert!(
        findings[0].to_string().starts_with("permissions/p.cedar:1:3: error: the file is not valid UTF-8"),
        "{}",
        findings[0]
    );
}

#[test]
fn a_policy_that_can_never_apply_is_a_warning() {
    check(
        &permission("permit(principal, action, resource) when { principal is Tool };"),
        "permissions/p.cedar:1:1: warning: policy is impossible",
    );
}

#[test]
fn a_source_whose_decisions_may_take_more_steps_than_it_allows_is_refused() {
    let rules: String = (0..50).map(|n| format!("@id(\"r{n}\") forbid(principal, action, resource) when {{ context has purpose && context.purpose == \"p{n}\" }};\n")).collect();
    let compiled = |limit: &str, rules: &str| {
        PolicySet::compile(&source(&[("permissions/p.cedar", rules), ("limits.toml", limit)]))
    };
    let bound = compiled("", &rules).unwrap().policies.bound().clone();
    assert!(bound.action.is_none() && bound.rules == 51 && bound.steps > 50, "{bound:?}");
    let limit = |steps: u64| format!("steps_max = {steps}");
    assert!(compiled(&limit(bound.steps), &rules).is_ok());
    let refused = compiled(&limit(bound.steps - 1), &rules).unwrap_err();
    assert!(refused[0].message.contains("more than `steps_max`"), "{refused:?}");
    // Rules that name their tool do not add up.
    let narrow = rules.replace("(principal, action,", "(principal, action == Action::\"x/N\",");
    let narrow: String =
        narrow.lines().enumerate().map(|(n, line)| line.replace("x/N", &format!("x/{n}")) + "\n").collect();
    let narrow = compiled("", &narrow).unwrap().policies.bound().clone();
    assert!(narrow.steps < bound.steps / 10, "{narrow:?}");
}
