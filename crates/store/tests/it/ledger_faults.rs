//! Failing disks, full disks and killed processes: nothing that was acknowledged is lost.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cordon_ledger::Level;
use cordon_store::ledger::{AppendError, Disk, DiskFile, Engine, Filter, RealDisk, show};

use crate::ledger::{Log, decision, now, options, verify_at};

/// In which way an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Nothing was done.
    Before,
    /// It was done, and the answer is a failure.
    After,
    /// Half of it was done.
    Short,
    /// There is no room.
    Full,
}

#[derive(Debug)]
struct Plan {
    way: Way,
    /// The operation that fails, counted from 1; every later one fails too.
    at: u64,
    done: AtomicU64,
}

impl Plan {
    fn fails(&self) -> bool {
        self.done.fetch_add(1, Ordering::SeqCst) + 1 >= self.at
    }

    fn error(&self) -> io::Error {
        match self.way {
            Way::Full => io::Error::from(io::ErrorKind::StorageFull),
            _ => io::Error::other("injected"),
        }
    }
}

#[derive(Debug, Clone)]
struct FailingDisk(Arc<Plan>);

struct FailingFile(Arc<Plan>, Box<dyn DiskFile>);

impl Disk for FailingDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(FailingFile(Arc::clone(&self.0), RealDisk.open(path)?)))
    }

    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        // The segment made ahead is not on the path of an acknowledgement.
        let ahead = path.file_stem().is_some_and(|stem| stem == "spare");
        if !ahead && self.0.fails() {
            if self.0.way == Way::After {
                RealDisk.create(path, bytes)?;
            }
            return Err(self.0.error());
        }
        Ok(Box::new(FailingFile(Arc::clone(&self.0), RealDisk.create(path, bytes)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<Box<dyn DiskFile>> {
        if self.0.fails() {
            return Err(self.0.error());
        }
        Ok(Box::new(FailingFile(Arc::clone(&self.0), RealDisk.rename(from, to)?)))
    }
}

impl DiskFile for FailingFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.0.fails() {
            match self.0.way {
                Way::Before | Way::Full => {}
                Way::After => self.1.write_at(bytes, offset)?,
                Way::Short => self.1.write_at(&bytes[..bytes.len() / 2], offset)?,
            }
            return Err(self.0.error());
        }
        self.1.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        if self.0.fails() {
            return Err(self.0.error());
        }
        self.1.sync()
    }
}

#[test]
fn whichever_write_fails_in_whatever_way_the_log_stops_and_loses_nothing() {
    for way in [Way::Before, Way::After, Way::Short, Way::Full] {
        for at in 1..=24 {
            let log = Log::new();
            let plan = Arc::new(Plan { way, at, done: AtomicU64::new(0) });
            let mut failing = log.options();
            failing.segment_bytes_first = 8 << 10;
            failing.segment_bytes_max = 16 << 10;
            failing.disk = Arc::new(FailingDisk(Arc::clone(&plan)));
            let mut acknowledged = BTreeMap::new();
            let mut failure = None;
            if let Ok((engine, _)) = Engine::open(failing, now()) {
                for n in 0..40 {
                    match engine.append(decision(n), Level::Durable).wait() {
                        Ok(receipt) => {
                            assert!(failure.is_none(), "a stopped log takes nothing more");
                            acknowledged.insert(receipt.index.unwrap(), receipt.id);
                        }
                        Err(error) => failure = Some(error),
                    }
                }
                let failure = failure.expect("the plan fails within forty records");
                assert_eq!(engine.stopped(), Some(failure.clone()));
                let full = matches!(failure, AppendError::DiskFull(_));
                assert_eq!(full, way == Way::Full, "{failure}");
                if full {
                    assert!(failure.to_string().contains("disk is full"));
                }
            }
            let (engine, opened) = log.open();
            assert!(acknowledged.is_empty() || opened.recovery.is_some(), "{way:?} at {at}");
            drop(engine);
            check_acknowledged(log.root.path(), &acknowledged, &format!("{way:?} at {at}"));
        }
    }
}

fn check_acknowledged(root: &Path, acknowledged: &BTreeMap<u64, cordon_core::RecordId>, what: &str) {
    let dir = root.join("ledger");
    let report = verify_at(&dir, Some(&root.join("ledger.head")));
    assert!(report.holds(), "{what}: {:?}", report.problems);
    let all = Filter { most: usize::MAX, newest: false, ..Filter::default() };
    let shown = show(&dir, &all, None).unwrap();
    for (index, id) in acknowledged {
        let found = shown.get(*index as usize).map(|shown| shown.id);
        assert_eq!(found, Some(*id), "{what}: record {index} was acknowledged");
    }
}

const CHILD: &str = "CORDON_TEST_LEDGER_CHILD";

/// The child of the test below: appends and says what was acknowledged until it is killed.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Ok(root) = std::env::var(CHILD) else { return };
    let (engine, opened) = Engine::open(options(Path::new(&root)), now()).unwrap();
    let out = Mutex::new(io::stdout());
    let say = |line: String| {
        use io::Write as _;
        let mut out = out.lock().unwrap();
        writeln!(out, "{line}").unwrap();
        out.flush().unwrap();
    };
    say(format!("opened {} {}", opened.size, opened.recovery.is_some()));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (engine, say) = (&engine, &say);
            scope.spawn(move || {
                for n in 0.. {
                    match engine.append(decision(thread + n), Level::Durable).wait() {
                        Ok(receipt) => say(format!("ack {} {}", receipt.index.unwrap(), receipt.id)),
                        Err(error) => {
                            say(format!("stopped {error}"));
                            return;
                        }
                    }
                }
            });
        }
    });
}

fn spawn_child(root: &Path, wrap: Option<&str>) -> Command {
    let binary = std::env::current_exe().unwrap();
    let arguments = ["--exact", "ledger_faults::child_that_appends_until_it_is_killed", "--nocapture"];
    let mut command = match wrap {
        None => Command::new(&binary),
        Some(script) => {
            let mut command = Command::new("unshare");
            command.args(["-rm", "sh", "-c", script, "sh"]).arg(root).arg(&binary);
            command
        }
    };
    command.args(arguments).env(CHILD, root).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// The lines that a child says, as acknowledged records.
fn acknowledged(line: &str) -> Option<(u64, cordon_core::RecordId)> {
    let (index, id) = line.strip_prefix("ack ")?.split_once(' ')?;
    Some((index.parse().ok()?, id.parse().ok()?))
}

#[test]
fn a_killed_process_loses_nothing_that_it_had_acknowledged() {
    let log = Log::new();
    let mut all = BTreeMap::new();
    for round in 0..15u64 {
        let mut child = spawn_child(log.root.path(), None).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let enough = 20 + round * 13 % 97;
        let mut seen = 0;
        for line in lines.map_while(Result::ok) {
            if let Some(rest) = line.strip_prefix("opened ") {
                assert_eq!(rest.ends_with("true"), round > 0, "a recovery is recorded: {rest}");
            }
            if let Some((index, id)) = acknowledged(&line) {
                all.insert(index, id);
                seen += 1;
            }
            if seen == enough {
                // SIGKILL; lines that were said before it are read on.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= enough);
    }
    let (engine, opened) = log.open();
    assert!(opened.recovery.is_some());
    drop(engine);
    check_acknowledged(log.root.path(), &all, "killed");
    let report = log.verify();
    assert_eq!(report.recoveries.len(), 15);
}

#[test]
fn a_full_disk_stops_the_log_and_spoils_nothing() {
    let root = tempfile::tempdir().unwrap();
    let kept = tempfile::tempdir().unwrap();
    // A small file system of its own; what is on it is copied out before it goes away.
    let script = format!(
        "mount -t tmpfs -o size=400k tmpfs \"$1\" || exit 99; d=$1; shift; \"$@\"; cp -r \"$d\"/. {}",
        kept.path().display()
    );
    let output = spawn_child(root.path(), Some(&script)).output();
    let Some(output) =
        output.ok().filter(|output| output.status.code() != Some(99) && !output.stdout.is_empty())
    else {
        eprintln!("no user namespaces here; the table of failing writes covers a full disk");
        return;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("disk is full"), "{text}");
    let all: BTreeMap<_, _> = text.lines().filter_map(acknowledged).collect();
    assert!(all.len() > 10);
    let (engine, opened) = Engine::open(options(kept.path()), now()).unwrap();
    assert!(opened.recovery.is_some());
    engine.append(decision(1), Level::Durable).wait().unwrap();
    drop(engine);
    check_acknowledged(kept.path(), &all, "full disk");
}

#[test]
fn a_log_is_verified_while_it_is_written() {
    let log = Log::new();
    let (engine, _) = log.open();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..400 {
                engine.append(decision(n), Level::Durable).wait().unwrap();
            }
        });
        let mut passes = 0;
        while !writer.is_finished() || passes == 0 {
            let report = verify_at(&log.dir(), None);
            assert!(report.holds(), "{:?}", report.problems);
            passes += 1;
        }
    });
}
