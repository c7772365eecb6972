//! The full answer to a request.

use std::fmt;
use std::sync::Arc;

use crate::{ActionName, Digest, Obligation, Risk, Role};

/// Ordered by strictness, so that combining rules is taking the maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Go ahead, with the obligations.
    Allow,
    /// A person decides.
    Ask,
    /// Refused.
    Deny,
}

impl Verdict {
    /// The verdict as written in records and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The strictest verdict wins; no rule at all is a denial.
pub fn combine(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    verdicts.into_iter().max().unwrap_or(Verdict::Deny)
}

/// Points at one rule in the bundle; its texts are shared, so that a judgement that names it copies none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleRef {
    /// The rule's `@id`, or its file and position when it has none; `cordon:…` for built-in rules.
    pub rule: Arc<str>,
    /// The file in the bundle; empty for built-in rules.
    pub file: Arc<str>,
    /// The line in the file, from 1; 0 for built-in rules.
    pub line: u32,
}

impl RuleRef {
    /// A rule that is part of Cordon itself.
    pub fn builtin(rule: &'static str) -> Self {
        Self { rule: rule.into(), file: "".into(), line: 0 }
    }
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.file.is_empty() {
            f.write_str(&self.rule)
        } else {
            write!(f, "{} ({}:{})", self.rule, self.file, self.line)
        }
    }
}

/// In what way a rule made the verdict so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ReasonKind {
    /// A permission was satisfied.
    Permitted,
    /// No permission was satisfied for a principal.
    NotPermitted,
    /// A prohibition was satisfied.
    Forbidden,
    /// A prohibition or an obligation could not be judged.
    Indeterminate,
    /// An obligation asks for a person.
    ApprovalDue,
    /// The enforcement point cannot carry out an obligation.
    Unenforceable,
    /// A check outside the policy text refused: schema, pin, limit, session state.
    Refused,
}

impl ReasonKind {
    /// The kind as written in records and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permitted => "permitted",
            Self::NotPermitted => "not_permitted",
            Self::Forbidden => "forbidden",
            Self::Indeterminate => "indeterminate",
            Self::ApprovalDue => "approval_due",
            Self::Unenforceable => "unenforceable",
            Self::Refused => "refused",
        }
    }
}

/// One rule that made the verdict so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// In what way.
    pub kind: ReasonKind,
    /// The rule.
    pub rule: RuleRef,
    /// The principal it was judged for, where that matters.
    pub principal: Option<Role>,
    /// What it says, in the outsider's words.
    pub message: Arc<str>,
    /// What would make the action possible, where that can be said.
    pub remedy: Option<Arc<str>>,
}

/// The full answer: same arguments, same judgement, on any machine, in any year.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Allow, ask or deny.
    pub verdict: Verdict,
    /// Why, the strictest first.
    pub reasons: Vec<Reason>,
    /// What must be done: all of it on Allow, the containing ones whatever the verdict.
    pub obligations: Vec<Obligation>,
    /// The policy bundle that was asked.
    pub bundle: Digest,
    /// How risky it is, where anything says so.
    pub risk: Risk,
    /// What was read before it, and how old that was.
    pub gathered: Vec<GatheredAge>,
}

/// One read that a decision rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatheredAge {
    /// The precondition.
    pub name: Box<str>,
    /// The tool that read it.
    pub tool: ActionName,
    /// How old it was, in milliseconds; `None` when it was not there, or too old.
    pub age_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strictest_verdict_wins_and_no_rule_denies() {
        assert_eq!(combine([Verdict::Allow, Verdict::Ask]), Verdict::Ask);
        assert_eq!(combine([Verdict::Deny, Verdict::Allow]), Verdict::Deny);
        assert_eq!(combine([]), Verdict::Deny);
    }
}
