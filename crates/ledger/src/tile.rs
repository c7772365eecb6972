//! Tiles of 256 hashes and bundles of 256 entries, as C2SP `tlog-tiles` lays them out.

use cordon_core::Digest;

use crate::tree::{Nodes, fold, node_hash};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
const WIDTH: u64 = TILE_WIDTH as u64;

/// One tile: hashes of perfect subtrees of `256^level` leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// How many tiles are below it.
    pub level: u8,
    /// Its place in the level, from 0.
    pub index: u64,
    /// How many hashes it has, from 1 to 256.
    pub width: u16,
}

/// One bundle of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bundle {
    /// Its place, from 0.
    pub index: u64,
    /// How many entries it has, from 1 to 256.
    pub width: u16,
}

impl Tile {
    /// The tile that holds hash `index` of a level, as wide as it is in a tree of `size` leaves; none if
    /// the tree has no such hash.
    pub fn holding(level: u8, index: u64, size: u64) -> Option<Self> {
        let hashes = size.checked_shr(u32::from(level).checked_mul(8)?).unwrap_or(0);
        if index >= hashes {
            return None;
        }
        let tile = index / WIDTH;
        let before = tile.checked_mul(WIDTH)?;
        let width = hashes.checked_sub(before)?.min(WIDTH);
        Some(Self { level, index: tile, width: u16::try_from(width).ok()? })
    }

    /// The tile's path below the log's prefix, such as `tile/0/x001/234.p/17`.
    pub fn path(&self) -> String {
        format!("tile/{}/{}{}", self.level, spread(self.index), partial(self.width))
    }
}

impl Bundle {
    /// The bundle that holds entry `index` in a tree of `size` entries; none if it is not in the tree.
    pub fn holding(index: u64, size: u64) -> Option<Self> {
        Tile::holding(0, index, size).map(|tile| Self { index: tile.index, width: tile.width })
    }

    /// The bundle's path below the log's prefix, such as `tile/entries/x001/234.p/17`.
    pub fn path(&self) -> String {
        format!("tile/entries/{}{}", spread(self.index), partial(self.width))
    }
}

/// A number in groups of three digits, all but the last marked with an `x`.
fn spread(index: u64) -> String {
    let mut text = format!("{:03}", index % 1_000);
    let mut rest = index / 1_000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1_000);
        rest /= 1_000;
    }
    text
}

fn partial(width: u16) -> String {
    if width < TILE_WIDTH { format!(".p/{width}") } else { String::new() }
}

/// Appends one entry to a bundle: its length in two bytes, big endian, then its bytes.
pub fn bundle_entry(bundle: &mut Vec<u8>, entry: &[u8]) {
    // An entry has at most 65,535 bytes; see `ENTRY_BYTES_MAX`.
    let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
}

/// The entries of a bundle, in order; `None` in place of an entry whose length is wrong, and the end.
pub fn bundle_entries(mut bundle: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        if bundle.is_empty() {
            return None;
        }
        let whole = bundle
            .split_first_chunk::<2>()
            .and_then(|(length, rest)| rest.split_at_checked(usize::from(u16::from_be_bytes(*length))));
        bundle = whole.map_or(&[], |(_, rest)| rest);
        Some(whole.map(|(entry, _)| entry))
    })
}

/// The hashes in a tile's bytes.
pub fn tile_hashes(bytes: &[u8]) -> impl ExactSizeIterator<Item = Digest> + '_ {
    bytes.as_chunks::<32>().0.iter().map(|bytes| Digest::from_bytes(*bytes))
}

/// Collects leaf hashes into tiles, a level at a time.
#[derive(Debug, Clone, Default)]
pub struct TileBuilder {
    size: u64,
    /// The hashes of each level's unfinished tile.
    levels: Vec<Vec<Digest>>,
}

impl TileBuilder {
    /// Continues a tree of `size` leaves, asking `full` for the bytes of full tiles. None if one is
    /// missing or of the wrong length.
    pub fn resume(size: u64, mut full: impl FnMut(Tile) -> Option<Vec<u8>>) -> Option<Self> {
        let mut levels = Vec::new();
        let mut level = 0u8;
        loop {
            let hashes = size.checked_shr(u32::from(level).checked_mul(8)?).unwrap_or(0);
            if hashes == 0 {
                break;
            }
            let begun = hashes % WIDTH;
            let first = hashes.checked_sub(begun)?;
            let mut unfinished = Vec::with_capacity(usize::from(TILE_WIDTH));
            for index in first..hashes {
                // A leaf hash is in no tile below it: level 0 resumes only at whole tiles.
                let below = level.checked_sub(1)?;
                let bytes = full(Tile { level: below, index, width: TILE_WIDTH })?;
                unfinished.push(tile_root(&bytes)?);
            }
            levels.push(unfinished);
            level = level.checked_add(1)?;
        }
        Some(Self { size, levels })
    }

    /// Appends a leaf hash and gives every tile that it completes to `emit`.
    pub fn push(&mut self, leaf: Digest, mut emit: impl FnMut(Tile, &[Digest])) {
        let mut hash = leaf;
        for level in 0..8u8 {
            if self.levels.len() <= usize::from(level) {
                self.levels.push(Vec::with_capacity(usize::from(TILE_WIDTH)));
            }
            let Some(hashes) = self.levels.get_mut(usize::from(level)) else { break };
            hashes.push(hash);
            if hashes.len() < usize::from(TILE_WIDTH) {
                break;
            }
            let index = self.size >> (u32::from(level).saturating_add(1).saturating_mul(8));
            emit(Tile { level, index, width: TILE_WIDTH }, hashes);
            hash = perfect_root(hashes);
            hashes.clear();
        }
        self.size = self.size.saturating_add(1);
    }

    /// How many leaves there are.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The unfinished tiles.
    pub fn partial(&self) -> impl Iterator<Item = (Tile, &[Digest])> {
        self.levels.iter().enumerate().filter_map(|(level, hashes)| {
            let index = self.size.checked_shr(u32::try_from(level).ok()?.checked_add(1)?.checked_mul(8)?);
            let width = u16::try_from(hashes.len()).ok().filter(|width| *width > 0)?;
            let tile = Tile { level: u8::try_from(level).ok()?, index: index.unwrap_or(0), width };
            Some((tile, hashes.as_slice()))
        })
    }
}

fn tile_root(bytes: &[u8]) -> Option<Digest> {
    let hashes: Vec<Digest> = tile_hashes(bytes).collect();
    (bytes.len() == usize::from(TILE_WIDTH).checked_mul(32)?).then(|| perfect_root(&hashes))
}

/// The root over a power of two of hashes.
fn perfect_root(hashes: &[Digest]) -> Digest {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => node_hash(left, right),
                _ => fold(pair),
            })
            .collect();
    }
    fold(&row)
}

/// Gives the bytes of a tile.
pub trait TileSource {
    /// Why a tile is not to be had.
    type Error;
    /// The bytes of at least the first `tile.width` hashes of the tile.
    fn tile(&mut self, tile: Tile) -> Result<Vec<u8>, Self::Error>;
}

/// A tile is not what its place says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TileError<E> {
    /// The tile has fewer hashes than the tree has there.
    #[error("`{path}` has {got} hashes, expected {expected}", path = .tile.path(), expected = .tile.width)]
    Short {
        /// The tile.
        tile: Tile,
        /// How many hashes there are.
        got: usize,
    },
    /// No tile of a tree of this size has the hash.
    #[error("a tree of {size} entries has no hash {index} on level {level}")]
    OutOfTree {
        /// The level.
        level: u8,
        /// The place in the level.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The tile was not to be had.
    #[error(transparent)]
    Source(E),
}

/// Subtree hashes from tiles, each tile fetched once.
#[derive(Debug)]
pub struct TileNodes<S> {
    source: S,
    size: u64,
    fetched: Vec<(Tile, Vec<Digest>)>,
}

impl<S: TileSource> TileNodes<S> {
    /// The hashes of a tree of `size` leaves.
    pub const fn new(source: S, size: u64) -> Self {
        Self { source, size, fetched: Vec::new() }
    }

    fn fetch(&mut self, tile: Tile) -> Result<&[Digest], TileError<S::Error>> {
        let found = self.fetched.iter().position(|(have, _)| *have == tile);
        let at = match found {
            Some(at) => at,
            None => {
                let bytes = self.source.tile(tile).map_err(TileError::Source)?;
                let hashes: Vec<Digest> = tile_hashes(&bytes).take(usize::from(tile.width)).collect();
                if hashes.len() < usize::from(tile.width) {
                    return Err(TileError::Short { tile, got: hashes.len() });
                }
                self.fetched.push((tile, hashes));
                self.fetched.len().saturating_sub(1)
            }
        };
        Ok(self.fetched.get(at).map_or(&[], |(_, hashes)| hashes.as_slice()))
    }
}

impl<S: TileSource> Nodes for TileNodes<S> {
    type Error = TileError<S::Error>;

    fn node(&mut self, level: u8, index: u64) -> Result<Digest, Self::Error> {
        let (tile_level, inside) = (level / 8, level % 8);
        let first = index << inside;
        let size = self.size;
        let missing = || TileError::OutOfTree { level, index, size };
        let tile = Tile::holding(tile_level, first, size).ok_or_else(missing)?;
        let from = usize::try_from(first % WIDTH).unwrap_or(usize::MAX);
        let hashes = self.fetch(tile)?.get(from..from.saturating_add(1 << inside)).map(perfect_root);
        hashes.ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::{prove_consistency, prove_inclusion};
    use crate::tree::{MemoryTree, leaf_hash};
    use std::collections::HashMap;

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(Tile { level: 0, index: 1_234_067, width: 256 }.path(), "tile/0/x001/x234/067");
        assert_eq!(Tile { level: 2, index: 0, width: 3 }.path(), "tile/2/000.p/3");
        assert_eq!(Bundle { index: 1_000, width: 256 }.path(), "tile/entries/x001/000");
    }

    #[derive(Default)]
    struct Stored(HashMap<String, Vec<u8>>);
    impl TileSource for &Stored {
        type Error = String;
        fn tile(&mut self, tile: Tile) -> Result<Vec<u8>, String> {
            self.0.get(&tile.path()).cloned().ok_or_else(|| tile.path())
        }
    }
    fn flat(hashes: &[Digest]) -> Vec<u8> {
        hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
    }

    #[test]
    fn proofs_from_tiles_are_those_from_memory_and_building_resumes_anywhere() {
        let (mut stored, mut memory) = (Stored::default(), MemoryTree::default());
        let mut builder = TileBuilder::default();
        let size = 256 * 256 + 3 * 256 + 77;
        for n in 0..size {
            if n % 256 == 0 && n % 1_280 == 0 {
                let again = TileBuilder::resume(n, |tile| stored.0.get(&tile.path()).cloned()).unwrap();
                assert_eq!(again.size(), builder.size());
                builder = again;
            }
            let leaf = leaf_hash(&n.to_be_bytes());
            memory.push(leaf);
            builder.push(leaf, |tile, hashes| {
                stored.0.insert(tile.path(), flat(hashes));
            });
        }
        for (tile, hashes) in builder.partial() {
            stored.0.insert(tile.path(), flat(hashes));
        }
        for index in [0, 255, 256, 65_535, 65_536, size - 78, size - 1] {
            let mut nodes = TileNodes::new(&stored, size);
            assert_eq!(
                prove_inclusion(&mut nodes, index, size),
                Ok(prove_inclusion(&mut &memory, index, size).unwrap()),
                "{index}"
            );
        }
        for old in [1, 255, 256, 65_536, 65_900, size] {
            let mut nodes = TileNodes::new(&stored, size);
            assert_eq!(
                prove_consistency(&mut nodes, old, size),
                Ok(prove_consistency(&mut &memory, old, size).unwrap())
            );
        }
        assert!(prove_inclusion(&mut TileNodes::new(&Stored::default(), size), 3, size).is_err());
    }

    #[test]
    fn a_broken_length_ends_a_bundle() {
        let mut bundle = Vec::new();
        bundle_entry(&mut bundle, b"one");
        bundle_entry(&mut bundle, b"");
        let whole: Vec<_> = bundle_entries(&bundle).collect();
        assert_eq!(whole, [Some(&b"one"[..]), Some(&b""[..])]);
        bundle[1] = 200;
        assert_eq!(bundle_entries(&bundle).collect::<Vec<_>>(), [None]);
    }
}
