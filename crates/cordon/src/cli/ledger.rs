//! `cordon ledger`: what a log's files prove, without any server.

pub(super) mod field;
mod prove;
mod replay;
mod show;
mod verify;

use std::path::{Path, PathBuf};

use cordon_ledger::{LogKey, NoteKey};
use cordon_store::datadir::{DataDir, DataId};
use cordon_store::ledger::{OpeningKey, ReadError};

use super::failure::DENIED;
use super::{Ended, Failure, Format, Global};
use crate::config;
use crate::runtime::archive::Archive;
use crate::runtime::keys;
use crate::term::{self, Tone};

/// What `cordon ledger` takes.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct LedgerArgs {
    #[command(subcommand)]
    command: LedgerCommand,
}

#[derive(Debug, clap::Subcommand)]
enum LedgerCommand {
    /// Check every frame, entry, signature and commitment; name what is wrong
    Verify(verify::VerifyArgs),
    /// Show entries
    Show(show::ShowArgs),
    /// Prove that an entry is in the log, as a text that anyone can check offline
    Prove(prove::ProveArgs),
    /// Judge recorded decisions again and compare, offline
    Replay(replay::ReplayArgs),
    /// Print the newest signed checkpoint, to keep elsewhere
    Checkpoint(prove::CheckpointArgs),
}

/// Runs `cordon ledger`.
pub(crate) fn run(args: LedgerArgs, global: &Global) -> Ended {
    match args.command {
        LedgerCommand::Verify(args) => verify::run(&args, global),
        LedgerCommand::Show(args) => show::run(&args, global),
        LedgerCommand::Prove(args) => prove::run(&args, global),
        LedgerCommand::Replay(args) => replay::run(&args, global),
        LedgerCommand::Checkpoint(args) => prove::checkpoint(&args, global),
    }
}

/// Where a log lies and what lies beside it.
pub(super) struct Place {
    /// The log's own directory.
    pub(super) ledger: PathBuf,
    /// The head record, where it is known.
    head: Option<PathBuf>,
    /// The data directory's name, under which its keys are kept.
    id: Option<DataId>,
    /// The bundles that were in force, where they are known.
    bundles: Option<PathBuf>,
}

impl Place {
    /// The log that was named (a data directory or a log's own directory), else the configured one.
    pub(super) fn find(named: Option<&Path>, global: &Global) -> Result<Self, Failure> {
        let data = match named {
            Some(dir) if dir.join("seg").is_dir() => {
                return Ok(Self { ledger: dir.to_path_buf(), head: None, id: None, bundles: None });
            }
            Some(dir) => DataDir::at(dir),
            None => config::data_dir(global)?,
        };
        if !data.ledger().join("seg").is_dir() {
            return Err(Failure::new(format!("there is no log in `{}`", data.path().display())));
        }
        let head = Some(data.ledger_head()).filter(|head| head.exists());
        Ok(Self { ledger: data.ledger(), head, id: data.known_id()?, bundles: Some(data.bundles()) })
    }

    /// The log's public key, if this user keeps the private half.
    fn own_key(&self) -> Option<NoteKey> {
        let key = keys::log(&config::key_ring().ok()?, self.id?).ok()??;
        Some(LogKey::public(&key).clone())
    }

    /// The key that opens sealed values, if this user keeps it.
    pub(super) fn opening_key(&self) -> Result<Option<OpeningKey>, Failure> {
        match self.id {
            Some(id) => Ok(keys::openings(&config::key_ring()?, id)?),
            None => Ok(None),
        }
    }

    /// The bundles that were in force, if they lie beside the log and this user keeps their key.
    pub(super) fn archive(&self) -> Result<Option<Archive>, Failure> {
        let (Some(id), Some(dir)) = (self.id, &self.bundles) else { return Ok(None) };
        let Some(key) = keys::state(&config::key_ring()?, id)? else { return Ok(None) };
        Ok(Some(Archive::at(dir.clone(), key?)))
    }
}

/// A log that cannot be read is no answer; what is read and wrong is an answer.
pub(super) fn unreadable(error: ReadError) -> Failure {
    match error {
        error @ ReadError::Broken(_) => Failure::from(error).code("LEDGER-002").exit(DENIED),
        error => Failure::from(error),
    }
}
