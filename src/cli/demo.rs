//! `holdgate demo`: the tour.

use std::process::ExitCode;

/// The tour.
#[derive(Debug, clap::Args)]
pub struct Demo {}

impl Demo {
    /// Runs the command; the exit code is one of [`super::exit`].
    ///
    /// # Errors
    /// What kept the command from giving an answer; printed by `main`, exit code 2.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        Ok(super::exit::DONE.into())
    }
}
