//! What control needs of rooms that it must not know: small traits, filled in where the program is put together.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{BundleRequest, Bundles, Explain, Explained, Question, RequestError};
use crate::approvals::NewHold;
use crate::backend::memory::{DerivedTag, Review};
use crate::clock::Timestamp;
use crate::ids::{HoldId, SessionId};
use crate::lineage::StatementRecord;
use crate::principal::Principal;
use crate::sink;

/// The log did not take a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log cannot be written: {0}")]
pub struct SinkError(pub String);

/// Where records go.
pub trait RecordSink: Send + Sync {
    /// Returns when the record is on disk. Records that are handed in one after the other keep their order, also where
    /// an earlier call has not returned yet.
    fn append_strict(&self, record: StatementRecord) -> BoxFuture<'_, Result<(), SinkError>>;

    /// The same for several, in one group where the sink can: behind the first that was not taken, none was.
    fn append_each_strict(&self, records: Vec<StatementRecord>) -> BoxFuture<'_, Vec<Result<(), SinkError>>> {
        Box::pin(async move {
            let mut written: Vec<Result<(), SinkError>> = Vec::with_capacity(records.len());
            for record in records {
                let one = match written.last() {
                    Some(Err(error)) => Err(error.clone()),
                    _ => self.append_strict(record).await,
                };
                written.push(one);
            }
            written
        })
    }
}

/// One session of the data plane, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// The principal's name.
    pub principal: String,
    /// The role that Postgres sees.
    pub role: String,
    /// The database.
    pub database: String,
    /// The client's address.
    pub client: String,
    /// As the client set it.
    pub application_name: String,
    /// What it does now: `idle`, `active`, `idle in transaction`, `idle in transaction (aborted)`, `held`.
    pub state: String,
    /// Since when it is connected.
    pub connected_at: Timestamp,
    /// For how long it has been in its state.
    pub in_state: Duration,
    /// The human behind the principal, where one is known.
    pub human: Option<String>,
    /// `holdgate.agent`, as the client set it.
    pub agent: Option<String>,
    /// Since when it has been in its state.
    pub state_since: Timestamp,
    /// The command of the statement that runs or waits; that of the last one where none does.
    pub statement: Option<String>,
    /// Since when its transaction is open.
    pub transaction_since: Option<Timestamp>,
    /// The hold on which it waits.
    pub hold: Option<HoldId>,
}

/// Whether new statements of the data plane are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// They are.
    Open,
    /// They wait.
    Paused,
}

/// The registry of sessions.
pub trait Sessions: Send + Sync {
    /// All sessions, the oldest first.
    fn list(&self) -> Vec<SessionRow>;
    /// Ends one with 57P01; `false` where there is none.
    fn kill(&self, id: SessionId) -> bool;
    /// Stops or resumes new statements.
    fn admit(&self, admission: Admission);
}

/// What can be read anew.
pub trait Reload: Send + Sync {
    /// Swaps in the new policies and says which are in force, or keeps the old ones and says all problems.
    fn reload(&self) -> BoxFuture<'_, Result<String, Vec<String>>>;
}

/// Why lines of the log are not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A filter that there is not, or with a value that it cannot have.
    #[error("{0}")]
    Filter(String),
    /// The log failed.
    #[error("{0}")]
    Log(String),
}

/// Records on one page, at most.
pub const EVENTS_MAX: usize = 10_000;

/// The reading side of the log.
pub trait EventSource: Send + Sync {
    /// The lines that the filters choose, named as on the command line without dashes.
    fn query(&self, filters: Vec<(String, String)>) -> BoxFuture<'_, Result<Vec<StatementRecord>, EventError>>;
}

/// The memory of derived tags.
pub trait Tags: Send + Sync {
    /// All of them, the oldest first.
    fn list(&self) -> Vec<DerivedTag>;
    /// One by its number.
    fn get(&self, id: u64) -> Option<DerivedTag>;
    /// Writes down a person's word and lets it count; `None` where there is no such tag, a sentence where it failed.
    fn review(&self, id: u64, review: Review, by: String) -> BoxFuture<'_, Result<Option<DerivedTag>, String>>;
}

/// What else must work before clients are served.
pub trait Health: Send + Sync {
    /// One sentence for each thing that does not; empty where all does.
    fn complaints(&self) -> BoxFuture<'_, Vec<String>>;

    /// How the sinks are: one that is down takes no readiness away.
    fn sinks(&self) -> Vec<sink::Status> {
        Vec::new()
    }
}

/// A port that leads nowhere, for a program without that room: no sessions, nothing to reload, no events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwired;

impl Sessions for Unwired {
    fn list(&self) -> Vec<SessionRow> {
        Vec::new()
    }

    fn kill(&self, _id: SessionId) -> bool {
        false
    }

    fn admit(&self, _admission: Admission) {}
}

impl Reload for Unwired {
    fn reload(&self) -> BoxFuture<'_, Result<String, Vec<String>>> {
        Box::pin(async { Err(vec!["there is nothing to reload".to_owned()]) })
    }
}

impl EventSource for Unwired {
    fn query(&self, _filters: Vec<(String, String)>) -> BoxFuture<'_, Result<Vec<StatementRecord>, EventError>> {
        Box::pin(async { Err(EventError::Log("there is no log".to_owned())) })
    }
}

impl Tags for Unwired {
    fn list(&self) -> Vec<DerivedTag> {
        Vec::new()
    }

    fn get(&self, _id: u64) -> Option<DerivedTag> {
        None
    }

    fn review(&self, _id: u64, _review: Review, _by: String) -> BoxFuture<'_, Result<Option<DerivedTag>, String>> {
        Box::pin(async { Ok(None) })
    }
}

impl Explain for Unwired {
    fn principals(&self) -> Vec<Principal> {
        Vec::new()
    }

    fn policies(&self) -> (String, Vec<String>) {
        (String::new(), Vec::new())
    }

    fn explain(&self, _question: Question) -> BoxFuture<'_, Result<Vec<Explained>, String>> {
        Box::pin(async { Err("there is no upstream".to_owned()) })
    }
}

impl Bundles for Unwired {
    fn prepare(&self, _request: BundleRequest) -> BoxFuture<'_, Result<NewHold, RequestError>> {
        Box::pin(async { Err(RequestError::Refused("there is no upstream".to_owned())) })
    }
}

impl Health for Unwired {
    fn complaints(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async { Vec::new() })
    }
}
