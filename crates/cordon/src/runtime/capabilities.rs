//! Capability tokens over HTTP: granted to whoever authenticates, shown with each request, taken back.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use cordon_control::Refusal;
use cordon_core::json::{self, Node, quote};
use cordon_core::{Assurance, Bound, Caveat, Class, Digest, Limits, SessionId, Timestamp};
use cordon_gateway::{Caller, CallerRole};
use cordon_guard::{Admitted, Grant, Guard, Proof, Token};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response, StatusCode};
use tokio::time::timeout;

/// Carries the token.
pub(super) const TOKEN: &str = "cordon-capability";
/// Carries the holder's proof for this request.
const PROOF: &str = "cordon-proof";
/// Where tokens are granted and taken back.
pub(super) const PATH: &str = "/v1/capabilities";
pub(super) const REVOKE_PATH: &str = "/v1/capabilities/revoke";

const PATIENCE: Duration = Duration::from_secs(30);
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// A token and a proof as they were sent.
pub(super) struct Shown {
    token: Token,
    proof: Proof,
}

impl Shown {
    /// What the headers carry; both or neither, each once.
    pub(super) fn read(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let one = |name: &str| {
            let mut values = headers.get_all(name).iter();
            let first = values.next().map(|value| value.to_str().map_err(drop)).transpose()?;
            if values.next().is_some() { Err(()) } else { Ok::<_, ()>(first) }
        };
        let refuse =
            || refused("`Cordon-Capability` and `Cordon-Proof` come together, each once and readable");
        match (one(TOKEN).map_err(|()| refuse())?, one(PROOF).map_err(|()| refuse())?) {
            (None, None) => Ok(None),
            (Some(token), Some(proof)) => Ok(Some(Self {
                token: Token::parse(token).map_err(|error| refused(&error.to_string()))?,
                proof: proof.parse().map_err(|_| refuse())?,
            })),
            _ => Err(refuse()),
        }
    }

    /// The caller that a request with this token is from: `authenticated` where it also came with a
    /// credential of its own. `body` is exactly what was sent.
    pub(super) fn caller(
        &self,
        guard: &Guard,
        authenticated: Option<Caller>,
        request: &hyper::http::request::Parts,
        body: &[u8],
    ) -> Result<Caller, Refusal> {
        let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
        let admitted = guard
            .admit(&self.token, &self.proof, [request.method.as_str(), target], Digest::of(body))
            .map_err(|error| refused(&error.to_string()))?;
        let (chain, scopes) = match authenticated {
            None => (Some(admitted.chain.clone()), BTreeSet::new()),
            Some(caller) if caller.role != CallerRole::Agent || caller.tenant != admitted.tenant => {
                (None, BTreeSet::new())
            }
            Some(caller) => (admitted.shown_by(&caller.chain), caller.scopes),
        };
        let Admitted { capability, tenant, .. } = admitted;
        let chain =
            chain.ok_or_else(|| refused("the token was passed on to somebody else than this credential"))?;
        // A token counts only with its holder's proof.
        let (role, assurance) = (CallerRole::Agent, Assurance::Bound);
        Ok(Caller { role, chain, tenant, scopes, assurance, capability: Some(capability) })
    }
}

/// `POST /v1/capabilities`: a token for the caller's own principals.
pub(super) async fn grant(
    guard: &Guard,
    caller: Caller,
    author: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    if caller.capability.is_some() || caller.chain.agent().is_none() {
        return Err(refused("a token is granted to an agent's own credential; a token is narrowed offline"));
    }
    let node = body(request).await?;
    let now = guard.now();
    let expires_s = number(&node, "expires_s")?.filter(|seconds| (1..=86_400).contains(seconds));
    let expires_s = expires_s.ok_or_else(|| malformed("`expires_s` is 1 to 86400"))?;
    let expires = now.plus(cordon_core::Duration::from_secs(expires_s.unsigned_abs()));
    let holder = text(&node, "holder")?.and_then(|holder| holder.parse().ok());
    let grant = Grant {
        holder: holder.ok_or_else(|| malformed("`holder` is a public key such as `ed25519:…`"))?,
        caveats: caveats(&node)?,
        chain: caller.chain,
        tenant: caller.tenant,
        expires,
    };
    let (token, block, receipt) = guard
        .grant(grant, author)
        .await
        .map_err(|error| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "capability", error.to_string()))?;
    let body = format!(
        r#"{{"token":{},"block":{},"expires":{},"entry":{}}}"#,
        quote(&token.to_text()),
        quote(&block.to_string()),
        quote(&whole_seconds(expires).to_string()),
        quote(&receipt.id.to_string())
    );
    Ok(super::listen::json(201, body))
}

/// `POST /v1/capabilities/revoke`: a block, and every token that has it, counts no more.
pub(super) async fn revoke(
    guard: &Guard,
    caller: &Caller,
    author: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    if caller.role != CallerRole::Operator {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "role", "only an operator takes tokens back"));
    }
    let node = body(request).await?;
    members(&node, &["block"])?;
    let block = text(&node, "block")?.and_then(|block| block.parse::<Digest>().ok());
    guard.revoke(block.ok_or_else(|| malformed("`block` is the name of a block, `sha256:…`"))?, author);
    Ok(super::listen::json(200, r#"{"revoked":true}"#.to_owned()))
}

fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_secs().saturating_mul(1_000_000))
}

async fn body(request: Request<Incoming>) -> Result<Node, Refusal> {
    let read = timeout(PATIENCE, Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect()).await;
    let bytes = match read {
        Ok(Ok(body)) => body.to_bytes(),
        _ => return Err(malformed("the body could not be read")),
    };
    let node = json::parse(&bytes, &Limits::DEFAULT).map_err(|error| malformed(&error.to_string()))?;
    if node.is_object() { Ok(node) } else { Err(malformed("expected an object")) }
}

const MEMBERS: &[&str] = &[
    "holder",
    "expires_s",
    "classes",
    "tools",
    "resources",
    "session",
    "purpose",
    "max_depth",
    "calls",
    "arguments",
];

/// The caveats that a request for a token names; anything else in it is refused, so that nobody gets
/// more than they meant to ask for.
fn caveats(node: &Node) -> Result<Vec<Caveat>, Refusal> {
    members(node, MEMBERS)?;
    let mut caveats = Vec::new();
    if let Some(names) = texts(node, "classes")? {
        let classes: Result<_, _> = names.iter().map(|name| name.parse::<Class>()).collect();
        caveats.push(Caveat::Classes(classes.map_err(|error| malformed(&error.to_string()))?));
    }
    caveats.extend(texts(node, "tools")?.map(Caveat::Tools));
    caveats.extend(texts(node, "resources")?.map(Caveat::Resources));
    if let Some(id) = text(node, "session")? {
        caveats
            .push(Caveat::Session(id.parse::<SessionId>().map_err(|error| malformed(&error.to_string()))?));
    }
    caveats.extend(text(node, "purpose")?.map(|purpose| Caveat::Purpose(purpose.into())));
    if let Some(most) = number(node, "max_depth")? {
        caveats
            .push(Caveat::MaxDepth(u32::try_from(most).map_err(|_| malformed("`max_depth` is 0 or more"))?));
    }
    if let Some(most) = number(node, "calls")? {
        caveats.push(Caveat::Calls(u64::try_from(most).map_err(|_| malformed("`calls` is 0 or more"))?));
    }
    if let Some(arguments) = node.get("arguments") {
        let json::Kind::Array(arguments) = arguments.kind() else {
            return Err(malformed("`arguments` is a list of bounds"));
        };
        for argument in arguments {
            members(argument, &["at", "one_of", "prefix", "at_least", "at_most"])?;
            let at = text(argument, "at")?.filter(|at| at.starts_with('/'));
            let at =
                at.ok_or_else(|| malformed("`at` of an argument is a JSON Pointer such as `/amount`"))?;
            let bounds = [
                texts(argument, "one_of")?.map(Bound::OneOf),
                text(argument, "prefix")?.map(|prefix| Bound::Prefix(prefix.into())),
                number(argument, "at_least")?.map(Bound::AtLeast),
                number(argument, "at_most")?.map(Bound::AtMost),
            ];
            let before = caveats.len();
            caveats.extend(bounds.into_iter().flatten().map(|bound| Caveat::Argument(at.into(), bound)));
            if caveats.len() == before {
                return Err(malformed("an argument has `one_of`, `prefix`, `at_least` or `at_most`"));
            }
        }
    }
    Ok(caveats)
}

fn members(node: &Node, known: &[&str]) -> Result<(), Refusal> {
    if !node.is_object() {
        return Err(malformed("expected an object"));
    }
    match node.members().iter().find(|(name, _)| !known.contains(&&**name)) {
        Some((name, _)) => Err(malformed(&format!("`{}` is not known here", name.escape_debug()))),
        None => Ok(()),
    }
}

fn text<'n>(node: &'n Node, name: &str) -> Result<Option<&'n str>, Refusal> {
    let found =
        node.get(name).map(|node| node.as_text().ok_or_else(|| malformed(&format!("`{name}` is a text"))));
    found.transpose()
}

fn number(node: &Node, name: &str) -> Result<Option<i64>, Refusal> {
    let found = node
        .get(name)
        .map(|node| node.as_i64().ok_or_else(|| malformed(&format!("`{name}` is a whole number"))));
    found.transpose()
}

fn texts(node: &Node, name: &str) -> Result<Option<BTreeSet<Box<str>>>, Refusal> {
    let Some(node) = node.get(name) else { return Ok(None) };
    let wrong = || malformed(&format!("`{name}` is a list of texts"));
    let json::Kind::Array(items) = node.kind() else { return Err(wrong()) };
    let texts: Option<BTreeSet<_>> = items.iter().map(|item| item.as_text().map(Box::from)).collect();
    texts.map(Some).ok_or_else(wrong)
}

fn malformed(message: &str) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "malformed", message)
}

fn refused(message: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "capability", message)
}
