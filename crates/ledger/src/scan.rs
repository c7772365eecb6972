//! A walk over deterministic CBOR that allocates nothing: it finds where values end and refuses every
//! encoding that `cordon_core::cbor` refuses.

/// Deepest nesting, the same as `cordon_core::cbor`'s.
const DEPTH_MAX: u8 = 32;

/// A position in encoded bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan<'b> {
    rest: &'b [u8],
}

/// The head of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    Uint(u64),
    Nint,
    Bytes(u64),
    Text(u64),
    Array(u64),
    Map(u64),
    Simple,
}

impl<'b> Scan<'b> {
    pub(crate) const fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been walked over.
    pub(crate) const fn rest(&self) -> &'b [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, count: u64) -> Option<&'b [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(count).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    pub(crate) fn head(&mut self) -> Option<Head> {
        let (first, rest) = self.rest.split_first()?;
        let low = first & 31;
        let (number, rest) = match low {
            0..=23 => (u64::from(low), rest),
            24 => {
                let (byte, rest) = rest.split_first()?;
                (at_least(u64::from(*byte), 24)?, rest)
            }
            25 => {
                let (bytes, rest) = rest.split_first_chunk::<2>()?;
                (at_least(u64::from(u16::from_be_bytes(*bytes)), 0x100)?, rest)
            }
            26 => {
                let (bytes, rest) = rest.split_first_chunk::<4>()?;
                (at_least(u64::from(u32::from_be_bytes(*bytes)), 0x1_0000)?, rest)
            }
            27 => {
                let (bytes, rest) = rest.split_first_chunk::<8>()?;
                (at_least(u64::from_be_bytes(*bytes), 0x1_0000_0000)?, rest)
            }
            _ => return None,
        };
        self.rest = rest;
        Some(match first >> 5 {
            0 => Head::Uint(number),
            1 => Head::Nint,
            2 => Head::Bytes(number),
            3 => Head::Text(number),
            4 => Head::Array(number),
            5 => Head::Map(number),
            7 if matches!(low, 20..=22) => Head::Simple,
            _ => return None,
        })
    }

    /// Walks over one value and returns its bytes.
    pub(crate) fn value(&mut self) -> Option<&'b [u8]> {
        let start = self.rest;
        self.walk(0)?;
        start.get(..start.len().checked_sub(self.rest.len())?)
    }

    pub(crate) fn uint(&mut self) -> Option<u64> {
        match self.head()? {
            Head::Uint(number) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn bytes(&mut self) -> Option<&'b [u8]> {
        match self.head()? {
            Head::Bytes(length) => self.take(length),
            _ => None,
        }
    }

    fn walk(&mut self, depth: u8) -> Option<()> {
        if depth >= DEPTH_MAX {
            return None;
        }
        let deeper = depth.saturating_add(1);
        match self.head()? {
            Head::Uint(_) | Head::Nint | Head::Simple => {}
            Head::Bytes(length) => {
                self.take(length)?;
            }
            Head::Text(length) => {
                std::str::from_utf8(self.take(length)?).ok()?;
            }
            Head::Array(count) => {
                for _ in 0..count {
                    self.walk(deeper)?;
                }
            }
            Head::Map(count) => {
                let mut last: &[u8] = &[];
                for _ in 0..count {
                    let before = self.rest;
                    match self.head()? {
                        Head::Uint(_) => {}
                        Head::Text(length) => {
                            std::str::from_utf8(self.take(length)?).ok()?;
                        }
                        _ => return None,
                    }
                    let key = before.get(..before.len().checked_sub(self.rest.len())?)?;
                    // Bytewise order of the encodings (RFC 8949 §4.2.1).
                    if key <= last {
                        return None;
                    }
                    last = key;
                    self.walk(deeper)?;
                }
            }
        }
        Some(())
    }
}

fn at_least(number: u64, least: u64) -> Option<u64> {
    (number >= least).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_core::cbor::Cbor;
    use proptest::prelude::*;

    fn accepts(bytes: &[u8]) -> bool {
        let mut scan = Scan::new(bytes);
        scan.value().is_some() && scan.rest().is_empty()
    }

    proptest! {
        #[test]
        fn the_walk_accepts_exactly_what_the_decoder_accepts(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            prop_assert_eq!(accepts(&bytes), Cbor::decode(&bytes).is_ok());
        }
    }

    #[test]
    fn non_canonical_forms_are_refused_here_too() {
        let good =
            Cbor::map([(1, Cbor::from("a")), (24, Cbor::Array(vec![Cbor::Null, Cbor::Bool(true)]))]).encode();
        assert!(accepts(&good));
        let two_byte_small: &[u8] = &[0x18, 0x17];
        let keys_out_of_order: &[u8] = &[0xa2, 3, 4, 1, 2];
        let float: &[u8] = &[0xf9, 0x3c, 0];
        for bad in [two_byte_small, keys_out_of_order, float, &[0x81; 64]] {
            assert!(!accepts(bad));
        }
    }
}
