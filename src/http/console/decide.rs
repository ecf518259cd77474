//! `/holds/{id}`: the card in full, and the decision.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::page::{message, page, refusal};
use super::view::{Attempt, HoldPage};
use super::visitor::Visitor;
use crate::approvals::{Answer, DecisionRequest, Hold, Method};
use crate::http::extract::{self, Named};
use crate::http::{Problem, Site};

/// The decision form.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Filled {
    csrf: String,
    decision: Word,
    /// The hash of the action that the page showed.
    seen: String,
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Approve,
    Deny,
}

pub(super) async fn show(State(site): State<Site>, visitor: Visitor, Named(id): Named) -> Response {
    match find(&site, &id).await {
        Ok(hold) => page(StatusCode::OK, &HoldPage::new(&hold, &visitor, Attempt::default())),
        Err(problem) => refusal(&problem),
    }
}

pub(super) async fn decide(
    State(site): State<Site>,
    visitor: Visitor,
    Named(id): Named,
    headers: HeaderMap,
    form: Result<Form<Filled>, FormRejection>,
) -> Response {
    let Ok(Form(form)) = form else {
        return refusal(&Problem::unprocessable("The form is not one of these pages, or too long."));
    };
    if !site.place.is_own(&headers) || !visitor.session.made(&form.csrf) {
        return message(
            StatusCode::FORBIDDEN,
            "Not decided",
            "The form is of another session. Open the hold and decide there.",
        );
    }
    match decided(&site, &visitor, &id, &form).await {
        Ok(()) => Redirect::to(&format!("/holds/{id}")).into_response(),
        Err(problem) => again(&site, &visitor, &id, form.reason, &problem).await,
    }
}

async fn decided(site: &Site, visitor: &Visitor, id: &str, form: &Filled) -> Result<(), Problem> {
    let reason = extract::reason(Some(form.reason.clone()))?;
    if form.decision == Word::Deny && reason.is_none() {
        return Err(Problem::unprocessable("A denial needs its reason: whoever sent the statement reads it."));
    }
    if find(site, id).await?.action_hash != form.seen {
        return Err(Problem::unprocessable("The page showed another action than this hold is about. Read it again."));
    }
    let verdict = match form.decision {
        Word::Approve => Answer::Approve,
        Word::Deny => Answer::Deny,
    };
    let request = DecisionRequest { verdict, reason, method: Method::Web, once: None };
    site.control.decide(visitor.operator(), id, request).await?;
    Ok(())
}

/// The page as it stands now, with why the form did not count.
async fn again(site: &Site, visitor: &Visitor, id: &str, reason: String, problem: &Problem) -> Response {
    let Ok(hold) = find(site, id).await else { return refusal(problem) };
    let (title, detail) = problem.words();
    let attempt = Attempt { problem: Some(format!("{title}. {detail}")), reason };
    page(problem.status(), &HoldPage::new(&hold, visitor, attempt))
}

async fn find(site: &Site, id: &str) -> Result<Hold, Problem> {
    site.control.hold(id).await?.ok_or_else(|| Problem::not_found("There is no such hold."))
}
