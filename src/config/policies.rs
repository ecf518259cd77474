//! Policy files from the disk: the policy room itself never reads one.

use std::fs;
use std::path::Path;

use super::ConfigError;
use crate::policy::{Finding, Place, Policy, Source};

/// The policy of a file or directory; the shipped one where no path is given.
///
/// # Errors
/// A file that cannot be read; everything that is wrong in the files.
pub fn policy(path: Option<&Path>) -> Result<Policy, ConfigError> {
    match path {
        None => Ok(Policy::shipped()),
        Some(path) => Policy::load(&policy_sources(path)?).map_err(ConfigError::Findings),
    }
}

/// The policy files of a path: itself, or every `*.yaml` and `*.yml` directly in it, by name.
///
/// # Errors
/// A file or directory that cannot be read; a directory without policies.
pub fn policy_sources(path: &Path) -> Result<Vec<Source>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![read(path)?]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if is_policy(&file) {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        let finding =
            Finding::error(&path.display().to_string(), Place::default(), "empty", "no policy is in the directory");
        return Err(ConfigError::Findings(vec![finding.hint("put a file there whose name ends in .yaml")]));
    }
    files.iter().map(|file| read(file)).collect()
}

fn is_policy(file: &Path) -> bool {
    file.is_file() && file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
}

/// One file as a source.
///
/// # Errors
/// It cannot be read.
pub(super) fn read(path: &Path) -> Result<Source, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    Ok(Source { path: path.display().to_string(), text })
}
