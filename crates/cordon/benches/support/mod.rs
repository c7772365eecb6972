//! What the benches of the program share: the program under a directory of its own, and what is measured.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CORDON: &str = env!("CARGO_BIN_EXE_cordon");

/// A child that ends with the bench.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `cordon serve` in a directory; its port and the token of `role`.
pub(crate) fn serve(dir: &Path, role: &str) -> (Running, u16, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = cordon(dir);
    let child = command.args(["serve", "--listen", &format!("127.0.0.1:{port}")]).stdout(Stdio::null());
    let child = Running(child.stderr(Stdio::null()).spawn().unwrap());
    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            let token = fs::read_to_string(dir.join(".cordon/tokens").join(role)).unwrap();
            return (child, port, token.trim().to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("cordon serve did not listen");
}

fn cordon(dir: &Path) -> Command {
    let mut command = Command::new(CORDON);
    command
        .current_dir(dir)
        .env("XDG_CONFIG_HOME", dir.join("config"))
        .env("XDG_STATE_HOME", dir.join("state"));
    command
}

/// Runs one command of the program, which has to succeed.
pub(crate) fn run(dir: &Path, args: &[&str]) {
    let output = cordon(dir).args(args).output().unwrap();
    assert!(output.status.success(), "cordon {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A bare append and `fdatasync` into a prewritten file.
pub(crate) struct Disk {
    file: File,
}

impl Disk {
    pub(crate) fn new(dir: &Path) -> Self {
        let mut file = File::create(dir.join("bare")).unwrap();
        file.write_all(&vec![0; 64 << 20]).unwrap();
        file.sync_all().unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        Self { file }
    }

    pub(crate) fn append(&mut self) -> f64 {
        let start = Instant::now();
        self.file.write_all(&[7; 2_048]).unwrap();
        self.file.sync_data().unwrap();
        start.elapsed().as_secs_f64() * 1e6
    }
}

/// The sample below which `percent` of them lie.
pub(crate) fn percentile(samples: &mut [f64], percent: usize) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[(samples.len() * percent / 100).min(samples.len() - 1)]
}

/// User and system time in ticks of 10 ms (`proc(5)`).
pub(crate) fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
