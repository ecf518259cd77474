//! `/api/v1/holds`: list, show, decide.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bearer::Caller;
use super::extract::{self, Body, Named, Pairs};
use super::idempotent::{Asked, Key};
use super::{Problem, Site};
use crate::approvals::{Answer, DecisionRequest, HoldFilter, HoldState, Once};
use crate::control::{Control, card};

/// Holds that a page has at most.
pub(super) const LIMIT_MAX: u32 = 1000;

/// The body of a decision.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Decision {
    decision: Word,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, schemars::JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "lowercase")]
enum Word {
    Approve,
    Deny,
}

pub(super) async fn list(
    State(control): State<Control>,
    _caller: Caller,
    Pairs(pairs): Pairs,
) -> Result<Json<Value>, Problem> {
    let page = control.holds(filter(&pairs)?).await?;
    let holds: Vec<_> = page.holds.iter().map(card::contract).collect();
    let next = page.next.map(|place| place.to_string());
    Ok(Json(json!({"holds": holds, "next": next})))
}

pub(super) async fn show(
    State(control): State<Control>,
    _caller: Caller,
    Named(id): Named,
) -> Result<Json<Value>, Problem> {
    match control.hold(&id).await? {
        Some(hold) => Ok(Json(card::contract(&hold))),
        None => Err(Problem::not_found("There is no such hold.")),
    }
}

pub(super) async fn decide(
    State(site): State<Site>,
    caller: Caller,
    Named(id): Named,
    Key(key): Key,
    body: Body<Decision>,
) -> Result<Json<Value>, Problem> {
    let verdict = match body.value.decision {
        Word::Approve => Answer::Approve,
        Word::Deny => Answer::Deny,
    };
    let asked =
        key.as_ref().map(|key| Asked { operator: &caller.operator.name, key, resource: &id, body: &body.bytes });
    let once = asked.as_ref().map(|asked| Once { key: asked.key.to_owned(), request: asked.digest() });
    let reason = extract::reason(body.value.reason)?;
    let request = DecisionRequest { verdict, reason, method: caller.method, once };
    let (control, operator, hold) = (site.control.clone(), caller.operator.clone(), id.clone());
    let run = async move {
        let hold = control.decide(&operator, &hold, request).await?;
        Ok(card::contract(&hold))
    };
    let answer = match asked {
        None => run.await,
        Some(asked) => site.answers.once(asked, run).await,
    };
    answer.map(Json)
}

pub(super) fn filter(pairs: &[(String, String)]) -> Result<HoldFilter, Problem> {
    let mut filter = HoldFilter::default();
    for (name, value) in pairs {
        match name.as_str() {
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
