//! The key under which equal literals have equal tags in the log.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::config::LiteralsMode;
use crate::lineage::Literals;

/// In the state directory, readable by its owner alone. Whoever replaces it begins anew: tags from before no longer compare
/// with tags from then on.
const KEY_FILE: &str = "literals.key";
const KEY_LEN: usize = 32;

/// What stands for literals; the key is made at the first start that needs one.
///
/// # Errors
/// A key that cannot be read or made.
pub(super) fn open(mode: LiteralsMode, state: &Path) -> io::Result<Literals> {
    match mode {
        LiteralsMode::Masked => Ok(Literals::Masked),
        LiteralsMode::Plain => Ok(Literals::Plain),
        LiteralsMode::Hmac => Ok(Literals::keyed(&key(&state.join(KEY_FILE))?)),
    }
}

fn key(path: &Path) -> io::Result<Vec<u8>> {
    let mut made = vec![0; KEY_LEN];
    SystemRandom::new().fill(&mut made).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            file.write_all(&made)?;
            file.sync_all()?;
            Ok(made)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::read(path)?;
            let short = || io::Error::new(io::ErrorKind::InvalidData, "the key of literals is not 32 bytes long");
            if found.len() == KEY_LEN { Ok(found) } else { Err(short()) }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_made_once_for_its_owner_alone_and_a_short_one_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join(KEY_FILE);
        open(LiteralsMode::Masked, state.path()).unwrap();
        assert!(!path.exists());
        let made = key(&path).unwrap();
        assert_eq!(key(&path).unwrap(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, b"short").unwrap();
        assert!(open(LiteralsMode::Hmac, state.path()).is_err());
    }
}
