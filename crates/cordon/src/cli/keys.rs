//! `cordon keys`: private keys outside the project and the data directory.

use std::io;

use clap::Subcommand;
use cordon_core::ed25519::VerifyingKey;
use cordon_store::keyfile::{KeyEntry, KeyRole};
use cordon_store::system::SystemRandom;
use serde::Serialize;

use super::online::print;
use super::{Ended, Failure, Global};
use crate::config;
use crate::term::{self, Table, safe};

/// What `cordon keys` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Keys lie in $XDG_CONFIG_HOME/cordon/keys (else ~/.config/cordon/keys), mode 0600.

Examples:
  cordon keys new --role policy --name main
  cordon keys new --role approver --name alice
  cordon keys ls")]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a key and print its public half
    New {
        /// policy, tools or kill (signs bundles), approver (answers held calls)
        #[arg(long)]
        role: KeyRole,
        /// Its name
        #[arg(long)]
        name: String,
    },
    /// List the keys
    Ls {
        /// Only keys of this role
        #[arg(long)]
        role: Option<KeyRole>,
    },
    /// Put a new key in the place of the ledger's log key; the old one signs the change
    Rotate,
}

#[derive(Debug, Serialize)]
struct KeyView {
    role: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    public: Option<String>,
}

impl From<&KeyEntry> for KeyView {
    fn from(entry: &KeyEntry) -> Self {
        Self {
            role: entry.role.as_str(),
            name: entry.name.to_string(),
            public: entry.public.map(|key| key.to_string()),
        }
    }
}

/// Runs `cordon keys`.
pub(crate) fn run(args: KeysArgs, global: &Global) -> Ended {
    match args.what {
        What::New { role, name } => new(role, &name, global),
        What::Ls { role } => list(role, global),
        What::Rotate => crate::runtime::rotate::run(global),
    }
}

fn new(role: KeyRole, name: &str, global: &Global) -> Ended {
    if matches!(role, KeyRole::Log | KeyRole::Seal) {
        return Err(Failure::new(format!(
            "a node makes its own {role} key at its first start; `cordon keys rotate` replaces the log key"
        )));
    }
    let ring = config::key_ring()?;
    let public = ring.generate(role, name, &SystemRandom)?.verifying_key();
    let entry = KeyEntry { role, name: name.into(), public: Some(public) };
    print(global, &KeyView::from(&entry), || {
        term::say(public)?;
        term::note(format_args!(
            "the private half is in `{}`, readable by you only\n\nadd to cordon.toml:\n{}",
            ring.dir().join(role.as_str()).display(),
            trust_lines(role, name, &public)
        ));
        Ok(())
    })
}

/// The lines of cordon.toml that trust a key.
pub(super) fn trust_lines(role: KeyRole, name: &str, public: &VerifyingKey) -> String {
    match role {
        KeyRole::Approver => {
            format!("[trust.approvers.\"{name}\"]\nkey = \"{public}\"\nroles = [\"approver\"]")
        }
        role => format!("[trust.{role}]\nthreshold = 1\nkeys = [\"{public}\"]"),
    }
}

fn list(role: Option<KeyRole>, global: &Global) -> Ended {
    let mut entries = config::key_ring()?.list()?;
    entries.retain(|entry| role.is_none_or(|role| entry.role == role));
    let views: Vec<KeyView> = entries.iter().map(Into::into).collect();
    print(global, &views, || text(&views))
}

fn text(views: &[KeyView]) -> io::Result<()> {
    if views.is_empty() {
        term::note("there are no keys; `cordon init` makes those that a first policy needs");
        return Ok(());
    }
    let mut table = Table::new(["ROLE", "NAME", "PUBLIC KEY"]);
    for view in views {
        table.row([view.role, &safe(&view.name), view.public.as_deref().unwrap_or("(symmetric)")]);
    }
    term::say(table)
}
