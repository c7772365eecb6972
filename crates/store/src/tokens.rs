//! Bearer tokens for one machine, in files that only their owner reads.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cordon_guard::ports::Random;

use crate::datadir::write_new;

/// What the bearer of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenRole {
    /// Everything that a person at this machine may do.
    Operator,
    /// Ask for decisions about principals it vouches for.
    Pep,
    /// Call tools; never approve, release or read tokens.
    Agent,
}

impl TokenRole {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Operator, Self::Pep, Self::Agent];

    /// The role as its file is named.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Pep => "pep",
            Self::Agent => "agent",
        }
    }
}

/// A bearer token: 256 bits in base64url; its debug text never shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl Token {
    /// The text to put behind `Bearer `.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A token file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It cannot be read or written.
    #[error("cannot use the token file `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Others may read it.
    #[error("`{}` has mode {mode:o}, expected 600: others may have read it; delete it to get a new one", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It does not hold a token.
    #[error("`{}` does not hold a token of 43 base64url characters; delete it to get a new one", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// The three tokens of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens(Vec<(TokenRole, Token)>);

impl Tokens {
    /// Reads the tokens under `dir`, making those that are missing.
    pub fn open(dir: &Path, random: &dyn Random) -> Result<Self, TokenError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| TokenError::Io { path: dir.to_owned(), source })?;
        let token = |role: TokenRole| {
            let path = dir.join(role.as_str());
            if !path.exists() {
                let mut bytes = [0; 32];
                random.fill(&mut bytes);
                let text = format!("{}\n", URL_SAFE_NO_PAD.encode(bytes));
                write_new(&path, text.as_bytes())
                    .map_err(|source| TokenError::Io { path: path.clone(), source })?;
            }
            Ok((role, read(&path)?))
        };
        TokenRole::ALL.into_iter().map(token).collect::<Result<_, _>>().map(Self)
    }

    /// The token of each role.
    pub fn iter(&self) -> impl Iterator<Item = (TokenRole, &Token)> {
        self.0.iter().map(|(role, token)| (*role, token))
    }
}

/// Reads one token file; refuses one that others may read.
pub fn read(path: &Path) -> Result<Token, TokenError> {
    let failed = |source| TokenError::Io { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(failed)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(TokenError::Open { path: path.to_owned(), mode });
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let text = text.trim_end_matches('\n');
    let decoded = URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == 32);
    decoded.map(|_| Token(text.into())).ok_or_else(|| TokenError::Malformed { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::SystemRandom;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn tokens_are_made_once_and_readable_by_their_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("tokens");
        let first = Tokens::open(&dir, &SystemRandom).unwrap();
        assert_eq!(Tokens::open(&dir, &SystemRandom).unwrap(), first);
        let texts: std::collections::BTreeSet<&str> = first.iter().map(|(_, token)| token.expose()).collect();
        assert_eq!(texts.len(), 3, "each role has its own");
        for role in TokenRole::ALL {
            assert_eq!(fs::metadata(dir.join(role.as_str())).unwrap().mode() & 0o777, 0o600);
        }
        assert!(!format!("{first:?}").contains(texts.first().unwrap()));
    }

    #[test]
    fn a_token_that_others_may_read_or_that_is_none_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("tokens");
        Tokens::open(&dir, &SystemRandom).unwrap();
        let agent = dir.join("agent");
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Tokens::open(&dir, &SystemRandom), Err(TokenError::Open { mode: 0o640, .. })));
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "short", "!!!!", &"A".repeat(44)] {
            fs::write(&agent, text).unwrap();
            assert!(matches!(read(&agent), Err(TokenError::Malformed { .. })), "{text}");
        }
    }
}
