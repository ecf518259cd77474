//! A provider's public keys: a JSON Web Key Set (RFC 7517), read strictly.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::Value;

use super::Algorithm;

/// The most keys of one set that are read.
const KEYS_MAX: usize = 100;
/// The largest set that is read, bytes.
pub(super) const SET_MAX: usize = 1024 * 1024;

/// Why there are no keys.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeysError {
    /// A file that cannot be read.
    #[error("{0}: {1}")]
    File(String, String),
    /// An address that cannot be fetched.
    #[error("{0}: {1}")]
    Fetch(String, String),
    /// A text that is no key set.
    #[error("it is no JSON Web Key Set")]
    Malformed,
    /// A set without a key that could have signed anything.
    #[error("the set holds no public key for RSA, ECDSA or Ed25519 signatures")]
    Empty,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// One public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    id: Option<String>,
    /// The one algorithm that it is for, where it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

/// The keys of a provider that can check signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Entry {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a key set. Keys for other uses and of other sorts are left out, as the RFC asks.
    ///
    /// # Errors
    /// No set, or one without a usable key.
    pub fn read(text: &[u8]) -> Result<Self, KeysError> {
        let document: Document = serde_json::from_slice(text).map_err(|_| KeysError::Malformed)?;
        let entries = document.keys.into_iter().take(KEYS_MAX);
        let keys: Vec<_> = entries.filter_map(|key| serde_json::from_value(key).ok()).filter_map(Entry::key).collect();
        if keys.is_empty() { Err(KeysError::Empty) } else { Ok(Self(keys)) }
    }

    /// Keys that a token with this key id and algorithm may be signed with.
    pub(super) fn fitting<'a>(&'a self, id: Option<&'a str>, algorithm: Algorithm) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(move |key| (id.is_none() || key.id.as_deref() == id) && key.fits(algorithm))
    }
}

impl Entry {
    fn key(self) -> Option<Key> {
        let signs = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|uses| uses.iter().any(|one| one == "verify"));
        let material = self.material().filter(|_| signs)?;
        let algorithm = match self.alg {
            None => None,
            Some(name) => Some(serde_json::from_value(Value::String(name)).ok()?),
        };
        Some(Key { id: self.kid, algorithm, material })
    }

    fn material(&self) -> Option<Material> {
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => Some(Material::Rsa { modulus: number(self.n.as_ref())?, exponent: number(self.e.as_ref())? }),
            ("EC", Some("P-256")) => Some(Material::P256(self.point(32)?)),
            ("EC", Some("P-384")) => Some(Material::P384(self.point(48)?)),
            ("OKP", Some("Ed25519")) => Some(Material::Ed25519(coordinate(self.x.as_ref(), 32)?)),
            _ => None,
        }
    }

    fn point(&self, length: usize) -> Option<Vec<u8>> {
        Some([vec![4], coordinate(self.x.as_ref(), length)?, coordinate(self.y.as_ref(), length)?].concat())
    }
}

/// An unsigned number without leading zeros.
fn number(text: Option<&String>) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text?).ok()?;
    let start = bytes.iter().position(|byte| *byte != 0)?;
    bytes.get(start..).map(<[u8]>::to_vec)
}

fn coordinate(text: Option<&String>, length: usize) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok().filter(|bytes| bytes.len() == length)
}

impl Key {
    fn fits(&self, algorithm: Algorithm) -> bool {
        let sort = match self.material {
            Material::Rsa { .. } => rsa(algorithm).is_some(),
            Material::P256(_) => algorithm == Algorithm::Es256,
            Material::P384(_) => algorithm == Algorithm::Es384,
            Material::Ed25519(_) => algorithm == Algorithm::EdDsa,
        };
        sort && self.algorithm.is_none_or(|own| own == algorithm)
    }

    pub(super) fn has_signed(&self, algorithm: Algorithm, text: &[u8], signature: &[u8]) -> bool {
        let plain = |with: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(with, key).verify(text, signature).is_ok()
        };
        self.fits(algorithm)
            && match &self.material {
                Material::Rsa { modulus, exponent } => rsa(algorithm).is_some_and(|with| {
                    RsaPublicKeyComponents { n: modulus, e: exponent }.verify(with, text, signature).is_ok()
                }),
                Material::P256(key) => plain(&ECDSA_P256_SHA256_FIXED, key),
                Material::P384(key) => plain(&ECDSA_P384_SHA384_FIXED, key),
                Material::Ed25519(key) => plain(&ED25519, key),
            }
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&RSA_PSS_2048_8192_SHA512),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => None,
    }
}
