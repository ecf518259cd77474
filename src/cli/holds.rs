//! `holdgate holds`: shows and decides holds.

use std::process::ExitCode;

/// Shows and decides holds.
#[derive(Debug, clap::Args)]
pub struct Holds {}

impl Holds {
    /// Runs the command; the exit code is one of [`super::exit`].
    ///
    /// # Errors
    /// What kept the command from giving an answer; printed by `main`, exit code 2.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        Ok(super::exit::DONE.into())
    }
}
