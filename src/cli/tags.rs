//! `holdgate tags`: lists and reviews, over the HTTP API, the columns that personal data was copied to.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::exit;
use super::holds::api::{Api, ApiError};
use super::holds::{Format, Target};
use crate::control::card::printable;

/// Lists and reviews the tags that came to columns with values.
#[derive(Debug, Args)]
pub struct Tags {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Lists derived tags, the oldest first.
    List {
        #[command(flatten)]
        target: Target,
        /// The state to show: `open`, `confirmed` or `dismissed`; all where absent.
        #[arg(long, default_value = "")]
        state: String,
    },
    /// Says that a derived tag is right.
    Confirm(Review),
    /// Says that a derived tag is wrong: it counts no more.
    Dismiss(Review),
}

#[derive(Debug, Args)]
struct Review {
    #[command(flatten)]
    target: Target,
    /// The tag's number.
    id: u64,
    /// Why; kept in the log.
    #[arg(long)]
    reason: Option<String>,
}

impl Tags {
    /// Runs the command; the exit code is one of [`super::exit`].
    ///
    /// # Errors
    /// What kept the command from giving an answer; printed by `main`, exit code 2.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut out = std::io::stdout().lock();
        match runtime.block_on(act(self.act, &mut out)) {
            Ok(()) => Ok(exit::DONE.into()),
            // A reader that has seen enough, such as `head`.
            Err(ApiError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(exit::DONE.into()),
            Err(error) => {
                eprintln!("error: {error}");
                Ok(error.exit_code().into())
            }
        }
    }
}

async fn act(act: Act, out: &mut impl Write) -> Result<(), ApiError> {
    let (target, tags) = match act {
        Act::List { target, state } => {
            let tags = Api::new(&target)?.tags(&state).await?;
            (target, tags)
        }
        Act::Confirm(review) => (review.target.clone(), vec![reviewed(&review, "confirm").await?]),
        Act::Dismiss(review) => (review.target.clone(), vec![reviewed(&review, "dismiss").await?]),
    };
    print(target.format, &tags, out)
}

async fn reviewed(review: &Review, word: &str) -> Result<Value, ApiError> {
    Api::new(&review.target)?.review_tag(review.id, word, review.reason.as_deref()).await
}

fn print(format: Format, tags: &[Value], out: &mut impl Write) -> Result<(), ApiError> {
    match format {
        Format::Json => writeln!(out, "{:#}", serde_json::json!({"tags": tags}))?,
        Format::Jsonl => {
            for tag in tags {
                writeln!(out, "{tag}")?;
            }
        }
        Format::Table => {
            writeln!(out, "{:<6}{:<11}{:<28}{:<44}SOURCES", "ID", "STATE", "TAG", "COLUMN")?;
            for tag in tags {
                let text = |name: &str| printable(tag.get(name).and_then(Value::as_str).unwrap_or_default());
                let column = format!("{}.{}", text("database"), text("column"));
                let id = tag.get("id").and_then(Value::as_u64).unwrap_or_default();
                writeln!(out, "{id:<5} {:<10} {:<27} {column:<43} {}", text("state"), text("tag"), sources(tag))?;
            }
        }
    }
    Ok(())
}

fn sources(tag: &Value) -> String {
    let all = tag.get("sources").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    all.iter().filter_map(Value::as_str).map(printable).collect::<Vec<_>>().join(", ")
}
