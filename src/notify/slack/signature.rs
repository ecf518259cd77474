//! Whether a callback is Slack's: the `v0` signature over the raw body and its time.

use std::time::Duration;

use ring::hmac;

use crate::clock::Timestamp;

/// A callback that is older, or that much in the future, is somebody's copy.
const AGE_MAX: Duration = Duration::from_secs(5 * 60);

/// The app's signing secret.
#[derive(Clone)]
pub struct SigningSecret(hmac::Key);

impl SigningSecret {
    /// The secret as Slack shows it.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    /// Whether these are the signature and the time of this very body, and of now.
    #[must_use]
    pub fn signed(&self, (timestamp, signature): (&str, &str), body: &[u8], now: Timestamp) -> bool {
        let Ok(seconds) = timestamp.parse::<i64>() else { return false };
        let at = Timestamp::from_micros(seconds.saturating_mul(1_000_000));
        // One of the two is zero.
        if now.since(at).max(at.since(now)) > AGE_MAX {
            return false;
        }
        let Some(tag) = signature.strip_prefix("v0=").and_then(unhex) else { return false };
        let text = [b"v0:", timestamp.as_bytes(), b":", body].concat();
        hmac::verify(&self.0, &text, &tag).is_ok()
    }
}

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningSecret")
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Slack's own documentation.
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const BODY: &[u8] =
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V\
        &channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=\
        &response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
        &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const AT: &str = "1531420618";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn slacks_own_example_is_believed_for_five_minutes() {
        let secret = SigningSecret::new(SECRET);
        let signed = |seconds| secret.signed((AT, SIGNATURE), BODY, at(seconds));
        assert!(signed(1_531_420_618) && signed(1_531_420_618 + 300) && signed(1_531_420_618 - 300));
        assert!(!signed(1_531_420_618 + 301) && !signed(1_531_420_618 - 301));
    }

    #[test]
    fn another_body_time_secret_or_form_is_not() {
        let (secret, now) = (SigningSecret::new(SECRET), at(1_531_420_618));
        assert!(!secret.signed((AT, SIGNATURE), b"payload=", now));
        assert!(!secret.signed(("1531420619", SIGNATURE), BODY, now));
        assert!(!SigningSecret::new("other").signed((AT, SIGNATURE), BODY, now));
        for signature in ["", "v0=", "v0=zz", "v1=a2114d57", "a2114d57", SIGNATURE.trim_end_matches('3')] {
            assert!(!secret.signed((AT, signature), BODY, now), "{signature}");
        }
        for timestamp in ["", "now", "-1", "99999999999999999999"] {
            assert!(!secret.signed((timestamp, SIGNATURE), BODY, now), "{timestamp}");
        }
    }
}
