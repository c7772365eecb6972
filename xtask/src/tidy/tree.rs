//! What is checked: the text of every file and the packages that cargo sees.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand};

use super::{Config, Finding};

/// Where the lists behind the rules are written.
pub(super) const CONFIG_PATH: &str = "xtask/tidy.toml";

/// Directories that hold nothing written by hand.
const SKIPPED_DIRECTORIES: [&str; 6] =
    ["target", ".git", "node_modules", "__pycache__", ".cordon", ".pytest_cache"];

/// Most bytes a text file may have to be read; larger ones are data.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// A workspace as the rules see it; made from a directory, or in memory by a test.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Text of each file by its path from the root, with `/` between parts. Binary files are absent.
    pub files: BTreeMap<String, String>,
    /// The workspace's packages.
    pub packages: Vec<Package>,
    /// Texts that belong to the machine that runs the check: its checkout, its home directory.
    pub machine_paths: Vec<String>,
}

/// One package of the workspace.
#[derive(Debug, Clone, Default)]
pub struct Package {
    /// Its name in its manifest.
    pub name: String,
    /// Path of its directory from the root.
    pub directory: String,
    /// What it depends on directly.
    pub dependencies: Vec<Dependency>,
}

/// One direct dependency.
#[derive(Debug, Clone, Default)]
pub struct Dependency {
    /// The package's own name, whatever it is renamed to.
    pub name: String,
    /// What it is used for.
    pub kind: DependencyUse,
    /// Features asked for by name.
    pub features: BTreeSet<String>,
    /// Whether its default features are on.
    pub default_features: bool,
}

/// What a dependency is used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DependencyUse {
    /// In the crate itself.
    #[default]
    Normal,
    /// In its build script.
    Build,
    /// In its tests and benches.
    Dev,
}

impl Tree {
    /// Reads the workspace at `root`.
    ///
    /// # Errors
    /// A directory or file that cannot be read, or a manifest that cargo refuses.
    pub fn load(root: &Path) -> Result<Self, String> {
        let mut tree =
            Self { packages: packages(root)?, machine_paths: machine_paths(root), ..Self::default() };
        tree.read_directory(root, "")?;
        Ok(tree)
    }

    /// The lists in `xtask/tidy.toml`, empty when there is no such file.
    pub(super) fn config(&self) -> Result<Config, Finding> {
        let Some(text) = self.files.get(CONFIG_PATH) else { return Ok(Config::default()) };
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_at(text, span.start));
            Finding::new(
                CONFIG_PATH,
                line,
                error.message(),
                "write the fields that xtask/src/tidy/config.rs names",
            )
        })
    }

    fn read_directory(&mut self, directory: &Path, prefix: &str) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("cannot read `{}`: {error}", directory.display());
        for entry in fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() && !SKIPPED_DIRECTORIES.contains(&name.as_str()) {
                self.read_directory(&entry.path(), &path)?;
            } else if kind.is_file() && entry.metadata().map_err(failed)?.len() <= FILE_BYTES_MAX {
                let bytes = fs::read(entry.path()).map_err(failed)?;
                if let Ok(text) = String::from_utf8(bytes) {
                    self.files.insert(path, text);
                }
            }
        }
        Ok(())
    }
}

/// The line of a byte offset, counted from 1.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count().saturating_add(1)
}

/// Texts that would tie the repository to the machine at hand.
fn machine_paths(root: &Path) -> Vec<String> {
    let mut paths = vec![root.display().to_string()];
    if let Some(home) = std::env::var_os("HOME") {
        let home = home.to_string_lossy().trim_end_matches('/').to_owned();
        if !home.is_empty() {
            paths.extend([".cargo", ".rustup", ".pyenv"].map(|part| format!("{home}/{part}")));
        }
    }
    paths.retain(|path| path.len() > 1);
    paths
}

fn packages(root: &Path) -> Result<Vec<Package>, String> {
    let mut command = MetadataCommand::new();
    command.manifest_path(root.join("Cargo.toml")).no_deps();
    let metadata = command.exec().map_err(|error| format!("cargo metadata: {error}"))?;
    let root = metadata.workspace_root.clone();
    Ok(metadata.packages.into_iter().map(|package| describe(&root, package)).collect())
}

fn describe(root: &cargo_metadata::camino::Utf8Path, package: cargo_metadata::Package) -> Package {
    let directory = package.manifest_path.parent().unwrap_or(root);
    let directory = directory.strip_prefix(root).unwrap_or(directory).to_string();
    let dependencies = package
        .dependencies
        .into_iter()
        .map(|dependency| Dependency {
            name: dependency.name,
            kind: match dependency.kind {
                DependencyKind::Development => DependencyUse::Dev,
                DependencyKind::Build => DependencyUse::Build,
                _ => DependencyUse::Normal,
            },
            features: dependency.features.into_iter().collect(),
            default_features: dependency.uses_default_features,
        })
        .collect();
    Package { name: package.name.to_string(), directory, dependencies }
}
