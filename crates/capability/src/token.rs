//! Tokens as they travel: minted by an issuer, narrowed by their holders, verified once.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use biscuit_auth::builder::{Algorithm, BiscuitBuilder};
use biscuit_auth::datalog::SymbolTable;
use biscuit_auth::format::schema;
use biscuit_auth::{Biscuit, KeyPair, PrivateKey, PublicKey, UnverifiedBiscuit};
use cordon_core::ed25519::{Signature, SigningKey, VerifyingKey};
use cordon_core::{Capability, CapabilityBlock, Caveat, Digest, Entropy};
use prost::Message as _;

use crate::block;

/// Longest token, in bytes before it is written as text.
pub const TOKEN_BYTES_MAX: usize = 12 << 10;
/// Most blocks of a token: the issuer's and one for each time it was narrowed.
pub const BLOCKS_MAX: usize = 16;
/// Most caveats in one block.
const CAVEATS_MAX: usize = 64;

/// A token is none that counts, or cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CapabilityError {
    /// It cannot be read.
    #[error("the token cannot be read")]
    Unreadable,
    /// It is larger than anything that is looked at.
    #[error("the token is larger than {TOKEN_BYTES_MAX} bytes or {BLOCKS_MAX} blocks")]
    TooLarge,
    /// The issuer did not sign it, or somebody changed it.
    #[error("the token's signatures do not hold")]
    Signature,
    /// A block says something that is not in the vocabulary.
    #[error("block {block} of the token says what is not understood: {what}")]
    Unknown {
        /// The block, from 0.
        block: usize,
        /// What it is.
        what: &'static str,
    },
    /// It names no holder, or somebody beside the holder passed it on.
    #[error("block {0} of the token was not passed on by its holder")]
    Holder(usize),
    /// A key is not one.
    #[error("the key cannot be used")]
    Key,
    /// A caveat cannot be written.
    #[error("the caveat `{0}` cannot be written in a token")]
    Caveat(Box<str>),
}

/// A token as it travels; nothing in it is believed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Vec<u8>);

/// The key of an issuer, for checking its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuerKey(PublicKey);

/// Who grants: holds the private key of a node's tokens.
pub struct Issuer(KeyPair);

impl Issuer {
    /// The issuer with this 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, CapabilityError> {
        Ok(Self(key_pair(seed)?))
    }

    /// What checks its tokens.
    pub fn key(&self) -> IssuerKey {
        IssuerKey(self.0.public())
    }

    /// A token with these caveats that only the holder of `holder` can use.
    pub fn mint(
        &self,
        holder: &VerifyingKey,
        caveats: &[Caveat],
        entropy: &mut dyn Entropy,
    ) -> Result<Token, CapabilityError> {
        let builder = BiscuitBuilder::new().merge(block::write(caveats, holder, None)?);
        let next = next_key(entropy)?;
        let token = builder.build_with_key_pair(&self.0, SymbolTable::new(), &next);
        Token::of(token.and_then(|token| token.to_vec()))
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("key", &self.0.public().to_bytes_hex()).finish()
    }
}

impl Token {
    fn of(made: Result<Vec<u8>, biscuit_auth::error::Token>) -> Result<Self, CapabilityError> {
        let bytes = made.map_err(|_| CapabilityError::Unreadable)?;
        if bytes.len() > TOKEN_BYTES_MAX { Err(CapabilityError::TooLarge) } else { Ok(Self(bytes)) }
    }

    /// Reads the text form: URL-safe base64 without padding.
    pub fn parse(text: &str) -> Result<Self, CapabilityError> {
        if text.len() / 4 > TOKEN_BYTES_MAX / 3 {
            return Err(CapabilityError::TooLarge);
        }
        URL_SAFE_NO_PAD.decode(text).map(Self).map_err(|_| CapabilityError::Unreadable)
    }

    /// The text form.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.0)
    }

    /// Names exactly these bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }

    /// A narrower token, made offline by the holder of this one: `next` can use it, and nobody else.
    pub fn attenuate(
        &self,
        holder: &SigningKey,
        next: &VerifyingKey,
        caveats: &[Caveat],
        entropy: &mut dyn Entropy,
    ) -> Result<Self, CapabilityError> {
        let token = UnverifiedBiscuit::from(&self.0).map_err(|_| CapabilityError::Unreadable)?;
        if token.block_count() >= BLOCKS_MAX {
            return Err(CapabilityError::TooLarge);
        }
        let last = token.revocation_identifiers().pop().ok_or(CapabilityError::Unreadable)?;
        let passed = holder.sign(&passing(&Digest::of(&last), next));
        let block = block::write(caveats, next, Some(&passed))?;
        let narrower = token.append_with_keypair(&next_key(entropy)?, block);
        Self::of(narrower.and_then(|token| token.to_vec()))
    }

    /// What the token allows, if `issuer` granted it and each holder passed it on.
    pub fn verify(&self, issuer: &IssuerKey) -> Result<Capability, CapabilityError> {
        if self.0.len() > TOKEN_BYTES_MAX {
            return Err(CapabilityError::TooLarge);
        }
        let token = Biscuit::from(&self.0, issuer.0).map_err(|error| match error {
            biscuit_auth::error::Token::Format(biscuit_auth::error::Format::Signature(_)) => {
                CapabilityError::Signature
            }
            _ => CapabilityError::Unreadable,
        })?;
        if token.block_count() > BLOCKS_MAX {
            return Err(CapabilityError::TooLarge);
        }
        let ids = token.revocation_identifiers();
        let container = token.container().to_proto();
        let mut symbols = Vec::new();
        let mut blocks = Vec::new();
        let mut holder = None;
        let signed = std::iter::once(&container.authority).chain(&container.blocks);
        for (index, (signed, id)) in signed.zip(&ids).enumerate() {
            if signed.external_signature.is_some() {
                return Err(CapabilityError::Unknown { block: index, what: "a third party's block" });
            }
            let written =
                schema::Block::decode(signed.block.as_slice()).map_err(|_| CapabilityError::Unreadable)?;
            // A member that the format does not know could be a condition that others check.
            if written.encoded_len() != signed.block.len() {
                return Err(CapabilityError::Unknown { block: index, what: "a member" });
            }
            symbols.extend(written.symbols.iter().cloned());
            let block = block::read(&written, &symbols)
                .map_err(|what| CapabilityError::Unknown { block: index, what })?;
            if block.caveats.len() > CAVEATS_MAX {
                return Err(CapabilityError::TooLarge);
            }
            let previous = index.checked_sub(1).and_then(|index| ids.get(index));
            passed_on(holder.as_ref(), previous, &block).ok_or(CapabilityError::Holder(index))?;
            holder = Some(block.holder);
            blocks.push(CapabilityBlock { id: Digest::of(id), caveats: block.caveats, used: 0 });
        }
        Ok(Capability { blocks, holder: holder.ok_or(CapabilityError::Unreadable)? })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.digest())
    }
}

/// Whether a block came from who held the token before it: the issuer's names the first holder, each
/// other one is signed by the holder before. Without that, whoever once saw a token could append a
/// block that names a key of their own.
fn passed_on(
    holder: Option<&VerifyingKey>,
    previous: Option<&Vec<u8>>,
    block: &block::Written,
) -> Option<()> {
    match (holder, previous, &block.passed) {
        (None, None, None) => Some(()),
        (Some(holder), Some(previous), Some(passed)) => {
            holder.verify(&passing(&Digest::of(previous), &block.holder), passed).ok()
        }
        _ => None,
    }
}

/// What a holder signs to pass a token on: the block that it has and who is next.
fn passing(last: &Digest, next: &VerifyingKey) -> Vec<u8> {
    [b"cordon/capability/holder/v1\n".as_slice(), last.as_bytes(), next.as_bytes()].concat()
}

fn key_pair(seed: &[u8; 32]) -> Result<KeyPair, CapabilityError> {
    let key = PrivateKey::from_bytes(seed, Algorithm::Ed25519).map_err(|_| CapabilityError::Key)?;
    Ok(KeyPair::from(&key))
}

/// The key that signs the next block; it travels in the token.
fn next_key(entropy: &mut dyn Entropy) -> Result<KeyPair, CapabilityError> {
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    key_pair(&seed)
}

/// A signature from its bytes.
pub(crate) fn signature(bytes: &[u8]) -> Option<Signature> {
    bytes.try_into().ok().map(Signature::from_bytes)
}
