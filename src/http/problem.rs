//! Answers that say no, in one form: `application/problem+json` (RFC 9457).

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::approvals::{DecideError, Hold, StoreError};
use crate::control::{EventError, card};
use crate::ids::NAME;

/// A problem. Its `type` ends in a word that programs compare; its `detail` is a sentence for people.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    hold: Option<Box<Hold>>,
    /// Seconds.
    retry_after: Option<u64>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, title, detail: detail.into(), hold: None, retry_after: None }
    }

    /// 401: no token, or one that nobody has.
    #[must_use]
    pub fn unauthorized() -> Self {
        let detail = "Send an operator's token as Authorization: Bearer.";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized", detail)
    }

    /// 429: the address has come with too many wrong tokens of late.
    #[must_use]
    pub fn too_many_attempts(wait: Duration) -> Self {
        let seconds = whole_seconds(wait);
        let detail = format!("Too many wrong tokens came from your address. Try again in {seconds} s.");
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-attempts", "Too many attempts", detail);
        Self { retry_after: Some(seconds), ..problem }
    }

    /// 401: a callback that is nobody's.
    #[must_use]
    pub fn unsigned() -> Self {
        let detail = "The signature is not of this body and of now.";
        Self::new(StatusCode::UNAUTHORIZED, "unsigned", "Unsigned", detail)
    }

    /// 404.
    #[must_use]
    pub fn not_found(detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 405.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let detail = "The resource does not take this method.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
    }

    /// 413.
    #[must_use]
    pub fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", "The body is over its bound.")
    }

    /// 415.
    #[must_use]
    pub fn unsupported_media_type() -> Self {
        let detail = "The body must be application/json.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type", detail)
    }

    /// 422: a parameter or body that cannot be read.
    #[must_use]
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", "Unprocessable", detail)
    }

    /// 503: a fault on this side.
    #[must_use]
    pub fn unavailable(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable", detail)
    }
}

impl Problem {
    /// 422: every statement of a bundle is allowed as it is.
    #[must_use]
    pub fn nothing_to_approve() -> Self {
        let detail = "No statement of it needs an approval.";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "nothing-to-approve", "Nothing to approve", detail)
    }

    /// Whether the fault is on this side, so that the same request may do better later.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.status.is_server_error()
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What it is, and what to do about it: words for people.
    #[must_use]
    pub fn words(&self) -> (&'static str, &str) {
        (self.title, &self.detail)
    }

    /// The operator's roles do not allow it.
    #[must_use]
    pub fn forbidden(detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Forbidden", detail)
    }
}

impl From<DecideError> for Problem {
    fn from(error: DecideError) -> Self {
        match error {
            DecideError::NotFound => Self::not_found("There is no such hold."),
            DecideError::SelfApproval => Self::new(
                StatusCode::FORBIDDEN,
                "self-approval",
                "Self-approval",
                "The request is your own: another person must approve it.",
            ),
            DecideError::NotAnApprover => Self::new(
                StatusCode::FORBIDDEN,
                "not-an-approver",
                "Not an approver",
                "You are in none of the groups that may decide this hold, or none of your roles decides: a viewer and a requester do not.",
            ),
            DecideError::AlreadyDecided(hold) => Self {
                hold: Some(hold.clone()),
                ..Self::new(
                    StatusCode::CONFLICT,
                    "already-decided",
                    "Already decided",
                    format!("The hold is {}.", hold.state.as_str()),
                )
            },
            DecideError::KeyReused => Self::unprocessable("The Idempotency-Key was used for another request."),
            DecideError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the hold store failed");
        Self::unavailable("The hold store failed; the proxy's diagnostics say why.")
    }
}

impl From<EventError> for Problem {
    fn from(error: EventError) -> Self {
        match error {
            EventError::Filter(why) => Self::unprocessable(why),
            EventError::Log(error) => {
                tracing::error!(%error, "the log failed");
                Self::unavailable("The log failed; the proxy's diagnostics say why.")
            }
        }
    }
}

/// No shorter than the wait.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("urn:{NAME}:problem:{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let (Some(hold), Value::Object(fields)) = (&self.hold, &mut body) {
            fields.insert("hold".to_owned(), card::contract(hold));
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
