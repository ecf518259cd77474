//! Who looks at a page: the signed-in operator, or the way to the sign-in.

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};

use super::cookies::Cookie;
use super::page;
use super::sessions::Session;
use crate::approvals::Operator;
use crate::http::Site;

/// The longest path that a sign-in leads back to.
const NEXT_MAX: usize = 512;
/// Where it leads otherwise.
const HOME: &str = "/holds";

/// The signed-in operator. A page that takes it is closed to everybody else.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) session: Session,
    /// The name of the session, to end it by.
    pub(super) cookie: String,
}

/// A visitor as every page names it.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) human: String,
    pub(super) csrf: String,
}

impl Visitor {
    pub(super) fn operator(&self) -> &Operator {
        &self.session.operator
    }

    pub(super) fn named(&self) -> Named {
        let Operator { name, human, .. } = self.operator();
        Named { name: name.clone(), human: human.clone(), csrf: self.session.csrf.clone() }
    }
}

impl FromRequestParts<Site> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Response> {
        let cookie = site.place.get(Cookie::Session, &parts.headers);
        if let Some((cookie, session)) = cookie.and_then(|cookie| Some((cookie, site.sessions.find(cookie)?))) {
            return Ok(Self { session, cookie: cookie.to_owned() });
        }
        let path = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |uri| &uri.0);
        let next = next(path.path_and_query().map(axum::http::uri::PathAndQuery::as_str));
        let foreign = parts.headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
        if foreign && cookie.is_none() && parts.method == axum::http::Method::GET {
            // A link in a chat: the browser keeps the cookie back until a page of ours asks.
            return Err(page::onward(next));
        }
        Err(Redirect::to(&to_sign_in(next)).into_response())
    }
}

/// Where a sign-in leads afterwards: to a page of ours, or to the list.
pub(super) fn next(path: Option<&str>) -> &str {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_?=&,".contains(&byte);
    path.filter(|path| path.len() <= NEXT_MAX && path.bytes().all(plain))
        .filter(|path| *path == HOME || path.starts_with("/holds/") || path.starts_with("/holds?"))
        .unwrap_or(HOME)
}

fn to_sign_in(next: &str) -> String {
    let escaped = next.replace('%', "%25").replace('?', "%3F").replace('=', "%3D").replace('&', "%26");
    format!("/sign-in?next={escaped}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_leads_to_a_page_of_ours_alone() {
        assert_eq!(next(Some("/holds/abc?x=1")), "/holds/abc?x=1");
        for path in ["//evil.example", "/\\evil", "https://evil.example/holds/", "/holds/%0d%0a", "/sign-out", ""] {
            assert_eq!(next(Some(path)), HOME, "{path}");
        }
        assert_eq!(to_sign_in("/holds?state=all&x=1"), "/sign-in?next=/holds%3Fstate%3Dall%26x%3D1");
    }
}
