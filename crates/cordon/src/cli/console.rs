//! `cordon console`: a link that opens the running node's console.

use super::online::{print, with_owner};
use super::{Ended, Global};
use crate::term::{self, safe};

/// Runs `cordon console`.
pub(crate) fn run(global: &Global) -> Ended {
    let console = with_owner(global, |client| async move { client.console().await })?;
    print(global, &console, || {
        term::say(safe(&console.url))?;
        term::note(format_args!("opens the console once, until {}", safe(&console.until)));
        Ok(())
    })
}
