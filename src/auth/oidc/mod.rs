//! Tokens of an `OpenID` Connect provider: who signed them, for whom, until when, and what they claim (RFC 7519, RFC 9068).
//!
//! Only asymmetric signatures are known here, so that no token can be checked with a public key as if it were a shared
//! secret. A token is never part of an error, and nothing of a claim is before the signature was found right.
//! Start reading at [`Verifier::verify`].

mod claims;
mod jws;
mod keys;
mod source;

use std::time::Duration;

pub use claims::Claims;
pub use jws::Algorithm;
pub use keys::{KeySet, KeysError};
pub use source::Source;

use crate::clock::Timestamp;

/// The longest token that is read, bytes.
pub const TOKEN_MAX: usize = 16 * 1024;

/// What is asked of a provider's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// `iss`, to the letter.
    pub issuer: String,
    /// `aud` must name one of them.
    pub audiences: Vec<String>,
    /// Algorithms that are taken; all that are known here where it is empty.
    pub algorithms: Vec<Algorithm>,
    /// How far the provider's clock may be from ours.
    pub skew: Duration,
}

/// Why a token is not taken. No variant holds any of the token's text.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of unpadded base64url with JSON in them, or too long.
    #[error("it is no signed token")]
    Malformed,
    /// An algorithm that is not taken, `none` and the symmetric ones among them.
    #[error("its algorithm is not accepted")]
    Algorithm,
    /// No key of the provider's has its key id.
    #[error("its key is not one of the provider's")]
    UnknownKey,
    /// The signature is of another text or another key.
    #[error("its signature is wrong")]
    Signature,
    /// Another issuer.
    #[error("it is of another issuer")]
    Issuer,
    /// It is for somebody else.
    #[error("it is for another audience")]
    Audience,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    Early,
    /// A claim that must be there is missing, or not of its form.
    #[error("its claim `{0}` is missing or malformed")]
    Claim(&'static str),
    /// The provider's keys cannot be had.
    #[error("the provider's keys cannot be read: {0}")]
    Keys(#[from] KeysError),
}

impl TokenError {
    /// Whether the signature was right: only then may a stranger be told what is wrong.
    #[must_use]
    pub fn is_authentic(&self) -> bool {
        matches!(self, Self::Issuer | Self::Audience | Self::Expired | Self::Early | Self::Claim(_))
    }
}

/// Checks tokens of one provider. Clones share keys.
#[derive(Clone, Debug)]
pub struct Verifier {
    expectation: Expectation,
    source: Source,
}

impl Verifier {
    /// A verifier with the keys of a source, which are read when the first token comes.
    #[must_use]
    pub fn new(expectation: Expectation, source: Source) -> Self {
        Self { expectation, source }
    }

    /// What a token says, if it is one of the provider's, for us, and of now.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        let token = jws::Jws::parse(token)?;
        if !self.takes(token.algorithm) {
            return Err(TokenError::Algorithm);
        }
        let keys = self.source.current().await?;
        let claims = match token.verified(&keys) {
            // A provider that has changed its keys signs with one that was not there when they were read.
            Err(TokenError::UnknownKey) => token.verified(&*self.source.again(&keys).await?)?,
            other => other?,
        };
        self.expectation.check(&claims, now)?;
        Ok(claims)
    }

    fn takes(&self, algorithm: Algorithm) -> bool {
        let taken = &self.expectation.algorithms;
        taken.is_empty() || taken.contains(&algorithm)
    }
}

impl Expectation {
    fn check(&self, claims: &Claims, now: Timestamp) -> Result<(), TokenError> {
        if claims.text("iss").ok_or(TokenError::Claim("iss"))? != self.issuer {
            return Err(TokenError::Issuer);
        }
        if !claims.list("aud").iter().any(|audience| self.audiences.contains(audience)) {
            return Err(TokenError::Audience);
        }
        if now >= claims.time("exp")?.ok_or(TokenError::Claim("exp"))?.after(self.skew) {
            return Err(TokenError::Expired);
        }
        for name in ["nbf", "iat"] {
            if claims.time(name)?.is_some_and(|from| now.after(self.skew) < from) {
                return Err(TokenError::Early);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
