//! Sign-in by an `OpenID` Connect provider: the authorization code flow with PKCE (RFC 7636), state and nonce
//! (`OpenID` Connect Core 1.0, section 3.1).

mod exchange;
mod pending;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

pub use exchange::{OidcOptions, Provider, ProviderError};
pub(in crate::http) use pending::Pendings;

use super::cookies::Cookie;
use super::page::{message, refusal};
use super::sign_in;
use super::visitor::next;
use crate::approvals::Method;
use crate::http::extract::Pairs;
use crate::http::{Problem, Site};
use crate::telemetry;

/// Leads to the provider.
pub(super) async fn start(State(site): State<Site>, Pairs(pairs): Pairs) -> Response {
    let Some(provider) = &site.provider else { return refusal(&none()) };
    let wanted = pairs.iter().find(|(name, _)| name == "next").map(|(_, value)| value.as_str());
    let (pending, cookie) = site.pendings.begin(next(wanted));
    match provider.address(&pending).await {
        Ok(url) => {
            let cookie = site.place.set(Cookie::SigningIn, &cookie, pending::KEPT.as_secs());
            ([(header::SET_COOKIE, cookie)], Redirect::to(&url)).into_response()
        }
        Err(error) => failed(&error),
    }
}

/// Comes back from the provider.
pub(super) async fn callback(State(site): State<Site>, headers: HeaderMap, Pairs(pairs): Pairs) -> Response {
    let Some(provider) = &site.provider else { return refusal(&none()) };
    let value = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let cookie = site.place.get(Cookie::SigningIn, &headers).unwrap_or_default();
    let Some(pending) = site.pendings.end(cookie, value("state").unwrap_or_default()) else {
        return denied("The sign-in was not begun in this browser, or took too long. Begin again.");
    };
    if let Some(error) = value("error") {
        tracing::warn!(error, "the identity provider refused a sign-in");
        return denied("The identity provider did not let you in.");
    }
    let subject = match provider.subject(&pending, value("code").unwrap_or_default(), value("iss")).await {
        Ok(subject) => subject,
        Err(error) => return failed(&error),
    };
    let named = provider.operator(&subject).and_then(|name| site.control.operators().named(name));
    let Some(operator) = named else {
        tracing::warn!(subject, "signed in at the identity provider, and no operator");
        return denied("You are signed in at the identity provider, but no operator has this subject.");
    };
    let how = format!("by OpenID Connect, issuer {}, subject {subject}", provider.issuer());
    let admitted = sign_in::admit_from_afar(&site, operator, &how, (&headers, &pending.next)).await;
    admitted.unwrap_or_else(|problem| refusal(&problem))
}

fn none() -> Problem {
    Problem::not_found("No identity provider is configured.")
}

fn denied(text: &str) -> Response {
    telemetry::sign_in_failed(Method::Web.as_str());
    message(StatusCode::FORBIDDEN, "Not signed in", text)
}

fn failed(error: &ProviderError) -> Response {
    tracing::warn!(%error, "a sign-in by the identity provider failed");
    telemetry::sign_in_failed(Method::Web.as_str());
    match error {
        ProviderError::Token(_) | ProviderError::Nonce | ProviderError::Party | ProviderError::Issuer => {
            denied("What the identity provider said is not to be believed; the proxy's diagnostics say why.")
        }
        ProviderError::Refused(_) => denied("The identity provider did not confirm the sign-in. Begin again."),
        ProviderError::Unreachable(_) | ProviderError::Malformed(_) => {
            refusal(&Problem::unavailable("The identity provider cannot be reached; the diagnostics say why."))
        }
    }
}
