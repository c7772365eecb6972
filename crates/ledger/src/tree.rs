//! The Merkle tree of RFC 6962 §2 and RFC 9162 §2.1, over SHA-256.

use cordon_core::{Digest, Hasher};

/// The root of the empty tree: the hash of nothing.
pub fn empty_root() -> Digest {
    Digest::of(b"")
}

/// The hash of an entry: `SHA-256(0x00 || entry)`.
pub fn leaf_hash(entry: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(&[0]).update(entry);
    hasher.finish()
}

/// The hash of an inner node: `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [0; 65];
    let parts = [1].into_iter().chain(*left.as_bytes()).chain(*right.as_bytes());
    bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    Digest::of(&bytes)
}
