//! The tie between what was judged and what runs.

/// A payload whose bytes are exactly what leaves when its permit is spent.
pub trait ExactBytes {
    /// The bytes that will be forwarded, unchanged.
    fn exact_bytes(&self) -> &[u8];
}

impl ExactBytes for Vec<u8> {
    fn exact_bytes(&self) -> &[u8] {
        self
    }
}

impl ExactBytes for Box<[u8]> {
    fn exact_bytes(&self) -> &[u8] {
        self
    }
}
