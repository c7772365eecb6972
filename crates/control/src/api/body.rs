//! Bodies in JSON.

use cordon_core::Limits;
use cordon_core::json::parse;
use serde::de::DeserializeOwned;

use super::Refusal;

/// Reads a body with the strict reader first: a name that occurs twice has no meaning.
pub fn strict<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    parse(body, &Limits::DEFAULT).map_err(|error| Refusal::malformed(error.to_string()))?;
    serde_json::from_slice(body).map_err(|error| Refusal::malformed(error.to_string()))
}
