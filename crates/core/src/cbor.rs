//! Deterministic CBOR (RFC 8949 §4.2.1): one value has exactly one encoding, and the reader refuses
//! every other.
//!
//! Supported are unsigned and negative integers, byte and text strings, arrays, maps, booleans and
//! null. Floats, tags and indefinite lengths are not part of any Cordon format.

use std::collections::BTreeMap;

/// A CBOR value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cbor {
    /// A whole number from 0.
    Uint(u64),
    /// The whole number `-1 - n`.
    Nint(u64),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A text string.
    Text(Box<str>),
    /// An array.
    Array(Vec<Cbor>),
    /// A map; written in the bytewise order of its encoded keys.
    Map(BTreeMap<Key, Cbor>),
    /// True or false.
    Bool(bool),
    /// Null.
    Null,
}

/// A map key.
// INVARIANT: the derived order is the bytewise order of the encodings of non-negative integers
// against each other; texts are ordered by `Key::cmp`, shorter first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A registered integer key.
    Int(u64),
    /// A text key.
    Text(Box<str>),
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Int(_), Self::Text(_)) => std::cmp::Ordering::Less,
            (Self::Text(_), Self::Int(_)) => std::cmp::Ordering::Greater,
            // The length is part of the encoding's head, so shorter texts come first.
            (Self::Text(a), Self::Text(b)) => (a.len(), a.as_bytes()).cmp(&(b.len(), b.as_bytes())),
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl From<u64> for Key {
    fn from(key: u64) -> Self {
        Self::Int(key)
    }
}

impl From<&str> for Key {
    fn from(key: &str) -> Self {
        Self::Text(key.into())
    }
}

impl From<&str> for Cbor {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for Cbor {
    fn from(number: u64) -> Self {
        Self::Uint(number)
    }
}

impl From<bool> for Cbor {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl Cbor {
    /// A byte string.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// A map of the given pairs; the last of two equal keys stays.
    pub fn map<K: Into<Key>>(pairs: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// The member under `key`, if this is a map that has it.
    pub fn get(&self, key: impl Into<Key>) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(&key.into()),
            _ => None,
        }
    }

    /// The number, if this is one from 0.
    pub const fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Uint(number) => Some(*number),
            _ => None,
        }
    }

    /// The text, if this is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes, if this is a byte string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The items, if this is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The one encoding of this value.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.encode_to(&mut out);
        out
    }

    /// Appends the one encoding of this value to `out`.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Uint(number) => head(out, 0, *number),
            Self::Nint(number) => head(out, 1, *number),
            Self::Bytes(bytes) => {
                head(out, 2, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            Self::Text(text) => {
                head(out, 3, text.len() as u64);
                out.extend_from_slice(text.as_bytes());
            }
            Self::Array(items) => {
                head(out, 4, items.len() as u64);
                items.iter().for_each(|item| item.encode_to(out));
            }
            Self::Map(map) => {
                head(out, 5, map.len() as u64);
                for (key, value) in map {
                    match key {
                        Key::Int(number) => head(out, 0, *number),
                        Key::Text(text) => {
                            head(out, 3, text.len() as u64);
                            out.extend_from_slice(text.as_bytes());
                        }
                    }
                    value.encode_to(out);
                }
            }
            Self::Bool(value) => out.push(if *value { 0xf5 } else { 0xf4 }),
            Self::Null => out.push(0xf6),
        }
    }

    /// Reads one value that fills the whole of `bytes` and is encoded the one permitted way.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut reader = Reader { bytes, at: 0 };
        let value = reader.value(0)?;
        if reader.at < bytes.len() {
            return reader.fail("the end of the value");
        }
        Ok(value)
    }
}

/// Appends the head of an item: its major type (0 to 7) and its number in the shortest form.
#[expect(clippy::cast_possible_truncation, reason = "each arm is guarded by the range it casts to")]
pub fn head(out: &mut Vec<u8>, major: u8, number: u64) {
    let major = major << 5;
    match number {
        0..=23 => out.push(major | number as u8),
        24..=0xff => out.extend_from_slice(&[major | 24, number as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// The bytes are not one deterministic CBOR value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: expected {expected}")]
pub struct CborError {
    /// Where, in bytes from the start.
    pub offset: usize,
    /// What was expected there.
    pub expected: &'static str,
}

const DEPTH_MAX: u16 = 32;

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn fail<T>(&self, expected: &'static str) -> Result<T, CborError> {
        Err(CborError { offset: self.at, expected })
    }

    fn take(&mut self, count: usize) -> Result<&'b [u8], CborError> {
        let end = self.at.checked_add(count);
        match end.and_then(|end| self.bytes.get(self.at..end)) {
            Some(bytes) => {
                self.at = self.at.saturating_add(count);
                Ok(bytes)
            }
            None => self.fail("more bytes"),
        }
    }

    fn head(&mut self) -> Result<(u8, u8, u64), CborError> {
        let offset = self.at;
        let first = self.take(1)?.first().copied().unwrap_or(0xff);
        let (major, low) = (first >> 5, first & 31);
        let (size, least) = match low {
            0..=23 => return Ok((major, low, u64::from(low))),
            24 => (1, 24),
            25 => (2, 0x100),
            26 => (4, 0x1_0000),
            27 => (8, 0x1_0000_0000),
            _ => return Err(CborError { offset, expected: "a definite length" }),
        };
        let number = self.take(size)?.iter().fold(0u64, |number, byte| (number << 8) | u64::from(*byte));
        if number < least {
            return Err(CborError { offset, expected: "the shortest encoding of a number" });
        }
        Ok((major, low, number))
    }

    fn length(&self, number: u64) -> Result<usize, CborError> {
        // A length beyond the remaining bytes is refused before anything is allocated for it.
        usize::try_from(number)
            .ok()
            .filter(|length| *length <= self.bytes.len().saturating_sub(self.at))
            .map_or_else(|| self.fail("a length within the message"), Ok)
    }

    fn text(&mut self, number: u64) -> Result<Box<str>, CborError> {
        let length = self.length(number)?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map(Into::into).or_else(|_| self.fail("valid UTF-8"))
    }

    fn value(&mut self, depth: u16) -> Result<Cbor, CborError> {
        if depth >= DEPTH_MAX {
            return self.fail("at most 32 levels");
        }
        let offset = self.at;
        let (major, low, number) = self.head()?;
        Ok(match (major, low) {
            (0, _) => Cbor::Uint(number),
            (1, _) => Cbor::Nint(number),
            (2, _) => {
                let length = self.length(number)?;
                Cbor::Bytes(self.take(length)?.to_vec())
            }
            (3, _) => Cbor::Text(self.text(number)?),
            (4, _) => {
                let length = self.length(number)?;
                Cbor::Array(
                    (0..length).map(|_| self.value(depth.saturating_add(1))).collect::<Result<_, _>>()?,
                )
            }
            (5, _) => self.map(number, depth)?,
            (7, 20) => Cbor::Bool(false),
            (7, 21) => Cbor::Bool(true),
            (7, 22) => Cbor::Null,
            _ => {
                return Err(CborError {
                    offset,
                    expected: "an integer, string, array, map, boolean or null",
                });
            }
        })
    }

    fn map(&mut self, pairs: u64, depth: u16) -> Result<Cbor, CborError> {
        let pairs = self.length(pairs)?;
        let mut map = BTreeMap::new();
        for _ in 0..pairs {
            let offset = self.at;
            let key = match self.head()? {
                (0, _, number) => Key::Int(number),
                (3, _, number) => Key::Text(self.text(number)?),
                _ => return Err(CborError { offset, expected: "an integer or text key" }),
            };
            if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(CborError { offset, expected: "keys in ascending order, none twice" });
            }
            let value = self.value(depth.saturating_add(1))?;
            map.insert(key, value);
        }
        Ok(Cbor::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect()
    }

    /// Vectors of RFC 8949 Appendix A.
    #[test]
    fn published_vectors_encode_and_decode() {
        for (value, hex) in [
            (Cbor::Uint(0), "00"),
            (Cbor::Uint(23), "17"),
            (Cbor::Uint(24), "1818"),
            (Cbor::Uint(1000), "1903e8"),
            (Cbor::Uint(1_000_000), "1a000f4240"),
            (Cbor::Uint(u64::MAX), "1bffffffffffffffff"),
            (Cbor::Nint(99), "3863"),
            (Cbor::bytes([1, 2, 3, 4]), "4401020304"),
            (Cbor::from("\u{fc}"), "62c3bc"),
            (Cbor::Array(vec![1.into(), Cbor::Array(vec![2.into(), 3.into()])]), "82018202 03".trim()),
            (Cbor::map([(1, Cbor::Uint(2)), (3, Cbor::Uint(4))]), "a201020304"),
            (Cbor::Bool(true), "f5"),
            (Cbor::Null, "f6"),
        ] {
            let hex = hex.replace(' ', "");
            assert_eq!(value.encode(), bytes(&hex), "{value:?}");
            assert_eq!(Cbor::decode(&bytes(&hex)), Ok(value));
        }
    }

    #[test]
    fn every_other_encoding_is_refused() {
        for (hex, why) in [
            ("1817", "a number that fits one byte in two"),
            ("9f01ff", "an indefinite array"),
            ("a203040102", "keys out of order"),
            ("a201020103", "a key twice"),
            ("a26161016001", "a longer text key before a shorter"),
            ("f93c00", "a float"),
            ("c11a514b67b0", "a tag"),
            ("0000", "trailing bytes"),
            ("9bffffffffffffffff", "a length beyond the message"),
            ("62c328", "invalid UTF-8"),
            ("", "nothing"),
        ] {
            assert!(Cbor::decode(&bytes(hex)).is_err(), "{why}");
        }
        assert!(Cbor::decode(&[0x81; 64]).is_err(), "deeper than 32");
    }
}
