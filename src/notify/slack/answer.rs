//! What becomes of a click: the operator's answer by the way of every other surface, or a word to whoever clicked.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::api::Api;
use super::blocks::{APPROVE, DENY, REASON};
use super::clicks::{Clicks, Kept};
use super::operators::Accounts;
use crate::approvals::{Answer, DecideError, Hold};
use crate::clock::Clock;

/// Clicks that are worked on at once.
const AT_ONCE_MAX: usize = 32;

/// An operator's answer, counted where all answers are.
pub trait Decide: Send + Sync {
    /// Counts the answer of the operator of that name, if the hold is still about that action. `None` where there is no
    /// such operator.
    fn decide(&self, click: Click) -> BoxFuture<'_, Option<Result<Hold, DecideError>>>;
}

/// One answer by a button.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Click {
    /// The operator's name.
    pub operator: String,
    /// The hold.
    pub hold: String,
    /// The hash of the action that the message showed.
    pub action: String,
    /// Which button.
    pub answer: Answer,
    /// What was typed.
    pub reason: Option<String>,
    /// The same each time that it is worked on.
    pub id: String,
}

/// Where clicks end up, by whatever way they come. Clones are one.
#[derive(Clone)]
pub struct Interactions {
    api: Api,
    accounts: Arc<Accounts>,
    decide: Arc<dyn Decide>,
    clicks: Clicks,
    room: Arc<Semaphore>,
}

/// There is too much to do: Slack shows whoever clicked that it did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many clicks at once")]
pub struct Busy;

impl Interactions {
    /// Between the API with the bot's token, its people, where answers are counted, and where clicks lie until then.
    #[must_use]
    pub fn new(api: Api, accounts: Accounts, decide: Arc<dyn Decide>, clicks: Clicks) -> Self {
        Self { api, accounts: Arc::new(accounts), decide, clicks, room: Arc::new(Semaphore::new(AT_ONCE_MAX)) }
    }

    /// Takes a payload that was found to be Slack's, and returns once it is on disk: Slack waits three seconds at most, and
    /// never sends again what was acknowledged.
    ///
    /// # Errors
    /// Too many are worked on, or the disk does not take it.
    pub async fn take(&self, payload: &Value) -> Result<(), Busy> {
        let Some(kept) = read(payload) else { return Ok(()) };
        let permit = Arc::clone(&self.room).try_acquire_owned().map_err(|_| Busy)?;
        let id = self.clicks.keep(&kept, Clock::System.now()).await.map_err(|error| {
            tracing::error!(%error, "a click in Slack could not be kept");
            Busy
        })?;
        let own = self.clone();
        tokio::spawn(async move {
            own.answer(id, kept).await;
            drop(permit);
        });
        Ok(())
    }

    /// Answers the clicks that an earlier process had acknowledged and not answered.
    pub async fn resume(self) {
        match self.clicks.left().await {
            Ok(left) => {
                for (id, kept) in left {
                    self.answer(id, kept).await;
                }
            }
            Err(error) => tracing::error!(%error, "clicks in Slack that were acknowledged cannot be read"),
        }
    }

    async fn answer(&self, id: String, kept: Kept) {
        let url = kept.response_url.clone();
        if let Some(word) = self.decided(id.clone(), kept).await
            && let Err(error) = self.api.whisper(&url, &word).await
        {
            tracing::warn!(%error, "whoever clicked in Slack could not be told what came of it");
        }
        if let Err(error) = self.clicks.done(&id).await {
            tracing::error!(%error, "an answered click in Slack is answered again at the next start");
        }
    }

    /// What whoever clicked must be told. Nothing where the answer counted: the message itself changes.
    async fn decided(&self, id: String, kept: Kept) -> Option<String> {
        let operator = match self.accounts.operator(&self.api, &kept.user).await {
            Ok(Some(name)) => name,
            Ok(None) => return Some("You are no operator of Holdgate: nothing was decided.".to_owned()),
            Err(error) => {
                tracing::warn!(%error, "Slack did not say who clicked");
                return Some("Slack did not say who you are: nothing was decided. Try again.".to_owned());
            }
        };
        let answer = if kept.answer == Answer::Approve.as_str() { Answer::Approve } else { Answer::Deny };
        let click = Click { operator, hold: kept.hold, action: kept.action, answer, reason: kept.reason, id };
        if click.answer == Answer::Deny && click.reason.is_none() {
            return Some("A denial needs its reason, which whoever asked reads: nothing was decided.".to_owned());
        }
        match self.decide.decide(click).await {
            None => Some("You are no operator of Holdgate: nothing was decided.".to_owned()),
            Some(Ok(hold)) if hold.decision.is_none() => Some(format!(
                "Your approval counts. The hold has {} of {}.",
                hold.approve.given.len(),
                hold.approve.quorum
            )),
            Some(Ok(_)) => None,
            Some(Err(DecideError::SelfApproval)) => {
                Some("The request is your own: another person must approve it.".to_owned())
            }
            Some(Err(error)) => Some(format!("Nothing was decided: {error}.")),
        }
    }
}

/// The answer of a click; `None` for everything else that Slack sends.
fn read(payload: &Value) -> Option<Kept> {
    if payload.get("type")?.as_str()? != "block_actions" {
        return None;
    }
    let user = payload.pointer("/user/id")?.as_str()?.to_owned();
    let action = payload.pointer("/actions/0")?;
    let answer = match action.get("action_id")?.as_str()? {
        APPROVE => Answer::Approve,
        DENY => Answer::Deny,
        _ => return None,
    };
    let value: Value = serde_json::from_str(action.get("value")?.as_str()?).ok()?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let reason = payload.pointer(&format!("/state/values/{REASON}/{REASON}/value")).and_then(Value::as_str);
    let reason = reason.filter(|reason| !reason.trim().is_empty()).map(str::to_owned);
    let response_url = payload.get("response_url").and_then(Value::as_str).unwrap_or_default().to_owned();
    let answer = answer.as_str().to_owned();
    Some(Kept { user, hold: text("hold")?, action: text("action")?, answer, reason, response_url })
}
