//! How much work one decision may take, said before anything is decided.
//!
//! Cedar has no loops, so that the program of each action has a bound that can be added up. One step
//! is one node of the program (an operator, a literal, an attribute), and a member of a set or a part
//! of a pattern that is written in a rule; nothing is taken off for answers that are remembered or not
//! needed. What an operator does with a long text or set of the request is bounded by the limits on
//! requests.

use cordon_core::{ActionName, HOPS_MAX};

use crate::Diagnostic;
use crate::tree::{self, Reader, member};

/// The most steps that one decision may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The action that takes most; `None` for one that nobody declared.
    pub action: Option<ActionName>,
    /// Most steps for an owner, an agent and a user.
    pub steps: u64,
    /// Rules that may be evaluated for it.
    pub rules: usize,
    /// What the bundle allows (`limits.toml`).
    pub steps_max: u64,
}

/// Steps that a bundle allows if it says nothing: about ten milliseconds.
pub(crate) const STEPS_MAX: u64 = 1_000_000;

/// What a rule counts that is left to stock Cedar.
pub(crate) const STOCK_STEPS: u64 = 2_000;

/// Principals that a bound is reckoned for; each agent that passed work on adds a third.
pub(crate) const PRINCIPALS: u64 = 3;

/// Reads `limits.toml`: `steps_max`.
pub(crate) fn limits(file: &str, text: &str) -> Result<u64, Vec<Diagnostic>> {
    let root = tree::from_toml(file, text).map_err(|finding| vec![*finding])?;
    let mut reader = Reader::new(file, text);
    let members = reader.table("the file", &root).unwrap_or_default();
    reader.known("the file", members, &["steps_max"]);
    let steps = member(members, "steps_max").and_then(|tree| reader.integer("steps_max", tree, 1, i64::MAX));
    let steps = steps.and_then(|steps| u64::try_from(steps).ok()).unwrap_or(STEPS_MAX);
    if reader.findings.is_empty() { Ok(steps) } else { Err(reader.findings) }
}

impl Bound {
    /// What refuses a source whose decisions may take more than it allows.
    pub(crate) fn finding(&self) -> Option<Diagnostic> {
        if self.steps <= self.steps_max {
            return None;
        }
        let action = self
            .action
            .as_ref()
            .map_or("an action without a manifest".to_owned(), |name| format!("`{name}`"));
        let message = format!(
            "deciding about {action} may take {} steps over {} rules, more than `steps_max` {}",
            self.steps, self.rules, self.steps_max
        );
        let help = "name actions and resources in the scopes of rules, or raise `steps_max` in limits.toml";
        Some(Diagnostic::error("limits.toml", message).help(help))
    }

    /// Most steps with every agent that work may have been passed on through.
    pub fn steps_with_hops(&self) -> u64 {
        let principals = PRINCIPALS.saturating_add(HOPS_MAX as u64);
        self.steps.saturating_mul(principals).div_ceil(PRINCIPALS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_or_refused() {
        assert_eq!(limits("limits.toml", "steps_max = 500"), Ok(500));
        assert_eq!(limits("limits.toml", ""), Ok(STEPS_MAX));
        for text in ["steps_max = 0", "steps_max = \"many\"", "step_max = 1", "steps_max"] {
            assert!(limits("limits.toml", text).is_err(), "{text}");
        }
    }
}
