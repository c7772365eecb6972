//! Reading manifests, strictly: what is not understood is refused.

use std::collections::BTreeMap;

use cordon_core::json::{self, Node};
use cordon_core::{
    ActionName, CallLimits, Effect, Integrity, Limits, OutputLabel, ToolManifest, Validator, ValidatorKind,
};

use super::preconditions;
use crate::Diagnostic;
use crate::tree::{self, Name, Reader, Tree, TreeValue, member};

const FIELDS: &[&str] = &[
    "tool",
    "pin",
    "classes",
    "effect",
    "sinks",
    "carries",
    "calls",
    "outputs",
    "limits",
    "idempotency",
    "compensation",
    "sandbox",
    "validators",
    "preconditions",
    "description",
    "input_schema",
    "output_schema",
];

/// Isolation tiers, weakest first.
pub(crate) const TIERS: [&str; 5] = ["process", "wasm", "container", "microvm", "attested"];

/// Reads the manifests of one file: one at the top level, or several as `[[tools]]`.
pub fn parse_manifests(file: &str, text: &str) -> Result<Vec<ToolManifest>, Vec<Diagnostic>> {
    located(file, text).map(|found| found.into_iter().map(|(manifest, _)| manifest).collect())
}

/// Reads a manifest that a caller declared inline; `text` is the text that `node` was read from.
pub fn manifest_from_json(text: &str, node: &Node) -> Result<ToolManifest, Vec<Diagnostic>> {
    let mut reader = Reader::new("", text);
    let manifest = manifest(&mut reader, text, &tree::from_json(node));
    manifest.filter(|_| reader.findings.is_empty()).ok_or(reader.findings)
}

/// A manifest and the bytes where it names its tool.
pub(crate) type Located = (ToolManifest, std::ops::Range<usize>);

/// As [`parse_manifests`], with the place of each.
pub(crate) fn located(file: &str, text: &str) -> Result<Vec<Located>, Vec<Diagnostic>> {
    let root = tree::from_toml(file, text).map_err(|finding| vec![*finding])?;
    let mut reader = Reader::new(file, text);
    let members = reader.table("the file", &root).unwrap_or_default();
    let found = match member(members, "tools") {
        None => vec![manifest(&mut reader, text, &root).map(|manifest| (manifest, name_span(&root)))],
        Some(list) => {
            reader.known("a file with `[[tools]]`", members, &["tools"]);
            let items = reader.list("tools", list).unwrap_or_default();
            items
                .iter()
                .map(|item| manifest(&mut reader, text, item).map(|manifest| (manifest, name_span(item))))
                .collect()
        }
    };
    match reader.findings.is_empty() {
        true => Ok(found.into_iter().flatten().collect()),
        false => Err(reader.findings),
    }
}

fn name_span(tree: &Tree) -> std::ops::Range<usize> {
    match &tree.value {
        TreeValue::Table(members) => {
            member(members, "tool").map_or(tree.span.clone(), |tool| tool.span.clone())
        }
        _ => tree.span.clone(),
    }
}

fn manifest(reader: &mut Reader<'_>, text: &str, tree: &Tree) -> Option<ToolManifest> {
    let members = reader.table("a manifest", tree)?;
    reader.known("a tool manifest", members, FIELDS);
    for required in ["tool", "classes", "effect"] {
        if member(members, required).is_none() {
            let help = "a manifest names its `tool`, its `classes` (may be empty) and its `effect`";
            reader.refuse_help(&tree.span, format!("`{required}` is missing"), help);
        }
    }
    let get = |name: &str| member(members, name);
    let limits = get("limits").map_or(Some(CallLimits::DEFAULT), |tree| call_limits(reader, tree));
    let manifest = ToolManifest {
        tool: get("tool").and_then(|tree| tool_name(reader, "tool", tree))?,
        pin: get("pin").and_then(|tree| reader.parsed("pin", tree)),
        classes: get("classes")
            .map(|tree| reader.parsed_list("classes", tree))
            .unwrap_or_default()
            .into_iter()
            .collect(),
        effect: get("effect").and_then(|tree| reader.parsed("effect", tree)).unwrap_or(Effect::Irreversible),
        sinks: get("sinks").map(|tree| pointers(reader, "sinks", tree)).unwrap_or_default(),
        carries: get("carries").map(|tree| pointers(reader, "carries", tree)).unwrap_or_default(),
        calls: get("calls").map(|tree| reader.parsed_list("calls", tree)).unwrap_or_default(),
        outputs: get("outputs").map(|tree| outputs(reader, tree)).unwrap_or_default(),
        limits: limits.unwrap_or_default(),
        idempotency: get("idempotency").and_then(|tree| pointer(reader, "idempotency", tree)),
        compensation: get("compensation").and_then(|tree| tool_name(reader, "compensation", tree)),
        sandbox: get("sandbox").and_then(|tree| tier(reader, tree)),
        validators: get("validators").map(|tree| validators(reader, tree)).unwrap_or_default(),
        preconditions: get("preconditions").map(|tree| preconditions::read(reader, tree)).unwrap_or_default(),
        description: get("description").and_then(|tree| reader.text("description", tree)),
        input_schema: get("input_schema").and_then(|tree| schema(reader, text, "input_schema", tree)),
        output_schema: get("output_schema").and_then(|tree| schema(reader, text, "output_schema", tree)),
    };
    Some(manifest)
}

pub(super) fn tool_name(reader: &mut Reader<'_>, name: &str, tree: &Tree) -> Option<ActionName> {
    let tool: ActionName = reader.parsed(name, tree)?;
    if tool.server().is_empty() || matches!(tool.server(), "mcp" | "cordon") {
        let help = "tools are named `server/tool`; the server names `mcp` and `cordon` are kept";
        reader.refuse_help(&tree.span, format!("`{tool}` is not the name of a tool on a server"), help);
        return None;
    }
    Some(tool)
}

fn pointers(reader: &mut Reader<'_>, name: &str, tree: &Tree) -> Vec<Box<str>> {
    let items = reader.list(name, tree).unwrap_or_default();
    items.iter().filter_map(|item| pointer(reader, name, item)).collect()
}

pub(super) fn pointer(reader: &mut Reader<'_>, name: &str, tree: &Tree) -> Option<Box<str>> {
    let text = reader.text(name, tree)?;
    if is_pointer(&text) {
        return Some(text);
    }
    let help = "paths are JSON Pointers such as `/to` or `/items/*/id`, `*` for every item";
    reader.refuse_help(&tree.span, format!("`{name}`: `{text}` is not a path"), help);
    None
}

fn is_pointer(text: &str) -> bool {
    let escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    (text.is_empty() || text.starts_with('/')) && escaped && text.len() <= 512
}

fn outputs(reader: &mut Reader<'_>, tree: &Tree) -> BTreeMap<Box<str>, OutputLabel> {
    let mut labels = BTreeMap::new();
    let Some(members) = reader.table("outputs", tree) else { return labels };
    for (name, tree) in members {
        if !is_pointer(&name.text) {
            reader.refuse(&name.span.clone(), format!("`outputs`: `{}` is not a JSON Pointer", name.text));
        }
        if let Some(label) = output(reader, tree) {
            labels.insert(name.text.clone(), label);
        }
    }
    labels
}

fn output(reader: &mut Reader<'_>, tree: &Tree) -> Option<OutputLabel> {
    let members = reader.table("an output label", tree)?;
    reader.known("an output label", members, &["integrity", "readers", "markings"]);
    let get = |name: &str| member(members, name);
    let integrity =
        get("integrity").map_or(Some(Integrity::Untrusted), |tree| reader.parsed("integrity", tree))?;
    if integrity < Integrity::Attested {
        let span = get("integrity").map_or(tree.span.clone(), |tree| tree.span.clone());
        let message = format!("a tool's output cannot have the integrity `{}`", integrity.as_str());
        let help = "`attested` is the most that a manifest can vouch for";
        reader.refuse_help(&span, message, help);
    }
    Some(OutputLabel {
        integrity,
        readers: get("readers").map(|tree| reader.texts("readers", tree)).unwrap_or_default(),
        markings: get("markings")
            .map(|tree| reader.parsed_list("markings", tree))
            .unwrap_or_default()
            .into_iter()
            .collect(),
    })
}

fn call_limits(reader: &mut Reader<'_>, tree: &Tree) -> Option<CallLimits> {
    let members = reader.table("limits", tree)?;
    let names = ["timeout_ms", "rate_per_min", "concurrency", "result_bytes_max"];
    reader.known("`limits`", members, &names);
    let mut get = |name: &str, default: u32, max: i64| {
        let number = member(members, name)
            .map_or(Some(i64::from(default)), |tree| reader.integer(name, tree, 1, max))?;
        u32::try_from(number).ok()
    };
    let default = CallLimits::DEFAULT;
    Some(CallLimits {
        timeout_ms: get("timeout_ms", default.timeout_ms, 86_400_000)?,
        rate_per_min: get("rate_per_min", default.rate_per_min, 1_000_000)?,
        concurrency: get("concurrency", default.concurrency, 10_000)?,
        result_bytes_max: get("result_bytes_max", default.result_bytes_max, 1 << 30)?,
    })
}

fn tier(reader: &mut Reader<'_>, tree: &Tree) -> Option<Box<str>> {
    let text = reader.text("sandbox", tree)?;
    if !TIERS.contains(&&*text) {
        reader.refuse_help(
            &tree.span,
            format!("`sandbox` is `{text}`, which is not an isolation tier"),
            format!("expected one of `{}`", TIERS.join("`, `")),
        );
    }
    Some(text)
}

fn validators(reader: &mut Reader<'_>, tree: &Tree) -> Vec<Validator> {
    let items = reader.list("validators", tree).unwrap_or_default();
    items.iter().filter_map(|item| validator(reader, item)).collect()
}

fn validator(reader: &mut Reader<'_>, tree: &Tree) -> Option<Validator> {
    let members = reader.table("a validator", tree)?;
    let mut need = |name: &str| {
        let found = member(members, name);
        if found.is_none() {
            reader.refuse(&tree.span, format!("`{name}` of the validator is missing"));
        }
        found
    };
    let (at, kind) = (need("at")?, need("kind")?);
    let at = pointer(reader, "at", at)?;
    let kind_text = reader.text("kind", kind)?;
    let parameters: &[&str] = match &*kind_text {
        "email" => &["at", "kind"],
        "url" => &["at", "kind", "schemes"],
        "range" | "length" => &["at", "kind", "min", "max"],
        "one_of" => &["at", "kind", "values"],
        "not_after" => &["at", "kind", "other"],
        _ => {
            reader.refuse_help(
                &kind.span,
                format!("`{kind_text}` is not a kind of validator"),
                "expected `email`, `url`, `range`, `length`, `one_of` or `not_after`",
            );
            return None;
        }
    };
    reader.known(&format!("a validator of the kind `{kind_text}`"), members, parameters);
    let kind = validator_kind(reader, &kind_text, members, tree)?;
    Some(Validator { at, kind })
}

fn validator_kind(
    reader: &mut Reader<'_>,
    kind: &str,
    members: &[(Name, Tree)],
    tree: &Tree,
) -> Option<ValidatorKind> {
    let get = |name: &str| member(members, name);
    let mut bound = |name: &str, default: i64, least: i64, most: i64| {
        get(name).map_or(Some(default), |tree| reader.integer(name, tree, least, most))
    };
    let checked = match kind {
        "email" => ValidatorKind::Email,
        "url" => {
            let schemes = get("schemes").map(|tree| reader.texts("schemes", tree)).unwrap_or_default();
            ValidatorKind::Url { schemes }
        }
        "range" => ValidatorKind::Range {
            min: bound("min", i64::MIN, i64::MIN, i64::MAX)?,
            max: bound("max", i64::MAX, i64::MIN, i64::MAX)?,
        },
        "length" => ValidatorKind::Length {
            min: u32::try_from(bound("min", 0, 0, i64::from(u32::MAX))?).ok()?,
            max: u32::try_from(bound("max", i64::from(u32::MAX), 0, i64::from(u32::MAX))?).ok()?,
        },
        "one_of" => {
            let values = get("values").map(|tree| reader.texts("values", tree)).unwrap_or_default();
            ValidatorKind::OneOf { values }
        }
        _ => ValidatorKind::NotAfter { other: get("other").and_then(|tree| pointer(reader, "other", tree))? },
    };
    let empty = match &checked {
        ValidatorKind::Range { min, max } => min > max,
        ValidatorKind::Length { min, max } => min > max,
        ValidatorKind::OneOf { values } => values.is_empty(),
        _ => false,
    };
    if empty {
        reader.refuse(&tree.span, "no value can pass this validator");
    }
    Some(checked)
}

/// A schema: JSON text, or in JSON the object itself.
fn schema(reader: &mut Reader<'_>, text: &str, name: &str, tree: &Tree) -> Option<Box<str>> {
    let source = match &tree.value {
        TreeValue::Text(text) => text.clone(),
        TreeValue::Table(_) => text.get(tree.span.clone()).unwrap_or_default().into(),
        _ => "".into(),
    };
    let limits = Limits { message_bytes_max: 1 << 20, depth_max: 64, nodes_max: 100_000, ..Limits::DEFAULT };
    match json::parse(source.as_bytes(), &limits) {
        Ok(node) if node.is_object() => Some(source),
        Ok(_) => {
            reader.refuse(&tree.span, format!("`{name}` is not a JSON object"));
            None
        }
        Err(error) => {
            let help = "write the schema as JSON text between three single quotes";
            reader.refuse_help(&tree.span, format!("`{name}` is not JSON: {error}"), help);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, want: &str) {
        let findings = parse_manifests("tools/t.toml", text).unwrap_err();
        let all: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(all.iter().any(|finding| finding.contains(want)), "{want} not in {all:#?}");
    }

    const MINIMAL: &str = "tool = \"mail/send\"\nclasses = [\"message.send\"]\neffect = \"irreversible\"\n";

    #[test]
    fn the_manifest_of_the_specification_is_read() {
        let text = include_str!("../../../../spec/vectors/manifest/full.toml");
        let manifest = parse_manifests("tools/mail.toml", text).unwrap().remove(0);
        assert_eq!(manifest.tool.as_str(), "mail/send");
        assert_eq!(manifest.sinks.len(), 2);
        assert_eq!(manifest.limits.rate_per_min, 30);
        assert_eq!(manifest.limits.result_bytes_max, CallLimits::DEFAULT.result_bytes_max);
        assert_eq!(manifest.outputs["/id"].integrity, Integrity::Attested);
        assert_eq!(manifest.validators[0].kind, ValidatorKind::Email);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        refused(
            &format!("{MINIMAL}limit = {{}}"),
            "tools/t.toml:4:1: error: unknown field `limit` of a tool manifest (did you mean `limits`?)",
        );
        refused("classes = []\neffect = \"read\"", "`tool` is missing");
        refused("tool = \"a/b\"\neffect = \"read\"", "`classes` is missing");
        refused("tool = \"a/b\"\nclasses = []", "`effect` is missing");
        refused(&MINIMAL.replace("irreversible", "final"), "3:10: error: `effect`: `final` is not an effect");
        refused(&MINIMAL.replace("message.send", "mesage.send"), "is not a capability class");
        refused(&MINIMAL.replace("mail/send", "send"), "`send` is not the name of a tool on a server");
        refused(&MINIMAL.replace("mail/send", "mcp/tools.call"), "`mcp` and `cordon` are kept");
        refused(&format!("{MINIMAL}sinks = [\"to\"]"), "`sinks`: `to` is not a path");
        refused(&format!("{MINIMAL}sinks = [\"/~2\"]"), "is not a path");
        refused(&format!("{MINIMAL}pin = \"sha256:00\""), "expected `sha256:` and 64");
        refused(&format!("{MINIMAL}limits = {{ timeout_ms = 0 }}"), "expected a whole number from 1");
        refused(&format!("{MINIMAL}limits = {{ timeout = 1 }}"), "did you mean `timeout_ms`?");
        refused(&format!("{MINIMAL}sandbox = \"vm\""), "is not an isolation tier");
        refused(
            &format!("{MINIMAL}outputs = {{ \"\" = {{ integrity = \"user\" }} }}"),
            "cannot have the integrity `user`",
        );
        refused(
            &format!("{MINIMAL}validators = [{{ at = \"/to\", kind = \"mail\" }}]"),
            "is not a kind of validator",
        );
        refused(
            &format!("{MINIMAL}validators = [{{ at = \"/n\", kind = \"range\", min = 2, max = 1 }}]"),
            "no value can pass",
        );
        refused(
            &format!("{MINIMAL}validators = [{{ at = \"/n\", kind = \"email\", min = 2 }}]"),
            "unknown field `min`",
        );
        refused(&format!("{MINIMAL}input_schema = \"[]\""), "is not a JSON object");
        refused(&format!("{MINIMAL}input_schema = \"{{\""), "is not JSON");
        refused(&format!("{MINIMAL}input_schema = {{ type = \"object\" }}"), "between three single quotes");
        refused("tool = ", "error:");
        refused("tool = 2026-01-01", "write times as text");
    }

    #[test]
    fn several_manifests_share_a_file_and_json_reads_the_same() {
        let text = "[[tools]]\ntool = \"a/b\"\nclasses = []\neffect = \"read\"\n[[tools]]\ntool = \"a/c\"\nclasses = []\neffect = \"write\"\n";
        assert_eq!(parse_manifests("f", text).unwrap().len(), 2);
        refused("x = 1\n[[tools]]\ntool = \"a/b\"\nclasses = []\neffect = \"read\"", "unknown field `x`");
        let text = r#"{"tool":"a/b","classes":["data.read:orders"],"effect":"read","input_schema":{"type":"object"}}"#;
        let node = json::parse(text.as_bytes(), &Limits::DEFAULT).unwrap();
        let manifest = manifest_from_json(text, &node).unwrap();
        assert_eq!(manifest.input_schema.as_deref(), Some(r#"{"type":"object"}"#));
    }
}
