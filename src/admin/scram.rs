//! The server's half of SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding, as values.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};

use crate::control::ScramVerifier;
use crate::ids::random_base32;

/// The name of the mechanism on the wire.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";
const NONCE_LEN: usize = 24;

/// Why an exchange ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScramError {
    /// A message that is not of its form.
    Malformed,
    /// The proof is of another secret.
    Wrong,
}

/// The exchange after the server's first message.
pub(super) struct Exchange {
    verifier: ScramVerifier,
    /// The client's first message without its header, and the server's answer: what both sides sign.
    signed: String,
    /// Both nonces.
    nonce: String,
    /// The client's header, as it must come back.
    header: String,
}

impl Exchange {
    /// Answers the client's first message.
    pub(super) fn begin(message: &[u8], verifier: ScramVerifier) -> Result<(Self, String), ScramError> {
        Self::answer(message, verifier, &random_base32(NONCE_LEN))
    }

    fn answer(message: &[u8], verifier: ScramVerifier, own: &str) -> Result<(Self, String), ScramError> {
        let message = std::str::from_utf8(message).map_err(|_| ScramError::Malformed)?;
        // gs2-header: binding flag, optional authzid, both ended by a comma. `y` is a client that could bind and found no
        // server that does; that is so.
        let (flag, rest) = message.split_once(',').ok_or(ScramError::Malformed)?;
        let (authzid, bare) = rest.split_once(',').ok_or(ScramError::Malformed)?;
        if !matches!(flag, "n" | "y") || !authzid.is_empty() {
            return Err(ScramError::Malformed);
        }
        let client_nonce = attribute(bare, "r=").filter(|nonce| !nonce.is_empty()).ok_or(ScramError::Malformed)?;
        if !bare.starts_with("n=") {
            return Err(ScramError::Malformed);
        }
        let nonce = format!("{client_nonce}{own}");
        let answer = format!("r={nonce},s={},i={}", STANDARD.encode(&verifier.salt), verifier.iterations);
        let exchange = Self { verifier, signed: format!("{bare},{answer}"), nonce, header: format!("{flag},,") };
        Ok((exchange, answer))
    }

    /// Checks the client's proof; the answer proves the server in its turn.
    pub(super) fn finish(self, message: &[u8]) -> Result<String, ScramError> {
        let message = std::str::from_utf8(message).map_err(|_| ScramError::Malformed)?;
        let (unproved, proof) = message.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let proof = STANDARD.decode(proof).map_err(|_| ScramError::Malformed)?;
        if attribute(unproved, "c=") != Some(&STANDARD.encode(&self.header))
            || attribute(unproved, "r=") != Some(&self.nonce)
        {
            return Err(ScramError::Malformed);
        }
        let signed = format!("{},{unproved}", self.signed);
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.verifier.stored_key), signed.as_bytes());
        if proof.len() != signature.as_ref().len() {
            return Err(ScramError::Malformed);
        }
        let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(left, right)| left ^ right).collect();
        // The comparison is over a hash of what the client sent: its time tells nothing of the secret.
        if digest::digest(&digest::SHA256, &client_key).as_ref() != self.verifier.stored_key {
            return Err(ScramError::Wrong);
        }
        let server = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.verifier.server_key), signed.as_bytes());
        Ok(format!("v={}", STANDARD.encode(server.as_ref())))
    }
}

fn attribute<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.split(',').find_map(|part| part.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3: user `user`, password `pencil`.
    fn example() -> ScramVerifier {
        ScramVerifier {
            salt: STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(),
            iterations: 4096,
            stored_key: STANDARD.decode("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=").unwrap(),
            server_key: STANDARD.decode("wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=").unwrap(),
        }
    }

    const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const OWN: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    #[test]
    fn the_example_of_the_rfc_is_answered_as_it_says() {
        let (exchange, answer) = Exchange::answer(FIRST, example(), OWN).unwrap();
        assert_eq!(answer, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        assert_eq!(exchange.finish(LAST.as_bytes()).unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn another_secret_nonce_or_header_is_refused() {
        let finish = |last: &str| Exchange::answer(FIRST, example(), OWN).unwrap().0.finish(last.as_bytes());
        assert_eq!(finish(&LAST.replace("dHzb", "dHzc")), Err(ScramError::Wrong));
        assert_eq!(finish(&LAST.replace("k0,", "k1,")), Err(ScramError::Malformed));
        assert_eq!(finish(&LAST.replace("biws", "eSws")), Err(ScramError::Malformed));
        assert_eq!(finish("c=biws"), Err(ScramError::Malformed));
    }

    #[test]
    fn a_first_message_that_asks_for_channel_binding_or_another_identity_is_refused() {
        for first in ["p=tls-server-end-point,,n=u,r=x", "n,a=root,n=u,r=x", "n,,r=x", "n,,n=u,r=", "", "n,"] {
            assert!(Exchange::begin(first.as_bytes(), example()).is_err(), "{first}");
        }
    }
}
