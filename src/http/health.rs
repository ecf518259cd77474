//! `/livez`, `/readyz`, `/metrics`: for machines that watch; no token, and no word about clients or statements.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::control::Control;
use crate::telemetry;

/// The process answers.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Clients can be served; otherwise 503 with each reason. Sinks are shown, and make no difference to that.
pub(super) async fn ready(State(control): State<Control>) -> Response {
    let reasons = control.complaints().await;
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut answer = json!({"ready": reasons.is_empty(), "reasons": reasons});
    let sinks = control.sinks();
    if let (Some(fields), false) = (answer.as_object_mut(), sinks.is_empty()) {
        fields.insert("sinks".to_owned(), json!(sinks));
    }
    (status, Json(answer)).into_response()
}

/// Prometheus's text form.
pub(super) async fn metrics() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::render()).into_response()
}
