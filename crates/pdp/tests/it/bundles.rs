//! Signed bundles: what was signed is what is loaded, or nothing is.

use std::collections::BTreeMap;

use cordon_core::Timestamp;
use cordon_core::ed25519::SigningKey;
use cordon_pdp::{
    ActivationError, Bundle, BundleError, BundleRole, BundleTerms, ENVELOPE_FILE, Freshness, LastAccepted,
    RoleTrust, Trust, VerifiedBundle, build_statement,
};

use crate::support::NOON;

type Files = BTreeMap<Box<str>, Vec<u8>>;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

fn trust(threshold: u32, seeds: &[u8]) -> Trust {
    let keys = seeds.iter().map(|seed| key(*seed).verifying_key());
    Trust::new().with(BundleRole::Policy, RoleTrust::new(threshold, keys).unwrap())
}

fn day(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn terms(epoch: u64) -> BundleTerms {
    BundleTerms {
        role: BundleRole::Policy,
        name: "test".into(),
        tenant: "default".into(),
        epoch,
        not_before: day("2026-11-01T00:00:00Z"),
        expires: day("2027-11-01T00:00:00Z"),
    }
}

fn files() -> Files {
    let permission = "@id(\"p\") permit(principal, action in Action::\"data.read\", resource);";
    let test = "[[test]]\nname = \"reads\"\nagent = \"a\"\naction = \"x/y\"\nclasses = [\"data.read\"]\neffect = \"read\"\nexpect = \"allow\"\n";
    Files::from([
        ("permissions/p.cedar".into(), permission.as_bytes().to_vec()),
        ("tests/t.toml".into(), test.as_bytes().to_vec()),
    ])
}

fn signed_with(mut files: Files, terms: BundleTerms, seeds: &[u8]) -> Files {
    let statement = build_statement(&files, terms).unwrap();
    let keys: Vec<_> = seeds.iter().map(|seed| key(*seed)).collect();
    files.insert(ENVELOPE_FILE.into(), Bundle::sign(&statement, &keys).into_bytes());
    files
}

fn signed(seeds: &[u8]) -> Files {
    signed_with(files(), terms(7), seeds)
}

fn verify(files: &Files, trust: &Trust) -> Result<VerifiedBundle, BundleError> {
    Bundle::verify(files.clone(), trust, BundleRole::Policy, None, NOON)
}

#[test]
fn a_signed_bundle_is_verified_and_put_to_use() {
    let bundle = verify(&signed(&[1]), &trust(1, &[1])).unwrap();
    assert_eq!(bundle.freshness(), Freshness::New);
    assert_eq!(bundle.statement().terms, terms(7));
    assert_eq!(bundle.accepted().epoch, 7);
    let claimed = Bundle::unverified_statement(&signed(&[9])[ENVELOPE_FILE]).unwrap();
    assert_eq!(&claimed, bundle.statement());
    let compiled = bundle.activate().unwrap();
    assert_eq!(compiled.policies.digest(), bundle.source().digest());
    assert_eq!(compiled.policies.counts().permissions, 1);
}

#[test]
fn enough_different_trusted_keys_must_sign() {
    let refused =
        |files: &Files, trust: &Trust| matches!(verify(files, trust), Err(BundleError::Signatures { .. }));
    assert!(verify(&signed(&[1, 2]), &trust(2, &[1, 2, 3])).is_ok());
    assert!(refused(&signed(&[1]), &trust(2, &[1, 2, 3])));
    assert!(refused(&signed(&[1, 1]), &trust(2, &[1, 2, 3])));
    assert!(refused(&signed(&[1, 9]), &trust(2, &[1, 2, 3])));
    assert!(verify(&signed(&[1, 9, 2]), &trust(2, &[1, 2, 3])).is_ok());
    assert!(refused(&signed(&[9]), &trust(1, &[1])));
    assert!(matches!(verify(&signed(&[1]), &Trust::new()), Err(BundleError::NoTrust { .. })));
    // The hint is not believed: the name of a trusted key on another's signature counts nothing.
    let mut forged = signed(&[9]);
    let text = String::from_utf8(forged[ENVELOPE_FILE].clone()).unwrap();
    let text = text.replace(&key(9).verifying_key().id(), &key(1).verifying_key().id());
    forged.insert(ENVELOPE_FILE.into(), text.into_bytes());
    assert!(refused(&forged, &trust(1, &[1])));
    // Nor is a wrong hint held against a good signature.
    let mut renamed = signed(&[1]);
    let text = String::from_utf8(renamed[ENVELOPE_FILE].clone()).unwrap();
    renamed.insert(ENVELOPE_FILE.into(), text.replace(&key(1).verifying_key().id(), "x").into_bytes());
    assert!(verify(&renamed, &trust(1, &[1])).is_ok());
}

#[test]
fn a_threshold_that_cannot_be_met_or_asks_for_nobody_is_refused() {
    let one = key(1).verifying_key();
    assert!(RoleTrust::new(0, [one]).is_err());
    assert!(RoleTrust::new(2, [one, one]).is_err());
    assert!(RoleTrust::new(1, []).is_err());
    assert!(RoleTrust::new(1, [one]).is_ok());
}

#[test]
fn the_set_of_files_is_exact() {
    let trust = trust(1, &[1]);
    let mut extra = signed(&[1]);
    extra.insert("permissions/q.cedar".into(), b"permit(principal, action, resource);".to_vec());
    assert_eq!(verify(&extra, &trust), Err(BundleError::Extra("permissions/q.cedar".into())));
    let mut missing = signed(&[1]);
    missing.remove("tests/t.toml");
    assert_eq!(verify(&missing, &trust), Err(BundleError::Missing("tests/t.toml".into())));
    let mut altered = signed(&[1]);
    altered.get_mut("permissions/p.cedar").unwrap().push(b' ');
    assert_eq!(verify(&altered, &trust), Err(BundleError::Altered("permissions/p.cedar".into())));
    let mut unsigned = signed(&[1]);
    unsigned.remove(ENVELOPE_FILE);
    assert_eq!(verify(&unsigned, &trust), Err(BundleError::Unsigned));
}

#[test]
fn a_bundle_of_another_role_or_time_is_refused() {
    let trust = trust(1, &[1]);
    let kill = signed_with(files(), BundleTerms { role: BundleRole::Kill, ..terms(7) }, &[1]);
    assert!(matches!(verify(&kill, &trust), Err(BundleError::Role { .. })));
    let bundle = signed(&[1]);
    let at = |text: &str| Bundle::verify(bundle.clone(), &trust, BundleRole::Policy, None, day(text));
    assert!(matches!(at("2026-10-31T23:59:59.999999Z"), Err(BundleError::NotYet { .. })));
    assert!(at("2026-11-01T00:00:00Z").is_ok());
    assert!(at("2027-10-31T23:59:59.999999Z").is_ok());
    assert!(matches!(at("2027-11-01T00:00:00Z"), Err(BundleError::Expired { .. })));
}

#[test]
fn an_older_bundle_and_another_one_of_the_same_epoch_are_refused() {
    let trust = trust(1, &[1]);
    let bundle = signed(&[1]);
    let last = verify(&bundle, &trust).unwrap().accepted();
    let after =
        |last: LastAccepted| Bundle::verify(bundle.clone(), &trust, BundleRole::Policy, Some(last), NOON);
    assert_eq!(after(last).map(|bundle| bundle.freshness()), Ok(Freshness::Unchanged));
    assert_eq!(after(LastAccepted { epoch: 6, ..last }).map(|bundle| bundle.freshness()), Ok(Freshness::New));
    assert_eq!(
        after(LastAccepted { epoch: 8, ..last }).map(|_| ()),
        Err(BundleError::Rollback { got: 7, last: 8, next: 9 })
    );
    let other = cordon_core::Digest::of(b"other");
    assert!(matches!(after(LastAccepted { epoch: 7, digest: other }), Err(BundleError::Rollback { .. })));
}

#[test]
fn one_changed_byte_of_the_envelope_is_never_accepted_as_something_else() {
    let trust = trust(1, &[1]);
    let bundle = signed(&[1]);
    let good = verify(&bundle, &trust).unwrap();
    let envelope = bundle[ENVELOPE_FILE].clone();
    for at in 0..envelope.len() {
        for bit in [0x01, 0x20] {
            let mut bent = bundle.clone();
            bent.get_mut(ENVELOPE_FILE).unwrap()[at] ^= bit;
            if let Ok(accepted) = verify(&bent, &trust) {
                // Only what carries no meaning may differ: white space and the hint.
                assert_eq!(accepted, good, "byte {at}");
            }
        }
    }
}

#[test]
fn a_bundle_with_errors_failing_tests_or_another_role_is_not_put_to_use() {
    let trust = trust(1, &[1]);
    let activate =
        |files: Files| verify(&signed_with(files, terms(7), &[1]), &trust).unwrap().activate().map(|_| ());
    assert_eq!(activate(files()), Ok(()));
    let mut broken = files();
    broken.insert("permissions/q.cedar".into(), b"permit(".to_vec());
    assert!(matches!(activate(broken), Err(ActivationError::Invalid(_))));
    let mut failing = files();
    failing.insert(
        "tests/u.toml".into(),
        String::from_utf8(failing["tests/t.toml"].clone()).unwrap().replace("allow", "deny").into_bytes(),
    );
    let error = activate(failing).unwrap_err();
    assert!(error.to_string().contains("tests/u.toml:1: `reads`: expected deny, got allow"), "{error}");
    let kill = signed_with(files(), BundleTerms { role: BundleRole::Kill, ..terms(7) }, &[1]);
    let keys = RoleTrust::new(1, [key(1).verifying_key()]).unwrap();
    let trust = trust.with(BundleRole::Kill, keys);
    let kill = Bundle::verify(kill, &trust, BundleRole::Kill, None, NOON).unwrap();
    assert_eq!(kill.activate().map(|_| ()), Err(ActivationError::Role(BundleRole::Kill)));
}

#[test]
fn a_kill_bundle_says_what_is_off_and_can_say_nothing_else() {
    let keys = RoleTrust::new(1, [key(1).verifying_key()]).unwrap();
    let trust = trust(1, &[2]).with(BundleRole::Kill, keys);
    let kills = |files: &[(&str, &str)], seeds: &[u8], last: Option<LastAccepted>| {
        let files = files.iter().map(|(path, text)| ((*path).into(), text.as_bytes().to_vec())).collect();
        let bundle = signed_with(files, BundleTerms { role: BundleRole::Kill, ..terms(7) }, seeds);
        Bundle::verify(bundle, &trust, BundleRole::Kill, last, NOON)
            .map(|bundle| (bundle.kills(), bundle.accepted()))
    };
    let switch = ("kills.toml", "[[kill]]\nwhat = \"money.move\"\nagent = \"bot\"\n");
    let (orders, accepted) = kills(&[switch], &[1], None).unwrap();
    let order = orders.unwrap().pop_first().unwrap();
    assert_eq!((order.target.to_string().as_str(), order.agent.as_deref()), ("money.move", Some("bot")));
    let permit = ("permissions/p.cedar", "permit(principal, action, resource);");
    let forbid = ("permissions/p.cedar", "forbid(principal, action, resource);");
    for other in [permit, forbid, ("tests/t.toml", ""), ("tools/t.toml", "")] {
        let (refused, _) = kills(&[switch, other], &[1], None).unwrap();
        assert_eq!(refused, Err(ActivationError::NotDenyOnly(other.0.into())));
    }
    assert!(
        kills(&[], &[1], None).unwrap().0.is_err(),
        "a bundle that says nothing is not one that lifts all"
    );
    assert!(kills(&[switch], &[2], None).is_err(), "who signs policies does not kill");
    let older = LastAccepted { epoch: 8, ..accepted };
    assert!(matches!(kills(&[switch], &[1], Some(older)), Err(BundleError::Rollback { .. })));
    let policy = verify(&signed(&[2]), &trust).unwrap();
    assert_eq!(policy.kills(), Err(ActivationError::Role(BundleRole::Policy)));
}

/// The committed vector: `cargo test -p cordon-pdp -- --ignored write_the_bundle_vector` writes it.
const VECTOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/bundle");

#[test]
#[ignore = "writes the vector that the next test compares with"]
fn write_the_bundle_vector() {
    for (path, bytes) in signed(&[1, 2]) {
        let path = std::path::Path::new(VECTOR).join("signed").join(&*path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let keys: String = [1, 2, 3].iter().map(|seed| format!("{}\n", key(*seed).verifying_key())).collect();
    std::fs::write(format!("{VECTOR}/keys.txt"), keys).unwrap();
}

#[test]
fn the_published_vector_is_what_is_written_and_what_is_accepted() {
    let published = crate::support::folder("spec/vectors/bundle/signed");
    assert_eq!(*published.files(), signed(&[1, 2]));
    let keys = std::fs::read_to_string(format!("{VECTOR}/keys.txt")).unwrap();
    let keys = keys.lines().map(|line| line.parse().unwrap());
    let trust = Trust::new().with(BundleRole::Policy, RoleTrust::new(2, keys).unwrap());
    assert!(verify(published.files(), &trust).unwrap().activate().is_ok());
}
