//! One thing that is wrong with a value.

use std::fmt;

/// One thing that is wrong with a value. The text never repeats the value itself, which may be
/// secret, or written by an attacker to be read by a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where, as a JSON Pointer into the value; empty for the whole of it. At most 200 characters,
    /// control characters left out.
    pub pointer: Box<str>,
    /// What is wrong, in lower case, without a full stop.
    pub message: Box<str>,
    /// What was expected, as the schema or the manifest says it; at most 200 characters.
    pub expected: Box<str>,
}

impl Violation {
    pub(crate) fn new(pointer: &str, message: &str, expected: &str) -> Self {
        let shown = |text: &str| {
            let mut shown: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
            if text.chars().nth(200).is_some() {
                shown.push('…');
            }
            shown.into()
        };
        Self { pointer: shown(pointer), message: message.into(), expected: shown(expected) }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.pointer.is_empty() { "the value" } else { &*self.pointer };
        write!(f, "`{at}`: {}", self.message)?;
        if self.expected.is_empty() { Ok(()) } else { write!(f, ", expected {}", self.expected) }
    }
}
