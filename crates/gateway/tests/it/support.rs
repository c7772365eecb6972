//! One world a test: a guard over ports in memory, a server that does what the test says, a client.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cordon_core::{Chain, Principal, PrincipalKind};
use cordon_gateway::mcp::{
    Command, Door, DoorLimits, Mode, Server, ServerOptions, Upstream, UpstreamOptions, stdio,
};
use cordon_gateway::{Caller, CallerRole};
use cordon_guard::policy::{PolicySet, PolicySource};
use cordon_guard::{ActivePolicies, Approvers, Guard, GuardLimits};
use cordon_testkit::TestPorts;
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf, duplex, split,
};
use tokio::time::timeout;

/// Everything is permitted, whatever it is.
pub(crate) const ALL: &str = "@id(\"all\") permit (principal, action, resource);";

/// Longest wait for anything in a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A guard over ports in memory.
pub(crate) struct World {
    pub(crate) ports: TestPorts,
    pub(crate) guard: Guard,
}

impl World {
    /// A world with these permissions and obligations, as Cedar text.
    pub(crate) fn new(permissions: &str, obligations: &str) -> Self {
        Self::with(permissions, obligations, "", Approvers::default())
    }

    pub(crate) fn with(permissions: &str, obligations: &str, tools: &str, approvers: Approvers) -> Self {
        let mut source = PolicySource::new();
        source.insert("permissions/test.cedar", permissions);
        if !obligations.is_empty() {
            source.insert("obligations/test.cedar", obligations);
        }
        if !tools.is_empty() {
            source.insert("tools/test.toml", tools);
        }
        Self::of(&source, approvers)
    }

    /// A world with the policies in a folder of the repository.
    pub(crate) fn shipped(path: &str) -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
        let mut source = PolicySource::new();
        for folder in std::fs::read_dir(&root).unwrap().map(Result::unwrap) {
            for file in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
                let (folder, file_name) = (folder.file_name(), file.file_name());
                let name = format!("{}/{}", folder.to_str().unwrap(), file_name.to_str().unwrap());
                source.insert(name, std::fs::read(file.path()).unwrap());
            }
        }
        Self::of(&source, Approvers::default())
    }

    pub(crate) fn of(source: &PolicySource, approvers: Approvers) -> Self {
        let compiled = PolicySet::compile(source).unwrap_or_else(|found| panic!("{found:?}"));
        let ports = TestPorts::new();
        let policies = ActivePolicies { set: compiled.policies, epoch: None, signed: false };
        let guard = Guard::new(ports.ports(), policies, approvers, GuardLimits::default());
        Self { ports, guard }
    }

    /// A client of a server that the test plays itself.
    pub(crate) async fn play(&self, name: &str) -> (Client, Played) {
        self.play_with(name, |_| {}).await
    }

    pub(crate) async fn play_with(&self, name: &str, tune: impl FnOnce(&mut DoorLimits)) -> (Client, Played) {
        let server = server(name, tune);
        let (here, there) = duplex(1 << 20);
        let (read, write) = split(there);
        let upstream = Upstream::duplex(read, write, server.limits());
        let door = self.door(&server, upstream).await;
        (Client::of(door), Played::new(here))
    }

    pub(crate) async fn door(&self, server: &Arc<Server>, upstream: Upstream) -> Door {
        let caller = caller("omar", "assistant");
        Door::open(self.guard.clone(), caller, Arc::clone(server), upstream, Mode::Alone).await.unwrap()
    }

    /// A client of the fixture as a real child process.
    pub(crate) async fn office(&self, name: &str) -> Client {
        let options = ServerOptions::new(name, UpstreamOptions::Stdio(fixture("office"))).unwrap();
        let server = Server::new(options).unwrap();
        let upstream = server.connect().unwrap();
        Client::of(self.door(&server, upstream).await)
    }
}

pub(crate) fn server(name: &str, tune: impl FnOnce(&mut DoorLimits)) -> Arc<Server> {
    let command = Command { program: "true".into(), ..Command::default() };
    let mut options = ServerOptions::new(name, UpstreamOptions::Stdio(command)).unwrap();
    options.limits.hold = Duration::from_millis(200);
    options.limits.progress_every = Duration::from_millis(20);
    tune(&mut options.limits);
    Server::new(options).unwrap()
}

pub(crate) fn caller(owner: &str, agent: &str) -> Caller {
    let owner = Principal::new(PrincipalKind::User, owner);
    let agent = Principal::new(PrincipalKind::Agent, agent);
    let chain = Chain::new(Some(owner.clone()), Some(agent), Some(owner)).unwrap();
    Caller {
        role: CallerRole::Agent,
        chain,
        tenant: "default".into(),
        scopes: BTreeSet::new(),
        assurance: cordon_core::Assurance::Credential,
        capability: None,
    }
}

/// The fixture server as a program; built with the tests (`cargo test -p cordon-gateway`).
pub(crate) fn fixture(profile: &str) -> Command {
    let here = std::env::current_exe().unwrap();
    let program: PathBuf = here.ancestors().nth(2).unwrap().join("examples/mcp_fixture");
    assert!(program.exists(), "{} is missing: build the examples too", program.display());
    Command { program: program.into(), args: vec![profile.into()], ..Command::default() }
}

/// The agent's side.
pub(crate) struct Client {
    read: BufReader<ReadHalf<DuplexStream>>,
    write: Option<WriteHalf<DuplexStream>>,
    next: i64,
    pub(crate) door: Door,
    pub(crate) serving: tokio::task::JoinHandle<stdio::End>,
}

impl Client {
    pub(crate) fn of(door: Door) -> Self {
        let (here, there) = duplex(1 << 20);
        let (read, write) = split(there);
        let serving = tokio::spawn(stdio::serve(door.clone(), read, write));
        let (read, write) = split(here);
        Self { read: BufReader::new(read), write: Some(write), next: 0, door, serving }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let write = self.write.as_mut().unwrap();
        write.write_all(bytes).await.unwrap();
        write.write_all(b"\n").await.unwrap();
    }

    /// The next message, whatever it is.
    pub(crate) async fn next(&mut self) -> Value {
        let mut line = String::new();
        let read =
            timeout(PATIENCE, self.read.read_line(&mut line)).await.expect("a message in time").unwrap();
        assert!(read > 0, "the door closed the client's side");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Whether nothing comes within a moment.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(150), self.read.fill_buf()).await.is_err()
    }

    /// Sends a request and gives its id.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> i64 {
        self.next += 1;
        self.send(
            &json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params}).to_string(),
        )
        .await;
        self.next
    }

    /// Sends a request and waits for its answer; what comes before is dropped.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params).await;
        loop {
            let message = self.next().await;
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
        }
    }

    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    pub(crate) async fn hello(&mut self) -> Value {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}, "sampling": {}}, "clientInfo": {"name": "test", "version": "1"}});
        let answer = self.request("initialize", params).await;
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        answer
    }

    /// Closes the client's side and waits for the end.
    pub(crate) async fn leave(mut self) -> stdio::End {
        drop(self.write.take());
        drop(self.read);
        drop(self.door);
        timeout(PATIENCE, self.serving).await.unwrap().unwrap()
    }
}

/// The server's side, played by the test.
pub(crate) struct Played {
    read: BufReader<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
}

impl Played {
    pub(crate) fn new(stream: DuplexStream) -> Self {
        let (read, write) = split(stream);
        Self { read: BufReader::new(read), write }
    }

    /// The next line, as it was sent.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.read.read_line(&mut line)).await.expect("a line in time").unwrap();
        assert!(read > 0, "the door closed the server's side");
        line.trim_end_matches('\n').to_owned()
    }

    pub(crate) async fn next(&mut self) -> Value {
        serde_json::from_str(&self.line().await).unwrap()
    }

    /// Whether nothing comes within a moment.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(150), self.read.fill_buf()).await.is_err()
    }

    /// Everything that comes until the door closes.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        timeout(PATIENCE, self.read.read_to_end(&mut rest)).await.unwrap().unwrap();
        rest
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.write.write_all(bytes).await.unwrap();
        self.write.write_all(b"\n").await.unwrap();
    }

    /// Answers `question` with this result.
    pub(crate) async fn answer(&mut self, question: &Value, result: Value) {
        self.send(&json!({"jsonrpc": "2.0", "id": question["id"], "result": result}).to_string()).await;
    }

    /// Expects a request of `method` and answers it.
    pub(crate) async fn serve(&mut self, method: &str, result: Value) -> Value {
        let question = self.next().await;
        assert_eq!(question["method"], method, "{question}");
        self.answer(&question, result).await;
        question
    }

    /// Expects the door's own listing and answers with one tool for each name.
    pub(crate) async fn list(&mut self, names: &[&str]) {
        let tools: Vec<Value> = names.iter().map(|name| tool(name)).collect();
        self.serve("tools/list", json!({"tools": tools})).await;
    }
}

pub(crate) fn tool(name: &str) -> Value {
    json!({"name": name, "description": format!("does {name}"), "inputSchema": {"type": "object"}})
}

pub(crate) fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

/// The error's code and text of an answer.
pub(crate) fn error(answer: &Value) -> (i64, String) {
    let code = answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("not an error: {answer}"));
    (code, answer["error"]["message"].as_str().unwrap_or_default().to_owned())
}
