//! Why a message cannot be understood, and the error code that says so.

use cordon_core::json::JsonError;

use super::{RequestId, Version, reply};

/// A message that is not forwarded because it is not understood; the text is meant for its sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Refusal {
    /// The id to answer, where it could be read.
    pub id: Option<RequestId>,
    /// What is wrong.
    pub problem: Problem,
}

impl Refusal {
    /// The JSON-RPC error code that says so.
    pub fn code(&self) -> i64 {
        self.problem.code()
    }

    /// The HTTP status that goes with it (Streamable HTTP, 2026-07-28): 404 for a method that does
    /// not exist, 400 for everything else.
    pub fn http_status(&self) -> u16 {
        match self.problem {
            Problem::UnknownMethod { .. } => 404,
            _ => 400,
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { id: None, problem }
    }
}

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The bytes are not one well-formed JSON value within the limits.
    #[error("the message is not acceptable JSON: {0}")]
    Json(#[from] JsonError),
    /// An array of messages (only 2025-03-26 had batches).
    #[error("a batch of messages is not accepted: send each message by itself")]
    Batch,
    /// The value is not an object.
    #[error("a message is a JSON object")]
    NotAnObject,
    /// `jsonrpc` is missing or is not `"2.0"`.
    #[error("`jsonrpc` must be \"2.0\", got {0}")]
    JsonRpc(Box<str>),
    /// The id is of another type, too long, fractional, or `null` where it may not be.
    #[error("`id` must be text of at most {max} bytes or a whole number of 64 bits, got {got}")]
    Id {
        /// The longest id.
        max: usize,
        /// What came, cut short.
        got: Box<str>,
    },
    /// Members that exclude each other, or none of those that make a message.
    #[error("a message has either `method`, or `result`, or `error`; this one has {0}")]
    Shape(&'static str),
    /// The method is not a short visible text.
    #[error("`method` must be visible ASCII of at most {0} bytes")]
    Method(usize),
    /// A member is of the wrong type.
    #[error("`{name}` must be {expected}")]
    Type {
        /// The member, as a path from the message.
        name: &'static str,
        /// What it must be, as a noun phrase.
        expected: &'static str,
    },
    /// A name differs from a protocol name only by letter case; some readers would take it for that.
    #[error(
        "the name `{got}` differs from `{meant}` only by letter case, and some readers take one for the other"
    )]
    LetterCase {
        /// What came.
        got: Box<str>,
        /// The protocol's own name.
        meant: &'static str,
    },
    /// A parameter that the method needs is missing or of the wrong type.
    #[error("`{method}` needs `params.{name}` as {expected}")]
    Param {
        /// The method.
        method: &'static str,
        /// The parameter.
        name: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The method is not one that this side may send in this era.
    #[error("the method `{method}` is not known here")]
    UnknownMethod {
        /// The method as sent.
        method: Box<str>,
    },
    /// The protocol version is not one that is spoken here.
    #[error("the protocol version `{requested}` is not supported; supported are {}", Version::list())]
    UnsupportedVersion {
        /// What came.
        requested: Box<str>,
    },
    /// An HTTP header does not agree with the body.
    #[error("header mismatch: {0}")]
    Header(Box<str>),
    /// A rewritten message is not what it should be.
    #[error("the rewritten message is not well formed: {0}")]
    Rewrite(&'static str),
}

impl Problem {
    /// The JSON-RPC error code that says so.
    pub fn code(&self) -> i64 {
        match self {
            Self::Json(_) => reply::PARSE_ERROR,
            Self::UnknownMethod { .. } => reply::METHOD_NOT_FOUND,
            Self::Param { .. } => reply::INVALID_PARAMS,
            Self::UnsupportedVersion { .. } => reply::UNSUPPORTED_VERSION,
            Self::Header(_) => reply::HEADER_MISMATCH,
            _ => reply::INVALID_REQUEST,
        }
    }
}
