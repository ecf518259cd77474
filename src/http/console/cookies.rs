//! Cookies of the console (RFC 6265bis): what they are called, and with which attributes they are set.

use axum::http::{HeaderMap, header};

/// Where the listener is for browsers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct Place {
    /// Scheme, host and port without a slash at the end; `None` where only the request says it.
    pub(in crate::http) origin: Option<String>,
}

/// Which cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookie {
    /// The name of a session. Only our own pages make the browser send it.
    Session,
    /// A sign-in that is under way at an identity provider, whose answer comes from another site.
    SigningIn,
}

impl Place {
    pub(in crate::http) fn new(public_url: Option<&str>) -> Self {
        Self { origin: public_url.map(|url| url.trim_end_matches('/').to_owned()) }
    }

    fn is_secure(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| origin.starts_with("https://"))
    }

    /// The `Set-Cookie` of a value; an empty one takes it away.
    pub(super) fn set(&self, cookie: Cookie, value: &str, seconds: u64) -> String {
        let same_site = match cookie {
            Cookie::Session => "Strict",
            Cookie::SigningIn => "Lax",
        };
        let seconds = if value.is_empty() { 0 } else { seconds };
        let secure = if self.is_secure() { "; Secure" } else { "" };
        format!("{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}", self.name(cookie))
    }

    /// The value of a cookie that came with a request.
    pub(super) fn get<'a>(&self, cookie: Cookie, headers: &'a HeaderMap) -> Option<&'a str> {
        let name = self.name(cookie);
        let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(own, value)| *own == name && !value.is_empty()).map(|(_, value)| value)
    }

    /// A `__Host-` name cannot be set by a neighbour under the same domain; it asks for `Secure`.
    fn name(&self, cookie: Cookie) -> &'static str {
        match (cookie, self.is_secure()) {
            (Cookie::Session, true) => "__Host-holdgate",
            (Cookie::Session, false) => "holdgate",
            (Cookie::SigningIn, true) => "__Host-holdgate-sign-in",
            (Cookie::SigningIn, false) => "holdgate-sign-in",
        }
    }

    /// Whether a form was sent by a page of ours, as far as the browser says where it comes from.
    pub(super) fn is_own(&self, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        if text("sec-fetch-site").is_some_and(|site| site != "same-origin") {
            return false;
        }
        let Some(origin) = text("origin") else { return true };
        let host = text("host").unwrap_or_default();
        self.origin.as_deref() == Some(origin)
            || origin.split_once("://").is_some_and(|(scheme, name)| scheme.starts_with("http") && name == host)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_session_cookie_is_strict_and_hidden_from_scripts_and_secure_under_tls() {
        let plain = Place::new(None).set(Cookie::Session, "v", 9);
        assert_eq!(plain, "holdgate=v; Path=/; Max-Age=9; HttpOnly; SameSite=Strict");
        let secure = Place::new(Some("https://gate.example/")).set(Cookie::Session, "", 9);
        assert_eq!(secure, "__Host-holdgate=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict; Secure");
    }

    #[test]
    fn only_the_cookie_of_that_very_name_counts() {
        let place = Place::new(None);
        let found = |line| place.get(Cookie::Session, &headers(&[("cookie", line)])).map(str::to_owned);
        assert_eq!(found("a=1; holdgate=x; b=2").as_deref(), Some("x"));
        for line in ["", "xholdgate=x", "holdgate", "holdgate=", "__Host-holdgate=x"] {
            assert_eq!(found(line), None, "{line}");
        }
    }

    #[test]
    fn a_form_of_another_site_is_not_our_own() {
        let place = Place::new(Some("https://gate.example"));
        for (pairs, own) in [
            (&[("host", "127.0.0.1:1")][..], true),
            (&[("origin", "https://gate.example"), ("host", "inner:1")], true),
            (&[("origin", "http://127.0.0.1:1"), ("host", "127.0.0.1:1")], true),
            (&[("origin", "https://gate.example.evil"), ("host", "gate.example")], false),
            (&[("origin", "null"), ("host", "127.0.0.1:1")], false),
            (&[("sec-fetch-site", "cross-site"), ("host", "127.0.0.1:1")], false),
            (&[("sec-fetch-site", "same-site"), ("host", "127.0.0.1:1")], false),
        ] {
            assert_eq!(place.is_own(&headers(pairs)), own, "{pairs:?}");
        }
    }
}
