//! What a door asks the guard: one operation in one session.

use std::collections::BTreeSet;

use cordon_core::json::Node;
use cordon_core::{Action, ActionName, Ambiguity, CallId, Record, Resource, SessionId};

/// One operation that somebody attempts.
#[derive(Debug, Clone)]
pub struct Attempt<'a> {
    /// The session it belongs to.
    pub session: SessionId,
    /// What is attempted.
    pub operation: Operation<'a>,
    /// Where it stands in a trace that the caller keeps.
    pub trace: Trace,
    /// The call that led to this one.
    pub parent: Option<CallId>,
    /// How sure the model says it is, from 0 to 1000; recorded, never trusted.
    pub confidence: Option<u16>,
}

/// What is attempted.
#[derive(Debug, Clone)]
pub enum Operation<'a> {
    /// A call of a tool that a server listed.
    Tool {
        /// The configured name of the server.
        server: &'a str,
        /// The tool's name as the server gave it.
        tool: &'a str,
        /// The arguments.
        arguments: &'a Node,
    },
    /// A call of a tool that the bundle describes and an enforcement point runs itself.
    Described {
        /// Its name.
        tool: &'a ActionName,
        /// The arguments.
        arguments: &'a Node,
    },
    /// A message of a protocol itself, such as listing tools or reading a resource.
    Message {
        /// What it is.
        action: Action,
        /// What it is about.
        resource: Resource,
        /// Its parameters, as policies see them.
        args: Record,
        /// Its parameters, as JSON.
        arguments: Option<&'a Node>,
        /// Why it is not clear what it would do; empty when it is.
        ambiguous: BTreeSet<Ambiguity>,
    },
}

/// A position in a W3C trace; recorded, never trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trace {
    /// The trace.
    pub trace: Option<[u8; 16]>,
    /// The caller's span.
    pub span: Option<[u8; 8]>,
}

impl Trace {
    /// Reads a `traceparent` of version 00 (W3C Trace Context §3.2).
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != "00" || flags.len() != 2 || parts.next().is_some() {
            return None;
        }
        let trace = hex::<16>(trace).filter(|bytes| *bytes != [0; 16])?;
        let span = hex::<8>(span).filter(|bytes| *bytes != [0; 8])?;
        Some(Self { trace: Some(trace), span: Some(span) })
    }
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != N.checked_mul(2)? || !text.bytes().all(lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_traceparent_is_recorded() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(Trace::parse(text).is_some());
        for text in [
            "",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(Trace::parse(text), None, "{text}");
        }
    }
}
