//! The disk under the data directory: whether it can be written, and how long durability takes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Global, Need, Probe};

/// How often durability is timed.
const ROUNDS: usize = 50;
/// How much is written each time, in bytes: about one small group of records.
const BLOCK: usize = 4096;

pub(super) fn probes(global: &Global) -> Vec<Probe> {
    let Some(dir) = nearest(global) else { return Vec::new() };
    vec![space(&dir), durability(&dir)]
}

/// The data directory, or the nearest existing directory above where it will be.
fn nearest(global: &Global) -> Option<PathBuf> {
    let data = crate::config::data_dir(global).ok()?;
    let data = std::path::absolute(data.path()).ok()?;
    data.ancestors().find(|dir| dir.is_dir()).map(Path::to_path_buf)
}

fn space(dir: &Path) -> Probe {
    let probe = Probe::new("free space", Need::Now);
    match rustix::fs::statvfs(dir) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize) >> 20;
            let evidence = format!("{free} MiB free under {}", dir.display());
            let meaning = "a full disk stops every permit: no evidence, no action";
            if free < 256 { probe.careful(evidence, meaning) } else { probe.fine(evidence, meaning) }
        }
        Err(error) => probe.unknown(format!("statvfs on {}: {error}", dir.display()), ""),
    }
}

fn durability(dir: &Path) -> Probe {
    let probe = Probe::new("fdatasync", Need::Now);
    match time(dir) {
        Ok(mut rounds) => {
            rounds.sort();
            let median = rounds.get(ROUNDS / 2).copied().unwrap_or_default();
            let worst = rounds.last().copied().unwrap_or_default();
            let evidence =
                format!("median {median:.1?}, worst {worst:.1?} over {ROUNDS} writes in {}", dir.display());
            let meaning = "every permitted call waits for one of these";
            // Faster than any medium: it is memory, or a disk that does not keep its promise.
            if median < Duration::from_micros(5) {
                let meaning = "too fast to be true for a disk: records may not survive a power cut here";
                probe.careful(evidence, meaning)
            } else if median > Duration::from_millis(50) {
                probe.careful(evidence, meaning)
            } else {
                probe.fine(evidence, meaning)
            }
        }
        Err(error) => probe.wrong(
            format!("cannot write in {}: {error}", dir.display()),
            "the ledger cannot be written, so nothing would be permitted",
        ),
    }
}

/// Times one durable write after another into a prewritten file, as the ledger does.
fn time(dir: &Path) -> io::Result<Vec<Duration>> {
    let path = dir.join(format!(".cordon-doctor-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let timed = rounds(&mut file);
    fs::remove_file(&path)?;
    timed
}

fn rounds(file: &mut File) -> io::Result<Vec<Duration>> {
    let block = [0x5a; BLOCK];
    for _ in 0..ROUNDS {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        rounds.push(start.elapsed());
    }
    Ok(rounds)
}
