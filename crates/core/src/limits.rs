//! Bounds on what one message may cost.

/// Bounds on parsing and judging one message; exceeding one is a refusal that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest message, in bytes.
    pub message_bytes_max: usize,
    /// Deepest nesting of arrays and objects.
    pub depth_max: u16,
    /// Most JSON values in one message.
    pub nodes_max: u32,
    /// Longest identifier (a method, a tool name, a JSON-RPC id), in bytes.
    pub name_bytes_max: usize,
}

impl Limits {
    /// The defaults: 4 MiB, 64 levels, 200,000 values, names of 256 bytes.
    pub const DEFAULT: Self =
        Self { message_bytes_max: 4 << 20, depth_max: 64, nodes_max: 200_000, name_bytes_max: 256 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
