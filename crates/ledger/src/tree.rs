//! The Merkle tree of RFC 6962 §2 and RFC 9162 §2.1, over SHA-256.

use std::convert::Infallible;

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
    let mut bytes = [1; 65];
    if let Some((_, rest)) = bytes.split_first_mut() {
        let (to_left, to_right) = rest.split_at_mut(32);
        to_left.copy_from_slice(left.as_bytes());
        to_right.copy_from_slice(right.as_bytes());
    }
    Digest::of(&bytes)
}

/// The root of a tree given its perfect subtrees, largest first.
pub(crate) fn fold(peaks: &[Digest]) -> Digest {
    let mut peaks = peaks.iter().rev();
    let Some(last) = peaks.next() else { return empty_root() };
    peaks.fold(*last, |right, left| node_hash(left, &right))
}

/// The right edge of a tree: all that is needed to append and to know the root.
// INVARIANT: one peak for each one bit of `size`, the largest subtree first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The frontier of a tree of `size` leaves with these perfect subtrees, largest first.
    pub fn from_parts(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        (peaks.len() as u64 == u64::from(size.count_ones())).then_some(Self { size, peaks })
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Digest) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size = self.size.saturating_add(1);
    }

    /// How many leaves there are.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root.
    pub fn root(&self) -> Digest {
        fold(&self.peaks)
    }

    /// The perfect subtrees, largest first.
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }
}

/// Gives the hashes of perfect subtrees: `index` counts subtrees of `2^level` leaves from the left.
pub trait Nodes {
    /// Why a hash is not to be had.
    type Error;
    /// The hash of the perfect subtree.
    fn node(&mut self, level: u8, index: u64) -> Result<Digest, Self::Error>;
}

/// The hash of the leaves from `low` to below `high`, where `low` starts a subtree that holds them.
pub(crate) fn range_hash<N: Nodes>(nodes: &mut N, low: u64, high: u64) -> Result<Digest, N::Error> {
    let mut peaks = Vec::with_capacity(8);
    let mut at = low;
    while at < high {
        let left = high.saturating_sub(at);
        let level = left.ilog2().min(at.trailing_zeros());
        peaks.push(nodes.node(u8::try_from(level).unwrap_or(u8::MAX), at >> level)?);
        at = at.saturating_add(1 << level);
    }
    Ok(fold(&peaks))
}

/// The root of the tree of the first `size` leaves.
pub fn root_of<N: Nodes>(nodes: &mut N, size: u64) -> Result<Digest, N::Error> {
    range_hash(nodes, 0, size)
}

/// A whole tree in memory: 64 bytes a leaf.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree {
    /// The perfect subtrees of each level, leaves first.
    levels: Vec<Vec<Digest>>,
}

impl MemoryTree {
    /// Appends a leaf.
    pub fn push(&mut self, leaf: Digest) {
        let mut hash = leaf;
        for level in 0..64 {
            if self.levels.len() <= level {
                self.levels.push(Vec::new());
            }
            let Some(hashes) = self.levels.get_mut(level) else { return };
            hashes.push(hash);
            match hashes.as_slice() {
                [.., left, right] if hashes.len().is_multiple_of(2) => hash = node_hash(left, right),
                _ => return,
            }
        }
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// The root when the tree had `size` leaves; none if it never had so many.
    pub fn root_at(&self, size: u64) -> Option<Digest> {
        (size <= self.size()).then(|| root_of(&mut &*self, size).unwrap_or_else(|never| match never {}))
    }
}

impl Nodes for &MemoryTree {
    type Error = Infallible;

    fn node(&mut self, level: u8, index: u64) -> Result<Digest, Infallible> {
        let hashes = self.levels.get(usize::from(level));
        let hash = usize::try_from(index).ok().and_then(|index| hashes?.get(index));
        // Only subtrees within the tree are asked for; anything else hashes to what cannot verify.
        Ok(hash.copied().unwrap_or_else(empty_root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree of RFC 6962 §2.1 as its definition says.
    fn defined(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                node_hash(&defined(&leaves[..split]), &defined(&leaves[split..]))
            }
        }
    }

    #[test]
    fn frontier_and_memory_have_the_root_that_the_definition_has() {
        let leaves: Vec<Digest> = (0u32..300).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let (mut frontier, mut memory) = (Frontier::default(), MemoryTree::default());
        assert_eq!(frontier.root(), empty_root());
        for (n, leaf) in leaves.iter().enumerate() {
            frontier.push(*leaf);
            memory.push(*leaf);
            assert_eq!(frontier.root(), defined(&leaves[..=n]));
            assert_eq!(memory.root_at(n as u64 + 1), Some(frontier.root()));
        }
        assert_eq!(memory.root_at(77), Some(defined(&leaves[..77])));
        assert_eq!(memory.root_at(301), None);
        assert_eq!(Frontier::from_parts(300, frontier.peaks().to_vec()), Some(frontier.clone()));
        assert_eq!(Frontier::from_parts(301, frontier.peaks().to_vec()), None);
    }
}
