//! The server's half of SCRAM-SHA-256 (RFC 5802, RFC 7677) and SCRAM-SHA-256-PLUS (RFC 5929), as values.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};

use crate::ids::random_base32;

/// The mechanism without channel binding.
pub const PLAIN: &str = "SCRAM-SHA-256";
/// The mechanism with it.
pub const PLUS: &str = "SCRAM-SHA-256-PLUS";
/// The one sort of binding that Postgres and libpq know.
const BOUND: &str = "p=tls-server-end-point";
const NONCE_LEN: usize = 24;
const HASH_LEN: usize = digest::SHA256_OUTPUT_LEN;
/// More would keep a client's processor busy for minutes.
const ITERATIONS_MAX: u32 = 10_000_000;

/// What a server keeps to check a password by SCRAM-SHA-256 (RFC 5802, section 3): nothing that a client could use.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// The salt.
    pub salt: Vec<u8>,
    /// How often the hash is repeated.
    pub iterations: u32,
    /// `H(ClientKey)`.
    pub stored_key: Vec<u8>,
    /// Signs the server's last message.
    pub server_key: Vec<u8>,
}

/// A text that is no verifier. It is not repeated: it could be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no SCRAM verifier of the form SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>")]
pub struct NoVerifier;

impl Verifier {
    /// The verifier of a password, with a new salt; as the server makes it (`pg_be_scram_build_secret`).
    ///
    /// # Errors
    /// Never for a password that can be prepared.
    pub fn of_password(password: &str) -> Result<Self, NoVerifier> {
        postgres_protocol::password::scram_sha_256(password.as_bytes()).parse()
    }

    /// The verifier of somebody who does not exist: always the same for the same name, and for everybody another one. It
    /// looks like `like`, so that the answer to a name tells nothing of it.
    #[must_use]
    pub fn mock(secret: &hmac::Key, user: &str, like: Shape) -> Self {
        let of = |what: &str| {
            let mut context = hmac::Context::with_key(secret);
            context.update(what.as_bytes());
            context.update(user.as_bytes());
            context.sign().as_ref().to_vec()
        };
        let mut salt = of("salt:");
        salt.truncate(like.salt_len);
        Self { salt, iterations: like.iterations, stored_key: of("stored:"), server_key: of("server:") }
    }

    /// What a stranger can see of it.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape { salt_len: self.salt.len(), iterations: self.iterations }
    }
}

/// What a stranger sees of a verifier besides its salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of salt.
    pub salt_len: usize,
    /// Repetitions.
    pub iterations: u32,
}

impl Default for Shape {
    /// As Postgres makes them.
    fn default() -> Self {
        Self { salt_len: 16, iterations: 4096 }
    }
}

impl FromStr for Verifier {
    type Err = NoVerifier;

    /// Reads a verifier as `pg_authid.rolpassword` has it.
    fn from_str(text: &str) -> Result<Self, NoVerifier> {
        let (salted, keys) =
            text.strip_prefix(PLAIN).and_then(|rest| rest.strip_prefix('$')?.split_once('$')).ok_or(NoVerifier)?;
        let (iterations, salt) = salted.split_once(':').ok_or(NoVerifier)?;
        let (stored, server) = keys.split_once(':').ok_or(NoVerifier)?;
        let bytes = |text: &str| STANDARD.decode(text).map_err(|_| NoVerifier);
        let verifier = Self {
            salt: bytes(salt)?,
            iterations: iterations.parse().map_err(|_| NoVerifier)?,
            stored_key: bytes(stored)?,
            server_key: bytes(server)?,
        };
        let keys = verifier.stored_key.len() == HASH_LEN && verifier.server_key.len() == HASH_LEN;
        let salt = (1..=HASH_LEN).contains(&verifier.salt.len());
        let sound = keys && salt && (1..=ITERATIONS_MAX).contains(&verifier.iterations);
        if sound { Ok(verifier) } else { Err(NoVerifier) }
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] =
            [&self.salt, &self.stored_key, &self.server_key].map(|bytes| STANDARD.encode(bytes));
        write!(f, "{PLAIN}${}:{salt}${stored}:{server}", self.iterations)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(***)")
    }
}

/// Why an exchange ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramError {
    /// A message that is not of its form.
    Malformed,
    /// The client says that we offer no channel binding, and we do; or it is bound to another channel. Somebody may be
    /// between us.
    Binding,
    /// The proof is of another secret.
    Wrong,
}

/// The exchange after the server's first message.
pub struct Exchange {
    verifier: Verifier,
    /// The client's first message without its header, and the server's answer: what both sides sign.
    signed: String,
    /// Both nonces.
    nonce: String,
    /// The client's header and what it binds to, as they must come back.
    header: Vec<u8>,
}

impl Exchange {
    /// Answers the client's first message of a mechanism; `binding` is what [`PLUS`] binds to, where that was offered.
    ///
    /// # Errors
    /// The message is malformed, or its channel binding does not fit.
    pub fn begin(
        mechanism: &str,
        message: &[u8],
        verifier: Verifier,
        binding: Option<&[u8]>,
    ) -> Result<(Self, String), ScramError> {
        Self::answer((mechanism, message), verifier, binding, &random_base32(NONCE_LEN))
    }

    fn answer(
        (mechanism, message): (&str, &[u8]),
        verifier: Verifier,
        binding: Option<&[u8]>,
        own: &str,
    ) -> Result<(Self, String), ScramError> {
        let message = std::str::from_utf8(message).map_err(|_| ScramError::Malformed)?;
        // gs2-header: binding flag, optional authzid, both ended by a comma.
        let (flag, rest) = message.split_once(',').ok_or(ScramError::Malformed)?;
        let (authzid, bare) = rest.split_once(',').ok_or(ScramError::Malformed)?;
        let mut header = format!("{flag},,").into_bytes();
        match (flag, mechanism, binding) {
            ("n", PLAIN, _) | ("y", PLAIN, None) => {}
            // A client that could bind and found no server that does: we do, so somebody took that out.
            ("y", PLAIN, Some(_)) => return Err(ScramError::Binding),
            (BOUND, PLUS, Some(binding)) => header.extend_from_slice(binding),
            _ => return Err(ScramError::Malformed),
        }
        let mut parts = bare.split(',');
        // The name is that of the start-up packet; Postgres ignores this one too.
        let _name = parts.next().and_then(|part| part.strip_prefix("n=")).ok_or(ScramError::Malformed)?;
        let client_nonce = parts.next().and_then(|part| part.strip_prefix("r=")).ok_or(ScramError::Malformed)?;
        if !authzid.is_empty() || client_nonce.is_empty() || !client_nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ScramError::Malformed);
        }
        let nonce = format!("{client_nonce}{own}");
        let answer = format!("r={nonce},s={},i={}", STANDARD.encode(&verifier.salt), verifier.iterations);
        let exchange = Self { verifier, signed: format!("{bare},{answer}"), nonce, header };
        Ok((exchange, answer))
    }

    /// Checks the client's proof; the answer proves the server in its turn.
    ///
    /// # Errors
    /// The message is malformed or bound to another channel, or the proof is wrong.
    pub fn finish(self, message: &[u8]) -> Result<String, ScramError> {
        let message = std::str::from_utf8(message).map_err(|_| ScramError::Malformed)?;
        let (unproved, proof) = message.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let proof = STANDARD.decode(proof).map_err(|_| ScramError::Malformed)?;
        let mut parts = unproved.split(',');
        let bound = parts.next().and_then(|part| part.strip_prefix("c=")).ok_or(ScramError::Malformed)?;
        let nonce = parts.next().and_then(|part| part.strip_prefix("r=")).ok_or(ScramError::Malformed)?;
        if nonce != self.nonce || proof.len() != HASH_LEN {
            return Err(ScramError::Malformed);
        }
        if bound != STANDARD.encode(&self.header) {
            let binds = self.header.starts_with(BOUND.as_bytes());
            return Err(if binds { ScramError::Binding } else { ScramError::Malformed });
        }
        let signed = format!("{},{unproved}", self.signed);
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.verifier.stored_key), signed.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(left, right)| left ^ right).collect();
        // The comparison is over a hash of what the client sent: its time tells nothing of the secret.
        if digest::digest(&digest::SHA256, &client_key).as_ref() != self.verifier.stored_key {
            return Err(ScramError::Wrong);
        }
        let server = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.verifier.server_key), signed.as_bytes());
        Ok(format!("v={}", STANDARD.encode(server.as_ref())))
    }
}

#[cfg(test)]
mod tests;
