//! `/api/v1/requests`: asks for a migration as one bundle.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::Problem;
use super::bearer::Caller;
use super::extract::Body;
use crate::control::{BundleRequest, Control, RequestError, card};

/// The longest migration that may be asked for as one, bytes: a person reads all of it.
pub const SQL_MAX: usize = 1 << 20;
/// In JSON a character can take twice its bytes and more.
pub(super) const BODY_MAX: usize = 4 * SQL_MAX;

/// The body of a request.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Bundle {
    principal: String,
    upstream: String,
    sql: String,
    #[serde(default)]
    intent: Option<String>,
}

pub(super) async fn create(
    State(control): State<Control>,
    caller: Caller,
    body: Body<Bundle>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let Bundle { principal, upstream, sql, intent } = body.value;
    if sql.len() > SQL_MAX {
        return Err(Problem::unprocessable(format!(
            "the text has {} bytes, and a bundle has at most {SQL_MAX}: load data otherwise, and ask for the rest",
            sql.len()
        )));
    }
    let request = BundleRequest { principal, upstream, sql, intent };
    let hold = control.request(&caller.operator, request, caller.method).await?;
    Ok((StatusCode::CREATED, Json(card::contract(&hold))))
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NotARequester => Self::forbidden("Your roles do not let you ask in the name of others."),
            RequestError::Refused(why) => Self::unprocessable(why),
            RequestError::NothingToApprove => Self::nothing_to_approve(),
            RequestError::Store(error) => error.into(),
            RequestError::Catalog(_) | RequestError::Log(_) => {
                tracing::error!(%error, "a bundle cannot be asked for");
                Self::unavailable("The bundle cannot be asked for now; the proxy's diagnostics say why.")
            }
        }
    }
}
