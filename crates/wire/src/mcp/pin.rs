//! The pin of a tool: one digest over everything that a server says about it (`spec/pin.md`).

use cordon_core::Digest;
use cordon_core::json::Node;

use super::canonical;

/// The pin of a tool as a server listed it: SHA-256 over `cordon/pin/v1`, a line feed, and the tool's
/// canonical text without `_meta`.
///
/// Name, title, description, both schemas whole, annotations and icons are in it, and any other
/// member that the server sends; a member that is missing differs from one that is `null`.
pub fn pin(tool: &Node) -> Digest {
    Digest::of(format!("cordon/pin/v1\n{}", canonical::without(tool, &["_meta"])).as_bytes())
}
