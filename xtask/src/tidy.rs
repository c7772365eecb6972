//! Rules about the sources that no compiler checks, each with its remedy.
//!
//! The rules are those of `ARCHITECTURE.md`: arrows point down, pure crates have no doors to the
//! outside, files and functions stay small, and what is promised in prose exists.

mod arrows;
mod config;
mod finding;
mod prose;
mod purity;
mod shape;
mod source;
mod tree;

#[cfg(test)]
mod tests;

pub use config::{AllowedCounter, AllowedDependency, Config, Giant};
pub use finding::Finding;
pub use tree::{Dependency, DependencyUse, Package, Tree};

/// Checks every rule and returns what is wrong, sorted by place.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let config = match tree.config() {
        Ok(config) => config,
        Err(finding) => return vec![finding],
    };
    let (sources, mut findings) = source::parse_all(tree);
    findings.extend(arrows::check(tree, &config));
    findings.extend(purity::check(&sources, &config));
    findings.extend(shape::check(tree, &sources, &config));
    findings.extend(prose::check(tree, &sources));
    findings.sort();
    findings
}

/// The tests that the sources mark as ignored: their place and name, and the reason.
#[must_use]
pub fn ignored(tree: &Tree) -> Vec<(String, String)> {
    prose::ignored(&source::parse_all(tree).0)
}
