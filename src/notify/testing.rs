//! What tests of notices share: a hold store, a voice, and a server that remembers what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Notifier, NotifyOptions, Retry, Voice};
use crate::approvals::{Answer, Approvals, ApprovalsConfig, Hold, samples};
use crate::clock::Clock;
use crate::ids::HoldId;

/// One request that came.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Asked {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// One answer of a server.
pub(super) type Says = Box<dyn Fn(&Asked) -> Response + Send + Sync>;

/// A server whose answers a test gives, one after the other; the last one for ever.
pub(super) struct Server {
    pub(super) url: String,
    asked: mpsc::UnboundedReceiver<Asked>,
}

impl Server {
    pub(super) async fn start(answers: Vec<Says>) -> Self {
        let (sender, asked) = mpsc::unbounded_channel();
        let left = Arc::new(Mutex::new(answers));
        let app = Router::new().fallback(move |request: Request| {
            let (sender, left) = (sender.clone(), left.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
                let asked = Asked { path: parts.uri.to_string(), headers: parts.headers, body };
                let answer = {
                    let mut left = left.lock().unwrap();
                    let answer = left[0](&asked);
                    if left.len() > 1 {
                        drop(left.remove(0));
                    }
                    answer
                };
                let _ = sender.send(asked);
                answer
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, asked }
    }

    pub(super) async fn next(&mut self) -> Asked {
        tokio::time::timeout(Duration::from_secs(20), self.asked.recv()).await.expect("in time").unwrap()
    }

    pub(super) fn was_left_alone(&mut self) -> bool {
        self.asked.try_recv().is_err()
    }
}

/// An answer without a body.
pub(super) fn status(code: u16) -> Says {
    Box::new(move |_| axum::http::StatusCode::from_u16(code).unwrap().into_response())
}

/// An answer of JSON.
pub(super) fn says(value: Value) -> Says {
    Box::new(move |_| axum::Json(value.clone()).into_response())
}

/// The card as a test needs it.
pub(super) fn voice() -> Voice {
    Voice {
        contract: |hold| json!({"id": hold.id, "state": hold.state, "statement": hold.statement, "parameters": hold.parameters}),
        lines: |hold| vec![("statement", hold.statement.clone()), ("principal", hold.principal.name.clone())],
        printable: str::to_owned,
        base: "https://gate.example".to_owned(),
    }
}

/// A hold store in a fresh directory.
pub(super) struct Room {
    pub(super) dir: TempDir,
    pub(super) approvals: Approvals,
    pub(super) stop: CancellationToken,
}

/// Retries that a test does not wait for.
pub(super) const SOON: Retry =
    Retry { first: Duration::from_millis(1), most: Duration::from_millis(4), attempts_max: 3 };

impl Room {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (approvals, _) = Approvals::start(&ApprovalsConfig::new(dir.path().to_owned()), Clock::System).unwrap();
        Self { dir, approvals, stop: CancellationToken::new() }
    }

    pub(super) fn notifier(&self, options: NotifyOptions) -> Notifier {
        let options = NotifyOptions { retry: SOON, outbox_max: options.outbox_max.max(10), ..options };
        let store = (self.approvals.clone(), Clock::System);
        Notifier::start((self.dir.path(), options), store, &voice(), &self.stop).unwrap().0
    }

    pub(super) async fn park(&self, change: impl FnOnce(&mut Hold)) -> HoldId {
        let mut hold = samples::hold(samples::agent());
        let now = Clock::System.now();
        (hold.created_at, hold.expires_at) = (now, now.after(samples::EXPIRES));
        change(&mut hold);
        self.approvals.open(samples::new_hold(hold)).await.unwrap().hold().id.clone()
    }

    pub(super) async fn decide(&self, id: &HoldId, answer: Answer) -> Hold {
        self.approvals.decide(id, &samples::ada(), samples::answer(answer)).await.unwrap()
    }
}
