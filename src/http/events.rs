//! `/api/v1/events`: lines of the log, with the filters of `log query`.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde_json::{Value, json};

use super::Problem;
use super::bearer::Caller;
use crate::control::Control;

pub(super) async fn query(
    State(control): State<Control>,
    caller: Caller,
    filters: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(filters) = filters.map_err(|_| Problem::unprocessable("The query string cannot be read."))?;
    let events = control.events(&caller.operator, filters, caller.method).await?;
    Ok(Json(json!({"events": events})))
}
