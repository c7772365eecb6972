//! A home, a project and a node of their own for each test.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub(crate) const CORDON: &str = env!("CARGO_BIN_EXE_cordon");

/// A home directory with keys, and a project that `cordon init` made in it.
pub(crate) struct World {
    root: tempfile::TempDir,
    name: &'static str,
}

impl World {
    /// A home without keys, and no project yet at `name`.
    pub(crate) fn bare(name: &'static str) -> Self {
        Self { root: tempfile::tempdir().unwrap(), name }
    }

    /// The starter, with short waits.
    pub(crate) fn new() -> Self {
        let world = Self::bare("project");
        fs::create_dir_all(world.project()).unwrap();
        world.done(&["init", "."]);
        world.edit("cordon.toml", |text| text.replace("hold_s = 30", "hold_s = 1"));
        world.append("cordon.toml", "\n[owner]\nidle_s = 20\n");
        world
    }

    /// The policy of the demo, which knows the tools of the built-in `office` server.
    pub(crate) fn office() -> Self {
        let world = Self::new();
        let policy = world.path("policy");
        fs::remove_dir_all(&policy).unwrap();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/demo"), &policy);
        world.build();
        world
    }

    /// Signs the policy source as it lies there.
    pub(crate) fn build(&self) {
        self.done(&["policy", "build", "policy"]);
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.root.path().join(self.name)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.project().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path(".cordon")
    }

    /// Where the program keeps private keys in this world.
    pub(crate) fn keys(&self) -> PathBuf {
        self.root.path().join("home/config/cordon/keys")
    }

    pub(crate) fn edit(&self, name: &str, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        fs::write(self.path(name), change(text)).unwrap();
    }

    pub(crate) fn append(&self, name: &str, more: &str) {
        self.edit(name, |text| text + more);
    }

    /// The program in this world, with nothing of the tester's own environment but the path.
    pub(crate) fn cordon(&self, args: &[&str]) -> Command {
        let mut command = Command::new(CORDON);
        self.surround(&mut command);
        command.args(args).current_dir(self.project());
        command
    }

    /// Where there is no project yet.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// Gives a program this world's home and nothing of the tester's own environment but the path.
    pub(crate) fn surround(&self, command: &mut Command) {
        let home = self.root.path().join("home");
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &home).env("XDG_CONFIG_HOME", home.join("config"));
        command.env("XDG_STATE_HOME", home.join("state"));
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.cordon(args).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command that must succeed and gives what it printed.
    pub(crate) fn done(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cordon {args:?}: {} {stderr}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must end with `exit` and gives what it said.
    pub(crate) fn fails(&self, args: &[&str], exit: i32) -> String {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit), "cordon {args:?}: {said}");
        said
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.extend(["--format", "json"]);
        serde_json::from_str(&self.done(&all)).unwrap()
    }

    /// The process that owns the data directory.
    pub(crate) fn owner(&self) -> Option<u32> {
        fs::read_to_string(self.data().join("lock")).ok()?.trim().parse().ok()
    }

    /// Sends a signal to the owner and waits until it has let go of the lock.
    pub(crate) fn signal_owner(&self, signal: &str) {
        let Some(pid) = self.owner() else { return };
        if !fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("serve")) {
            return;
        }
        assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) && is_running(pid) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// An agent that talks to the built-in `office` server through `cordon mcp`.
    pub(crate) fn agent(&self) -> Agent {
        self.agent_of(&["--", CORDON, "fixture-server", "office"])
    }

    pub(crate) fn agent_of(&self, command: &[&str]) -> Agent {
        let mut args = vec!["mcp", "--name", "office"];
        args.extend(command);
        let mut child = self
            .cordon(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Agent { child, input, output, id: 0 }
    }

    /// Starts `cordon serve` on a free port.
    pub(crate) fn serve(&self) -> Server<'_> {
        let mut child = self
            .cordon(&["serve", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "serve ended: {said}");
            said.push_str(&line);
            if let Some(rest) = line.split("http://").nth(1) {
                break rest.split_whitespace().next().unwrap().parse().unwrap();
            }
        };
        // Whatever it says later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Server { world: self, child, address }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.signal_owner("-TERM");
    }
}

pub(crate) fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// An MCP client over the standard streams of `cordon mcp`.
pub(crate) struct Agent {
    pub(crate) child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    id: u64,
}

impl Agent {
    pub(crate) fn say(&mut self, message: &Value) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{message}\n").as_bytes()).unwrap();
        input.flush().unwrap();
    }

    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Value {
        self.id += 1;
        self.say(&json!({"jsonrpc": "2.0", "id": self.id, "method": method, "params": params}));
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "no answer: {}", self.last_words());
            let answer: Value = serde_json::from_str(&line).unwrap();
            if answer["id"] == json!(self.id) {
                return answer;
            }
        }
    }

    pub(crate) fn hello(mut self) -> Self {
        let client = json!({"name": "test", "version": "1"});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        let answer = self.ask("initialize", params);
        assert_eq!(answer["result"]["protocolVersion"], "2025-11-25", "{answer}");
        self.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        self
    }

    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// What the agent is told: the error's message, or the text of the result.
    pub(crate) fn told(&mut self, tool: &str, arguments: Value) -> String {
        let answer = self.call(tool, arguments);
        let error = answer["error"]["message"].as_str().map(str::to_owned);
        error.unwrap_or_else(|| answer["result"]["content"][0]["text"].to_string())
    }

    /// Closes its side and gives the exit status.
    pub(crate) fn leave(mut self) -> Option<i32> {
        drop(self.input.take());
        self.child.wait().unwrap().code()
    }

    pub(crate) fn last_words(&mut self) -> String {
        let mut words = String::new();
        let _ = self.child.kill();
        let _ = self.child.stderr.take().unwrap().read_to_string(&mut words);
        words
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `cordon serve`.
pub(crate) struct Server<'w> {
    world: &'w World,
    child: Child,
    pub(crate) address: SocketAddr,
}

/// An HTTP answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

impl Server<'_> {
    pub(crate) fn token(&self, role: &str) -> String {
        fs::read_to_string(self.world.data().join("tokens").join(role)).unwrap().trim().to_owned()
    }

    /// One request as `role`, or as nobody.
    pub(crate) fn request(&self, role: Option<&str>, method: &str, path: &str, body: &str) -> Answer {
        let token = role.map(|role| format!("Authorization: Bearer {}\r\n", self.token(role)));
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{}Content-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            token.unwrap_or_default(),
            body.len()
        ))
    }

    /// These bytes, and what comes back.
    pub(crate) fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// The exit status after a signal.
    pub(crate) fn end(mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
