//! Every environment variable that Cordon reads, in one place.
//!
//! | variable          | what for                                                                  |
//! |-------------------|---------------------------------------------------------------------------|
//! | `XDG_CONFIG_HOME` | private keys lie in `$XDG_CONFIG_HOME/cordon/keys`; `~/.config` otherwise |
//! | `XDG_STATE_HOME`  | the data directory of a node without a configuration; `~/.local/state` otherwise |
//! | `HOME`            | the base of the two above                                                 |
//! | `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE`, `TERM` | whether output is coloured (read by `anstream`) |
//! | those named by `--pass-env` and `pass_env` | handed to the wrapped server, and to nobody else |
//! | `PATH`, `HOME`, `LANG`, `LC_*`, `TERM`, `TMPDIR`, `USER`, `XDG_*` | handed to every wrapped server |
//!
//! No variable changes what is decided.

use std::path::PathBuf;

/// Where private keys and other personal configuration lie.
pub(crate) fn config_home() -> Option<PathBuf> {
    base("XDG_CONFIG_HOME", ".config")
}

/// Where the state of a node without a configuration lies.
pub(crate) fn state_home() -> Option<PathBuf> {
    base("XDG_STATE_HOME", ".local/state")
}

/// The directory that `variable` names, else `below` the home directory; relative ones do not count
/// (XDG Base Directory Specification, "Environment variables").
fn base(variable: &str, below: &str) -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let set = std::env::var_os(variable).map(PathBuf::from).and_then(absolute);
    set.or_else(|| {
        let home = std::env::var_os("HOME").map(PathBuf::from).and_then(absolute)?;
        Some(home.join(below))
    })
}
