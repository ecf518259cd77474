//! Reads: of untagged data, of one person's data, of everybody's.

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio_postgres::NoTls;

use super::log::closed;
use crate::cli::demo::agent::Agent;
use crate::cli::demo::shop::AGENT;
use crate::cli::demo::tour::Stage;

pub(in super::super) const PRODUCTS: &str = "SELECT id, name, price FROM products WHERE stock > 450 ORDER BY id";
pub(in super::super) const EMAIL: &str = "SELECT email FROM customers WHERE id = 7";
pub(in super::super) const COPY: &str = "COPY customers TO STDOUT";
pub(in super::super) const EVERYBODY: &str = "SELECT * FROM customers";
pub(in super::super) const IDS: &str = "SELECT id FROM customers LIMIT 10";

pub(in super::super) async fn untagged(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let (agent, direct) = (stage.agent().await?, stage.direct().await?);
    stage.does("agent", PRODUCTS)?;
    let (through, past) = (agent.rows(PRODUCTS).await?, direct.rows(PRODUCTS).await?);
    ensure!(!past.is_empty() && through == past, "{} rows, but directly {}", through.len(), past.len());
    stage.gets(&format!("{} rows, each the same as directly", through.len()))
}

pub(in super::super) async fn tagged(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let agent = stage.agent().await?;
    stage.does("agent", EMAIL)?;
    let rows = agent.rows(EMAIL).await?;
    let email = rows.first().and_then(|row| row.first()?.as_deref()).context("there is no customer 7")?;
    stage.gets(email)?;
    stage.does("log", "holdgate log query --column customers.email --outcome complete")?;
    let filters = ["--column", "customers.email", "--outcome", "complete"];
    let record = closed(stage, &filters, EMAIL).await?;
    let at = |pointer: &str| record.pointer(pointer).cloned().unwrap_or_default();
    ensure!(at("/columns/shop.public.customers.email/tags/0") == "user.contact.email", "the tag is missing: {record}");
    ensure!(at("/principal/name") == AGENT && at("/principal/human") == "alice", "the principal: {record}");
    ensure!(at("/rows") == 1 && at("/bytes").as_u64().is_some_and(|bytes| bytes > 0), "rows or bytes: {record}");
    ensure!(!record.to_string().contains(email), "the value is in the log: {record}");
    stage.gets(&format!(
        "customers.email is {}, read by {AGENT} for alice, rows {}, bytes {}, as {}",
        text(&at("/columns/shop.public.customers.email/tags/0")),
        at("/rows"),
        at("/bytes"),
        text(&at("/text")),
    ))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(in super::super) async fn exports(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let agent = stage.agent().await?;
    copy_denied(stage, &agent).await?;
    read_cancelled(stage, &agent).await?;
    stage.does("agent", IDS)?;
    let rows = agent.rows(IDS).await?;
    ensure!(rows.len() == 10, "{} rows", rows.len());
    stage.gets("10 rows, at once")
}

async fn copy_denied(stage: &mut Stage<'_>, agent: &Agent) -> anyhow::Result<()> {
    stage.does("agent", COPY)?;
    let operator = &stage.operator;
    let deny = async {
        let hold = operator.hold_of(COPY).await?;
        operator.decide(&hold, "deny", "Use the anonymised export").await?;
        anyhow::Ok(hold)
    };
    let (refusal, hold) = tokio::try_join!(agent.copy_refused(COPY, "42501"), deny)?;
    refusal.names(&["exports-need-compliance", hold.id(), "anonymised export"])?;
    stage.gets(&format!("held as {} by {}; then denied:", hold.id(), hold.word("/rule")))?;
    stage.gets(&refusal.to_string())
}

async fn read_cancelled(stage: &mut Stage<'_>, agent: &Agent) -> anyhow::Result<()> {
    stage.does("agent", EVERYBODY)?;
    let (operator, token) = (&stage.operator, agent.cancel_token());
    let cancel = async {
        let hold = operator.hold_of(EVERYBODY).await?;
        token.cancel_query(NoTls).await?;
        operator.until(hold.id(), "withdrawn").await
    };
    let (refusal, hold) = tokio::try_join!(agent.refused(EVERYBODY, "57014"), cancel)?;
    stage.gets(&format!("held as {} by {}; then the agent cancels it:", hold.id(), hold.word("/rule")))?;
    stage.gets(&refusal.to_string())
}
