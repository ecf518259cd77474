//! `log legal-hold`: what retention must not remove.

use std::io::Write;
use std::path::Path;

use clap::Subcommand;

use crate::cli::exit;
use crate::clock::Clock;
use crate::log::{LegalHolds, Log, LogError, Options};

/// Sets, lifts and lists legal holds.
#[derive(Debug, Subcommand)]
pub(super) enum LegalHold {
    /// Lists the holds, lifted ones too, a line each.
    List,
    /// Keeps all records that match, whatever retention says.
    Set {
        /// A name for it.
        name: String,
        /// Why; goes into the log.
        #[arg(long)]
        reason: String,
        /// A filter of `log query` as NAME=VALUE, such as principal=bot or since=2026-01-01; all must match. None: all
        /// records.
        #[arg(long = "where", value_name = "NAME=VALUE", value_parser = pair)]
        filters: Vec<(String, String)>,
    },
    /// Ends a hold.
    Lift {
        /// Its name.
        name: String,
        /// Why; goes into the log.
        #[arg(long)]
        reason: String,
    },
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl LegalHold {
    pub(super) fn run(self, dir: &Path, by: &str, out: &mut dyn Write) -> anyhow::Result<u8> {
        let mut holds = LegalHolds::open(dir)?;
        let now = Clock::System.now();
        match self {
            Self::List => {
                for hold in holds.list() {
                    serde_json::to_writer(&mut *out, hold)?;
                    writeln!(out)?;
                }
                return Ok(exit::DONE);
            }
            Self::Set { name, reason, filters } => holds.set(&name, filters, (by, &reason), now),
            Self::Lift { name, reason } => holds.lift(&name, (by, &reason), now),
        }
        .map_err(anyhow::Error::msg)?;
        if record(dir, &mut holds)? {
            writeln!(out, "done, and recorded")?;
        } else {
            writeln!(out, "done; the proxy that has the log open records it within a few seconds")?;
        }
        Ok(exit::DONE)
    }
}

/// Whether the records could be written: not where a proxy has the log open, which then does it.
fn record(dir: &Path, holds: &mut LegalHolds) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let log = match Log::open(Options::new(dir), Clock::System) {
            Ok(log) => log,
            Err(LogError::InUse { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        log.append_all_strict(holds.unrecorded()).await?;
        log.close().await;
        holds.mark_recorded()?;
        Ok(true)
    })
}
