//! The files that a policy bundle is made of.

use std::collections::BTreeMap;

use cordon_core::{Digest, Hasher};

use crate::Diagnostic;
use crate::diagnostic::nearest;

/// A bundle's files by path, without its signature; paths use `/`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicySource(BTreeMap<Box<str>, Vec<u8>>);

/// What a file is for, by where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileKind {
    Permissions,
    Obligations,
    Invariants,
    Guards,
    Schema,
    Tools,
    Entities,
    Asserted,
    Principals,
    Purposes,
    Resources,
    Declarers,
    Threats,
    Rows,
    Risk,
    Limits,
    Tests,
}

/// The file that carries the signatures; never part of the source.
pub const ENVELOPE_FILE: &str = "cordon-bundle.json";

/// Most files in a bundle.
pub const FILES_MAX: usize = 10_000;
/// Largest file in a bundle, in bytes.
pub const FILE_BYTES_MAX: usize = 8 << 20;
/// Most bytes in all files of a bundle.
pub const SOURCE_BYTES_MAX: usize = 64 << 20;

const LAYOUT: &str = "a policy source holds permissions/*.cedar, obligations/*.cedar, invariants/*.cedar, \
                      guards/*.rego, schema/*.cedarschema, tools/*.toml, data/{entities,asserted,principals,purposes,resources,threats,declarers,rows}.json, \
                      risk.toml, limits.toml and tests/*.toml";

impl PolicySource {
    /// An error at the start of a line of a file.
    pub(crate) fn finding_at(&self, path: &str, line: u32, message: String) -> Diagnostic {
        let text =
            self.files().get(path).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
        let before = text.split_inclusive('\n').take(line.saturating_sub(1) as usize);
        let start = before.fold(0usize, |sum, line| sum.saturating_add(line.len()));
        Diagnostic::error(path, message).at(text, start..start)
    }

    /// An empty source: nothing is permitted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a file.
    pub fn insert(&mut self, path: impl Into<Box<str>>, bytes: impl Into<Vec<u8>>) {
        self.0.insert(path.into(), bytes.into());
    }

    /// The files by path.
    pub fn files(&self) -> &BTreeMap<Box<str>, Vec<u8>> {
        &self.0
    }

    /// SHA-256 over `cordon/policy/v1` and, for each file in order of its path, digest and path:
    /// the same files have the same digest, signed or not.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(b"cordon/policy/v1\n");
        for (path, bytes) in &self.0 {
            hasher.update(format!("{} {path}\n", Digest::of(bytes).hex()).as_bytes());
        }
        hasher.finish()
    }

    /// The text files by kind, or what does not belong in a source.
    pub(crate) fn sorted(&self) -> Result<Vec<(FileKind, &str, &str)>, Vec<Diagnostic>> {
        let mut findings = Vec::new();
        let mut files = Vec::new();
        let total = self.0.values().fold(0usize, |sum, bytes| sum.saturating_add(bytes.len()));
        if self.0.len() > FILES_MAX || total > SOURCE_BYTES_MAX {
            let message =
                format!("the source is larger than {FILES_MAX} files or {} MiB", SOURCE_BYTES_MAX >> 20);
            findings.push(Diagnostic::error("", message));
        }
        for (path, bytes) in &self.0 {
            match read(path, bytes) {
                Ok((kind, text)) => files.push((kind, &**path, text)),
                Err(finding) => findings.push(*finding),
            }
        }
        if findings.is_empty() { Ok(files) } else { Err(findings) }
    }
}

impl From<BTreeMap<Box<str>, Vec<u8>>> for PolicySource {
    fn from(files: BTreeMap<Box<str>, Vec<u8>>) -> Self {
        Self(files)
    }
}

impl<P: Into<Box<str>>, B: Into<Vec<u8>>> FromIterator<(P, B)> for PolicySource {
    fn from_iter<I: IntoIterator<Item = (P, B)>>(files: I) -> Self {
        Self(files.into_iter().map(|(path, bytes)| (path.into(), bytes.into())).collect())
    }
}

fn read<'s>(path: &str, bytes: &'s [u8]) -> Result<(FileKind, &'s str), Box<Diagnostic>> {
    let kind = classify(path)?;
    if bytes.len() > FILE_BYTES_MAX {
        let message = format!("the file is larger than {} MiB", FILE_BYTES_MAX >> 20);
        return Err(Box::new(Diagnostic::error(path, message)));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let text = String::from_utf8_lossy(valid);
        Box::new(Diagnostic::error(path, "the file is not valid UTF-8").at(&text, text.len()..text.len()))
    })?;
    Ok((kind, text))
}

fn classify(path: &str) -> Result<FileKind, Box<Diagnostic>> {
    let refuse = |message: String, help: &str| Err(Box::new(Diagnostic::error(path, message).help(help)));
    let unsupported = |what: &str| {
        refuse(
            format!("{what} are not supported by this version"),
            "remove the file: a bundle that is not fully understood is never loaded",
        )
    };
    let (folder, name) = path.split_once('/').unwrap_or(("", path));
    let stem = |extension: &str| {
        name.strip_suffix(extension).is_some_and(|stem| is_plain(stem) && !stem.starts_with('.'))
    };
    Ok(match folder {
        "permissions" if stem(".cedar") => FileKind::Permissions,
        "obligations" if stem(".cedar") => FileKind::Obligations,
        "invariants" if stem(".cedar") => FileKind::Invariants,
        "guards" if stem(".rego") => FileKind::Guards,
        "schema" if stem(".cedarschema") => FileKind::Schema,
        "tools" if stem(".toml") => FileKind::Tools,
        "tests" if stem(".toml") => FileKind::Tests,
        "data" if name == "entities.json" => FileKind::Entities,
        "data" if name == "asserted.json" => FileKind::Asserted,
        "data" if name == "principals.json" => FileKind::Principals,
        "data" if name == "purposes.json" => FileKind::Purposes,
        "data" if name == "resources.json" => FileKind::Resources,
        "data" if name == "declarers.json" => FileKind::Declarers,
        "data" if name == "threats.json" => FileKind::Threats,
        "data" if name == "rows.json" => FileKind::Rows,
        "" if name == "risk.toml" => FileKind::Risk,
        "" if name == "limits.toml" => FileKind::Limits,
        "exports" if stem(".toml") => return unsupported("export grants"),
        "data" if stem(".json") => {
            return unsupported(
                "data files other than entities.json, asserted.json, principals.json, purposes.json, resources.json, threats.json, declarers.json and rows.json",
            );
        }
        _ => {
            let folders =
                ["permissions", "obligations", "invariants", "guards", "schema", "tools", "data", "tests"];
            let close = nearest(folder, folders).filter(|close| *close != folder);
            let message = match close {
                Some(close) => format!("the file does not belong here; did you mean the folder `{close}`?"),
                None => "the file does not belong in a policy source".to_owned(),
            };
            return refuse(message, LAYOUT);
        }
    })
}

fn is_plain(stem: &str) -> bool {
    (1..=128).contains(&stem.len())
        && stem.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, want: Result<FileKind, &str>) {
        let got = classify(path).map_err(|finding| finding.message);
        match (got, want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want, "{path}"),
            (Err(got), Err(want)) => assert!(got.contains(want), "{path}: {got}"),
            (got, want) => panic!("{path}: {got:?}, expected {want:?}"),
        }
    }

    #[test]
    fn each_file_of_the_layout_is_known_and_its_neighbour_is_refused() {
        check("permissions/a.cedar", Ok(FileKind::Permissions));
        check("permissions/a.txt", Err("does not belong"));
        check("permission/a.cedar", Err("did you mean the folder `permissions`"));
        check("permissions/deep/a.cedar", Err("does not belong"));
        check("permissions/../a.cedar", Err("does not belong"));
        check("permissions/.cedar", Err("does not belong"));
        check("obligations/a.cedar", Ok(FileKind::Obligations));
        check("invariants/a.cedar", Ok(FileKind::Invariants));
        check("invariants/a.toml", Err("does not belong"));
        check("schema/a.cedarschema", Ok(FileKind::Schema));
        check("tools/a.toml", Ok(FileKind::Tools));
        check("tests/a.toml", Ok(FileKind::Tests));
        check("data/entities.json", Ok(FileKind::Entities));
        check("data/asserted.json", Ok(FileKind::Asserted));
        check("data/principals.json", Ok(FileKind::Principals));
        check("data/purposes.json", Ok(FileKind::Purposes));
        check("data/resources.json", Ok(FileKind::Resources));
        check("data/declarers.json", Ok(FileKind::Declarers));
        check("data/threats.json", Ok(FileKind::Threats));
        check("data/rows.json", Ok(FileKind::Rows));
        check("data/purpose.json", Err("not supported by this version"));
        check("data/other.json", Err("not supported by this version"));
        check("risk.toml", Ok(FileKind::Risk));
        check("guards/a.rego", Ok(FileKind::Guards));
        check("guards/a.cedar", Err("does not belong"));
        check("limits.toml", Ok(FileKind::Limits));
        check("exports/a.toml", Err("not supported by this version"));
        check("cordon-bundle.json", Err("does not belong"));
        check("README.md", Err("does not belong"));
        check("", Err("does not belong"));
    }

    #[test]
    fn the_digest_binds_every_path_and_every_byte() {
        let of = |files: &[(&str, &str)]| {
            files.iter().map(|(path, text)| (*path, text.as_bytes())).collect::<PolicySource>().digest()
        };
        let base = of(&[("permissions/a.cedar", "x"), ("permissions/b.cedar", "y")]);
        assert_eq!(base, of(&[("permissions/b.cedar", "y"), ("permissions/a.cedar", "x")]));
        assert_ne!(base, of(&[("permissions/a.cedar", "y"), ("permissions/b.cedar", "x")]));
        assert_ne!(base, of(&[("permissions/a.cedar", "x")]));
    }
}
