//! Decisions for other people's enforcement points: OpenID AuthZEN Authorization API 1.0.
//!
//! [`parse`] turns one evaluation into a [`cordon_core::Request`], [`reply`] turns the judgement into
//! the answer, and [`Endpoint`] serves both over HTTP. A denial is an answer (`200`), not an error.

mod endpoint;
pub(crate) mod parse;
pub(crate) mod reply;

pub use endpoint::Endpoint;
pub use parse::{Evaluation, InvalidEvaluation, Properties, batch, evaluation};
pub use reply::{failed, judged};
