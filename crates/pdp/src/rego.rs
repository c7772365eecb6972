//! Guards: rules in Rego (`guards/*.rego`) that may deny and add obligations, and never permit.
//!
//! A guard is evaluated once for a request, over one document (`spec/rego-input.md`). What cannot be
//! evaluated denies, and so does a guard that reads a value which is not known.

mod builtin;
mod check;
mod dialect;
mod guards;
mod input;
mod machine;
mod obligation;
mod reads;
mod rule;
mod steps;
mod syntax;

pub use dialect::RegoVersion;
pub(crate) use guards::{GuardOutcome, Guards, Subject};
pub(crate) use rule::{GuardKind, GuardRule};

use input::Material;
use machine::Machine;
use reads::Library;
use rule::Definition;
use syntax::Node;

use cordon_core::RuleRef;
use serde_json::Value as Json;

use crate::Diagnostic;
use crate::schema::Vocabulary;

/// The package that guards are in.
pub(crate) const PACKAGE: &str = "cordon";

/// A guard file and the language it is written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardFile {
    /// The path of the file in the source.
    pub path: Box<str>,
    /// The language.
    pub version: RegoVersion,
    /// How many definitions of `deny` and `obligation` it has.
    pub rules: usize,
}

/// One file, read.
#[derive(Debug)]
struct File<'s> {
    path: &'s str,
    text: &'s str,
    parsed: dialect::Parsed,
}

/// Reads and checks the guard files; with what somebody should look at.
pub(crate) fn compile(
    files: &[(&str, &str)],
    vocabulary: &Vocabulary,
) -> Result<(Guards, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut findings = Vec::new();
    let mut read = Vec::new();
    for (path, text) in files {
        match dialect::parse(path, text) {
            Ok(parsed) => read.push(File { path, text, parsed }),
            Err(finding) => findings.push(*finding),
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let library = check::library(&read);
    let mut warnings = check::findings(&read, &library, vocabulary)?;
    let (mut guards, texts) = build(&read, &library)?;
    warnings.extend(check::unused(&read, &library, &guards.rules));
    guards.declared.types = vocabulary.attributes();
    guards.declared.asserted = vocabulary.asserted();
    let entry = guards.rules.first().map(|rule| rule.entry.to_string());
    let machine = Machine::new(&texts, entry.as_deref()).map_err(|error| vec![refused(&read, &error)])?;
    guards.machine = Some(machine);
    Ok((guards, warnings))
}

impl File<'_> {
    /// The rules of the file.
    fn rules(&self) -> impl Iterator<Item = Node<'_>> {
        let rules = self.module().and_then(|module| module.get("rules")).and_then(Json::as_array);
        rules.into_iter().flatten().filter_map(Node::of)
    }

    fn module(&self) -> Option<&Json> {
        self.parsed.tree.get(0)?.get("ast")
    }
}

type Texts<'s> = Vec<(&'s str, String, RegoVersion)>;

/// Gives every definition of `deny` and `obligation` a name of its own, so that each can be asked for.
fn build<'s>(files: &[File<'s>], library: &Library) -> Result<(Guards, Texts<'s>), Vec<Diagnostic>> {
    let mut guards = Guards::default();
    let mut texts = Vec::new();
    let mut findings = Vec::new();
    for file in files {
        let mut text = file.text.to_owned();
        let mut derived = String::new();
        let mut names = Vec::new();
        let last_line = u32::try_from(file.text.lines().count()).unwrap_or(u32::MAX);
        for definition in file.rules().filter_map(Definition::of).filter_map(Result::ok) {
            let entry = format!("{PACKAGE}__{}", guards.rules.len());
            let due_name = format!("{entry}_due");
            let due = definition.due(&due_name, file.parsed.version, file.text);
            match check::reads(file, &definition, library) {
                Err(finding) => findings.push(finding),
                Ok(reads) => {
                    guards.declared.read.extend(reads.members.iter().cloned());
                    guards.declared.paths.extend(reads.paths.iter().cloned());
                    let place = format!("{}:{}", file.path, definition.line);
                    guards.rules.push(GuardRule {
                        at: RuleRef { rule: place.into(), file: file.path.into(), line: definition.line },
                        kind: definition.kind,
                        last_line,
                        reads,
                        actions: definition.actions(),
                        entry: entry.as_str().into(),
                        due: due.is_some().then(|| due_name.into()),
                    });
                    names.push((definition.name.clone(), entry));
                    derived.push_str(&due.unwrap_or_default());
                }
            }
        }
        guards.files.push(GuardFile {
            path: file.path.into(),
            version: file.parsed.version,
            rules: names.len(),
        });
        for (span, name) in names.into_iter().rev() {
            if text.get(span.clone()).is_some() {
                text.replace_range(span, &name);
            }
        }
        text.push_str(&derived);
        texts.push((file.path, text, file.parsed.version));
    }
    if findings.is_empty() { Ok((guards, texts)) } else { Err(findings) }
}

/// What the engine has against the guards as a whole, at the file and line it names.
fn refused(files: &[File<'_>], error: &str) -> Diagnostic {
    let named = files.iter().find(|file| error.contains(&format!("--> {}:", file.path)));
    match named.or(files.first()) {
        Some(file) => dialect::finding(file.path, file.text, error),
        None => Diagnostic::error("", error),
    }
}
