//! `/api/v1/events`: lines of the log, with the filters of `log query`; `next` is the cursor of the page before.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde_json::{Value, json};

use super::Problem;
use super::bearer::Caller;
use crate::control::{Control, EVENTS_MAX};

pub(super) async fn query(
    State(control): State<Control>,
    caller: Caller,
    filters: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(filters) = filters.map_err(|_| Problem::unprocessable("The query string cannot be read."))?;
    let limit = filters.iter().find(|(name, _)| name == "limit").and_then(|(_, limit)| limit.parse().ok());
    let limit = limit.unwrap_or(EVENTS_MAX).min(EVENTS_MAX);
    let events = control.events(&caller.operator, filters, caller.method).await?;
    // A full page may be followed by one of older records.
    let next = events.first().filter(|first| events.len() >= limit && first.seq > 0).map(|first| first.seq);
    Ok(Json(json!({"events": events, "next": next})))
}
