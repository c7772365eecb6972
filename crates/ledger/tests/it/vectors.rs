//! The published example: one small log, byte for byte.

use std::fmt::Write as _;

use cordon_core::cbor::Cbor;
use cordon_core::ed25519::SigningKey;
use cordon_core::{RecordId, Timestamp};
use cordon_ledger::{
    Checkpoint, Draft, EntryProof, FieldId, Frame, Frontier, Header, Kind, Link, LogKey, MemoryTree, Placed,
    Replay, SignedCheckpoint, encode_frame, prove_inclusion,
};

use crate::entries::{Counting, decision};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/ledger/example.txt");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

struct Example {
    text: String,
    frame: Vec<u8>,
}

impl Example {
    fn say(&mut self, name: &str, value: &str) {
        writeln!(self.text, "{name}: {value}").unwrap();
    }
}

/// A log of a genesis entry and two decisions of one session, in one frame.
fn example() -> Example {
    let mut out = Example { text: String::new(), frame: Vec::new() };
    let key =
        LogKey::new("example.com/acme/default".parse().unwrap(), SigningKey::from_seed(&[7; 32]).unwrap());
    out.say("log seed", &hex(&[7; 32]));
    out.say("log key", &key.public().to_string());
    let identity = Cbor::map([(1, Cbor::Text(key.public().to_string().into()))]);
    let at = Timestamp::from_micros(1_795_000_000_000_000);
    let genesis = Draft::new(RecordId::from_bytes([0x11; 16]), at, "acme", Kind::Genesis)
        .with(FieldId::Origin, key.public().origin().as_str())
        .with(FieldId::LogKey, key.public().to_string().as_str())
        .with(FieldId::LogEpoch, 1);
    let mut entropy = Counting(0);
    let (mut frontier, mut tree, mut placed) = (Frontier::default(), MemoryTree::default(), Vec::new());
    let mut link = Link::FIRST;
    for (index, draft) in [genesis, decision(), decision()].into_iter().enumerate() {
        let (body, openings) = draft.close(&identity, &mut entropy).unwrap();
        let (entry, leaf) = body.place(link);
        if index > 0 {
            link = link.next(leaf);
        }
        out.say(&format!("entry {index}"), &hex(&entry));
        out.say(&format!("leaf hash {index}"), &leaf.hex());
        for opening in openings {
            let name = format!("opening {index} {}", opening.field);
            let value = format!("salt {} value {}", hex(&opening.salt), hex(&opening.encoded));
            out.say(&name, &format!("{value} commitment {}", opening.commitment()));
        }
        frontier.push(leaf);
        tree.push(leaf);
        placed.push(Placed { entry, leaf, sealed: Vec::new() });
    }
    let checkpoint = Checkpoint { size: 3, root: frontier.root() };
    let signed = SignedCheckpoint { checkpoint, signature: key.sign(&checkpoint) };
    out.say("root", &checkpoint.root.hex());
    out.say("checkpoint", &signed.note(key.public()).replace('\n', "\\n"));
    encode_frame(&mut out.frame, 1, 0, &placed, checkpoint.root, signed.signature);
    let frame = hex(&out.frame);
    out.say("frame", &frame);
    let hashes = prove_inclusion(&mut &tree, 1, 3).unwrap();
    let proof = EntryProof { index: 1, hashes, note: signed.note(key.public()) };
    out.say("proof of entry 1", &proof.to_text().replace('\n', "\\n"));
    out
}

#[test]
fn the_published_example_is_what_this_code_writes() {
    let published = std::fs::read_to_string(FILE).unwrap();
    assert_eq!(published, example().text, "the format changed: it is frozen");
}

#[test]
fn the_published_example_replays() {
    let bytes = example().frame;
    let frame = Frame::split(Header::decode(&bytes).unwrap(), &bytes).unwrap();
    let mut replay = Replay::new();
    assert_eq!(replay.frame(&frame, |_| {}), []);
    assert_eq!((replay.size(), replay.keys().len(), replay.restarts()), (3, 1, 0));
}

/// Writes the example anew; for a new version of the format only.
#[test]
#[ignore = "overwrites the published example"]
fn write_the_example() {
    std::fs::write(FILE, example().text).unwrap();
}
