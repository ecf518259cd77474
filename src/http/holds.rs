//! `/api/v1/holds`: list, show, decide.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Problem;
use super::bearer::Caller;
use crate::approvals::{Answer, DecisionRequest, HoldFilter, HoldState};
use crate::control::{Control, card};

/// Holds that a page has at most.
const LIMIT_MAX: u32 = 1000;
/// The longest reason, bytes.
pub(super) const REASON_MAX: usize = 4096;

/// The body of a decision.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Decision {
    decision: Word,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Approve,
    Deny,
}

pub(super) async fn list(
    State(control): State<Control>,
    _caller: Caller,
    pairs: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(pairs) = pairs.map_err(|_| Problem::unprocessable("The query string cannot be read."))?;
    let page = control.holds(filter(&pairs)?).await?;
    let holds: Vec<_> = page.holds.iter().map(card::contract).collect();
    let next = page.next.map(|place| place.to_string());
    Ok(Json(json!({"holds": holds, "next": next})))
}

pub(super) async fn show(
    State(control): State<Control>,
    _caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    match control.hold(&id).await? {
        Some(hold) => Ok(Json(card::contract(&hold))),
        None => Err(Problem::not_found("There is no such hold.")),
    }
}

pub(super) async fn decide(
    State(control): State<Control>,
    caller: Caller,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let body = body.map_err(unreadable)?;
    let request: Decision =
        serde_json::from_slice(&body).map_err(|error| Problem::unprocessable(format!("The body: {error}.")))?;
    let reason = request.reason.filter(|reason| !reason.trim().is_empty());
    if reason.as_ref().is_some_and(|reason| reason.len() > REASON_MAX) {
        return Err(Problem::unprocessable(format!("The reason is over {REASON_MAX} bytes.")));
    }
    let verdict = match request.decision {
        Word::Approve => Answer::Approve,
        Word::Deny => Answer::Deny,
    };
    let request = DecisionRequest { verdict, reason, method: caller.method };
    let hold = control.decide(&caller.operator, &id, request).await?;
    Ok(Json(card::contract(&hold)))
}

fn filter(pairs: &[(String, String)]) -> Result<HoldFilter, Problem> {
    let mut filter = HoldFilter::default();
    for (name, value) in pairs {
        match name.as_str() {
            _ if value.is_empty() => {}
            "state" => filter.states = states(value)?,
            "cursor" => {
                let place = value.parse().map_err(|_| Problem::unprocessable("The cursor is none of this API."))?;
                filter.before = Some(place);
            }
            "limit" => {
                let limit: u32 = value.parse().map_err(|_| Problem::unprocessable("The limit is no number."))?;
                filter.limit = limit.clamp(1, LIMIT_MAX);
            }
            _ => return Err(Problem::unprocessable(format!("There is no parameter {name}."))),
        }
    }
    Ok(filter)
}

fn states(text: &str) -> Result<Vec<HoldState>, Problem> {
    text.split(',')
        .map(|word| {
            HoldState::parse(word).ok_or_else(|| {
                let all: Vec<_> = HoldState::ALL.iter().map(|state| state.as_str()).collect();
                Problem::unprocessable(format!("There is no state {word}; there are {}.", all.join(", ")))
            })
        })
        .collect()
}

pub(super) fn unreadable(rejection: BytesRejection) -> Problem {
    if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::too_large()
    } else {
        Problem::unprocessable("The body could not be read.")
    }
}
