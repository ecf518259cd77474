//! An operator, over the HTTP API.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(20);

/// One account.
pub(super) struct Operator {
    client: Client,
    url: String,
    token: String,
}

impl Operator {
    pub(super) fn new(url: String, token: &str) -> anyhow::Result<Self> {
        // An error means that it was done before.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        // The proxy is on this machine, whatever the environment says of proxies for HTTP.
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { client, url, token: token.to_owned() })
    }

    /// Waits for the hold of exactly this statement.
    pub(super) async fn hold_of(&self, sql: &str) -> anyhow::Result<Hold> {
        loop {
            let page = self.get("holds?state=pending").await?;
            let holds = page.get("holds").and_then(Value::as_array).context("the list has no holds")?;
            if let Some(found) = holds.iter().find(|hold| word(hold, "/statement") == sql) {
                return Ok(Hold(found.clone()));
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// The hold once it is in a state.
    pub(super) async fn until(&self, id: &str, state: &str) -> anyhow::Result<Hold> {
        loop {
            let hold = Hold(self.get(&format!("holds/{id}")).await?);
            if hold.word("/state") == state {
                return Ok(hold);
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Sends a decision; what comes back, whatever it is.
    pub(super) async fn answer(&self, id: &str, decision: &str, reason: &str) -> anyhow::Result<(StatusCode, Value)> {
        let body = json!({"decision": decision, "reason": reason});
        let request = self.client.post(format!("{}/api/v1/holds/{id}/decision", self.url)).bearer_auth(&self.token);
        let response = request.json(&body).send().await?;
        Ok((response.status(), response.json().await?))
    }

    /// Sends a decision that must count.
    pub(super) async fn decide(&self, hold: &Hold, decision: &str, reason: &str) -> anyhow::Result<()> {
        let (status, body) = self.answer(hold.id(), decision, reason).await?;
        ensure!(status == StatusCode::OK, "the decision does not count: {status} {body}");
        Ok(())
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let response = self.client.get(format!("{}/api/v1/{path}", self.url)).bearer_auth(&self.token).send().await?;
        ensure!(response.status() == StatusCode::OK, "{path}: {}", response.status());
        Ok(response.json().await?)
    }
}

/// A hold as the API shows it.
pub(super) struct Hold(Value);

impl Hold {
    pub(super) fn id(&self) -> &str {
        self.word("/id")
    }

    /// The text at a JSON pointer; empty where there is none.
    pub(super) fn word(&self, pointer: &str) -> &str {
        word(&self.0, pointer)
    }

    /// The number at a JSON pointer.
    pub(super) fn number(&self, pointer: &str) -> anyhow::Result<u64> {
        self.0.pointer(pointer).and_then(Value::as_u64).with_context(|| format!("the hold has no {pointer}"))
    }
}

/// The text at a JSON pointer; empty where there is none.
pub(super) fn word<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
