//! The texts of policies, kept beside the records that name them by their hash.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::LogError;
use super::open::write_atomic;

/// Where the text is kept whose SHA-256, in hex, is this.
#[must_use]
pub fn policy_path(dir: &Path, sha256: &str) -> PathBuf {
    dir.join(format!("policy-{sha256}"))
}

/// Keeps a policy's text under its hash, durably, where it is not there already.
///
/// # Errors
/// The disk refuses.
pub fn keep_policy(dir: &Path, sha256: &str, text: &[u8]) -> Result<(), LogError> {
    let path = policy_path(dir, sha256);
    if fs::read(&path).is_ok_and(|kept| kept == text) { Ok(()) } else { write_atomic(&path, text) }
}
