//! What is refused in guard files before anything is evaluated, and what is worth a look.

use std::collections::BTreeSet;
use std::ops::Range;

use cordon_core::ObligationKind;
use serde_json::Value as Json;

use super::builtin;
use super::input::{CONTEXT, MEMBERS};
use super::reads::{CHAIN_MAX, Library, Reads, Tangle, function_name};
use super::rule::{Definition, GuardKind, GuardRule};
use super::syntax::{Inside, Node, span, walk};
use super::{File, PACKAGE};
use crate::Diagnostic;
use crate::diagnostic::nearest;
use crate::schema::Vocabulary;

/// Most conditions in one body: evaluating them nests.
const CONDITIONS_MAX: usize = 64;
/// Most conditions in a rule together with the rules it reads.
const CONDITIONS_TOTAL_MAX: u32 = 256;
/// How often the values that one rule makes may double.
const GROWTH_MAX: u32 = 16;

/// Every rule of all files.
pub(super) fn library(files: &[File<'_>]) -> Library {
    let mut library = Library::default();
    for file in files {
        for rule in file.rules() {
            if let Some(name) = rule_name(rule).filter(|name| GuardKind::of(name).is_none()) {
                library.add(name, &reads_of(rule));
            }
        }
    }
    library
}

/// What one guard rule reads, with the rules it names; refused where it could not be bounded.
pub(super) fn reads(
    file: &File<'_>,
    definition: &Definition<'_>,
    library: &Library,
) -> Result<Reads, Diagnostic> {
    let refuse = |message: String, help: &str| {
        Err(Diagnostic::error(file.path, message).at(file.text, definition.place()).help(help))
    };
    let reads = match library.closure(&reads_of(definition.rule)) {
        Ok(reads) => reads,
        Err(Tangle::Cycle(name)) => {
            return refuse(
                format!("the rule `{name}` is read by itself"),
                "a rule cannot depend on itself; give variables other names than rules",
            );
        }
        Err(Tangle::Deep(name)) => {
            return refuse(
                format!("`{name}` is the end of more than {CHAIN_MAX} rules that read each other"),
                "write some of them in one",
            );
        }
    };
    if let Some(name) = ["deny", "obligation"].into_iter().find(|name| reads.names.contains_key(*name)) {
        return refuse(format!("`{name}` cannot be read by a rule"), "give what both need a rule of its own");
    }
    if reads.conditions > CONDITIONS_TOTAL_MAX {
        let message = format!(
            "the rule has {} conditions with the rules it reads, at most {CONDITIONS_TOTAL_MAX} are accepted",
            reads.conditions
        );
        return refuse(message, "split the rule");
    }
    if reads.growth > GROWTH_MAX {
        let message = format!(
            "the values of this rule could double {} times, at most {GROWTH_MAX} are accepted",
            reads.growth
        );
        return refuse(message, "split the rule");
    }
    Ok(reads)
}

/// Everything that refuses the files, or else what somebody should look at.
pub(super) fn findings(
    files: &[File<'_>],
    library: &Library,
    vocabulary: &Vocabulary,
) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    let mut all =
        Checks { library, attributes: attributes(vocabulary), errors: Vec::new(), warnings: Vec::new() };
    for file in files {
        all.file(file);
    }
    all.wholes_and_parts(files);
    if all.errors.is_empty() { Ok(all.warnings) } else { Err(all.errors) }
}

/// Rules that no guard reads.
pub(super) fn unused(files: &[File<'_>], library: &Library, rules: &[GuardRule]) -> Vec<Diagnostic> {
    let used: BTreeSet<&str> =
        rules.iter().flat_map(|rule| rule.reads.names.keys()).map(|name| &**name).collect();
    let mut findings = Vec::new();
    for name in library.names().filter(|name| !used.contains(name)) {
        let mut places = files.iter().flat_map(|file| file.rules().map(move |rule| (file, rule)));
        if let Some((file, rule)) = places.find(|(_, rule)| rule_name(*rule) == Some(name)) {
            let message = format!("no `deny` and no `obligation` reads the rule `{name}`");
            let finding = Diagnostic::warning(file.path, message).at(file.text, rule.span());
            findings.push(match nearest(name, ["deny", "obligation"]) {
                Some(close) => finding.help(format!("did you mean `{close}`?")),
                None => finding,
            });
        }
    }
    findings
}

struct Checks<'c> {
    library: &'c Library,
    attributes: BTreeSet<Box<str>>,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl Checks<'_> {
    fn file(&mut self, file: &File<'_>) {
        let Some(module) = file.module() else {
            self.errors.push(Diagnostic::error(file.path, "the file could not be read"));
            return;
        };
        let package = module.get("package").and_then(|package| package.get("refr")).and_then(Node::of);
        if package.and_then(|package| package.variable()) != Some(PACKAGE) {
            let place = package.map(|package| package.span()).unwrap_or_default();
            self.refuse(file, place, "guards are in the package `cordon`", "write `package cordon`");
        }
        for import in module.get("imports").and_then(Json::as_array).into_iter().flatten() {
            self.import(file, import);
        }
        for rule in file.rules() {
            self.rule(file, rule);
        }
        let mut withs = Vec::new();
        find_withs(module, &mut withs);
        for place in withs {
            self.refuse(
                file,
                place,
                "`with` is not supported",
                "a guard reads the input as it is; try it with tests/*.toml",
            );
        }
        if let Some(rules) = module.get("rules") {
            walk(rules, &mut |node| self.node(file, node));
            self.long_bodies(file, rules);
        }
    }

    fn refuse(
        &mut self,
        file: &File<'_>,
        place: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let finding = Diagnostic::error(file.path, message.into()).at(file.text, place);
        self.errors.push(finding.help(help.into()));
    }

    fn import(&mut self, file: &File<'_>, import: &Json) {
        let refr = import.get("refr").and_then(Node::of);
        let name = refr.map(function_name).unwrap_or_default();
        let known = name == "rego.v1" || name == "future.keywords" || name.starts_with("future.keywords.");
        if !known || import.get("as").is_some_and(|alias| !alias.is_null()) {
            let place = import.get("span").map(span).unwrap_or_default();
            self.refuse(
                file,
                place,
                format!("`{name}` cannot be imported"),
                "only `rego.v1` and `future.keywords` can",
            );
        }
    }

    fn rule(&mut self, file: &File<'_>, rule: Node<'_>) {
        match Definition::of(rule) {
            Some(Ok(definition)) => {
                if definition.kind == GuardKind::Oblige {
                    self.obligation(file, rule);
                }
                return;
            }
            Some(Err(shape)) => {
                return self.refuse(file, rule.span(), "the rule does not define a set of values", shape);
            }
            None => {}
        }
        let name = rule_name(rule).unwrap_or_default();
        if matches!(name, "allow" | "permit" | "input" | "data") {
            let help = "guards can only deny and add obligations; permissions are in permissions/*.cedar";
            self.refuse(file, rule.span(), format!("a guard cannot define `{name}`"), help);
        } else if name.starts_with("cordon__")
            || builtin::names().any(|known| known.split('.').next() == Some(name))
        {
            self.refuse(file, rule.span(), format!("the name `{name}` is taken"), "choose another");
        }
    }

    /// The type of an obligation that is written out is one of the vocabulary.
    fn obligation(&mut self, file: &File<'_>, rule: Node<'_>) {
        let mut found = Vec::new();
        let mut see = |node: Node<'_>| {
            for field in node.list("fields").iter().filter(|_| node.kind == "Object") {
                let part = |place: usize| field.get(place).and_then(Node::of);
                let kind = part(2).filter(|_| part(1).and_then(|name| name.string()) == Some("type"));
                if let Some((kind, text)) = kind.and_then(|kind| Some((kind, kind.string()?)))
                    && !ObligationKind::NAMES.contains(&text)
                {
                    found.push((kind.span(), text.to_owned()));
                }
            }
            Inside::Look
        };
        for part in ["head", "bodies"].iter().filter_map(|name| rule.part(name)) {
            walk(part, &mut see);
        }
        for (place, text) in found {
            let hint = nearest(&text, ObligationKind::NAMES.iter().copied()).map_or_else(
                || format!("expected one of `{}`", ObligationKind::NAMES.join("`, `")),
                |close| format!("did you mean `{close}`?"),
            );
            self.refuse(file, place, format!("`{text}` is not an obligation"), hint);
        }
    }

    fn node(&mut self, file: &File<'_>, node: Node<'_>) -> Inside {
        match node.kind {
            "Call" => self.call(file, node),
            "Var" if node.variable() == Some("data") => {
                let help = "guards have no data; rules of the package are named without `data.cordon`";
                self.refuse(file, node.span(), "`data` cannot be read", help);
            }
            "RefDot" | "RefBrack" => {
                if let Some(chain) = node.chain().filter(|chain| chain.root.variable() == Some("input")) {
                    self.input(file, node.span(), &chain.path);
                    for index in chain.indices {
                        walk(index, &mut |node| self.node(file, node));
                    }
                    return Inside::Skip;
                }
            }
            _ => {}
        }
        Inside::Look
    }

    fn call(&mut self, file: &File<'_>, node: Node<'_>) {
        let Some(function) = node.node("fcn") else { return };
        let name = function_name(function);
        if self.library.has(&name) {
            return;
        }
        if !builtin::is_known(&name) {
            let own: Vec<&str> = self.library.names().collect();
            let close = nearest(&name, builtin::names()).or_else(|| nearest(&name, own));
            let help = match close {
                Some(close) => format!("did you mean `{close}`?"),
                None => "the functions that guards can call are listed in spec/rego-input.md".to_owned(),
            };
            return self.refuse(
                file,
                function.span(),
                format!("the function `{name}` cannot be called"),
                help,
            );
        }
        let pattern = node.list("params").first().and_then(Node::of);
        if name == "regex.match" && pattern.and_then(|pattern| pattern.string()).is_none() {
            let help = "a pattern from the input could be anything; compare text with `startswith`, `contains` or `==`";
            self.refuse(file, function.span(), "the pattern is not written out", help);
        }
    }

    /// Members of the input that are not there, and attributes that nobody declares.
    fn input(&mut self, file: &File<'_>, place: Range<usize>, path: &[Box<str>]) {
        let Some(first) = path.first() else { return };
        let mut unknown = |name: &str, below: &str, known: Vec<&'static str>| {
            let help = match nearest(name, known.iter().copied()) {
                Some(close) => format!("did you mean `{close}`?"),
                None => format!("it has `{}`", known.join("`, `")),
            };
            self.errors.push(
                Diagnostic::error(file.path, format!("`{below}` has no member `{name}`"))
                    .at(file.text, place.clone())
                    .help(help),
            );
        };
        if !MEMBERS.contains(&&**first) {
            return unknown(first, "input", MEMBERS.to_vec());
        }
        let Some(second) = path.get(1) else { return };
        if &**first == "context" {
            match CONTEXT.iter().find(|(name, _)| *name == &**second) {
                None => unknown(second, "input.context", CONTEXT.iter().map(|(name, _)| *name).collect()),
                Some((name, members)) if !members.is_empty() => {
                    if let Some(third) = path.get(2).filter(|third| !members.contains(&&***third)) {
                        unknown(third, &format!("input.context.{name}"), members.to_vec());
                    }
                }
                Some(_) => {}
            }
            return;
        }
        let entity = matches!(&**first, "agent" | "user" | "owner" | "resource");
        if entity && !self.attributes.contains(second) && !matches!(&**second, "id" | "type" | "teams") {
            let message = format!("no schema declares the attribute `{second}`");
            let finding = Diagnostic::warning(file.path, message).at(file.text, place);
            let close = nearest(second, self.attributes.iter().map(|name| &**name));
            let close = close.map(|close| format!("did you mean `{close}`? ")).unwrap_or_default();
            let help = "Where nobody says it, it is null; declare it in schema/*.cedarschema";
            self.warnings.push(finding.help(format!("{close}{help}")));
        }
    }

    fn long_bodies(&mut self, file: &File<'_>, json: &Json) {
        match json {
            Json::Array(items) => items.iter().for_each(|item| self.long_bodies(file, item)),
            Json::Object(members) => {
                let conditions = members.get("stmts").and_then(Json::as_array).map_or(0, Vec::len);
                if conditions > CONDITIONS_MAX {
                    let place = members.get("span").map(span).unwrap_or_default();
                    let message =
                        format!("a body has {conditions} conditions, at most {CONDITIONS_MAX} are accepted");
                    self.refuse(file, place, message, "split the rule");
                }
                members.values().for_each(|part| self.long_bodies(file, part));
            }
            _ => {}
        }
    }

    /// An absent value is `null` where it is read whole, and an object of nulls where it is read in
    /// part: a guard that did both could not tell what is there.
    fn wholes_and_parts(&mut self, files: &[File<'_>]) {
        let mut all = Reads::default();
        for file in files {
            file.module().into_iter().for_each(|module| all.add(module));
        }
        for whole in all.wholes.iter().filter(|whole| is_open(whole)) {
            let part = all.paths.iter().find(|path| path.len() > whole.len() && path.starts_with(whole));
            let Some(part) = part else { continue };
            let (whole, part) = (whole.join("."), part.join("."));
            let file = files.iter().find(|file| file.text.contains(&format!("input.{whole}")));
            let Some(file) = file.or(files.first()) else { continue };
            let at = file.text.find(&format!("input.{whole}")).unwrap_or_default();
            let message = format!("`input.{whole}` is read as a whole, and `input.{part}` is part of it");
            let place = at..at.saturating_add(whole.len()).saturating_add(6);
            self.refuse(
                file,
                place,
                message,
                "read its parts only: an absent part is null, whatever it is part of",
            );
        }
    }
}

/// Whether a value at `path` can be absent.
fn is_open(path: &[Box<str>]) -> bool {
    match path.first().map(|first| &**first) {
        Some("context") => path.len() > 2,
        Some(_) => path.len() > 1,
        None => false,
    }
}

fn attributes(vocabulary: &Vocabulary) -> BTreeSet<Box<str>> {
    vocabulary.attributes().into_values().flatten().collect()
}

/// The first part of a rule's name.
fn rule_name(rule: Node<'_>) -> Option<&str> {
    let refr = match rule.kind {
        "Default" => rule.node("refr")?,
        _ => rule.node("head")?.node("refr")?,
    };
    refr.chain().map_or(refr, |chain| chain.root).variable()
}

/// What a rule reads, without its own name.
fn reads_of(rule: Node<'_>) -> Reads {
    let mut reads = Reads::default();
    if let Some(head) = rule.node("head") {
        ["key", "args", "assign"].iter().filter_map(|name| head.part(name)).for_each(|part| reads.add(part));
    }
    ["bodies", "args", "value"].iter().filter_map(|name| rule.part(name)).for_each(|part| reads.add(part));
    reads
}

fn find_withs(json: &Json, found: &mut Vec<Range<usize>>) {
    match json {
        Json::Array(items) => items.iter().for_each(|item| find_withs(item, found)),
        Json::Object(members) => {
            let withs = members.get("with_mods").and_then(Json::as_array);
            found.extend(withs.into_iter().flatten().filter_map(|one| one.get("span")).map(span));
            members.values().for_each(|part| find_withs(part, found));
        }
        _ => {}
    }
}
