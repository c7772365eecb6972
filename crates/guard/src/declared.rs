//! Tools that a session brought along: declared by a caller whom the bundle lets declare them.

use std::collections::BTreeMap;
use std::sync::Arc;

use cordon_core::json;
use cordon_core::{ActionName, Digest, Limits, ToolManifest};

use crate::tools::Tool;

/// The tools of one session that the bundle does not describe.
#[derive(Debug, Default)]
pub(crate) struct Declared(BTreeMap<ActionName, (ToolManifest, Arc<Tool>)>);

impl Declared {
    /// The tools of these manifests, each as JSON text. One that cannot be read is no tool.
    pub(crate) fn of(manifests: &BTreeMap<ActionName, Box<str>>) -> Self {
        let read = manifests.iter().filter_map(|(name, text)| {
            let node = json::parse(text.as_bytes(), &Limits::DEFAULT).ok()?;
            let manifest = cordon_pdp::manifest_from_json(text, &node).ok()?;
            let tool = Tool::described(&manifest, Digest::of(text.as_bytes()));
            (manifest.tool == *name).then(|| (name.clone(), (manifest, Arc::new(tool))))
        });
        Self(read.collect())
    }

    /// The manifest of a tool.
    pub(crate) fn manifest(&self, tool: &ActionName) -> Option<&ToolManifest> {
        self.0.get(tool).map(|(manifest, _)| manifest)
    }

    /// A tool.
    pub(crate) fn tool(&self, tool: &ActionName) -> Option<Arc<Tool>> {
        self.0.get(tool).map(|(_, tool)| Arc::clone(tool))
    }
}
