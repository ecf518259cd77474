//! Who clients are, from configuration and files to what the gate knows.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::options::{OptionsError, encryption};
use crate::auth::gate::Identity;
use crate::auth::oidc::{Source, Verifier};
use crate::auth::principals::{ClaimNames, Directory, Known};
use crate::backend::connect::Upstream;
use crate::config::{Config, CredentialConfig, KeysAt, PrincipalConfig, ProviderConfig, dsn};
use crate::ids::random_bytes;
use crate::principal::Principal;

/// The file under the state directory by which verifiers are made up for those who do not exist.
const SECRET_FILE: &str = "auth.key";
const SECRET_LEN: usize = 32;
/// The longest file with a password, bytes.
const PASSWORD_MAX: u64 = 64 * 1024;

/// What the gate knows; what is wrong goes to `problems`.
pub(super) fn identity(config: &Config, upstream: &Upstream, problems: &mut Vec<OptionsError>) -> Identity {
    let mut known = Vec::new();
    for principal in &config.principals {
        match one(principal, config, upstream) {
            Ok(principal) => known.push(principal),
            Err(error) => problems.push(error),
        }
    }
    let provider = config.provider.as_ref().and_then(|provider| match tokens(provider) {
        Ok(tokens) => Some(tokens),
        Err(error) => {
            problems.push(error);
            None
        }
    });
    Identity { directory: Directory::new(known), rules: config.client_rules.clone(), provider }
}

fn one(config: &PrincipalConfig, all: &Config, upstream: &Upstream) -> Result<Known, OptionsError> {
    let (mut password, mut own) = (None, None);
    match &config.credential {
        CredentialConfig::Nothing => {}
        CredentialConfig::Password(secret) => password = Some(secret.expose().to_owned()),
        CredentialConfig::File(path) => password = Some(password_in(path, &config.name)?),
        CredentialConfig::Certificate(identity) => {
            let dsn = all.upstreams.first().map(|first| &first.upstream);
            let dsn = dsn.map(|dsn| dsn::Upstream { identity: Some(identity.clone()), ..dsn.clone() });
            let encryption = dsn.as_ref().map(encryption).transpose()?.unwrap_or_default();
            own = Some(Upstream { encryption, ..upstream.clone() });
        }
    }
    Ok(Known {
        principal: Principal {
            name: config.name.clone(),
            kind: config.kind,
            human: config.human.clone(),
            groups: config.groups.clone(),
            role: config.role.clone(),
        },
        scram: config.scram.clone(),
        certificates: config.cert.clone(),
        token: config.oidc.clone(),
        password,
        upstream: own,
    })
}

/// The first line of a file.
fn password_in(path: &Path, name: &str) -> Result<String, OptionsError> {
    let fault = |why: String| OptionsError::Password(name.to_owned(), path.display().to_string(), why);
    let length = fs::metadata(path).map_err(|error| fault(error.to_string()))?.len();
    if length > PASSWORD_MAX {
        return Err(fault("it is too long".to_owned()));
    }
    let text = fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() { Err(fault("its first line is empty".to_owned())) } else { Ok(line.to_owned()) }
}

fn tokens(config: &ProviderConfig) -> Result<(Verifier, ClaimNames), OptionsError> {
    let source = match &config.jwks {
        KeysAt::File(path) => {
            // A provider's address may be away for a while; a file that is not there is a mistake.
            fs::metadata(path)
                .map_err(|error| OptionsError::Keys(format!("auth.oidc.jwks: {}: {error}", path.display())))?;
            Source::file(path.clone())
        }
        KeysAt::Url(url) => {
            let read = |path: &std::path::PathBuf| {
                fs::read(path).map_err(|error| OptionsError::Keys(format!("auth.oidc.ca: {}: {error}", path.display())))
            };
            let ca = config.ca.as_ref().map(read).transpose()?;
            Source::url(url, ca.as_deref()).map_err(|error| OptionsError::Keys(format!("auth.oidc.jwks: {error}")))?
        }
    };
    Ok((Verifier::new(config.expectation.clone(), source), config.claims.clone()))
}

/// The secret of the state directory, made at the first start and kept.
pub(super) fn secret(state: &Path) -> std::io::Result<Vec<u8>> {
    let path = state.join(SECRET_FILE);
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            let secret = random_bytes(SECRET_LEN);
            file.write_all(&secret)?;
            file.sync_all()?;
            Ok(secret)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let secret = fs::read(&path)?;
            // A file that a crash left empty would make everybody's secret the same known one.
            if secret.len() == SECRET_LEN {
                Ok(secret)
            } else {
                Err(std::io::Error::other(format!("{} is damaged: remove it", path.display())))
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_made_once_and_readable_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let first = secret(dir.path()).unwrap();
        assert_eq!(secret(dir.path()).unwrap(), first);
        let path = dir.path().join(SECRET_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, b"").unwrap();
        assert!(secret(dir.path()).is_err());
    }
}
