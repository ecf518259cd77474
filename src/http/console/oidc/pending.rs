//! A sign-in that is under way: kept by the browser, under a signature of this process.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::ids::{random_base32, random_bytes};

/// How long a person may take at the provider.
pub(super) const KEPT: Duration = Duration::from_secs(10 * 60);
/// 260 random bits; a PKCE verifier has 43 characters at least.
const SECRET_LEN: usize = 52;
/// The longest cookie that is read.
const COOKIE_MAX: usize = 2048;

/// What the answer of the provider is compared with.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::http) struct Pending {
    pub(super) state: String,
    pub(super) nonce: String,
    /// PKCE's `code_verifier`.
    pub(super) verifier: String,
    pub(super) next: String,
    /// Microseconds.
    until: i64,
}

/// Makes and checks them.
pub(in crate::http) struct Pendings {
    key: hmac::Key,
    clock: Clock,
}

impl Pendings {
    pub(in crate::http) fn new(clock: Clock) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &random_bytes(32)), clock }
    }

    /// A new one, and its cookie.
    pub(super) fn begin(&self, next: &str) -> (Pending, String) {
        let [state, nonce, verifier] = std::array::from_fn(|_| random_base32(SECRET_LEN));
        let until = self.clock.now().after(KEPT).as_micros();
        let pending = Pending { state, nonce, verifier, next: next.to_owned(), until };
        let text = URL_SAFE_NO_PAD.encode(serde_json::json!(pending).to_string());
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, text.as_bytes()).as_ref());
        (pending, format!("{text}.{tag}"))
    }

    /// The one that this browser began, if the provider's answer is to it.
    pub(super) fn end(&self, cookie: &str, state: &str) -> Option<Pending> {
        let (text, tag) = cookie.split_once('.').filter(|_| cookie.len() <= COOKIE_MAX)?;
        hmac::verify(&self.key, text.as_bytes(), &URL_SAFE_NO_PAD.decode(tag).ok()?).ok()?;
        let pending: Pending = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        (pending.until > self.clock.now().as_micros() && pending.state == state).then_some(pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approvals::samples;

    #[test]
    fn only_the_browser_that_began_ends_a_sign_in_and_in_time() {
        let clock = Clock::manual(samples::start());
        let pendings = Pendings::new(clock.clone());
        let (pending, cookie) = pendings.begin("/holds/abc");
        let (other, _) = pendings.begin("/holds");
        assert_eq!(pendings.end(&cookie, &pending.state).unwrap().next, "/holds/abc");
        for (cookie, state) in [
            (cookie.as_str(), other.state.as_str()),
            (cookie.as_str(), ""),
            ("", pending.state.as_str()),
            (&format!("x{cookie}"), pending.state.as_str()),
            (&Pendings::new(clock.clone()).begin("/holds").1, pending.state.as_str()),
        ] {
            assert!(pendings.end(cookie, state).is_none());
        }
        clock.advance(KEPT);
        assert!(pendings.end(&cookie, &pending.state).is_none());
    }
}
