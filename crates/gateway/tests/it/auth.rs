//! Who calls: each accepted token beside the one that is nearly it.

use std::collections::BTreeSet;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use cordon_core::{Principal, PrincipalKind, Timestamp};
use cordon_gateway::CallerRole;
use cordon_gateway::auth::{
    AuthError, Authenticator, JwksSource, OAuth, OAuthOptions, Token, TokenRules, Tokens,
};
use cordon_guard::policy::PolicySet;
use hyper::HeaderMap;
use serde_json::{Value, json};

use crate::support::caller;

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const ORIGIN: &str = "https://cordon.example";
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) struct Issuer {
    pub(crate) key: Ed25519KeyPair,
    ec: EcdsaKeyPair,
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        let key = Ed25519KeyPair::generate().unwrap();
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = ec.public_key().as_ref();
        let keys = json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "x": BASE64.encode(key.public_key().as_ref())},
            {"kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256", "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..])},
            {"kty": "oct", "kid": "secret", "k": BASE64.encode(b"a secret that must never count")},
            {"kty": "unheard-of", "kid": "x"},
        ]});
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jwks.json");
        std::fs::write(&path, keys.to_string()).unwrap();
        Self { key, ec, _dir: dir, path }
    }

    fn authenticator(&self, scopes: &[&str]) -> Authenticator {
        Authenticator::new(None, [self.oauth(scopes, TokenRules::default())])
    }

    pub(crate) fn oauth(&self, scopes: &[&str], rules: TokenRules) -> OAuth {
        OAuth::new(self.options(scopes, rules)).unwrap()
    }

    pub(crate) fn options(&self, scopes: &[&str], rules: TokenRules) -> OAuthOptions {
        OAuthOptions {
            issuer: ISSUER.into(),
            origin: ORIGIN.into(),
            audiences: Vec::new(),
            jwks: JwksSource::File(self.path.clone()),
            scopes: scopes.iter().map(|scope| Box::from(*scope)).collect(),
            owner: Principal::new(PrincipalKind::User, "omar"),
            tenant: "default".into(),
            leeway_s: 30,
            rules,
        }
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = match header["alg"].as_str() {
            Some("ES256") => self
                .ec
                .sign(&aws_lc_rs::rand::SystemRandom::new(), message.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
            _ => self.key.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", BASE64.encode(signature))
    }
}

pub(crate) fn header() -> Value {
    json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "ed"})
}

pub(crate) fn claims() -> Value {
    json!({"iss": ISSUER, "aud": format!("{ORIGIN}/mcp/mail"), "sub": "uma", "client_id": "assistant", "exp": NOW + 60, "scope": "mcp"})
}

pub(crate) fn with(mut value: Value, name: &str, to: Value) -> Value {
    value[name] = to;
    value
}

pub(crate) fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().unwrap().remove(name);
    value
}

pub(crate) async fn check(
    authenticator: &Authenticator,
    token: &str,
) -> Result<cordon_gateway::Caller, AuthError> {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    let now = Timestamp::from_micros(NOW * 1_000_000);
    authenticator.authenticate(&headers, None, &PolicySet::deny_all(), now).await
}

#[tokio::test]
async fn a_token_for_this_resource_names_agent_and_user() {
    let issuer = Issuer::new();
    let authenticator = issuer.authenticator(&[]);
    let found = check(&authenticator, &issuer.sign(&header(), &claims())).await.unwrap();
    assert_eq!(found.role, CallerRole::Agent);
    let names: Vec<_> =
        found.chain.members().map(|(role, who)| format!("{} {}", role.as_str(), who.id)).collect();
    assert_eq!(names, ["owner omar", "agent assistant", "on_behalf_of uma"]);
    let own = with(claims(), "sub", json!("assistant"));
    let found = check(&authenticator, &issuer.sign(&header(), &own)).await.unwrap();
    assert!(found.chain.on_behalf_of().is_none(), "a client's own token speaks for no user");
    let ec = json!({"alg": "ES256", "typ": "application/at+jwt", "kid": "ec"});
    assert!(check(&authenticator, &issuer.sign(&ec, &claims())).await.is_ok());
}

#[tokio::test]
async fn every_near_miss_is_refused() {
    let issuer = Issuer::new();
    let authenticator = issuer.authenticator(&[]);
    let stranger = Issuer::new();
    let cases: Vec<(&str, String)> = vec![
        ("another issuer", issuer.sign(&header(), &with(claims(), "iss", json!("https://issuer.example/")))),
        (
            "another audience",
            issuer.sign(&header(), &with(claims(), "aud", json!("https://other.example/mcp"))),
        ),
        (
            "an audience that only begins alike",
            issuer.sign(&header(), &with(claims(), "aud", json!("https://cordon.example.evil/mcp"))),
        ),
        ("no audience", issuer.sign(&header(), &without(claims(), "aud"))),
        ("expired", issuer.sign(&header(), &with(claims(), "exp", json!(NOW - 31)))),
        ("no expiry", issuer.sign(&header(), &without(claims(), "exp"))),
        ("not yet", issuer.sign(&header(), &with(claims(), "nbf", json!(NOW + 31)))),
        ("an identity token", issuer.sign(&with(header(), "typ", json!("JWT")), &claims())),
        ("no type", issuer.sign(&without(header(), "typ"), &claims())),
        ("critical extensions", issuer.sign(&with(header(), "crit", json!(["b64"])), &claims())),
        ("an unknown key", issuer.sign(&with(header(), "kid", json!("other")), &claims())),
        ("another's signature", stranger.sign(&header(), &claims())),
        ("a key of another kind", issuer.sign(&with(header(), "kid", json!("ec")), &claims())),
        ("alg none", {
            let token = issuer.sign(&with(header(), "alg", json!("none")), &claims());
            format!("{}.", token.rsplit_once('.').unwrap().0)
        }),
        ("the public key as a secret", {
            let part = |value: &Value| BASE64.encode(value.to_string());
            let message = format!("{}.{}", part(&with(header(), "alg", json!("HS256"))), part(&claims()));
            let key =
                aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, issuer.key.public_key().as_ref());
            format!("{message}.{}", BASE64.encode(aws_lc_rs::hmac::sign(&key, message.as_bytes())))
        }),
        ("the set's own secret", {
            let part = |value: &Value| BASE64.encode(value.to_string());
            let header = json!({"alg": "HS256", "typ": "at+jwt", "kid": "secret"});
            let message = format!("{}.{}", part(&header), part(&claims()));
            let key =
                aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"a secret that must never count");
            format!("{message}.{}", BASE64.encode(aws_lc_rs::hmac::sign(&key, message.as_bytes())))
        }),
        ("nothing", "x".to_owned()),
    ];
    for (what, token) in cases {
        let refused = check(&authenticator, &token).await;
        assert!(matches!(refused, Err(AuthError::Invalid(_))), "{what}: {refused:?}");
    }
    assert!(
        check(&authenticator, &issuer.sign(&header(), &with(claims(), "exp", json!(NOW - 29)))).await.is_ok()
    );
}

#[tokio::test]
async fn a_token_cannot_bring_its_own_key() {
    let issuer = Issuer::new();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&asked);
    let address = crate::http::listen(move |_| {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async {
            hyper::Response::new(cordon_gateway::mcp::http::BoxBody::new(http_body_util::Full::new(
                Bytes::new(),
            )))
        }
    })
    .await;
    let stranger = Issuer::new();
    let own = json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(stranger.key.public_key().as_ref())});
    for (name, value) in [
        ("jku", json!(format!("http://{address}/"))),
        ("x5u", json!(format!("http://{address}/"))),
        ("jwk", own),
    ] {
        let token = stranger.sign(&with(header(), name, value.clone()), &claims());
        assert!(check(&issuer.authenticator(&[]), &token).await.is_err(), "{name}");
        // Beside the valid one: the header means nothing either way.
        let token = issuer.sign(&with(header(), name, value), &claims());
        assert!(check(&issuer.authenticator(&[]), &token).await.is_ok(), "{name}");
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn keys_from_an_address_are_kept_and_asked_for_again_at_most_once_a_minute() {
    let issuer = Issuer::new();
    let keys = std::fs::read(&issuer.path).unwrap();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&asked);
    let address = crate::http::listen(move |_| {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let keys = keys.clone();
        async {
            hyper::Response::new(cordon_gateway::mcp::http::BoxBody::new(http_body_util::Full::new(
                keys.into(),
            )))
        }
    })
    .await;
    let options = OAuthOptions {
        issuer: ISSUER.into(),
        origin: ORIGIN.into(),
        audiences: Vec::new(),
        jwks: JwksSource::Url(format!("http://{address}/jwks").into()),
        scopes: Vec::new(),
        owner: Principal::new(PrincipalKind::User, "omar"),
        tenant: "default".into(),
        leeway_s: 30,
        rules: TokenRules::default(),
    };
    let authenticator = Authenticator::new(None, [OAuth::new(options).unwrap()]);
    for _ in 0..3 {
        assert!(check(&authenticator, &issuer.sign(&header(), &claims())).await.is_ok());
        let unknown = issuer.sign(&with(header(), "kid", json!("new")), &claims());
        assert!(check(&authenticator, &unknown).await.is_err());
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_refusal_says_where_to_get_a_token_and_which_scope() {
    let issuer = Issuer::new();
    let authenticator = issuer.authenticator(&["mcp", "mail"]);
    let refused = check(&authenticator, &issuer.sign(&header(), &claims())).await.unwrap_err();
    let (status, challenge) = authenticator.challenge(&refused, "/mcp/mail");
    assert_eq!(status, 403);
    let challenge = challenge.to_str().unwrap();
    assert!(
        challenge.contains(r#"error="insufficient_scope""#) && challenge.contains(r#"scope="mcp mail""#),
        "{challenge}"
    );
    let place = r#"resource_metadata="https://cordon.example/.well-known/oauth-protected-resource/mcp/mail""#;
    assert!(challenge.contains(place), "{challenge}");
    let (status, challenge) = authenticator.challenge(&AuthError::Missing, "/mcp/mail");
    assert_eq!(status, 401);
    assert!(challenge.to_str().unwrap().starts_with("Bearer resource_metadata="));
    let metadata: Value =
        serde_json::from_str(&authenticator.metadata("/mcp/mail").unwrap().to_json()).unwrap();
    assert_eq!(metadata["resource"], "https://cordon.example/mcp/mail");
    assert_eq!(metadata["authorization_servers"], json!([ISSUER]));
}

#[tokio::test]
async fn a_token_of_this_machine_is_one_of_three_and_nothing_near_it() {
    let secret = "0123456789abcdef0123456789abcdef0123456789a";
    let mut operator = caller("omar", "operator");
    operator.role = CallerRole::Operator;
    operator.scopes = BTreeSet::new();
    let tokens =
        Tokens::new([Token::new(secret, caller("omar", "assistant")), Token::new(&"o".repeat(43), operator)]);
    let authenticator = Authenticator::new(Some(tokens), []);
    assert_eq!(check(&authenticator, secret).await.unwrap().role, CallerRole::Agent);
    assert_eq!(check(&authenticator, &"o".repeat(43)).await.unwrap().role, CallerRole::Operator);
    for token in [&secret[1..], &secret.to_uppercase(), &format!("{secret}x"), "x"] {
        assert!(check(&authenticator, token).await.is_err(), "{token}");
    }
    let now = Timestamp::from_micros(NOW * 1_000_000);
    let policies = PolicySet::deny_all();
    let empty = authenticator.authenticate(&HeaderMap::new(), None, &policies, now).await;
    assert_eq!(empty, Err(AuthError::Missing));
    let mut twice = HeaderMap::new();
    twice.append("authorization", format!("Bearer {secret}").parse().unwrap());
    twice.append("authorization", "Bearer other".parse().unwrap());
    assert!(authenticator.authenticate(&twice, None, &policies, now).await.is_err());
    assert!(check(&Authenticator::new(None, []), secret).await.is_err());
}
