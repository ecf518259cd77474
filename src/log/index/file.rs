//! The index's file: its tables, its version, and how far in the log it is.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _};

use super::super::disk::PRIVATE;
use super::{BUSY, Place};

/// Another number is another form: such a file is made anew.
const VERSION: i64 = 1;

/// `value`: what occurs. `posting`: in which records, 65,536 of them a row. `mark`: where in the log each so-manieth record
/// begins, and when the ones up to the next mark were written. `stand`: how far all of it is.
const TABLES: &str = "
    CREATE TABLE value (id INTEGER PRIMARY KEY, field INTEGER NOT NULL, text TEXT NOT NULL, UNIQUE (field, text));
    CREATE TABLE posting (value INTEGER NOT NULL, chunk INTEGER NOT NULL, seqs BLOB NOT NULL, PRIMARY KEY (value, chunk))
        WITHOUT ROWID;
    CREATE TABLE mark (seq INTEGER PRIMARY KEY, segment INTEGER NOT NULL, line INTEGER NOT NULL, place INTEGER NOT NULL,
        oldest INTEGER NOT NULL, newest INTEGER NOT NULL, records INTEGER NOT NULL);
    CREATE TABLE stand (one INTEGER PRIMARY KEY CHECK (one = 1), segment INTEGER NOT NULL, line INTEGER NOT NULL,
        place INTEGER NOT NULL, start INTEGER NOT NULL, hash BLOB NOT NULL, bytes INTEGER NOT NULL);
";

/// How far the index is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stand {
    /// Behind the last line that was added.
    pub place: Place,
    /// Where that line begins.
    pub start: u64,
    /// Its leaf hash; empty before the first.
    pub hash: Vec<u8>,
    /// Bytes of plain text that were read in all.
    pub bytes: u64,
}

/// Opens or makes the file; a file of another version loses what it holds.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    // SQLite gives its own files the mode of the database: create it before SQLite does. Where that fails, SQLite says so.
    let _ = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(PRIVATE).open(path);
    let mut file = Connection::open(path)?;
    file.busy_timeout(BUSY)?;
    file.pragma_update(None, "journal_mode", "WAL")?;
    // A crash may take away the newest additions, all together with their place.
    file.pragma_update(None, "synchronous", "NORMAL")?;
    file.pragma_update(None, "cache_size", -65_536)?;
    if version(&file)? != VERSION {
        clear(&mut file)?;
    }
    Ok(file)
}

/// Opens a file of this version that is there.
pub(super) fn open_readonly(path: &Path) -> rusqlite::Result<Connection> {
    let file = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    file.busy_timeout(BUSY)?;
    if version(&file)? == VERSION { Ok(file) } else { Err(rusqlite::Error::InvalidQuery) }
}

fn version(file: &Connection) -> rusqlite::Result<i64> {
    file.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Makes the tables anew, empty.
pub(super) fn clear(file: &mut Connection) -> rusqlite::Result<()> {
    let transaction = file.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let names: Vec<String> = transaction
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for name in names {
        transaction.execute_batch(&format!("DROP TABLE \"{}\"", name.replace('"', "\"\"")))?;
    }
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Whether the file, not the system, is at fault.
pub(super) fn is_damaged(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Takes a damaged file away with what belongs to it.
pub(super) fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        // What cannot be removed is said by the attempt to open it again.
        drop(fs::remove_file(name));
    }
}

/// How far it is.
pub(super) fn stand(file: &Connection) -> rusqlite::Result<Stand> {
    let found = file
        .prepare_cached("SELECT segment, line, place, start, hash, bytes FROM stand")?
        .query_row([], |row| {
            let place = Place { segment: row.get(0)?, line: number(row.get(1)?), offset: number(row.get(2)?) };
            Ok(Stand { place, start: number(row.get(3)?), hash: row.get(4)?, bytes: number(row.get(5)?) })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Says how far it is.
pub(super) fn set_stand(file: &Connection, stand: &Stand) -> rusqlite::Result<()> {
    let Stand { place, start, hash, bytes } = stand;
    let row = (place.segment, stored(place.line), stored(place.offset), stored(*start), hash, stored(*bytes));
    file.execute("INSERT OR REPLACE INTO stand VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)", row).map(drop)
}

/// SQLite's integers are signed; ours end long before.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The way back.
pub(super) fn number(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}
