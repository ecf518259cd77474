//! The log: found again, verified, and one changed byte of a copy noticed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::{reads, schema, streams, whose};
use crate::cli::demo::operator::word;
use crate::cli::demo::shop::AGENT;
use crate::cli::demo::tour::Stage;

/// Between two looks: what was allowed and untagged is written a moment later.
const EVERY: Duration = Duration::from_millis(50);
/// Looks at most.
const LOOKS_MAX: usize = 100;

/// What each step left: the step, filters that find it, and its statement.
const TRACES: [(u8, &[&str], &str); 10] = [
    (1, &["--relation", "products", "--outcome", "complete"], reads::PRODUCTS),
    (2, &["--tag", "user.contact.email", "--outcome", "complete"], reads::EMAIL),
    (3, &["--rule", "ddl-needs-a-dba", "--outcome", "complete"], schema::ADD),
    (4, &["--rule", "ddl-needs-a-dba", "--outcome", "refused"], schema::DROP),
    (5, &["--kind", "export", "--outcome", "refused"], reads::COPY),
    (5, &["--sensitivity", "critical", "--outcome", "withdrawn"], reads::EVERYBODY),
    (5, &["--column", "customers.id", "--verdict", "allow"], reads::IDS),
    (6, &["--relation", "orders", "--outcome", "complete"], streams::ORDERS),
    (6, &["--relation", "orders", "--outcome", "refused"], streams::ORDERS),
    (7, &["--human", "alice", "--text", "drop table"], whose::DROP),
];

/// The closing record of a statement of the agent, among those that the filters find; waits for it a while.
pub(in super::super) async fn closed(stage: &Stage<'_>, filters: &[&str], statement: &str) -> anyhow::Result<Value> {
    let text = masked(statement);
    let mut arguments = vec!["query", "--principal", AGENT, "--event", "closed", "--format", "jsonl"];
    arguments.extend(filters);
    for _ in 0..LOOKS_MAX {
        let said = stage.log(&arguments, &stage.shop.home.state()).await?;
        ensure!(said.code == Some(0), "log query ended with {:?}", said.code);
        for line in said.stdout.lines() {
            let record: Value = serde_json::from_str(line)?;
            if word(&record, "/text") == text {
                return Ok(record);
            }
        }
        tokio::time::sleep(EVERY).await;
    }
    bail!("{} does not find {text}", filters.join(" "))
}

/// The tour's statements as the log has them: numbers are the only literals in them.
fn masked(statement: &str) -> String {
    let mut masked = String::new();
    for letter in statement.chars() {
        match letter {
            '0'..='9' if masked.ends_with('?') => {}
            '0'..='9' => masked.push('?'),
            _ => masked.push(letter),
        }
    }
    masked
}

pub(in super::super) async fn found(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    for (step, filters, statement) in TRACES {
        stage.does("log", &format!("holdgate log query {}", filters.join(" ")))?;
        let record = closed(stage, filters, statement).await.with_context(|| format!("step {step}"))?;
        let (outcome, text) = (word(&record, "/outcome"), word(&record, "/text"));
        let number = record.get("seq").and_then(Value::as_u64).context("a record without a number")?;
        stage.gets(&format!("step {step} is record {number}, {outcome}: {text}"))?;
    }
    refused_act(stage).await
}

/// What alice tried is an operator's act, and no statement.
async fn refused_act(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let filters = ["query", "--approver", "alice", "--event", "operator", "--text", "refused", "--format", "jsonl"];
    let said = stage.log(&filters, &stage.shop.home.state()).await?;
    let line = said.stdout.lines().next().context("what alice tried is not in the log")?;
    let record: Value = serde_json::from_str(line)?;
    stage.does("log", "holdgate log query --approver alice --event operator --text refused")?;
    stage.gets(&format!("step 7: {}", word(&record, "/text")))
}

pub(in super::super) async fn verify(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.does("log", "holdgate log verify")?;
    let said = stage.log(&["verify"], &stage.shop.home.state()).await?;
    ensure!(said.code == Some(0), "it says: {}", said.stdout);
    for line in said.stdout.lines() {
        stage.gets(line)?;
    }
    let copy = stage.shop.home.path().join("changed");
    let (file, line) = change(&stage.shop.home.state(), &copy)?;
    stage.does("somebody", &format!("changes one byte of a copy, in line {line} of {file}"))?;
    let said = stage.log(&["verify"], &copy).await?;
    ensure!(said.code == Some(1), "the changed copy passes: {}", said.stdout);
    let named = said.stdout.lines().any(|said| said.starts_with(&format!("{file} line {line} ")));
    for line in said.stdout.lines() {
        stage.gets(line)?;
    }
    ensure!(named, "the place is not named");
    Ok(())
}

/// Copies the log and changes one letter of the record of the personal read: the file, and the line from 1.
fn change(state: &Path, copy: &Path) -> anyhow::Result<(String, usize)> {
    fs::create_dir_all(copy.join("log"))?;
    for entry in fs::read_dir(state.join("log"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), copy.join("log").join(entry.file_name()))?;
        }
    }
    for entry in fs::read_dir(copy.join("log"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        if let Some(at) = text.find("customers.email") {
            let line = text.get(..at).unwrap_or_default().lines().count();
            fs::write(&path, text.replacen("customers.email", "customers.emajl", 1))?;
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Ok((file, line));
        }
    }
    bail!("the log has no record of customers.email")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_masked_as_one() {
        assert_eq!(masked("SELECT a FROM t WHERE id = 70 LIMIT 5"), "SELECT a FROM t WHERE id = ? LIMIT ?");
    }
}
