//! The texts of policies, kept beside the records that name them by their hash.

use std::fs;
use std::path::Path;

use super::error::LogError;
use super::open::write_atomic;

/// The folder in the log's directory.
pub const POLICIES: &str = "policies";

/// Keeps a policy's text under its hash, durably, where it is not there already.
///
/// # Errors
/// The disk refuses.
pub fn keep_policy(dir: &Path, sha256: &str, text: &[u8]) -> Result<(), LogError> {
    let folder = dir.join(POLICIES);
    fs::create_dir_all(&folder).map_err(LogError::io("create", &folder))?;
    let path = folder.join(sha256);
    if fs::read(&path).is_ok_and(|kept| kept == text) { Ok(()) } else { write_atomic(&path, text) }
}
