//! `holdgate log`: reads, verifies and reports on the record log.

mod check;
mod csv;
mod evidence;
mod index;
mod legal;
mod output;
mod report;
mod table;

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::exit;
use crate::clock::Clock;
use crate::config::{Config, Environment, ServeFlags};
use crate::lineage::Filters;
use crate::log;
use output::{Format, Writer, show};

/// How often `tail --follow` looks for new lines.
const FOLLOW: Duration = Duration::from_millis(100);

/// Reads, verifies and reports on the record log.
#[derive(Debug, Args)]
pub(super) struct Log {
    /// The directory that `serve` keeps its state in; the log is in its folder `log` [default: that of `serve`].
    #[arg(long, global = true, env = "HOLDGATE_STATE")]
    state: Option<PathBuf>,
    /// The log's own directory, where it is another one.
    #[arg(long, global = true, conflicts_with = "state")]
    dir: Option<PathBuf>,
    /// The configuration of `serve`, which names the log's directory.
    #[arg(long, global = true, conflicts_with_all = ["state", "dir"])]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the newest records.
    Tail {
        /// Goes on with new records as they are written.
        #[arg(long, short)]
        follow: bool,
        #[command(flatten)]
        filters: Box<Filters>,
        /// How records are shown.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Shows the records that match all filters, the oldest first.
    Query {
        #[command(flatten)]
        filters: Box<Filters>,
        /// How records are shown.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Makes the index of the records anew. Queries keep it up by themselves; it is never evidence.
    Index,
    /// Checks that nothing was changed since it was signed; exit code 1 where something was.
    Verify(check::Verify),
    /// Prints the proof that the newest checkpoint covers a record, or goes on from an older checkpoint, as JSON.
    Prove(check::Prove),
    /// Gives the log a new signing key, which the old one introduces. The proxy must not be running.
    RotateKey,
    /// Who touched what: statements, rows and approvals per principal and tag.
    Report(report::Report),
    /// Writes the records that match, a line each; with --evidence, all that an auditor needs to check them.
    Export {
        #[command(flatten)]
        filters: Box<Filters>,
        /// How records are written.
        #[arg(long, value_enum, default_value_t = Format::Jsonl)]
        format: Format,
        /// Into this file, which must not be there yet; otherwise to standard output.
        #[arg(long)]
        output: Option<PathBuf>,
        #[command(flatten)]
        evidence: evidence::Evidence,
    },
    /// Sets, lifts and lists what retention must not remove.
    #[command(subcommand)]
    LegalHold(legal::LegalHold),
}

impl Log {
    /// Runs the command; the exit code is one of [`super::exit`].
    ///
    /// # Errors
    /// What kept the command from giving an answer; printed by `main`, exit code 2.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let dir = self.log_dir()?;
        anyhow::ensure!(
            dir.is_dir(),
            "no log in {}: give its directory with --state, --dir or --config",
            dir.display()
        );
        let mut out = BufWriter::new(io::stdout().lock());
        let done = self.command.run(&dir, &mut out).and_then(|code| {
            out.flush()?;
            Ok(code)
        });
        match done {
            Err(error) if is_broken_pipe(&error) => Ok(exit::DONE.into()),
            done => done.map(ExitCode::from),
        }
    }

    fn log_dir(&self) -> anyhow::Result<PathBuf> {
        if let Some(dir) = &self.dir {
            return Ok(dir.clone());
        }
        let environment = Environment::process();
        if let Some(file) = &self.config {
            let config = Config::load(Some(file), &ServeFlags::default(), &environment);
            return Ok(config.map_err(|error| anyhow::anyhow!("{error}"))?.log.dir);
        }
        Ok(self.state.clone().unwrap_or_else(|| environment.state()).join("log"))
    }
}

impl Command {
    fn run(self, dir: &Path, out: &mut dyn Write) -> anyhow::Result<u8> {
        match self {
            Self::Tail { follow, filters, format } => tail(dir, &now(*filters)?, format, follow, out),
            Self::Query { filters, format } => {
                index::catch_up(dir);
                show(log::query(dir, &now(*filters)?)?, format, out)
            }
            Self::Index => index::rebuild(dir, out),
            Self::Verify(options) => check::verify(dir, options, out),
            Self::Prove(options) => check::prove(dir, &options, out),
            Self::RotateKey => check::rotate_key(dir, &person(), out),
            Self::Report(options) => options.run(dir, out),
            Self::LegalHold(command) => command.run(dir, &person(), out),
            Self::Export { filters, format, output, evidence } => {
                let filters = now(*filters)?;
                if evidence.is_wanted() {
                    return evidence.pack(dir, &filters, out);
                }
                let records = log::query(dir, &filters)?;
                let Some(path) = output else { return show(records, format, out) };
                let file = fs::File::create_new(&path).with_context(|| format!("{}", path.display()))?;
                let mut file = BufWriter::new(file);
                let code = show(records, format, &mut file)?;
                file.into_inner()?.sync_all()?;
                Ok(code)
            }
        }
    }
}

/// Who runs the command, as the system knows them.
fn person() -> String {
    let environment = Environment::process();
    environment
        .var("SUDO_USER")
        .or_else(|| environment.var("USER"))
        .unwrap_or("an operator at the command line")
        .to_owned()
}

fn now(filters: Filters) -> anyhow::Result<Filters> {
    filters.within(Clock::System.now()).map_err(anyhow::Error::msg)
}

fn tail(dir: &Path, filters: &Filters, format: Format, follow: bool, out: &mut dyn Write) -> anyhow::Result<u8> {
    let last = Filters { limit: Some(filters.limit.unwrap_or(20)), ..filters.clone() };
    index::catch_up(dir);
    let mut matches = log::query(dir, &last)?;
    let mut writer = Writer::new(format, out)?;
    matches.by_ref().try_for_each(|record| writer.record(&record?))?;
    if !follow {
        writer.end()?;
        return Ok(exit::DONE);
    }
    loop {
        for record in matches.follow() {
            writer.record(&record?)?;
        }
        writer.out.flush()?;
        std::thread::sleep(FOLLOW);
    }
}

/// Whoever reads our output may stop when they have seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}
