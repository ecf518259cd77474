//! `/api/v1/slack/interactions`: clicks that Slack sends, believed by their signature alone.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::{Problem, Site, extract};
use crate::approvals::{DecideError, DecisionRequest, Hold, Method, Once};
use crate::clock::Clock;
use crate::control::Control;
use crate::notify::slack::{Click, Decide, Interactions, SigningSecret};
use crate::telemetry;

/// The longest callback that is read, bytes: it carries the whole message, escaped.
pub(super) const BODY_MAX: usize = 256 * 1024;

/// What lets clicks in.
#[derive(Clone)]
pub struct SlackDoor {
    /// The app's signing secret.
    pub secret: SigningSecret,
    /// Where clicks end up.
    pub interactions: Interactions,
}

/// Takes a click, and answers at once: what comes of it is told by the message.
pub(super) async fn take(State(site): State<Site>, request: Request) -> Result<StatusCode, Problem> {
    let Some(door) = &site.slack else { return Err(Problem::not_found("Slack is not configured.")) };
    let header = |headers: &HeaderMap, name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let timestamp = header(request.headers(), "x-slack-request-timestamp");
    let signature = header(request.headers(), "x-slack-signature");
    let body = extract::bytes(request, &()).await?;
    if !door.secret.signed((&timestamp, &signature), &body, Clock::System.now()) {
        telemetry::sign_in_failed(Method::Slack.as_str());
        return Err(Problem::unsigned());
    }
    let payload = payload(&body).ok_or_else(|| Problem::unprocessable("The body holds no payload."))?;
    door.interactions.take(&payload).await.map_err(|_| Problem::unavailable("Too many clicks at once."))?;
    Ok(StatusCode::OK)
}

fn payload(body: &[u8]) -> Option<Value> {
    // A form's body has the form of a query.
    let mut form = reqwest::Url::parse("form:").ok()?;
    form.set_query(Some(std::str::from_utf8(body).ok()?));
    let (_, text) = form.query_pairs().find(|(name, _)| name == "payload")?;
    serde_json::from_str(&text).ok()
}

/// Where the answers of all surfaces are counted.
#[derive(Clone)]
pub struct Desk(pub Control);

impl Decide for Desk {
    fn decide(&self, click: Click) -> BoxFuture<'_, Option<Result<Hold, DecideError>>> {
        Box::pin(async move {
            let operator = self.0.operators().named(&click.operator)?;
            match self.0.hold(&click.hold).await {
                Ok(Some(hold)) if hold.action_hash == click.action => {}
                Ok(_) => return Some(Err(DecideError::NotFound)),
                Err(error) => return Some(Err(error.into())),
            }
            // A click that is worked on again after a crash is the same one.
            let once = Once { key: click.id, request: Vec::new() };
            let (verdict, reason) = (click.answer, click.reason);
            let request = DecisionRequest { verdict, reason, method: Method::Slack, once: Some(once) };
            Some(self.0.decide(&operator, &click.hold, request).await)
        })
    }
}

#[cfg(test)]
#[path = "slack_tests.rs"]
mod tests;
