//! Who calls: the operator behind a Bearer token (RFC 6750), and the surface that it comes from.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::{Problem, Site};
use crate::approvals::{Method, Operator};
use crate::ids::NAME;
use crate::telemetry;

/// The caller of one request. A handler that takes it is closed to everybody else.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) operator: Operator,
    pub(super) method: Method,
}

impl FromRequestParts<Site> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let Some(token) = token(parts) else {
            telemetry::sign_in_failed(Method::Http.as_str());
            return Err(Problem::unauthorized());
        };
        if let Some(wait) = site.attempts.wait(&parts.extensions, &parts.headers) {
            telemetry::sign_in_failed(Method::Http.as_str());
            return Err(Problem::too_many_attempts(wait));
        }
        let operator = site.control.authenticate(token).ok_or_else(|| {
            site.attempts.failed(&parts.extensions, &parts.headers);
            telemetry::sign_in_failed(Method::Http.as_str());
            Problem::unauthorized()
        })?;
        Ok(Self { operator, method: method(parts) })
    }
}

fn token(parts: &Parts) -> Option<&str> {
    let (scheme, token) = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The command line names itself; that is a word for the record and widens nothing.
fn method(parts: &Parts) -> Method {
    let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let (name, _version) = agent.split_once('/').unwrap_or((agent, ""));
    if name == NAME { Method::Cli } else { Method::Http }
}
