//! Decisions for other people's enforcement points: OpenID AuthZEN Authorization API 1.0.
//!
//! [`parse`] turns one evaluation into a [`cordon_core::Request`], `search` asks one of each candidate,
//! [`reply`] turns the judgement into the answer, and [`Endpoint`] serves them over HTTP. A denial is an answer (`200`), not an error.

mod endpoint;
mod page;
pub(crate) mod parse;
pub(crate) mod reply;
mod requests;
mod search;

pub use endpoint::Endpoint;
pub use parse::{Evaluation, InvalidEvaluation, Properties, batch, evaluation};
pub use reply::{failed, judged};
pub use search::Sought;
