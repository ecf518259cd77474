//! Which operator a person in Slack is: by the configuration, or by an e-mail address that Slack has confirmed.

use std::collections::HashMap;

use serde_json::Value;

use super::api::{Api, SlackError};

/// Operators by what Slack knows of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Names of operators by the id of their Slack user.
    pub by_user: HashMap<String, String>,
    /// Names of operators by their e-mail address, in small letters.
    pub by_email: HashMap<String, String>,
}

impl Accounts {
    /// The operator behind a user of Slack.
    pub(super) async fn operator(&self, api: &Api, user: &str) -> Result<Option<String>, SlackError> {
        if let Some(name) = self.by_user.get(user) {
            return Ok(Some(name.clone()));
        }
        if self.by_email.is_empty() {
            return Ok(None);
        }
        let answer = api.ask("users.info", &[("user", user)]).await?;
        let known = answer.get("user").filter(|known| is_member(known, user)).and_then(|known| known.get("profile"));
        let email = known.and_then(|profile| profile.get("email")).and_then(Value::as_str);
        Ok(email.and_then(|email| self.by_email.get(&email.to_lowercase())).cloned())
    }
}

/// A person of this workspace whose address Slack has confirmed: no bot, no guest of another workspace, nobody who left.
fn is_member(known: &Value, user: &str) -> bool {
    let is = |name: &str| known.get(name).and_then(Value::as_bool).unwrap_or(false);
    let strange = ["deleted", "is_bot", "is_stranger", "is_restricted", "is_ultra_restricted"];
    known.get("id").and_then(Value::as_str) == Some(user) && is("is_email_confirmed") && !strange.into_iter().any(is)
}
