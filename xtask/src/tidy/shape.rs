//! Files and functions stay small; what is already too long may only shrink.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Block, Item, Signature};

use super::source::{Part, Source, attributes, is_test_only};
use super::tree::CONFIG_PATH;
use super::{Config, Finding, Giant, Tree};

/// Most lines of a source file.
const FILE_LINES_MAX: usize = 900;

/// Most lines of a function, from its signature to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Kinds of file that people read from top to bottom.
const READ_BY_PEOPLE: [&str; 5] = [".rs", ".py", ".mjs", ".cedar", ".sh"];

pub(super) fn check(tree: &Tree, sources: &[Source<'_>], config: &Config) -> Vec<Finding> {
    let mut findings = files(tree, &config.files);
    findings.extend(functions(sources, &config.functions));
    findings
}

fn files(tree: &Tree, giants: &[Giant]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = vec![false; giants.len()];
    for (path, text) in &tree.files {
        if !READ_BY_PEOPLE.iter().any(|ending| path.ends_with(ending)) {
            continue;
        }
        let lines = text.lines().count();
        let giant = giants.iter().position(|giant| giant.path == *path);
        if let Some(seen) = giant.and_then(|index| seen.get_mut(index)) {
            *seen = true;
        }
        let giant = giant.and_then(|index| giants.get(index));
        let subject = format!("`{path}`");
        findings.extend(judge(&Measured { path, line: 1, subject, lines, max: FILE_LINES_MAX }, giant));
    }
    findings.extend(unseen(giants, &seen));
    findings
}

fn functions(sources: &[Source<'_>], giants: &[Giant]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = vec![false; giants.len()];
    for source in sources.iter().filter(|source| source.part == Part::Shipped) {
        let mut visitor = Functions::default();
        visitor.visit_file(&source.syntax);
        for Function { name, line, lines } in visitor.found {
            let giant = giants.iter().position(|giant| giant.path == source.path && giant.name == name);
            if let Some(seen) = giant.and_then(|index| seen.get_mut(index)) {
                *seen = true;
            }
            let giant = giant.and_then(|index| giants.get(index));
            let subject = format!("function `{name}`");
            let measured = Measured { path: source.path, line, subject, lines, max: FUNCTION_LINES_MAX };
            findings.extend(judge(&measured, giant));
        }
    }
    findings.extend(unseen(giants, &seen));
    findings
}

struct Measured<'a> {
    path: &'a str,
    line: usize,
    subject: String,
    lines: usize,
    max: usize,
}

fn judge(measured: &Measured<'_>, giant: Option<&Giant>) -> Option<Finding> {
    let Measured { path, line, subject, lines, max } = measured;
    match giant {
        Some(giant) if *lines <= *max => {
            let message =
                format!("{subject} has {lines} lines and needs no allowance of {}", giant.lines_max);
            Some(Finding::new(path, *line, message, format!("remove its entry from {CONFIG_PATH}")))
        }
        Some(giant) if *lines > giant.lines_max => {
            let message = format!("{subject} grew to {lines} lines; it may have {}", giant.lines_max);
            Some(Finding::new(path, *line, message, "split it; an allowance only shrinks"))
        }
        None if *lines > *max => {
            let message = format!("{subject} has {lines} lines, the limit is {max}");
            Some(Finding::new(path, *line, message, "find the second noun and give it its own place"))
        }
        _ => None,
    }
}

fn unseen<'a>(giants: &'a [Giant], seen: &'a [bool]) -> impl Iterator<Item = Finding> + 'a {
    giants.iter().zip(seen).filter(|(_, seen)| !**seen).map(|(giant, _)| {
        let message = format!("`{}` `{}` has an allowance and is not there", giant.path, giant.name);
        Finding::new(CONFIG_PATH, 1, message, "remove the entry")
    })
}

#[derive(Default)]
struct Functions {
    found: Vec<Function>,
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

impl Functions {
    fn measure(&mut self, signature: &Signature, block: &Block) {
        let line = signature.span().start().line;
        let end = block.brace_token.span.close().end().line;
        let lines = end.saturating_sub(line).saturating_add(1);
        self.found.push(Function { name: signature.ident.to_string(), line, lines });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test_only(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.measure(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}
