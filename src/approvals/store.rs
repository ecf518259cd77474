//! The operations of a hold store, in words of holds and not of tables, so that a shared store can follow.

use super::{Before, Hold, HoldState, NewHold, Operator, Spend};
use crate::clock::Timestamp;
use crate::ids::{HoldId, StatementId};
use crate::lineage::StatementRecord;

/// The store of holds. Each operation is atomic and durable when it returns `Ok`; `at` is the time that it counts as.
///
/// A hold whose time is over is expired by whichever operation meets it first, so that no outcome depends on the sweep.
pub trait Store: Send {
    /// Parks a statement, or joins the open hold of the same action, principal and database.
    ///
    /// # Errors
    /// [`StoreError::Full`] at a bound; [`StoreError::Storage`].
    fn open(&mut self, new: &NewHold, at: Timestamp) -> Result<Opened, StoreError>;

    /// One hold: in full while open, masked afterwards.
    ///
    /// # Errors
    /// [`StoreError::Storage`], [`StoreError::Unsealable`].
    fn hold(&mut self, id: &HoldId) -> Result<Option<Hold>, StoreError>;

    /// A page of holds, the newest first.
    ///
    /// # Errors
    /// As [`Store::hold`].
    fn list(&mut self, filter: &HoldFilter) -> Result<Page, StoreError>;

    /// Counts a person's answer.
    ///
    /// # Errors
    /// Why it does not count.
    fn decide(
        &mut self,
        id: &HoldId,
        operator: &Operator,
        request: &DecisionRequest,
        at: Timestamp,
    ) -> Result<Hold, DecideError>;

    /// The waiting run goes away; a pending hold on which nobody else waits is withdrawn, an approved one stays a ticket.
    ///
    /// # Errors
    /// [`StepError::NotNow`] where the hold had closed before.
    fn withdraw(&mut self, id: &HoldId, run: StatementId, why: &str, at: Timestamp) -> Result<Hold, StepError>;

    /// The waiting run goes away; the hold stays open as a ticket.
    ///
    /// # Errors
    /// As [`Store::withdraw`].
    fn ticket(&mut self, id: &HoldId, run: StatementId, at: Timestamp) -> Result<Hold, StepError>;

    /// Ends what is undecided or unspent after its time, at most `limit` holds; how many it were.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    fn expire_due(&mut self, limit: u32, at: Timestamp) -> Result<usize, StoreError>;

    /// Spends an approval: approved → released. Another `action_hash` voids it.
    ///
    /// # Errors
    /// Why it may not run.
    fn release(&mut self, id: &HoldId, release: &Release, at: Timestamp) -> Result<Hold, ReleaseError>;

    /// What became of a released statement.
    ///
    /// # Errors
    /// [`StepError::NotNow`] where it was not released, or is finished already.
    fn finish(&mut self, id: &HoldId, end: HoldEnd, at: Timestamp) -> Result<Hold, StepError>;

    /// What the approval was bound to has changed: approved → void.
    ///
    /// # Errors
    /// [`StepError::NotNow`] where it is not approved.
    fn void(&mut self, id: &HoldId, why: &str, at: Timestamp) -> Result<Hold, StepError>;

    /// The approved bundle whose next statement this is, of that principal in that database.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    fn covering(
        &mut self,
        principal: &str,
        database: &str,
        digest: &str,
        at: Timestamp,
    ) -> Result<Option<Hold>, StoreError>;

    /// Spends the next statement of a bundle: approved → released. Another basis voids the bundle.
    ///
    /// # Errors
    /// Why it may not run.
    fn spend(&mut self, id: &HoldId, spend: &Spend, at: Timestamp) -> Result<Hold, ReleaseError>;

    /// A statement of the bundle has changed definitions: what the rest of it is bound to from now on.
    ///
    /// # Errors
    /// [`StepError::NotNow`] where it is not an approved bundle.
    fn rebase(&mut self, id: &HoldId, basis: &str, at: Timestamp) -> Result<Hold, StepError>;

    /// What became of the holds of a principal.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    fn before(&mut self, principal: &str) -> Result<Before, StoreError>;

    /// After a start: released → unknown; who waited is gone, so open holds become tickets.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    fn recover(&mut self, at: Timestamp) -> Result<Recovered, StoreError>;

    /// The oldest records that the log has not acknowledged, in order.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    fn outbox_next(&mut self, limit: u32) -> Result<Vec<OutboxRow>, StoreError>;

    /// The log has these on disk.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    fn outbox_ack(&mut self, rows: &[i64]) -> Result<(), StoreError>;

    /// Whether records of this hold still wait for the log.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    fn outbox_waits(&mut self, id: &HoldId) -> Result<bool, StoreError>;

    /// How many open holds there are.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    fn counts(&mut self) -> Result<Counts, StoreError>;

    /// The steps committed since the last call, in order.
    fn take_changes(&mut self) -> Vec<super::HoldChange>;
}

/// How many holds and unacknowledged records the store may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Open holds in all.
    pub holds_max: u32,
    /// Open holds of one principal.
    pub holds_per_principal_max: u32,
    /// Records that wait for the log; beyond it no new hold opens.
    pub outbox_max: u32,
    /// Closed holds that are kept for history; the log keeps their records for ever.
    pub history_max: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { holds_max: 10_000, holds_per_principal_max: 100, outbox_max: 50_000, history_max: 100_000 }
    }
}

/// What became of a statement that asked to be parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A hold of its own.
    New(Hold),
    /// The open hold of the same action; it may be approved already.
    Joined(Hold),
}

impl Opened {
    /// The hold, whichever it is.
    #[must_use]
    pub fn hold(&self) -> &Hold {
        match self {
            Self::New(hold) | Self::Joined(hold) => hold,
        }
    }
}

/// What a person answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may run once.
    Approve,
    /// It may not.
    Deny,
}

impl Answer {
    /// The word of the API and of records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
        }
    }
}

/// By which surface an operator acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The database `holdgate`.
    Psql,
    /// The HTTP API.
    Http,
    /// `holdgate holds`.
    Cli,
    /// A page of the console.
    Web,
    /// A button in Slack.
    Slack,
}

impl Method {
    /// The word of records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Psql => "psql",
            Self::Http => "http",
            Self::Cli => "cli",
            Self::Web => "web",
            Self::Slack => "slack",
        }
    }
}

/// A person's answer with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRequest {
    /// The answer.
    pub verdict: Answer,
    /// Why.
    pub reason: Option<String>,
    /// By which surface.
    pub method: Method,
    /// What makes it the same request when it is sent again.
    pub once: Option<Once>,
}

/// The key of a request that may come twice: the second one gets the answer of the first and does nothing, for a day and
/// also after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// The key, of the operator who sends it.
    pub key: String,
    /// What was asked under it, as a digest.
    pub request: Vec<u8>,
}

/// What a session shows to spend an approval.
#[derive(Clone, Debug)]
pub struct Release {
    /// The hash over all that the approval is bound to, computed anew just now.
    pub action_hash: String,
    /// The record of the run that spends it.
    pub record: StatementRecord,
}

/// How a released statement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// Postgres ran it.
    Finished,
    /// Postgres reported an error.
    Failed,
    /// The connection broke before an answer.
    Unknown,
}

impl HoldEnd {
    /// The state that it leads to.
    #[must_use]
    pub const fn state(self) -> HoldState {
        match self {
            Self::Finished => HoldState::Finished,
            Self::Failed => HoldState::Failed,
            Self::Unknown => HoldState::Unknown,
        }
    }
}

/// Which holds a page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldFilter {
    /// In one of these states; empty is any.
    pub states: Vec<HoldState>,
    /// Only holds of the principal of this name.
    pub principal: Option<String>,
    /// Only holds older than this place of an earlier page.
    pub before: Option<i64>,
    /// At most this many; at least 1.
    pub limit: u32,
}

impl Default for HoldFilter {
    fn default() -> Self {
        Self { states: Vec::new(), principal: None, before: None, limit: 100 }
    }
}

/// A page of holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The holds, the newest first.
    pub holds: Vec<Hold>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<i64>,
}

/// How many open holds there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Undecided.
    pub pending: u64,
    /// Approved and unspent.
    pub approved: u64,
    /// Released and not finished.
    pub released: u64,
    /// Records that the log has not acknowledged.
    pub outbox: u64,
}

/// What a start found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Released before the end of the last process: their outcome cannot be known.
    pub unknown: Vec<HoldId>,
    /// Open holds whose connection is gone.
    pub tickets: Vec<HoldId>,
}

/// A record on its way to the log.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxRow {
    /// Its place in the outbox.
    pub row: i64,
    /// The hold that it tells of.
    pub hold: HoldId,
    /// The record.
    pub record: StatementRecord,
}

/// The store's own faults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Disk or database.
    #[error("the hold store failed: {0}")]
    Storage(String),
    /// The sealed text of a hold does not open with this key.
    #[error("the sealed text of hold {0} cannot be opened with the key of this store")]
    Unsealable(HoldId),
    /// A bound is reached.
    #[error("too many {what}: at most {max}")]
    Full {
        /// What there are too many of.
        what: &'static str,
        /// The bound.
        max: u32,
    },
    /// The store's thread has ended.
    #[error("the hold store is closed")]
    Closed,
}

/// Why a person's answer does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// No such hold.
    #[error("there is no such hold")]
    NotFound,
    /// The operator is the human behind the request.
    #[error("nobody approves their own request")]
    SelfApproval,
    /// The operator is in none of the groups that the rule names, or is a viewer.
    #[error("not an approver of this hold")]
    NotAnApprover,
    /// The key of the request stood for another one.
    #[error("the key was used for another request")]
    KeyReused,
    /// It has its outcome; the hold shows it.
    #[error("the hold is {} already", .0.state.as_str())]
    AlreadyDecided(Box<Hold>),
    /// The store's own fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a step of a hold is not possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// No such hold.
    #[error("there is no such hold")]
    NotFound,
    /// It is in a state from which this step does not lead.
    #[error("the hold is {}", .0.state.as_str())]
    NotNow(Box<Hold>),
    /// The store's own fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an approval cannot be spent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// No such hold.
    #[error("there is no such hold")]
    NotFound,
    /// It is not approved: undecided, over, or spent by another run.
    #[error("the hold is {}", .0.state.as_str())]
    NotApproved(Box<Hold>),
    /// The action is not the one that was approved; the approval is void now.
    #[error("what the approval was bound to has changed")]
    Changed(Box<Hold>),
    /// The store's own fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}
