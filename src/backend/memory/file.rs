//! The file behind the memory: one `SQLite` table with a JSON line an entry, each commit on disk before it returns.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::{Awaited, DerivedTag, MemoryError};
use crate::catalog::{ColumnKey, ColumnPath, Oid};

/// The form that this build reads and writes; kept in the file as `user_version`.
const VERSION: i64 = 1;

const TABLE: &str = "CREATE TABLE entry (key TEXT PRIMARY KEY, line TEXT NOT NULL) STRICT; PRAGMA user_version = 1;";

/// One entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// A tag that came to a column.
    Derived(DerivedTag),
    /// A tag for a column that is being made.
    Awaited(Awaited),
    /// A name under which a rule tagged a column.
    Name {
        /// The database.
        database: Oid,
        /// The column.
        key: ColumnKey,
        /// The name.
        path: ColumnPath,
    },
}

impl Line {
    pub(super) const fn database(&self) -> Oid {
        match self {
            Self::Derived(derived) => derived.database_oid,
            Self::Awaited(awaited) => awaited.database_oid,
            Self::Name { database, .. } => *database,
        }
    }

    /// What makes it one entry.
    pub(super) fn key(&self) -> String {
        let place = |key: &ColumnKey| format!("{}/{}/{}", key.relation, key.row_type, key.number);
        match self {
            Self::Derived(one) => format!("derived/{}/{}/{}", one.database_oid, place(&one.key), one.tag),
            Self::Awaited(one) => {
                let Awaited { database_oid, expected, statement, .. } = one;
                format!("awaited/{database_oid}/{statement}/{}/{}", expected.path, expected.tag)
            }
            Self::Name { database, key, path } => format!("name/{database}/{}/{path}", place(key)),
        }
    }
}

/// A change that is to be written.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Put(Line),
    Remove(String),
}

/// The open file.
#[derive(Debug)]
pub(super) struct File {
    connection: Connection,
    path: String,
}

impl File {
    pub(super) fn open(dir: &Path) -> Result<Self, MemoryError> {
        let (path, marker) = (dir.join("tags.db"), dir.join("tags.made"));
        let name = path.display().to_string();
        if marker.exists() && !path.exists() {
            return Err(MemoryError::Lost { path: name, marker: marker.display().to_string() });
        }
        let fault = |why: String| MemoryError::Storage { path: name.clone(), why };
        let private = |path: &Path| {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
        };
        private(&path).map_err(|error| fault(error.to_string()))?;
        let connection = Connection::open(&path).map_err(|error| fault(error.to_string()))?;
        let file = Self { connection, path: name.clone() };
        file.prepare().map_err(|error| fault(error.to_string()))?;
        // Made after the file: a start that fails in between begins anew.
        private(&marker).map_err(|error| fault(error.to_string()))?;
        Ok(file)
    }

    pub(super) fn passing() -> Result<Self, MemoryError> {
        let path = "the memory of tags".to_owned();
        let fault = |error: rusqlite::Error| MemoryError::Storage { path: path.clone(), why: error.to_string() };
        let connection = Connection::open_in_memory().map_err(fault)?;
        let file = Self { connection, path: path.clone() };
        file.prepare().map_err(fault)?;
        Ok(file)
    }

    fn prepare(&self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(Duration::ZERO)?;
        self.connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        self.connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        let sound: String = self.connection.query_row("PRAGMA quick_check", [], |row| row.get(0))?;
        let found: i64 = self.connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match found {
            _ if sound != "ok" => Err(rusqlite::Error::InvalidColumnName(format!("it is damaged: {sound}"))),
            0 => self.connection.execute_batch(&format!("BEGIN IMMEDIATE; {TABLE} COMMIT;")),
            // Takes the lock at once, so that two processes cannot both have it.
            VERSION => self.connection.execute_batch("BEGIN IMMEDIATE; COMMIT;"),
            other => {
                Err(rusqlite::Error::InvalidColumnName(format!("it has form {other}; this build knows {VERSION}")))
            }
        }
    }

    /// Everything.
    pub(super) fn lines(&self) -> Result<Vec<Line>, MemoryError> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut statement = self.connection.prepare("SELECT line FROM entry ORDER BY key")?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        let texts = read().map_err(|error| self.fault(&error))?;
        texts.iter().map(|text| serde_json::from_str(text).map_err(|error| self.fault(&error))).collect()
    }

    /// Writes changes in one transaction; they are gone from the list once they are on disk.
    pub(super) fn write(&mut self, changes: &mut Vec<Change>) -> Result<(), MemoryError> {
        if changes.is_empty() {
            return Ok(());
        }
        let write = || -> Result<(), Box<dyn std::error::Error>> {
            let tx = self.connection.unchecked_transaction()?;
            for change in &*changes {
                match change {
                    Change::Put(line) => {
                        let text = serde_json::to_string(line)?;
                        tx.prepare_cached("INSERT OR REPLACE INTO entry (key, line) VALUES (?1, ?2)")?
                            .execute((line.key(), text))?
                    }
                    Change::Remove(key) => tx.prepare_cached("DELETE FROM entry WHERE key = ?1")?.execute([key])?,
                };
            }
            Ok(tx.commit()?)
        };
        write().map_err(|error| self.fault(&error))?;
        changes.clear();
        Ok(())
    }

    fn fault(&self, error: &impl ToString) -> MemoryError {
        MemoryError::Storage { path: self.path.clone(), why: error.to_string() }
    }
}
