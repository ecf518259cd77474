//! `holdgate request`: asks for a migration as one bundle, and waits for its decision where that is wanted.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::exit;
use super::holds::api::{Api, ApiError};
use super::holds::{Format, Target, show};
use crate::http::SQL_MAX;

/// Between two looks at the decision.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Asks for a migration ahead of time: one card, one decision, then each statement runs once, in order, without waiting.
///
/// Exit code 0: asked for, or approved with --wait; 1: denied, expired or refused; 3: the proxy cannot be reached.
#[derive(Debug, Args)]
pub struct RequestCommand {
    #[command(flatten)]
    target: Target,
    /// The SQL file; `-` reads standard input.
    file: PathBuf,
    /// The principal that will send the statements.
    #[arg(long = "as", value_name = "PRINCIPAL")]
    principal: String,
    /// The database, or host:port/database of the upstream.
    #[arg(long)]
    upstream: String,
    /// What the migration is for; it is on the card.
    #[arg(long)]
    intent: Option<String>,
    /// Waits until somebody has decided.
    #[arg(long)]
    wait: bool,
}

impl RequestCommand {
    /// Runs the command; the exit code is one of [`super::exit`].
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut sql = String::new();
        if self.file.as_os_str() == "-" {
            std::io::stdin().read_to_string(&mut sql)?;
        } else {
            sql = std::fs::read_to_string(&self.file)
                .map_err(|error| anyhow::anyhow!("{}: {error}", self.file.display()))?;
        }
        if sql.len() > SQL_MAX {
            eprintln!(
                "error: {} has {} bytes, and a bundle has at most {SQL_MAX}: load data otherwise, and ask for the rest",
                self.file.display(),
                sql.len()
            );
            return Ok(exit::NO.into());
        }
        // psql leaves it out too.
        let sql = sql.strip_prefix('\u{feff}').map_or(sql.as_str(), |rest| rest);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut out = std::io::stdout().lock();
        match runtime.block_on(self.ask(sql, &mut out)) {
            Ok(code) => Ok(code.into()),
            Err(error) => {
                eprintln!("error: {error}");
                // A migration that is refused as a whole is a no.
                let code = if matches!(error, ApiError::Usage(_)) { exit::NO } else { error.exit_code() };
                Ok(code.into())
            }
        }
    }

    async fn ask(&self, sql: &str, out: &mut impl Write) -> Result<u8, ApiError> {
        let api = Api::new(&self.target)?;
        let body = serde_json::json!({
            "principal": self.principal, "upstream": self.upstream, "sql": sql, "intent": self.intent,
        });
        let Some(mut hold) = api.request_bundle(&body).await? else {
            eprintln!("no statement of it needs an approval");
            return Ok(exit::DONE);
        };
        if self.wait {
            eprintln!("waiting for a decision on bundle {}", show::id(&hold));
        }
        while self.wait && state(&hold) == "pending" {
            tokio::time::sleep(LOOK_EVERY).await;
            hold = api.hold(&show::id(&hold)).await?;
        }
        match self.target.format {
            Format::Table => writeln!(out, "{}", show::sentence(&hold))?,
            Format::Json => show::json(&hold, out)?,
            Format::Jsonl => show::lines(std::slice::from_ref(&hold), out)?,
        }
        let no = matches!(state(&hold), "denied" | "expired" | "withdrawn" | "void");
        Ok(if no { exit::NO } else { exit::DONE })
    }
}

fn state(hold: &Value) -> &str {
    hold.get("state").and_then(Value::as_str).unwrap_or_default()
}
