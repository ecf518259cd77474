//! The names in a client's certificate, and those by which the configuration knows a principal.

use std::str::FromStr;

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::policy::yaml::text_type;

/// One name of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The common name of the subject.
    Common(String),
    /// A DNS name among the alternative names.
    Dns(String),
    /// A mail address among them.
    Email(String),
    /// A URI among them, such as a SPIFFE id.
    Uri(String),
}

impl FromStr for CertificateName {
    type Err = String;

    /// `cn=NAME`, `dns=NAME`, `email=NAME`, `uri=NAME`; a name alone is a common name.
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = text.split_once('=').unwrap_or(("cn", text));
        let name = name.trim().to_owned();
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(format!("`{text}` names nobody; write cn=NAME, dns=NAME, email=NAME or uri=NAME"));
        }
        match kind {
            "cn" => Ok(Self::Common(name)),
            // DNS names have no case.
            "dns" => Ok(Self::Dns(name.to_ascii_lowercase())),
            "email" => Ok(Self::Email(name)),
            "uri" => Ok(Self::Uri(name)),
            _ => Err(format!("`{kind}` is no sort of name; write cn=NAME, dns=NAME, email=NAME or uri=NAME")),
        }
    }
}

text_type!(CertificateName, "CertificateName", "A name in a client's certificate.", "dns=bot.internal");

/// The names in a certificate. One with two common names has none: it would depend on the reader who it is.
#[must_use]
pub fn names(certificate: &CertificateDer<'_>) -> Vec<CertificateName> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let mut common = parsed.subject().iter_common_name().map(|name| name.as_str().ok());
    let mut found = Vec::new();
    // A NUL or another control character could end a name early for somebody else.
    let clean = |name: &str| !name.is_empty() && !name.chars().any(char::is_control);
    if let (Some(Some(name)), None) = (common.next(), common.next()) {
        found.push(CertificateName::Common(name.to_owned()));
    }
    if let Ok(Some(alternatives)) = parsed.subject_alternative_name() {
        found.extend(alternatives.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(CertificateName::Dns(name.to_ascii_lowercase())),
            GeneralName::RFC822Name(name) => Some(CertificateName::Email((*name).to_owned())),
            GeneralName::URI(name) => Some(CertificateName::Uri((*name).to_owned())),
            _ => None,
        }));
    }
    found.retain(|name| clean(name.as_str()));
    found
}

impl CertificateName {
    fn as_str(&self) -> &str {
        match self {
            Self::Common(name) | Self::Dns(name) | Self::Email(name) | Self::Uri(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(fill: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        fill(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn common_and_alternative_names_are_read() {
        let found = names(&certificate(|params| {
            params.distinguished_name.push(DnType::CommonName, "bot");
            params.subject_alt_names = vec![
                SanType::DnsName("Bot.Internal".try_into().unwrap()),
                SanType::URI("spiffe://shop/bot".try_into().unwrap()),
            ];
        }));
        let wanted: Vec<CertificateName> =
            ["bot", "dns=bot.internal", "uri=spiffe://shop/bot"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_name_with_a_control_character_and_a_text_that_is_no_certificate_name_nobody() {
        let found = names(&certificate(|params| params.distinguished_name.push(DnType::CommonName, "bot\0.evil")));
        assert_eq!(found, []);
        assert_eq!(names(&CertificateDer::from_slice(b"x")), []);
    }

    #[test]
    fn a_sort_of_name_that_is_none_is_refused() {
        for text in ["", "cn=", "ou=x", "cn=a\0b"] {
            assert!(text.parse::<CertificateName>().is_err(), "{text:?}");
        }
    }
}
