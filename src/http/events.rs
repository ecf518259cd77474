//! `/api/v1/events`: lines of the log, with the filters of `log query`.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Problem;
use super::bearer::Caller;
use super::extract::Pairs;
use crate::control::Control;

pub(super) async fn query(
    State(control): State<Control>,
    caller: Caller,
    Pairs(filters): Pairs,
) -> Result<Json<Value>, Problem> {
    let events = control.events(&caller.operator, filters, caller.method).await?;
    Ok(Json(json!({"events": events})))
}
