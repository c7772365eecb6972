//! What of a request any rule could read.

use std::collections::BTreeSet;

use crate::rule::Rule;

/// What of a request any rule could read; the rest need not be prepared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Needs {
    whole_context: bool,
    context: BTreeSet<Box<str>>,
    whole_args: bool,
    args: BTreeSet<Box<str>>,
    attributes: BTreeSet<Box<str>>,
    per_role: bool,
}

impl Needs {
    /// What `rules` could read.
    pub(crate) fn of(rules: &[Rule]) -> Self {
        let mut needs = Self::default();
        for rule in rules {
            needs.attributes.extend(rule.mentions.attributes.iter().cloned());
            for path in &rule.mentions.context {
                match path.as_slice() {
                    [] => needs.whole_context = true,
                    [first] if &**first == "args" => needs.whole_args = true,
                    [first, second, ..] if &**first == "args" => {
                        needs.args.insert(second.clone());
                    }
                    [first, ..] => {
                        needs.context.insert(first.clone());
                    }
                }
            }
        }
        needs.per_role = needs.context("role");
        needs
    }

    /// Whether any rule could read which part of the chain a principal plays.
    pub(crate) const fn per_role(&self) -> bool {
        self.per_role
    }

    /// Whether any rule could read `context.<name>`.
    pub(crate) fn context(&self, name: &str) -> bool {
        self.whole_context || self.context.contains(name)
    }

    /// Whether any rule could read the argument `name`.
    pub(crate) fn arg(&self, name: &str) -> bool {
        self.whole_context || self.whole_args || self.args.contains(name)
    }

    /// Whether any rule could read an entity's attribute `name`.
    pub(crate) fn attribute(&self, name: &str) -> bool {
        self.attributes.contains(name)
    }
}
