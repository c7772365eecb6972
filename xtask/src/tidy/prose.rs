//! What is promised in prose exists, and nothing unfinished or private is written down.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Item, LitStr, Meta};

use super::source::{Part, Source, attributes, is_test_only};
use super::tree::line_at;
use super::{Finding, Tree};

/// The map of the code; each crate has its line in it.
const MAP: &str = "ARCHITECTURE.md";

/// Where each error code has its page.
const ERROR_PAGES: &str = "docs/errors/";

/// Names of standards that look like error codes.
const NOT_CODES: [&str; 7] = ["SHA", "AES", "RFC", "ISO", "UTF", "HMAC", "CVE"];

/// Words of unfinished work, written in halves so that this file does not contain them.
const UNFINISHED: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
];

/// Directories of other people's machines and of the one that built this.
const PLACES: [&str; 3] = [concat!("/wor", "k/main"), concat!("/wor", "k/shared"), concat!("/Use", "rs/")];

/// The lock file of the Node counterparts, and the only registry it may name.
const NODE_LOCK: &str = "tests/real/package-lock.json";
const NODE_REGISTRY: &str = "https://registry.npmjs.org/";

pub(super) fn check(tree: &Tree, sources: &[Source<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(tree.packages.iter().filter_map(|package| unmapped(tree, &package.name)));
    findings.extend(sources.iter().flat_map(opening));
    findings.extend(error_codes(tree, sources));
    for (path, text) in &tree.files {
        findings.extend(words(tree, path, text));
    }
    findings.extend(node_lock(tree));
    for source in sources {
        let mut visitor = Ignored { path: source.path, findings: Vec::new(), reasons: Vec::new() };
        visitor.visit_file(&source.syntax);
        findings.append(&mut visitor.findings);
    }
    findings
}

fn unmapped(tree: &Tree, name: &str) -> Option<Finding> {
    let short = name.strip_prefix("cordon-").unwrap_or(name);
    let text = tree.files.get(MAP).map_or("", String::as_str);
    let named = [format!("`{name}`"), format!("`{short}`"), format!("crates/{short}")];
    (!named.iter().any(|form| text.contains(form.as_str()))).then(|| {
        let message = format!("crate `{name}` is not on the map");
        Finding::new(
            MAP,
            1,
            message,
            format!("add `{short}` to the code map with the sentence of its lib.rs"),
        )
    })
}

/// A crate begins with what it is and what it never does.
fn opening(source: &Source<'_>) -> Option<Finding> {
    let root = source.path.ends_with("/src/lib.rs") || source.path.ends_with("/src/main.rs");
    if !root {
        return None;
    }
    if !source.text.starts_with("//!") {
        let remedy = "open with `//!`: what this crate is, and what it never does";
        return Some(Finding::new(source.path, 1, "the crate does not say what it is", remedy));
    }
    let doc = source.text.lines().take_while(|line| line.starts_with("//!"));
    (!doc.clone().any(|line| line.contains("never"))).then(|| {
        let remedy = "add the sentence \"This crate never …\": it is what the boundary is for";
        Finding::new(source.path, 1, "the crate does not say what it never does", remedy)
    })
}

/// Each code in the sources has a page, and each page has a code.
fn error_codes(tree: &Tree, sources: &[Source<'_>]) -> Vec<Finding> {
    let mut used: BTreeMap<String, (&str, usize)> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.part == Part::Shipped && source.package != "xtask") {
        let mut visitor = Literals::default();
        visitor.visit_file(&source.syntax);
        for (line, text) in visitor.found {
            for code in codes_in(&text) {
                used.entry(code).or_insert((source.path, line));
            }
        }
    }
    let mut findings = Vec::new();
    for (code, (path, line)) in &used {
        let page = format!("{ERROR_PAGES}{code}.md");
        if !tree.files.contains_key(&page) {
            let message = format!("error code `{code}` has no page");
            findings.push(Finding::new(
                path,
                *line,
                message,
                format!("write {page}: meaning, cause, remedy"),
            ));
        }
    }
    for path in tree.files.keys() {
        let code = path.strip_prefix(ERROR_PAGES).and_then(|name| name.strip_suffix(".md"));
        let Some(code) = code.filter(|code| codes_in(code).iter().any(|found| found == code)) else {
            continue;
        };
        if !used.contains_key(code) {
            findings.push(Finding::new(path, 1, format!("no source uses `{code}`"), "remove the page"));
        }
    }
    findings
}

/// Error codes in a text: capitals, a hyphen, three digits, such as `LEDGER-` and `003`.
fn codes_in(text: &str) -> Vec<String> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '-');
    words.filter(|word| is_code(word)).map(str::to_owned).collect()
}

fn is_code(word: &str) -> bool {
    let Some((area, number)) = word.split_once('-') else { return false };
    area.len() >= 2
        && area.bytes().all(|byte| byte.is_ascii_uppercase())
        && number.len() == 3
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && !NOT_CODES.contains(&area)
}

/// Unfinished work and places of one machine.
fn words(tree: &Tree, path: &str, text: &str) -> Vec<Finding> {
    // Other people's text, kept byte for byte.
    if path == "Cargo.lock" || path.ends_with("package-lock.json") || path.contains("/corpus/") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let machine = tree.machine_paths.iter().map(String::as_str).chain(PLACES);
    for place in machine {
        for (offset, _) in text.match_indices(place) {
            let remedy = "write a path relative to the repository, or a made-up one";
            let message = format!("`{place}` is a place on one machine");
            findings.push(Finding::new(path, line_at(text, offset), message, remedy));
        }
    }
    for word in UNFINISHED {
        for (offset, _) in text.match_indices(word) {
            if is_whole_word(text, offset, word) {
                let remedy = "finish it, or write down the limit where users read it";
                findings.push(Finding::new(
                    path,
                    line_at(text, offset),
                    format!("`{word}` is unfinished work"),
                    remedy,
                ));
            }
        }
    }
    findings
}

fn is_whole_word(text: &str, offset: usize, word: &str) -> bool {
    let before = text.get(..offset).and_then(|text| text.chars().next_back());
    let after = text.get(offset.saturating_add(word.len())..).and_then(|text| text.chars().next());
    let open = |neighbour: Option<char>| !neighbour.is_some_and(|c| c.is_alphanumeric() || c == '_');
    open(before) && (open(after) || word.ends_with(['(', ':']))
}

/// The lock file names the public registry or nothing at all.
fn node_lock(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.files.get(NODE_LOCK) else { return Vec::new() };
    let mut findings = Vec::new();
    for (offset, _) in text.match_indices("://") {
        let start = text.get(..offset).and_then(|text| text.rfind('"')).unwrap_or(0).saturating_add(1);
        if !text.get(start..).is_some_and(|address| address.starts_with(NODE_REGISTRY)) {
            let remedy = "make it with `npm install --package-lock-only --omit-lockfile-registry-resolved`";
            let message = "the lock file names a host that is not the public registry";
            findings.push(Finding::new(NODE_LOCK, line_at(text, offset), message, remedy));
        }
    }
    findings
}

/// String literals of the shipped code, with their lines.
#[derive(Default)]
struct Literals {
    found: Vec<(usize, String)>,
}

impl Literals {
    fn tokens(&mut self, stream: TokenStream) {
        for token in stream {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    self.found.push((literal.span().start().line, literal.to_string()));
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Literals {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test_only(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        // Documentation may name a code of another program; error texts in attributes are ours.
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
    }

    fn visit_lit_str(&mut self, literal: &'ast LitStr) {
        self.found.push((literal.span().start().line, literal.value()));
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        self.tokens(invocation.tokens.clone());
    }
}

/// The tests marked as ignored with a reason: `file:line name` and the reason.
pub(super) fn ignored(sources: &[Source<'_>]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for source in sources {
        let mut visitor = Ignored { path: source.path, findings: Vec::new(), reasons: Vec::new() };
        visitor.visit_file(&source.syntax);
        found.append(&mut visitor.reasons);
    }
    found
}

/// A test that is not run says why.
struct Ignored<'a> {
    path: &'a str,
    findings: Vec<Finding>,
    reasons: Vec<(String, String)>,
}

impl<'ast> Visit<'ast> for Ignored<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        for attribute in item.attrs.iter().filter(|attribute| attribute.path().is_ident("ignore")) {
            let line = attribute.pound_token.span.start().line;
            match &attribute.meta {
                Meta::NameValue(value) => {
                    let reason = match &value.value {
                        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => text.value(),
                        _ => String::new(),
                    };
                    self.reasons.push((format!("{}:{line} {}", self.path, item.sig.ident), reason));
                }
                _ => {
                    let remedy = "write `#[ignore = \"why, and how to run it\"]`";
                    let message = "a test is ignored without a reason";
                    self.findings.push(Finding::new(self.path, line, message, remedy));
                }
            }
        }
        visit::visit_item_fn(self, item);
    }
}
