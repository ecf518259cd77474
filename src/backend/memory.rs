//! What the proxy remembers of columns beyond a snapshot: which tags came into them, and under which names rules found
//! them. Kept on disk, so that it outlives a restart.
//!
//! The file has a line an entry, and everything is in memory as well: it is written only where something is new.

mod file;
mod state;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use self::file::{File, Line};
use self::state::State;
use crate::catalog::tags::TagRules;
use crate::catalog::{Catalog, ColumnKey, ColumnPath, Expected, Oid, Remembered, Tag};
use crate::clock::Timestamp;
use crate::ids::StatementId;

/// Tags that came with values and that are kept at most; what is beyond it is refused with its statement.
const DERIVED_MAX: usize = 100_000;

/// Why nothing can be remembered.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The file was here, and is not any more.
    #[error(
        "{path} is missing, and with it the tags of columns that personal data was copied to: put it back, or remove {marker} to start without them"
    )]
    Lost {
        /// The file.
        path: String,
        /// What says that there was one.
        marker: String,
    },
    /// The file cannot be opened, read or written, or holds what no build has written.
    #[error("{path}: {why}")]
    Storage {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no room for more.
    #[error("{DERIVED_MAX} derived tags are remembered, and there is no room for more")]
    Full,
}

/// What a person said of a derived tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Review {
    /// Nobody has looked yet; it counts.
    Open,
    /// It is right, and counts.
    Confirmed,
    /// It is wrong, and does not count, until other columns flow in.
    Dismissed,
}

impl Review {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Confirmed => "confirmed",
            Self::Dismissed => "dismissed",
        }
    }
}

/// A tag that came to a column with values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DerivedTag {
    /// Its number, for operators.
    pub id: u64,
    /// The database, as it was called.
    pub database: String,
    /// The same by its OID.
    pub database_oid: Oid,
    /// The column.
    pub key: ColumnKey,
    /// The column's names, as last seen.
    pub column: ColumnPath,
    /// The tag.
    pub tag: Tag,
    /// The columns that it came from.
    pub sources: BTreeSet<String>,
    /// The statement that first brought it.
    pub statement: StatementId,
    /// When that was.
    pub at: Timestamp,
    /// What a person said.
    pub review: Review,
    /// Who that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed_by: Option<String>,
    /// It was seen by all sessions: what is gone after that was dropped.
    #[serde(default)]
    pub seen: bool,
}

/// A tag that a statement is about to bring to a column.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Where to.
    pub target: Target,
    /// The tag.
    pub tag: Tag,
    /// The columns that it comes from.
    pub sources: BTreeSet<String>,
    /// The statement.
    pub statement: StatementId,
    /// When.
    pub at: Timestamp,
}

/// The column that a tag comes to.
#[derive(Clone, Debug)]
pub enum Target {
    /// One that is there.
    Known(ColumnKey, ColumnPath),
    /// One that the statement makes.
    Made(Expected),
}

/// A place for a tag whose column is being made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Awaited {
    database: String,
    database_oid: Oid,
    expected: Expected,
    sources: BTreeSet<String>,
    statement: StatementId,
    at: Timestamp,
}

/// What is remembered of all databases.
#[derive(Debug)]
pub struct Memory {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    states: HashMap<Oid, State>,
    next_id: u64,
    /// Statements whose transactions have ended.
    ended: HashSet<StatementId>,
    /// Sentences for the log.
    dropped: Vec<String>,
}

/// From where a catalog was read.
#[derive(Clone, Debug)]
pub enum View {
    /// On a connection of its own, once these statements had ended: what it lacks is gone.
    Shared(HashSet<StatementId>),
    /// On a client's connection: it may show what is not committed, and may be older than others.
    Own,
}

impl Memory {
    /// Opens or makes the file `tags.db` in an existing directory.
    ///
    /// # Errors
    /// It is lost, damaged, or in another process's hands.
    pub fn open(dir: &Path) -> Result<Self, MemoryError> {
        Self::over(File::open(dir)?)
    }

    /// A memory that ends with the process.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn passing() -> Result<Self, MemoryError> {
        Self::over(File::passing()?)
    }

    fn over(file: File) -> Result<Self, MemoryError> {
        let mut states: HashMap<Oid, State> = HashMap::new();
        let mut next_id = 1;
        for line in file.lines()? {
            if let Line::Derived(derived) = &line {
                next_id = next_id.max(derived.id + 1);
            }
            states.entry(line.database()).or_default().add(line);
        }
        let inner = Inner { file, states, next_id, ended: HashSet::new(), dropped: Vec::new() };
        Ok(Self { inner: Mutex::new(inner) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What a panicking thread leaves half done is in memory alone; the file is written in transactions.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What counts in a database now.
    #[must_use]
    pub fn of(&self, database: Oid) -> Arc<Remembered> {
        self.lock().states.get(&database).map(State::remembered).unwrap_or_default()
    }

    /// Statements whose transactions have ended, to be asked before a catalog is read.
    #[must_use]
    pub fn ended(&self) -> HashSet<StatementId> {
        self.lock().ended.clone()
    }

    /// The transaction of some statements is over: what they made can be seen by all, or never will.
    pub fn end(&self, statements: impl IntoIterator<Item = StatementId>) {
        self.lock().ended.extend(statements);
    }

    /// The session of some statements is gone, or their transaction was prepared: what they made may still come to light.
    pub fn abandon(&self, statements: &[StatementId]) {
        for state in self.lock().states.values_mut() {
            state.abandon(statements);
        }
    }

    /// Learns from a catalog: names that a rule tags, columns that were awaited, relations that are gone.
    ///
    /// # Errors
    /// The file cannot be written. What was learned counts nevertheless, and is written with what comes next.
    pub fn observe(&self, catalog: &Catalog, rules: &TagRules, view: &View) -> Result<(), MemoryError> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let state = inner.states.entry(catalog.database_oid()).or_default();
        state.note_names(catalog, rules);
        state.bind(catalog, view, &mut inner.next_id);
        if let View::Shared(ended) = view {
            state.sweep(catalog, &mut inner.dropped);
            inner.ended.retain(|statement| !ended.contains(statement));
        }
        inner.file.write(&mut state.unsaved)
    }

    /// Whether tags that come to columns are news.
    #[must_use]
    pub fn is_news(&self, database: Oid, arrivals: &[Arrival]) -> bool {
        let inner = self.lock();
        inner.states.get(&database).map_or(!arrivals.is_empty(), |state| arrivals.iter().any(|one| state.is_news(one)))
    }

    /// Remembers tags that come to columns. They count when this returns.
    ///
    /// # Errors
    /// The file cannot be written, or is full: the statement must not run.
    pub fn learn(&self, database: (&str, Oid), arrivals: Vec<Arrival>) -> Result<(), MemoryError> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let state = inner.states.entry(database.1).or_default();
        if state.len() + arrivals.len() > DERIVED_MAX {
            return Err(MemoryError::Full);
        }
        for arrival in arrivals {
            state.learn(database, arrival, &mut inner.next_id);
        }
        inner.file.write(&mut state.unsaved)
    }

    /// All derived tags, the newest last.
    #[must_use]
    pub fn list(&self) -> Vec<DerivedTag> {
        let inner = self.lock();
        let mut all: Vec<DerivedTag> = inner.states.values().flat_map(|state| state.derived().cloned()).collect();
        all.sort_by_key(|derived| derived.id);
        all
    }

    /// One derived tag.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<DerivedTag> {
        self.lock().states.values().flat_map(State::derived).find(|derived| derived.id == id).cloned()
    }

    /// Writes down what a person said of a derived tag; `None` where there is none of that number.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn review(&self, id: u64, review: Review, by: &str) -> Result<Option<DerivedTag>, MemoryError> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        for state in inner.states.values_mut() {
            if let Some(reviewed) = state.review(id, review, by) {
                inner.file.write(&mut state.unsaved)?;
                return Ok(Some(reviewed));
            }
        }
        Ok(None)
    }

    /// What was forgotten with its relation since the last time, a sentence each.
    #[must_use]
    pub fn take_dropped(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().dropped)
    }
}
