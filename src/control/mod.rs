//! Every operator action, once: psql, HTTP and the command line render what this room does, so that none can drift.
//!
//! Every act is a record with issuer, subject and method. What changes the proxy (kill, pause, reload) is on disk in the
//! log before it happens; a decision is in the store's outbox in its own transaction.
//!
//! Must not: know a surface's form, or the session's inside: it reaches sessions, policies and health by small traits
//! that the composition root fills in. Start reading at [`Control`].

pub mod card;
mod explain;
mod operators;
mod ports;
mod pump;
mod requests;
mod sweep;
pub mod tags;

use std::sync::Arc;

pub use explain::{Explain, Explained, Question};
pub use operators::{FIRST_OPERATOR, OperatorEntry, Operators, OperatorsError, TOKEN_FILE};
pub use ports::{
    Admission, EVENTS_MAX, EventError, EventSource, Health, RecordSink, Reload, SessionRow, Sessions, SinkError, Tags,
    Unwired,
};
pub use pump::Pump;
pub use requests::{BundleRequest, Bundles, RequestError};
pub use sweep::sweep;

use tokio::sync::broadcast;

use crate::approvals::{
    Approvals, DecideError, DecisionRequest, Hold, HoldChange, HoldFilter, Method, Operator, Page, StoreError,
};
use crate::ids::{HoldId, SessionId, StatementId};
use crate::lineage::{Event, RecordApproval, StatementRecord};
use crate::telemetry;

/// What the composition root hands in.
#[derive(Clone)]
pub struct ControlParts {
    /// The hold store.
    pub approvals: Approvals,
    /// Who may act.
    pub operators: Operators,
    /// The log, for the records of acts.
    pub sink: Arc<dyn RecordSink>,
    /// The data plane's sessions.
    pub sessions: Arc<dyn Sessions>,
    /// The policies and configuration.
    pub reload: Arc<dyn Reload>,
    /// The log, for reading.
    pub events: Arc<dyn EventSource>,
    /// What personal data was copied to.
    pub tags: Arc<dyn Tags>,
    /// The rules in force, for questions about them.
    pub explain: Arc<dyn Explain>,
    /// Migrations that are asked for ahead of time.
    pub bundles: Arc<dyn Bundles>,
    /// Upstream and log.
    pub health: Arc<dyn Health>,
    /// The effective configuration as names and values, without secrets.
    pub config: Vec<(String, String)>,
}

/// The operators' API. Clones are one.
#[derive(Clone)]
pub struct Control {
    parts: Arc<ControlParts>,
}

/// Why an act did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// The operator's roles do not allow it.
    #[error("only an admin may do this")]
    NotAnAdmin,
    /// The operator is a viewer.
    #[error("a viewer may not decide")]
    NotAnOperator,
    /// There is no such derived tag.
    #[error("there is no such derived tag")]
    NoTag,
    /// The memory of tags did not take it.
    #[error("the memory of tags cannot be written: {0}")]
    Memory(String),
    /// There is no such session.
    #[error("there is no such session")]
    NotFound,
    /// The log did not take the record, so the act did not happen.
    #[error(transparent)]
    Log(#[from] SinkError),
    /// The new policies or configuration have problems; the old ones stay.
    #[error("{}", .0.join("; "))]
    Refused(Vec<String>),
}

impl Control {
    /// Over what the composition root wired.
    #[must_use]
    pub fn new(parts: ControlParts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// The operator whose token this is.
    #[must_use]
    pub fn authenticate(&self, token: &str) -> Option<Operator> {
        self.parts.operators.authenticate(token)
    }

    /// Who may act; for a surface with a log-in protocol of its own.
    #[must_use]
    pub fn operators(&self) -> &Operators {
        &self.parts.operators
    }

    /// The effective configuration as names and values, without secrets.
    #[must_use]
    pub fn config(&self) -> &[(String, String)] {
        &self.parts.config
    }

    /// A page of holds, the newest first.
    ///
    /// # Errors
    /// The store's faults.
    pub async fn holds(&self, filter: HoldFilter) -> Result<Page, StoreError> {
        self.parts.approvals.list(filter).await
    }

    /// One hold by its id, as an operator typed it.
    ///
    /// # Errors
    /// The store's faults.
    pub async fn hold(&self, id: &str) -> Result<Option<Hold>, StoreError> {
        match HoldId::parse(id) {
            Some(id) => self.parts.approvals.get(&id).await,
            None => Ok(None),
        }
    }

    /// Counts an operator's answer. An answer that does not count is recorded as well.
    ///
    /// # Errors
    /// Why it does not count.
    pub async fn decide(&self, operator: &Operator, id: &str, request: DecisionRequest) -> Result<Hold, DecideError> {
        let id = HoldId::parse(id).ok_or(DecideError::NotFound)?;
        let decided = self.parts.approvals.decide(&id, operator, request.clone()).await;
        let sentence = match &decided {
            Ok(hold) => format!("{} of hold {id}: it is {}", request.verdict.as_str(), hold.state.as_str()),
            Err(error) => format!("{} of hold {id} refused: {error}", request.verdict.as_str()),
        };
        let mut record = act(operator, request.verdict.as_str(), request.method, sentence);
        record.hold = Some(id);
        if let Some(approval) = &mut record.approval {
            approval.reason.clone_from(&request.reason);
        }
        // The decision itself is in the outbox already: a log that fails here takes nothing back.
        if let Err(error) = self.record(record).await {
            tracing::error!(%error, "the record of an operator's act was not written");
        }
        decided
    }

    /// Notes that an operator signed in to a surface that keeps a connection.
    ///
    /// # Errors
    /// The log did not take it: the sign-in must not go on.
    pub async fn signed_in(&self, operator: &Operator, method: Method) -> Result<(), SinkError> {
        self.record(act(operator, "sign-in", method, format!("{} signed in", operator.name))).await
    }

    /// The same with a few words on how, such as the issuer and the subject behind it.
    ///
    /// # Errors
    /// As [`Control::signed_in`].
    pub async fn signed_in_by(&self, operator: &Operator, method: Method, how: &str) -> Result<(), SinkError> {
        self.record(act(operator, "sign-in", method, format!("{} signed in {how}", operator.name))).await
    }

    /// Notes that an operator has a notice sent again that was given up.
    ///
    /// # Errors
    /// The log did not take it: it must not be sent.
    pub async fn retried_notice(&self, operator: &Operator, id: i64, method: Method) -> Result<(), SinkError> {
        self.record(act(operator, "retry-notice", method, format!("notice {id} is sent again"))).await
    }

    /// Notes that an operator signed out, or was.
    ///
    /// # Errors
    /// The log did not take it.
    pub async fn signed_out(&self, operator: &Operator, method: Method) -> Result<(), SinkError> {
        self.record(act(operator, "sign-out", method, format!("{} signed out", operator.name))).await
    }

    /// Every step of holds from now on; a slow reader loses the oldest and is told so.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<HoldChange> {
        self.parts.approvals.changes()
    }

    /// The data plane's sessions.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionRow> {
        self.parts.sessions.list()
    }

    /// Ends a session of the data plane.
    ///
    /// # Errors
    /// Not an admin, no such session, or a log that cannot be written.
    pub async fn kill(&self, operator: &Operator, id: SessionId, method: Method) -> Result<(), ActError> {
        self.admin_act(operator, act(operator, "kill", method, format!("kill of session {id}"))).await?;
        if self.parts.sessions.kill(id) { Ok(()) } else { Err(ActError::NotFound) }
    }

    /// Stops or resumes new statements of the data plane.
    ///
    /// # Errors
    /// Not an admin, or a log that cannot be written.
    pub async fn admit(&self, operator: &Operator, admission: Admission, method: Method) -> Result<(), ActError> {
        let word = match admission {
            Admission::Paused => "pause",
            Admission::Open => "resume",
        };
        self.admin_act(operator, act(operator, word, method, format!("{word} of the data plane"))).await?;
        self.parts.sessions.admit(admission);
        Ok(())
    }

    /// Reads policies and configuration anew; the old ones stay where the new ones have problems. One sentence on what
    /// is in force.
    ///
    /// # Errors
    /// Not an admin, a log that cannot be written, or all problems of the new ones.
    pub async fn reload(&self, operator: &Operator, method: Method) -> Result<String, ActError> {
        self.admin_act(operator, act(operator, "reload", method, "reload of the policies".to_owned())).await?;
        self.parts.reload.reload().await.map_err(ActError::Refused)
    }

    /// Lines of the log that the filters choose. The reading is an act, and recorded.
    ///
    /// # Errors
    /// A filter that is none, or a log that cannot be read.
    pub async fn events(
        &self,
        operator: &Operator,
        filters: Vec<(String, String)>,
        method: Method,
    ) -> Result<Vec<StatementRecord>, EventError> {
        let sentence = format!("query of the log by {}", names_of(&filters));
        self.record(act(operator, "export", method, sentence))
            .await
            .map_err(|error| EventError::Log(error.to_string()))?;
        self.parts.events.query(filters).await
    }

    /// Why the proxy is not ready; empty where it is.
    pub async fn complaints(&self) -> Vec<String> {
        let mut complaints = self.parts.health.complaints().await;
        if let Err(error) = self.parts.approvals.counts().await {
            complaints.push(error.to_string());
        }
        complaints
    }

    /// How the sinks are.
    #[must_use]
    pub fn sinks(&self) -> Vec<crate::sink::Status> {
        self.parts.health.sinks()
    }

    async fn admin_act(&self, operator: &Operator, record: StatementRecord) -> Result<(), ActError> {
        if !operator.is_admin() {
            return Err(ActError::NotAnAdmin);
        }
        Ok(self.record(record).await?)
    }

    async fn record(&self, record: StatementRecord) -> Result<(), SinkError> {
        if let Some(approval) = &record.approval {
            telemetry::operator_act(&approval.verdict, &approval.method);
        }
        self.parts.sink.append_strict(record).await
    }
}

/// The record of an act: `verdict` is the act's word.
fn act(operator: &Operator, word: &str, method: Method, sentence: String) -> StatementRecord {
    let mut record = StatementRecord::new(StatementId::new(), Event::Operator);
    record.text = sentence;
    record.approval = Some(RecordApproval {
        by: operator.name.clone(),
        human: Some(operator.human.clone()),
        verdict: word.to_owned(),
        reason: None,
        method: method.as_str().to_owned(),
    });
    record
}

/// The filters by name alone: their values may be personal data.
fn names_of(filters: &[(String, String)]) -> String {
    if filters.is_empty() {
        return "no filter".to_owned();
    }
    filters.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub(crate) mod tests;
