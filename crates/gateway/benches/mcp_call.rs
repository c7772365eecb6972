//! What a tool call over HTTP costs: CPU and latency of one connection, directly to a listener that
//! answers at once, and through a door with policy, schema check and record to a child process.
//!
//! `cargo bench -p cordon-gateway --bench mcp_call [-- CALLS]`. The ledger is in memory, so the
//! figure is without `fsync`; the two are measured in turns in one run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a bench that cannot go on ends"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cordon_core::{Chain, Principal, PrincipalKind};
use cordon_gateway::mcp::http::{BoxBody, HttpOptions, Service};
use cordon_gateway::mcp::{Command, ServerOptions, UpstreamOptions};
use cordon_gateway::{Caller, CallerRole};
use cordon_guard::policy::{PolicySet, PolicySource};
use cordon_guard::{ActivePolicies, Approvers, Guard, GuardLimits};
use cordon_testkit::TestPorts;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hello"}]}}"#;
const TOOLS: &str = r#"[[tools]]
tool = "echo/echo"
classes = ["data.read"]
effect = "read"
limits = { rate_per_min = 1000000 }
input_schema = '''{ "type": "object", "properties": { "text": { "type": "string" } }, "required": ["text"] }'''
"#;
const PERMIT: &str = r#"@id("server") permit (principal, action, resource == Server::"echo");
@id("echo") permit (principal, action == Action::"echo/echo", resource) when { context.args.text like "h*" };
@id("no-bomb") forbid (principal, action == Action::"echo/echo", resource) when { context.args.text like "*bomb*" };"#;

fn main() {
    let calls = std::env::args().filter_map(|text| text.parse().ok()).next().unwrap_or(20_000u32);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(calls));
}

async fn run(calls: u32) {
    let direct = listen(|_| async { respond(ANSWER.as_bytes().to_vec()) }).await;
    let service = service();
    let through = listen(move |request| {
        let service = service.clone();
        async move { service.handle(request, caller()).await }
    })
    .await;
    let mut direct = Connection::open(direct, "/").await;
    let mut through = Connection::open(through, "/mcp/echo").await;
    through.hello().await;
    println!("{calls} calls a round; CPU is of this process: client, listener and door, not the child");
    let mut best = [f64::MAX; 2];
    for round in 0..5 {
        let mut line = format!("round {round}");
        for (n, (name, connection)) in
            [("direct", &mut direct), ("through", &mut through)].into_iter().enumerate()
        {
            let (cpu, median) = connection.measure(calls).await;
            best[n] = best[n].min(cpu);
            line.push_str(&format!("  {name}: {cpu:.1} us CPU, p50 {:.1} us", median.as_secs_f64() * 1e6));
        }
        println!("{line}");
    }
    println!("added CPU per call, best of 5: {:.1} us", best[1] - best[0]);
}

fn service() -> Service {
    let mut source = PolicySource::new();
    source.insert("permissions/bench.cedar", PERMIT);
    source.insert("tools/bench.toml", TOOLS);
    let compiled = PolicySet::compile(&source).unwrap_or_else(|found| panic!("{found:?}"));
    let policies = ActivePolicies { set: compiled.policies, epoch: None, signed: false };
    let guard = Guard::new(ports(), policies, Approvers::default(), GuardLimits::default());
    let program = std::env::current_exe().unwrap();
    let examples = program.ancestors().nth(2).unwrap().join("examples/mcp_fixture");
    let command = Command { program: examples.into(), args: vec!["echo".into()], ..Command::default() };
    let options = ServerOptions::new("echo", UpstreamOptions::Stdio(command)).unwrap();
    Service::new(guard, vec![options], HttpOptions::default()).unwrap()
}

/// Ports in memory whose ledger keeps nothing.
fn ports() -> cordon_guard::Ports {
    cordon_guard::Ports { ledger: Arc::new(Forgetful), ..TestPorts::new().ports() }
}

struct Forgetful;

impl cordon_guard::ports::Ledger for Forgetful {
    fn append(
        &self,
        draft: cordon_ledger::Draft,
        level: cordon_ledger::Level,
    ) -> cordon_guard::ports::PortFuture<Result<cordon_ledger::Receipt, cordon_guard::ports::LedgerDown>>
    {
        let receipt = cordon_ledger::Receipt { id: draft.id(), level, index: Some(0) };
        Box::pin(std::future::ready(Ok(receipt)))
    }
}

fn caller() -> Caller {
    let owner = Principal::new(PrincipalKind::User, "omar");
    let agent = Principal::new(PrincipalKind::Agent, "assistant");
    let chain = Chain::new(Some(owner.clone()), Some(agent), Some(owner)).unwrap();
    Caller {
        role: CallerRole::Agent,
        chain,
        tenant: "default".into(),
        scopes: Default::default(),
        assurance: cordon_core::Assurance::Credential,
        capability: None,
    }
}

fn respond(bytes: Vec<u8>) -> Response<BoxBody> {
    let body = BoxBody::new(Full::new(Bytes::from(bytes)));
    Response::builder().header("content-type", "application/json").body(body).unwrap()
}

async fn listen<F, R>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<BoxBody>> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let answer = answer.clone();
            let service = service_fn(move |request| {
                let answer = answer.clone();
                async move { Ok::<_, Infallible>(answer(request).await) }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    address
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    path: &'static str,
    session: Option<String>,
}

impl Connection {
    async fn open(address: SocketAddr, path: &'static str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, path, session: None }
    }

    async fn hello(&mut self) {
        let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
        let response = self.send(hello).await;
        let session = response.headers().get("mcp-session-id").unwrap().to_str().unwrap().to_owned();
        response.into_body().collect().await.unwrap();
        self.session = Some(session);
    }

    async fn send(&mut self, body: &'static str) -> Response<Incoming> {
        let mut request = Request::post(self.path)
            .header("host", "127.0.0.1")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        let request = request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap();
        self.sender.ready().await.unwrap();
        self.sender.send_request(request).await.unwrap()
    }

    async fn measure(&mut self, calls: u32) -> (f64, Duration) {
        let mut times = Vec::with_capacity(calls as usize);
        let before = cpu();
        for _ in 0..calls {
            let start = Instant::now();
            let response = self.send(CALL).await;
            let body = response.into_body().collect().await.unwrap().to_bytes();
            times.push(start.elapsed());
            assert!(body.ends_with(b"}]}}"), "{}", String::from_utf8_lossy(&body));
        }
        let used = cpu().saturating_sub(before);
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        (used.as_secs_f64() * 1e6 / f64::from(calls), median)
    }
}

/// CPU time that this process has used.
fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
