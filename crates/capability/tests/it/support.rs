//! Keys, randomness that repeats, and a token to begin with.

use cordon_capability::{Issuer, Token};
use cordon_core::ed25519::SigningKey;
use cordon_core::{Caveat, Entropy};

/// Randomness from a seed (xorshift64*).
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % most
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.next().to_be_bytes()[0];
        }
    }
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

pub(crate) fn issuer() -> Issuer {
    Issuer::from_seed(&[9; 32]).unwrap()
}

/// A token for the holder of key 1.
pub(crate) fn token(caveats: &[Caveat]) -> Token {
    issuer().mint(&key(1).verifying_key(), caveats, &mut Seeded(7)).unwrap()
}
