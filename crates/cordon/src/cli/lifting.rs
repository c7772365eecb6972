//! An approver's signed word that something is given back.

use cordon_control::view::LiftView;
use cordon_core::ed25519::SigningKey;
use cordon_guard::ports::Clock as _;
use cordon_store::keyfile::KeyRole;
use cordon_store::system::SystemClock;
use cordon_workflow::{Lift, LiftOf};

use super::Failure;
use super::approve::chosen;
use crate::config;

/// An approver's key and its name.
pub(super) type Approver = (Box<str>, SigningKey);

/// The approver's key of this name, or the only one there is.
pub(super) fn key(named: Option<&str>) -> Result<Approver, Failure> {
    let ring = config::key_ring()?;
    let name = chosen(&ring, named)?;
    let key = ring.signing(KeyRole::Approver, &name)?;
    Ok((name, key))
}

/// The signed word about exactly what was shown.
pub(super) fn sign((name, key): &Approver, of: LiftOf, binding: &str) -> Result<LiftView, Failure> {
    let lift = Lift { of, binding: binding.parse()?, approver: name.clone(), at: SystemClock.now() };
    Ok(LiftView::new(&lift, &key.sign(&lift.signing_bytes())))
}
