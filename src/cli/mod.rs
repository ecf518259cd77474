//! The command line: one file a subcommand. Reads arguments and environment, calls a room, prints.
//!
//! Must not: decide anything. Start reading at [`Command`].

mod analyze;
mod catalog;
mod check;
mod demo;
mod holds;
mod log;
mod request;
mod scram;
mod serve;
mod source;
mod tags;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit codes, the same for every subcommand.
pub mod exit {
    /// Done; the answer is yes.
    pub const DONE: u8 = 0;
    /// The answer is no: findings, log not intact, denied, expired.
    pub const NO: u8 = 1;
    /// Usage or configuration.
    pub const USAGE: u8 = 2;
    /// Unreachable or unauthorised.
    pub const UNREACHABLE: u8 = 3;
    /// Already decided.
    pub const CONFLICT: u8 = 4;
}

/// An error with its causes on one line. Where a message says its cause already, the cause is not said again.
#[must_use]
pub fn told(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// A `PostgreSQL` proxy for AI agents.
#[derive(Debug, Parser)]
#[command(name = crate::ids::NAME, version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Check(check::Check),
    Analyze(analyze::Analyze),
    Catalog(catalog::Catalog),
    Holds(holds::Holds),
    Request(request::RequestCommand),
    Tags(tags::Tags),
    Log(log::Log),
    Scram(scram::Scram),
    Demo(demo::Demo),
}

impl Cli {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// What kept the command from giving an answer.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Serve(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Analyze(command) => command.run(),
            Command::Catalog(command) => command.run(),
            Command::Holds(command) => command.run(),
            Command::Request(command) => command.run(),
            Command::Tags(command) => command.run(),
            Command::Log(command) => command.run(),
            Command::Scram(command) => command.run(),
            Command::Demo(command) => command.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::told;

    #[derive(Debug, thiserror::Error)]
    #[error("read checkpoint: {0}")]
    struct Unreadable(#[source] io::Error);

    #[test]
    fn an_error_says_each_of_its_causes_once() {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "No such file");
        assert_eq!(told(&Unreadable(gone()).into()), "read checkpoint: No such file");
        let wrapped = anyhow::Error::new(gone()).context("a.note").context("the key");
        assert_eq!(told(&wrapped), "the key: a.note: No such file");
    }
}
