//! AuthZEN over HTTP: the routes, and what the standard says of headers (AuthZEN §10.1).

use axum::body::Body;
use axum::http::HeaderValue;
use axum::response::IntoResponse as _;
use cordon_control::{CallerRole, Refusal};
use cordon_gateway::authzen::{Endpoint, Sought};
use cordon_gateway::{Answer, Caller};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use super::listen::{collected, json};

/// What the paths of this interface begin with.
const PREFIX: &str = "/access/v1/";
/// The header that names a request.
const REQUEST_ID: &str = "x-request-id";

/// What one path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Evaluation,
    Evaluations,
    Search(Sought),
    Requests,
    Requested,
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        match path.strip_prefix(PREFIX)? {
            "evaluation" => Some(Self::Evaluation),
            "evaluations" => Some(Self::Evaluations),
            "requests" => Some(Self::Requests),
            rest if rest.strip_prefix("requests/").is_some_and(|id| !id.is_empty() && !id.contains('/')) => {
                Some(Self::Requested)
            }
            rest => {
                let word = rest.strip_prefix("search/")?;
                Sought::ALL.into_iter().find(|sought| sought.as_str() == word).map(Self::Search)
            }
        }
    }
}

/// Whether a request is for this interface.
pub(super) fn serves(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// The request's own name, which every answer to it carries, refusals too.
pub(super) fn request_id(path: &str, headers: &HeaderMap) -> Option<HeaderValue> {
    serves(path).then(|| headers.get(REQUEST_ID).cloned()).flatten()
}

/// Puts the request's own name on its answer.
pub(super) fn echo(response: &mut Response<Body>, id: Option<HeaderValue>) {
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
}

/// Answers a request of a caller that is known.
pub(super) async fn answer(
    endpoint: &Endpoint,
    request: Request<Incoming>,
    caller: &Caller,
    role: CallerRole,
) -> Response<Body> {
    if role < CallerRole::Pep {
        return Refusal::role(role, CallerRole::Pep).into_response();
    }
    let Some(route) = Route::of(request.uri().path()) else {
        return Refusal::new(StatusCode::NOT_FOUND, "unknown", "there is nothing here").into_response();
    };
    let method = if route == Route::Requested { Method::GET } else { Method::POST };
    if *request.method() != method {
        let message = format!("send it with {method}");
        let mut response = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method", message).into_response();
        let allowed = HeaderValue::from_str(method.as_str()).unwrap_or(HeaderValue::from_static("POST"));
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    if route == Route::Requested {
        let id = request.uri().path().rsplit('/').next().unwrap_or_default();
        return told(endpoint.requested(id, caller));
    }
    if !is_json(request.headers()) {
        let answer = Answer::error(400, "malformed", "`Content-Type`: expected `application/json`");
        return json(answer.status, answer.body);
    }
    let answer = match (collected(request).await, route) {
        (Ok(body), Route::Evaluation) => endpoint.evaluation(&body, caller).await,
        (Ok(body), Route::Evaluations) => endpoint.evaluations(&body, caller).await,
        (Ok(body), Route::Search(sought)) => endpoint.search(sought, &body, caller).await,
        (Ok(body), Route::Requests | Route::Requested) => endpoint.request_access(&body, caller).await,
        (Err(answer), _) => answer,
    };
    told(answer)
}

/// The answer over HTTP; a problem (RFC 9457) says that it is one.
fn told(answer: Answer) -> Response<Body> {
    let problem = answer.body.starts_with(r#"{"type":"urn:"#);
    let mut response = json(answer.status, answer.body);
    if problem {
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}

/// Whether the body says that it is JSON, whatever parameters follow.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_is_one_route_and_its_neighbours_are_none() {
        assert_eq!(Route::of("/access/v1/evaluation"), Some(Route::Evaluation));
        assert_eq!(Route::of("/access/v1/evaluations"), Some(Route::Evaluations));
        assert_eq!(Route::of("/access/v1/search/action"), Some(Route::Search(Sought::Action)));
        assert_eq!(Route::of("/access/v1/requests"), Some(Route::Requests));
        assert_eq!(Route::of("/access/v1/requests/apr_1"), Some(Route::Requested));
        for path in [
            "/access/v1/requests/",
            "/access/v1/requests/apr_1/cancel",
            "/access/v1/evaluation/",
            "/access/v1/search",
            "/access/v1/search/",
            "/access/v1/search/subjects",
            "/access/v1/Evaluation",
            "/access/v2/evaluation",
        ] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }

    #[test]
    fn json_is_json_whatever_its_parameters_and_nothing_else_is() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
            is_json(&headers)
        };
        assert!(of("application/json") && of("Application/JSON; charset=utf-8"));
        for other in ["text/plain", "application/jsonx", "application/x-www-form-urlencoded", ""] {
            assert!(!of(other), "{other}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
