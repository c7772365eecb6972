//! The shadow bundle: judged and recorded beside the one in force, never enforced.

use std::sync::PoisonError;

use cordon_control::view::ShadowView;
use cordon_core::{Digest, Timestamp};
use cordon_guard::{AdminAct, ShadowPolicies};

use super::owner::Owner;
use crate::term;

/// What is known about the shadow bundle, beside its policies.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShadowState {
    expires: Option<Timestamp>,
    refused: Option<String>,
}

impl Owner {
    /// Loads the shadow bundle again. One that is refused is reported and not judged; nothing about the
    /// policies in force depends on it.
    pub(super) async fn load_shadow(&self, author: &str) {
        let loaded = self.source().load_shadow(self.guard.now()).map_err(|error| error.to_string());
        let kept = loaded.and_then(|loaded| match loaded {
            Some((policies, files)) => {
                self.archive.keep(&files).map_err(|error| error.to_string())?;
                Ok(Some(policies))
            }
            None => Ok(None),
        });
        let (policies, refused) = match kept {
            Ok(policies) => (policies, None),
            Err(why) => {
                term::note(format_args!("cordon: the shadow bundle is not judged: {why}"));
                (None, Some(why))
            }
        };
        let expires = policies.as_ref().map(|policies| policies.expires);
        let after = policies.as_ref().map(|policies: &ShadowPolicies| policies.set.digest());
        self.guard.set_shadow(policies);
        *self.shadow.lock().unwrap_or_else(PoisonError::into_inner) = ShadowState { expires, refused };
        self.record_shadow(after, author).await;
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
        let path = self.source().shadow_path()?;
        let state = self.shadow.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let judged = self.guard.shadow();
        Some(ShadowView {
            path: path.display().to_string(),
            bundle: judged.map(|(digest, _)| digest.to_string()),
            epoch: judged.and_then(|(_, epoch)| epoch),
            expires: state.expires.map(|expires| expires.to_string()),
            refused: state.refused,
        })
    }
}
