//! Pure crates have no doors: no I/O, clock, environment, threads, randomness or async, and nobody is unsafe.
//!
//! The check reads syntax, tokens inside macros included. It cannot see through a dependency: what a
//! dependency may do is decided by the list of allowed dependencies and their features.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Item, UseTree};

use super::Finding;
use super::arrows::PURE;
use super::config::Config;
use super::source::{Part, Source, attributes, is_test_only};
use super::tree::CONFIG_PATH;

/// Paths that a pure crate never names, wherever they appear in a longer path.
const DOORS: [(&[&str], &str); 32] = [
    (&["std", "fs"], INPUT),
    (&["std", "process"], INPUT),
    (&["std", "os"], INPUT),
    (&["std", "path"], "name things by text or id; paths are opened at the edge"),
    (&["std", "backtrace"], INPUT),
    (&["std", "io", "stdin"], INPUT),
    (&["std", "io", "stdout"], INPUT),
    (&["std", "io", "stderr"], INPUT),
    (&["std", "env"], "take the setting as an argument"),
    (&["std", "thread"], "leave threads to the edge"),
    (&["std", "time", "SystemTime"], CLOCK),
    (&["std", "time", "Instant"], CLOCK),
    (&["SystemTime"], CLOCK),
    (&["Instant"], CLOCK),
    (&["UNIX_EPOCH"], CLOCK),
    (&["std", "sync", "atomic"], STATE),
    (&["Mutex"], STATE),
    (&["RwLock"], STATE),
    (&["OnceLock"], STATE),
    (&["tokio"], "leave async to the edge"),
    (&["futures"], "leave async to the edge"),
    (&["rand"], RANDOM),
    (&["getrandom"], RANDOM),
    (&["fastrand"], RANDOM),
    (&["aws_lc_rs", "rand"], RANDOM),
    (&["SystemRandom"], RANDOM),
    (&["RandomizedNonceKey"], RANDOM),
    (&["generate_pkcs8"], RANDOM),
    (&["Ed25519KeyPair", "generate"], RANDOM),
    (&["libc"], INPUT),
    (&["rustix"], INPUT),
    (&["ToSocketAddrs"], INPUT),
];

/// The parts of `std::net` that are values and not sockets.
const ADDRESSES: [&str; 7] =
    ["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6", "AddrParseError"];

/// Macros that write, read the environment, or bring in code this check does not see.
const DOOR_MACROS: [&str; 9] =
    ["print", "println", "eprint", "eprintln", "dbg", "env", "option_env", "include", "thread_local"];

/// The one macro that a file may be allowed, as findings write it.
const COUNTER: &str = "`thread_local!`";

const INPUT: &str = "take the bytes as an argument; I/O lives in the edge crates";
const CLOCK: &str = "take `now: Timestamp` as an argument";
const STATE: &str = "keep state in a value that the caller owns: same arguments, same answer";
const RANDOM: &str = "take `&mut dyn Entropy` as an argument";

pub(super) fn check(sources: &[Source<'_>], config: &Config) -> Vec<Finding> {
    let mut findings = unused_counters(sources, config);
    for source in sources {
        let rules = if PURE.contains(&source.package) && source.part == Part::Shipped {
            Rules::Pure
        } else {
            Rules::SafeOnly
        };
        let mut visitor = Doors { path: source.path, rules, findings: Vec::new() };
        visitor.visit_file(&source.syntax);
        if config.counters.iter().any(|counter| counter.path == source.path) {
            visitor.findings.retain(|finding| !finding.message.contains(COUNTER));
        }
        findings.append(&mut visitor.findings);
    }
    findings
}

/// An allowance that nobody uses is removed, so that it cannot be used unseen later.
fn unused_counters(sources: &[Source<'_>], config: &Config) -> Vec<Finding> {
    let counts = |path: &str| {
        let source = sources.iter().find(|source| source.path == path);
        source.is_some_and(|source| {
            source
                .syntax
                .items
                .iter()
                .any(|item| matches!(item, Item::Macro(item) if item.mac.path.is_ident("thread_local")))
        })
    };
    let entries = config.counters.iter().map(|entry| {
        let finding = |message: String, remedy| Finding::new(CONFIG_PATH, 1, message, remedy);
        let unused = !counts(&entry.path);
        let unused = unused.then(|| finding(format!("`{}` counts nothing", entry.path), "remove the entry"));
        let bare = entry.reason.trim().is_empty();
        let bare = bare
            .then(|| finding(format!("the counter of `{}` has no reason", entry.path), "say what it counts"));
        [unused, bare]
    });
    entries.flatten().flatten().collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rules {
    Pure,
    SafeOnly,
}

struct Doors<'a> {
    path: &'a str,
    rules: Rules,
    findings: Vec<Finding>,
}

impl Doors<'_> {
    fn found(&mut self, span: Span, message: String, remedy: &str) {
        let finding = Finding::new(self.path, span.start().line, message, remedy);
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn pure(&self) -> bool {
        self.rules == Rules::Pure
    }

    /// Judges a path by its segments.
    fn judge(&mut self, span: Span, segments: &[String]) {
        if !self.pure() {
            return;
        }
        if let Some((door, remedy)) = DOORS.iter().find(|(door, _)| leads_through(segments, door)) {
            self.found(span, format!("pure crate names `{}`", door.join("::")), remedy);
            return;
        }
        let socket = segments.windows(3).find(|part| {
            matches!(part, [a, b, name] if a == "std" && b == "net" && !ADDRESSES.contains(&name.as_str()))
        });
        if socket.is_some() || ends_with(segments, &["std", "net"]) {
            let remedy =
                "name the address type itself, such as `std::net::IpAddr`; sockets live in the edge crates";
            self.found(span, "pure crate names `std::net`".to_owned(), remedy);
        }
    }

    fn imports(&mut self, tree: &UseTree, prefix: &mut Vec<String>) {
        let depth = prefix.len();
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.imports(&path.tree, prefix);
            }
            UseTree::Name(name) => {
                prefix.push(name.ident.to_string());
                self.judge_import(name.span(), prefix);
            }
            UseTree::Rename(rename) => {
                prefix.push(rename.ident.to_string());
                self.judge_rename(rename.span(), prefix);
                self.judge_import(rename.span(), prefix);
            }
            UseTree::Glob(glob) => self.judge_glob(glob.span(), prefix),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.imports(tree, prefix);
                }
            }
        }
        prefix.truncate(depth);
    }

    fn judge_import(&mut self, span: Span, segments: &[String]) {
        let named: Vec<String> = segments.iter().filter(|segment| *segment != "self").cloned().collect();
        self.judge(span, &named);
    }

    /// A renamed root would hide every path that starts with it.
    fn judge_rename(&mut self, span: Span, segments: &[String]) {
        let named: Vec<&str> =
            segments.iter().map(String::as_str).filter(|segment| *segment != "self").collect();
        if self.pure() && matches!(named.as_slice(), ["std" | "aws_lc_rs"] | ["std", "net"]) {
            self.found(span, format!("pure crate renames `{}`", named.join("::")), "use its own name");
        }
    }

    fn judge_glob(&mut self, span: Span, prefix: &[String]) {
        let hides = DOORS.iter().any(|(door, _)| door.len() > prefix.len() && starts_with(door, prefix));
        let root = matches!(prefix, [first, ..] if first == "std" || first == "aws_lc_rs");
        if self.pure() && root && (hides || ends_with(prefix, &["std", "net"])) {
            let message = format!("pure crate imports everything of `{}`", prefix.join("::"));
            self.found(span, message, "import the names that are used");
            return;
        }
        self.judge(span, prefix);
    }

    fn forbid_async(&mut self, span: Span) {
        if self.pure() {
            self.found(
                span,
                "pure crate is async".to_owned(),
                "return the effect as a value; the edge carries it out",
            );
        }
    }

    fn forbid_unsafe(&mut self, span: Span) {
        self.found(span, "unsafe code".to_owned(), "find the safe way; no crate of this workspace is unsafe");
    }

    /// Paths, `unsafe` and async inside a macro's tokens.
    fn tokens(&mut self, stream: TokenStream) {
        let mut segments: Vec<String> = Vec::new();
        let mut start = Span::call_site();
        let mut colons = 0_usize;
        for token in stream {
            match token {
                TokenTree::Ident(word) => {
                    let text = word.to_string();
                    match text.as_str() {
                        "unsafe" => self.forbid_unsafe(word.span()),
                        "async" | "await" => self.forbid_async(word.span()),
                        _ => {}
                    }
                    if colons != 2 {
                        self.finish(start, &mut segments);
                        start = word.span();
                    }
                    segments.push(text);
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons = colons.saturating_add(1),
                TokenTree::Group(group) => {
                    self.finish(start, &mut segments);
                    colons = 0;
                    self.tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.finish(start, &mut segments);
                    colons = 0;
                }
            }
        }
        self.finish(start, &mut segments);
    }

    fn finish(&mut self, span: Span, segments: &mut Vec<String>) {
        if !segments.is_empty() {
            self.judge(span, segments);
            segments.clear();
        }
    }
}

impl<'ast> Visit<'ast> for Doors<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        // Tests may do what they like, except be unsafe.
        let rules = self.rules;
        if is_test_only(attributes(item)) {
            self.rules = Rules::SafeOnly;
        }
        visit::visit_item(self, item);
        self.rules = rules;
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if attribute.path().is_ident("path") {
            self.found(
                attribute.span(),
                "module with a `#[path]`".to_owned(),
                "put the file where its module is",
            );
        }
        visit::visit_attribute(self, attribute);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.imports(&item.tree, &mut Vec::new());
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        if self.pure() {
            self.found(item.span(), "pure crate has an `extern crate`".to_owned(), "write `use`");
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.judge(path.span(), &segments);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        let name = invocation.path.segments.last().map(|segment| segment.ident.to_string());
        if let Some(name) = name.filter(|name| self.pure() && DOOR_MACROS.contains(&name.as_str())) {
            self.found(
                invocation.span(),
                format!("pure crate calls `{name}!`"),
                "return the text; the edge prints it",
            );
        }
        self.tokens(invocation.tokens.clone());
        visit::visit_macro(self, invocation);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let Some(word) = &signature.asyncness {
            self.forbid_async(word.span());
        }
        if !matches!(signature.safety, syn::Safety::Default) {
            self.forbid_unsafe(signature.span());
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.forbid_async(block.async_token.span());
        visit::visit_expr_async(self, block);
    }

    fn visit_expr_await(&mut self, expression: &'ast syn::ExprAwait) {
        self.forbid_async(expression.await_token.span());
        visit::visit_expr_await(self, expression);
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        if let Some(word) = &closure.asyncness {
            self.forbid_async(word.span());
        }
        visit::visit_expr_closure(self, closure);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.forbid_unsafe(block.unsafe_token.span());
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let Some(word) = &item.unsafety {
            self.forbid_unsafe(word.span());
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        if let Some(word) = &item.unsafety {
            self.forbid_unsafe(word.span());
        }
        visit::visit_item_trait(self, item);
    }

    fn visit_item_foreign_mod(&mut self, item: &'ast syn::ItemForeignMod) {
        self.forbid_unsafe(item.span());
    }
}

/// Whether a path goes through a door. A door of one lower-case word is a crate: it counts only at the root.
fn leads_through(segments: &[String], door: &[&str]) -> bool {
    let crate_name =
        matches!(door, [only] if only.starts_with(char::is_lowercase) && !only.contains("generate"));
    if crate_name {
        return segments.len() > 1 && starts_with_words(segments, door);
    }
    segments.windows(door.len()).any(|part| part.iter().zip(door).all(|(have, want)| have == want))
}

fn starts_with_words(segments: &[String], words: &[&str]) -> bool {
    segments.len() >= words.len() && segments.iter().zip(words).all(|(have, want)| have == want)
}

fn starts_with(door: &[&str], prefix: &[String]) -> bool {
    prefix.len() <= door.len() && prefix.iter().zip(door).all(|(have, want)| have == want)
}

fn ends_with(segments: &[String], words: &[&str]) -> bool {
    let skip = segments.len().saturating_sub(words.len());
    segments.len() >= words.len() && segments.iter().skip(skip).zip(words).all(|(have, want)| have == want)
}
