//! The HTTP API as the command line calls it.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::{Value, json};

use super::Target;
use crate::cli::exit;
use crate::control::card::printable;
use crate::ids::NAME;
use crate::net::http_client;

/// The longest that one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(35);
/// The longest silence of a stream: the proxy says something each quarter of a minute.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Pages that a list follows at most.
const PAGES_MAX: usize = 100;

/// What a decision brought.
#[derive(Debug)]
pub(super) enum Answer {
    /// It counts; the hold as it stands now.
    Decided(Value),
    /// The hold had its outcome before.
    Conflict(Value),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum ApiError {
    #[error("{0} is no URL of a proxy")]
    Url(String),
    #[error("{url} cannot be reached: {error}")]
    Unreachable { url: String, error: String },
    #[error("the token is no operator's")]
    Unauthorized,
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Usage(String),
    #[error("the proxy answered {0}")]
    Failed(String),
    #[error(transparent)]
    Output(#[from] std::io::Error),
}

impl ApiError {
    pub(in crate::cli) fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable { .. } | Self::Unauthorized | Self::Forbidden(_) | Self::Failed(_) => exit::UNREACHABLE,
            Self::NotFound(_) => exit::NO,
            Self::Url(_) | Self::Usage(_) | Self::Output(_) => exit::USAGE,
        }
    }
}

/// One proxy, as one operator. Clones share connections.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Api {
    client: Client,
    /// Without a bound on the whole answer.
    streams: Client,
    base: Url,
    token: String,
}

impl Api {
    pub(in crate::cli) fn new(target: &Target) -> Result<Self, ApiError> {
        let base = Url::parse(&target.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && !url.cannot_be_a_base())
            .ok_or_else(|| ApiError::Url(target.url.clone()))?;
        let client = built(http_client().timeout(ANSWER_MAX))?;
        let streams = built(http_client().connect_timeout(ANSWER_MAX).read_timeout(SILENCE_MAX))?;
        Ok(Self { client, streams, base, token: target.token.clone() })
    }

    /// All holds in these states (separated by commas; empty for any), the newest first.
    pub(super) async fn list(&self, wanted: &str) -> Result<Vec<Value>, ApiError> {
        let mut holds = Vec::new();
        let mut cursor = String::new();
        for _ in 0..PAGES_MAX {
            let query = [("state", wanted), ("cursor", cursor.as_str()), ("limit", "1000")];
            let (status, mut page) = self.send(self.request(Method::GET, &["holds"], &query)?).await?;
            if status != StatusCode::OK {
                return Err(failure(status, &page));
            }
            if let Some(Value::Array(found)) = page.get_mut("holds").map(Value::take) {
                holds.extend(found);
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        Ok(holds)
    }

    /// One hold.
    pub(in crate::cli) async fn hold(&self, id: &str) -> Result<Value, ApiError> {
        let (status, hold) = self.send(self.request(Method::GET, &["holds", id], &[])?).await?;
        if status == StatusCode::OK { Ok(hold) } else { Err(failure(status, &hold)) }
    }

    /// Sends a decision.
    pub(super) async fn decide(&self, id: &str, word: &str, reason: Option<&str>) -> Result<Answer, ApiError> {
        let body = json!({"decision": word, "reason": reason});
        let request = self.request(Method::POST, &["holds", id, "decision"], &[])?.json(&body);
        let (status, mut answer) = self.send(request).await?;
        match status {
            StatusCode::OK => Ok(Answer::Decided(answer)),
            StatusCode::CONFLICT => Ok(Answer::Conflict(answer.get_mut("hold").map(Value::take).unwrap_or_default())),
            _ => Err(failure(status, &answer)),
        }
    }

    /// The stream of holds, from the step after the place that is named.
    pub(super) async fn stream(&self, after: Option<&str>) -> Result<Response, ApiError> {
        let request = self.streams.get(self.url(&["holds", "stream"])?).bearer_auth(&self.token);
        let request = after.into_iter().fold(request, |request, place| request.header("Last-Event-ID", place));
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED => Err(ApiError::Unauthorized),
            status => {
                let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
                Err(failure(status, &serde_json::from_slice(&body).unwrap_or_default()))
            }
        }
    }

    pub(super) fn unreachable(&self, error: &reqwest::Error) -> ApiError {
        ApiError::Unreachable { url: self.base.to_string(), error: root_cause(error) }
    }

    /// Asks for a bundle; `None` where no statement of it needs an approval.
    pub(in crate::cli) async fn request_bundle(&self, body: &Value) -> Result<Option<Value>, ApiError> {
        let request = self.request(Method::POST, &["requests"], &[])?.json(body);
        let (status, answer) = self.send(request).await?;
        let kind = answer.get("type").and_then(Value::as_str).unwrap_or_default();
        match status {
            StatusCode::CREATED => Ok(Some(answer)),
            _ if kind.ends_with("nothing-to-approve") => Ok(None),
            _ => Err(failure(status, &answer)),
        }
    }

    /// Derived tags in a state; empty for any.
    pub(in crate::cli) async fn tags(&self, state: &str) -> Result<Vec<Value>, ApiError> {
        let (status, mut page) = self.send(self.request(Method::GET, &["tags"], &[("state", state)])?).await?;
        match page.get_mut("tags").map(Value::take) {
            Some(Value::Array(tags)) if status == StatusCode::OK => Ok(tags),
            _ => Err(failure(status, &page)),
        }
    }

    /// Sends the review of a derived tag.
    pub(in crate::cli) async fn review_tag(
        &self,
        id: u64,
        word: &str,
        reason: Option<&str>,
    ) -> Result<Value, ApiError> {
        let body = json!({"review": word, "reason": reason});
        let request = self.request(Method::POST, &["tags", &id.to_string(), "review"], &[])?.json(&body);
        let (status, answer) = self.send(request).await?;
        if status == StatusCode::OK { Ok(answer) } else { Err(failure(status, &answer)) }
    }

    fn url(&self, path: &[&str]) -> Result<Url, ApiError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| ApiError::Url(self.base.to_string()))?
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(path);
        Ok(url)
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<RequestBuilder, ApiError> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.client.request(method, url).bearer_auth(&self.token))
    }

    async fn send(&self, request: RequestBuilder) -> Result<(StatusCode, Value), ApiError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if status == StatusCode::UNAUTHORIZED {
            return Err(ApiError::Unauthorized);
        }
        // A body that is no JSON is of another server: the status then says what there is to say.
        match serde_json::from_slice(&body) {
            Err(_) if status.is_success() => Err(ApiError::Failed(format!("{status} without JSON"))),
            body => Ok((status, body.unwrap_or_default())),
        }
    }
}

fn built(client: ClientBuilder) -> Result<Client, ApiError> {
    client
        .user_agent(format!("{NAME}/{}", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        // The token goes to the address that was given, and to nobody in between.
        .no_proxy()
        .build()
        .map_err(|error| ApiError::Failed(error.to_string()))
}

fn failure(status: StatusCode, body: &Value) -> ApiError {
    match status {
        StatusCode::NOT_FOUND => ApiError::NotFound(sentence(body)),
        StatusCode::UNPROCESSABLE_ENTITY => ApiError::Usage(sentence(body)),
        StatusCode::FORBIDDEN => ApiError::Forbidden(sentence(body)),
        _ => ApiError::Failed(format!("{status}: {}", sentence(body))),
    }
}

fn sentence(problem: &Value) -> String {
    printable(problem.get("detail").and_then(Value::as_str).unwrap_or("no reason given"))
}

/// What went wrong at the bottom: the layers above repeat the URL.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
