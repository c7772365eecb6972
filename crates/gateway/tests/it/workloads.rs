//! Agents known by their certificates: which certificate is which agent, and what goes with it.

use std::sync::Arc;

use cordon_core::{Principal, PrincipalKind, Timestamp};
use cordon_gateway::auth::{
    AuthError, Authenticator, InvalidPeer, Peer, Token, TokenRules, Tokens, Workloads,
};
use cordon_gateway::{Caller, CallerRole};
use cordon_guard::policy::{PolicySet, PolicySource};
use hyper::HeaderMap;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::json;

use crate::auth::{Issuer as TokenIssuer, NOW, claims, header, with};
use crate::support::caller;

const DOMAIN: &str = "prod.example";

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn issue(
        &self,
        names: &[SanType],
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names.to_vec();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }

    fn workload(&self, uri: &str) -> CertificateDer<'static> {
        self.issue(&[self::uri(uri)], |_| {})
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn policies() -> PolicySet {
    let directory = r#"[{"type":"Agent","id":"reader","attributes":{"spiffe_id":"spiffe://prod.example/reader"}},
        {"type":"Agent","id":"writer","attributes":{"spiffe_id":"spiffe://prod.example/writer"}}]"#;
    let source: PolicySource = [("data/entities.json", directory.as_bytes())].into_iter().collect();
    PolicySet::compile(&source).unwrap().policies
}

fn workloads() -> Workloads {
    let owner = Principal::new(PrincipalKind::User, "omar");
    Workloads { trust_domain: DOMAIN.into(), owner, tenant: "default".into() }
}

async fn judged(
    authenticator: &Authenticator,
    token: Option<&str>,
    peer: Option<&Peer>,
) -> Result<Caller, AuthError> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let now = Timestamp::from_micros(NOW * 1_000_000);
    authenticator.authenticate(&headers, peer, &policies(), now).await
}

#[test]
fn one_uri_of_the_trust_domain_names_the_workload_and_nothing_else_does() {
    let authority = Authority::new();
    let read = |names: &[SanType]| Peer::of(&authority.issue(names, |_| {}), DOMAIN);
    let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
    let good = read(&[uri("spiffe://prod.example/reader"), dns("reader.prod.example")]).unwrap();
    assert_eq!(good.workload().as_str(), "spiffe://prod.example/reader");
    let two = [uri("spiffe://prod.example/reader"), uri("spiffe://prod.example/writer")];
    assert_eq!(read(&two), Err(InvalidPeer::Uris(2)));
    assert_eq!(
        read(&[uri("spiffe://prod.example/reader"), uri("https://x.example/")]),
        Err(InvalidPeer::Uris(2))
    );
    assert_eq!(read(&[dns("spiffe.prod.example")]), Err(InvalidPeer::Uris(0)));
    let other = read(&[uri("spiffe://test.example/reader")]);
    assert!(matches!(other, Err(InvalidPeer::Domain { .. })), "{other:?}");
    for name in [
        "https://prod.example/reader",
        "spiffe://prod.example/reader/../writer",
        "spiffe://PROD.example/reader",
    ] {
        assert!(matches!(read(&[uri(name)]), Err(InvalidPeer::Name(_))), "{name}");
    }
    let common = authority.issue(&[dns("x.example")], |params| {
        params.distinguished_name.push(DnType::CommonName, "spiffe://prod.example/reader");
    });
    assert_eq!(Peer::of(&common, DOMAIN), Err(InvalidPeer::Uris(0)), "a common name is no name");
}

#[test]
fn only_a_living_certificate_of_the_configured_authority_verifies() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ours.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW));
    let verify = |certificate: &CertificateDer<'_>| verifier.verify_client_cert(certificate, &[], now);
    let name = || [uri("spiffe://prod.example/reader")];
    let lifetime = |from: i32, to: i32| {
        move |params: &mut CertificateParams| {
            (params.not_before, params.not_after) =
                (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(to, 1, 1));
        }
    };
    assert!(verify(&ours.workload("spiffe://prod.example/reader")).is_ok());
    assert!(verify(&ours.issue(&name(), lifetime(2026, 2028))).is_ok());
    assert!(verify(&ours.issue(&name(), lifetime(2025, 2026))).is_err(), "expired");
    assert!(verify(&ours.issue(&name(), lifetime(2028, 2029))).is_err(), "not valid yet");
    assert!(verify(&theirs.workload("spiffe://prod.example/reader")).is_err(), "another authority");
    let server = ours.issue(&name(), |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert!(verify(&server).is_err(), "a server's certificate");
    let authority = ours.issue(&name(), |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    assert!(verify(&authority).is_err(), "an authority is no workload");
}

#[tokio::test]
async fn a_certificate_is_the_agent_that_the_bundle_says() {
    let authority = Authority::new();
    let peer = |uri: &str| Peer::of(&authority.workload(uri), DOMAIN).unwrap();
    let authenticator = Authenticator::new(None, []).with_workloads(workloads());
    let found = judged(&authenticator, None, Some(&peer("spiffe://prod.example/reader"))).await.unwrap();
    assert_eq!(&*found.chain.agent().unwrap().id, "reader");
    assert_eq!((found.role, found.chain.on_behalf_of()), (CallerRole::Agent, None));
    let unknown = judged(&authenticator, None, Some(&peer("spiffe://prod.example/reader2"))).await;
    assert!(matches!(unknown, Err(AuthError::Invalid(_))), "{unknown:?}");
    assert_eq!(judged(&authenticator, None, None).await, Err(AuthError::Missing));
    let off = Authenticator::new(None, []);
    let ignored = judged(&off, None, Some(&peer("spiffe://prod.example/reader"))).await;
    assert_eq!(ignored, Err(AuthError::Missing), "certificates count only where that is configured");
}

#[tokio::test]
async fn certificate_and_token_are_of_one_agent() {
    let authority = Authority::new();
    let issuer = TokenIssuer::new();
    let reader = Peer::of(&authority.workload("spiffe://prod.example/reader"), DOMAIN).unwrap();
    let writer = Peer::of(&authority.workload("spiffe://prod.example/writer"), DOMAIN).unwrap();
    let operator = Caller { role: CallerRole::Operator, ..caller("omar", "reader") };
    let secret = "o".repeat(43);
    let authenticator = Authenticator::new(
        Some(Tokens::new([Token::new(&secret, operator)])),
        [issuer.oauth(&[], TokenRules::default())],
    )
    .with_workloads(workloads());
    let token = |agent: &str| issuer.sign(&header(), &with(claims(), "client_id", json!(agent)));
    let both = judged(&authenticator, Some(&token("reader")), Some(&reader)).await.unwrap();
    assert_eq!(&*both.chain.on_behalf_of().unwrap().id, "uma", "the token says for whom");
    for (what, token, peer) in [
        ("another agent's certificate", token("reader"), Some(&writer)),
        ("no certificate, and the agent has one", token("reader"), None),
        ("an agent without one behind another's", token("helper"), Some(&reader)),
        ("an operator's token from an agent's workload", secret.clone(), Some(&reader)),
    ] {
        let found = judged(&authenticator, Some(&token), peer).await;
        assert!(matches!(found, Err(AuthError::Invalid(_))), "{what}: {found:?}");
    }
    assert!(judged(&authenticator, Some(&token("helper")), None).await.is_ok(), "it has no certificate");
    assert!(judged(&authenticator, Some(&secret), None).await.is_ok());
    let hop = with(claims(), "act", json!({"sub": "reader"}));
    assert!(judged(&authenticator, Some(&issuer.sign(&header(), &hop)), Some(&writer)).await.is_err());
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate_needs_that_certificate() {
    let authority = Authority::new();
    let issuer = TokenIssuer::new();
    let authenticator =
        Authenticator::new(None, [issuer.oauth(&[], TokenRules::default())]).with_workloads(workloads());
    let peer = || Peer::of(&authority.workload("spiffe://prod.example/reader"), DOMAIN).unwrap();
    let (bound, renewed) = (peer(), peer());
    let thumbprint = {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bound.thumbprint().as_bytes())
    };
    let reader = with(claims(), "client_id", json!("reader"));
    let token = issuer.sign(&header(), &with(reader, "cnf", json!({"x5t#S256": thumbprint})));
    assert!(judged(&authenticator, Some(&token), Some(&bound)).await.is_ok());
    assert!(judged(&authenticator, Some(&token), Some(&renewed)).await.is_err());
    assert!(judged(&authenticator, Some(&token), None).await.is_err());
}
