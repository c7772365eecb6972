//! From files to rules: everything is read, cross-checked and validated, or the source is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cordon_core::{ActionName, Class, ClassKind, Effect, ToolManifest};

use crate::bound;
use crate::cases::{self, Case};
use crate::cedar_text::NAMESPACE;
use crate::data::{self, Asserted, Directory};
use crate::declarers::{self, Declarers};
use crate::diagnostic::{Severity, nearest};
use crate::manifest;
use crate::principals::{self, Principals};
use crate::purposes::{self, Purposes};
use crate::rego::{self, Guards};
use crate::resources::{self, Resources};
use crate::risk::{self, RiskModel};
use crate::rows;
use crate::rule::{Body, Folder, PolicyFile, Rule};
use crate::schema::{Vocabulary, is_reserved_group};
use crate::source::FileKind;
use crate::threats::{self, Threats};
use crate::validate;
use crate::{Diagnostic, PolicySource};

/// Everything a source says, cross-checked.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) rules: Vec<Rule>,
    /// Claims about what the rules let through; no part of a decision.
    pub(crate) invariants: Vec<Rule>,
    pub(crate) guards: Guards,
    pub(crate) manifests: BTreeMap<ActionName, ToolManifest>,
    pub(crate) directory: Directory,
    pub(crate) asserted: Asserted,
    pub(crate) principals: Principals,
    pub(crate) purposes: Purposes,
    pub(crate) rows: rows::Declared,
    pub(crate) steps_max: u64,
    pub(crate) resources: Resources,
    pub(crate) declarers: Declarers,
    pub(crate) risk: RiskModel,
    pub(crate) threats: Option<Threats>,
    pub(crate) cases: Vec<Case>,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) warnings: Vec<Diagnostic>,
}

impl Checked {
    /// What remains when the invariants alone are judged.
    pub(crate) fn only_invariants(self) -> Self {
        let rules = self.invariants;
        Self { rules, invariants: Vec::new(), guards: Guards::default(), cases: Vec::new(), ..self }
    }
}

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
    reading.findings.extend(validate::findings(&reading));
    settle(&mut reading.findings)?;
    let guards = reading.compile_guards();
    settle(&mut reading.findings)?;
    Ok(Checked { guards, ..reading.checked() })
}

/// Reads a source as [`check`] does, and finds nothing wrong with names and types.
#[cfg(test)]
pub(crate) fn unchecked(source: &PolicySource) -> Result<Checked, Vec<Diagnostic>> {
    let mut reading = Reading { vocabulary: Vocabulary::base()?, ..Reading::default() };
    for (kind, path, text) in source.sorted()? {
        reading.file(kind, path, text)?;
    }
    Ok(reading.checked())
}

fn settle(findings: &mut Vec<Diagnostic>) -> Result<(), Vec<Diagnostic>> {
    match crate::diagnostic::settle(findings) {
        Severity::Error => Err(std::mem::take(findings)),
        Severity::Warning => Ok(()),
    }
}

#[derive(Debug, Default)]
pub(crate) struct Reading<'s> {
    pub(crate) files: Vec<PolicyFile<'s>>,
    guards: Vec<(&'s str, &'s str)>,
    pub(crate) manifests: BTreeMap<ActionName, (ToolManifest, &'s str)>,
    directory: Directory,
    asserted: Asserted,
    principals: Principals,
    purposes: Purposes,
    rows: rows::Declared,
    steps_max: Option<u64>,
    resources: Resources,
    declarers: Declarers,
    risk: RiskModel,
    threats: Option<Threats>,
    cases: Vec<Case>,
    pub(crate) vocabulary: Vocabulary,
    /// Parts of classes that are named anywhere.
    pub(crate) parts: BTreeSet<Box<str>>,
    /// Actions that policies name and nothing declares.
    pub(crate) undeclared: BTreeSet<Box<str>>,
    findings: Vec<Diagnostic>,
}

impl<'s> Reading<'s> {
    fn file(&mut self, kind: FileKind, path: &'s str, text: &'s str) -> Result<(), Vec<Diagnostic>> {
        match kind {
            FileKind::Permissions => self.files.push(PolicyFile::read(Folder::Permissions, path, text)?),
            FileKind::Obligations => self.files.push(PolicyFile::read(Folder::Obligations, path, text)?),
            FileKind::Invariants => self.files.push(PolicyFile::read(Folder::Invariants, path, text)?),
            FileKind::Guards => self.guards.push((path, text)),
            FileKind::Schema => self.vocabulary.extend(path, text)?,
            FileKind::Tools => self.tools(path, text)?,
            FileKind::Entities => self.directory = data::entities(path, text)?,
            FileKind::Asserted => self.asserted = data::asserted(path, text)?,
            FileKind::Principals => self.principals = principals::read(path, text)?,
            FileKind::Purposes => self.purposes = purposes::read(path, text)?,
            FileKind::Resources => self.resources = resources::read(path, text)?,
            FileKind::Declarers => self.declarers = declarers::read(path, text)?,
            FileKind::Rows => self.rows = rows::read(path, text)?,
            FileKind::Limits => self.steps_max = Some(bound::limits(path, text)?),
            FileKind::Risk => {
                let (model, warnings) = risk::read(path, text)?;
                self.risk = model;
                self.findings.extend(warnings);
            }
            FileKind::Threats => self.threats = Some(threats::read(path, text)?),
            FileKind::Tests => self.cases.extend(cases::read(path, text)?),
        }
        Ok(())
    }

    /// The guards, once the vocabulary is whole; none when they are refused.
    fn compile_guards(&mut self) -> Guards {
        match rego::compile(&self.guards, &self.vocabulary) {
            Ok((guards, warnings)) => {
                self.findings.extend(warnings);
                guards
            }
            Err(findings) => {
                self.findings.extend(findings);
                Guards::default()
            }
        }
    }

    /// What was read, without the guards; what was found is worth a warning at most.
    fn checked(self) -> Checked {
        let manifests = self.manifests.into_iter().map(|(name, (manifest, _))| (name, manifest));
        let (invariants, files): (Vec<_>, Vec<_>) =
            self.files.into_iter().partition(|file| file.folder == Folder::Invariants);
        let rules = |files: Vec<PolicyFile<'_>>| files.into_iter().flat_map(|file| file.rules).collect();
        Checked {
            guards: Guards::default(),
            rules: rules(files),
            invariants: rules(invariants),
            manifests: manifests.collect(),
            directory: self.directory,
            asserted: self.asserted,
            principals: self.principals,
            purposes: self.purposes,
            rows: self.rows,
            steps_max: self.steps_max.unwrap_or(bound::STEPS_MAX),
            resources: self.resources,
            declarers: self.declarers,
            risk: self.risk,
            threats: self.threats,
            cases: self.cases,
            vocabulary: self.vocabulary,
            warnings: self.findings,
        }
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
        let mut ids: BTreeMap<Arc<str>, Box<str>> = BTreeMap::new();
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
        findings.extend(rows::check(&self.rows, &self.vocabulary));
        self.findings.append(&mut findings);
        self.check_preconditions();
    }

    /// What has to be read before a call is a read of the same server that has to have nothing read.
    fn check_preconditions(&mut self) {
        for (name, (manifest, path)) in &self.manifests {
            for read in &manifest.preconditions {
                let problem = match self.manifests.get(&read.tool) {
                    _ if read.tool.server() != name.server() => "a tool of another server",
                    None => "a tool without a manifest",
                    Some((other, _)) if other.effect != Effect::Read => "a tool that does not only read",
                    Some((other, _)) if !other.preconditions.is_empty() => "a tool with preconditions",
                    Some(_) => continue,
                };
                let message =
                    format!("the precondition `{}` of `{name}` names `{}`, {problem}", read.name, read.tool);
                let help = "name a tool of the same server whose manifest has the effect `read` and no preconditions";
                self.findings.push(Diagnostic::error(path, message).help(help));
            }
        }
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
            let action = name.parse::<ActionName>();
            if &**name == "*" || action.as_ref().is_ok_and(|action| self.manifests.contains_key(action)) {
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
            if action.is_err() || (!name.contains('/') && (!exact || name.contains(':') || close.is_some())) {
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
