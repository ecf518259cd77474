//! Names and identifiers that every room shares.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The product's name: binary, metric prefix, facet prefix, admin database and refusal nonce derive from it.
pub const NAME: &str = "holdgate";

/// Prefix of environment variables.
pub const ENV_PREFIX: &str = "HOLDGATE";

/// Crockford's base 32: no letter that is read as a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}"));
        text
    })
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier; time-ordered (UUID version 7, RFC 9562).
            #[must_use]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The UUID itself.
            #[must_use]
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id!(
    /// One client connection.
    SessionId
);
uuid_id!(
    /// One run of one statement; all records of that run carry it.
    StatementId
);

/// One parked statement. Short, so that a person can type it: ten characters of base 32 (50 random bits).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HoldId(String);

impl HoldId {
    /// A new random identifier. The store refuses a duplicate.
    #[must_use]
    pub fn new() -> Self {
        Self(random_base32(10))
    }

    /// Reads an identifier as an operator typed it; `None` where it cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let fits = text.len() == 10 && text.bytes().all(|byte| ALPHABET.contains(&byte));
        fits.then_some(Self(text))
    }

    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for HoldId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text that makes Postgres raise a refusal for us, and by which its error is known again.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Nonce(String);

impl Nonce {
    /// A new random nonce of the form `holdgate_<26 characters>`: 130 random bits, and shorter than 63 bytes.
    #[must_use]
    pub fn new() -> Self {
        Self(format!("{NAME}_{}", random_base32(26)))
    }

    /// The nonce as text: a valid SQL identifier that is not a statement.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Nonce {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `length` characters of base 32 from the system's random source.
#[must_use]
pub fn random_base32(length: usize) -> String {
    random_bytes(length)
        .into_iter()
        .filter_map(|byte| ALPHABET.get(usize::from(byte & 31)))
        .map(|byte| char::from(*byte))
        .collect()
}

/// `length` bytes from the system's random source.
///
/// # Panics
/// The system has no randomness to give.
#[must_use]
#[expect(clippy::expect_used, reason = "without randomness no secret, nonce or id is safe to hand out")]
pub fn random_bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SystemRandom::new().fill(&mut bytes).expect("the system's random source failed");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_id_survives_being_typed_in_capitals() {
        let id = HoldId::new();
        assert_eq!(HoldId::parse(&format!(" {} ", id.as_str().to_uppercase())), Some(id));
    }

    #[test]
    fn text_that_is_no_hold_id_is_refused() {
        for text in ["", "short", "il-o-u-are", "0123456789a", "'; drop --"] {
            assert_eq!(HoldId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_nonce_is_not_truncated_by_postgres() {
        assert!(Nonce::new().as_str().len() < 63);
        assert_ne!(Nonce::new(), Nonce::new());
    }
}
