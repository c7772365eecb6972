//! What one MCP call costs through Cordon over what it costs directly.
//!
//! `cargo bench -p cordon --bench mcp_call [-- CALLS]` starts an echo server and `cordon serve` in front
//! of it (argument policy, input schema, durable record), then calls both in turn over one kept-alive
//! connection each, beside a bare append and `fdatasync` in the same directory.
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
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use support::{Disk, Running, cpu_ticks, percentile, run};

const UPSTREAM: &str = "CORDON_BENCH_UPSTREAM";
const ROUNDS: usize = 10;
const TEXT: &str = "sixty-four bytes of an argument, which a policy reads as a text.";

fn main() {
    if std::env::var_os(UPSTREAM).is_some() {
        return upstream();
    }
    let calls = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(10_000);
    let dir = tempfile::tempdir().unwrap();
    let (_echo, upstream_port) = echo();
    let (cordon, port, token) = serve(dir.path(), upstream_port);
    let mut direct = Client::connect(upstream_port, "/mcp", None);
    let mut through = Client::connect(port, "/mcp/bench", Some(&token));
    direct.handshake();
    through.handshake();
    let mut disk = Disk::new(dir.path());

    let (mut direct_us, mut through_us, mut sync_us) = (Vec::new(), Vec::new(), Vec::new());
    let mut history = Vec::new();
    let before = cpu_ticks(cordon.0.id());
    for _ in 0..ROUNDS {
        let each = calls / ROUNDS;
        direct_us.extend((0..each).map(|_| direct.call()));
        let mut round: Vec<f64> = (0..each).map(|_| through.call()).collect();
        sync_us.extend((0..each.min(500)).map(|_| disk.append()));
        history.push(percentile(&mut round, 50));
        through_us.append(&mut round);
    }
    let cpu_us = (cpu_ticks(cordon.0.id()) - before) as f64 * 10_000.0 / through_us.len() as f64;
    let (d50, d99) = (percentile(&mut direct_us, 50), percentile(&mut direct_us, 99));
    let (t50, t99) = (percentile(&mut through_us, 50), percentile(&mut through_us, 99));
    let (s50, s99) = (percentile(&mut sync_us, 50), percentile(&mut sync_us, 99));
    println!("calls through Cordon       {}", through_us.len());
    println!("direct            p50 {d50:8.0} us   p99 {d99:8.0} us");
    println!("through           p50 {t50:8.0} us   p99 {t99:8.0} us");
    println!("append+fdatasync  p50 {s50:8.0} us   p99 {s99:8.0} us");
    println!("added             p50 {:8.0} us   = fdatasync + {:.0} us", t50 - d50, t50 - d50 - s50);
    println!("CPU of cordon     {cpu_us:12.0} us per call");
    println!("CPU by thread     {}", threads(cordon.0.id(), through_us.len()));
    println!(
        "p50 by tenth of history: {}",
        history.iter().map(|us| format!("{us:.0}")).collect::<Vec<_>>().join(" ")
    );
    println!("resident          {:12} KiB", resident_kib(cordon.0.id()));
}

fn echo() -> (Running, u16) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut child = Running(command.env(UPSTREAM, "1").stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().parse().unwrap())
}

/// Makes a directory with a signed bundle and starts `cordon serve` in it.
fn serve(dir: &Path, upstream: u16) -> (Running, u16, String) {
    run(dir, &["init", "."]);
    fs::write(dir.join("policy/permissions/bench.cedar"), PERMISSIONS).unwrap();
    fs::create_dir_all(dir.join("policy/tools")).unwrap();
    fs::write(dir.join("policy/tools/bench.toml"), MANIFEST).unwrap();
    let mut config = fs::OpenOptions::new().append(true).open(dir.join("cordon.toml")).unwrap();
    writeln!(config, "[[mcp.server]]\nname = \"bench\"\nurl = \"http://127.0.0.1:{upstream}/mcp\"").unwrap();
    run(dir, &["policy", "build"]);
    support::serve(dir, "agent")
}

const PERMISSIONS: &str = r#"
@id("no-secrets")
forbid (principal, action == Action::"bench/echo", resource) when { context.args.text like "*secret*" };
"#;
const MANIFEST: &str = r#"
tool = "bench/echo"
classes = ["data.read"]
effect = "read"
limits = { rate_per_min = 1000000, concurrency = 64 }
input_schema = '{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}'
"#;

/// One kept-alive connection that sends the same bytes again and again.
struct Client {
    stream: BufReader<TcpStream>,
    head: String,
    session: String,
    body: Vec<u8>,
}

impl Client {
    fn connect(port: u16, path: &str, token: Option<&str>) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{bearer}Content-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\n"
        );
        Self { stream: BufReader::new(stream), head, session: String::new(), body: Vec::new() }
    }

    fn handshake(&mut self) {
        let initialize = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
        self.send(initialize);
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        let listed = self.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
        assert!(listed.contains("\"echo\""), "{listed}");
    }

    /// Calls the tool once and returns the time in microseconds.
    fn call(&mut self) -> f64 {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"echo","arguments":{{"text":"{TEXT}"}}}}}}"#
        );
        let start = Instant::now();
        let answer = self.send(&body);
        let took = start.elapsed();
        assert!(answer.contains(TEXT) && !answer.contains("error"), "{answer}");
        took.as_secs_f64() * 1e6
    }

    fn send(&mut self, body: &str) -> String {
        let message = format!("{}{}Content-Length: {}\r\n\r\n{body}", self.head, self.session, body.len());
        self.stream.get_mut().write_all(message.as_bytes()).unwrap();
        let (mut length, mut chunked, mut line) = (0, false, String::new());
        loop {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            let lower = line.trim().to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            } else if lower.starts_with("transfer-encoding:") {
                chunked = true;
            } else if lower.starts_with("mcp-session-id:") {
                self.session = format!("{}\r\n", line.trim());
            } else if lower.is_empty() {
                break;
            }
        }
        self.body.clear();
        if chunked {
            self.read_chunks();
        } else {
            self.body.resize(length, 0);
            self.stream.read_exact(&mut self.body).unwrap();
        }
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn read_chunks(&mut self) {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            let start = self.body.len();
            self.body.resize(start + size + 2, 0);
            self.stream.read_exact(&mut self.body[start..]).unwrap();
            self.body.truncate(start + size);
            if size == 0 {
                return;
            }
        }
    }
}

/// Microseconds of CPU per call for each thread that used any.
fn threads(pid: u32, calls: usize) -> String {
    let mut used = std::collections::BTreeMap::<String, u64>::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        let (head, tail) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = tail.split(' ').collect();
        let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        *used.entry(head.split_once('(').unwrap().1.to_owned()).or_default() += ticks;
    }
    let row =
        |(name, ticks): (String, u64)| format!("{name} {:.0} us", ticks as f64 * 10_000.0 / calls as f64);
    used.into_iter().map(row).collect::<Vec<_>>().join(", ")
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The smallest MCP server over HTTP that can echo: one thread a connection.
fn upstream() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    std::io::stdout().flush().unwrap();
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        std::thread::spawn(move || answer_all(BufReader::new(stream)));
    }
}

fn answer_all(mut stream: BufReader<TcpStream>) {
    loop {
        let (mut length, mut line, mut post) = (0usize, String::new(), false);
        loop {
            line.clear();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            post |= line.starts_with("POST ");
            let lower = line.trim().to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            } else if lower.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let answer = post.then(|| answer(&String::from_utf8(body).unwrap())).flatten();
        let message = match answer {
            Some(body) => format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
            None if post => "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned(),
            None => "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n".to_owned(),
        };
        if stream.get_mut().write_all(message.as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(body: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(body).unwrap();
    let result = match message["method"].as_str().unwrap() {
        "initialize" => {
            r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}"#.to_owned()
        }
        "tools/list" => {
            r#"{"tools":[{"name":"echo","inputSchema":{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}}]}"#.to_owned()
        }
        "tools/call" => {
            let text = &message["params"]["arguments"]["text"];
            format!(r#"{{"content":[{{"type":"text","text":{text}}}]}}"#)
        }
        _ => return None,
    };
    Some(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, message["id"]))
}
