//! `holdgate log`: reads and verifies the record log.

mod table;

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};

use super::exit;
use crate::clock::Clock;
use crate::config::Environment;
use crate::lineage::{Filters, StatementRecord, encode_line, openlineage};
use crate::log::{self, LogError, VerifyOptions};

/// How often `tail --follow` looks for new lines.
const FOLLOW: Duration = Duration::from_millis(100);

/// Reads and verifies the record log.
#[derive(Debug, Args)]
pub(super) struct Log {
    /// The directory that `serve` keeps its state in; the log is in its folder `log` [default: that of `serve`].
    #[arg(long, global = true, env = "HOLDGATE_STATE")]
    state: Option<PathBuf>,
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
    /// Checks that nothing was changed since it was signed; exit code 1 where something was.
    Verify {
        /// A file of checkpoints that were kept elsewhere.
        #[arg(long)]
        checkpoint: Option<PathBuf>,
        /// The log's public key, kept elsewhere.
        #[arg(long)]
        key: Option<PathBuf>,
        /// How the report is shown: json, or text for any other.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Prints one record with the proof that the newest checkpoint covers it, as JSON.
    Prove {
        /// The record's number.
        seq: u64,
    },
    /// Writes the records that match, a line each.
    Export {
        #[command(flatten)]
        filters: Box<Filters>,
        /// How records are written.
        #[arg(long, value_enum, default_value_t = Format::Jsonl)]
        format: Format,
        /// Into this file, which must not be there yet; otherwise to standard output.
        #[arg(long)]
        output: Option<PathBuf>,
    },
}

/// How records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns for a terminal.
    Table,
    /// One array.
    Json,
    /// One record a line, as in the log.
    Jsonl,
    /// One `OpenLineage` run event a line.
    Openlineage,
}

impl Log {
    /// Runs the command; the exit code is one of [`super::exit`].
    ///
    /// # Errors
    /// What kept the command from giving an answer; printed by `main`, exit code 2.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let state = self.state.unwrap_or_else(|| Environment::process().state());
        let dir = state.join("log");
        anyhow::ensure!(dir.is_dir(), "no log in {}: give its state directory with --state", state.display());
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
}

impl Command {
    fn run(self, dir: &Path, out: &mut dyn Write) -> anyhow::Result<u8> {
        match self {
            Self::Tail { follow, filters, format } => tail(dir, &now(*filters), format, follow, out),
            Self::Query { filters, format } => show(log::query(dir, &now(*filters))?, format, out),
            Self::Verify { checkpoint, key, format } => verify(dir, &VerifyOptions { key, checkpoint }, format, out),
            Self::Prove { seq } => prove(dir, seq, out),
            Self::Export { filters, format, output } => {
                let records = log::query(dir, &now(*filters))?;
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

fn now(filters: Filters) -> Filters {
    filters.resolved(Clock::System.now())
}

fn tail(dir: &Path, filters: &Filters, format: Format, follow: bool, out: &mut dyn Write) -> anyhow::Result<u8> {
    let last = Filters { limit: Some(filters.limit.unwrap_or(20)), ..filters.clone() };
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

fn show(
    records: impl Iterator<Item = Result<StatementRecord, LogError>>,
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let mut writer = Writer::new(format, out)?;
    for record in records {
        writer.record(&record?)?;
    }
    writer.end()?;
    Ok(exit::DONE)
}

/// Writes records one by one in a format.
struct Writer<'a> {
    format: Format,
    out: &'a mut dyn Write,
    count: u64,
    line: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(format: Format, out: &'a mut dyn Write) -> io::Result<Self> {
        match format {
            Format::Table => table::head(out)?,
            Format::Json => out.write_all(b"[")?,
            Format::Jsonl | Format::Openlineage => {}
        }
        Ok(Self { format, out, count: 0, line: Vec::new() })
    }

    fn record(&mut self, record: &StatementRecord) -> anyhow::Result<()> {
        self.count += 1;
        self.line.clear();
        match self.format {
            Format::Table => return Ok(table::row(record, self.out)?),
            Format::Json => {
                self.out.write_all(if self.count == 1 { b"\n" } else { b",\n" })?;
                encode_line(record, &mut self.line);
                return Ok(self.out.write_all(&self.line)?);
            }
            Format::Jsonl => encode_line(record, &mut self.line),
            Format::Openlineage => {
                let Some(event) = openlineage::render(record) else { return Ok(()) };
                serde_json::to_writer(&mut self.line, &event)?;
            }
        }
        self.line.push(b'\n');
        Ok(self.out.write_all(&self.line)?)
    }

    fn end(self) -> io::Result<()> {
        if self.format == Format::Json { self.out.write_all(b"\n]\n") } else { Ok(()) }
    }
}

fn verify(dir: &Path, options: &VerifyOptions, format: Format, out: &mut dyn Write) -> anyhow::Result<u8> {
    let report = log::verify(dir, options)?;
    if format == Format::Json || format == Format::Jsonl {
        serde_json::to_writer(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        for problem in &report.problems {
            writeln!(out, "{problem}")?;
        }
        let answer = if report.is_intact() { "intact" } else { "NOT INTACT" };
        writeln!(
            out,
            "{answer}: {} records in {} segment{}, {} signed",
            report.lines,
            report.segments,
            if report.segments == 1 { "" } else { "s" },
            report.anchored
        )?;
        if report.unanchored > 0 {
            writeln!(out, "unanchored: the last {} records are not signed yet", report.unanchored)?;
        }
        if report.torn > 0 {
            writeln!(out, "unfinished: {} bytes at the end are no record yet", report.torn)?;
        }
    }
    Ok(if report.is_intact() { exit::DONE } else { exit::NO })
}

fn prove(dir: &Path, seq: u64, out: &mut dyn Write) -> anyhow::Result<u8> {
    let Some(proof) = log::prove(dir, seq)? else {
        anyhow::bail!("record {seq} is not covered by a checkpoint");
    };
    serde_json::to_writer_pretty(&mut *out, &proof)?;
    writeln!(out)?;
    Ok(exit::DONE)
}

/// Whoever reads our output may stop when they have seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}
