//! From files to rules: everything is read, cross-checked and validated, or the source is refused.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{ValidationError, ValidationMode, Validator};
use cordon_core::{ActionName, Class, ClassKind, Effect, ToolManifest};
use miette::Diagnostic as _;

use crate::argument::ArgType;
use crate::cases::{self, Case};
use crate::cedar_text::NAMESPACE;
use crate::data::{self, Asserted, Directory};
use crate::diagnostic::{Severity, nearest};
use crate::manifest;
use crate::rule::{Body, Folder, PolicyFile, Rule, engine_finding};
use crate::schema::{SchemaAction, Vocabulary, is_reserved_group, tool_resources};
use crate::source::FileKind;
use crate::tree::{self, Reader};
use crate::{Diagnostic, PolicySource};

/// Everything a source says, cross-checked.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) rules: Vec<Rule>,
    pub(crate) manifests: BTreeMap<ActionName, ToolManifest>,
    pub(crate) directory: Directory,
    pub(crate) asserted: Asserted,
    pub(crate) cases: Vec<Case>,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// The name that stands for every action that nobody declared, in validation only.
pub(crate) const ANY_ACTION: &str = "cordon/any";

/// Reads and checks a source; the findings are in order of place.
pub(crate) fn check(source: &PolicySource) -> Result<Checked, Vec<Diagnostic>> {
    let mut reading = Reading { vocabulary: Vocabulary::base()?, ..Reading::default() };
    for (kind, path, text) in source.sorted()? {
        if let Err(found) = reading.file(kind, path, text) {
            reading.findings.extend(found);
        }
    }
    reading.cross_check();
    settle(&mut reading.findings)?;
    reading.validate();
    settle(&mut reading.findings)?;
    let Reading { files, manifests, directory, asserted, cases, vocabulary, findings, .. } = reading;
    let rules = files.into_iter().flat_map(|file| file.rules).collect();
    let manifests = manifests.into_iter().map(|(name, (manifest, _))| (name, manifest)).collect();
    Ok(Checked { rules, manifests, directory, asserted, cases, vocabulary, warnings: findings })
}

fn settle(findings: &mut Vec<Diagnostic>) -> Result<(), Vec<Diagnostic>> {
    match crate::diagnostic::settle(findings) {
        Severity::Error => Err(std::mem::take(findings)),
        Severity::Warning => Ok(()),
    }
}

#[derive(Debug, Default)]
struct Reading<'s> {
    files: Vec<PolicyFile<'s>>,
    manifests: BTreeMap<ActionName, (ToolManifest, &'s str)>,
    directory: Directory,
    asserted: Asserted,
    cases: Vec<Case>,
    vocabulary: Vocabulary,
    /// Parts of classes that are named anywhere.
    parts: BTreeSet<Box<str>>,
    /// Actions that policies name and nothing declares.
    undeclared: BTreeSet<Box<str>>,
    findings: Vec<Diagnostic>,
}

impl<'s> Reading<'s> {
    fn file(&mut self, kind: FileKind, path: &'s str, text: &'s str) -> Result<(), Vec<Diagnostic>> {
        match kind {
            FileKind::Permissions => self.files.push(PolicyFile::read(Folder::Permissions, path, text)?),
            FileKind::Obligations => self.files.push(PolicyFile::read(Folder::Obligations, path, text)?),
            FileKind::Schema => self.vocabulary.extend(path, text)?,
            FileKind::Tools => self.tools(path, text)?,
            FileKind::Entities => self.directory = data::entities(path, text)?,
            FileKind::Asserted => self.asserted = data::asserted(path, text)?,
            FileKind::Risk => risk(path, text)?,
            FileKind::Tests => self.cases.extend(cases::read(path, text)?),
        }
        Ok(())
    }

    fn tools(&mut self, path: &'s str, text: &'s str) -> Result<(), Vec<Diagnostic>> {
        let mut findings = Vec::new();
        for (manifest, span) in manifest::located(path, text)? {
            self.parts.extend(
                manifest.classes.iter().filter(|class| class.part().is_some()).map(|c| c.to_string().into()),
            );
            let name = manifest.tool.clone();
            if let Some((_, other)) = self.manifests.get(&name) {
                let message = format!("`{name}` has a manifest in `{other}` already");
                findings.push(Diagnostic::error(path, message).at(text, span));
            } else {
                self.manifests.insert(name, (manifest, path));
            }
        }
        if findings.is_empty() { Ok(()) } else { Err(findings) }
    }

    /// Names: every action, group and type that is used is known; every `@id` is used once.
    fn cross_check(&mut self) {
        let mut findings = Vec::new();
        let mut ids: BTreeMap<Box<str>, Box<str>> = BTreeMap::new();
        let mut bare: BTreeSet<Box<str>> = BTreeSet::new();
        for file in &self.files {
            for (index, rule) in file.rules.iter().enumerate() {
                let here: Box<str> = format!("{}:{}", rule.at.file, rule.at.line).into();
                if let Some(other) = ids.insert(rule.at.rule.clone(), here) {
                    let message = format!("`@id(\"{}\")` is used at {other}, too", rule.at.rule);
                    findings.push(file.finding(Severity::Error, index, "", message));
                }
                self.check_types(file, index, rule, &mut bare, &mut findings);
            }
        }
        for name in &bare {
            self.vocabulary.add_bare_type(name);
        }
        let files = std::mem::take(&mut self.files);
        for file in &files {
            for (index, rule) in file.rules.iter().enumerate() {
                self.check_actions(file, index, rule, &mut findings);
            }
        }
        self.files = files;
        for (name, (_, path)) in &self.manifests {
            if self.vocabulary.actions.contains_key(name.as_str()) {
                let message = format!("`{name}` is declared by the bundle's schema, too");
                findings.push(Diagnostic::error(path, message).help("remove it from schema/*.cedarschema"));
            }
        }
        self.findings.append(&mut findings);
    }

    fn check_types(
        &self,
        file: &PolicyFile<'_>,
        index: usize,
        rule: &Rule,
        bare: &mut BTreeSet<Box<str>>,
        findings: &mut Vec<Diagnostic>,
    ) {
        let prefix = format!("{NAMESPACE}::");
        let resources = rule.resource_types.iter().map(|name| (name, true));
        let others = rule.principal_types.iter().chain(&rule.mentions.types).map(|name| (name, false));
        for (whole, about_resource) in resources.chain(others) {
            let Some(name) = whole.strip_prefix(&prefix) else {
                let message = format!("`{whole}` is not a type of the namespace `{NAMESPACE}`");
                findings.push(file.finding(Severity::Error, index, whole, message));
                continue;
            };
            if name == "Action" || self.vocabulary.has_type(name) {
                continue;
            }
            // A permission about things of a type nobody declared can only fail to match.
            let harmless = about_resource && rule.body == Body::Permission && !self.vocabulary.extended;
            let severity = if harmless { Severity::Warning } else { Severity::Error };
            let help = match nearest(name, self.vocabulary.types()) {
                Some(close) => {
                    format!("did you mean `{close}`? Types of your own are declared in schema/*.cedarschema")
                }
                None => "declare it in schema/*.cedarschema".to_owned(),
            };
            let message = format!("the type `{name}` is not declared");
            findings.push(file.finding(severity, index, name, message).help(help));
            bare.insert(name.into());
        }
    }

    fn check_actions(
        &mut self,
        file: &PolicyFile<'_>,
        index: usize,
        rule: &Rule,
        findings: &mut Vec<Diagnostic>,
    ) {
        let scope = rule.actions.iter().flatten().map(|name| (name, rule.exact));
        let groups = rule.mentions.groups.iter().map(|name| (name, false));
        let named = rule.mentions.actions.iter().map(|name| (name, true));
        for (name, exact) in scope.chain(groups).chain(named) {
            if &**name == "*" || self.manifests.keys().any(|have| have.as_str() == &**name) {
                continue;
            }
            if is_reserved_group(name) {
                let in_group = rule.mentions.groups.contains(name);
                if let Err((message, help)) = self.check_group(name, exact && !in_group) {
                    findings.push(file.finding(Severity::Error, index, name, message).help(help));
                }
                continue;
            }
            if self.vocabulary.actions.contains_key(name) {
                continue;
            }
            let classes = ClassKind::ALL.iter().map(|kind| kind.as_str());
            let close = nearest(name, classes.chain(["effect:read", "effect:write", "effect:irreversible"]));
            let is_name = name.parse::<ActionName>().is_ok();
            if !is_name || (!name.contains('/') && (!exact || name.contains(':') || close.is_some())) {
                let message = format!("`{name}` is neither a capability class nor an effect nor an action");
                let help = close.map_or_else(
                    || "actions are named `server/tool`; groups of your own are declared in schema/*.cedarschema".to_owned(),
                    |close| format!("did you mean `{close}`?"),
                );
                findings.push(file.finding(Severity::Error, index, name, message).help(help));
                continue;
            }
            if !name.starts_with("mcp/") {
                let message = format!("the action `{name}` has no manifest");
                let help = "without one it counts as every class and as irreversible; `cordon tools import` writes one";
                findings.push(file.finding(Severity::Warning, index, name, message).help(help));
            }
            self.undeclared.insert(name.clone());
        }
    }

    fn check_group(&mut self, name: &str, exact: bool) -> Result<(), (String, String)> {
        if let Some(effect) = name.strip_prefix("effect:") {
            effect
                .parse::<Effect>()
                .map_err(|error| (error.to_string(), "write `effect:write`, for example".to_owned()))?;
        } else if name.parse::<Class>().is_ok_and(|class| class.part().is_some()) {
            self.parts.insert(name.into());
        }
        match exact {
            true => Err((
                format!("`{name}` is a group of actions, which no action is equal to"),
                format!("write `action in Action::\"{name}\"`"),
            )),
            false => Ok(()),
        }
    }
}

/// `risk.toml` is kept for later: nothing in it is understood by this version.
fn risk(path: &str, text: &str) -> Result<(), Vec<Diagnostic>> {
    let root = tree::from_toml(path, text).map_err(|finding| vec![*finding])?;
    let mut reader = Reader::new(path, text);
    for (name, _) in reader.table("the file", &root).unwrap_or_default() {
        let help = "risk weights are not supported by this version; leave the file empty or remove it";
        reader.refuse_help(&name.span.clone(), format!("unknown field `{}`", name.text), help);
    }
    if reader.findings.is_empty() { Ok(()) } else { Err(reader.findings) }
}

/// Which accesses to `context.args` a validation pass lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arguments {
    /// Typed by the manifests: an access that they do not know is an error.
    Typed,
    /// Not, or not wholly, typed: worth a warning.
    Open,
    /// Of actions that nobody knows.
    Anything,
}

impl Reading<'_> {
    /// Type-checks every policy against every kind of request it could meet.
    fn validate(&mut self) {
        match self.passes() {
            Ok(passes) => {
                let findings = self.run(&passes);
                self.findings.extend(findings);
            }
            Err(message) => {
                let path = if self.vocabulary.extended { "schema/" } else { "spec/cordon.cedarschema" };
                self.findings.push(Diagnostic::error(path, message.replace(&format!("{NAMESPACE}::"), "")));
            }
        }
    }

    fn passes(&self) -> Result<Vec<(Arguments, Validator)>, String> {
        let mut typed: Vec<(&str, SchemaAction)> = Vec::new();
        let mut open: Vec<(&str, SchemaAction)> = Vec::new();
        let mut seen = BTreeSet::new();
        let named = self.named();
        for (name, (manifest, _)) in &self.manifests {
            let args = ArgType::of_input(manifest.input_schema.as_deref());
            let mut groups: BTreeSet<Box<str>> =
                manifest.classes.iter().map(|class| class.to_string().into()).collect();
            groups.insert(format!("effect:{}", manifest.effect).into());
            let action = SchemaAction { groups, resources: tool_resources(), args };
            // Tools that no policy names and that look alike need to be checked once.
            if named.contains(name.as_str()) || seen.insert(action.clone()) {
                let list = if action.args.is_open() { &mut open } else { &mut typed };
                list.push((name.as_str(), action));
            }
        }
        let resources = self.vocabulary.resources();
        let bare = SchemaAction { groups: BTreeSet::new(), resources, args: ArgType::Open };
        open.extend(self.undeclared.iter().map(|name| (&**name, bare.clone())));
        let own = self.vocabulary.actions.iter();
        open.extend(own.map(|(name, own)| (&**name, self.vocabulary.own_action(own))));
        let mut groups: BTreeSet<Box<str>> = ClassKind::ALL.iter().map(|kind| kind.as_str().into()).collect();
        groups.extend(Effect::ALL.iter().map(|effect| format!("effect:{effect}").into()));
        groups.extend(self.parts.iter().cloned());
        let any = vec![(ANY_ACTION, SchemaAction { groups, ..bare })];
        let names: Vec<&str> = typed.iter().chain(&open).map(|(name, _)| *name).collect();
        let build = |live: Vec<(&str, SchemaAction)>| {
            self.vocabulary.schema(live, names.iter().copied(), &self.parts).map(Validator::new)
        };
        Ok(vec![
            (Arguments::Typed, build(typed)?),
            (Arguments::Open, build(open)?),
            (Arguments::Anything, build(any)?),
        ])
    }

    fn named(&self) -> BTreeSet<&str> {
        let rules = self.files.iter().flat_map(|file| &file.rules);
        rules
            .flat_map(|rule| {
                let scope = rule.actions.iter().flatten();
                scope.chain(&rule.mentions.groups).chain(&rule.mentions.actions).map(|name| &**name)
            })
            .collect()
    }

    fn run(&self, passes: &[(Arguments, Validator)]) -> Vec<Diagnostic> {
        let mut findings = Vec::new();
        for file in &self.files {
            let mut never: BTreeMap<Diagnostic, usize> = BTreeMap::new();
            for (arguments, validator) in passes {
                let result = validator.validate(&file.set, ValidationMode::Strict);
                let errors = result.validation_errors();
                findings.extend(errors.filter_map(|error| self.type_error(file, *arguments, error)));
                for warning in result.validation_warnings() {
                    let finding =
                        engine_finding(file.path, file.source, &file.cedar, Severity::Warning, warning);
                    let count = never.entry(finding).or_default();
                    *count = count.saturating_add(1);
                }
            }
            // A policy that one kind of request can never meet may be meant for another kind.
            let all = never.into_iter().filter(|(_, count)| *count == passes.len());
            findings.extend(all.map(|(finding, _)| finding));
        }
        findings
    }

    /// A type error, unless it is one that can only deny when it happens.
    fn type_error(
        &self,
        file: &PolicyFile<'_>,
        arguments: Arguments,
        error: &ValidationError,
    ) -> Option<Diagnostic> {
        let finding = engine_finding(file.path, file.source, &file.cedar, Severity::Error, error);
        if !matches!(error, ValidationError::UnsafeAttributeAccess(_)) {
            return Some(finding);
        }
        let label = error.labels().and_then(|mut labels| labels.next())?;
        let end = label.offset().saturating_add(label.len());
        let text = file.cedar.part(label.offset()..end);
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let text = text.replace("[\"", ".").replace("\"]", "");
        let advise = |finding: Diagnostic, help: &str| {
            let help = finding.help.as_ref().map_or(help.to_owned(), |hint| format!("{hint} Or {help}"));
            finding.help(help)
        };
        let warn = |finding: Diagnostic, help: &str| {
            Some(Diagnostic { severity: Severity::Warning, ..advise(finding, help) })
        };
        if below(&text, "context.args") {
            return match arguments {
                Arguments::Typed => {
                    Some(advise(finding, "declare it in the `input_schema` of the tool's manifest"))
                }
                Arguments::Open => warn(
                    finding,
                    "nothing types this argument: a call without it, or with another type, is an error of the rule",
                ),
                Arguments::Anything => None,
            };
        }
        if below(&text, "context.asserted") && !self.vocabulary.extended {
            return warn(finding, "declare it in schema/*.cedarschema (`type Asserted = { … };`)");
        }
        if below(&text, "context") || self.vocabulary.extended {
            let help = match below(&text, "context") {
                true => "the members of `context` are listed in spec/cordon.cedarschema",
                false => "declare the attribute in schema/*.cedarschema, or ask with `has` first",
            };
            return Some(advise(finding, help));
        }
        warn(
            finding,
            "declare the attribute in schema/*.cedarschema; where it is missing the rule cannot be judged",
        )
    }
}

/// Whether `text` is `path` or starts below it.
fn below(text: &str, path: &str) -> bool {
    text.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
