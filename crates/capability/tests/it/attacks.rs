//! What is done to tokens by those who hold them, found them or made them up.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use biscuit_auth::builder::{Algorithm, BlockBuilder};
use biscuit_auth::{Biscuit, KeyPair, PrivateKey, UnverifiedBiscuit};
use cordon_capability::{BLOCKS_MAX, CapabilityError, Issuer, Token};
use cordon_core::{Bound, Caveat, Party, SessionId};

use crate::support::{Seeded, issuer, key, token};

fn own() -> Vec<Caveat> {
    vec![Caveat::Tools(["bank/pay".into()].into()), Caveat::MaxDepth(2), Caveat::Expires(100)]
}

fn bytes(token: &Token) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(token.to_text()).unwrap()
}

fn of(bytes: &[u8]) -> Token {
    Token::parse(&URL_SAFE_NO_PAD.encode(bytes)).unwrap()
}

/// Appends a block of any Datalog to a token that somebody holds.
fn appended(token: &Token, code: &str) -> Token {
    let block = BlockBuilder::new().code(code).unwrap();
    of(&UnverifiedBiscuit::from(bytes(token)).unwrap().append(block).unwrap().to_vec().unwrap())
}

/// A token that the true issuer's key signed, of any Datalog.
fn granted(code: &str) -> Token {
    let root = KeyPair::from(&PrivateKey::from_bytes(&[9; 32], Algorithm::Ed25519).unwrap());
    let hex: String = key(1).verifying_key().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let built = Biscuit::builder().code(code.replace("HOLDER", &format!("hex:{hex}"))).unwrap().build(&root);
    of(&built.unwrap().to_vec().unwrap())
}

#[test]
fn every_caveat_survives_the_journey() {
    let texts = || ["a b".into(), "\"; allow if true;".into()].into();
    let caveats = vec![
        Caveat::Classes(["data.read:orders".parse().unwrap(), "admin".parse().unwrap()].into()),
        Caveat::Tools(["bank/pay".into()].into()),
        Caveat::Resources(["Tool:bank/pay".into()].into()),
        Caveat::Tenant("acme".into()),
        Caveat::Session(SessionId::from_bytes([3; 16])),
        Caveat::Purpose("billing \"x\"".into()),
        Caveat::Principal(Party::Owner, "omar".into()),
        Caveat::Principal(Party::Agent, "planner".into()),
        Caveat::Principal(Party::User, "uma".into()),
        Caveat::MaxDepth(3),
        Caveat::Expires(1_800_000_000),
        Caveat::Calls(10),
        Caveat::Argument("/to".into(), Bound::OneOf(texts())),
        Caveat::Argument("/path".into(), Bound::Prefix("/data/".into())),
        Caveat::Argument("/amount".into(), Bound::AtLeast(-5)),
        Caveat::Argument("/amount".into(), Bound::AtMost(500)),
    ];
    let first = token(&caveats);
    let found = first.verify(&issuer().key()).unwrap();
    assert_eq!(found.blocks[0].caveats, caveats);
    assert_eq!(found.agent(), Some("planner"));
    assert_eq!(found.holder, key(1).verifying_key());
    let narrower = first.attenuate(&key(1), &key(2).verifying_key(), &caveats, &mut Seeded(3)).unwrap();
    let found = Token::parse(&narrower.to_text()).unwrap().verify(&issuer().key()).unwrap();
    assert_eq!((found.blocks[1].caveats.as_slice(), found.depth()), (caveats.as_slice(), 1));
    assert_eq!(found.holder, key(2).verifying_key());
    assert_ne!(found.blocks[0].id, found.blocks[1].id);
}

#[test]
fn only_the_issuer_grants_and_no_bit_can_be_changed() {
    let good = token(&own());
    assert!(good.verify(&issuer().key()).is_ok());
    let other = Issuer::from_seed(&[8; 32]).unwrap();
    assert_eq!(good.verify(&other.key()), Err(CapabilityError::Signature));
    let forged = other.mint(&key(1).verifying_key(), &own(), &mut Seeded(7)).unwrap();
    assert_eq!(forged.verify(&issuer().key()), Err(CapabilityError::Signature));
    let raw = bytes(&good);
    for place in (0..raw.len()).step_by(3) {
        let mut bent = raw.clone();
        bent[place] ^= 1;
        let found = of(&bent).verify(&issuer().key());
        assert!(found.is_err(), "byte {place}: {found:?}");
    }
    for end in [0, 1, raw.len() / 2, raw.len() - 1] {
        assert!(of(&raw[..end]).verify(&issuer().key()).is_err());
    }
    assert!(Token::parse("not base64!").is_err());
    assert_eq!(Token::parse(&"A".repeat(40_000)), Err(CapabilityError::TooLarge));
}

#[test]
fn whoever_found_a_token_cannot_pass_it_on_to_themselves() {
    let good = token(&own());
    let (thief, next) = (key(66), key(66).verifying_key());
    let stolen = good.attenuate(&thief, &next, &[], &mut Seeded(5)).unwrap();
    assert_eq!(stolen.verify(&issuer().key()), Err(CapabilityError::Holder(1)));
    // A signature for another token, or for another next holder, passes nothing on.
    let other = token(&[Caveat::Calls(1)]);
    let passed = good.attenuate(&key(1), &key(2).verifying_key(), &[], &mut Seeded(5)).unwrap();
    assert!(passed.verify(&issuer().key()).is_ok());
    let block = |token: &Token| {
        let text = UnverifiedBiscuit::from(bytes(token)).unwrap().print_block_source(1).unwrap();
        text.lines().find(|line| line.starts_with("holder")).unwrap().to_owned()
    };
    let replayed = appended(&other, &block(&passed));
    assert_eq!(replayed.verify(&issuer().key()), Err(CapabilityError::Holder(1)));
    // Nor does leaving the holder out, or naming one as the issuer does.
    let hex: String = next.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let bare = appended(&good, &format!("holder(hex:{hex});"));
    assert_eq!(bare.verify(&issuer().key()), Err(CapabilityError::Holder(1)));
    let none = appended(&good, "check if calls($x), $x < 5;");
    assert!(matches!(none.verify(&issuer().key()), Err(CapabilityError::Unknown { block: 1, .. })));
}

#[test]
fn an_issuers_block_in_the_vocabulary_is_read_and_its_neighbours_deny() {
    let holder = "holder(HOLDER);";
    let good = granted(
        &format!("{holder} check if tool($x), [\"bank/pay\"].contains($x);")
            .replace('[', "{")
            .replace(']', "}"),
    );
    let found = good.verify(&issuer().key());
    assert_eq!(found.unwrap().blocks[0].caveats, [Caveat::Tools(["bank/pay".into()].into())]);
    for code in [
        "check if true;",
        "check if weather(\"fine\");",
        "check if tool($x), {\"bank/pay\"}.contains($x) or tenant(\"a\");",
        "check all tool($x), {\"bank/pay\"}.contains($x);",
        "check if class($x), {\"data.read\"}.contains($x);",
        "check all class($x), {\"no.class\"}.contains($x);",
        "reject if tool(\"bank/pay\");",
        "check if tool($x), tenant($y), {\"bank/pay\"}.contains($x);",
        "check if tool($x), {\"bank/pay\"}.contains($x), $x != \"y\";",
        "check if tool($x), !{\"bank/pay\"}.contains($x);",
        "check if tool($x), $x.matches(\".*\");",
        "check if depth($x), $x < 4;",
        "check if calls($x), $x <= 4;",
        "check if calls($x), $x < -1;",
        "check if time($x), $x > 2030-01-01T00:00:00Z;",
        "check if tenant($x);",
        "check if tool($x), {1, 2}.contains($x);",
        "check if tool($x), {\"bank/pay\"}.contains($x) trusting previous;",
        "tool(\"bank/pay\");",
        "holder(HOLDER);",
        "tool(\"bank/pay\") <- tenant($x);",
    ] {
        let found = granted(&format!("{holder} {code}")).verify(&issuer().key());
        let twice = code.starts_with("holder");
        match found {
            Err(CapabilityError::Unknown { block: 0, .. }) => {}
            // The same fact twice is one fact.
            Ok(found) if twice => assert!(found.blocks[0].caveats.is_empty()),
            other => panic!("{code}: {other:?}"),
        }
    }
    assert!(granted("check if calls($x), $x < 4;").verify(&issuer().key()).is_err(), "a token of nobody");
}

#[test]
fn a_token_has_an_end() {
    let mut found = token(&own());
    for _ in 1..BLOCKS_MAX {
        found = found.attenuate(&key(1), &key(1).verifying_key(), &[], &mut Seeded(5)).unwrap();
    }
    assert_eq!(found.verify(&issuer().key()).unwrap().blocks.len(), BLOCKS_MAX);
    let more = found.attenuate(&key(1), &key(1).verifying_key(), &[], &mut Seeded(5));
    assert_eq!(more, Err(CapabilityError::TooLarge));
    let by_hand = appended(&found, "check if calls($x), $x < 5;");
    assert_eq!(by_hand.verify(&issuer().key()), Err(CapabilityError::TooLarge));
    let many: Vec<_> = (0..2_000).map(Caveat::Calls).collect();
    assert!(issuer().mint(&key(1).verifying_key(), &many, &mut Seeded(7)).is_err());
    assert!(issuer().mint(&key(1).verifying_key(), &[Caveat::Calls(u64::MAX)], &mut Seeded(7)).is_err());
}
