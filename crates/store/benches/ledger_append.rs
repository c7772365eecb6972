//! Group commit against a bare append-and-`fdatasync` loop, interleaved.
//!
//! `cargo bench -p cordon-store --bench ledger_append`
//!
//! Both sides have one committing thread, closed-loop appenders, prewritten segments, one `fdatasync`
//! per group and the same waking; the bare side only copies 512 bytes. `CORDON_BENCH_DIR` names the
//! directory to write in, `CORDON_BENCH_MS` the length of a round, `CORDON_BENCH_APPENDERS` one count.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    reason = "a bench stops at the first surprise"
)]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::Thread;
use std::time::{Duration, Instant};

use cordon_core::cbor::Cbor;
use cordon_core::ed25519::SigningKey;
use cordon_core::{RecordId, SessionId, Timestamp};
use cordon_ledger::{Draft, FieldId, Kind, Level, LogKey};
use cordon_store::ledger::{Engine, OpeningKey, Options};

const ROUNDS: usize = 5;
const APPENDERS: [usize; 4] = [1, 16, 256, 1_000];
const RECORD_BYTES: usize = 512;
/// Large enough that no round reaches the half at which the next segment is prewritten.
const SEGMENT_BYTES: u64 = 160 << 20;

fn main() {
    let dir = std::env::var_os("CORDON_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let round = Duration::from_millis(
        std::env::var("CORDON_BENCH_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(1_000),
    );
    println!("entry {} bytes; decision {:?} bytes", entry_bytes(&plain(1)), sizes(&decision(1)));
    println!(
        "| appenders | what | best/s | median/s | of bare (best) | of bare (median) | p50 ms (median) | cpu us/record |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let only = std::env::var("CORDON_BENCH_APPENDERS").ok().and_then(|text| text.parse().ok());
    for appenders in APPENDERS.into_iter().filter(|count| only.is_none_or(|only: usize| only == *count)) {
        let (mut bare, mut log, mut full) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare.push(bare_round(&dir, appenders, round));
            log.push(engine_round(&dir, appenders, round, plain));
            full.push(engine_round(&dir, appenders, round, decision));
        }
        let base = summary(&bare);
        for (name, rounds) in [("bare", &bare), ("ledger, 512 B", &log), ("ledger, decision", &full)] {
            let (best, median, p50, cpu) = summary(rounds);
            println!(
                "| {appenders} | {name} | {best:.0} | {median:.0} | {:.0} % | {:.0} % | {p50:.2} | {cpu:.1} |",
                100.0 * best / base.0,
                100.0 * median / base.1
            );
        }
        // Deleting is not part of what is measured, and on some disks it is felt long after.
        std::fs::remove_dir_all(bench_dir(&dir)).unwrap();
        std::thread::sleep(Duration::from_secs(2));
    }
}

fn bench_dir(dir: &Path) -> PathBuf {
    dir.join(format!("cordon-bench-{}", std::process::id()))
}

struct Round {
    per_second: f64,
    p50_ms: f64,
    cpu_us: f64,
}

fn summary(rounds: &[Round]) -> (f64, f64, f64, f64) {
    let sorted = |value: fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let rates = sorted(|round| round.per_second);
    let (p50, cpu) = (sorted(|round| round.p50_ms), sorted(|round| round.cpu_us));
    (rates[rates.len() - 1], rates[rates.len() / 2], p50[p50.len() / 2], cpu[cpu.len() / 2])
}

/// Runs closed-loop appenders for a while and measures them and the process's CPU time.
fn measure(name: &str, appenders: usize, length: Duration, append: impl Fn(u64) + Sync) -> Round {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let latencies = Mutex::new(Vec::new());
    let (cpu, began) = (cpu_time(), Instant::now());
    std::thread::scope(|scope| {
        for at in 0..appenders {
            let (stop, done, latencies, append) = (&stop, &done, &latencies, &append);
            let body = move || {
                let mut mine = Vec::new();
                let mut n = at as u64 * 1_000_000;
                while !stop.load(Ordering::Relaxed) {
                    let before = Instant::now();
                    append(n);
                    mine.push(before.elapsed());
                    n += 1;
                }
                done.fetch_add(mine.len() as u64, Ordering::Relaxed);
                latencies.lock().unwrap().extend(mine);
            };
            let thread = std::thread::Builder::new().name(name.to_owned());
            thread.stack_size(256 << 10).spawn_scoped(scope, body).unwrap();
        }
        std::thread::sleep(length);
        stop.store(true, Ordering::Relaxed);
    });
    let (elapsed, cpu) = (began.elapsed().as_secs_f64(), cpu_time() - cpu);
    let count = done.load(Ordering::Relaxed) as f64;
    let mut latencies = latencies.into_inner().unwrap();
    latencies.sort();
    let p50 = latencies.get(latencies.len() / 2).copied().unwrap_or_default();
    Round { per_second: count / elapsed, p50_ms: p50.as_secs_f64() * 1e3, cpu_us: cpu * 1e6 / count }
}

/// The process's CPU time in seconds.
fn cpu_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

fn engine_round(dir: &Path, appenders: usize, length: Duration, draft: fn(u64) -> Draft) -> Round {
    // A directory for each round, removed at the end: deleting is not part of what is measured.
    static ROUND: AtomicU64 = AtomicU64::new(0);
    let root = bench_dir(dir).join(ROUND.fetch_add(1, Ordering::Relaxed).to_string());
    std::fs::create_dir_all(&root).unwrap();
    let key = LogKey::new("bench".parse().unwrap(), SigningKey::from_seed(&[1; 32]).unwrap());
    let mut options =
        Options::new(root.join("ledger"), root.join("ledger.head"), key, OpeningKey::new(&[2; 32]));
    options.segment_bytes_first = SEGMENT_BYTES;
    options.segment_bytes_max = SEGMENT_BYTES;
    if let Some(ms) = std::env::var("CORDON_BENCH_PUBLISH_MS").ok().and_then(|ms| ms.parse().ok()) {
        options.publish_ms = ms;
    }
    let (engine, _) = Engine::open(options, Timestamp::from_micros(1)).unwrap();
    let measured = measure("log", appenders, length, |n| {
        engine.append(draft(n), Level::Durable).wait().unwrap();
    });
    drop(engine);
    measured
}

fn record(n: u64) -> RecordId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    RecordId::from_bytes(bytes)
}

/// A record whose entry has about 512 bytes and no openings.
fn plain(n: u64) -> Draft {
    Draft::new(record(n), Timestamp::from_micros(1_795_000_000_000_000), "default", Kind::Result)
        .in_session(SessionId::from_bytes(*record(n % 64).as_bytes()))
        .with(FieldId::Outcome, "x".repeat(262).as_str())
}

/// A decision with four sealed values and what a policy replay needs.
fn decision(n: u64) -> Draft {
    Draft::new(record(n), Timestamp::from_micros(1_795_000_000_000_000), "default", Kind::Decision)
        .in_session(SessionId::from_bytes(*record(n % 64).as_bytes()))
        .with(FieldId::Call, Cbor::bytes([3; 16]))
        .with(FieldId::Action, "mail/send")
        .with(FieldId::Confidence, 9_000)
        .with(FieldId::PromptText, "p".repeat(200).as_str())
        .with(FieldId::ToolInvocation, "a".repeat(200).as_str())
        .with(FieldId::Principals, "agent for a user")
        .attach(Cbor::bytes(vec![7; 600]))
}

fn entry_bytes(draft: &Draft) -> usize {
    sizes(draft).0
}

/// The sizes of a draft's entry and of its openings before sealing.
fn sizes(draft: &Draft) -> (usize, usize) {
    struct Zeros;
    impl cordon_core::Entropy for Zeros {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }
    let identity =
        Cbor::map([(1, Cbor::from("bench+00000000+AUPSHHbYCYsVtUfpKsbo0dVtIE1j0JeB4sG4W1r8WW2y"))]);
    let (body, openings) = draft.clone().close(&identity, &mut Zeros).unwrap();
    (body.len(), openings.iter().map(|opening| opening.encoded.len() + 58).sum())
}

/// The bare loop: what waits is copied into one buffer, written, synced, and its appenders are woken.
struct Bare {
    waiting: Mutex<Vec<(Vec<u8>, Arc<Done>)>>,
    queued: Condvar,
    stop: AtomicBool,
}

struct Done(AtomicBool, Thread);

fn bare_round(dir: &Path, appenders: usize, length: Duration) -> Round {
    static ROUND: AtomicU64 = AtomicU64::new(0);
    std::fs::create_dir_all(bench_dir(dir)).unwrap();
    let path = bench_dir(dir).join(format!("bare-{}", ROUND.fetch_add(1, Ordering::Relaxed)));
    let file = File::create(&path).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..SEGMENT_BYTES >> 20).for_each(|at| file.write_all_at(&zeros, at << 20).unwrap());
    file.sync_all().unwrap();
    let bare = Bare { waiting: Mutex::default(), queued: Condvar::new(), stop: AtomicBool::new(false) };
    std::thread::scope(|scope| {
        let committer = scope.spawn(|| bare.commit(&file));
        let measured = measure("bare", appenders, length, |_| bare.append(vec![7; RECORD_BYTES]));
        bare.stop.store(true, Ordering::Relaxed);
        bare.queued.notify_all();
        committer.join().unwrap();
        measured
    })
}

impl Bare {
    fn append(&self, bytes: Vec<u8>) {
        let done = Arc::new(Done(AtomicBool::new(false), std::thread::current()));
        let was_empty = {
            let mut waiting = self.waiting.lock().unwrap();
            waiting.push((bytes, Arc::clone(&done)));
            waiting.len() == 1
        };
        if was_empty {
            self.queued.notify_one();
        }
        while !done.0.load(Ordering::Acquire) {
            std::thread::park();
        }
    }

    fn commit(&self, file: &File) {
        let (mut offset, mut buffer) = (0u64, Vec::new());
        loop {
            let batch = {
                let mut waiting = self.waiting.lock().unwrap();
                while waiting.is_empty() {
                    if self.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    waiting = self.queued.wait_timeout(waiting, Duration::from_millis(50)).unwrap().0;
                }
                std::mem::take(&mut *waiting)
            };
            buffer.clear();
            batch.iter().for_each(|(bytes, _)| buffer.extend_from_slice(bytes));
            if offset + buffer.len() as u64 > SEGMENT_BYTES {
                offset = 0;
            }
            file.write_all_at(&buffer, offset).unwrap();
            file.sync_data().unwrap();
            offset += buffer.len() as u64;
            for (_, done) in batch {
                done.0.store(true, Ordering::Release);
                done.1.unpark();
            }
        }
    }
}
