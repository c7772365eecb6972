//! Recorded decisions and the bundles that made them, read from files with this user's keys.

use std::collections::BTreeMap;
use std::path::Path;

use cordon_core::Digest;
use cordon_guard::policy::{PolicySet, PolicySource};
use cordon_guard::replay::{CannotReplay, Recorded};
use cordon_ledger::FieldId;
use cordon_store::ledger::{OpeningKey, Shown, ShownValue};

use super::Failure;
use super::ledger::Place;
use crate::bundle_files;
use crate::runtime::archive::{Archive, source_of};

/// Most compiled bundles that are held at once.
const COMPILED_MAX: usize = 8;

/// The bundles that decisions were made under, by their digests.
pub(super) struct Bundles {
    archive: Option<Archive>,
    given: Option<(Digest, PolicySource)>,
    compiled: BTreeMap<Digest, Result<PolicySet, String>>,
}

impl Bundles {
    /// Those that lie beside the log, and the one at `given`.
    pub(super) fn of(place: &Place, given: Option<&Path>) -> Result<Self, Failure> {
        let given = match given {
            Some(path) => {
                let source = source_of(bundle_files::read(path)?);
                Some((source.digest(), source))
            }
            None => None,
        };
        Ok(Self { archive: place.archive()?, given, compiled: BTreeMap::new() })
    }

    /// The bundle with this digest, or why there is none.
    pub(super) fn get(&mut self, digest: Digest) -> Result<PolicySet, String> {
        if let Some(known) = self.compiled.get(&digest) {
            return known.clone();
        }
        if self.compiled.len() >= COMPILED_MAX {
            self.compiled.clear();
        }
        let found = self.find(digest);
        self.compiled.insert(digest, found.clone());
        found
    }

    fn find(&self, digest: Digest) -> Result<PolicySet, String> {
        let nothing = PolicySet::deny_all();
        if digest == nothing.digest() {
            return Ok(nothing);
        }
        let given = self.given.as_ref().filter(|(given, _)| *given == digest);
        let source = match (given, &self.archive) {
            (Some((_, source)), _) => source.clone(),
            (None, Some(archive)) => {
                archive.find(digest).map_err(|error| error.to_string())?.ok_or_else(|| {
                    format!("the bundle {digest} is not kept beside the log; name it with --policy")
                })?
            }
            (None, None) => {
                return Err(format!(
                    "the bundle {digest} is not here: this log lies alone, or its key is elsewhere"
                ));
            }
        };
        let compiled = PolicySet::compile(&source).map_err(|findings| {
            let first = findings.first().map(ToString::to_string).unwrap_or_default();
            format!("the bundle {digest} is not understood by this version: {first}")
        });
        Ok(compiled?.policies)
    }
}

/// The key that opens this log's sealed values; without it no request can be read.
pub(super) fn opening_key(place: &Place) -> Result<OpeningKey, Failure> {
    place
        .opening_key()?
        .ok_or_else(|| Failure::new("this user does not keep the key that opens this log's sealed values"))
}

/// The decision that an entry records, ready to be judged again.
pub(super) fn decision(entry: &Shown) -> Result<Recorded, CannotReplay> {
    let value = |field: FieldId| {
        let (_, value) = entry.fields.iter().find(|(id, _)| *id == field)?;
        ShownValue::value(value)
    };
    Recorded::read(value)
}
