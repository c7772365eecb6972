//! Type-checking: every policy against every kind of request it could meet.
//!
//! A policy about named tools is checked against those, a policy about classes or about every action
//! against one of each kind of tool and against an action that nobody declared.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{PolicySet, ValidationError, ValidationMode, Validator};
use cordon_core::{ActionName, ClassKind, Effect, ToolManifest};
use miette::Diagnostic as _;

use crate::Diagnostic;
use crate::argument::ArgType;
use crate::cedar_text::NAMESPACE;
use crate::compile::Reading;
use crate::diagnostic::Severity;
use crate::rule::{PolicyFile, Rule, engine_finding, policy_id};
use crate::schema::{SchemaAction, is_reserved_group, tool_resources};

/// The name that stands for every action that nobody declared.
pub(crate) const ANY_ACTION: &str = "cordon/any";

/// Most tools that are type-checked together: a schema costs time, and so does each tool in it.
const TOGETHER_MAX: usize = 16;

/// Which accesses to `context.args` a pass lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arguments {
    /// Typed by the manifests: an access that they do not know is an error.
    Typed,
    /// Not, or not wholly, typed: worth a warning.
    Open,
    /// Of actions that nobody knows.
    Anything,
}

/// Policies that are checked against the same requests.
#[derive(Debug, Default)]
struct Batch<'r> {
    /// Places of files and of policies in them.
    policies: Vec<(usize, usize)>,
    /// The actions that the policies name.
    names: BTreeSet<&'r str>,
    /// Whether the policies are about classes or about every action.
    general: bool,
}

type Pass = (Arguments, Validator);

/// What type-checking finds in the files that were read.
pub(crate) fn findings(reading: &Reading<'_>) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for batch in batches(reading) {
        match passes(reading, &batch) {
            Ok(passes) => findings.extend(run(reading, &batch, &passes)),
            Err(message) => {
                let path = if reading.vocabulary.extended { "schema/" } else { "spec/cordon.cedarschema" };
                let message = message.replace(&format!("{NAMESPACE}::"), "");
                findings.push(Diagnostic::error(path, message));
                break;
            }
        }
    }
    findings
}

fn batches<'r>(reading: &'r Reading<'_>) -> Vec<Batch<'r>> {
    // The first batch is there even without policies, so that a broken schema is always noticed.
    let mut general = Batch { general: true, ..Batch::default() };
    let mut named: BTreeMap<&'r str, Vec<(usize, usize)>> = BTreeMap::new();
    for (file, read) in reading.files.iter().enumerate() {
        for (index, rule) in read.rules.iter().enumerate() {
            match only_action(reading, rule) {
                Some(name) => named.entry(name).or_default().push((file, index)),
                None => {
                    general.policies.push((file, index));
                    let scope = rule.actions.iter().flatten();
                    let names = scope.chain(&rule.mentions.groups).chain(&rule.mentions.actions);
                    general.names.extend(names.map(|name| &**name));
                }
            }
        }
    }
    let mut batches = vec![general];
    let mut open = Batch::default();
    for (name, policies) in named {
        if open.names.len() >= TOGETHER_MAX {
            batches.push(std::mem::take(&mut open));
        }
        open.names.insert(name);
        open.policies.extend(policies);
    }
    batches.push(open);
    batches
}

/// The one tool that a rule is about, if its scope and its conditions name no other action.
fn only_action<'r>(reading: &Reading<'_>, rule: &'r Rule) -> Option<&'r str> {
    let [name] = rule.actions.as_deref()? else { return None };
    let plain = rule.mentions.groups.is_empty() && rule.mentions.actions.is_empty();
    let own = reading.vocabulary.actions.contains_key(name);
    (plain && !own && !is_reserved_group(name)).then_some(name)
}

fn passes(reading: &Reading<'_>, batch: &Batch<'_>) -> Result<Vec<Pass>, String> {
    let mut typed: Vec<(&str, SchemaAction)> = Vec::new();
    let mut open: Vec<(&str, SchemaAction)> = Vec::new();
    let mut add = |name, action: SchemaAction| {
        let list = if action.args.is_open() { &mut open } else { &mut typed };
        list.push((name, action));
    };
    let mut seen = BTreeSet::new();
    for (name, manifest) in manifests(reading, batch) {
        let action = tool(manifest);
        // Tools that no policy of the batch names and that look alike need to be checked once.
        if batch.names.contains(name) || seen.insert(action.clone()) {
            add(name, action);
        }
    }
    let resources = reading.vocabulary.resources();
    let (args, preconditions) = (ArgType::Open, ArgType::Open);
    let bare = SchemaAction { groups: BTreeSet::new(), resources, args, preconditions };
    for name in reading.undeclared.iter().filter(|name| batch.names.contains(&***name)) {
        add(name, bare.clone());
    }
    let own = reading.vocabulary.actions.iter().filter(|_| batch.general);
    for (name, own) in own {
        add(name, reading.vocabulary.own_action(own));
    }
    let mut any = Vec::new();
    if batch.general {
        let mut groups: BTreeSet<Box<str>> = ClassKind::ALL.iter().map(|kind| kind.as_str().into()).collect();
        groups.extend(Effect::ALL.iter().map(|effect| format!("effect:{effect}").into()));
        groups.extend(reading.parts.iter().cloned());
        any.push((ANY_ACTION, SchemaAction { groups, ..bare }));
    }
    let names: Vec<&str> = typed.iter().chain(&open).map(|(name, _)| *name).collect();
    let lists = [(Arguments::Typed, typed), (Arguments::Open, open), (Arguments::Anything, any)];
    lists
        .into_iter()
        .filter(|(_, live)| !live.is_empty())
        .map(|(arguments, live)| {
            let schema = reading.vocabulary.schema(live, names.iter().copied(), &reading.parts)?;
            Ok((arguments, Validator::new(schema)))
        })
        .collect()
}

/// The manifests that matter to a batch.
fn manifests<'r>(
    reading: &'r Reading<'_>,
    batch: &'r Batch<'_>,
) -> impl Iterator<Item = (&'r str, &'r ToolManifest)> {
    let all = reading.manifests.iter().filter(|_| batch.general);
    let named = batch.names.iter().filter(|_| !batch.general);
    let named = named.filter_map(|name| reading.manifests.get_key_value(&name.parse::<ActionName>().ok()?));
    all.chain(named).map(|(name, (manifest, _))| (name.as_str(), manifest))
}

fn tool(manifest: &ToolManifest) -> SchemaAction {
    let classes = manifest.classes.iter().map(|class| class.to_string().into());
    let groups = classes.chain([format!("effect:{}", manifest.effect).into()]).collect();
    let args = ArgType::of_input(manifest.input_schema.as_deref());
    let preconditions = ArgType::of_preconditions(&manifest.preconditions);
    SchemaAction { groups, resources: tool_resources(), args, preconditions }
}

fn run(reading: &Reading<'_>, batch: &Batch<'_>, passes: &[Pass]) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let mut by_file: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (file, index) in &batch.policies {
        by_file.entry(*file).or_default().push(*index);
    }
    for (file, indices) in by_file {
        let Some(file) = reading.files.get(file) else { continue };
        let policies = indices.into_iter().filter_map(|index| file.set.policy(&policy_id(index)).cloned());
        let set = match PolicySet::from_policies(policies) {
            Ok(set) => set,
            Err(error) => {
                findings.push(Diagnostic::error(file.path, error.to_string()));
                continue;
            }
        };
        let mut never: BTreeMap<Diagnostic, usize> = BTreeMap::new();
        for (arguments, validator) in passes {
            let result = validator.validate(&set, ValidationMode::Strict);
            let errors = result.validation_errors();
            findings.extend(errors.filter_map(|error| type_error(reading, file, *arguments, error)));
            for warning in result.validation_warnings() {
                let finding = engine_finding(file.path, file.source, &file.cedar, Severity::Warning, warning);
                let count = never.entry(finding).or_default();
                *count = count.saturating_add(1);
            }
        }
        // A policy that one kind of request can never meet may be meant for another kind.
        let all = never.into_iter().filter(|(_, count)| *count >= passes.len());
        findings.extend(all.map(|(finding, _)| finding));
    }
    findings
}

/// A type error, unless it is one that can only deny when it happens.
fn type_error(
    reading: &Reading<'_>,
    file: &PolicyFile<'_>,
    arguments: Arguments,
    error: &ValidationError,
) -> Option<Diagnostic> {
    let finding = engine_finding(file.path, file.source, &file.cedar, Severity::Error, error);
    let label = error.labels().and_then(|mut labels| labels.next());
    let (ValidationError::UnsafeAttributeAccess(_), Some(label)) = (error, label) else {
        return Some(finding);
    };
    let end = label.offset().saturating_add(label.len());
    let text: String = file.cedar.part(label.offset()..end).split_whitespace().collect();
    let text = text.replace("[\"", ".").replace("\"]", "");
    let extended = reading.vocabulary.extended;
    if below(&text, "context.args") {
        return match arguments {
            Arguments::Typed => {
                Some(advise(finding, "declare it in the `input_schema` of the tool's manifest"))
            }
            Arguments::Open => Some(warn(
                finding,
                "nothing types this argument: a call without it, or with another type, is an error of the rule",
            )),
            Arguments::Anything => None,
        };
    }
    if below(&text, "context.asserted") && !extended {
        return Some(warn(finding, "declare it in schema/*.cedarschema (`type Asserted = { … };`)"));
    }
    Some(match (below(&text, "context"), extended) {
        (true, _) => advise(finding, "the members of `context` are listed in spec/cordon.cedarschema"),
        (false, true) => {
            advise(finding, "declare the attribute in schema/*.cedarschema, or ask with `has` first")
        }
        (false, false) => warn(
            finding,
            "declare the attribute in schema/*.cedarschema; where it is missing the rule cannot be judged",
        ),
    })
}

fn advise(finding: Diagnostic, help: &str) -> Diagnostic {
    let help = finding.help.as_ref().map_or(help.to_owned(), |hint| format!("{hint} Or {help}"));
    finding.help(help)
}

fn warn(finding: Diagnostic, help: &str) -> Diagnostic {
    Diagnostic { severity: Severity::Warning, ..advise(finding, help) }
}

/// Whether `text` is `path` or starts below it.
fn below(text: &str, path: &str) -> bool {
    text.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
