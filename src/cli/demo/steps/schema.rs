//! Schema changes: one that is approved, one that is denied inside of a transaction.

use anyhow::ensure;

use crate::cli::demo::tour::Stage;

pub(in super::super) const ADD: &str = "ALTER TABLE customers ADD COLUMN loyalty_points int NOT NULL DEFAULT 0";
pub(in super::super) const DROP: &str = "ALTER TABLE orders DROP COLUMN note";
const UPDATE: &str = "UPDATE products SET stock = stock + 1 WHERE id = 1";
const STOCK: &str = "SELECT stock FROM products WHERE id = 1";

pub(in super::super) async fn approved(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let agent = stage.agent().await?;
    stage.does("agent", ADD)?;
    let operator = &stage.operator;
    let approve = async {
        let hold = operator.hold_of(ADD).await?;
        ensure!(hold.word("/waiting") == "connection", "nobody waits on the connection");
        operator.decide(&hold, "approve", "Planned for this release").await?;
        anyhow::Ok(hold)
    };
    let (_, hold) = tokio::try_join!(agent.rows(ADD), approve)?;
    stage.gets(&format!("NOTICE: {}", agent.notice(hold.id())?))?;
    stage.does("operator", &format!("sees hold {}: {}", hold.id(), hold.word("/statement")))?;
    stage.does("operator", &format!("APPROVE '{}' 'Planned for this release'", hold.id()))?;
    agent.rows("SELECT sum(loyalty_points) FROM customers").await?;
    let done = stage.operator.until(hold.id(), "finished").await?;
    ensure!(done.word("/decision/by") == "operator", "the decision is not the operator's");
    stage.gets("ALTER TABLE: the agent's own statement completed, and the column is there")
}

pub(in super::super) async fn denied(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let agent = stage.agent().await?;
    let before = agent.rows(STOCK).await?;
    stage.does("agent", &format!("BEGIN; {UPDATE};"))?;
    agent.rows("BEGIN").await?;
    agent.rows(UPDATE).await?;
    stage.does("agent", DROP)?;
    let operator = &stage.operator;
    let deny = async {
        let hold = operator.hold_of(DROP).await?;
        operator.decide(&hold, "deny", "Support needs the notes").await?;
        anyhow::Ok(hold)
    };
    let (refusal, hold) = tokio::try_join!(agent.refused(DROP, "42501"), deny)?;
    stage.does("operator", &format!("DENY '{}' 'Support needs the notes'", hold.id()))?;
    refusal.names(&["ddl-needs-a-dba", hold.id(), "support needs the notes"])?;
    stage.gets(&refusal.to_string())?;
    stage.does("agent", STOCK)?;
    let failed = agent.refused(STOCK, "25P02").await?;
    stage.gets(&format!("as after any error in a transaction: {failed}"))?;
    stage.does("agent", "ROLLBACK")?;
    agent.rows("ROLLBACK").await?;
    ensure!(agent.rows(STOCK).await? == before, "the transaction was not rolled back");
    stage.gets("the session goes on, and the update is undone")
}
