//! `holdgate analyze`: facts and verdicts for SQL on standard input or in files.

mod answer;
mod files;
mod play;
mod print;
mod sarif;
mod script;

use std::io::{BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Deserialize;

use self::answer::Total;
use self::play::Judge;
use self::print::Printer;
use super::source::{self, Start};
use crate::config::{ConfigError, policy_sources};
use crate::policy::Policy;

/// Facts and verdicts for SQL on standard input or in files.
#[derive(Debug, clap::Args)]
pub(super) struct Analyze {
    /// The database whose catalog gives names their meaning.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// A catalog snapshot instead of a database, as `catalog dump` writes it.
    #[arg(long, value_name = "FILE", conflicts_with = "upstream")]
    catalog: Option<PathBuf>,
    /// A policy file, or a directory of them; the shipped policy where there is none.
    #[arg(long, value_name = "DIR|FILE")]
    policies: Option<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// What comes in: SQL, or a JSON object with `id` and `sql` a line. Standard input is jsonl where the output is.
    #[arg(long, value_enum)]
    input: Option<Input>,
    /// Exit code 1 where a statement touches tagged columns, is held, is denied, or cannot be known; several by commas.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    fail_on: Vec<FailOn>,
    /// Files of SQL, or directories of `.sql` files; standard input where there are none.
    #[arg(value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// A JSON object a line, for each file or line that comes in.
    Jsonl,
    /// SARIF 2.1.0, for code hosts and editors.
    Sarif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Input {
    Sql,
    Jsonl,
}

/// What makes the answer no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// A statement touches a tagged column.
    Tag,
    /// A statement would be held.
    Hold,
    /// A statement would be denied.
    Deny,
    /// A statement is opaque.
    Opaque,
}

/// One text to analyse.
#[derive(Debug, Deserialize)]
struct Item {
    id: serde_json::Value,
    sql: String,
}

impl Analyze {
    /// Runs the command; the exit code is one of [`super::exit`].
    ///
    /// # Errors
    /// What kept the command from giving an answer; printed by `main`, exit code 2.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let start = match (&self.upstream, &self.catalog) {
            (Some(url), _) => match source::upstream(url) {
                Ok(start) => start,
                Err(error) => {
                    eprintln!("error: {error:#}");
                    return Ok(super::exit::UNREACHABLE.into());
                }
            },
            (None, Some(file)) => source::snapshot(file)?,
            (None, None) => anyhow::bail!("analyze needs --upstream or --catalog"),
        };
        let Some(policy) = self.policy()? else { return Ok(super::exit::USAGE.into()) };
        let total = match self.answer(start, policy) {
            Err(error) if is_broken_pipe(&error) => return Ok(super::exit::DONE.into()),
            total => total?,
        };
        Ok(if self.fails(&total) { super::exit::NO } else { super::exit::DONE }.into())
    }

    /// The policy; its problems are printed, and there is none then.
    fn policy(&self) -> anyhow::Result<Option<Policy>> {
        let Some(path) = &self.policies else { return Ok(Some(Policy::shipped())) };
        let findings = match policy_sources(path) {
            Ok(sources) => match Policy::load(&sources) {
                Ok(policy) => return Ok(Some(policy)),
                Err(findings) => findings,
            },
            Err(ConfigError::Findings(findings)) => findings,
            Err(error) => return Err(error.into()),
        };
        for finding in findings {
            eprintln!("{finding}");
        }
        Ok(None)
    }

    fn answer(&self, start: Start, policy: Policy) -> anyhow::Result<Total> {
        let judge = Judge::new(start, policy);
        let out = BufWriter::new(std::io::stdout().lock());
        let mut printer = match self.format {
            Format::Text => Printer::text(out),
            Format::Jsonl => Printer::jsonl(out),
            Format::Sarif => Printer::sarif(out)?,
        };
        if self.files.is_empty() {
            anyhow::ensure!(!std::io::stdin().is_terminal(), "analyze needs files, or SQL on standard input");
            let usual = if self.format == Format::Jsonl { Input::Jsonl } else { Input::Sql };
            read(&judge, &mut printer, (std::io::stdin().lock(), "-"), self.input.unwrap_or(usual))?;
        }
        for file in files::walk(&self.files)? {
            let name = files::name(&file);
            let reader = BufReader::new(std::fs::File::open(&file).with_context(|| name.clone())?);
            read(&judge, &mut printer, (reader, &name), self.input.unwrap_or(Input::Sql))
                .with_context(|| name.clone())?;
        }
        printer.finish()
    }

    fn fails(&self, total: &Total) -> bool {
        self.fail_on.iter().any(|what| {
            let found = match what {
                FailOn::Tag => total.tagged,
                FailOn::Hold => total.held,
                FailOn::Deny => total.denied,
                FailOn::Opaque => total.opaque,
            };
            found > 0
        })
    }
}

/// Analyses one file: of SQL, which is one session, or of lines, each of which is one.
fn read<R: BufRead, W: Write>(
    judge: &Judge,
    printer: &mut Printer<W>,
    (reader, name): (R, &str),
    input: Input,
) -> anyhow::Result<()> {
    if input == Input::Sql {
        return judge.file(reader, name, printer);
    }
    for (place, line) in reader.split(b'\n').enumerate() {
        let line = line?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let item: Item =
            serde_json::from_slice(&line).with_context(|| format!("{name}: line {} is no {{id, sql}}", place + 1))?;
        let answer = judge.line(item.id, &item.sql);
        printer.answer(&answer)?;
    }
    Ok(())
}

/// A reader that has seen enough, such as `head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(broken)
            || cause
                .downcast_ref::<serde_json::Error>()
                .is_some_and(|error| error.io_error_kind() == Some(std::io::ErrorKind::BrokenPipe))
    })
}
