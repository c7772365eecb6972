//! Token files: secrets of this machine, one for each role.

use std::fmt;
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use cordon_core::Digest;

use crate::Caller;

/// The tokens that count on this node.
#[derive(Debug, Default)]
pub struct Tokens(Vec<Token>);

/// One token and whom it stands for. Only its digest is kept, and it is never shown.
pub struct Token {
    digest: Digest,
    caller: Caller,
}

/// A token file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It cannot be read.
    #[error("the token file `{path}` cannot be read: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It holds too little to be a secret.
    #[error("the token in `{path}` is shorter than 32 characters")]
    Short {
        /// The file.
        path: String,
    },
}

/// Fewest characters of a token.
const TOKEN_CHARS_MIN: usize = 32;

impl Tokens {
    /// These tokens.
    pub fn new(tokens: impl IntoIterator<Item = Token>) -> Self {
        Self(tokens.into_iter().collect())
    }

    /// Whom `token` stands for. Every token is compared, in time that depends on none of them.
    pub fn caller(&self, token: &str) -> Option<Caller> {
        let digest = Digest::of(token.as_bytes());
        let mut found = None;
        for known in &self.0 {
            if verify_slices_are_equal(known.digest.as_bytes(), digest.as_bytes()).is_ok() {
                found = Some(&known.caller);
            }
        }
        found.cloned()
    }
}

impl Token {
    /// The token `secret`, which stands for `caller`.
    pub fn new(secret: &str, caller: Caller) -> Self {
        Self { digest: Digest::of(secret.trim().as_bytes()), caller }
    }

    /// The token in a file, white space around it left out.
    pub fn read(path: &Path, caller: Caller) -> Result<Self, TokenError> {
        let shown = || path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| TokenError::Read { path: shown(), source })?;
        if text.trim().len() < TOKEN_CHARS_MIN {
            return Err(TokenError::Short { path: shown() });
        }
        Ok(Self::new(&text, caller))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("caller", &self.caller.key()).finish_non_exhaustive()
    }
}
