//! The routes under `/v1`, each with the least role that may call it.

mod approvals;
mod body;
mod events;
mod kills;
mod node;
mod refusal;
mod sessions;
mod tools;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};

use crate::{Caller, CallerRole, Node};

pub use body::strict;
pub use refusal::Refusal;

/// The API description (OpenAPI 3.1), as served at `/v1/openapi.json`.
pub const OPENAPI: &str = include_str!("../../../../spec/openapi.json");

/// Largest request body, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;

/// The administration API of one node.
#[derive(Debug, Clone, Copy)]
pub enum Api {}

/// One route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The method, in lower case.
    pub method: &'static str,
    /// The path, with parameters in braces.
    pub path: &'static str,
    /// The least role that may call it.
    pub role: CallerRole,
}

type Shared = State<Arc<dyn Node>>;

macro_rules! routes {
    ($($method:ident $path:literal $role:ident => $handler:path;)*) => {
        impl Api {
            /// Every route there is.
            pub const ROUTES: &'static [Route] = &[
                $(Route { method: stringify!($method), path: $path, role: CallerRole::$role },)*
            ];

            /// The routes, to be mounted behind a listener that adds a [`Caller`] to each request.
            pub fn router(node: Arc<dyn Node>) -> Router {
                let mut router = Router::new();
                $(
                    let least = middleware::from_fn_with_state(CallerRole::$role, require);
                    router = router.route($path, axum::routing::$method($handler).route_layer(least));
                )*
                router
                    .fallback(unknown)
                    .method_not_allowed_fallback(otherwise)
                    .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
                    .with_state(node)
            }
        }
    };
}

routes! {
    get "/v1/openapi.json" Agent => node::openapi;
    get "/v1/status" Pep => node::status;
    get "/v1/policy" Pep => node::policy;
    post "/v1/policy/reload" Operator => node::reload;
    get "/v1/keys" Operator => node::keys;
    post "/v1/keys/rotate" Operator => node::rotate;
    get "/v1/ledger" Operator => node::ledger;
    post "/v1/decide" Pep => node::decide;
    post "/v1/console" Operator => node::console;
    get "/v1/events" Operator => events::stream;
    get "/v1/approvals" Operator => approvals::list;
    get "/v1/approvals/{id}" Agent => approvals::show;
    post "/v1/approvals/{id}/answer" Operator => approvals::answer;
    get "/v1/sessions" Operator => sessions::list;
    get "/v1/sessions/{id}" Operator => sessions::show;
    delete "/v1/sessions/{id}" Operator => sessions::close;
    post "/v1/sessions/{id}/contain" Operator => sessions::contain;
    post "/v1/sessions/{id}/release" Operator => sessions::release;
    post "/v1/sessions/{id}/kill" Operator => sessions::kill;
    get "/v1/kills" Operator => kills::list;
    post "/v1/kills" Operator => kills::kill;
    post "/v1/kills/bundle" Operator => kills::load;
    post "/v1/kills/{id}/lift" Operator => kills::lift;
    get "/v1/tools" Operator => tools::list;
    get "/v1/tools/show" Operator => tools::show;
    post "/v1/tools/approve" Operator => tools::approve;
}

async fn unknown() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "unknown", "there is nothing here")
}

async fn otherwise() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method", "this path takes other methods; see `Allow`")
}

/// Lets a request through when its caller has at least this role.
async fn require(State(least): State<CallerRole>, request: Request, next: Next) -> Response {
    match request.extensions().get::<Caller>() {
        None => Refusal::unauthenticated().into_response(),
        Some(caller) if caller.role < least => Refusal::role(caller.role, least).into_response(),
        Some(_) => next.run(request).await,
    }
}

/// The caller of a route; present because [`require`] ran first.
type Who = Extension<Caller>;
