//! Reading test files, strictly.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use cordon_core::{
    ActionName, Ambiguity, Chain, Context, Effect, Integrity, ObligationKind, PostureState, Principal,
    PrincipalKind, Record, Resource, ResourceKind, Signal, SignalKind, Timestamp, UnknownReason, Value,
    Verdict,
};

use super::Case;
use crate::Diagnostic;
use crate::data::{principal_kind, record};
use crate::tree::{self, Name, Reader, Tree, TreeValue, member};

/// What a test says about the request.
const REQUEST: &[&str] = &[
    "owner",
    "agent",
    "user",
    "via",
    "action",
    "classes",
    "effect",
    "resource",
    "args",
    "unknown",
    "context",
    "supported",
];

/// What a test says about itself.
const TEST: &[&str] = &["name", "request", "expect", "rule", "rules", "obligations"];

/// The time of a test that does not say one.
const NOW: &str = "2026-01-01T12:00:00Z";

/// Reads the tests of one file.
pub(crate) fn read(file: &str, text: &str) -> Result<Vec<Case>, Vec<Diagnostic>> {
    let root = tree::from_toml(file, text).map_err(|finding| vec![*finding])?;
    let mut reader = Reader::new(file, text);
    let members = reader.table("the file", &root).unwrap_or_default();
    reader.known("a test file", members, &["test"]);
    let mut cases = Vec::new();
    if let Some(tests) = member(members, "test") {
        for tree in reader.list("test", tests).unwrap_or_default() {
            let line =
                text.get(..tree.span.start).unwrap_or_default().matches('\n').count().saturating_add(1);
            let line = u32::try_from(line).unwrap_or(u32::MAX);
            cases.extend(case(&mut reader, tree).map(|case| Case { file: file.into(), line, ..case }));
        }
    }
    if reader.findings.is_empty() { Ok(cases) } else { Err(reader.findings) }
}

fn case(reader: &mut Reader<'_>, tree: &Tree) -> Option<Case> {
    let members = reader.table("a test", tree)?;
    let request = match member(members, "request") {
        None => {
            reader.known("a test", members, &[TEST, REQUEST].concat());
            members
        }
        Some(request) => {
            reader.known("a test", members, TEST);
            let request = reader.table("request", request)?;
            reader.known("a test's request", request, REQUEST);
            request
        }
    };
    let name = match member(members, "name") {
        Some(name) => reader.text("name", name)?,
        None => missing(reader, &tree.span, "name", "what the test shows, in a few words")?,
    };
    let expect = match member(members, "expect") {
        Some(expect) => verdict(reader, expect)?,
        None => missing(reader, &tree.span, "expect", "`allow`, `ask` or `deny`")?,
    };
    let action: ActionName = match member(request, "action") {
        Some(action) => reader.parsed("action", action)?,
        None => missing(reader, &tree.span, "action", "`server/tool`")?,
    };
    let mut rules: Vec<Box<str>> =
        member(members, "rules").map(|tree| reader.texts("rules", tree)).unwrap_or_default();
    rules.extend(member(members, "rule").and_then(|tree| reader.text("rule", tree)));
    let obligations = member(members, "obligations").map(|tree| obligations(reader, tree));
    let mut case = Case {
        name,
        file: "".into(),
        line: 0,
        chain: chain(reader, request, &tree.span)?,
        declared: declared(reader, &action, request),
        resource: member(request, "resource").and_then(|tree| resource(reader, tree)),
        action,
        context: Context::default(),
        calls: 0,
        integrity: None,
        posture: PostureState::Normal,
        lineage: BTreeSet::new(),
        markings: BTreeSet::new(),
        signals: BTreeMap::new(),
        gathered: Record::new(),
        ambiguous: BTreeSet::new(),
        region: None,
        now: Timestamp::parse_rfc3339(NOW).unwrap_or_default(),
        supported: member(request, "supported").map(|tree| supported(reader, tree)),
        expect,
        rules,
        obligations: obligations.map(|names| names.into_iter().map(Into::into).collect()),
    };
    if let Some(tree) = member(request, "context") {
        context(reader, tree, &mut case)?;
    }
    if let Some(tree) = member(request, "args") {
        case.context.args = record(reader, "args", tree)?;
    }
    if let Some(tree) = member(request, "unknown") {
        unknown(reader, tree, &mut case.context.args);
    }
    Some(case)
}

fn missing<T>(reader: &mut Reader<'_>, span: &Range<usize>, name: &str, help: &str) -> Option<T> {
    reader.refuse_help(span, format!("`{name}` of the test is missing"), help);
    None
}

fn verdict(reader: &mut Reader<'_>, tree: &Tree) -> Option<Verdict> {
    let text = reader.text("expect", tree)?;
    let found = [Verdict::Allow, Verdict::Ask, Verdict::Deny].into_iter().find(|one| one.as_str() == &*text);
    if found.is_none() {
        reader.refuse(&tree.span, format!("`expect` is `{text}`, expected `allow`, `ask` or `deny`"));
    }
    found
}

fn obligations(reader: &mut Reader<'_>, tree: &Tree) -> BTreeSet<&'static str> {
    let items = reader.list("obligations", tree).unwrap_or_default();
    items.iter().filter_map(|item| obligation_name(reader, item)).collect()
}

fn supported(reader: &mut Reader<'_>, tree: &Tree) -> BTreeSet<&'static str> {
    let items = reader.list("supported", tree).unwrap_or_default();
    items.iter().filter_map(|item| obligation_name(reader, item)).collect()
}

fn obligation_name(reader: &mut Reader<'_>, tree: &Tree) -> Option<&'static str> {
    let text = reader.text("an obligation", tree)?;
    let found = ObligationKind::NAMES.iter().copied().find(|name| *name == &*text);
    if found.is_none() {
        reader.refuse(&tree.span, format!("`{text}` is not an obligation"));
    }
    found
}

fn chain(reader: &mut Reader<'_>, members: &[(Name, Tree)], span: &Range<usize>) -> Option<Chain> {
    let mut get = |name: &str, kind: PrincipalKind| match member(members, name) {
        None => Some(None),
        Some(tree) => principal(reader, name, kind, tree).map(Some),
    };
    let owner = get("owner", PrincipalKind::User)?;
    let agent = get("agent", PrincipalKind::Agent)?;
    let user = get("user", PrincipalKind::User)?;
    let mut via = Vec::new();
    if let Some(tree) = member(members, "via") {
        for item in reader.list("via", tree)? {
            via.push(principal(reader, "via", PrincipalKind::Agent, item)?);
        }
    }
    match Chain::new(owner, agent, user) {
        Ok(chain) => match chain.with_via(via) {
            Ok(chain) => Some(chain),
            Err(error) => {
                reader.refuse(span, error.to_string());
                None
            }
        },
        Err(_) => missing(reader, span, "owner`, `agent` or `user", "who acts: at least one of them"),
    }
}

/// `"alice"`, `"Team:ops"` or `{ type, id, attributes, teams }`.
fn principal(reader: &mut Reader<'_>, name: &str, default: PrincipalKind, tree: &Tree) -> Option<Principal> {
    if let TreeValue::Text(text) = &tree.value {
        let typed = text.split_once(':').and_then(|(kind, id)| Some((principal_kind(kind)?, id)));
        let (kind, id) = typed.unwrap_or((default, text));
        return Some(Principal::new(kind, id));
    }
    let members = reader.table(name, tree)?;
    reader.known("a principal", members, &["type", "id", "attributes", "teams"]);
    let kind = match member(members, "type") {
        None => default,
        Some(kind) => {
            let text = reader.text("type", kind)?;
            match principal_kind(&text) {
                Some(kind) => kind,
                None => {
                    reader.refuse(
                        &kind.span,
                        format!("`type` is `{text}`, expected `User`, `Agent` or `Team`"),
                    );
                    return None;
                }
            }
        }
    };
    let id = match member(members, "id") {
        Some(id) => reader.text("id", id)?,
        None => missing(reader, &tree.span, "id", "the principal's identifier")?,
    };
    let mut principal = Principal::new(kind, id);
    if let Some(tree) = member(members, "attributes") {
        principal.attributes = record(reader, "attributes", tree)?;
    }
    principal.teams = member(members, "teams").map(|tree| reader.texts("teams", tree)).unwrap_or_default();
    Some(principal)
}

/// Classes and effect that the test gives the action, or those of a protocol message.
fn declared(
    reader: &mut Reader<'_>,
    action: &ActionName,
    members: &[(Name, Tree)],
) -> Option<(BTreeSet<cordon_core::Class>, Effect)> {
    let classes = member(members, "classes").map(|tree| reader.parsed_list("classes", tree));
    let effect = member(members, "effect").and_then(|tree| reader.parsed("effect", tree));
    if classes.is_none() && effect.is_none() && action.server() != "mcp" {
        return None;
    }
    Some((classes.unwrap_or_default().into_iter().collect(), effect.unwrap_or(Effect::Read)))
}

/// `"Type:id"` or `{ type, id, tenant, markings, attributes }`.
fn resource(reader: &mut Reader<'_>, tree: &Tree) -> Option<Resource> {
    if let TreeValue::Text(text) = &tree.value {
        let (kind, id) = text.split_once(':').unwrap_or((ResourceKind::TOOL, text));
        return Some(Resource::new(kind, id, "default"));
    }
    let members = reader.table("resource", tree)?;
    reader.known("a resource", members, &["type", "id", "tenant", "markings", "attributes"]);
    let mut text = |name: &str, default: Option<&str>| match member(members, name) {
        Some(tree) => reader.text(name, tree),
        None => match default {
            Some(default) => Some(default.into()),
            None => missing(reader, &tree.span, name, "a resource has a `type` and an `id`"),
        },
    };
    let (kind, id, tenant) = (text("type", None)?, text("id", None)?, text("tenant", Some("default"))?);
    let mut resource = Resource::new(kind, id, tenant);
    let markings = member(members, "markings").map(|tree| reader.parsed_list("markings", tree));
    resource.markings = markings.unwrap_or_default().into_iter().collect();
    if let Some(tree) = member(members, "attributes") {
        resource.attributes = record(reader, "attributes", tree)?;
    }
    Some(resource)
}

fn context(reader: &mut Reader<'_>, tree: &Tree, case: &mut Case) -> Option<()> {
    let members = reader.table("context", tree)?;
    let known = [
        "purpose",
        "project",
        "workflow",
        "task",
        "model",
        "asserted",
        "calls",
        "integrity",
        "posture",
        "lineage",
        "markings",
        "risk",
        "preconditions",
        "ambiguous",
        "region",
        "now",
    ];
    reader.known("a test's context", members, &known);
    let get = |name: &str| member(members, name);
    for (name, field) in [
        ("purpose", &mut case.context.purpose),
        ("project", &mut case.context.project),
        ("workflow", &mut case.context.workflow),
        ("task", &mut case.context.task),
        ("region", &mut case.region),
    ] {
        *field = get(name).and_then(|tree| reader.text(name, tree));
    }
    if let Some(tree) = get("model") {
        case.context.model = record(reader, "model", tree)?;
    }
    if let Some(tree) = get("asserted") {
        case.context.asserted = record(reader, "asserted", tree)?;
    }
    session(reader, members, case)?;
    if let Some(tree) = get("preconditions") {
        case.gathered = record(reader, "preconditions", tree)?;
    }
    if let Some(tree) = get("risk") {
        case.signals = signals(reader, tree)?;
    }
    if let Some(tree) = get("now") {
        let text = reader.text("now", tree)?;
        match Timestamp::parse_rfc3339(&text) {
            Some(now) => case.now = now,
            None => reader.refuse(&tree.span, format!("`{text}` is not a time such as `{NOW}`")),
        }
    }
    for item in get("ambiguous").and_then(|tree| reader.list("ambiguous", tree)).unwrap_or_default() {
        let text = reader.text("ambiguous", item)?;
        let all = [Ambiguity::NoManifest, Ambiguity::Unparsed, Ambiguity::UnknownInput];
        match all.into_iter().find(|one| one.as_str() == &*text) {
            Some(ambiguity) => {
                case.ambiguous.insert(ambiguity);
            }
            None => reader
                .refuse(&item.span, format!("`{text}` is not `no_manifest`, `unparsed` or `unknown_input`")),
        }
    }
    Some(())
}

/// What a test says about the session.
fn session(reader: &mut Reader<'_>, members: &[(Name, Tree)], case: &mut Case) -> Option<()> {
    let get = |name: &str| member(members, name);
    if let Some(tree) = get("calls") {
        case.calls = u64::try_from(reader.integer("calls", tree, 0, i64::MAX)?).ok()?;
    }
    case.integrity = get("integrity").and_then(|tree| reader.parsed::<Integrity>("integrity", tree));
    if let Some(posture) = get("posture").and_then(|tree| reader.parsed("posture", tree)) {
        case.posture = posture;
    }
    case.lineage =
        get("lineage").map(|tree| reader.texts("lineage", tree)).unwrap_or_default().into_iter().collect();
    let markings = get("markings").map(|tree| reader.parsed_list("markings", tree));
    case.markings = markings.unwrap_or_default().into_iter().collect();
    Some(())
}

/// `{ destination = 900, tool = "unknown" }`.
fn signals(reader: &mut Reader<'_>, tree: &Tree) -> Option<BTreeMap<SignalKind, Option<u16>>> {
    let mut signals = BTreeMap::new();
    for (name, value) in reader.table("risk", tree)? {
        let Ok(kind) = name.text.parse::<SignalKind>() else {
            let names = SignalKind::ALL.map(SignalKind::as_str);
            reader.refuse_help(
                &name.span.clone(),
                format!("`{}` is not a risk signal", name.text),
                format!("expected one of `{}`", names.join("`, `")),
            );
            continue;
        };
        let known = match &value.value {
            TreeValue::Text(text) if &**text == "unknown" => None,
            _ => Some(reader.integer(&name.text, value, 0, i64::from(Signal::MAX))?),
        };
        signals.insert(kind, known.and_then(|value| u16::try_from(value).ok()));
    }
    Some(signals)
}

/// Names of arguments that exist and are not known.
fn unknown(reader: &mut Reader<'_>, tree: &Tree, args: &mut Record) {
    for name in reader.texts("unknown", tree) {
        args.insert(name, Value::Unknown(UnknownReason::Unparsed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_test_read_the_same() {
        let flat = "[[test]]\nname = \"n\"\nagent = \"a\"\naction = \"mail/send\"\nargs = { to = \"x\" }\nexpect = \"deny\"\n";
        let nested = "[[test]]\nname = \"n\"\nexpect = \"deny\"\nrequest = { agent = \"a\", action = \"mail/send\", args = { to = \"x\" } }\n";
        assert_eq!(read("f", flat).unwrap(), read("f", nested).unwrap());
    }

    #[test]
    fn tests_that_are_not_understood_are_refused() {
        let base = "[[test]]\nname = \"n\"\nagent = \"a\"\naction = \"mail/send\"\nexpect = \"deny\"\n";
        assert!(read("f", base).is_ok());
        for (text, want) in [
            (base.replace("deny", "denied"), "f:5:10: error: `expect` is `denied`"),
            (base.replace("name =", "nam ="), "unknown field `nam`"),
            (base.replace("agent = \"a\"\n", ""), "`owner`, `agent` or `user` of the test is missing"),
            (base.replace("action = \"mail/send\"\n", ""), "`action` of the test is missing"),
            (format!("{base}obligations = [\"approval\"]"), "is not an obligation"),
            (format!("{base}context = {{ purpos = \"x\" }}"), "did you mean `purpose`?"),
            (format!("{base}context = {{ now = \"noon\" }}"), "is not a time"),
            (format!("{base}context = {{ ambiguous = [\"maybe\"] }}"), "is not `no_manifest`"),
            (format!("{base}resource = {{ id = \"x\" }}"), "`type` of the test is missing"),
            (base.replace("[[test]]", "[[tests]]"), "unknown field `tests`"),
            (base.replace("[[test]]", "[test]"), "`test` is a table, expected a list"),
        ] {
            let findings = read("f", &text).unwrap_err();
            assert!(
                findings.iter().any(|finding| finding.to_string().contains(want)),
                "{want}: {findings:?}"
            );
        }
    }
}
