//! MCP over HTTP, both sides: a listener in front of a listener in front of a real child.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use cordon_gateway::mcp::http::{HttpOptions, Service};
use cordon_gateway::mcp::{Credential, Endpoint, ServerOptions, UpstreamOptions};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{ALL, World, caller, error, fixture};

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// A service in front of the office as a child.
pub(crate) fn office(world: &World) -> Service {
    let options = ServerOptions::new("office", UpstreamOptions::Stdio(fixture("office"))).unwrap();
    Service::new(world.guard.clone(), vec![options], HttpOptions::default()).unwrap()
}

/// A service in front of a listener at `address`.
fn remote(world: &World, address: SocketAddr) -> Service {
    let credential = Credential::bearer("upstream-secret").unwrap();
    let endpoint = Endpoint::new(&format!("http://{address}/mcp/office"), Some(credential)).unwrap();
    let options = ServerOptions::new("far", UpstreamOptions::Http(endpoint)).unwrap();
    Service::new(world.guard.clone(), vec![options], HttpOptions::default()).unwrap()
}

/// Serves anything over real HTTP.
pub(crate) async fn listen<F, R>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<cordon_gateway::mcp::http::BoxBody>> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
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

pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) session: Option<String>,
    pub(crate) kind: String,
    pub(crate) body: Value,
    pub(crate) events: Vec<Value>,
}

/// Sends one request to a service, as the agent `agent`.
pub(crate) async fn send(service: &Service, agent: &str, request: Request<Full<Bytes>>) -> Answered {
    let response = service.handle(request, caller("omar", agent)).await;
    let status = response.status();
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (session, kind) = (header("mcp-session-id"), header("content-type").unwrap_or_default());
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&bytes).unwrap();
    let events = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    Answered { status, session, kind, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null), events }
}

pub(crate) fn post(path: &str, headers: &[(&str, &str)], body: &Value) -> Request<Full<Bytes>> {
    post_bytes(path, headers, body.to_string().into_bytes())
}

fn post_bytes(path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Request<Full<Bytes>> {
    let mut builder = Request::post(path)
        .header("host", "127.0.0.1:7070")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::new(body.into())).unwrap()
}

fn other(method: Method, path: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut builder = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1")
        .header("accept", "text/event-stream");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::default()).unwrap()
}

pub(crate) fn initialize() -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}})
}

fn modern(id: i64, method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({VERSION: "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn modern_headers<'a>(method: &'a str, name: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut headers = vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
    if !name.is_empty() {
        headers.push(("mcp-name", name));
    }
    headers
}

async fn walk_legacy(service: &Service, path: &str) {
    let hello = send(service, "a", post(path, &[], &initialize())).await;
    assert_eq!(hello.status, 200, "{}", hello.body);
    let session = hello.session.expect("a session");
    let headers = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", "2025-11-25")];
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(send(service, "a", post(path, &headers, &ready)).await.status, 202);
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read_file", "arguments": {"path": "notes.txt"}}});
    let answer = send(service, "a", post(path, &headers, &call)).await;
    assert!(
        answer.body["result"]["content"][0]["text"].as_str().unwrap().contains("Monday"),
        "{}",
        answer.body
    );
    // The session is this caller's and this path's.
    assert_eq!(send(service, "b", post(path, &headers, &call)).await.status, 404);
    assert_eq!(send(service, "a", post(path, &[], &call)).await.status, 400);
    assert_eq!(send(service, "b", other(Method::DELETE, path, &headers)).await.status, 404);
    assert_eq!(send(service, "a", other(Method::DELETE, path, &headers)).await.status, 200);
    assert_eq!(send(service, "a", post(path, &headers, &call)).await.status, 404);
}

async fn walk_modern(service: &Service, path: &str) {
    let discover =
        post(path, &modern_headers("server/discover", ""), &modern(1, "server/discover", json!({})));
    let discovered = send(service, "a", discover).await;
    assert_eq!(discovered.body["result"]["supportedVersions"], json!(["2026-07-28"]), "{}", discovered.body);
    let call = modern(7, "tools/call", json!({"name": "read_mail", "arguments": {"id": "m2"}}));
    let answer = send(service, "a", post(path, &modern_headers("tools/call", "read_mail"), &call)).await;
    assert_eq!(
        (answer.status, answer.kind.as_str()),
        (StatusCode::OK, "application/json"),
        "{}",
        answer.body
    );
    assert_eq!(answer.body["id"], 7);
    assert!(answer.body["result"]["content"][0]["text"].as_str().unwrap().contains("Invoice 17"));
}

#[tokio::test]
async fn a_child_is_reached_in_both_eras() {
    let world = World::new(ALL, "");
    let service = office(&world);
    walk_legacy(&service, "/mcp/office").await;
    walk_modern(&service, "/mcp/office").await;
    service.close().await;
}

#[tokio::test]
async fn a_server_over_http_is_reached_in_both_eras_with_cordons_own_credential() {
    let (near, far) = (World::new(ALL, ""), World::new(ALL, ""));
    let behind = office(&far);
    let address = listen(move |request: Request<Incoming>| {
        let behind = behind.clone();
        async move {
            assert_eq!(request.headers().get("authorization").unwrap(), "Bearer upstream-secret");
            behind.handle(request, caller("far", "cordon")).await
        }
    })
    .await;
    let service = remote(&near, address);
    walk_legacy(&service, "/mcp/far").await;
    walk_modern(&service, "/mcp/far").await;
}

#[tokio::test]
async fn two_clients_of_one_caller_may_use_the_same_ids_at_once() {
    let world = World::new(ALL, "");
    let service = office(&world);
    let call = |mail: &str| {
        let call = modern(1, "tools/call", json!({"name": "read_mail", "arguments": {"id": mail}}));
        post("/mcp/office", &modern_headers("tools/call", "read_mail"), &call)
    };
    let (a, b) = tokio::join!(send(&service, "a", call("m1")), send(&service, "a", call("m2")));
    assert!(a.body["result"]["content"][0]["text"].as_str().unwrap().contains("Paper"), "{}", a.body);
    assert!(b.body["result"]["content"][0]["text"].as_str().unwrap().contains("Invoice"), "{}", b.body);
}

#[tokio::test]
async fn a_page_of_another_origin_or_name_is_refused() {
    let world = World::new(ALL, "");
    let service = office(&world);
    for (headers, status) in [
        (vec![("origin", "http://localhost:3000")], 200),
        (vec![("origin", "http://evil.example")], 403),
        (vec![("origin", "null")], 403),
        (vec![("origin", "http://localhost"), ("origin", "http://evil.example")], 403),
        (vec![("host", "evil.example")], 403),
    ] {
        let answer = send(&service, "a", post("/mcp/office", &headers, &initialize())).await;
        assert_eq!(answer.status, status, "{headers:?}");
    }
    let rebound =
        Request::post("/mcp/office").header("host", "evil.example:7070").body(Full::default()).unwrap();
    assert_eq!(send(&service, "a", rebound).await.status, 403);
}

#[tokio::test]
async fn what_a_modern_request_says_twice_must_agree() {
    let world = World::new(ALL, "");
    let service = office(&world);
    let call = modern(3, "tools/call", json!({"name": "read_mail", "arguments": {"id": "m1"}}));
    let good = modern_headers("tools/call", "read_mail");
    let changed = |at: usize, value: &'static str| {
        let mut headers = good.clone();
        headers[at].1 = value;
        headers
    };
    for (what, headers, code) in [
        ("another tool", changed(2, "pay"), -32020),
        ("another method", changed(1, "tools/list"), -32020),
        ("another version", changed(0, "2025-11-25"), -32020),
        ("no name", good[..2].to_vec(), -32020),
        ("no method", vec![good[0], good[2]], -32020),
        ("no version", good[1..].to_vec(), -32020),
    ] {
        let answer = send(&service, "a", post("/mcp/office", &headers, &call)).await;
        assert_eq!((answer.status.as_u16(), error(&answer.body).0), (400, code), "{what}: {}", answer.body);
        assert_eq!(answer.body["id"], 3, "{what}");
    }
    let mut unknown = call.clone();
    unknown["params"]["_meta"][VERSION] = json!("2099-01-01");
    let answer = send(&service, "a", post("/mcp/office", &changed(0, "2099-01-01"), &unknown)).await;
    assert_eq!((answer.status.as_u16(), error(&answer.body).0), (400, -32022));
    assert_eq!(answer.body["error"]["data"], json!({"supported": ["2026-07-28"], "requested": "2099-01-01"}));
    let mut bare = call.clone();
    bare["params"]["_meta"].as_object_mut().unwrap().remove(VERSION);
    let answer = send(&service, "a", post("/mcp/office", &good, &bare)).await;
    assert_eq!((answer.status.as_u16(), error(&answer.body).0), (400, -32602));
    for method in ["initialize", "ping", "resources/subscribe", "unknown/method"] {
        let answer = send(
            &service,
            "a",
            post("/mcp/office", &modern_headers(method, ""), &modern(1, method, json!({}))),
        )
        .await;
        assert_eq!(
            (answer.status.as_u16(), error(&answer.body).0),
            (404, -32601),
            "{method}: {}",
            answer.body
        );
    }
    assert!(send(&service, "a", post("/mcp/office", &good, &call)).await.body.get("result").is_some());
}

#[tokio::test]
async fn the_transport_has_its_own_rules() {
    let world = World::new(ALL, "");
    let service = office(&world);
    let path = "/mcp/office";
    assert_eq!(send(&service, "a", post("/mcp/nobody", &[], &initialize())).await.status, 404);
    assert_eq!(send(&service, "a", post("/mcp/office/x", &[], &initialize())).await.status, 404);
    assert_eq!(send(&service, "a", other(Method::GET, path, &[])).await.status, 405);
    assert_eq!(send(&service, "a", other(Method::DELETE, path, &[])).await.status, 405);
    assert_eq!(send(&service, "a", other(Method::PUT, path, &[])).await.status, 405);
    assert_eq!(
        send(&service, "a", other(Method::GET, path, &[("mcp-session-id", "guess")])).await.status,
        404
    );
    let mut request = post(path, &[], &initialize());
    request.headers_mut().insert("accept", "application/json".parse().unwrap());
    assert_eq!(send(&service, "a", request).await.status, 406);
    let mut request = post(path, &[], &initialize());
    request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(send(&service, "a", request).await.status, 415);
    let batch = post(path, &[], &json!([initialize()]));
    assert_eq!(send(&service, "a", batch).await.status, 400);
    let twice = post_bytes(path, &[], br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#.to_vec());
    assert_eq!(send(&service, "a", twice).await.status, 400);
    let huge = post_bytes(path, &[], vec![b' '; (4 << 20) + 1]);
    assert_eq!(send(&service, "a", huge).await.status, 413);
    let hello = send(&service, "a", post(path, &[], &initialize())).await;
    let session = hello.session.unwrap();
    let resume = [("mcp-session-id", session.as_str()), ("last-event-id", "7")];
    assert_eq!(send(&service, "a", other(Method::GET, path, &resume)).await.status, 400);
    let old = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", "1999-01-01")];
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(send(&service, "a", post(path, &old, &ping)).await.status, 400);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_a_foreign_answer_not_believed() {
    let world = World::new(ALL, "");
    for (status, kind, body) in [
        (307, "application/json", "{}"),
        (200, "text/html", "<html>"),
        (200, "application/json", r#"{"jsonrpc":"2.0","id":99,"result":{}}"#),
        (200, "application/json", r#"{"jsonrpc":"2.0","id":0,"id":0,"result":{}}"#),
        (401, "application/json", r#"{"error":"token"}"#),
        (500, "application/json", r#"{"jsonrpc":"2.0","id":0,"result":{}}"#),
    ] {
        let address = listen(move |_| async move {
            let body =
                cordon_gateway::mcp::http::BoxBody::new(Full::new(Bytes::from_static(body.as_bytes())));
            Response::builder()
                .status(status)
                .header("content-type", kind)
                .header("location", "http://evil.example/")
                .body(body)
                .unwrap()
        })
        .await;
        let service = remote(&world, address);
        let answer = send(&service, "a", post("/mcp/far", &[], &initialize())).await;
        assert_eq!(error(&answer.body).0, -31502, "{status} {kind} {body}: {}", answer.body);
        assert!(answer.session.is_none());
    }
}

#[tokio::test]
async fn a_stream_from_the_server_becomes_a_stream_to_the_client() {
    let world = World::new(ALL, "");
    let address = listen(|request: Request<Incoming>| async move {
        let message: Value = serde_json::from_slice(&request.into_body().collect().await.unwrap().to_bytes()).unwrap();
        let id = &message["id"];
        let (kind, body) = match message["method"].as_str().unwrap() {
            "tools/list" => ("application/json", json!({"jsonrpc": "2.0", "id": id, "result": {"resultType": "complete", "tools": [crate::support::tool("t")]}}).to_string()),
            _ => {
                let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "p", "progress": 1}});
                let foreign = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "q", "progress": 1}});
                let asked = json!({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage"});
                let answer = json!({"jsonrpc": "2.0", "id": id, "result": {"resultType": "complete", "content": []}});
                ("text/event-stream", format!(": hi\n\nid: 1\ndata:\n\ndata: {progress}\n\ndata: {foreign}\r\n\r\ndata: {asked}\n\nevent: message\ndata: {answer}\n\n"))
            }
        };
        let body = cordon_gateway::mcp::http::BoxBody::new(Full::new(Bytes::from(body)));
        Response::builder().header("content-type", kind).body(body).unwrap()
    })
    .await;
    let service = remote(&world, address);
    let mut call = modern(5, "tools/call", json!({"name": "t", "arguments": {}}));
    call["params"]["_meta"]["progressToken"] = json!("p");
    let answer = send(&service, "a", post("/mcp/far", &modern_headers("tools/call", "t"), &call)).await;
    assert_eq!(answer.kind, "text/event-stream");
    assert_eq!(answer.events.len(), 2, "{:?}", answer.events);
    assert_eq!(answer.events[0]["params"]["progressToken"], "p");
    assert_eq!(answer.events[1]["id"], 5);
}

#[tokio::test]
async fn a_client_that_goes_away_closes_the_modern_stream_to_the_server() {
    struct Told(Option<tokio::sync::oneshot::Sender<()>>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.take().unwrap().send(());
        }
    }
    let world = World::new(ALL, "");
    let (sender, dropped) = tokio::sync::oneshot::channel();
    let told = std::sync::Arc::new(std::sync::Mutex::new(Some(Told(Some(sender)))));
    let (reached, began) = tokio::sync::mpsc::channel(1);
    let address = listen(move |request: Request<Incoming>| {
        let (told, reached) = (told.clone(), reached.clone());
        async move {
            let message: Value = serde_json::from_slice(&request.into_body().collect().await.unwrap().to_bytes()).unwrap();
            if message["method"] == "tools/call" {
                let _told = told.lock().unwrap().take();
                reached.send(()).await.unwrap();
                std::future::pending::<()>().await;
            }
            let list = json!({"jsonrpc": "2.0", "id": message["id"], "result": {"resultType": "complete", "tools": [crate::support::tool("t")]}});
            let body = cordon_gateway::mcp::http::BoxBody::new(Full::new(Bytes::from(list.to_string())));
            Response::builder().header("content-type", "application/json").body(body).unwrap()
        }
    })
    .await;
    let service = remote(&world, address);
    let call = modern(5, "tools/call", json!({"name": "t", "arguments": {}}));
    let request = post("/mcp/far", &modern_headers("tools/call", "t"), &call);
    let calling = tokio::spawn(async move { service.handle(request, caller("omar", "a")).await.status() });
    let mut began = began;
    began.recv().await.unwrap();
    calling.abort();
    tokio::time::timeout(crate::support::PATIENCE, dropped).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_belongs_to_no_request_comes_on_the_legacy_stream() {
    let world = World::new(ALL, "");
    let (news, queue) = tokio::sync::mpsc::channel::<Bytes>(4);
    let queue = std::sync::Arc::new(std::sync::Mutex::new(Some(queue)));
    let address = listen(move |request: Request<Incoming>| {
        let queue = queue.clone();
        async move {
            if request.method() == Method::GET {
                let mut queue = queue.lock().unwrap().take().unwrap();
                let stream = futures_body(move |context| queue.poll_recv(context));
                return Response::builder().header("content-type", "text/event-stream").body(stream).unwrap();
            }
            let message: Value = serde_json::from_slice(&request.into_body().collect().await.unwrap().to_bytes()).unwrap();
            let hello = json!({"jsonrpc": "2.0", "id": message["id"], "result": {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}});
            let body = cordon_gateway::mcp::http::BoxBody::new(Full::new(Bytes::from(hello.to_string())));
            Response::builder().header("content-type", "application/json").header("mcp-session-id", "upstream").body(body).unwrap()
        }
    })
    .await;
    let service = remote(&world, address);
    let session = send(&service, "a", post("/mcp/far", &[], &initialize())).await.session.unwrap();
    assert_ne!(session, "upstream", "a client never learns the server's own session");
    let open = other(Method::GET, "/mcp/far", &[("mcp-session-id", session.as_str())]);
    let response = service.handle(open, caller("omar", "a")).await;
    assert_eq!(
        (response.status().as_u16(), response.headers().get("x-accel-buffering").unwrap().to_str().unwrap()),
        (200, "no")
    );
    let mut body = response.into_body();
    let event =
        |method: &str| Bytes::from(format!("data: {{\"jsonrpc\":\"2.0\",\"method\":\"{method}\"}}\n\n"));
    news.send(event("notifications/unheard-of")).await.unwrap();
    news.send(event("notifications/resources/list_changed")).await.unwrap();
    let frame = tokio::time::timeout(crate::support::PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
    let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
    assert_eq!(text, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/resources/list_changed\"}\n\n");
}

/// A body that gives what `poll` gives.
fn futures_body(
    poll: impl FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<Bytes>> + Send + Unpin + 'static,
) -> cordon_gateway::mcp::http::BoxBody {
    struct Polled<F>(F);
    impl<F> hyper::body::Body for Polled<F>
    where
        F: FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<Bytes>> + Unpin,
    {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
            (self.0)(context).map(|next| next.map(|bytes| Ok(hyper::body::Frame::data(bytes))))
        }
    }
    cordon_gateway::mcp::http::BoxBody::new(Polled(poll))
}

#[tokio::test]
async fn a_server_that_never_begins_to_answer_is_given_up_and_told() {
    let tools = "[[tools]]\ntool = \"far/t\"\neffect = \"read\"\nclasses = [\"data.read\"]\nlimits = { timeout_ms = 100 }\n";
    let world = World::with(ALL, "", tools, cordon_guard::Approvers::default());
    let (told, mut heard) = tokio::sync::mpsc::channel::<Value>(8);
    let address = listen(move |request: Request<Incoming>| {
        let told = told.clone();
        async move {
            let message: Value =
                serde_json::from_slice(&request.into_body().collect().await.unwrap().to_bytes()).unwrap();
            let method = message["method"].as_str().unwrap().to_owned();
            told.send(message.clone()).await.unwrap();
            let result = match method.as_str() {
                "tools/call" => std::future::pending().await,
                "tools/list" => json!({"tools": [crate::support::tool("t")]}),
                _ => json!({"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}),
            };
            let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
            let body = cordon_gateway::mcp::http::BoxBody::new(Full::new(Bytes::from(answer.to_string())));
            Response::builder().header("content-type", "application/json").body(body).unwrap()
        }
    })
    .await;
    let service = remote(&world, address);
    let session = send(&service, "a", post("/mcp/far", &[], &initialize())).await.session.unwrap();
    let headers = [("mcp-session-id", session.as_str())];
    let call =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "t", "arguments": {}}});
    let answer = send(&service, "a", post("/mcp/far", &headers, &call)).await;
    assert!(error(&answer.body).1.contains("within 100 ms"), "{}", answer.body);
    let cancelled = tokio::time::timeout(crate::support::PATIENCE, async {
        loop {
            let message = heard.recv().await.unwrap();
            if message["method"] == "notifications/cancelled" {
                return message;
            }
        }
    });
    assert_eq!(cancelled.await.unwrap()["params"]["requestId"], 1);
}
