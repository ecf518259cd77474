//! Sign-in by token, and sign-out.

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::cookies::Cookie;
use super::page::{message, onward, page, refusal};
use super::sessions::AGE_MAX;
use super::visitor::{Visitor, next};
use crate::approvals::{Method, Operator};
use crate::http::extract::Pairs;
use crate::http::{Problem, Site};
use crate::telemetry;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    problem: Option<&'a str>,
    oidc: bool,
    next: &'a str,
}

/// The sign-in form.
#[derive(Clone, Deserialize)]
pub(super) struct Token {
    token: String,
    #[serde(default)]
    next: String,
}

/// The sign-out form.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Leaving {
    csrf: String,
}

pub(super) async fn form(State(site): State<Site>, Pairs(pairs): Pairs) -> Response {
    let wanted = pairs.iter().find(|(name, _)| name == "next").map(|(_, value)| value.as_str());
    asked(&site, StatusCode::OK, None, next(wanted))
}

pub(super) async fn sign_in(
    State(site): State<Site>,
    headers: HeaderMap,
    extensions: Extensions,
    form: Result<Form<Token>, FormRejection>,
) -> Response {
    let Ok(Form(form)) = form else {
        return refusal(&Problem::unprocessable("The form is not one of these pages, or too long."));
    };
    let next = next(Some(&form.next));
    // A form of another site would sign the visitor in as somebody else.
    if !site.place.is_own(&headers) {
        return asked(&site, StatusCode::FORBIDDEN, Some("The form was sent by another site."), next);
    }
    if let Some(wait) = site.attempts.wait(&extensions, &headers) {
        telemetry::sign_in_failed(Method::Web.as_str());
        return refusal(&Problem::too_many_attempts(wait));
    }
    let Some(operator) = site.control.authenticate(form.token.trim()) else {
        site.attempts.failed(&extensions, &headers);
        telemetry::sign_in_failed(Method::Web.as_str());
        return asked(&site, StatusCode::UNAUTHORIZED, Some("The token is no operator's."), next);
    };
    match admit(&site, operator, "by token", &headers).await {
        Ok(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response(),
        Err(problem) => refusal(&problem),
    }
}

pub(super) async fn sign_out(
    State(site): State<Site>,
    visitor: Visitor,
    headers: HeaderMap,
    form: Result<Form<Leaving>, FormRejection>,
) -> Response {
    let own = form.is_ok_and(|Form(form)| visitor.session.made(&form.csrf));
    if !site.place.is_own(&headers) || !own {
        return message(StatusCode::FORBIDDEN, "Not signed out", "The form is of another session.");
    }
    site.sessions.close(&visitor.cookie);
    if let Err(error) = site.control.signed_out(visitor.operator(), Method::Web).await {
        // The session is over all the same: a log that fails keeps nobody signed in.
        tracing::error!(%error, "a sign-out was not written to the log");
    }
    ([(header::SET_COOKIE, site.place.set(Cookie::Session, "", 0))], Redirect::to("/sign-in")).into_response()
}

/// Opens a session, once the log has it; the cookie to set. `how` is a few words for the record.
///
/// # Errors
/// The log did not take it.
pub(super) async fn admit(site: &Site, operator: Operator, how: &str, headers: &HeaderMap) -> Result<String, Problem> {
    let recorded = site.control.signed_in_by(&operator, Method::Web, how).await;
    recorded.map_err(|error| {
        tracing::error!(%error, "a sign-in was not written to the log");
        Problem::unavailable("The sign-in could not be written to the log, so there is none.")
    })?;
    // A session that this browser had before ends: its name may be known to somebody else.
    if let Some(former) = site.place.get(Cookie::Session, headers) {
        site.sessions.close(former);
    }
    let name = site.sessions.open(operator);
    Ok(site.place.set(Cookie::Session, &name, AGE_MAX.as_secs()))
}

/// The same for a browser that another site has sent.
///
/// # Errors
/// As [`admit`].
pub(super) async fn admit_from_afar(
    site: &Site,
    operator: Operator,
    how: &str,
    (headers, next): (&HeaderMap, &str),
) -> Result<Response, Problem> {
    let cookie = admit(site, operator, how, headers).await?;
    let mut response = onward(next);
    for cookie in [cookie, site.place.set(Cookie::SigningIn, "", 0)] {
        if let Ok(value) = cookie.parse() {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    Ok(response)
}

fn asked(site: &Site, status: StatusCode, problem: Option<&str>, next: &str) -> Response {
    page(status, &SignInPage { problem, oidc: site.provider.is_some(), next })
}
