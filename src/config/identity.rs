//! Who clients are: principals, client rules and the token provider, from the file to their types.

use std::path::PathBuf;
use std::time::Duration;

use super::document::{ClientRuleEntry, CredentialEntry, Document, OidcEntry, PrincipalEntry};
use super::dsn::{Secret, SslMode};
use super::read::Reader;
use super::{Host, Upstream};
use crate::auth::certificate::CertificateName;
use crate::auth::oidc::Expectation;
use crate::auth::principals::{ClaimNames, TokenCondition};
use crate::auth::rules::{ClientRule, Method, TlsWanted};
use crate::auth::scram::Verifier;
use crate::catalog::tags::Wildcard;
use crate::net::tls::Identity;
use crate::policy::yaml::{At, List};
use crate::principal::PrincipalKind;

/// How far a provider's clock may be from ours unless said otherwise.
const SKEW: Duration = Duration::from_secs(60);
/// More would keep tokens alive that their provider has ended.
const SKEW_MAX: Duration = Duration::from_secs(600);

/// What is known of a principal. Without a way to prove itself to the proxy (`scram`, `cert`, `oidc`) its log-in is
/// relayed, and the role says who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalConfig {
    /// The name in policies and records, and that it logs in with unless it is relayed.
    pub name: String,
    /// What sort of requester it is.
    pub kind: PrincipalKind,
    /// The role that Postgres sees; the name where the file gives none.
    pub role: String,
    /// The human for whom it acts.
    pub human: Option<String>,
    /// Groups that policies may name.
    pub groups: Vec<String>,
    /// What checks its password.
    pub scram: Option<Verifier>,
    /// Names in its certificate.
    pub cert: Vec<CertificateName>,
    /// What its token must say.
    pub oidc: Vec<TokenCondition>,
    /// As whom the proxy logs in for it.
    pub credential: CredentialConfig,
}

/// The proxy's credential for a principal's role at the upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CredentialConfig {
    /// None: the upstream trusts the proxy with the role.
    #[default]
    Nothing,
    /// From the environment or the passfile.
    Password(Secret),
    /// The first line of a file.
    File(PathBuf),
    /// A client certificate.
    Certificate(Identity),
}

/// Whose tokens are taken as passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderConfig {
    /// Issuer, audience, algorithms, skew.
    pub expectation: Expectation,
    /// Where its keys are: a file, or an https address.
    pub jwks: KeysAt,
    /// Authorities that are trusted for that address besides the system's, PEM.
    pub ca: Option<PathBuf>,
    /// Which claims say who it is.
    pub claims: ClaimNames,
}

/// Where a key set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysAt {
    /// On the disk.
    File(PathBuf),
    /// At an address.
    Url(String),
}

impl Reader<'_> {
    pub(super) fn principals(&mut self, document: &Document, upstream: Option<&Upstream>) -> Vec<PrincipalConfig> {
        let entries = &document.principals;
        self.unique("principal", entries.iter().map(|entry| &entry.name));
        let login = |entry: &PrincipalEntry| match &entry.role {
            Some(role) if entry.is_relayed() => At { place: role.place, value: role.value.clone() },
            _ => entry.name.clone(),
        };
        let logins: Vec<_> = entries.iter().map(login).collect();
        self.unique("principal's role", logins.iter());
        entries.iter().map(|entry| self.principal(entry, document, upstream)).collect()
    }

    fn principal(
        &mut self,
        entry: &PrincipalEntry,
        document: &Document,
        upstream: Option<&Upstream>,
    ) -> PrincipalConfig {
        let scram = entry.scram.as_ref().and_then(|text| match text.value.parse() {
            Ok(verifier) => Some(verifier),
            Err(error) => {
                self.error(text.place, "bad-verifier", format!("{error}; `holdgate scram` makes one from a password"));
                None
            }
        });
        if let Some(name) =
            entry.cert.first().filter(|_| document.tls.as_ref().is_none_or(|tls| tls.client_ca.is_none()))
        {
            self.error(
                name.place,
                "no-client-ca",
                "certificates are checked only where `tls.client_ca` says who signs them",
            );
        }
        if let Some(condition) = entry.oidc.first().filter(|_| document.auth.oidc.is_none()) {
            self.error(
                condition.place,
                "no-provider",
                "tokens are checked only where `auth.oidc` names their provider",
            );
        }
        let role = entry.role.as_ref().unwrap_or(&entry.name).value.clone();
        PrincipalConfig {
            name: entry.name.value.clone(),
            kind: entry.kind,
            human: entry.human.clone(),
            groups: entry.groups.0.clone(),
            scram,
            cert: values(&entry.cert),
            oidc: values(&entry.oidc),
            credential: self.credential(entry, &role, upstream),
            role,
        }
    }

    fn credential(&mut self, entry: &PrincipalEntry, role: &str, upstream: Option<&Upstream>) -> CredentialConfig {
        let Some(credential) = &entry.credential else {
            let found = upstream.filter(|_| !entry.is_relayed()).and_then(|upstream| upstream.password_of(role));
            return found.map_or(CredentialConfig::Nothing, CredentialConfig::Password);
        };
        if entry.is_relayed() {
            let text = "a principal without scram, cert or oidc logs in at the upstream itself: no credential is used";
            self.error(credential.place, "unused-credential", text);
        }
        let CredentialEntry { password_file, password_env, cert, key } = &credential.value;
        match (password_file, password_env, cert, key) {
            (Some(_), None, None, None) => {
                self.file(password_file.as_deref()).map_or_else(Default::default, CredentialConfig::File)
            }
            (None, Some(name), None, None) => {
                if let Some(value) = self.environment.var(name) {
                    return CredentialConfig::Password(Secret::new(value));
                }
                self.error(name.place, "no-variable", format!("the environment has no variable `{}`", name.value));
                CredentialConfig::Nothing
            }
            (None, None, Some(cert), Some(key)) => {
                if upstream.is_some_and(|upstream| {
                    upstream.sslmode == SslMode::Disable || matches!(upstream.host, Host::Unix(_))
                }) {
                    self.error(
                        credential.place,
                        "bad-value",
                        "a certificate is shown over TLS only, and the upstream has none",
                    );
                }
                let path = |path: &str| self.file(Some(path)).unwrap_or_default();
                CredentialConfig::Certificate(Identity { cert: path(cert), key: path(key) })
            }
            _ => {
                let text = "a credential is one of password_file, password_env, or cert with key";
                self.error(credential.place, "bad-value", text);
                CredentialConfig::Nothing
            }
        }
    }

    pub(super) fn client_rules(&mut self, document: &Document) -> Vec<ClientRule> {
        let tls = document.tls.as_ref();
        for At { place, value: rule } in &document.client_rules {
            if rule.tls == TlsWanted::Required && tls.is_none() {
                self.error(*place, "never-fits", "the rule wants TLS, and `tls:` is not configured");
            }
            if rule.method == Method::Cert && tls.is_none_or(|tls| tls.client_ca.is_none()) {
                self.error(*place, "no-client-ca", "the method cert needs `tls.client_ca`");
            }
            if rule.method == Method::Oidc && document.auth.oidc.is_none() {
                self.error(*place, "no-provider", "the method oidc needs `auth.oidc`");
            }
        }
        document.client_rules.iter().map(|rule| self.client_rule(&rule.value)).collect()
    }

    fn client_rule(&mut self, entry: &ClientRuleEntry) -> ClientRule {
        ClientRule {
            address: entry.address.0.clone(),
            database: self.wildcards(&entry.database),
            user: self.wildcards(&entry.user),
            tls: entry.tls,
            method: entry.method,
        }
    }

    fn wildcards(&mut self, patterns: &List<At<String>>) -> Vec<Wildcard> {
        let mut found = Vec::new();
        for pattern in patterns.iter() {
            match Wildcard::parse(pattern) {
                Ok(wildcard) => found.push(wildcard),
                Err(error) => self.error(pattern.place, "bad-pattern", error.to_string()),
            }
        }
        found
    }

    pub(super) fn provider(&mut self, document: &Document) -> Option<ProviderConfig> {
        let At { place, value: entry } = document.auth.oidc.as_ref()?;
        if entry.audience.is_empty() {
            self.error(*place, "bad-value", "without an audience any token of the provider's would do; name ours");
        }
        let skew = entry.skew.map_or(SKEW, |skew| skew.0);
        if skew > SKEW_MAX {
            self.error(*place, "bad-value", "a skew over ten minutes keeps tokens alive that have ended");
        }
        Some(ProviderConfig {
            expectation: Expectation {
                issuer: entry.issuer.clone(),
                audiences: entry.audience.0.clone(),
                algorithms: entry.algorithms.0.clone(),
                skew,
            },
            jwks: self.keys_at(entry),
            ca: self.file(entry.ca.as_deref()),
            claims: ClaimNames {
                name: entry.claims.name.clone().unwrap_or_else(|| ClaimNames::default().name),
                human: entry.claims.human.clone(),
                groups: entry.claims.groups.clone(),
            },
        })
    }

    fn keys_at(&self, entry: &OidcEntry) -> KeysAt {
        match entry.jwks.split_once("://") {
            Some(_) => KeysAt::Url(entry.jwks.clone()),
            None => KeysAt::File(self.file(Some(&entry.jwks)).unwrap_or_default()),
        }
    }
}

fn values<T: Clone>(list: &List<At<T>>) -> Vec<T> {
    list.iter().map(|item| item.value.clone()).collect()
}
