//! The file's form, and how it is opened.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use crate::approvals::StoreError;

/// The form that this build reads and writes; kept in the file as `user_version`.
const VERSION: i64 = 3;

/// `shown` is the hold as history may show it (JSON, text and values masked); `sealed` is there while it is open.
const TABLES: &str = "
CREATE TABLE hold (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    action_hash TEXT NOT NULL,
    principal TEXT NOT NULL,
    database TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    shown TEXT NOT NULL,
    sealed BLOB,
    record TEXT NOT NULL,
    next_step TEXT
) STRICT;
CREATE INDEX hold_by_state ON hold (state, seq);
CREATE INDEX hold_by_action ON hold (action_hash) WHERE state IN ('pending', 'approved');
CREATE INDEX hold_by_principal ON hold (principal) WHERE state IN ('pending', 'approved');
CREATE INDEX hold_due ON hold (expires_at) WHERE state IN ('pending', 'approved');
CREATE TABLE waiter (
    hold TEXT NOT NULL,
    run TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (hold, run)
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    hold TEXT NOT NULL,
    record TEXT NOT NULL
) STRICT;
CREATE INDEX outbox_by_hold ON outbox (hold);
CREATE INDEX hold_by_step ON hold (next_step) WHERE next_step IS NOT NULL;
CREATE INDEX hold_history ON hold (principal, state);
";

/// What requests under a key were answered: the hold as it stood then, masked.
const ANSWERS: &str = "
CREATE TABLE answer (
    operator TEXT NOT NULL,
    key TEXT NOT NULL,
    request BLOB NOT NULL,
    shown TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (operator, key)
) STRICT;
CREATE INDEX answer_by_age ON answer (at);
PRAGMA user_version = 3;
";

/// From form 1: bundles came, and the history of a principal is asked for. `next_step` is the digest of the statement of
/// an approved bundle that may be spent next.
const FROM_1: &str = "
ALTER TABLE hold ADD COLUMN next_step TEXT;
CREATE INDEX hold_by_step ON hold (next_step) WHERE next_step IS NOT NULL;
CREATE INDEX hold_history ON hold (principal, state);
";

/// A store that lives as long as its process, for tests of the rules and not of the disk.
#[cfg(test)]
pub(super) fn in_memory() -> Result<Connection, StoreError> {
    let connection = prepare(Connection::open_in_memory()?)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    Ok(connection)
}

/// Opens the file for this process alone and brings it to this form.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    // SQLite gives its own files the mode of the database: create it before SQLite does.
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| StoreError::Storage(format!("{}: {error}", path.display())))?;
    prepare(Connection::open(path)?)
}

fn prepare(connection: Connection) -> Result<Connection, StoreError> {
    // Exclusive: a second process would recover, and so end, the holds of the first. It fails at once.
    connection.busy_timeout(Duration::ZERO)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.set_prepared_statement_cache_capacity(64);
    migrate(&connection)?;
    Ok(connection)
}

fn migrate(connection: &Connection) -> Result<(), StoreError> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match found {
        0 => Ok(connection.execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} {ANSWERS} COMMIT;"))?),
        1 => Ok(connection.execute_batch(&format!("BEGIN IMMEDIATE; {FROM_1} {ANSWERS} COMMIT;"))?),
        2 => Ok(connection.execute_batch(&format!("BEGIN IMMEDIATE; {ANSWERS} COMMIT;"))?),
        VERSION => {
            // Takes the lock at once, so that two starts cannot both succeed.
            Ok(connection.execute_batch("BEGIN IMMEDIATE; COMMIT;")?)
        }
        newer => Err(StoreError::Storage(format!("the store has form {newer}; this build knows form {VERSION}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_the_first_form_is_brought_to_this_one_and_keeps_its_holds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let old = Connection::open(&path).unwrap();
        let first = TABLES
            .replace("    record TEXT NOT NULL,\n    next_step TEXT\n) STRICT;", "    record TEXT NOT NULL\n) STRICT;")
            .replace("CREATE INDEX hold_by_step ON hold (next_step) WHERE next_step IS NOT NULL;", "")
            .replace("CREATE INDEX hold_history ON hold (principal, state);", "")
            + "PRAGMA user_version = 1;";
        old.execute_batch(&first).unwrap();
        old.execute_batch("INSERT INTO hold VALUES (1, 'a', 'denied', 'h', 'p', 'd', 0, '{}', NULL, '{}')").unwrap();
        drop(old);
        let now = connect(&path).unwrap();
        let kept: (String, Option<String>) =
            now.query_row("SELECT id, next_step FROM hold", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(kept, ("a".to_owned(), None));
        let version: i64 = now.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, VERSION);
    }
}
