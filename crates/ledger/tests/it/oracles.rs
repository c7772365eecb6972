//! Other people's implementations of the same formats, as judges of ours.

use std::collections::HashMap;

use cordon_core::Digest;
use cordon_core::ed25519::SigningKey;
use cordon_ledger::{
    Checkpoint, Frontier, LogKey, SignedCheckpoint, TileBuilder, TileNodes, TileSource, leaf_hash,
    prove_consistency, prove_inclusion,
};
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Hash, HashReader as _, TileHashReader, TileReader};

const SIZE: u64 = 70_000;

/// Tiles by the path at which this crate would serve them.
struct Served(HashMap<String, Vec<u8>>);

impl TileReader for Served {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        Ok(tiles.iter().map(|tile| self.0[&tile.path().replacen("tile/8/", "tile/", 1)].clone()).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

impl TileSource for &Served {
    type Error = String;

    fn tile(&mut self, tile: cordon_ledger::Tile) -> Result<Vec<u8>, String> {
        self.0.get(&tile.path()).cloned().ok_or_else(|| tile.path())
    }
}

fn served() -> (Served, Digest) {
    let (mut tiles, mut builder, mut frontier) =
        (HashMap::new(), TileBuilder::default(), Frontier::default());
    let flat = |hashes: &[Digest]| hashes.iter().flat_map(|hash| *hash.as_bytes()).collect::<Vec<u8>>();
    for n in 0..SIZE {
        let leaf = leaf_hash(&n.to_be_bytes());
        frontier.push(leaf);
        builder.push(leaf, |tile, hashes| drop(tiles.insert(tile.path(), flat(hashes))));
    }
    for (tile, hashes) in builder.partial() {
        tiles.insert(tile.path(), flat(hashes));
    }
    (Served(tiles), frontier.root())
}

#[test]
fn tiles_roots_and_proofs_are_those_of_tlog_tiles() {
    let (served, root) = served();
    let hash = |digest: &Digest| Hash(*digest.as_bytes());
    // The reader authenticates every tile that it reads against the root.
    let reader = TileHashReader::new(SIZE, hash(&root), &served);
    for index in [0, 1, 255, 256, 65_535, 65_536, 69_999] {
        let leaf = leaf_hash(&u64::to_be_bytes(index));
        let stored = reader.read_hashes(&[tlog_tiles::stored_hash_index(0, index)]).unwrap();
        assert_eq!(stored, [hash(&leaf)]);
        let ours = prove_inclusion(&mut TileNodes::new(&served, SIZE), index, SIZE).unwrap();
        let ours: Vec<Hash> = ours.iter().map(hash).collect();
        assert_eq!(ours, tlog_tiles::prove_record(SIZE, index, &reader).unwrap());
        assert!(tlog_tiles::check_record(&ours, SIZE, hash(&root), index, hash(&leaf)).is_ok());
    }
    for old in [1, 256, 65_536, 65_537, 69_999] {
        let ours = prove_consistency(&mut TileNodes::new(&served, SIZE), old, SIZE).unwrap();
        let ours: Vec<Hash> = ours.iter().map(hash).collect();
        assert_eq!(ours, tlog_tiles::prove_tree(SIZE, old, &reader).unwrap());
    }
}

#[test]
fn notes_and_checkpoints_are_read_by_signed_note_and_tlog_tiles() {
    let signing = SigningKey::from_seed(&[8; 32]).unwrap();
    let key = LogKey::new("example.com/acme/default".parse().unwrap(), signing);
    let checkpoint = Checkpoint { size: 1_234, root: Digest::of(b"root") };
    let note = SignedCheckpoint { checkpoint, signature: key.sign(&checkpoint) }.note(key.public());

    let verifier = StandardVerifier::new(&key.public().to_string()).unwrap();
    let theirs = Note::from_bytes(note.as_bytes()).unwrap();
    let (verified, unverified) = theirs.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!((verified.len(), unverified.len()), (1, 0));
    let read = tlog_tiles::Checkpoint::from_bytes(theirs.text()).unwrap();
    assert_eq!((read.origin(), read.size()), ("example.com/acme/default", 1_234));
    assert_eq!(read.hash().0, *checkpoint.root.as_bytes());

    let changed = note.replace("1234", "1235");
    let theirs = Note::from_bytes(changed.as_bytes()).unwrap();
    let verifier = StandardVerifier::new(&key.public().to_string()).unwrap();
    assert!(theirs.verify(&VerifierList::new(vec![Box::new(verifier)])).is_err());
}
