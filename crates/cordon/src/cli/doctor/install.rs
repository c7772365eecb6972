//! The installation: configuration, keys, tokens, bundle, owner and ledger.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cordon_core::Timestamp;
use cordon_guard::policy::{Bundle, BundleRole};
use cordon_guard::ports::Clock;
use cordon_store::datadir::DataDir;
use cordon_store::keyfile::{KeyRing, KeyRole};
use cordon_store::system::SystemClock;
use cordon_store::tokens::{self, TokenRole};

use super::{Global, Need, Probe};
use crate::bundle_files;
use crate::config::{self, Config, ConfigError};

pub(super) fn probes(global: &Global) -> Vec<Probe> {
    let config = Config::load(global);
    let mut probes = vec![configuration(&config)];
    if let Ok(config) = &config {
        probes.push(bundle(config, SystemClock.now()));
        probes.push(approvers(config));
    }
    match config::key_ring() {
        Ok(ring) => {
            probes.push(keys(&ring));
            probes.push(separation(&ring));
        }
        Err(_) => probes.push(Probe::new("keys", Need::Now).wrong(
            "neither XDG_CONFIG_HOME nor HOME names a directory",
            "keys must lie outside the project and the data directory",
        )),
    }
    if let Ok(data) = config::data_dir(global) {
        probes.extend([data_dir(&data), token_files(&data), owner(&data), log(&data)]);
    }
    probes
}

fn configuration(config: &Result<Config, ConfigError>) -> Probe {
    let probe = Probe::new("configuration", Need::Now);
    match config {
        Ok(config) => {
            probe.fine(format!("{}: {} MCP server(s)", config.file.display(), config.servers.len()), "")
        }
        Err(ConfigError::Missing { from }) => probe.careful(
            format!("no cordon.toml in {} or above it", from.display()),
            "`cordon init` writes one that works at once",
        ),
        Err(error) => {
            let first = error.to_string().lines().next().unwrap_or_default().to_owned();
            probe.wrong(first, "nothing starts until it is put right; `cordon serve` shows the place")
        }
    }
}

fn bundle(config: &Config, now: Timestamp) -> Probe {
    let probe = Probe::new("policy bundle", Need::Now);
    let meaning = "without a bundle that verifies, nothing is permitted";
    let Some(path) = &config.policy else {
        return probe.wrong("cordon.toml has no `[policy] path`", meaning);
    };
    let verified = match bundle_files::read(path) {
        Ok(files) => Bundle::verify(files, &config.trust, BundleRole::Policy, None, now),
        Err(error) => return probe.wrong(chain(&error), meaning),
    };
    match verified {
        Ok(verified) => {
            let terms = &verified.statement().terms;
            let days = terms.expires.since(now).as_micros() / 86_400_000_000;
            let evidence = format!(
                "epoch {}, {} signature(s), holds until {} ({days} days)",
                terms.epoch,
                verified.signers().len(),
                terms.expires
            );
            match verified.activate() {
                Err(error) => probe.wrong(error.to_string(), meaning),
                Ok(_) if days < 14 => probe.careful(evidence, "build it again before it expires"),
                Ok(_) => probe.fine(evidence, meaning),
            }
        }
        Err(error) => probe.wrong(error.to_string(), meaning),
    }
}

fn approvers(config: &Config) -> Probe {
    let probe = Probe::new("approvers", Need::Now);
    let names: Vec<&str> = config.approvers.iter().map(|(name, _)| name).collect();
    if names.is_empty() {
        let remedy =
            "held calls can only expire; `cordon keys new --role approver --name NAME` prints what to add";
        return probe.careful("nobody is listed under [trust.approvers]", remedy);
    }
    probe.fine(names.join(", "), "")
}

fn keys(ring: &KeyRing) -> Probe {
    let probe = Probe::new("key files", Need::Now);
    let meaning = "a key that somebody else could read or write proves nothing";
    if let Some(open) = open_to_others(ring.dir()) {
        return probe.wrong(open, meaning);
    }
    match ring.list() {
        Ok(keys) if keys.is_empty() => {
            probe.careful(format!("none in {}", ring.dir().display()), "`cordon init` makes the first ones")
        }
        Ok(keys) => probe
            .fine(format!("{} in {}, all private to this user", keys.len(), ring.dir().display()), meaning),
        Err(error) => probe.wrong(chain(&error), meaning),
    }
}

/// The first folder from `dir` upward, within this user's own, into which others may write.
fn open_to_others(dir: &Path) -> Option<String> {
    let me = rustix::process::geteuid().as_raw();
    dir.ancestors().find_map(|dir| {
        let meta = fs::metadata(dir).ok()?;
        let shared = meta.mode() & 0o022 != 0 && meta.mode() & 0o1000 == 0;
        let foreign = meta.uid() != me && meta.uid() != 0;
        match (shared, foreign) {
            (true, _) => {
                Some(format!("{} may be written by others (mode {:o})", dir.display(), meta.mode() & 0o7777))
            }
            (_, true) => Some(format!("{} belongs to user {}", dir.display(), meta.uid())),
            _ => None,
        }
    })
}

/// Whether an agent that this user starts could answer for itself.
fn separation(ring: &KeyRing) -> Probe {
    let probe = Probe::new("agent and approver", Need::Now);
    let meaning = "agents started by this user, and not contained, can read those keys: the separation \
                   of agent and approver does not hold; keep approver keys under another OS user";
    let me = rustix::process::geteuid().as_raw();
    match ring.names(KeyRole::Approver) {
        Ok(names) if names.is_empty() => probe.fine("this user holds no approver key", meaning),
        Ok(names) => {
            probe.careful(format!("user {me} holds the approver key(s) {}", names.join(", ")), meaning)
        }
        Err(error) => probe.unknown(chain(&error), meaning),
    }
}

fn data_dir(data: &DataDir) -> Probe {
    let probe = Probe::new("data directory", Need::Now);
    let shown = data.path().display();
    match fs::metadata(data.path()) {
        Ok(meta) if !meta.is_dir() => probe.wrong(format!("{shown} is no directory"), ""),
        Ok(meta) if meta.mode() & 0o077 != 0 => probe.wrong(
            format!("{shown} has mode {:o}, expected 700", meta.mode() & 0o777),
            "other users could read what is not sealed; the next owner closes it",
        ),
        Ok(_) => probe.fine(format!("{shown}, private to this user"), ""),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            probe.fine(format!("{shown} does not exist yet"), "")
        }
        Err(error) => probe.wrong(format!("{shown}: {error}"), ""),
    }
}

fn token_files(data: &DataDir) -> Probe {
    let probe = Probe::new("token files", Need::Now);
    let dir = data.tokens();
    if !dir.exists() {
        return probe.fine("none yet; the first owner makes them", "");
    }
    let broken = TokenRole::ALL.into_iter().find_map(|role| tokens::read(&dir.join(role.as_str())).err());
    match broken {
        None => probe.fine("operator, pep and agent, each mode 600", ""),
        Some(error) => probe.wrong(chain(&error), "whoever reads a token may act with it"),
    }
}

fn owner(data: &DataDir) -> Probe {
    let probe = Probe::new("owner", Need::Now);
    let Some(pid) = data.owner() else {
        return probe
            .fine("no process owns the data directory; the next command that needs one starts it", "");
    };
    let answers = data
        .socket()
        .ok()
        .is_some_and(|socket| std::os::unix::net::UnixStream::connect(socket.as_path()).is_ok());
    if answers {
        probe.fine(format!("process {pid}, its socket answers"), "")
    } else {
        probe.wrong(
            format!("process {pid} holds the lock, and its socket does not answer"),
            "commands exit with 2 until that process answers or ends",
        )
    }
}

/// The ledger's newest signed checkpoint, and whether its frames are where the head record says.
fn log(data: &DataDir) -> Probe {
    let probe = Probe::new("ledger", Need::Now);
    let dir = data.ledger();
    if !dir.is_dir() {
        return probe.fine("none yet; the first owner begins it", "");
    }
    match cordon_store::ledger::checkpoint(&dir) {
        Ok(note) => {
            let size = note.lines().nth(1).unwrap_or_default().to_owned();
            let evidence =
                format!("{size} entries under a signed checkpoint; `cordon ledger verify` checks them");
            if data.ledger_head().is_file() {
                probe.fine(evidence, "")
            } else {
                probe.wrong(
                    format!("{evidence}; the head record is missing"),
                    "without it an older copy of the log cannot be told from the newest: it is not opened",
                )
            }
        }
        Err(error) => probe.wrong(chain(&error), "without a ledger nothing is permitted"),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
