//! Which crate may name which: arrows point down only.

use std::collections::BTreeSet;

use super::tree::CONFIG_PATH;
use super::{Config, Dependency, DependencyUse, Finding, Package, Tree};

/// The layers, lowest first. A crate may name only crates of lower layers.
const LAYERS: [&[&str]; 5] = [
    &["cordon-core"],
    &["cordon-pdp", "cordon-inspect", "cordon-ledger", "cordon-workflow", "cordon-wire", "cordon-capability"],
    &["cordon-guard"],
    &["cordon-gateway", "cordon-sandbox", "cordon-models", "cordon-memory", "cordon-control", "cordon-store"],
    &["cordon"],
];

/// Crates beside the layers: tests name the kit, nobody names the tasks.
const TESTKIT: &str = "cordon-testkit";
const XTASK: &str = "xtask";

/// Crates without I/O, clock, randomness, async: their direct dependencies are listed one by one.
pub(super) const PURE: [&str; 7] = [
    "cordon-core",
    "cordon-pdp",
    "cordon-inspect",
    "cordon-ledger",
    "cordon-workflow",
    "cordon-wire",
    "cordon-capability",
];

pub(super) fn check(tree: &Tree, config: &Config) -> Vec<Finding> {
    let own: BTreeSet<&str> = tree.packages.iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in &tree.packages {
        let manifest = Manifest::of(tree, package);
        findings.extend(manifest.unknown_layer());
        findings.extend(manifest.inherits());
        for dependency in &package.dependencies {
            if own.contains(dependency.name.as_str()) {
                findings.extend(manifest.arrow(dependency));
            } else {
                findings.extend(manifest.foreign(dependency, config));
            }
        }
    }
    findings.extend(stale_entries(tree, config));
    findings
}

/// One package with the text of its manifest, to say where a finding is.
struct Manifest<'a> {
    package: &'a Package,
    path: String,
    text: &'a str,
}

impl<'a> Manifest<'a> {
    fn of(tree: &'a Tree, package: &'a Package) -> Self {
        let path = format!("{}/Cargo.toml", package.directory);
        let text = tree.files.get(&path).map_or("", String::as_str);
        Self { package, path, text }
    }

    fn finding(&self, word: &str, message: String, remedy: &str) -> Finding {
        let starts =
            |line: &str| line.trim_start().strip_prefix(word).is_some_and(|rest| !rest.starts_with(is_name));
        let line = self.text.lines().position(starts).map_or(1, |index| index.saturating_add(1));
        Finding::new(&self.path, line, message, remedy)
    }

    fn unknown_layer(&self) -> Option<Finding> {
        let name = &self.package.name;
        (rank(name).is_none() && name != TESTKIT && name != XTASK).then(|| {
            self.finding(
                "name",
                format!("crate `{name}` has no layer"),
                "give it its place in LAYERS in xtask/src/tidy/arrows.rs and in ARCHITECTURE.md",
            )
        })
    }

    /// Lints and versions are written once, in the workspace.
    fn inherits(&self) -> Vec<Finding> {
        let Ok(table) = self.text.parse::<toml::Table>() else { return Vec::new() };
        let mut findings = Vec::new();
        let lints = table.get("lints").and_then(|lints| lints.get("workspace"));
        if lints.and_then(toml::Value::as_bool) != Some(true) {
            let message = format!("`{}` does not take the workspace's lints", self.package.name);
            findings.push(self.finding("[package]", message, "add `[lints] workspace = true`"));
        }
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let entries = table.get(section).and_then(toml::Value::as_table);
            for (name, value) in entries.into_iter().flatten() {
                if value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                    let message = format!("`{name}` is not taken from the workspace");
                    let remedy = "put it in [workspace.dependencies] and write `NAME.workspace = true`";
                    findings.push(self.finding(name, message, remedy));
                }
            }
        }
        findings
    }

    fn arrow(&self, dependency: &Dependency) -> Option<Finding> {
        let (from, to) = (self.package.name.as_str(), dependency.name.as_str());
        let wrong = |message: String, remedy: &str| Some(self.finding(to, message, remedy));
        if to == XTASK || to == "cordon" {
            return wrong(format!("`{from}` names `{to}`"), "nothing depends on a program");
        }
        if to == TESTKIT {
            return match dependency.kind {
                DependencyUse::Dev => None,
                // The demo's office server is the kit's: the program shows what the tests try.
                _ if from == "cordon" => None,
                _ => wrong(
                    format!("`{from}` names the test kit outside its tests"),
                    "make it a dev-dependency, or move what is needed down into `cordon-core`",
                ),
            };
        }
        if to == "cordon-pdp" && from != "cordon-guard" {
            return wrong(
                format!("`{from}` names `cordon-pdp`"),
                "only `cordon-guard` does: ask the guard, it re-exports the policy tools that need no I/O",
            );
        }
        let edge = rank("cordon-store");
        let below = match from {
            XTASK => false,
            TESTKIT => rank(to) < edge,
            _ => rank(to) < rank(from),
        };
        if below {
            return None;
        }
        let remedy = if rank(to) == edge && rank(from) == edge {
            "edge crates meet in `cordon`: define the port in `cordon-guard` or pass the value in"
        } else {
            "arrows point down: move the shared noun to a lower crate, or define a port and implement it above"
        };
        wrong(format!("`{from}` names `{to}`, which is not below it"), remedy)
    }

    fn foreign(&self, dependency: &Dependency, config: &Config) -> Option<Finding> {
        let from = self.package.name.as_str();
        if !PURE.contains(&from) || dependency.kind == DependencyUse::Dev {
            return None;
        }
        let name = dependency.name.as_str();
        let allowed = config.dependencies.iter().find(|entry| entry.package == from && entry.name == name);
        let Some(allowed) = allowed else {
            return Some(self.finding(
                name,
                format!("pure crate `{from}` depends on `{name}`, which is not on its list"),
                "do without it, or add it to xtask/tidy.toml with the reason it keeps the crate pure",
            ));
        };
        let extra: Vec<&str> = dependency
            .features
            .iter()
            .map(String::as_str)
            .filter(|f| !allowed.features.iter().any(|a| a == f))
            .collect();
        if !extra.is_empty() || (dependency.default_features && !allowed.default_features) {
            let extra = if extra.is_empty() { "default".to_owned() } else { extra.join(", ") };
            return Some(self.finding(
                name,
                format!("pure crate `{from}` enables `{extra}` of `{name}`, which its list does not allow"),
                "turn the feature off in [workspace.dependencies], or allow it in xtask/tidy.toml with the reason",
            ));
        }
        None
    }
}

/// An allowance that nobody uses is removed, so that it cannot be used unseen later.
fn stale_entries(tree: &Tree, config: &Config) -> Vec<Finding> {
    let used = |package: &str, name: &str| {
        tree.packages
            .iter()
            .filter(|candidate| candidate.name == package)
            .flat_map(|candidate| &candidate.dependencies)
            .any(|dependency| dependency.name == name && dependency.kind != DependencyUse::Dev)
    };
    let text = tree.files.get(CONFIG_PATH).map_or("", String::as_str);
    let mut findings = Vec::new();
    for entry in &config.dependencies {
        let quoted = format!("\"{}\"", entry.name);
        let line =
            text.lines().position(|line| line.contains(&quoted)).map_or(1, |index| index.saturating_add(1));
        if !used(&entry.package, &entry.name) {
            let message = format!("`{}` does not depend on `{}`", entry.package, entry.name);
            findings.push(Finding::new(CONFIG_PATH, line, message, "remove the entry"));
        }
        if entry.reason.trim().is_empty() {
            let message = format!("the allowance of `{}` for `{}` has no reason", entry.name, entry.package);
            findings.push(Finding::new(CONFIG_PATH, line, message, "say what it is needed for"));
        }
    }
    findings
}

/// A crate's layer, counted from the lowest.
fn rank(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '-' || character == '_'
}
