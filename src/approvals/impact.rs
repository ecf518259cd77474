//! What a held statement meets on the server: sizes, locks, who would wait, and what its principal did before.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Numbers of the card. All are of the moment at which the hold opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Impact {
    /// Relations that it touches.
    pub relations: Vec<RelationImpact>,
    /// The strongest lock that it takes on them, as the manual names it; `None` where that is not known.
    pub lock: Option<String>,
    /// Sessions that hold or want a lock which conflicts with that one; `None`: the server was not asked, or did not
    /// answer in time.
    pub blocks: Option<Vec<Blocked>>,
    /// Locks that the waiting session itself holds while it waits.
    pub holds_locks: Vec<String>,
    /// Since when its transaction is open.
    pub transaction_since: Option<Timestamp>,
    /// How it can be undone, in words.
    pub reversible: String,
    /// Earlier holds of the same principal.
    pub before: Before,
}

/// One relation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelationImpact {
    /// `schema.table`.
    pub name: String,
    /// Rows, as the server last counted.
    pub rows: Option<u64>,
    /// Bytes of its main storage.
    pub bytes: u64,
    /// Views, children and referring tables.
    pub dependents: Vec<String>,
}

/// A session in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// The backend's process id.
    pub pid: u32,
    /// Its role.
    pub role: String,
    /// Its application.
    pub application_name: String,
    /// The relation.
    pub relation: String,
    /// The lock's mode.
    pub mode: String,
    /// Whether it has the lock; otherwise it waits for it already.
    pub granted: bool,
}

/// What became of a principal's earlier holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// All of them that history still has.
    pub holds: u64,
    /// Approved, whatever came after.
    pub approved: u64,
    /// Denied.
    pub denied: u64,
    /// Expired, withdrawn or void.
    pub lapsed: u64,
}
