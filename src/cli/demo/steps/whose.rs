//! Whose approval counts.

use anyhow::ensure;
use reqwest::StatusCode;

use crate::cli::demo::operator::word;
use crate::cli::demo::tour::Stage;

pub(in super::super) const DROP: &str = "DROP TABLE stock_changes";

pub(in super::super) async fn self_approval(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let agent = stage.agent().await?;
    stage.does("agent", DROP)?;
    let (operator, alice) = (&stage.operator, &stage.alice);
    let decide = async {
        let hold = operator.hold_of(DROP).await?;
        let own = alice.answer(hold.id(), "approve", "I asked my agent for it").await?;
        operator.decide(&hold, "deny", "Ask the owner of the table").await?;
        anyhow::Ok((hold, own))
    };
    let (_, (hold, (status, problem))) = tokio::try_join!(agent.refused(DROP, "42501"), decide)?;
    stage.does("alice", &format!("APPROVE '{}' 'I asked my agent for it'", hold.id()))?;
    ensure!(status == StatusCode::FORBIDDEN, "{status} {problem}");
    ensure!(word(&problem, "/type").ends_with("self-approval"), "{problem}");
    stage.gets(&format!("{status}: {}", word(&problem, "/detail")))?;
    stage.does("operator", &format!("DENY '{}' 'Ask the owner of the table'", hold.id()))?;
    agent.rows("SELECT count(*) FROM stock_changes").await?;
    stage.gets("the table is still there")
}
