//! `holdgate serve`: runs the proxy.

use std::process::ExitCode;

/// Runs the proxy.
#[derive(Debug, clap::Args)]
pub struct Serve {}

impl Serve {
    /// Runs the command; the exit code is one of [`super::exit`].
    ///
    /// # Errors
    /// What kept the command from giving an answer; printed by `main`, exit code 2.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        Ok(super::exit::DONE.into())
    }
}
