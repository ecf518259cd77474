//! Slack's Web API, as far as it is used here.

use std::time::Duration;

use serde_json::{Value, json};

use crate::notify::guard::Reply;
use crate::notify::worker::Failure;
use crate::notify::{SendError, Sender};

/// Why Slack did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlackError {
    /// No answer, or an address that must not be asked.
    #[error(transparent)]
    Send(#[from] SendError),
    /// It asks to wait.
    #[error("Slack asks to wait")]
    Limited(Option<Duration>),
    /// It says what is wrong, in a word of its own.
    #[error("Slack answered {0}")]
    Refused(String),
}

impl From<SlackError> for Failure {
    fn from(error: SlackError) -> Self {
        let after = if let SlackError::Limited(after) = &error { *after } else { None };
        Self::Later { after, why: error.to_string() }
    }
}

/// The API with one token.
#[derive(Clone)]
pub struct Api {
    sender: Sender,
    /// `https://slack.com/api`, without a slash at the end.
    base: String,
    token: String,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Api {
    /// Over a sender, with a bot's (`xoxb-`) or an app's (`xapp-`) token.
    #[must_use]
    pub fn new(sender: Sender, base: &str, token: String) -> Self {
        Self { sender, base: base.trim_end_matches('/').to_owned(), token }
    }

    /// Calls a method with a JSON body.
    pub(super) async fn call(&self, method: &str, body: &Value) -> Result<Value, SlackError> {
        let request = self.sender.post(&format!("{}/{method}", self.base))?.bearer_auth(&self.token);
        let request = request.header("content-type", "application/json; charset=utf-8").body(body.to_string());
        said(&Sender::send(request).await?)
    }

    /// Calls a method that takes no JSON.
    pub(super) async fn ask(&self, method: &str, form: &[(&str, &str)]) -> Result<Value, SlackError> {
        let request = self.sender.post(&format!("{}/{method}", self.base))?.bearer_auth(&self.token);
        said(&Sender::send(request.form(form)).await?)
    }

    /// Tells the person who clicked, and nobody else.
    pub(super) async fn whisper(&self, url: &str, text: &str) -> Result<(), SlackError> {
        if !self.is_slacks(url) {
            return Err(SlackError::Refused("with a foreign response_url".to_owned()));
        }
        let body = json!({"response_type": "ephemeral", "replace_original": false, "text": escape(text)});
        let request = self.sender.post(url)?.header("content-type", "application/json").body(body.to_string());
        let reply = Sender::send(request).await?;
        if reply.status.is_success() { Ok(()) } else { Err(SlackError::Refused(reply.status.to_string())) }
    }

    /// Answers go to Slack alone, whatever a callback names.
    fn is_slacks(&self, url: &str) -> bool {
        let Ok(url) = reqwest::Url::parse(url) else { return false };
        let base = reqwest::Url::parse(&self.base);
        url.host_str() == Some("hooks.slack.com") || base.is_ok_and(|base| base.origin() == url.origin())
    }
}

/// What an answer says: a status, or `ok` and `error` under 200.
fn said(reply: &Reply) -> Result<Value, SlackError> {
    if reply.status.as_u16() == 429 {
        return Err(SlackError::Limited(reply.retry_after));
    }
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    match (body.get("ok").and_then(Value::as_bool), body.get("error").and_then(Value::as_str)) {
        (Some(true), _) if reply.status.is_success() => Ok(body),
        (_, Some("ratelimited" | "rate_limited")) => Err(SlackError::Limited(reply.retry_after)),
        (_, error) => Err(SlackError::Refused(error.map_or_else(|| reply.status.to_string(), str::to_owned))),
    }
}

/// The three characters that Slack's own markup is made of.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
