//! What a bundle's signers say: in-toto Statement v1 with Cordon's predicate.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use cordon_core::json::{self, Node, quote};
use cordon_core::{Digest, InvalidName, Limits, Timestamp};

use super::BundleError;
use super::dsse::only;

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "urn:cordon:bundle:v1";

/// The largest epoch: whole numbers above it are not exact for every JSON reader.
pub const EPOCH_MAX: u64 = (1 << 53) - 1;

/// What a bundle may contain and who signs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BundleRole {
    /// Policies, manifests, data and tests.
    Policy,
    /// Tool manifests only.
    Tools,
    /// Prohibitions only; honoured even when the policy bundle has expired.
    Kill,
}

impl BundleRole {
    /// Every role.
    pub const ALL: &'static [Self] = &[Self::Policy, Self::Tools, Self::Kill];

    /// The role as written in statements and configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Tools => "tools",
            Self::Kill => "kill",
        }
    }
}

impl fmt::Display for BundleRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BundleRole {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::ALL
            .iter()
            .copied()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| InvalidName::new("a bundle role (`policy`, `tools` or `kill`)", text))
    }
}

/// What the signers say about a set of files, apart from the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleTerms {
    /// What the bundle may contain.
    pub role: BundleRole,
    /// The bundle's name.
    pub name: Box<str>,
    /// The tenant it is for.
    pub tenant: Box<str>,
    /// Its place in the order of bundles of this role: 1 to 2⁵³ − 1, never going down.
    pub epoch: u64,
    /// It holds from this instant on.
    pub not_before: Timestamp,
    /// It holds until just before this instant.
    pub expires: Timestamp,
}

/// The statement that is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What is said about the files.
    pub terms: BundleTerms,
    /// The digest of each file by its path; these and no others.
    pub files: BTreeMap<Box<str>, Digest>,
}

/// The statement over `files` under `terms`; the envelope itself is left out.
pub fn build_statement(
    files: &BTreeMap<Box<str>, Vec<u8>>,
    terms: BundleTerms,
) -> Result<Statement, BundleError> {
    let files = files
        .iter()
        .filter(|(path, _)| &***path != crate::ENVELOPE_FILE)
        .map(|(path, bytes)| (path.clone(), Digest::of(bytes)))
        .collect();
    let statement = Statement { terms, files };
    // What is written here is read back under the same rules by everybody else.
    Statement::parse(statement.to_json().as_bytes())
}

impl Statement {
    /// The statement as JSON text, always the same for the same statement.
    pub fn to_json(&self) -> String {
        let subjects: Vec<String> = self
            .files
            .iter()
            .map(|(path, digest)| {
                format!("{{\"name\":{},\"digest\":{{\"sha256\":\"{}\"}}}}", quote(path), digest.hex())
            })
            .collect();
        let terms = &self.terms;
        format!(
            "{{\"_type\":\"{STATEMENT_TYPE}\",\"subject\":[{}],\"predicateType\":\"{PREDICATE_TYPE}\",\
             \"predicate\":{{\"role\":\"{}\",\"name\":{},\"tenant\":{},\"epoch\":{},\
             \"not_before\":\"{}\",\"expires\":\"{}\"}}}}",
            subjects.join(","),
            terms.role,
            quote(&terms.name),
            quote(&terms.tenant),
            terms.epoch,
            terms.not_before,
            terms.expires
        )
    }

    /// The digest of the statement's text: it names one bundle of one epoch.
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_json().as_bytes())
    }

    /// Reads a statement strictly.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        let bad = |problem: String| BundleError::Statement { problem };
        let limits = Limits { message_bytes_max: 8 << 20, depth_max: 8, ..Limits::DEFAULT };
        let node = json::parse(bytes, &limits).map_err(|error| bad(error.to_string()))?;
        only(&node, &["_type", "subject", "predicateType", "predicate"]).map_err(bad)?;
        for (name, want) in [("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)] {
            let got = text(&node, name).map_err(bad)?;
            if got != want {
                return Err(bad(format!("`{name}` is `{got}`, expected `{want}`")));
            }
        }
        let terms = terms(node.get("predicate")).map_err(bad)?;
        let mut files = BTreeMap::new();
        for subject in node.get("subject").map(Node::items).unwrap_or_default() {
            let (path, digest) = subject_of(subject).map_err(bad)?;
            if files.insert(path.clone(), digest).is_some() {
                return Err(bad(format!("the file `{path}` is listed twice")));
            }
        }
        Ok(Self { terms, files })
    }
}

fn terms(node: Option<&Node>) -> Result<BundleTerms, String> {
    let node = node.ok_or("`predicate` is missing")?;
    only(node, &["role", "name", "tenant", "epoch", "not_before", "expires"])?;
    let time = |name: &str| {
        let got = text(node, name)?;
        Timestamp::parse_rfc3339(got)
            .ok_or_else(|| format!("`{name}` is `{got}`, expected a time such as `2027-01-31T00:00:00Z`"))
    };
    let label = |name: &str| {
        let got = text(node, name)?;
        let plain = (1..=128).contains(&got.len()) && !got.chars().any(char::is_control);
        plain.then(|| Box::<str>::from(got)).ok_or_else(|| format!("`{name}` is not 1 to 128 plain bytes"))
    };
    let epoch = node
        .get("epoch")
        .and_then(Node::as_i64)
        .and_then(|epoch| u64::try_from(epoch).ok())
        .filter(|epoch| (1..=EPOCH_MAX).contains(epoch))
        .ok_or_else(|| format!("`epoch` is not a whole number from 1 to {EPOCH_MAX}"))?;
    let terms = BundleTerms {
        role: text(node, "role")?.parse().map_err(|error: InvalidName| error.to_string())?,
        name: label("name")?,
        tenant: label("tenant")?,
        epoch,
        not_before: time("not_before")?,
        expires: time("expires")?,
    };
    if terms.expires <= terms.not_before {
        return Err(format!(
            "`expires` ({}) is not after `not_before` ({})",
            terms.expires, terms.not_before
        ));
    }
    Ok(terms)
}

fn subject_of(node: &Node) -> Result<(Box<str>, Digest), String> {
    only(node, &["name", "digest"])?;
    let path = text(node, "name")?;
    if !is_path(path) {
        return Err(format!("`{path}` is not a relative path of plain parts"));
    }
    let digest = node.get("digest").ok_or_else(|| format!("`digest` of `{path}` is missing"))?;
    only(digest, &["sha256"])?;
    let hex = text(digest, "sha256")?;
    let digest = format!("sha256:{hex}").parse::<Digest>().map_err(|error| error.to_string())?;
    Ok((path.into(), digest))
}

fn text<'n>(node: &'n Node, name: &str) -> Result<&'n str, String> {
    node.get(name).and_then(Node::as_text).ok_or_else(|| format!("`{name}` is not a text"))
}

/// A relative path that means the same on every system.
fn is_path(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    (1..=256).contains(&path.len())
        && path != crate::ENVELOPE_FILE
        && path.bytes().all(plain)
        && path.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        let files = BTreeMap::from([("permissions/a.cedar".into(), b"permit".to_vec())]);
        let terms = BundleTerms {
            role: BundleRole::Policy,
            name: "starter".into(),
            tenant: "default".into(),
            epoch: 7,
            not_before: Timestamp::from_micros(1_000_000),
            expires: Timestamp::from_micros(2_000_000),
        };
        build_statement(&files, terms).unwrap()
    }

    #[test]
    fn a_statement_round_trips_through_its_text() {
        let statement = statement();
        assert_eq!(Statement::parse(statement.to_json().as_bytes()), Ok(statement));
    }

    #[test]
    fn statements_that_are_not_fully_understood_are_refused() {
        let good = statement().to_json();
        for (from, to) in [
            ("Statement/v1", "Statement/v2"),
            ("bundle:v1", "bundle:v2"),
            ("\"epoch\":7", "\"epoch\":0"),
            ("\"epoch\":7", "\"epoch\":7.5"),
            ("\"epoch\":7", "\"epoch\":9007199254740992"),
            ("\"epoch\":7", "\"epoch\":7,\"extra\":1"),
            ("\"role\":\"policy\"", "\"role\":\"root\""),
            ("1970-01-01T00:00:02Z", "1970-01-01T00:00:01Z"),
            ("1970-01-01T00:00:02Z", "tomorrow"),
            ("permissions/a.cedar", "../a.cedar"),
            ("permissions/a.cedar", "/a.cedar"),
            ("permissions/a.cedar", "permissions//a.cedar"),
            ("permissions/a.cedar", "permissions/.a.cedar"),
            ("permissions/a.cedar", "cordon-bundle.json"),
            ("\"sha256\"", "\"sha512\""),
            ("\"starter\"", "\"\""),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert!(Statement::parse(bad.as_bytes()).is_err(), "{to}");
        }
    }

    #[test]
    fn a_file_listed_twice_is_refused() {
        let good = statement().to_json();
        let list = good.split("\"subject\":[").nth(1).unwrap().split(']').next().unwrap();
        let bad = good.replacen(list, &format!("{list},{list}"), 1);
        let error = Statement::parse(bad.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("listed twice"), "{error}");
    }
}
