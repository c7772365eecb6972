//! The lists that rules consult: `xtask/tidy.toml`.

use serde::Deserialize;

/// The lists behind the rules, as written in `xtask/tidy.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Every direct dependency a pure crate may have.
    #[serde(default, rename = "dependency")]
    pub dependencies: Vec<AllowedDependency>,
    /// Files of pure crates that count in a `thread_local!`.
    #[serde(default, rename = "counter")]
    pub counters: Vec<AllowedCounter>,
    /// Functions that are longer than the limit and may only shrink.
    #[serde(default, rename = "function")]
    pub functions: Vec<Giant>,
    /// Files that are longer than the limit and may only shrink.
    #[serde(default, rename = "file")]
    pub files: Vec<Giant>,
}

/// A direct dependency that a pure crate may have, and why.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedDependency {
    /// The crate of this workspace that depends.
    #[serde(rename = "crate")]
    pub package: String,
    /// The package it depends on.
    pub name: String,
    /// Features it may enable; others are refused.
    #[serde(default)]
    pub features: Vec<String>,
    /// Whether the dependency's default features may be on.
    #[serde(default)]
    pub default_features: bool,
    /// What it is needed for, and why it keeps the crate pure.
    pub reason: String,
}

/// A file of a pure crate that may have a `thread_local!`, and why its answers stay the same.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedCounter {
    /// The file, from the repository's root.
    pub path: String,
    /// What is counted, and why it does not carry over from one answer to the next.
    pub reason: String,
}

/// A function or file above the limit: it may shrink, never grow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Giant {
    /// The file, from the repository's root.
    pub path: String,
    /// The function's name; empty for a file.
    #[serde(default)]
    pub name: String,
    /// Most lines it may have.
    pub lines_max: usize,
    /// Why it is not split.
    pub reason: String,
}
