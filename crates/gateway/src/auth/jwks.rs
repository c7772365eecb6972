//! The keys of an issuer (RFC 7517): from a file or an address, kept, and fetched anew at most once a
//! minute when a token names a key that is not known.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cordon_core::Timestamp;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::time::timeout;

use super::AuthError;
use crate::mcp::Endpoint;

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksSource {
    /// In a file.
    File(PathBuf),
    /// At an address: `https`, or `http` to this machine.
    Url(Box<str>),
}

/// An issuer's keys cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwksError {
    /// The address is not one that may be asked.
    #[error("`{0}` is not an address for keys: use `https://…`, or `http://` to this machine")]
    Url(Box<str>),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(Box<str>),
}

/// The keys and when they were fetched.
pub(super) struct Jwks {
    source: JwksSource,
    client: Option<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>,
    state: Mutex<State>,
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    keys: Arc<[Jwk]>,
    fetched: Option<Timestamp>,
}

/// How old keys may get before they are fetched anew.
const AGE_MAX_S: u64 = 3_600;
/// How long an unknown key name waits for the next fetch.
const AGAIN_S: u64 = 60;
/// Largest set of keys, in bytes, and most keys in it.
const BYTES_MAX: usize = 256 << 10;
const KEYS_MAX: usize = 64;
const FETCH_MAX: Duration = Duration::from_secs(10);

impl Jwks {
    pub(super) fn new(source: JwksSource) -> Result<Self, JwksError> {
        let client = match &source {
            JwksSource::File(_) => None,
            JwksSource::Url(url) => {
                Endpoint::new(url, None).map_err(|_| JwksError::Url(url.clone()))?;
                let connector =
                    crate::mcp::connector().map_err(|error| JwksError::Tls(error.to_string().into()))?;
                Some(Client::builder(TokioExecutor::new()).build(connector))
            }
        };
        Ok(Self { source, client, state: Mutex::default(), fetching: tokio::sync::Mutex::default() })
    }

    /// The key named `kid` that may check signatures of `algorithm`.
    pub(super) async fn key(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<DecodingKey, AuthError> {
        if let Some(key) = self.known(kid, algorithm, now, AGE_MAX_S) {
            return key;
        }
        let _one_fetches = self.fetching.lock().await;
        if let Some(key) = self.known(kid, algorithm, now, AGE_MAX_S) {
            return key;
        }
        let due = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.fetched.is_none_or(|at| now.since(at).as_micros() / 1_000_000 >= AGAIN_S)
        };
        if due {
            // The attempt counts even when it fails, so that nobody can make this node ask in a loop.
            self.state.lock().unwrap_or_else(PoisonError::into_inner).fetched = Some(now);
            let keys = self.fetch().await?;
            self.state.lock().unwrap_or_else(PoisonError::into_inner).keys = keys;
        }
        self.known(kid, algorithm, now, u64::MAX)
            .unwrap_or(Err(AuthError::Invalid("its key is not the issuer's")))
    }

    fn known(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        now: Timestamp,
        age_max_s: u64,
    ) -> Option<Result<DecodingKey, AuthError>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fetched = state.fetched?;
        if now.since(fetched).as_micros() / 1_000_000 > age_max_s {
            return None;
        }
        let fits = |key: &&Jwk| fits(key, algorithm);
        let key = match kid {
            Some(kid) => state.keys.iter().filter(|key| key.common.key_id.as_deref() == Some(kid)).find(fits),
            // Without a name the choice must be no choice.
            None => {
                let mut candidates = state.keys.iter().filter(fits);
                let only = candidates.next();
                if candidates.next().is_some() { None } else { only }
            }
        };
        key.map(|key| DecodingKey::from_jwk(key).map_err(|_| AuthError::Invalid("its key cannot be used")))
    }

    async fn fetch(&self) -> Result<Arc<[Jwk]>, AuthError> {
        let unavailable = |text: String| AuthError::Unavailable(format!("the issuer's keys: {text}").into());
        let bytes = match (&self.source, &self.client) {
            (JwksSource::File(path), _) => {
                std::fs::read(path).map_err(|error| unavailable(error.to_string()))?
            }
            (JwksSource::Url(url), Some(client)) => timeout(FETCH_MAX, get(client, url))
                .await
                .map_err(|_| unavailable("no answer in time".into()))?
                .map_err(unavailable)?,
            (JwksSource::Url(_), None) => return Err(unavailable("there is no client".into())),
        };
        if bytes.len() > BYTES_MAX {
            return Err(unavailable(format!("more than {BYTES_MAX} bytes")));
        }
        let set: Loose = serde_json::from_slice(&bytes).map_err(|error| unavailable(error.to_string()))?;
        // A set may hold kinds of keys that are of no use here; they are passed over.
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        Ok(JwkSet { keys: keys.take(KEYS_MAX).collect() }.keys.into())
    }
}

#[derive(serde::Deserialize)]
struct Loose {
    keys: Vec<serde_json::Value>,
}

async fn get(
    client: &Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: &str,
) -> Result<Vec<u8>, String> {
    let request = Request::get(url).header("accept", "application/json").body(Full::default());
    let request = request.map_err(|error| error.to_string())?;
    let response = client.request(request).await.map_err(|error| crate::mcp::chain(&error))?;
    if !response.status().is_success() {
        return Err(format!("HTTP status {}", response.status().as_u16()));
    }
    let body =
        Limited::new(response.into_body(), BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
    Ok(body.to_bytes().into())
}

/// Whether a key of the set is one for signatures of this algorithm.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    if key.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return false;
    }
    if key.common.key_algorithm.is_some_and(|named| named.to_string() != format!("{algorithm:?}")) {
        return false;
    }
    match &key.algorithm {
        AlgorithmParameters::RSA(_) => matches!(algorithm, Algorithm::RS256 | Algorithm::PS256),
        AlgorithmParameters::EllipticCurve(parameters) => {
            algorithm == Algorithm::ES256 && parameters.curve == EllipticCurve::P256
        }
        AlgorithmParameters::OctetKeyPair(parameters) => {
            algorithm == Algorithm::EdDSA && parameters.curve == EllipticCurve::Ed25519
        }
        // A secret has no place in a public set.
        _ => false,
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks").field("source", &self.source).finish_non_exhaustive()
    }
}
