//! What the claims of a good token say, and what no arrangement of claims can make them say.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use cordon_core::{Role, Timestamp, UnknownReason, Value as Known};
use cordon_gateway::Caller;
use cordon_gateway::auth::{AuthError, Authenticator, ClaimAge, ClaimOf, ClaimRule, TokenRules};
use serde_json::{Value, json};

use crate::auth::{ISSUER, Issuer, NOW, ORIGIN, check, claims, header, with, without};

fn issuer_with(rules: TokenRules) -> (Issuer, Authenticator) {
    let issuer = Issuer::new();
    let authenticator = Authenticator::new(None, [issuer.oauth(&[], rules)]);
    (issuer, authenticator)
}

fn names(caller: &Caller) -> String {
    let names = caller.chain.members().skip(1).map(|(role, who)| format!("{}:{}", role.as_str(), who.id));
    names.collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn refused(found: &Result<Caller, AuthError>, why: &str) {
    assert!(matches!(found, Err(AuthError::Invalid(text)) if text.contains(why)), "{why}: {found:?}");
}

#[tokio::test]
async fn the_outermost_actor_acts_and_the_nested_ones_passed_the_work_on() {
    let (issuer, authenticator) = issuer_with(TokenRules::default());
    let judged =
        async |act: Value| check(&authenticator, &issuer.sign(&header(), &with(claims(), "act", act))).await;
    let found = judged(json!({"sub": "writer"})).await.unwrap();
    assert_eq!(names(&found), "agent:writer on_behalf_of:uma");
    let nested = json!({"sub": "writer", "act": {"sub": "planner", "iss": ISSUER, "act": {"sub": "root"}}});
    let found = judged(nested).await.unwrap();
    assert_eq!(names(&found), "agent:writer on_behalf_of:uma via:planner via:root");
    assert!(found.chain.via().iter().all(|hop| hop.attributes.is_empty()));
    assert!(found.chain.members().any(|(role, who)| role == Role::Via && &*who.id == "root"));
    refused(&judged(json!({"sub": "writer", "act": {"sub": ""}})).await, "no name");
    refused(&judged(json!({"sub": "writer", "act": {}})).await, "no name");
    refused(&judged(json!("writer")).await, "no name");
    refused(&judged(json!({"sub": "writer", "iss": "https://other.example"})).await, "another issuer");
    let alone = with(without(claims(), "sub"), "act", json!({"sub": "writer"}));
    refused(&check(&authenticator, &issuer.sign(&header(), &alone)).await, "nobody whom it acts for");
}

#[tokio::test]
async fn a_chain_of_actors_has_an_end() {
    let (issuer, authenticator) = issuer_with(TokenRules::default());
    let chain = |length: usize| {
        (0..length).fold(json!({"sub": "first"}), |act, n| json!({"sub": format!("a{n}"), "act": act}))
    };
    let judged = async |length| {
        check(&authenticator, &issuer.sign(&header(), &with(claims(), "act", chain(length)))).await
    };
    assert_eq!(judged(8).await.unwrap().chain.via().len(), 8);
    refused(&judged(9).await, "too often");
    assert!(judged(30).await.is_err(), "deeper than what is read at all");
    assert!(judged(3_000).await.is_err());
}

#[tokio::test]
async fn a_name_that_stands_twice_refuses_the_token() {
    let (issuer, authenticator) = issuer_with(TokenRules::default());
    let sign = |header: &str, claims: &str| {
        let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
        format!("{message}.{}", BASE64.encode(issuer.key.sign(message.as_bytes()).as_ref()))
    };
    let (header, claims) = (header().to_string(), claims().to_string());
    assert!(check(&authenticator, &sign(&header, &claims)).await.is_ok());
    for (name, value) in
        [("sub", "\"root\""), ("aud", "\"x\""), ("exp", "1"), ("unheard", "1"), ("s\\u0075b", "\"r\"")]
    {
        let twice = claims.replacen('{', &format!("{{\"{name}\":{value},\"{name}\":{value},"), 1);
        refused(&check(&authenticator, &sign(&header, &twice)).await, "cannot be read");
    }
    let once_more = claims.replacen('{', "{\"\\u0073ub\":\"root\",", 1);
    refused(&check(&authenticator, &sign(&header, &once_more)).await, "cannot be read");
    let twice = header.replacen('{', "{\"alg\":\"none\",", 1);
    refused(&check(&authenticator, &sign(&twice, &claims)).await, "cannot be read");
    let padded = sign(&header, &claims).replacen('.', "=.", 1);
    assert!(check(&authenticator, &padded).await.is_err());
}

#[tokio::test]
async fn a_key_is_named_by_a_plain_text_and_found_only_in_the_set() {
    let (issuer, authenticator) = issuer_with(TokenRules::default());
    let judged =
        async |kid: Value| check(&authenticator, &issuer.sign(&with(header(), "kid", kid), &claims())).await;
    assert!(judged(json!("ed")).await.is_ok());
    for kid in [json!("../../ed"), json!("ED"), json!("ed "), json!("ed' OR '1'='1"), json!("/dev/null")] {
        refused(&judged(kid).await, "not the issuer's");
    }
    for kid in [json!(["ed"]), json!({"kid": "ed"}), json!(0), json!(null), json!(""), json!("e".repeat(300))]
    {
        refused(&judged(kid).await, "name of its key");
    }
}

#[tokio::test]
async fn times_are_bounded_on_both_sides() {
    let rules = TokenRules { age_max_s: Some(600), ..TokenRules::default() };
    let (issuer, authenticator) = issuer_with(rules);
    let judged = async |issued: Value| {
        check(&authenticator, &issuer.sign(&header(), &with(claims(), "iat", issued))).await
    };
    assert!(judged(json!(NOW - 600)).await.is_ok());
    assert!(judged(json!(NOW + 30)).await.is_ok());
    assert!(judged(json!(f64::from(u32::try_from(NOW).unwrap()) - 0.5)).await.is_ok());
    refused(&judged(json!(NOW - 630)).await, "too old");
    refused(&judged(json!(NOW + 31)).await, "in the future");
    refused(&judged(json!(NOW.to_string())).await, "number of seconds");
    refused(&judged(json!(-1)).await, "number of seconds");
    refused(&judged(json!(1e300)).await, "number of seconds");
    refused(&check(&authenticator, &issuer.sign(&header(), &claims())).await, "when it was issued");
}

#[tokio::test]
async fn types_and_algorithms_are_those_of_the_issuer() {
    let rules =
        TokenRules { types: vec!["jwt".into()], algorithms: vec!["ES256".into()], ..TokenRules::default() };
    let (issuer, authenticator) = issuer_with(rules);
    let ec = json!({"alg": "ES256", "typ": "JWT", "kid": "ec"});
    assert!(check(&authenticator, &issuer.sign(&ec, &claims())).await.is_ok());
    let access = with(ec.clone(), "typ", json!("at+jwt"));
    refused(&check(&authenticator, &issuer.sign(&access, &claims())).await, "`typ`");
    let ed = with(header(), "typ", json!("JWT"));
    refused(&check(&authenticator, &issuer.sign(&ed, &claims())).await, "algorithm");
}

#[tokio::test]
async fn each_issuer_has_its_own_rules_and_none_speaks_for_another() {
    let (one, two) = (Issuer::new(), Issuer::new());
    let second = cordon_gateway::auth::OAuthOptions {
        issuer: "https://second.example".into(),
        ..two.options(&[], TokenRules { types: vec!["jwt".into()], ..TokenRules::default() })
    };
    let second = cordon_gateway::auth::OAuth::new(second).unwrap();
    let authenticator = Authenticator::new(None, [one.oauth(&[], TokenRules::default()), second]);
    let theirs = with(claims(), "iss", json!("https://second.example"));
    let plain = with(header(), "typ", json!("JWT"));
    assert!(check(&authenticator, &one.sign(&header(), &claims())).await.is_ok());
    assert!(check(&authenticator, &two.sign(&plain, &theirs)).await.is_ok());
    refused(&check(&authenticator, &one.sign(&plain, &theirs)).await, "signature");
    refused(&check(&authenticator, &two.sign(&header(), &claims())).await, "signature");
    refused(&check(&authenticator, &one.sign(&plain, &claims())).await, "`typ`");
    let metadata: Value = serde_json::from_str(&authenticator.metadata("/mcp").unwrap().to_json()).unwrap();
    assert_eq!(metadata["authorization_servers"], json!([ISSUER, "https://second.example"]));
    assert_eq!(metadata["resource"], json!(format!("{ORIGIN}/mcp")));
}

#[tokio::test]
async fn a_token_that_counts_once_counts_once() {
    let since = Timestamp::from_micros((NOW - 100) * 1_000_000);
    let (issuer, authenticator) =
        issuer_with(TokenRules { once_since: Some(since), ..TokenRules::default() });
    let token = |id: &str, issued: u64| {
        issuer.sign(&header(), &with(with(claims(), "jti", json!(id)), "iat", json!(issued)))
    };
    let first = token("t-1", NOW - 10);
    assert!(check(&authenticator, &first).await.is_ok());
    refused(&check(&authenticator, &first).await, "used before");
    refused(&check(&authenticator, &token("t-1", NOW - 9)).await, "used before");
    assert!(check(&authenticator, &token("t-2", NOW - 100)).await.is_ok());
    refused(&check(&authenticator, &token("t-3", NOW - 101)).await, "not known any more");
    let nameless = with(claims(), "iat", json!(NOW));
    refused(&check(&authenticator, &issuer.sign(&header(), &nameless)).await, "no `jti`");
    // Elsewhere the same token is as good as its lifetime.
    let (issuer, authenticator) = issuer_with(TokenRules::default());
    let again = issuer.sign(&header(), &claims());
    assert!(check(&authenticator, &again).await.is_ok() && check(&authenticator, &again).await.is_ok());
}

#[tokio::test]
async fn claims_become_attributes_with_their_age() {
    let rule =
        |claim: &str, of, name: &str, age| ClaimRule { claim: claim.into(), of, attribute: name.into(), age };
    let age = |since: Option<&str>| Some(ClaimAge { max_s: 3_600, since: since.map(Into::into) });
    let rules = TokenRules {
        claims: vec![
            rule("/groups", ClaimOf::User, "groups", age(Some("/auth_time"))),
            rule("/org/unit", ClaimOf::User, "unit", None),
            rule("/release", ClaimOf::Agent, "release", age(None)),
        ],
        ..TokenRules::default()
    };
    let (issuer, authenticator) = issuer_with(rules);
    let judged = async |extra: Value| {
        let mut all = claims();
        all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        check(&authenticator, &issuer.sign(&header(), &all)).await.unwrap().chain
    };
    let chain = judged(json!({"groups": ["finance"], "auth_time": NOW - 60, "org": {"unit": "east"},
        "release": 7, "iat": NOW - 5, "admin": true}))
    .await;
    let user = chain.on_behalf_of().unwrap();
    assert_eq!(user.attributes["groups"], Known::texts(["finance"]));
    assert_eq!(user.attributes["unit"], Known::text("east"));
    assert_eq!(user.attributes.len(), 2, "no other claim counts");
    assert_eq!(user.stale_from["groups"], Timestamp::from_micros((NOW - 60 + 3_600) * 1_000_000));
    assert_eq!(chain.agent().unwrap().attributes["release"], Known::Long(7));
    let stale = Known::Unknown(UnknownReason::Stale);
    let old = judged(json!({"groups": ["finance"], "auth_time": NOW - 3_600})).await;
    assert_eq!(old.on_behalf_of().unwrap().attributes["groups"], stale);
    let ageless = judged(json!({"groups": ["finance"]})).await;
    assert_eq!(ageless.on_behalf_of().unwrap().attributes["groups"], stale, "of no known age");
    let absent = judged(json!({"auth_time": NOW})).await;
    assert!(!absent.on_behalf_of().unwrap().attributes.contains_key("groups"));
    let elsewhere = judged(json!({"auth_time": NOW, "_claim_names": {"groups": "src1"}})).await;
    assert!(elsewhere.on_behalf_of().unwrap().attributes["groups"].has_unknown(), "left out is not absent");
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_needs_that_key() {
    let (issuer, authenticator) = issuer_with(TokenRules::default());
    for bound in [json!({"jkt": "x"}), json!({"x5t#S256": "x"}), json!({}), json!("x"), json!(null)] {
        let token = issuer.sign(&header(), &with(claims(), "cnf", bound));
        refused(&check(&authenticator, &token).await, "bound to a key");
    }
}
