//! A million records: memory while they are appended, then verification and proofs.
//!
//! `cargo bench -p cordon-store --bench ledger_read`
//!
//! `CORDON_BENCH_DIR` names the directory to write in, `CORDON_BENCH_RECORDS` how many.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    reason = "a bench stops at the first surprise"
)]

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cordon_core::ed25519::SigningKey;
use cordon_core::{RecordId, SessionId, Timestamp};
use cordon_ledger::{
    Draft, FieldId, Kind, Level, LogKey, MemoryTree, SessionStep, Tile, TileNodes, TileSource, leaf_hash,
    prove_consistency, prove_inclusion, verify_inclusion,
};
use cordon_store::ledger::{Engine, OpeningKey, Options, VerifyOptions, prove, verify};

fn main() {
    let dir = std::env::var_os("CORDON_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let records: u64 =
        std::env::var("CORDON_BENCH_RECORDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let root = dir.join(format!("cordon-bench-{}", std::process::id()));
    std::fs::create_dir_all(&root).unwrap();
    let leaves = append(&root, records);
    let log = root.join("ledger");
    verification(&log, &root.join("ledger.head"));
    proofs(&log, leaves);
    restart(&root);
    std::fs::remove_dir_all(&root).unwrap();
}

fn options(root: &Path) -> Options {
    let key = LogKey::new("bench".parse().unwrap(), SigningKey::from_seed(&[1; 32]).unwrap());
    Options::new(root.join("ledger"), root.join("ledger.head"), key, OpeningKey::new(&[2; 32]))
}

fn record(n: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    bytes
}

/// A record whose entry has about 512 bytes; each session has ten and is closed.
fn draft(n: u64) -> Draft {
    let kind = if n % 10 == 9 { Kind::Session(SessionStep::Closed) } else { Kind::Result };
    Draft::new(
        RecordId::from_bytes(record(n)),
        Timestamp::from_micros(1_795_000_000_000_000),
        "default",
        kind,
    )
    .in_session(SessionId::from_bytes(record(n / 10)))
    .with(FieldId::Outcome, "x".repeat(262).as_str())
}

/// Appends and prints resident memory on the way.
fn append(root: &Path, records: u64) -> MemoryTree {
    let (engine, _) = Engine::open(options(root), Timestamp::from_micros(1)).unwrap();
    let began = Instant::now();
    let mut marks = vec![];
    for n in 1..=records {
        // One in 256 is waited for, as a busy node's callers do; the rest joins its frame.
        let level = if n % 256 == 0 { Level::Durable } else { Level::Accepted };
        engine.append(draft(n), level).wait().unwrap();
        if [records / 100, records / 10, records / 2, records].contains(&n) {
            marks.push((n, resident_kib()));
        }
    }
    let rate = records as f64 / began.elapsed().as_secs_f64();
    engine.close();
    println!("one appender, every 256th durable: {rate:.0} records/s");
    for (n, kib) in marks {
        println!("resident after {n} records: {:.1} MiB", kib / 1_024.0);
    }
    println!("resident after close: {:.1} MiB", resident_kib() / 1_024.0);
    drop(engine);
    let mut tree = MemoryTree::default();
    let all = cordon_store::ledger::Filter { most: usize::MAX, newest: false, ..Default::default() };
    // In pieces, so that not everything is in memory at once.
    let mut from = 0;
    loop {
        let piece = cordon_store::ledger::Filter { from, before: from + 10_000, ..all };
        let shown = cordon_store::ledger::show(&root.join("ledger"), &piece, None).unwrap();
        if shown.is_empty() {
            return tree;
        }
        shown.iter().for_each(|shown| tree.push(shown.leaf));
        from += shown.len() as u64;
    }
}

fn resident_kib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// This thread's CPU time in seconds.
fn cpu_time() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn verification(log: &Path, head: &Path) {
    for derived in [false, true] {
        let mut rates = Vec::new();
        for _ in 0..3 {
            let options = VerifyOptions { head_file: Some(head), derived, ..VerifyOptions::default() };
            let cpu = cpu_time();
            let report = verify(log, &options, &mut |_| {}).unwrap();
            assert!(report.holds(), "{:?}", report.problems);
            rates.push(report.size as f64 / (cpu_time() - cpu));
            if rates.len() == 1 {
                println!(
                    "verify: {} entries in {} frames, {} files compared",
                    report.size, report.frames, report.derived
                );
            }
        }
        rates.sort_by(f64::total_cmp);
        println!(
            "verify, tiles and bundles {derived}: best {:.0}, median {:.0} records/s/core",
            rates[2], rates[1]
        );
    }
}

struct Files<'d>(&'d Path);

impl TileSource for Files<'_> {
    type Error = io::Error;
    fn tile(&mut self, tile: Tile) -> io::Result<Vec<u8>> {
        std::fs::read(self.0.join(tile.path()))
    }
}

fn proofs(log: &Path, tree: MemoryTree) {
    let size = tree.size();
    let root = tree.root_at(size).unwrap();
    let mut state = 1u64;
    let mut pick = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 20) % size
    };
    let time = |name: &str, count: u32, run: &mut dyn FnMut()| {
        let mut best = f64::MAX;
        for _ in 0..5 {
            let cpu = cpu_time();
            (0..count).for_each(|_| run());
            best = best.min((cpu_time() - cpu) * 1e6 / f64::from(count));
        }
        println!("{name} at {size} entries: {best:.1} us");
    };
    let leaf = leaf_hash(b"none");
    time("inclusion proof from memory", 20_000, &mut || {
        drop(prove_inclusion(&mut &tree, pick(), size).unwrap())
    });
    time("inclusion proof made and verified", 20_000, &mut || {
        let index = pick();
        let proof = prove_inclusion(&mut &tree, index, size).unwrap();
        assert!(verify_inclusion(index, size, &leaf, &proof, &root).is_err());
    });
    time("consistency proof from memory", 20_000, &mut || {
        drop(prove_consistency(&mut &tree, pick() + 1, size).unwrap());
    });
    time("inclusion proof from tile files", 2_000, &mut || {
        drop(prove_inclusion(&mut TileNodes::new(Files(log), size), pick(), size).unwrap());
    });
    time("consistency proof from tile files", 2_000, &mut || {
        drop(prove_consistency(&mut TileNodes::new(Files(log), size), pick() + 1, size).unwrap());
    });
    time("`prove`: entry, key, proof, all checked", 5, &mut || drop(prove(log, pick()).unwrap()));
}

fn restart(root: &Path) {
    let began = Instant::now();
    let (engine, opened) = Engine::open(options(root), Timestamp::from_micros(2)).unwrap();
    println!(
        "start over {} entries, closed in order: {:.1} ms",
        opened.size,
        began.elapsed().as_secs_f64() * 1e3
    );
    drop(engine);
    std::fs::remove_dir_all(root.join("ledger/snap")).unwrap();
    let began = Instant::now();
    let (engine, opened) = Engine::open(options(root), Timestamp::from_micros(3)).unwrap();
    println!(
        "start over {} entries, without a snapshot: {:.1} ms",
        opened.size,
        began.elapsed().as_secs_f64() * 1e3
    );
    drop(engine);
}
