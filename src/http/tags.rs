//! `/api/v1/tags`: derived tags, to list and to review.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Problem;
use super::bearer::Caller;
use super::holds::{REASON_MAX, unreadable};
use crate::backend::memory::Review;
use crate::control::tags::{TagReview, contract, state};
use crate::control::{ActError, Control};

/// The body of a review.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    review: Word,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Confirm,
    Dismiss,
}

pub(super) async fn list(
    State(control): State<Control>,
    _caller: Caller,
    pairs: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(pairs) = pairs.map_err(|_| Problem::unprocessable("The query string cannot be read."))?;
    let mut wanted = None;
    for (name, value) in &pairs {
        match name.as_str() {
            _ if value.is_empty() => {}
            "state" => {
                let unknown = || Problem::unprocessable("There are the states open, confirmed and dismissed.");
                wanted = Some(state(value).ok_or_else(unknown)?);
            }
            _ => return Err(Problem::unprocessable(format!("There is no parameter {name}."))),
        }
    }
    let tags: Vec<Value> = control.tags(wanted).iter().map(contract).collect();
    Ok(Json(json!({"tags": tags})))
}

pub(super) async fn review(
    State(control): State<Control>,
    caller: Caller,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let body = body.map_err(unreadable)?;
    let body: Body =
        serde_json::from_slice(&body).map_err(|error| Problem::unprocessable(format!("The body: {error}.")))?;
    let reason = body.reason.filter(|reason| !reason.trim().is_empty());
    if reason.as_ref().is_some_and(|reason| reason.len() > REASON_MAX) {
        return Err(Problem::unprocessable(format!("The reason is over {REASON_MAX} bytes.")));
    }
    let review = match body.review {
        Word::Confirm => Review::Confirmed,
        Word::Dismiss => Review::Dismissed,
    };
    let id = id.parse().map_err(|_| Problem::not_found("There is no such derived tag."))?;
    let request = TagReview { id, review, reason, method: caller.method };
    Ok(Json(contract(&control.review(&caller.operator, request).await?)))
}

impl From<ActError> for Problem {
    fn from(error: ActError) -> Self {
        match error {
            ActError::NotAnOperator | ActError::NotAnAdmin => Self::forbidden("A viewer may not decide."),
            ActError::NoTag | ActError::NotFound => Self::not_found("There is no such derived tag."),
            error => {
                tracing::error!(%error, "an act of an operator failed");
                Self::unavailable("It could not be written down; the proxy's diagnostics say why.")
            }
        }
    }
}
