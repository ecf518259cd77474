//! What handlers take from a request, each with its refusal as a problem: names in paths, queries, JSON bodies.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde::de::DeserializeOwned;

use super::Problem;

/// What a program sends that says nothing of its body (curl's `-d`, for example): read as JSON all the same.
const UNSAID: &str = "application/x-www-form-urlencoded";

/// The one name in a path.
#[derive(Clone, Debug)]
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let named = Path::<String>::from_request_parts(parts, state).await;
        // A name that is no UTF-8 names nothing.
        named.map(|Path(name)| Self(name)).map_err(|_| Problem::not_found("There is no such resource."))
    }
}

/// The query string as it was written. Empty values count as absent.
#[derive(Clone, Debug)]
pub(super) struct Pairs(pub(super) Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Pairs {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let pairs = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(mut pairs) = pairs.map_err(|_| Problem::unprocessable("The query string cannot be read."))?;
        pairs.retain(|(_, value)| !value.is_empty());
        Ok(Self(pairs))
    }
}

/// A JSON body, with its bytes.
#[derive(Clone, Debug)]
pub(super) struct Body<T> {
    pub(super) value: T,
    pub(super) bytes: Bytes,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !may_be_json(request.headers()) {
            return Err(Problem::unsupported_media_type());
        }
        let bytes = bytes(request, state).await?;
        let value =
            serde_json::from_slice(&bytes).map_err(|error| Problem::unprocessable(format!("The body: {error}.")))?;
        Ok(Self { value, bytes })
    }
}

/// The body as it came, within its bound.
///
/// # Errors
/// 413, or 422 where it broke off.
pub(super) async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::too_large()
        } else {
            Problem::unprocessable("The body could not be read.")
        }
    })
}

fn may_be_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let Ok(text) = value.to_str() else { return false };
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind == UNSAID || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// A reason as a person typed it: trimmed of nothing, absent where it is blank, within its bound.
///
/// # Errors
/// 422 where it is too long.
pub(super) fn reason(reason: Option<String>) -> Result<Option<String>, Problem> {
    let reason = reason.filter(|reason| !reason.trim().is_empty());
    if reason.as_ref().is_some_and(|reason| reason.len() > REASON_MAX) {
        return Err(Problem::unprocessable(format!("The reason is over {REASON_MAX} bytes.")));
    }
    Ok(reason)
}

/// The longest reason, bytes.
pub(super) const REASON_MAX: usize = 4096;
