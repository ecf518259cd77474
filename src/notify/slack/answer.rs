//! What becomes of a click: the operator's answer by the way of every other surface, or a word to whoever clicked.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::api::Api;
use super::blocks::{APPROVE, DENY, REASON};
use super::operators::Accounts;
use crate::approvals::{Answer, DecideError, Hold};

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
}

/// Where clicks end up, by whatever way they come. Clones are one.
#[derive(Clone)]
pub struct Interactions {
    api: Api,
    accounts: Arc<Accounts>,
    decide: Arc<dyn Decide>,
    room: Arc<Semaphore>,
}

/// There is too much to do: Slack shows whoever clicked that it did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many clicks at once")]
pub struct Busy;

impl Interactions {
    /// Between the API with the bot's token, its people, and where answers are counted.
    #[must_use]
    pub fn new(api: Api, accounts: Accounts, decide: Arc<dyn Decide>) -> Self {
        Self { api, accounts: Arc::new(accounts), decide, room: Arc::new(Semaphore::new(AT_ONCE_MAX)) }
    }

    /// Takes a payload that was found to be Slack's, and returns at once: Slack waits three seconds at most.
    ///
    /// # Errors
    /// Too many are worked on.
    pub fn take(&self, payload: Value) -> Result<(), Busy> {
        let permit = Arc::clone(&self.room).try_acquire_owned().map_err(|_| Busy)?;
        let own = self.clone();
        tokio::spawn(async move {
            own.answer(&payload).await;
            drop(permit);
        });
        Ok(())
    }

    async fn answer(&self, payload: &Value) {
        let Some((user, click)) = read(payload) else { return };
        let Some(word) = self.decided(&user, click).await else { return };
        let url = payload.get("response_url").and_then(Value::as_str).unwrap_or_default();
        if let Err(error) = self.api.whisper(url, &word).await {
            tracing::warn!(%error, "whoever clicked in Slack could not be told what came of it");
        }
    }

    /// What whoever clicked must be told. Nothing where the answer counted: the message itself changes.
    async fn decided(&self, user: &str, mut click: Click) -> Option<String> {
        click.operator = match self.accounts.operator(&self.api, user).await {
            Ok(Some(name)) => name,
            Ok(None) => return Some("You are no operator of Holdgate: nothing was decided.".to_owned()),
            Err(error) => {
                tracing::warn!(%error, "Slack did not say who clicked");
                return Some("Slack did not say who you are: nothing was decided. Try again.".to_owned());
            }
        };
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

/// The user and the answer of a click; `None` for everything else that Slack sends.
fn read(payload: &Value) -> Option<(String, Click)> {
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
    Some((user, Click { operator: String::new(), hold: text("hold")?, action: text("action")?, answer, reason }))
}
