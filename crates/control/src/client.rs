//! The API from the other side: the same routes, typed, over the owner's socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use cordon_core::ApprovalId;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::view::{
    AnsweredView, ApprovalView, BallotView, ClosedView, ConsoleView, ContainView, EntryView, KeysView,
    KillBundleView, KillOrderView, KillView, KillsLoadedView, LedgerView, LiftView, LiftedView, NarrowedView,
    PolicyView, PostureView, RotatedView, SessionView, StatusView, ToolApproval, ToolShown, ToolView,
};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A client of the process that owns a data directory.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// The owner did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("no owner answers on `{}`", socket.display())]
    NoOwner {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The owner did not answer in time.
    #[error("the owner did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// The connection broke.
    #[error("the connection to the owner broke: {0}")]
    Broken(String),
    /// The owner refused.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The stable code.
        code: String,
        /// Why.
        message: String,
    },
}

type Result<T> = std::result::Result<T, ClientError>;

impl Client {
    /// A client of the owner that listens on `socket`; nothing is connected yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// How the node is.
    pub async fn status(&self) -> Result<StatusView> {
        self.get("/v1/status").await
    }

    /// The policies in force.
    pub async fn policy(&self) -> Result<PolicyView> {
        self.get("/v1/policy").await
    }

    /// Loads the policy bundle again.
    pub async fn reload(&self) -> Result<PolicyView> {
        self.post("/v1/policy/reload", &()).await
    }

    /// The trusted keys.
    pub async fn keys(&self) -> Result<KeysView> {
        self.get("/v1/keys").await
    }

    /// Puts a new key in the place of the log's.
    pub async fn rotate(&self) -> Result<RotatedView> {
        self.post("/v1/keys/rotate", &()).await
    }

    /// A link that opens the console once.
    pub async fn console(&self) -> Result<ConsoleView> {
        self.post("/v1/console", &()).await
    }

    /// The end of the ledger.
    pub async fn ledger(&self) -> Result<LedgerView> {
        self.get("/v1/ledger").await
    }

    /// The newest held calls.
    pub async fn approvals(&self) -> Result<Vec<ApprovalView>> {
        self.get("/v1/approvals").await
    }

    /// One held call.
    pub async fn approval(&self, id: ApprovalId) -> Result<ApprovalView> {
        self.get(&format!("/v1/approvals/{id}")).await
    }

    /// Answers a held call.
    pub async fn answer(&self, id: ApprovalId, ballot: &BallotView) -> Result<AnsweredView> {
        self.post(&format!("/v1/approvals/{id}/answer"), ballot).await
    }

    /// The newest sessions.
    pub async fn sessions(&self) -> Result<Vec<SessionView>> {
        self.get("/v1/sessions").await
    }

    /// One session.
    pub async fn session(&self, id: cordon_core::SessionId) -> Result<SessionView> {
        self.get(&format!("/v1/sessions/{id}")).await
    }

    /// Closes a session.
    pub async fn close_session(&self, id: cordon_core::SessionId) -> Result<ClosedView> {
        let (status, body) = self.send(Method::DELETE, &format!("/v1/sessions/{id}"), Vec::new()).await?;
        read(status, &body)
    }

    /// Takes something from a session.
    pub async fn contain(
        &self,
        id: cordon_core::SessionId,
        what: &ContainView,
    ) -> Result<NarrowedView<PostureView>> {
        self.post(&format!("/v1/sessions/{id}/contain"), what).await
    }

    /// Terminates a session.
    pub async fn kill_session(&self, id: cordon_core::SessionId) -> Result<NarrowedView<PostureView>> {
        self.post(&format!("/v1/sessions/{id}/kill"), &()).await
    }

    /// Releases a session.
    pub async fn release(
        &self,
        id: cordon_core::SessionId,
        lift: &LiftView,
    ) -> Result<LiftedView<PostureView>> {
        self.post(&format!("/v1/sessions/{id}/release"), lift).await
    }

    /// The kill switches that are on.
    pub async fn kills(&self) -> Result<Vec<KillView>> {
        self.get("/v1/kills").await
    }

    /// Turns a kill switch.
    pub async fn kill(&self, order: &KillOrderView) -> Result<NarrowedView<KillView>> {
        self.post("/v1/kills", order).await
    }

    /// Lifts a kill switch.
    pub async fn unkill(&self, id: &str, lift: &LiftView) -> Result<LiftedView<KillView>> {
        self.post(&format!("/v1/kills/{}/lift", percent(id)), lift).await
    }

    /// Puts the switches of a kill bundle in force.
    pub async fn load_kills(&self, bundle: &KillBundleView) -> Result<KillsLoadedView> {
        self.post("/v1/kills/bundle", bundle).await
    }

    /// The tools that servers listed.
    pub async fn tools(&self) -> Result<Vec<ToolView>> {
        self.get("/v1/tools").await
    }

    /// One tool with its definitions.
    pub async fn tool(&self, name: &str) -> Result<ToolShown> {
        self.get(&format!("/v1/tools/show?tool={}", percent(name))).await
    }

    /// Accepts a tool's present definition.
    pub async fn approve_tool(&self, approval: &ToolApproval) -> Result<EntryView> {
        self.post("/v1/tools/approve", approval).await
    }

    /// Asks for a decision; the HTTP status and the JSON text of the answer.
    pub async fn decide(&self, request: Vec<u8>) -> Result<(u16, Vec<u8>)> {
        let (status, body) = self.send(Method::POST, "/v1/decide", request).await?;
        Ok((status.as_u16(), body.into()))
    }

    /// Turns a connection to `path` into a stream of bytes (RFC 9110 §7.8) of this protocol.
    ///
    /// The second part is the value of the answer's `cordon-attach` header.
    pub async fn upgrade(
        &self,
        path: &str,
        protocol: &str,
        body: &impl Serialize,
    ) -> Result<(TokioIo<Upgraded>, Option<String>)> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Broken(error.to_string()))?;
        let request = request(Method::POST, path, body)?;
        let (mut parts, body) = request.into_parts();
        let value = protocol.parse().map_err(|_| ClientError::Broken("not a protocol name".to_owned()))?;
        parts.headers.insert(UPGRADE, value);
        parts.headers.insert(CONNECTION, hyper::header::HeaderValue::from_static("upgrade"));
        let response = self.exchange(Request::from_parts(parts, body)).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = response.status();
            let body = collect(response.into_body()).await?;
            return read::<()>(status, &body).and_then(|()| {
                Err(ClientError::Broken(format!("the owner answered {status} instead of upgrading")))
            });
        }
        let attach = response.headers().get("cordon-attach");
        let attach = attach.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let upgraded = hyper::upgrade::on(response).await.map_err(broken)?;
        Ok((TokioIo::new(upgraded), attach))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let (status, body) = self.send(Method::GET, path, Vec::new()).await?;
        read(status, &body)
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Broken(error.to_string()))?;
        let (status, body) = self.send(Method::POST, path, body).await?;
        read(status, &body)
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<(StatusCode, Bytes)> {
        let exchange = async {
            let response = self.exchange(request(method, path, body)?).await?;
            let status = response.status();
            Ok((status, collect(response.into_body()).await?))
        };
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| ClientError::Silent)?
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| ClientError::NoOwner { socket: self.socket.clone(), source })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await.map_err(broken)
    }
}

fn request(method: Method, path: &str, body: Vec<u8>) -> Result<Request<Full<Bytes>>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::from(body))
        .map_err(|error| ClientError::Broken(error.to_string()))
}

async fn collect(body: Incoming) -> Result<Bytes> {
    let collected = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| ClientError::Broken(error.to_string()))
}

fn read<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T> {
    if status.is_success() {
        let unreadable = |error: serde_json::Error| {
            ClientError::Broken(format!(
                "the owner's answer is not understood ({error}); is it another version?"
            ))
        };
        return serde_json::from_slice(body).map_err(unreadable);
    }
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name| json.pointer(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    Err(ClientError::Refused {
        status: status.as_u16(),
        code: text("/error/code").unwrap_or_else(|| "unknown".to_owned()),
        message: text("/error/message").unwrap_or_else(|| format!("the owner answered {status}")),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function in `map_err`")]
fn broken(error: hyper::Error) -> ClientError {
    ClientError::Broken(error.to_string())
}

/// Percent-encodes everything but unreserved characters (RFC 3986 §2.3).
pub(crate) fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_name_cannot_leave_its_parameter() {
        assert_eq!(percent("mail/send&tool=x #é"), "mail%2Fsend%26tool%3Dx%20%23%C3%A9");
    }
}
