//! Kill bundles, and the records of what took effect before it was on record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cordon_control::Refusal;
use cordon_control::view::{KillBundleView, KillsLoadedView};
use cordon_guard::policy::{Bundle, BundleRole, LastAccepted};
use tokio::sync::watch;

use super::owner::Owner;
use super::serve::told;
use crate::term;

/// How often late records are looked at.
const TICK: Duration = Duration::from_millis(200);

impl Owner {
    /// Verifies a kill bundle and puts its switches in force.
    pub(super) async fn load_kill_bundle(&self, bundle: KillBundleView) -> Result<KillsLoadedView, Refusal> {
        let refused = |why: String| Refusal::new(StatusCode::CONFLICT, "bundle", why);
        let mut files: BTreeMap<Box<str>, Vec<u8>> = BTreeMap::new();
        for (path, text) in bundle.files {
            let bytes = STANDARD.decode(&text);
            let bytes = bytes.map_err(|error| Refusal::malformed(format!("`files`: `{path}`: {error}")))?;
            files.insert(path.into(), bytes);
        }
        let _one_at_a_time = self.changing.lock().await;
        let role = BundleRole::Kill;
        let last =
            self.store.last_epoch(role.as_str()).map_err(|down| Refusal::unavailable(down.to_string()))?;
        let last = last.map(|(epoch, digest)| LastAccepted { epoch, digest });
        let bundle = Bundle::verify(files, self.source().trust(), role, last, self.guard.now())
            .map_err(|error| refused(error.to_string()))?;
        let orders = bundle.kills().map_err(|error| refused(error.to_string()))?;
        let accepted = bundle.accepted();
        let loaded = self.guard.load_kills(accepted.epoch, accepted.digest, &orders).await;
        // Its switches are on even where those that it lifts could not be: no older one counts now.
        self.store
            .accept_epoch(role.as_str(), accepted.epoch, accepted.digest)
            .map_err(|down| Refusal::unavailable(down.to_string()))?;
        let loaded = loaded?;
        Ok(KillsLoadedView {
            epoch: accepted.epoch,
            on: loaded.on,
            lifted: loaded.lifted,
            entry: (&loaded.receipt).into(),
        })
    }
}

/// Sees to it that what took effect before it was on record gets there, and tells when it does not.
pub(super) async fn keep_on_record(owner: Arc<Owner>, mut stopped: watch::Receiver<bool>) {
    let mut told_of = false;
    loop {
        owner.guard.catch_up().await;
        let late = owner.guard.unrecorded();
        if (late > 0) != told_of {
            told_of = late > 0;
            match told_of {
                true => term::note(format_args!(
                    "cordon: {late} changes are in force and not on record; the ledger is tried again"
                )),
                false => term::note("cordon: everything that is in force is on record again"),
            }
        }
        tokio::select! {
            () = told(&mut stopped) => {
                owner.guard.catch_up().await;
                owner.guard.keep_pasts();
                return;
            }
            () = tokio::time::sleep(TICK) => {}
        }
    }
}
