//! `holdgate catalog`: keeps what a database defines as a file, for analysis without the database.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{exit, source};

/// Keeps what a database defines as a file.
#[derive(Debug, clap::Args)]
pub(super) struct Catalog {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Writes a snapshot of a database's definitions: no rows of any table, the same text each time.
    Dump {
        /// The database.
        #[arg(long, value_name = "URL")]
        upstream: String,
        /// The file; standard output where there is none.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

impl Catalog {
    /// Runs the command; the exit code is one of [`super::exit`].
    ///
    /// # Errors
    /// What kept the command from giving an answer; printed by `main`, exit code 2.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Command::Dump { upstream, out } = self.command;
        let start = match source::upstream(&upstream) {
            Ok(start) => start,
            Err(error) => {
                eprintln!("error: {error:#}");
                return Ok(exit::UNREACHABLE.into());
            }
        };
        let text = start.catalog.to_json()?;
        match out {
            Some(file) => source::write(&file, &text)?,
            None => std::io::stdout().write_all(text.as_bytes())?,
        }
        Ok(exit::DONE.into())
    }
}
