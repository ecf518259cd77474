//! The channel binding `tls-server-end-point` (RFC 5929, section 4): a hash of the server's certificate.

use ring::digest::{self, Algorithm, SHA256, SHA384, SHA512};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::signature_algorithm::SignatureAlgorithm;

/// The hash of a certificate by the algorithm that its signature uses, MD5 and SHA-1 raised to SHA-256. `None` where the
/// signature has no hash of its own (Ed25519): the RFC defines no binding there, and neither Postgres nor libpq has one.
#[must_use]
pub fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let algorithm = hash(&parsed)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

fn hash(certificate: &X509Certificate<'_>) -> Option<&'static Algorithm> {
    if let Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) =
        SignatureAlgorithm::try_from(&certificate.signature_algorithm)
    {
        return by_oid(&parameters.hash_algorithm_oid().to_id_string());
    }
    by_oid(&certificate.signature_algorithm.algorithm.to_id_string())
}

/// Signature algorithms, and behind them hashes as they stand in the parameters of RSA-PSS.
fn by_oid(oid: &str) -> Option<&'static Algorithm> {
    match oid {
        // md5, sha1 and sha256 with RSA; SHA-1 and SHA-256 with ECDSA.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2"
        | "1.3.14.3.2.26"
        | "2.16.840.1.101.3.4.2.1" => Some(&SHA256),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" | "2.16.840.1.101.3.4.2.2" => Some(&SHA384),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" | "2.16.840.1.101.3.4.2.3" => Some(&SHA512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> CertificateDer<'static> {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        rcgen::CertificateParams::new(vec!["db".to_owned()]).unwrap().self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let certificate_of = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert_eq!(end_point(&certificate_of).unwrap(), digest::digest(&SHA256, &certificate_of).as_ref());
        assert_eq!(end_point(&certificate(&rcgen::PKCS_ECDSA_P384_SHA384)).unwrap().len(), 48);
    }

    #[test]
    fn a_signature_without_a_hash_and_a_text_that_is_no_certificate_have_no_binding() {
        assert_eq!(end_point(&certificate(&rcgen::PKCS_ED25519)), None);
        assert_eq!(end_point(&CertificateDer::from_slice(b"certificate")), None);
    }
}
