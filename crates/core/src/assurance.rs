//! How surely it is known who calls.

use std::str::FromStr;

use crate::InvalidName;

/// How surely it is known who calls, from the weakest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Assurance {
    /// An enforcement point says so, and nobody checked.
    #[default]
    Asserted,
    /// The operating system says which user it is.
    Local,
    /// A credential that whoever holds it can use.
    Credential,
    /// A credential bound to a key that the caller proved to hold.
    Bound,
}

impl Assurance {
    /// Every degree, the weakest first.
    pub const ALL: [Self; 4] = [Self::Asserted, Self::Local, Self::Credential, Self::Bound];

    /// The degree as written in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asserted => "asserted",
            Self::Local => "local",
            Self::Credential => "credential",
            Self::Bound => "bound",
        }
    }
}

impl FromStr for Assurance {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::ALL
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or_else(|| InvalidName::new("`asserted`, `local`, `credential` or `bound`", text))
    }
}
