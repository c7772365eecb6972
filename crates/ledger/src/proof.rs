//! Inclusion and consistency proofs (RFC 9162 §2.1.3 and §2.1.4), made from any source of subtree
//! hashes and checked from nothing but the proof.

use cordon_core::Digest;

use crate::tree::{Nodes, node_hash, range_hash};

/// A proof could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError<E> {
    /// There is no such entry in a tree of this size.
    #[error("entry {index} is not in a tree of {size} entries")]
    OutOfTree {
        /// The entry.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The older tree is empty or larger than the newer.
    #[error("a tree of {old} entries is not an earlier state of one of {new}")]
    NotEarlier {
        /// The older size.
        old: u64,
        /// The newer size.
        new: u64,
    },
    /// A hash was not to be had.
    #[error(transparent)]
    Nodes(E),
}

/// A proof does not show what it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not lead to this root")]
pub struct ProofRefused;

/// Proves that entry `index` is in the tree of `size` entries: the sibling hashes from the leaf upward.
pub fn prove_inclusion<N: Nodes>(
    nodes: &mut N,
    index: u64,
    size: u64,
) -> Result<Vec<Digest>, ProofError<N::Error>> {
    if index >= size {
        return Err(ProofError::OutOfTree { index, size });
    }
    let mut ranges = Vec::with_capacity(64);
    let (mut low, mut high) = (0, size);
    while let Some(middle) = split(low, high) {
        if index < middle {
            ranges.push((middle, high));
            high = middle;
        } else {
            ranges.push((low, middle));
            low = middle;
        }
    }
    hashes(nodes, &ranges)
}

/// Proves that the tree of `old` entries is the beginning of the tree of `new` entries.
pub fn prove_consistency<N: Nodes>(
    nodes: &mut N,
    old: u64,
    new: u64,
) -> Result<Vec<Digest>, ProofError<N::Error>> {
    if old == 0 || old > new {
        return Err(ProofError::NotEarlier { old, new });
    }
    let mut ranges = Vec::with_capacity(64);
    let (mut low, mut high, mut known) = (0, new, true);
    while old != high {
        let Some(middle) = split(low, high) else { break };
        if old <= middle {
            ranges.push((middle, high));
            high = middle;
        } else {
            ranges.push((low, middle));
            low = middle;
            known = false;
        }
    }
    if !known {
        ranges.push((low, high));
    }
    hashes(nodes, &ranges)
}

/// Checks an inclusion proof (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Digest,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), ProofRefused> {
    if index >= size {
        return Err(ProofRefused);
    }
    let (mut at, mut last, mut hash) = (index, size.saturating_sub(1), *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofRefused);
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    if last == 0 && hash == *root { Ok(()) } else { Err(ProofRefused) }
}

/// Checks a consistency proof (RFC 9162 §2.1.4.2).
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Digest,
    new_root: &Digest,
    proof: &[Digest],
) -> Result<(), ProofRefused> {
    if old == 0 || old > new {
        return Err(ProofRefused);
    }
    if old == new {
        return if proof.is_empty() && old_root == new_root { Ok(()) } else { Err(ProofRefused) };
    }
    let (first, rest) = if old.is_power_of_two() {
        (*old_root, proof)
    } else {
        let (first, rest) = proof.split_first().ok_or(ProofRefused)?;
        (*first, rest)
    };
    let (mut at, mut last) = (old.saturating_sub(1), new.saturating_sub(1));
    while at & 1 == 1 {
        (at, last) = (at >> 1, last >> 1);
    }
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofRefused);
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    if last == 0 && old_hash == *old_root && new_hash == *new_root { Ok(()) } else { Err(ProofRefused) }
}

/// Where a tree over more than one leaf divides: the largest power of two below its size.
fn split(low: u64, high: u64) -> Option<u64> {
    let size = high.checked_sub(low).filter(|size| *size > 1)?;
    low.checked_add(1 << size.saturating_sub(1).ilog2())
}

/// The hashes of the ranges, the deepest first.
fn hashes<N: Nodes>(nodes: &mut N, ranges: &[(u64, u64)]) -> Result<Vec<Digest>, ProofError<N::Error>> {
    let hash = |(low, high): &(u64, u64)| range_hash(nodes, *low, *high).map_err(ProofError::Nodes);
    ranges.iter().rev().map(hash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{MemoryTree, leaf_hash};

    fn tree(size: u32) -> (MemoryTree, Vec<Digest>) {
        let leaves: Vec<Digest> = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let mut tree = MemoryTree::default();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        (tree, leaves)
    }

    #[test]
    fn every_entry_of_every_small_tree_is_proved_and_no_other_is() {
        let (tree, leaves) = tree(40);
        for size in 1..=40u64 {
            let root = tree.root_at(size).unwrap();
            for index in 0..size {
                let proof = prove_inclusion(&mut &tree, index, size).unwrap();
                let leaf = &leaves[index as usize];
                assert_eq!(verify_inclusion(index, size, leaf, &proof, &root), Ok(()), "{index} in {size}");
                let other = leaf_hash(b"another");
                assert!(verify_inclusion(index, size, &other, &proof, &root).is_err());
                if size > 1 {
                    let elsewhere = (index + 1) % size;
                    assert!(verify_inclusion(elsewhere, size, leaf, &proof, &root).is_err());
                    let mut longer = proof.clone();
                    longer.push(other);
                    assert!(verify_inclusion(index, size, leaf, &longer, &root).is_err());
                    assert!(verify_inclusion(index, size, leaf, &proof[1..], &root).is_err());
                }
            }
        }
        assert!(prove_inclusion(&mut &tree, 40, 40).is_err());
    }

    #[test]
    fn every_earlier_tree_is_proved_and_no_other_history_is() {
        let (tree, _) = tree(40);
        for new in 1..=40u64 {
            let new_root = tree.root_at(new).unwrap();
            for old in 1..=new {
                let old_root = tree.root_at(old).unwrap();
                let proof = prove_consistency(&mut &tree, old, new).unwrap();
                assert_eq!(
                    verify_consistency(old, new, &old_root, &new_root, &proof),
                    Ok(()),
                    "{old} to {new}"
                );
                let forged = leaf_hash(b"another history");
                assert!(verify_consistency(old, new, &forged, &new_root, &proof).is_err());
                assert!(verify_consistency(old, new, &old_root, &forged, &proof).is_err());
            }
        }
        assert!(prove_consistency(&mut &tree, 0, 5).is_err());
        assert!(prove_consistency(&mut &tree, 6, 5).is_err());
    }
}
