//! The keys of one data directory: made at its first start, kept outside it, named after it.

use cordon_guard::ports::Random;
use cordon_ledger::{LogKey, Origin};
use cordon_store::datadir::DataId;
use cordon_store::keyfile::{KeyError, KeyRing, KeyRole};
use cordon_store::ledger::OpeningKey;
use cordon_store::seal::{SealingKey, Unsealable};

/// The name of a data directory's log: what its checkpoints begin with.
pub(crate) fn origin(id: DataId) -> Origin {
    let text = format!("cordon/{id}");
    // INVARIANT: an identifier's text has no white space and no `+`.
    text.parse().unwrap_or_else(|_| unreachable!("`{text}` is a log name"))
}

/// The key that the log began with, whose word its later keys go back to; `None` if there is none yet.
pub(crate) fn log(ring: &KeyRing, id: DataId) -> Result<Option<LogKey>, KeyError> {
    let first = match found(ring.signing(KeyRole::Log, &past(id, 1)))? {
        Some(key) => Ok(key),
        None => ring.signing(KeyRole::Log, &id.to_string()),
    };
    found(first).map(|key| key.map(|key| LogKey::new(origin(id), key)))
}

/// The key that was made to follow the log's key, while the change is not finished.
pub(crate) fn next_log(ring: &KeyRing, id: DataId) -> Result<Option<LogKey>, KeyError> {
    found(ring.signing(KeyRole::Log, &next(id))).map(|key| key.map(|key| LogKey::new(origin(id), key)))
}

/// The name of the log's key before its change number `change`, from 1.
pub(crate) fn past(id: DataId, change: u32) -> String {
    format!("{id}.{change}")
}

/// The name of the key that is to follow the log's key.
pub(crate) fn next(id: DataId) -> String {
    format!("{id}.next")
}

/// The key that signs the log, made if there is none.
pub(crate) fn log_or_new(ring: &KeyRing, id: DataId, random: &dyn Random) -> Result<LogKey, KeyError> {
    let key = ring.signing_or_new(KeyRole::Log, &id.to_string(), random)?;
    Ok(LogKey::new(origin(id), key))
}

/// The key that seals the openings beside the log; `None` if there is none yet.
pub(crate) fn openings(ring: &KeyRing, id: DataId) -> Result<Option<OpeningKey>, KeyError> {
    found(ring.secret(KeyRole::Seal, &format!("{id}.ledger"))).map(|key| key.map(|key| OpeningKey::new(&key)))
}

/// The key that seals the openings beside the log, made if there is none.
pub(crate) fn openings_or_new(
    ring: &KeyRing,
    id: DataId,
    random: &dyn Random,
) -> Result<OpeningKey, KeyError> {
    Ok(OpeningKey::new(&ring.secret_or_new(KeyRole::Seal, &format!("{id}.ledger"), random)?))
}

/// The key that seals state, made if there is none.
pub(crate) fn state_or_new(
    ring: &KeyRing,
    id: DataId,
    random: &dyn Random,
) -> Result<Result<SealingKey, Unsealable>, KeyError> {
    Ok(SealingKey::new(&ring.secret_or_new(KeyRole::Seal, &format!("{id}.state"), random)?))
}

/// The key that seals state; `None` if there is none yet.
pub(crate) fn state(ring: &KeyRing, id: DataId) -> Result<Option<Result<SealingKey, Unsealable>>, KeyError> {
    found(ring.secret(KeyRole::Seal, &format!("{id}.state"))).map(|key| key.map(|key| SealingKey::new(&key)))
}

fn found<T>(key: Result<T, KeyError>) -> Result<Option<T>, KeyError> {
    match key {
        Ok(key) => Ok(Some(key)),
        Err(KeyError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
