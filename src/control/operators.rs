//! Who may act: operators and their tokens. Tokens are not kept, only what checks them.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use ring::{digest, hmac};

use crate::approvals::{Operator, Role};
use crate::auth::scram::Verifier;
use crate::ids::{random_base32, random_bytes};

/// The name of the operator that exists from the first start on.
pub const FIRST_OPERATOR: &str = "operator";
/// Where its token lies, under the state directory.
pub const TOKEN_FILE: &str = "operator.token";
/// Characters of a token that is made here: 160 random bits.
const TOKEN_LEN: usize = 32;
/// The longest token that is read from a file.
const TOKEN_MAX: u64 = 4096;
/// The shortest token that a configuration may give.
const TOKEN_MIN: usize = 16;

/// One operator as configured.
#[derive(Clone)]
pub struct OperatorEntry {
    /// The name of the account.
    pub name: String,
    /// The human who holds it.
    pub human: String,
    /// Groups that `approve.from` may name.
    pub groups: Vec<String>,
    /// What the account may do.
    pub roles: Vec<Role>,
    /// The secret.
    pub token: String,
}

/// Why a set of operators cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OperatorsError {
    /// Two accounts of one name.
    #[error("operator {0} stands twice")]
    Twice(String),
    /// Two accounts with one secret: it would not say who acts.
    #[error("operators {0} and {1} have the same token")]
    SameToken(String, String),
    /// A token that is too short, or not of printable ASCII characters without blanks.
    #[error("the token of operator {0} must have at least {TOKEN_MIN} printable ASCII characters and no blank")]
    Token(String),
    /// The token file.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
}

struct Account {
    operator: Operator,
    /// The token under a key of this process: it can be checked in constant time, and not be read.
    tag: hmac::Tag,
    scram: Verifier,
}

/// All operators. Clones are one.
#[derive(Clone)]
pub struct Operators {
    accounts: Arc<Vec<Account>>,
    key: hmac::Key,
}

impl Operators {
    /// The operators of a configuration.
    ///
    /// # Errors
    /// Names or tokens that stand twice, and tokens that are too weak.
    pub fn new(entries: Vec<OperatorEntry>) -> Result<Self, OperatorsError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random_bytes(digest::SHA256_OUTPUT_LEN));
        let mut names = HashSet::new();
        let mut accounts: Vec<Account> = Vec::new();
        for entry in entries {
            if !names.insert(entry.name.clone()) {
                return Err(OperatorsError::Twice(entry.name));
            }
            let account = account(entry, &key)?;
            if let Some(other) = accounts.iter().find(|other| other.tag.as_ref() == account.tag.as_ref()) {
                return Err(OperatorsError::SameToken(other.operator.name.clone(), account.operator.name));
            }
            accounts.push(account);
        }
        Ok(Self { accounts: Arc::new(accounts), key })
    }

    /// The same, and the first operator with the admin role, whose token lies in the state directory; it is made at the
    /// first start and kept.
    ///
    /// # Errors
    /// As [`Operators::new`], and a token file that cannot be read or written.
    pub fn with_first(mut entries: Vec<OperatorEntry>, state: &Path) -> Result<Self, OperatorsError> {
        if !entries.iter().any(|entry| entry.name == FIRST_OPERATOR) {
            entries.push(OperatorEntry {
                name: FIRST_OPERATOR.to_owned(),
                human: FIRST_OPERATOR.to_owned(),
                groups: vec!["dba".to_owned(), "compliance".to_owned()],
                roles: vec![Role::Admin],
                token: first_token(&state.join(TOKEN_FILE))?,
            });
        }
        Self::new(entries)
    }

    /// The operator whose token this is. Every account is compared in constant time, so that time tells nothing.
    #[must_use]
    pub fn authenticate(&self, token: &str) -> Option<Operator> {
        let mut found = None;
        for account in self.accounts.iter() {
            if hmac::verify(&self.key, token.as_bytes(), account.tag.as_ref()).is_ok() {
                found = Some(account.operator.clone());
            }
        }
        found
    }

    /// The operator of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Operator> {
        self.accounts.iter().map(|account| &account.operator).find(|operator| operator.name == name).cloned()
    }

    /// The operator of that name, and what checks its token by SCRAM.
    #[must_use]
    pub fn scram(&self, name: &str) -> Option<(Operator, Verifier)> {
        let account = self.accounts.iter().find(|account| account.operator.name == name)?;
        Some((account.operator.clone(), account.scram.clone()))
    }
}

fn account(entry: OperatorEntry, key: &hmac::Key) -> Result<Account, OperatorsError> {
    let token = entry.token;
    if token.len() < TOKEN_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(OperatorsError::Token(entry.name));
    }
    Ok(Account {
        tag: hmac::sign(key, token.as_bytes()),
        scram: Verifier::of_password(&token).map_err(|_| OperatorsError::Token(entry.name.clone()))?,
        operator: Operator { name: entry.name, human: entry.human, groups: entry.groups, roles: entry.roles },
    })
}

fn first_token(path: &Path) -> Result<String, OperatorsError> {
    let fault = |error| OperatorsError::File(path.display().to_string(), error);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let token = random_base32(TOKEN_LEN);
            writeln!(file, "{token}").and_then(|()| file.sync_all()).map_err(fault)?;
            Ok(token)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let mut text = String::new();
            let file = OpenOptions::new().read(true).open(path).map_err(fault)?;
            file.take(TOKEN_MAX).read_to_string(&mut text).map_err(fault)?;
            Ok(text.trim().to_owned())
        }
        Err(error) => Err(fault(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, token: &str) -> OperatorEntry {
        OperatorEntry {
            name: name.to_owned(),
            human: name.to_owned(),
            groups: vec![],
            roles: vec![Role::Operator],
            token: token.to_owned(),
        }
    }

    #[test]
    fn a_token_names_exactly_its_operator() {
        let operators = Operators::new(vec![entry("a", "aaaaaaaaaaaaaaaa"), entry("b", "bbbbbbbbbbbbbbbb")]).unwrap();
        assert_eq!(operators.authenticate("bbbbbbbbbbbbbbbb").unwrap().name, "b");
        for wrong in ["", "bbbbbbbbbbbbbbb", "bbbbbbbbbbbbbbbbb", "a"] {
            assert_eq!(operators.authenticate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_and_tokens_stand_once_and_are_not_weak() {
        let of = |left: (&str, &str), right: (&str, &str)| {
            Operators::new(vec![entry(left.0, left.1), entry(right.0, right.1)]).err()
        };
        let (one, two) = ("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb");
        assert!(matches!(of(("a", one), ("a", two)), Some(OperatorsError::Twice(_))));
        assert!(matches!(of(("a", one), ("b", one)), Some(OperatorsError::SameToken(..))));
        assert!(matches!(of(("a", one), ("b", "short")), Some(OperatorsError::Token(_))));
        assert!(matches!(of(("a", one), ("b", "with a blank in it!")), Some(OperatorsError::Token(_))));
    }

    #[test]
    fn the_first_operators_token_is_made_once_and_is_readable_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        Operators::with_first(vec![], dir.path()).unwrap();
        let path = dir.path().join(TOKEN_FILE);
        let token = std::fs::read_to_string(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Operators::with_first(vec![], dir.path()).unwrap();
        assert!(again.authenticate(token.trim()).unwrap().is_admin());
    }
}
