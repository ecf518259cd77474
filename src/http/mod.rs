//! The HTTP API, metrics and health: the contract of `/api/v1`, rendered over [`Control`].
//!
//! Every route of the API wants a Bearer token; a GET never decides, whatever it carries. Bodies, times and pages are
//! bounded. Must not: reach into session or approvals directly, or say in an answer what an operator may not read.
//! Start reading at [`router`].

mod bearer;
mod events;
mod health;
mod holds;
mod problem;
mod requests;
mod tags;

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

pub use problem::Problem;

use crate::control::Control;

/// The longest body that is read, bytes.
const BODY_MAX: usize = 64 * 1024;
/// The longest that an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// All routes, to be served by `axum::serve`.
pub fn router(control: Control) -> Router {
    Router::new()
        .route("/api/v1/holds", get(holds::list))
        .route("/api/v1/holds/{id}", get(holds::show))
        .route("/api/v1/holds/{id}/decision", post(holds::decide))
        .route("/api/v1/requests", post(requests::create))
        .route("/api/v1/events", get(events::query))
        .route("/api/v1/tags", get(tags::list))
        .route("/api/v1/tags/{id}/review", post(tags::review))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(async || Problem::not_found("there is no such resource"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn(within_time))
        .layer(middleware::from_fn(guarded))
        .with_state(control)
}

async fn within_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("the answer took too long").into_response(),
    }
}

/// Headers for everything that is served: nothing is cached, framed, sniffed or run.
async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
