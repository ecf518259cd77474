//! Reads policies from where they lie.

use super::options::PolicySource;
use crate::policy::Policy;

/// The policies as they are now.
///
/// # Errors
/// All their problems.
pub(super) fn read(source: &PolicySource) -> Result<Policy, Vec<String>> {
    let path = match source {
        PolicySource::Shipped => return Ok(Policy::shipped()),
        PolicySource::Path(path) => path,
    };
    let sources = crate::config::policy_sources(path).map_err(|problem| vec![problem.to_string()])?;
    Policy::load(&sources).map_err(|findings| findings.iter().map(ToString::to_string).collect())
}
