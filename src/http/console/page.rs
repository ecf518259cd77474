//! A rendered page with its headers.

use askama::Template;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::http::Problem;

/// Nothing but our own style sheet and our own forms: no script at all, no frame, no foreign address.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// Renders a page.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    let Ok(html) = template.render() else {
        return Problem::unavailable("The page could not be rendered.").into_response();
    };
    let mut response = (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not no-referrer: with it a browser does not say either where a form comes from.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "interest-cohort=(), camera=(), microphone=(), geolocation=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A page that says one thing.
#[derive(Template)]
#[template(path = "message.html")]
pub(super) struct Message<'a> {
    pub(super) title: &'a str,
    pub(super) text: &'a str,
    /// Where it leads by itself.
    pub(super) onward: Option<&'a str>,
}

/// A page that says one thing, and leads to the list.
pub(super) fn message(status: StatusCode, title: &str, text: &str) -> Response {
    page(status, &Message { title, text, onward: None })
}

/// A refusal as a page.
pub(super) fn refusal(problem: &Problem) -> Response {
    let (title, detail) = problem.words();
    message(problem.status(), title, detail)
}

/// Leads on by a page of ours. What another site led to us is sent without the session's cookie; what our own page leads
/// to is sent with it.
pub(super) fn onward(to: &str) -> Response {
    page(StatusCode::OK, &Message { title: "One moment", text: "This page leads on by itself.", onward: Some(to) })
}
