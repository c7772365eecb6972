//! What a signed manifest says about one tool.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Action, ActionName, Class, Digest, Effect, Integrity, Marking, Precondition};

/// What the operator signed about one tool; the server's own words never override it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolManifest {
    /// `server/tool`.
    pub tool: ActionName,
    /// Digest over name, description, schemas, annotations and icons as the server sent them.
    pub pin: Option<Digest>,
    /// The capability classes it needs.
    pub classes: BTreeSet<Class>,
    /// What it leaves behind.
    pub effect: Effect,
    /// Arguments that choose who, where or which (JSON Pointers, `*` for items).
    pub sinks: Vec<Box<str>>,
    /// Arguments that carry content out.
    pub carries: Vec<Box<str>>,
    /// Tools it calls itself.
    pub calls: Vec<ActionName>,
    /// Labels of its output by JSON Pointer; the empty pointer is the whole result.
    pub outputs: BTreeMap<Box<str>, OutputLabel>,
    /// Bounds on calling it.
    pub limits: CallLimits,
    /// The argument that makes a repeated call the same call.
    pub idempotency: Option<Box<str>>,
    /// The tool that takes its effect back.
    pub compensation: Option<ActionName>,
    /// The isolation tier it needs at least.
    pub sandbox: Option<Box<str>>,
    /// Checks on argument values beyond the schema.
    pub validators: Vec<Validator>,
    /// What has to be read before it may be called.
    pub preconditions: Vec<Precondition>,
    /// The tool's description, where it was declared inline.
    pub description: Option<Box<str>>,
    /// JSON Schema of its input, as JSON text.
    pub input_schema: Option<Box<str>>,
    /// JSON Schema of its output, as JSON text.
    pub output_schema: Option<Box<str>>,
}

impl ToolManifest {
    /// The action that calling this tool is.
    pub fn action(&self) -> Action {
        Action::declared(self.tool.clone(), self.classes.iter().cloned(), self.effect)
    }
}

/// What travels with one part of a tool's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputLabel {
    /// How far it may be trusted.
    pub integrity: Integrity,
    /// Who may read it; empty means nobody beyond the session's own principals.
    pub readers: Vec<Box<str>>,
    /// What it is.
    pub markings: BTreeSet<Marking>,
}

/// Bounds on calling one tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// Longest wait for a result, in milliseconds.
    pub timeout_ms: u32,
    /// Most calls a minute by one session.
    pub rate_per_min: u32,
    /// Most calls in flight at once on the node.
    pub concurrency: u32,
    /// Largest result, in bytes.
    pub result_bytes_max: u32,
}

impl CallLimits {
    /// The defaults: 30 s, 600 calls a minute, 64 at once, results of 4 MiB.
    pub const DEFAULT: Self =
        Self { timeout_ms: 30_000, rate_per_min: 600, concurrency: 64, result_bytes_max: 4 << 20 };
}

impl Default for CallLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A check on the value of one argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    /// The argument (JSON Pointer, `*` for items).
    pub at: Box<str>,
    /// The check.
    pub kind: ValidatorKind,
}

/// The checks that a manifest may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValidatorKind {
    /// An e-mail address (`local@domain`).
    Email,
    /// An absolute URL of one of these schemes.
    Url {
        /// Permitted schemes; empty means `https` only.
        schemes: Vec<Box<str>>,
    },
    /// A whole number in a closed range.
    Range {
        /// Smallest permitted value.
        min: i64,
        /// Largest permitted value.
        max: i64,
    },
    /// Text of bounded length in characters.
    Length {
        /// Fewest characters.
        min: u32,
        /// Most characters.
        max: u32,
    },
    /// One of a closed list.
    OneOf {
        /// The permitted texts.
        values: Vec<Box<str>>,
    },
    /// The value is not greater than that of another argument.
    NotAfter {
        /// The other argument (JSON Pointer).
        other: Box<str>,
    },
}
