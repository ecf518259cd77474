//! Principals as the configuration knows them: how each proves itself, and as whom it is let in.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use super::certificate::CertificateName;
use super::oidc::Claims;
use super::scram::{Shape, Verifier};
use crate::backend::connect::Upstream;
use crate::policy::yaml::text_type;
use crate::principal::Principal;

/// Which tokens are a principal's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenCondition {
    /// The claim that names who it is has this value.
    Name(String),
    /// A claim has this value, or is a list with it.
    Claim(String, String),
}

impl FromStr for TokenCondition {
    type Err = String;

    /// `claim=value`, or a name alone.
    fn from_str(text: &str) -> Result<Self, String> {
        let condition = match text.split_once('=') {
            Some((claim, value)) => Self::Claim(claim.trim().to_owned(), value.trim().to_owned()),
            None => Self::Name(text.trim().to_owned()),
        };
        match &condition {
            Self::Name(name) if name.is_empty() => Err("it names nobody; write a name, or claim=value".to_owned()),
            Self::Claim(claim, value) if claim.is_empty() || value.is_empty() => {
                Err(format!("`{text}` says nothing of a token; write a name, or claim=value"))
            }
            _ => Ok(condition),
        }
    }
}

text_type!(TokenCondition, "TokenCondition", "What a token must say.", "azp=copilot");

/// Which claims say who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    /// The name.
    pub name: String,
    /// The human.
    pub human: Option<String>,
    /// The groups.
    pub groups: Option<String>,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self { name: "sub".to_owned(), human: None, groups: None }
    }
}

/// One principal.
#[derive(Clone)]
pub struct Known {
    /// Who it is; `name` is what it logs in with.
    pub principal: Principal,
    /// What checks its password.
    pub scram: Option<Verifier>,
    /// Any of these names in a certificate is it.
    pub certificates: Vec<CertificateName>,
    /// A token that meets all of these is its own; none where it is empty.
    pub token: Vec<TokenCondition>,
    /// Our password for its role at the upstream.
    pub password: Option<String>,
    /// Its own way to the upstream, where a certificate is its credential there.
    pub upstream: Option<Upstream>,
}

impl Known {
    /// Whether it proves itself to the upstream, and the configuration only says who it is.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        self.scram.is_none() && self.certificates.is_empty() && self.token.is_empty()
    }

    /// Who a token is that has this principal's name in its start-up packet: `None` where it is not the principal's. A
    /// condition on the name makes it this very principal; without one the token's own name counts, so that an entry can
    /// stand for many people.
    #[must_use]
    pub fn by_token(&self, claims: &Claims, names: &ClaimNames) -> Option<Principal> {
        let own = claims.text(&names.name)?;
        let meets = |condition: &TokenCondition| match condition {
            TokenCondition::Name(name) => own == name,
            TokenCondition::Claim(claim, value) => claims.list(claim).contains(value),
        };
        if self.token.is_empty() || !self.token.iter().all(meets) || own.chars().any(char::is_control) {
            return None;
        }
        let mut principal = self.principal.clone();
        if !self.token.iter().any(|condition| matches!(condition, TokenCondition::Name(_))) {
            own.clone_into(&mut principal.name);
        }
        let claimed = |claim: &Option<String>| claim.as_deref().and_then(|claim| claims.text(claim)).map(str::to_owned);
        principal.human = principal.human.or_else(|| claimed(&names.human));
        for group in names.groups.iter().flat_map(|claim| claims.list(claim)) {
            if !principal.groups.contains(&group) {
                principal.groups.push(group);
            }
        }
        Some(principal)
    }
}

/// All principals, by the names that they log in with.
#[derive(Clone, Default)]
pub struct Directory {
    names: HashMap<String, Arc<Known>>,
    roles: HashMap<String, Arc<Known>>,
}

impl Directory {
    /// A directory; of two entries of one name the first counts.
    #[must_use]
    pub fn new(known: Vec<Known>) -> Self {
        let mut directory = Self::default();
        for known in known.into_iter().map(Arc::new) {
            if known.is_relayed() {
                directory.roles.entry(known.principal.role.clone()).or_insert(known);
            } else {
                directory.names.entry(known.principal.name.clone()).or_insert(known);
            }
        }
        directory
    }

    /// Who proves itself to us under this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Known>> {
        self.names.get(name)
    }

    /// Who logs in at the upstream as this role. A principal's own name says who it is there too.
    #[must_use]
    pub fn relayed(&self, role: &str) -> Principal {
        match self.roles.get(role).or_else(|| self.names.get(role)) {
            Some(known) => Principal { role: role.to_owned(), ..known.principal.clone() },
            None => Principal { name: role.to_owned(), role: role.to_owned(), ..Principal::default() },
        }
    }

    /// All that are configured, by name.
    #[must_use]
    pub fn principals(&self) -> Vec<Principal> {
        let mut all: Vec<_> =
            self.names.values().chain(self.roles.values()).map(|known| known.principal.clone()).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Who is meant where an operator writes a name: a principal's, or else a role of the upstream.
    #[must_use]
    pub fn meant(&self, name: &str) -> Principal {
        let named = || self.principals().into_iter().find(|principal| principal.name == name);
        self.names.get(name).map(|known| known.principal.clone()).or_else(named).unwrap_or_else(|| self.relayed(name))
    }

    /// Whether the configuration has given this name to somebody.
    #[must_use]
    pub fn is_taken(&self, name: &str) -> bool {
        self.names.contains_key(name) || self.roles.values().any(|known| known.principal.name == name)
    }

    /// What the verifiers look like, by which a name is given one that is nobody's: the same for a name each time, and as
    /// often of each look as there are principals with it.
    #[must_use]
    pub fn shape(&self, number: u64) -> Shape {
        let mut shapes: Vec<_> =
            self.names.values().filter_map(|known| known.scram.as_ref()).map(Verifier::shape).collect();
        shapes.sort_by_key(|shape| (shape.iterations, shape.salt_len));
        let index = u64::try_from(shapes.len()).ok().and_then(|count| number.checked_rem(count));
        index.and_then(|index| shapes.get(usize::try_from(index).ok()?).copied()).unwrap_or_default()
    }
}
