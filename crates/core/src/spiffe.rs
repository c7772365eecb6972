//! Names of workloads (SPIFFE-ID, §2).

use std::fmt;
use std::str::FromStr;

/// The name of a workload: `spiffe://<trust domain>/<path>`, in its one canonical spelling.
///
/// At most 2,048 bytes; the trust domain is lower case; no port, user, query, fragment, escapes or
/// empty, `.` and `..` segments; a workload has a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: Box<str>,
    /// Where the path begins.
    path: usize,
}

/// The text is not the name of a workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{got}` is not a workload's name such as `spiffe://prod.example/agent/reader`: {why}")]
pub struct InvalidSpiffeId {
    got: String,
    why: &'static str,
}

const SCHEME: &str = "spiffe://";
const BYTES_MAX: usize = 2_048;
const DOMAIN_BYTES_MAX: usize = 255;

impl SpiffeId {
    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain, whose authority names the workload.
    pub fn trust_domain(&self) -> &str {
        self.text.get(SCHEME.len()..self.path).unwrap_or_default()
    }
}

/// Whether `text` can be the name of a trust domain.
pub fn is_trust_domain(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    (1..=DOMAIN_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain)
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, InvalidSpiffeId> {
        let refuse = |why| Err(InvalidSpiffeId { got: text.chars().take(120).collect(), why });
        if text.len() > BYTES_MAX {
            return refuse("it is longer than 2048 bytes");
        }
        let Some(rest) = text.strip_prefix(SCHEME) else { return refuse("it begins otherwise") };
        let Some((domain, path)) = rest.split_once('/') else { return refuse("it has no path") };
        if !is_trust_domain(domain) {
            return refuse("its trust domain has characters beside a-z, 0-9, `.`, `-` and `_`");
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        for segment in path.split('/') {
            match segment {
                "" | "." | ".." => return refuse("its path has an empty or a relative segment"),
                _ if !segment.bytes().all(plain) => {
                    return refuse("its path has characters beside letters, digits, `.`, `-` and `_`");
                }
                _ => {}
            }
        }
        Ok(Self { text: text.into(), path: SCHEME.len().saturating_add(domain.len()) })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_has_one_spelling_and_near_ones_are_refused() {
        let id: SpiffeId = "spiffe://prod.example/agent/reader".parse().unwrap();
        assert_eq!((id.trust_domain(), id.as_str()), ("prod.example", "spiffe://prod.example/agent/reader"));
        for text in [
            "spiffe://prod.example",
            "spiffe://prod.example/",
            "spiffe://prod.example/agent/",
            "spiffe://prod.example//agent",
            "spiffe://prod.example/../admin",
            "spiffe://prod.example/./agent",
            "spiffe://Prod.example/agent",
            "SPIFFE://prod.example/agent",
            "spiffe:///agent",
            "spiffe://prod.example:443/agent",
            "spiffe://me@prod.example/agent",
            "spiffe://prod.example/agent?x",
            "spiffe://prod.example/agent#x",
            "spiffe://prod.example/%61gent",
            "https://prod.example/agent",
            "",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
        assert!(format!("spiffe://a/{}", "x".repeat(2_048)).parse::<SpiffeId>().is_err());
    }
}
