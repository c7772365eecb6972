//! What one AuthZEN evaluation costs over loopback, from the request's first byte to the answer's last.
//!
//! `cargo bench -p cordon --bench authzen [-- EVALUATIONS]` starts `cordon serve` with the policies of the
//! certification scenario and asks over one kept-alive connection: single evaluations, batches of 32 and
//! searches, each on record and durable before it is told, beside a bare append and `fdatasync` in the
//! same directory and a request that is refused before anything is judged (what the transport costs).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a bench that cannot run stops"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

use support::{Disk, Running, cpu_ticks, percentile, run};

const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/authzen");
const ROUNDS: usize = 10;
const BATCH: usize = 32;

/// What is asked: path, body, status, and what the answer must say.
const ONE: Asked = (
    "/access/v1/evaluation",
    r#"{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}"#,
    200,
    r#"{"decision":true"#,
);
const SEARCH: Asked = (
    "/access/v1/search/subject",
    r#"{"subject":{"type":"user"},"action":{"name":"read"},"resource":{"type":"record","id":"record-1"}}"#,
    200,
    r#"{"type":"user","id":"bob"}"#,
);
const REFUSED: Asked = ("/access/v1/evaluation", "{}", 400, "malformed");

type Asked<'a> = (&'a str, &'a str, u16, &'a str);

fn main() {
    let count = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(10_000);
    let dir = tempfile::tempdir().unwrap();
    let (cordon, port, token) = serve(dir.path());
    let mut client = Client::connect(port, &token);
    let mut disk = Disk::new(dir.path());
    let batch = format!(
        r#"{},"evaluations":[{}]}}"#,
        ONE.1.trim_end_matches('}').to_owned() + "}",
        vec!["{}"; BATCH].join(",")
    );
    let batch: Asked<'_> = ("/access/v1/evaluations", &batch, 200, r#"{"evaluations":[{"decision":true"#);

    let rows: [(&str, Asked<'_>, usize, usize); 4] = [
        ("evaluation", ONE, count, 1),
        ("evaluations, each of 32", batch, count / 10, BATCH),
        ("search, 2 results", SEARCH, count / 10, 1),
        ("refused unread", REFUSED, count, 1),
    ];
    let mut times = vec![Vec::new(); rows.len()];
    let mut cpu = vec![0; rows.len()];
    let mut sync = Vec::new();
    for _ in 0..ROUNDS {
        for (at, (_, asked, count, _)) in rows.iter().enumerate() {
            let before = cpu_ticks(cordon.0.id());
            times[at].extend((0..(count / ROUNDS).max(1)).map(|_| client.ask(*asked)));
            cpu[at] += cpu_ticks(cordon.0.id()) - before;
        }
        sync.extend((0..200).map(|_| disk.append()));
    }
    println!("{:<26} {:>9} {:>9} {:>11}", "", "p50 us", "p99 us", "CPU us");
    for (at, (name, _, _, parts)) in rows.iter().enumerate() {
        let parts = *parts as f64;
        let each = cpu[at] as f64 * 10_000.0 / times[at].len() as f64 / parts;
        let (p50, p99) = (percentile(&mut times[at], 50) / parts, percentile(&mut times[at], 99) / parts);
        println!("{name:<26} {p50:>9.0} {p99:>9.0} {each:>11.0}");
    }
    let (p50, p99) = (percentile(&mut sync, 50), percentile(&mut sync, 99));
    println!("{:<26} {p50:>9.0} {p99:>9.0}", "append+fdatasync");
}

/// Makes a directory with the signed bundle and starts `cordon serve` in it.
fn serve(dir: &Path) -> (Running, u16, String) {
    run(dir, &["init", "."]);
    fs::remove_dir_all(dir.join("policy")).unwrap();
    for folder in fs::read_dir(POLICIES).unwrap().map(Result::unwrap) {
        let to = dir.join("policy").join(folder.file_name());
        fs::create_dir_all(&to).unwrap();
        for file in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    run(dir, &["policy", "build"]);
    support::serve(dir, "pep")
}

/// One kept-alive connection.
struct Client {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Client {
    fn connect(port: u16, token: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let head = format!(
            "HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nX-Request-ID: bench\r\n"
        );
        Self { stream: BufReader::new(stream), head }
    }

    /// Asks once and returns the time in microseconds.
    fn ask(&mut self, (path, body, status, says): Asked<'_>) -> f64 {
        let start = Instant::now();
        let message = format!("POST {path} {}Content-Length: {}\r\n\r\n{body}", self.head, body.len());
        self.stream.get_mut().write_all(message.as_bytes()).unwrap();
        let (mut length, mut line, mut first) = (0, String::new(), String::new());
        loop {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            if first.is_empty() {
                first.clone_from(&line);
            }
            let lower = line.trim().to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            } else if lower.is_empty() {
                break;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).unwrap();
        let took = start.elapsed();
        let answer = String::from_utf8(answer).unwrap();
        assert!(first.contains(&format!(" {status} ")) && answer.contains(says), "{first}{answer}");
        took.as_secs_f64() * 1e6
    }
}
