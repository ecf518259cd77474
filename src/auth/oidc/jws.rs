//! One token in the compact form (RFC 7515, section 7.1), and its signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::keys::KeySet;
use super::{Claims, TOKEN_MAX, TokenError};

/// Signatures that are known here (RFC 7518, section 3.1; RFC 8037). The symmetric ones and `none` are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Algorithm {
    /// RSA PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// The same with SHA-384.
    Rs384,
    /// The same with SHA-512.
    Rs512,
    /// RSA PSS with SHA-256.
    Ps256,
    /// The same with SHA-384.
    Ps384,
    /// The same with SHA-512.
    Ps512,
    /// ECDSA on P-256.
    Es256,
    /// ECDSA on P-384.
    Es384,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// `typ` of tokens that say who somebody is; others, such as those that end a session, are for something else.
const TYPES: [&str; 4] = ["jwt", "at+jwt", "application/at+jwt", "application/jwt"];

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// A token that was taken apart and not believed yet.
pub(super) struct Jws<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    signed: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_MAX {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        if claims.contains('.') {
            return Err(TokenError::Malformed);
        }
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
        let kind = header.typ.unwrap_or_default().to_ascii_lowercase();
        // An extension that must be understood is one that is not (RFC 7515, section 4.1.11).
        if header.crit.is_some() || !(kind.is_empty() || TYPES.contains(&kind.as_str())) {
            return Err(TokenError::Malformed);
        }
        let algorithm = serde_json::from_value(Value::String(header.alg)).map_err(|_| TokenError::Algorithm)?;
        Ok(Self { algorithm, key_id: header.kid, signed, claims, signature: decode(signature)? })
    }

    /// What it says, if one of these keys has signed it.
    pub(super) fn verified(&self, keys: &KeySet) -> Result<Claims, TokenError> {
        let mut found = false;
        for key in keys.fitting(self.key_id.as_deref(), self.algorithm) {
            found = true;
            if key.has_signed(self.algorithm, self.signed.as_bytes(), &self.signature) {
                let claims: Map<String, Value> =
                    serde_json::from_slice(&decode(self.claims)?).map_err(|_| TokenError::Malformed)?;
                return Ok(Claims::new(claims));
            }
        }
        Err(if found { TokenError::Signature } else { TokenError::UnknownKey })
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}
