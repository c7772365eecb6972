//! What is recorded, as it happens, without content (Server-Sent Events).

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use http_body_util::channel::Channel;
use tokio::sync::broadcast::error::RecvError;

use super::Shared;

/// How often a silent stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn stream(State(node): Shared) -> Response {
    let mut events = node.events();
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(16);
    tokio::spawn(async move {
        loop {
            let line = match tokio::time::timeout(KEEP_ALIVE, events.recv()).await {
                Ok(Ok(event)) => {
                    let data = serde_json::to_string(&event).unwrap_or_default();
                    format!("event: {}\ndata: {data}\n\n", event.kind)
                }
                // A reader that cannot keep up is told how much it missed.
                Ok(Err(RecvError::Lagged(missed))) => format!("event: missed\ndata: {missed}\n\n"),
                Ok(Err(RecvError::Closed)) => return,
                Err(_silence) => ": alive\n\n".to_owned(),
            };
            if sender.send_data(line.into()).await.is_err() {
                return;
            }
        }
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::new(body)).into_response()
}
