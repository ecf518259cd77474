//! `/api/v1/notices`: notices that were given up, and another try for one of them.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::bearer::Caller;
use super::extract::{Named, Pairs};
use super::{Problem, Site};
use crate::notify::NotifyStoreError;

/// Notices of one answer.
pub(super) const LIMIT_MAX: u32 = 1000;

pub(super) async fn dead(
    State(site): State<Site>,
    _caller: Caller,
    Pairs(pairs): Pairs,
) -> Result<Json<Value>, Problem> {
    let mut limit = 100;
    for (name, value) in &pairs {
        match name.as_str() {
            "limit" => limit = value.parse().map_err(|_| Problem::unprocessable("The limit is no number."))?,
            _ => return Err(Problem::unprocessable(format!("There is no parameter {name}."))),
        }
    }
    let dead = match &site.notifier {
        Some(notifier) => notifier.dead(limit.clamp(1, LIMIT_MAX)).await?,
        None => Vec::new(),
    };
    Ok(Json(json!({"dead": dead})))
}

pub(super) async fn retry(State(site): State<Site>, caller: Caller, Named(id): Named) -> Result<Json<Value>, Problem> {
    if !caller.operator.may_decide() {
        return Err(Problem::forbidden("A viewer may not send notices."));
    }
    let none = || Problem::not_found("There is no such notice that was given up.");
    let number: i64 = id.parse().map_err(|_| none())?;
    let notifier = site.notifier.as_ref().ok_or_else(none)?;
    site.control.retried_notice(&caller.operator, number, caller.method).await?;
    if notifier.revive(number).await? { Ok(Json(json!({"id": number}))) } else { Err(none()) }
}

impl From<NotifyStoreError> for Problem {
    fn from(error: NotifyStoreError) -> Self {
        tracing::error!(%error, "the outbox of notices failed");
        Self::unavailable("The outbox of notices failed; the proxy's diagnostics say why.")
    }
}

impl From<crate::control::SinkError> for Problem {
    fn from(error: crate::control::SinkError) -> Self {
        tracing::error!(%error, "an act of an operator was not written to the log");
        Self::unavailable("It could not be written to the log, so it was not done.")
    }
}
