//! Tool manifests as text (`spec/manifest.md`).

mod preconditions;
mod read;
mod write;

pub(crate) use read::{TIERS, located};
pub use read::{manifest_from_json, parse_manifests};
pub use write::manifest_to_toml;
