//! `holdgate holds`: shows and decides holds over the HTTP API.

pub(super) mod api;
pub(super) mod show;
mod watch;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use self::api::{Answer, Api, ApiError};
use super::exit;

/// Shows and decides holds.
#[derive(Debug, Args)]
pub struct Holds {
    #[command(subcommand)]
    act: Act,
}

/// Where the proxy is, and who asks.
#[derive(Clone, Debug, Args)]
pub(super) struct Target {
    /// The proxy's HTTP address.
    #[arg(long, env = "HOLDGATE_URL", default_value = "http://127.0.0.1:6480")]
    url: String,
    /// The operator's token.
    #[arg(long, env = "HOLDGATE_TOKEN", hide_env_values = true)]
    token: String,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Lists holds, the newest first.
    List {
        #[command(flatten)]
        target: Target,
        /// States to show, separated by commas; `all` for every one.
        #[arg(long, default_value = "pending,approved")]
        state: String,
    },
    /// Shows one hold in full.
    Show {
        #[command(flatten)]
        target: Target,
        /// The hold's id.
        id: String,
    },
    /// Follows holds live: in a terminal a list to decide from, elsewhere one line each time that a hold changes.
    ///
    /// Keys: up and down choose, Enter shows the whole card, a approves and d denies (a reason is asked for), Esc goes
    /// back, q leaves. Breaks of the connection are bridged, and what happened meanwhile is caught up on.
    Watch {
        #[command(flatten)]
        target: Target,
    },
    /// Lets the statement run once.
    Approve(Decision),
    /// Refuses the statement.
    Deny(Decision),
}

#[derive(Debug, Args)]
struct Decision {
    #[command(flatten)]
    target: Target,
    /// The hold's id.
    id: String,
    /// Why; whoever sent the statement reads it where it is denied.
    #[arg(long)]
    reason: Option<String>,
}

impl Holds {
    /// Runs the command; the exit code is one of [`super::exit`].
    ///
    /// # Errors
    /// What kept the command from giving an answer; printed by `main`, exit code 2.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (input, mut out) = (std::io::stdin(), std::io::stdout().lock());
        let terminal = input.is_terminal() && out.is_terminal();
        let acted = match self.act {
            Act::Watch { target } if terminal && target.format == Format::Table => {
                runtime.block_on(watch::live(&target, &mut out))
            }
            other => runtime.block_on(act(other, &mut out)),
        };
        match acted {
            Ok(code) => Ok(code.into()),
            // A reader that has seen enough, such as `head`.
            Err(ApiError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(exit::DONE.into()),
            Err(error) => {
                eprintln!("error: {error}");
                Ok(error.exit_code().into())
            }
        }
    }
}

async fn act(act: Act, out: &mut impl Write) -> Result<u8, ApiError> {
    match act {
        Act::List { target, state } => list(&target, &state, out).await,
        Act::Show { target, id } => show(&target, &id, out).await,
        Act::Watch { target } => watch::lines(&target, out).await,
        Act::Approve(decision) => decide(&decision, "approve", out).await,
        Act::Deny(decision) => decide(&decision, "deny", out).await,
    }
}

async fn list(target: &Target, state: &str, out: &mut impl Write) -> Result<u8, ApiError> {
    let holds = Api::new(target)?.list(if state == "all" { "" } else { state }).await?;
    match target.format {
        Format::Table => show::table(&holds, out)?,
        Format::Json => show::json(&serde_json::json!({"holds": holds, "next": null}), out)?,
        Format::Jsonl => show::lines(&holds, out)?,
    }
    Ok(exit::DONE)
}

async fn show(target: &Target, id: &str, out: &mut impl Write) -> Result<u8, ApiError> {
    let hold = Api::new(target)?.hold(id).await?;
    print(target.format, &hold, out)?;
    Ok(exit::DONE)
}

async fn decide(decision: &Decision, word: &str, out: &mut impl Write) -> Result<u8, ApiError> {
    let target = &decision.target;
    match Api::new(target)?.decide(&decision.id, word, decision.reason.as_deref()).await? {
        Answer::Decided(hold) => {
            if target.format == Format::Table {
                writeln!(out, "{}", show::sentence(&hold))?;
            } else {
                print(target.format, &hold, out)?;
            }
            Ok(exit::DONE)
        }
        Answer::Conflict(hold) => {
            if target.format == Format::Table {
                eprintln!("error: {}", show::sentence(&hold));
            } else {
                print(target.format, &hold, out)?;
            }
            Ok(exit::CONFLICT)
        }
    }
}

fn print(format: Format, hold: &Value, out: &mut impl Write) -> Result<(), ApiError> {
    match format {
        Format::Table => show::card(hold, out),
        Format::Json => show::json(hold, out),
        Format::Jsonl => show::lines(std::slice::from_ref(hold), out),
    }
}

#[cfg(test)]
mod tests;
