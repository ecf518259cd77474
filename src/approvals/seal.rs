//! Text and values of an open hold on disk: sealed with a key of the store's own (ChaCha20-Poly1305, RFC 8439).

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::ids::{HoldId, random_bytes};

const KEY_BYTES: usize = 32;

/// What is sealed: the statement as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The full text.
    pub statement: String,
    /// Bind values.
    pub parameters: Vec<Option<String>>,
    /// The texts of a bundle's statements.
    #[serde(default)]
    pub steps: Vec<String>,
}

/// Seals and opens with one key.
#[derive(Debug)]
pub struct Seal {
    key: LessSafeKey,
}

impl Seal {
    /// Reads the key file (32 bytes, mode 0600), or makes one.
    ///
    /// # Errors
    /// A file that cannot be read or written, or that holds no key.
    pub fn from_file(path: &Path) -> Result<Self, StoreError> {
        let bytes = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => create(file).map_err(|error| fault(path, &error))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                read(path).map_err(|error| fault(path, &error))?
            }
            Err(error) => return Err(fault(path, &error)),
        };
        Self::new(&bytes).ok_or_else(|| StoreError::Storage(format!("{} holds no key of 32 bytes", path.display())))
    }

    fn new(bytes: &[u8]) -> Option<Self> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes).ok()?;
        Some(Self { key: LessSafeKey::new(key) })
    }

    /// Seals for one hold: nonce, ciphertext, tag.
    ///
    /// # Errors
    /// [`StoreError::Storage`] where the text cannot be written as JSON.
    pub fn seal(&self, id: &HoldId, secret: &Secret) -> Result<Vec<u8>, StoreError> {
        let nonce = random_bytes(NONCE_LEN);
        let mut sealed = serde_json::to_vec(secret).map_err(|error| StoreError::Storage(error.to_string()))?;
        let unique = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| StoreError::Unsealable(id.clone()))?;
        self.key
            .seal_in_place_append_tag(unique, Aad::from(id.as_str()), &mut sealed)
            .map_err(|_| StoreError::Storage("the text is too large to seal".to_owned()))?;
        Ok([nonce, sealed].concat())
    }

    /// Opens what was sealed for this hold.
    ///
    /// # Errors
    /// [`StoreError::Unsealable`] for another key, another hold, or changed bytes.
    pub fn open(&self, id: &HoldId, sealed: &[u8]) -> Result<Secret, StoreError> {
        let unsealable = || StoreError::Unsealable(id.clone());
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or_else(unsealable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| unsealable())?;
        let mut body = body.to_vec();
        let plain = self.key.open_in_place(nonce, Aad::from(id.as_str()), &mut body).map_err(|_| unsealable())?;
        serde_json::from_slice(plain).map_err(|_| unsealable())
    }
}

fn create(mut file: File) -> std::io::Result<Vec<u8>> {
    let bytes = random_bytes(KEY_BYTES);
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok(bytes)
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than a key, so that a longer file is noticed and not read whole.
    let limit = u64::try_from(KEY_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn fault(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Storage(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        Secret { statement: "SELECT 'café'".to_owned(), parameters: vec![Some("7".to_owned()), None], steps: vec![] }
    }

    #[test]
    fn a_secret_opens_with_the_key_file_that_sealed_it_and_with_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.key");
        let id = HoldId::new();
        let sealed = Seal::from_file(&path).unwrap().seal(&id, &secret()).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("SELECT"));
        assert_eq!(Seal::from_file(&path).unwrap().open(&id, &sealed), Ok(secret()));
        let other = Seal::from_file(&dir.path().join("other.key")).unwrap();
        assert_eq!(other.open(&id, &sealed), Err(StoreError::Unsealable(id)));
    }

    #[test]
    fn a_secret_of_one_hold_does_not_open_as_another() {
        let dir = tempfile::tempdir().unwrap();
        let seal = Seal::from_file(&dir.path().join("store.key")).unwrap();
        let sealed = seal.seal(&HoldId::new(), &secret()).unwrap();
        assert!(seal.open(&HoldId::new(), &sealed).is_err());
        assert!(seal.open(&HoldId::new(), &[]).is_err());
    }

    #[test]
    fn the_key_file_is_readable_by_its_owner_alone_and_must_hold_a_key() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.key");
        Seal::from_file(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, [0; 33]).unwrap();
        assert!(matches!(Seal::from_file(&path), Err(StoreError::Storage(_))));
    }
}
