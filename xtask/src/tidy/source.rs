//! Rust sources as syntax trees, each with its place in the workspace.

use std::collections::BTreeSet;

use syn::{Attribute, Item, Meta};

use super::{Finding, Tree};

/// One parsed source file of a package.
pub(super) struct Source<'a> {
    /// Path from the root.
    pub(super) path: &'a str,
    /// The package it belongs to.
    pub(super) package: &'a str,
    /// Which part of the package it is.
    pub(super) part: Part,
    /// The file's text.
    pub(super) text: &'a str,
    /// Its syntax.
    pub(super) syntax: syn::File,
}

/// Which part of a package a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Compiled into the crate.
    Shipped,
    /// Compiled only for tests and benches.
    Test,
}

/// Parses every Rust file of every package; files that do not parse become findings.
pub(super) fn parse_all(tree: &Tree) -> (Vec<Source<'_>>, Vec<Finding>) {
    let mut sources = Vec::new();
    let mut findings = Vec::new();
    for (path, text) in tree.files.iter().filter(|(path, _)| path.ends_with(".rs")) {
        let Some((package, rest)) = owner(tree, path) else { continue };
        match syn::parse_file(text) {
            Ok(syntax) => {
                let part =
                    if rest.starts_with("src/") || rest == "build.rs" { Part::Shipped } else { Part::Test };
                sources.push(Source { path, package, part, text, syntax });
            }
            // Compile-fail cases are wrong on purpose.
            Err(_) if rest.starts_with("tests/") => {}
            Err(error) => findings.push(Finding::new(
                path,
                error.span().start().line,
                format!("not Rust: {error}"),
                "make it compile",
            )),
        }
    }
    mark_test_modules(&mut sources);
    (sources, findings)
}

/// Whether an item is compiled for tests only: exactly `#[cfg(test)]`, nothing looser.
pub(super) fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    })
}

/// The attributes of an item, whatever it is.
pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn owner<'a>(tree: &'a Tree, path: &'a str) -> Option<(&'a str, &'a str)> {
    tree.packages.iter().find_map(|package| {
        let rest = path.strip_prefix(package.directory.as_str())?.strip_prefix('/')?;
        Some((package.name.as_str(), rest))
    })
}

/// A file behind `#[cfg(test)] mod name;` is a test, and so is all that lies below it.
fn mark_test_modules(sources: &mut [Source<'_>]) {
    let mut files = BTreeSet::new();
    for source in sources.iter() {
        let directory = module_directory(source.path);
        for item in &source.syntax.items {
            if let Item::Mod(module) = item
                && module.content.is_none()
                && is_test_only(&module.attrs)
            {
                files.insert(format!("{directory}/{}", module.ident));
            }
        }
    }
    for source in sources {
        let stem = source.path.trim_end_matches(".rs");
        if files.iter().any(|file| stem == file || stem.starts_with(&format!("{file}/"))) {
            source.part = Part::Test;
        }
    }
}

/// Where the modules that a file declares lie.
fn module_directory(path: &str) -> String {
    let stem = path.trim_end_matches(".rs");
    let (parent, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    match name {
        "lib" | "main" | "mod" => parent.to_owned(),
        _ => stem.to_owned(),
    }
}
