//! The HTTP API, metrics and health: the contract of `/api/v1`, rendered over [`Control`].
//!
//! Every route of the API wants a Bearer token; a GET never decides, whatever it carries. Bodies, times and pages are
//! bounded. Must not: reach into session or approvals directly, or say in an answer what an operator may not read.
//! Start reading at [`router`].

mod attempts;
mod bearer;
mod console;
mod events;
mod extract;
mod feed;
mod health;
mod holds;
mod idempotent;
mod notices;
mod openapi;
mod problem;
mod requests;
mod site;
mod slack;
mod stream;
mod tags;

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};

pub use console::oidc::{OidcOptions, Provider, ProviderError};
pub use problem::Problem;
pub use requests::SQL_MAX;
pub use site::{Site, SiteOptions};
pub use slack::{Desk, SlackDoor};

use crate::control::Control;

/// The longest body that is read, bytes.
const BODY_MAX: usize = 64 * 1024;
/// The longest that an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// All routes with the usual settings, to be served by `axum::serve`.
pub fn router(control: Control) -> Router {
    Site::new(control, SiteOptions::default()).router()
}

impl Site {
    /// All routes, to be served by `axum::serve`.
    pub fn router(self) -> Router {
        endpoints()
            .into_iter()
            .chain(console::routes())
            .fold(Router::new(), |router, (path, handlers)| router.route(path, handlers))
            .fallback(async || Problem::not_found("There is no such resource."))
            .method_not_allowed_fallback(async || Problem::method_not_allowed())
            .layer(DefaultBodyLimit::max(BODY_MAX))
            .layer(middleware::from_fn(within_time))
            .layer(middleware::from_fn(guarded))
            .with_state(self)
    }
}

/// The API and what machines watch; each path stands in the document of the API.
fn endpoints() -> Vec<(&'static str, MethodRouter<Site>)> {
    vec![
        ("/api/v1/holds", get(holds::list)),
        ("/api/v1/holds/stream", get(stream::stream)),
        ("/api/v1/holds/{id}", get(holds::show)),
        ("/api/v1/holds/{id}/decision", post(holds::decide)),
        ("/api/v1/requests", post(requests::create).layer(DefaultBodyLimit::max(requests::BODY_MAX))),
        ("/api/v1/events", get(events::query)),
        ("/api/v1/tags", get(tags::list)),
        ("/api/v1/tags/{id}/review", post(tags::review)),
        ("/api/v1/notices", get(notices::dead)),
        ("/api/v1/notices/{id}/retry", post(notices::retry)),
        ("/api/v1/slack/interactions", post(slack::take).layer(DefaultBodyLimit::max(slack::BODY_MAX))),
        ("/api/v1/openapi.json", get(openapi::serve)),
        ("/livez", get(health::live)),
        ("/readyz", get(health::ready)),
        ("/metrics", get(health::metrics)),
    ]
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
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
