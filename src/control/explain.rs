//! What is in force, and what it would say: principals, rules, numbers, and a policy asked without running anything.

use futures_util::future::BoxFuture;

use super::Control;
use crate::approvals::StoreError;
use crate::policy::{Approve, Verdict};
use crate::principal::Principal;

/// A text that the policy is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The statements.
    pub sql: String,
    /// Who would send them; empty for somebody of whom nothing is known.
    pub principal: String,
    /// Where; empty for the only database that is served.
    pub database: String,
}

/// What the policy says of one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Its text.
    pub statement: String,
    /// Allow, hold or deny.
    pub verdict: Verdict,
    /// The rule that decides.
    pub rule: String,
    /// Why.
    pub reason: String,
    /// Its kinds.
    pub kinds: Vec<String>,
    /// The tags that it touches.
    pub tags: Vec<String>,
    /// Who may approve it, where it is held.
    pub approve: Option<Approve>,
}

/// The rules and whom they know, as the data plane has them now.
pub trait Explain: Send + Sync {
    /// Who roles stand for.
    fn principals(&self) -> Vec<Principal>;
    /// SHA-256 of the policies, and the names of their rules in order.
    fn policies(&self) -> (String, Vec<String>);
    /// Judges a text without running it; a sentence where that cannot be.
    fn explain(&self, question: Question) -> BoxFuture<'_, Result<Vec<Explained>, String>>;
}

impl Control {
    /// Who roles stand for, as configured.
    #[must_use]
    pub fn principals(&self) -> Vec<Principal> {
        self.parts.explain.principals()
    }

    /// SHA-256 of the policies in force, and the names of their rules in order.
    #[must_use]
    pub fn policies(&self) -> (String, Vec<String>) {
        self.parts.explain.policies()
    }

    /// What the policy says of a text. Nothing runs, and no rule changes.
    ///
    /// # Errors
    /// A sentence on why it cannot be judged.
    pub async fn explain(&self, question: Question) -> Result<Vec<Explained>, String> {
        self.parts.explain.explain(question).await
    }

    /// Numbers of now.
    ///
    /// # Errors
    /// The store's faults.
    pub async fn stats(&self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        let counts = self.parts.approvals.counts().await?;
        let sessions = u64::try_from(self.parts.sessions.list().len()).unwrap_or(u64::MAX);
        Ok(vec![
            ("sessions", sessions),
            ("holds_pending", counts.pending),
            ("holds_approved", counts.approved),
            ("holds_released", counts.released),
            ("records_waiting_for_the_log", counts.outbox),
        ])
    }
}
