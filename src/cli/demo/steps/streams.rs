//! Large results: they stop at their row limit, and go on or end as an operator decides.

use anyhow::ensure;

use crate::cli::demo::agent::{Agent, Ran};
use crate::cli::demo::operator::Hold;
use crate::cli::demo::tour::Stage;

pub(in super::super) const ORDERS: &str = "SELECT * FROM orders";

pub(in super::super) async fn limits(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let (agent, direct) = (stage.agent().await?, stage.direct().await?);
    let past = direct.rows(ORDERS).await?;
    let (ran, hold) = decided(stage, &agent, "approve", "For the yearly report").await?;
    ensure!(ran.error.is_none(), "it was approved and did not end well");
    ensure!(ran.rows == past, "{} rows, but directly {}", ran.rows.len(), past.len());
    ensure!(hold.number("/rows_sent")? < u64::try_from(past.len())?, "it stopped only at its end");
    stage.gets(&format!("{} rows, each the same as directly", ran.rows.len()))?;
    let (ran, _) = decided(stage, &agent, "deny", "Once is enough").await?;
    let Some(refusal) = ran.error else { anyhow::bail!("it was denied and did not fail") };
    ensure!(refusal.sqlstate == "53400", "{refusal}");
    ensure!(ran.rows.len() < past.len(), "all rows came");
    stage.gets(&format!("{} rows, then {refusal}", ran.rows.len()))?;
    stage.does("agent", "SELECT count(*) FROM orders")?;
    let count = agent.rows("SELECT count(*) FROM orders").await?;
    ensure!(count == [[Some(past.len().to_string())]], "the session is not usable");
    stage.gets(&format!("{}: the session goes on", past.len()))
}

/// Runs the read; an operator decides when it stops.
async fn decided(stage: &mut Stage<'_>, agent: &Agent, decision: &str, why: &str) -> anyhow::Result<(Ran, Hold)> {
    stage.does("agent", ORDERS)?;
    let operator = &stage.operator;
    let decide = async {
        let hold = operator.hold_of(ORDERS).await?;
        operator.decide(&hold, decision, why).await?;
        anyhow::Ok(hold)
    };
    let (ran, hold) = tokio::try_join!(agent.run(ORDERS), decide)?;
    stage.gets(&format!(
        "stops after {} rows, held as {} by {}",
        hold.number("/rows_sent")?,
        hold.id(),
        hold.word("/rule")
    ))?;
    stage.does("operator", &format!("{} '{}' '{why}'", decision.to_uppercase(), hold.id()))?;
    Ok((ran, hold))
}
