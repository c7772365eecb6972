//! The shadow bundle: judged and recorded beside the one in force, never enforced.

use std::path::PathBuf;
use std::sync::PoisonError;

use cordon_control::view::ShadowView;
use cordon_core::{Digest, Timestamp};
use cordon_guard::{AdminAct, ShadowPolicies};

use super::owner::Owner;
use crate::term;

/// What is known about the shadow bundle, beside its policies.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShadowState {
    path: Option<PathBuf>,
    expires: Option<Timestamp>,
    refused: Option<String>,
}

impl Owner {
    /// Loads the shadow bundle again. One that is refused is reported and not judged; nothing about the
    /// policies in force depends on it.
    pub(super) async fn load_shadow(&self, author: &str) {
        let (path, loaded) = match self.source().shadow_path() {
            Ok(None) => (None, Ok(None)),
            Ok(Some(path)) => (Some(path.clone()), self.read_shadow(path).map(Some)),
            Err(error) => (None, Err(error.to_string())),
        };
        let (policies, refused) = match loaded {
            Ok(policies) => (policies, None),
            Err(why) => {
                term::note(format_args!("cordon: the shadow bundle is not judged: {why}"));
                (None, Some(why))
            }
        };
        let expires = policies.as_ref().map(|policies| policies.expires);
        let after = policies.as_ref().map(|policies: &ShadowPolicies| policies.set.digest());
        self.guard.set_shadow(policies);
        *self.shadow.lock().unwrap_or_else(PoisonError::into_inner) = ShadowState { path, expires, refused };
        self.record_shadow(after, author).await;
    }

    /// The policies of the bundle at `path`, which is kept for replay first.
    fn read_shadow(&self, path: PathBuf) -> Result<ShadowPolicies, String> {
        let (policies, files) =
            self.source().load_shadow(path, self.guard.now()).map_err(|error| error.to_string())?;
        self.archive.keep(&files).map_err(|error| error.to_string())?;
        Ok(policies)
    }

    /// Records which bundle is judged in the shadow, if it is another than at the last start.
    async fn record_shadow(&self, after: Option<Digest>, author: &str) {
        let before = self.known.lock().unwrap_or_else(PoisonError::into_inner).get("shadow");
        if before == after {
            return;
        }
        match self.guard.administer(AdminAct::Shadow { before, after }, author).await {
            Ok(_) => self.remember("shadow", after),
            // Nothing was permitted by it; the next start tries again.
            Err(error) => {
                term::note(format_args!("cordon: the shadow bundle could not be recorded: {error}"))
            }
        }
    }

    /// The shadow bundle as the administration API shows it; none if none is configured.
    pub(super) fn shadow_view(&self) -> Option<ShadowView> {
        let state = self.shadow.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if state.path.is_none() && state.refused.is_none() {
            return None;
        }
        let judged = self.guard.shadow();
        Some(ShadowView {
            path: state.path.map(|path| path.display().to_string()).unwrap_or_default(),
            bundle: judged.map(|(digest, _)| digest.to_string()),
            epoch: judged.and_then(|(_, epoch)| epoch),
            expires: state.expires.map(|expires| expires.to_string()),
            refused: state.refused,
        })
    }
}
