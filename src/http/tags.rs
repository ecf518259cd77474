//! `/api/v1/tags`: derived tags, to list and to review.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Problem;
use super::bearer::Caller;
use super::extract::{self, Named, Pairs};
use crate::backend::memory::Review;
use crate::control::tags::{TagReview, contract, state};
use crate::control::{ActError, Control};

/// The body of a review.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "TagReview")]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    review: Word,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, schemars::JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "lowercase")]
enum Word {
    Confirm,
    Dismiss,
}

pub(super) async fn list(
    State(control): State<Control>,
    _caller: Caller,
    Pairs(pairs): Pairs,
) -> Result<Json<Value>, Problem> {
    let mut wanted = None;
    for (name, value) in &pairs {
        match name.as_str() {
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
    Named(id): Named,
    body: extract::Body<Body>,
) -> Result<Json<Value>, Problem> {
    let body = body.value;
    let reason = extract::reason(body.reason)?;
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
