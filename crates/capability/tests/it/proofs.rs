//! A proof is for one request, by the holder, at its time.

use cordon_capability::{InvalidProof, Proof, Subject};
use cordon_core::{Digest, Timestamp};

use crate::support::{key, token};

const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);

#[test]
fn a_proof_holds_for_its_request_and_for_no_other() {
    let (token, other) = (token(&[]), token(&[cordon_core::Caveat::Calls(1)]));
    let subject = Subject { token: &token, method: "POST", target: "/mcp/bank", body: Digest::of(b"{}") };
    let proof = Proof::new(&key(1), &subject, [5; 16], NOW);
    let proof: Proof = proof.to_string().parse().unwrap();
    let holder = key(1).verifying_key();
    assert_eq!(proof.verify(&holder, &subject, NOW, 30), Ok(()));
    assert_eq!(proof.verify(&key(2).verifying_key(), &subject, NOW, 30), Err(InvalidProof::Signature));
    for wrong in [
        Subject { method: "PUT", ..subject },
        Subject { target: "/mcp/bank?", ..subject },
        Subject { target: "/mcp/mail", ..subject },
        Subject { body: Digest::of(b"{ }"), ..subject },
        Subject { token: &other, ..subject },
        Subject { method: "POST/", target: "mcp/bank", ..subject },
    ] {
        assert_eq!(proof.verify(&holder, &wrong, NOW, 30), Err(InvalidProof::Signature), "{wrong:?}");
    }
    let at = |seconds: u64| Timestamp::from_micros(seconds * 1_000_000);
    assert_eq!(proof.verify(&holder, &subject, at(1_030), 30), Ok(()));
    assert_eq!(proof.verify(&holder, &subject, at(1_031), 30), Err(InvalidProof::Time));
    assert_eq!(proof.verify(&holder, &subject, at(969), 30), Err(InvalidProof::Time));
    let text = proof.to_string();
    let later = text.replacen("1000", "1010", 1);
    assert_eq!(
        later.parse::<Proof>().unwrap().verify(&holder, &subject, NOW, 30),
        Err(InvalidProof::Signature)
    );
    for bent in ["", "v1", "v1.1000..", "v2.1.AAAA.AAAA", &format!("{text}.x"), &text.replace("v1", "V1")] {
        assert_eq!(bent.parse::<Proof>(), Err(InvalidProof::Unreadable), "{bent}");
    }
}
