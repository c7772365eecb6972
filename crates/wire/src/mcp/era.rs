//! Protocol versions and the two eras they fall into.

use std::fmt;

use cordon_core::json::Node;

use super::{Kind, Message, Problem, Refusal};

/// The key in `params._meta` under which a modern request carries its protocol version.
pub(super) const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";

/// How two sides agree on what they speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Era {
    /// A handshake (`initialize`), sessions, and requests in both directions.
    Legacy,
    /// Every request carries its version; a server asks for input in its results.
    Modern,
}

impl Era {
    /// The era as written in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }

    /// The era that a message itself declares, if it declares one: a request that carries a modern
    /// version is modern, `initialize` without one is legacy. Everything else (a legacy request
    /// after the handshake, a notification, an answer) belongs to its connection's era.
    ///
    /// `header` is the value of `MCP-Protocol-Version`, where there is one. A version that is not
    /// known, or a header and a body that disagree, is a refusal.
    pub fn of(message: &Message, header: Option<&str>) -> Result<Option<Self>, Refusal> {
        let fail = |problem| Refusal { id: message.id().cloned(), problem };
        let known = |text: &str| {
            Version::parse(text).ok_or_else(|| fail(Problem::UnsupportedVersion { requested: cut(text) }))
        };
        if message.method().is_none() {
            return header.map(known).transpose().map(|version| version.map(Version::era));
        }
        let body = match message.meta(VERSION_KEY) {
            None => None,
            Some(node) => Some(node.as_text().ok_or_else(|| {
                fail(Problem::Type {
                    name: "params._meta[\"io.modelcontextprotocol/protocolVersion\"]",
                    expected: "text",
                })
            })?),
        };
        match (body, header) {
            (Some(body), Some(header)) if body != header => Err(fail(mismatch(header, body))),
            (Some(body), _) => match known(body)? {
                version if version.era() == Self::Modern => Ok(Some(Self::Modern)),
                // A version of the handshake era inside a modern request is one that is not spoken.
                version => Err(fail(Problem::UnsupportedVersion { requested: version.as_str().into() })),
            },
            (None, Some(header)) => match known(header)?.era() {
                Self::Legacy => Ok(Some(Self::Legacy)),
                Self::Modern if matches!(message.kind(), Kind::Notification { .. }) => Ok(Some(Self::Modern)),
                Self::Modern => Err(fail(mismatch(header, "nothing"))),
            },
            (None, None) if message.method() == Some("initialize") => Ok(Some(Self::Legacy)),
            (None, None) => Ok(None),
        }
    }
}

fn mismatch(header: &str, body: &str) -> Problem {
    Problem::Header(
        format!("`MCP-Protocol-Version` is `{}` and the body says `{}`", cut(header), cut(body)).into(),
    )
}

fn cut(text: &str) -> Box<str> {
    text.chars().take(80).collect::<String>().into()
}

/// A published protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 2024-11-05
    V2024_11_05,
    /// 2025-03-26
    V2025_03_26,
    /// 2025-06-18
    V2025_06_18,
    /// 2025-11-25
    V2025_11_25,
    /// 2026-07-28
    V2026_07_28,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: &'static [Self] =
        &[Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// The version as written on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The version that `text` names exactly.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|version| version.as_str() == text)
    }

    /// The era it belongs to.
    pub const fn era(self) -> Era {
        match self {
            Self::V2026_07_28 => Era::Modern,
            _ => Era::Legacy,
        }
    }

    /// The version that an `initialize` asks for, or that its answer settles on.
    pub fn negotiated(message: &Message) -> Option<Self> {
        let from = message.params().or_else(|| message.result());
        from?.get("protocolVersion").and_then(Node::as_text).and_then(Self::parse)
    }

    /// Every version as text, newest first, for people.
    pub(super) fn list() -> String {
        let names: Vec<_> = Self::ALL.iter().rev().map(|version| version.as_str()).collect();
        names.join(", ")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
