//! The hold store: parked statements, who may decide them, and what a decision was worth.
//!
//! Every step of a hold is one compare-and-set that writes its record into an outbox in the same transaction, so that a
//! decision which races with a time-out, a cancel or a second operator has exactly one outcome, and no outcome can be
//! missing from the log. Full text and values of an open hold lie sealed on disk and are erased when it closes.
//!
//! Must not: know sessions, surfaces or the log; wait for a person; let anybody approve their own request.
//! Start reading at [`Approvals`] (the handle), then [`Store`] (the operations) and `ballot` (who may decide).

mod ballot;
mod board;
mod bundle;
#[cfg(test)]
mod conformance;
mod handle;
mod hold;
mod impact;
mod operator;
mod records;
#[cfg(test)]
pub(crate) mod samples;
mod seal;
mod sqlite;
mod store;

pub use board::{HoldChange, HoldWatch};
pub use bundle::{Bundle, BundleStep, Requester, Spend, StepState};
pub use handle::{Approvals, ApprovalsConfig, SettleError};
pub use hold::*;
pub use impact::{Before, Blocked, Impact, RelationImpact};
pub use operator::{Operator, Role};
pub use seal::{Seal, Secret};
pub use sqlite::SqliteStore;
pub use store::*;
