//! A segment frame: what one group commit writes and one `fdatasync` makes durable.
//!
//! ```text
//! header (144 bytes) | leaf hashes | entries (as an entry bundle) | sealed openings | zeros to 512
//! ```
//! Numbers are big endian. The log's signature in the header is over the checkpoint after the frame's
//! last entry. Frames start at multiples of 512 bytes, so that a write never touches an acknowledged
//! sector, and so that a frame which was cut off by a crash can be told from one that was altered.

use cordon_core::Digest;
use cordon_core::ed25519::Signature;

use crate::note::Checkpoint;
use crate::tile::{bundle_entries, bundle_entry};

/// Bytes in a sector: what a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;
/// Bytes in a frame's header.
pub const HEADER_BYTES: usize = 144;
/// Largest frame, in bytes, padding included.
pub const FRAME_BYTES_MAX: u64 = 32 << 20;

const MAGIC: &[u8; 8] = b"cordonF1";

/// The head of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// How many times the log had been opened.
    pub epoch: u64,
    /// The index of the first entry.
    pub first: u64,
    /// How many entries there are.
    pub count: u32,
    /// Bytes of the entries.
    pub entries_bytes: u32,
    /// Bytes of the sealed openings.
    pub sealed_bytes: u32,
    /// CRC32C of the sealed openings.
    pub sealed_crc: u32,
    /// The root of the tree after the last entry.
    pub root: Digest,
    /// The log's signature over the checkpoint after the last entry.
    pub signature: Signature,
    /// CRC32C of leaf hashes and entries.
    pub body_crc: u32,
}

/// A frame in its segment's bytes.
#[derive(Debug, Clone)]
pub struct Frame<'b> {
    /// Its header.
    pub header: Header,
    /// The stored leaf hashes, 32 bytes each.
    pub leaves: &'b [u8],
    /// The entries, each with its length in two bytes.
    pub entries: &'b [u8],
    /// The sealed openings, each with its length in four bytes.
    pub sealed: &'b [u8],
    /// The zeros up to the next sector.
    pub padding: &'b [u8],
}

/// Why bytes are not a frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Nothing was written here.
    #[error("nothing was written here")]
    Blank,
    /// The bytes end within the header.
    #[error("the segment ends within a frame's header")]
    Short,
    /// The header's own check does not hold.
    #[error("the frame's header was changed")]
    Changed,
}

/// One entry with all that goes into a frame.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The entry's bytes.
    pub entry: Vec<u8>,
    /// Its leaf hash.
    pub leaf: Digest,
    /// Its sealed openings; empty if it has none.
    pub sealed: Vec<u8>,
}

/// The bytes that an entry and its sealed openings add to a frame.
pub const fn placed_bytes(entry: usize, sealed: usize) -> u64 {
    // 32 of the leaf hash, two and four of the lengths.
    (entry as u64).saturating_add(sealed as u64).saturating_add(38)
}

/// The bytes of a frame with this much in it, padding included.
pub const fn frame_extent(content: u64) -> u64 {
    (HEADER_BYTES as u64).saturating_add(content).next_multiple_of(SECTOR_BYTES as u64)
}

/// Replaces `out` by the frame of these entries.
pub fn encode_frame(
    out: &mut Vec<u8>,
    epoch: u64,
    first: u64,
    placed: &[Placed],
    root: Digest,
    signature: Signature,
) {
    out.clear();
    out.resize(HEADER_BYTES, 0);
    for one in placed {
        out.extend_from_slice(one.leaf.as_bytes());
    }
    let entries_at = out.len();
    for one in placed {
        bundle_entry(out, &one.entry);
    }
    let sealed_at = out.len();
    for one in placed {
        out.extend_from_slice(&narrow(one.sealed.len()).to_be_bytes());
        out.extend_from_slice(&one.sealed);
    }
    let header = Header {
        epoch,
        first,
        count: narrow(placed.len()),
        entries_bytes: narrow(sealed_at.saturating_sub(entries_at)),
        sealed_bytes: narrow(out.len().saturating_sub(sealed_at)),
        sealed_crc: out.get(sealed_at..).map_or(0, crc32c::crc32c),
        root,
        signature,
        body_crc: out.get(HEADER_BYTES..sealed_at).map_or(0, crc32c::crc32c),
    };
    out.resize(out.len().next_multiple_of(SECTOR_BYTES), 0);
    out.iter_mut().zip(header.encode()).for_each(|(to, from)| *to = from);
}

/// A length within a frame, which is far below 4 GiB.
fn narrow(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Header {
    /// The header's bytes, its own CRC32C last.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.first.to_be_bytes());
        for number in [self.count, self.entries_bytes, self.sealed_bytes, self.sealed_crc] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(self.root.as_bytes());
        bytes.extend_from_slice(self.signature.as_bytes());
        bytes.extend_from_slice(&self.body_crc.to_be_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes.try_into().unwrap_or([0; HEADER_BYTES])
    }

    /// Reads a header from the start of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else { return Err(HeaderError::Short) };
        if head.iter().all(|byte| *byte == 0) {
            return Err(HeaderError::Blank);
        }
        Self::read(head).ok_or(HeaderError::Changed)
    }

    fn read(head: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (covered, crc) = head.split_last_chunk::<4>()?;
        if crc32c::crc32c(covered) != u32::from_be_bytes(*crc) {
            return None;
        }
        let mut rest = covered.strip_prefix(MAGIC)?;
        let header = Self {
            epoch: u64::from_be_bytes(chunk(&mut rest)?),
            first: u64::from_be_bytes(chunk(&mut rest)?),
            count: u32::from_be_bytes(chunk(&mut rest)?),
            entries_bytes: u32::from_be_bytes(chunk(&mut rest)?),
            sealed_bytes: u32::from_be_bytes(chunk(&mut rest)?),
            sealed_crc: u32::from_be_bytes(chunk(&mut rest)?),
            root: Digest::from_bytes(chunk(&mut rest)?),
            signature: Signature::from_bytes(chunk(&mut rest)?),
            body_crc: u32::from_be_bytes(chunk(&mut rest)?),
        };
        (header.count > 0 && header.extent() <= FRAME_BYTES_MAX).then_some(header)
    }

    fn leaves_bytes(&self) -> u64 {
        u64::from(self.count).saturating_mul(32)
    }

    /// The bytes that the frame takes in its segment, padding included.
    pub fn extent(&self) -> u64 {
        self.content().next_multiple_of(SECTOR_BYTES as u64)
    }

    /// The bytes of header, leaf hashes, entries and openings, without padding.
    fn content(&self) -> u64 {
        (HEADER_BYTES as u64)
            .saturating_add(self.leaves_bytes())
            .saturating_add(u64::from(self.entries_bytes))
            .saturating_add(u64::from(self.sealed_bytes))
    }

    /// The size of the tree after the last entry.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }

    /// The checkpoint that the signature is over.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { size: self.end(), root: self.root }
    }
}

fn chunk<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (chunk, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*chunk)
}

impl<'b> Frame<'b> {
    /// Cuts a frame of this header out of bytes that start at the header; none if they end before it.
    pub fn split(header: Header, bytes: &'b [u8]) -> Option<Self> {
        let extent = usize::try_from(header.extent()).ok()?;
        let (_, rest) = bytes.get(..extent)?.split_at_checked(HEADER_BYTES)?;
        let (leaves, rest) = rest.split_at_checked(usize::try_from(header.leaves_bytes()).ok()?)?;
        let (entries, rest) = rest.split_at_checked(usize::try_from(header.entries_bytes).ok()?)?;
        let (sealed, padding) = rest.split_at_checked(usize::try_from(header.sealed_bytes).ok()?)?;
        Some(Self { header, leaves, entries, sealed, padding })
    }

    /// Whether the check over leaf hashes and entries holds.
    pub fn body_holds(&self) -> bool {
        crc32c::crc32c_append(crc32c::crc32c(self.leaves), self.entries) == self.header.body_crc
    }

    /// Whether the check over the sealed openings holds.
    pub fn sealed_holds(&self) -> bool {
        crc32c::crc32c(self.sealed) == self.header.sealed_crc
    }

    /// Whether what fills the last sector is zeros.
    pub fn padding_holds(&self) -> bool {
        self.padding.iter().all(|byte| *byte == 0)
    }

    /// The stored leaf hashes.
    pub fn leaves(&self) -> impl ExactSizeIterator<Item = Digest> + 'b {
        self.leaves.as_chunks::<32>().0.iter().map(|bytes| Digest::from_bytes(*bytes))
    }

    /// The entries; `None` in place of one whose length is wrong, which is the last.
    pub fn entries(&self) -> impl Iterator<Item = Option<&'b [u8]>> {
        bundle_entries(self.entries)
    }

    /// The sealed openings of each entry; `None` in place of one whose length is wrong, which is the last.
    pub fn sealed(&self) -> impl Iterator<Item = Option<&'b [u8]>> {
        let mut rest = self.sealed;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let whole = rest.split_first_chunk::<4>().and_then(|(length, after)| {
                after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
            });
            rest = whole.map_or(&[], |(_, after)| after);
            Some(whole.map(|(sealed, _)| sealed))
        })
    }
}

/// What bytes at the end of the log are, where no whole frame could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing was written behind the last frame.
    Blank,
    /// A write was cut off by a crash; it was never acknowledged and may be cut.
    Torn,
    /// A frame was written whole and is not what was written.
    Altered,
}

/// Judges the bytes from the end of the last whole frame to the end of the last segment.
///
/// A disk writes whole sectors, and the segment held zeros: a frame of which every sector has content
/// was written whole, so if its checks do not hold it was altered. A write that was cut off elsewhere
/// leaves zeros where the content should end, which a frame's hashes and ciphertexts never do.
pub fn judge_tail(bytes: &[u8]) -> Tail {
    if bytes.iter().all(|byte| *byte == 0) {
        return Tail::Blank;
    }
    // A readable frame behind the broken place shows that the broken place had been acknowledged.
    let later = bytes.chunks(SECTOR_BYTES).skip(1).any(|sector| Header::decode(sector).is_ok());
    if later {
        return Tail::Altered;
    }
    match Header::decode(bytes) {
        Err(HeaderError::Blank | HeaderError::Short) => Tail::Torn,
        Err(HeaderError::Changed) => {
            let end = HEADER_BYTES.saturating_sub(CUT_BYTES);
            let cut = bytes.get(end..).is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
            if cut { Tail::Torn } else { Tail::Altered }
        }
        Ok(header) => {
            let length = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
            let Some(frame) = bytes.get(..length(header.extent())) else { return Tail::Torn };
            let content = frame.get(..length(header.content())).unwrap_or_default();
            let ended = content.iter().rev().take(CUT_BYTES).any(|byte| *byte != 0);
            let written = |sector: &[u8]| sector.iter().any(|byte| *byte != 0);
            if ended && frame.chunks(SECTOR_BYTES).all(written) { Tail::Altered } else { Tail::Torn }
        }
    }
}

/// So many zeros where content should end show that a write was cut off.
const CUT_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::leaf_hash;

    fn sample() -> Vec<u8> {
        let placed: Vec<Placed> = (0..20u8)
            .map(|n| Placed {
                entry: vec![n | 1; 100],
                leaf: leaf_hash(&[n | 1; 100]),
                sealed: if n % 2 == 0 { vec![] } else { vec![7; 50] },
            })
            .collect();
        let mut out = Vec::new();
        encode_frame(&mut out, 3, 9, &placed, Digest::of(b"r"), Signature::from_bytes([9; 64]));
        out
    }

    #[test]
    fn a_frame_round_trips() {
        let bytes = sample();
        let header = Header::decode(&bytes).unwrap();
        assert_eq!((header.epoch, header.first, header.count, header.end()), (3, 9, 20, 29));
        assert_eq!(header.extent(), bytes.len() as u64);
        let frame = Frame::split(header, &bytes).unwrap();
        assert!(frame.body_holds() && frame.sealed_holds() && frame.padding_holds());
        assert_eq!(frame.entries().count(), 20);
        assert!(frame.entries().zip(frame.leaves()).all(|(entry, leaf)| leaf_hash(entry.unwrap()) == leaf));
        assert_eq!(frame.sealed().nth(1), Some(Some(&[7; 50][..])));
    }

    #[test]
    fn every_changed_byte_of_a_frame_is_noticed() {
        let good = sample();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            let noticed = match Header::decode(&bytes) {
                Err(error) => error == HeaderError::Changed,
                Ok(header) => {
                    let frame = Frame::split(header, &bytes).unwrap();
                    !(frame.body_holds() && frame.sealed_holds() && frame.padding_holds())
                }
            };
            assert!(noticed, "byte {at}");
            // On the last frame such a change is not taken for a crash.
            bytes.resize(bytes.len() + 4_096, 0);
            if Header::decode(&bytes).is_err() || at < good.len() - 512 {
                assert_eq!(judge_tail(&bytes), Tail::Altered, "byte {at}");
            }
        }
    }

    #[test]
    fn a_frame_that_was_cut_off_is_torn_wherever_it_was_cut() {
        let good = sample();
        for sector in 0..good.len() / 512 {
            let mut bytes = good.clone();
            bytes[sector * 512..(sector + 1) * 512].fill(0);
            assert_eq!(judge_tail(&bytes), Tail::Torn, "sector {sector} lost");
            assert_eq!(judge_tail(&good[..sector * 512 + 100]), Tail::Torn, "cut in sector {sector}");
        }
        for at in [20, 120, 200, 700, good.len() - 600] {
            let mut bytes = good.clone();
            bytes[at..].fill(0);
            assert_eq!(judge_tail(&bytes), Tail::Torn, "cut at {at}");
        }
        assert_eq!(judge_tail(&[0; 4_096]), Tail::Blank);
        assert_eq!(judge_tail(&[]), Tail::Blank);
    }

    #[test]
    fn a_lost_sector_before_a_readable_frame_is_an_alteration() {
        let mut bytes = sample();
        bytes[..512].fill(0);
        bytes.extend(sample());
        assert_eq!(judge_tail(&bytes), Tail::Altered);
    }
}
