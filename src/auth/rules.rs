//! Who may log in from where, and how: rules in the manner of `pg_hba.conf`, the first that fits decides.

use std::net::IpAddr;

use serde::Deserialize;

use crate::catalog::tags::Wildcard;
use crate::policy::Network;

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// To the upstream, with a role and password of its own there.
    Relay,
    /// To us, by SCRAM-SHA-256 against a principal's verifier.
    Scram,
    /// To us, by a certificate that names a principal.
    Cert,
    /// To us, by a provider's access token as the password.
    Oidc,
    /// Not at all.
    Reject,
}

/// Which connections a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsWanted {
    /// Encrypted or not.
    #[default]
    Any,
    /// Encrypted ones.
    Required,
    /// Those in clear.
    Off,
}

/// One rule. Empty lists fit everybody.
#[derive(Clone, Debug)]
pub struct ClientRule {
    /// Where the client is.
    pub address: Vec<Network>,
    /// The database that it asks for.
    pub database: Vec<Wildcard>,
    /// The name that it logs in with.
    pub user: Vec<Wildcard>,
    /// Whether it is encrypted.
    pub tls: TlsWanted,
    /// What happens.
    pub method: Method,
}

/// What a rule sees of a client.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Its address.
    pub address: IpAddr,
    /// The database that it asks for.
    pub database: &'a str,
    /// The name that it logs in with.
    pub user: &'a str,
    /// Whether it is encrypted.
    pub is_tls: bool,
}

/// The method of the first rule that fits; `None` where none does.
#[must_use]
pub fn method(rules: &[ClientRule], asker: &Asker<'_>) -> Option<Method> {
    rules.iter().find(|rule| rule.fits(asker)).map(|rule| rule.method)
}

impl ClientRule {
    fn fits(&self, asker: &Asker<'_>) -> bool {
        let tls = match self.tls {
            TlsWanted::Any => true,
            TlsWanted::Required => asker.is_tls,
            TlsWanted::Off => !asker.is_tls,
        };
        let named = |patterns: &[Wildcard], name: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name))
        };
        tls && named(&self.database, asker.database)
            && named(&self.user, asker.user)
            && (self.address.is_empty() || self.address.iter().any(|net| net.contains(Some(asker.address))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(address: &str, user: &str, tls: TlsWanted, method: Method) -> ClientRule {
        ClientRule {
            address: vec![address.parse().unwrap()],
            database: vec![Wildcard::parse("shop").unwrap()],
            user: vec![Wildcard::parse(user).unwrap()],
            tls,
            method,
        }
    }

    fn asker<'a>(address: &str, user: &'a str, is_tls: bool) -> Asker<'a> {
        Asker { address: address.parse().unwrap(), database: "shop", user, is_tls }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = [
            rule("10.1.0.0/16", "*", TlsWanted::Any, Method::Reject),
            rule("10.0.0.0/8", "bot-*", TlsWanted::Required, Method::Scram),
            rule("::/0", "*", TlsWanted::Off, Method::Relay),
        ];
        assert_eq!(method(&rules, &asker("10.1.2.3", "bot-1", true)), Some(Method::Reject));
        assert_eq!(method(&rules, &asker("10.2.2.3", "bot-1", true)), Some(Method::Scram));
        assert_eq!(method(&rules, &asker("::ffff:10.2.2.3", "bot-1", true)), Some(Method::Scram));
        assert_eq!(method(&rules, &asker("10.2.2.3", "bot-1", false)), None);
        assert_eq!(method(&rules, &asker("10.2.2.3", "bob", true)), None);
        assert_eq!(method(&rules, &asker("::1", "bob", false)), Some(Method::Relay));
        assert_eq!(method(&rules, &Asker { database: "other", ..asker("::1", "bob", false) }), None);
        assert_eq!(method(&[], &asker("::1", "bob", false)), None);
    }
}
