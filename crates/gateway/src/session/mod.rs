//! The session API: enforcement in SDKs and middleware, which run the tools themselves.
//!
//! A session is opened once and says who acts; each call is judged and recorded before the enforcement
//! point runs it, and its result is checked and recorded before it is shown. [`opening`] and [`call`]
//! read the bodies, [`Endpoint`] serves them.

mod call;
mod endpoint;
mod opening;
mod running;

pub use endpoint::{Endpoint, ROUTES, Route};
pub use opening::InvalidBody;
