//! `/api/v1/events`: lines of the log, with the filters of `log query`; `next` is the cursor of the page before.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Problem;
use super::bearer::Caller;
use super::extract::Pairs;
use crate::control::{Control, EVENTS_MAX};

pub(super) async fn query(
    State(control): State<Control>,
    caller: Caller,
    Pairs(filters): Pairs,
) -> Result<Json<Value>, Problem> {
    let limit = filters.iter().find(|(name, _)| name == "limit").and_then(|(_, limit)| limit.parse().ok());
    let limit = limit.unwrap_or(EVENTS_MAX).min(EVENTS_MAX);
    let events = control.events(&caller.operator, filters, caller.method).await?;
    // A full page may be followed by one of older records.
    let next = events.first().filter(|first| events.len() >= limit && first.seq > 0).map(|first| first.seq);
    Ok(Json(json!({"events": events, "next": next})))
}
