//! The outbox: what is to be told, on disk until it is delivered or dead. No text of a statement is in it.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::EventKind;
use crate::approvals::HoldState;
use crate::clock::Timestamp;
use crate::ids::{HoldId, StatementId};

/// `told` is the last state of a hold that was written down, how far along that is, and when it was; `message` is what a target calls its message.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS told (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, hold TEXT NOT NULL UNIQUE, stage INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS delivery (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    target TEXT NOT NULL,
    hold TEXT NOT NULL,
    event TEXT NOT NULL,
    at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER NOT NULL,
    error TEXT,
    dead INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS delivery_waiting ON delivery (target, due_at) WHERE dead = 0;
CREATE INDEX IF NOT EXISTS delivery_of_hold ON delivery (target, hold, seq) WHERE dead = 0;
CREATE INDEX IF NOT EXISTS delivery_dead ON delivery (seq) WHERE dead = 1;
CREATE TABLE IF NOT EXISTS click (
    id TEXT PRIMARY KEY, at INTEGER NOT NULL, click TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS message (
    target TEXT NOT NULL, hold TEXT NOT NULL, place TEXT NOT NULL, PRIMARY KEY (target, hold)
) STRICT, WITHOUT ROWID;
";

/// Holds that are over and whose last step is still known, so that one that is heard of late is not told again.
const OVER_MAX: i64 = 20_000;

/// Messages whose place is remembered, so that they can be changed.
const MESSAGES_MAX: u32 = 100_000;

/// The outbox cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the outbox of notices: {0}")]
pub struct NotifyStoreError(pub(super) String);

impl From<rusqlite::Error> for NotifyStoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

/// The stage of a hold that is over.
const OVER: i64 = 3;

/// How far along a state is; no hold goes back.
fn stage(state: HoldState) -> i64 {
    match state {
        HoldState::Pending => 0,
        HoldState::Approved => 1,
        HoldState::Released => 2,
        _ => OVER,
    }
}

/// One delivery that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) seq: i64,
    /// The event's id, the same at each attempt.
    pub(super) id: String,
    pub(super) hold: HoldId,
    pub(super) event: EventKind,
    pub(super) at: Timestamp,
    pub(super) attempts: u32,
}

/// What a target has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Due(Delivery),
    Later(Timestamp),
    Nothing,
}

/// A delivery that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dead {
    /// Its number.
    pub id: i64,
    /// The target's name.
    pub target: String,
    /// The hold.
    pub hold: String,
    /// What it would have told.
    pub event: String,
    /// When that happened.
    pub at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// What is known of a hold's step, and whom it concerns.
pub(super) struct Step<'a> {
    pub(super) hold: &'a HoldId,
    pub(super) state: HoldState,
    pub(super) at: Timestamp,
    pub(super) targets: Vec<&'a str>,
    pub(super) heard: Heard,
}

/// When a step is heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// As it happens: a hold that is over and was never heard of was forgotten.
    Now,
    /// At a start: it came and went while nobody followed.
    Afterwards,
}

/// Whether a step was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    New,
    Known,
    Full,
}

/// The file. Clones are one.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    connection: Arc<Mutex<Connection>>,
    /// Deliveries that wait, and deliveries that are dead, at most.
    max: u32,
}

impl Outbox {
    pub(super) fn open(path: &Path, max: u32) -> Result<Self, NotifyStoreError> {
        // SQLite gives its own files the mode of the database: create it before SQLite does. Where that fails, SQLite says so.
        let _ = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        // What a power cut takes from the end is found missing at the next start.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute_batch(TABLES)?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)), max })
    }

    /// Off the reactor: a disk may be slow.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, NotifyStoreError> {
        let connection = Arc::clone(&self.connection);
        let task = move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
        let done = tokio::task::spawn_blocking(task).await;
        Ok(done.map_err(|error| NotifyStoreError(error.to_string()))??)
    }

    /// Writes down a step, unless it was before: a delivery for each target.
    pub(super) async fn note(&self, step: Step<'_>) -> Result<Noted, NotifyStoreError> {
        let (hold, state, at, max) = (step.hold.to_string(), step.state, step.at.as_micros(), self.max);
        let forgotten = state.is_closed() && step.heard == Heard::Now;
        let targets: Vec<String> = step.targets.into_iter().map(str::to_owned).collect();
        self.with(move |connection| {
            let tx = connection.transaction()?;
            let told: Option<i64> =
                tx.query_row("SELECT stage FROM told WHERE hold = ?1", [&hold], |row| row.get(0)).optional()?;
            // A hold goes one way alone: what is heard late is known. One that was over before it was heard of is no news.
            if told.map_or(forgotten, |told| told >= stage(state)) {
                return Ok(Noted::Known);
            }
            let waiting: u32 = tx.query_row("SELECT count(*) FROM delivery WHERE dead = 0", [], |row| row.get(0))?;
            if waiting.saturating_add(u32::try_from(targets.len()).unwrap_or(u32::MAX)) > max {
                return Ok(Noted::Full);
            }
            for target in targets {
                tx.execute(
                    "INSERT INTO delivery (id, target, hold, event, at, due_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
                    params![format!("msg_{}", StatementId::new()), target, hold, EventKind::of(state).as_str(), at],
                )?;
            }
            let sql = "INSERT OR REPLACE INTO told (hold, stage) VALUES (?1, ?2)";
            tx.execute(sql, params![hold, stage(state)])?;
            let sql = "DELETE FROM told WHERE seq <= ?1 AND stage = ?2";
            tx.execute(sql, params![tx.last_insert_rowid() - OVER_MAX, OVER])?;
            tx.commit()?;
            Ok(Noted::New)
        })
        .await
    }

    /// Open holds of which something was written down.
    pub(super) async fn told(&self) -> Result<Vec<HoldId>, NotifyStoreError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached("SELECT hold FROM told WHERE stage < ?1")?;
            let names = statement.query_map([OVER], |row| row.get::<_, String>(0))?;
            names.filter_map(|name| name.map(|name| HoldId::parse(&name)).transpose()).collect()
        })
        .await
    }

    /// Whether anything was ever written down: an outbox that is new tells no history.
    pub(super) async fn is_new(&self) -> Result<bool, NotifyStoreError> {
        self.with(|connection| connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM told)", [], |row| row.get(0)))
            .await
    }

    /// The hold is gone altogether.
    pub(super) async fn forget(&self, hold: &HoldId) -> Result<(), NotifyStoreError> {
        let hold = hold.to_string();
        self.with(move |connection| connection.execute("DELETE FROM told WHERE hold = ?1", [hold]).map(drop)).await
    }

    /// The oldest due delivery of a target. Those of one hold keep their order.
    pub(super) async fn next(&self, target: &str, now: Timestamp) -> Result<Next, NotifyStoreError> {
        let (target, now) = (target.to_owned(), now.as_micros());
        self.with(move |connection| {
            let first: Option<(i64, String, String, String, i64, u32, i64)> = connection
                .prepare_cached(
                    "SELECT seq, id, hold, event, at, attempts, due_at FROM delivery AS d
                     WHERE target = ?1 AND dead = 0 AND NOT EXISTS (SELECT 1 FROM delivery AS e
                        WHERE e.target = d.target AND e.hold = d.hold AND e.dead = 0 AND e.seq < d.seq)
                     ORDER BY due_at LIMIT 1",
                )?
                .query_row([&target], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
                })
                .optional()?;
            let Some((seq, id, hold, event, at, attempts, due_at)) = first else { return Ok(Next::Nothing) };
            if due_at > now {
                return Ok(Next::Later(Timestamp::from_micros(due_at)));
            }
            let (Some(hold), Some(event)) = (HoldId::parse(&hold), EventKind::parse(&event)) else {
                connection.execute("DELETE FROM delivery WHERE seq = ?1", [seq])?;
                return Ok(Next::Later(Timestamp::from_micros(now)));
            };
            Ok(Next::Due(Delivery { seq, id, hold, event, at: Timestamp::from_micros(at), attempts }))
        })
        .await
    }

    /// It arrived, or nobody can want it any more.
    pub(super) async fn done(&self, seq: i64) -> Result<(), NotifyStoreError> {
        self.with(move |connection| connection.execute("DELETE FROM delivery WHERE seq = ?1", [seq]).map(drop)).await
    }

    /// It failed and is tried again then.
    pub(super) async fn retry(&self, seq: i64, due_at: Timestamp, error: String) -> Result<(), NotifyStoreError> {
        self.with(move |connection| {
            let sql = "UPDATE delivery SET attempts = attempts + 1, due_at = ?2, error = ?3 WHERE seq = ?1";
            connection.execute(sql, params![seq, due_at.as_micros(), error]).map(drop)
        })
        .await
    }

    /// It failed and is given up.
    pub(super) async fn bury(&self, seq: i64, error: String) -> Result<(), NotifyStoreError> {
        let max = self.max;
        self.with(move |connection| {
            let sql = "UPDATE delivery SET attempts = attempts + 1, dead = 1, error = ?2 WHERE seq = ?1";
            connection.execute(sql, params![seq, error])?;
            let sql = "DELETE FROM delivery WHERE dead = 1 AND seq NOT IN
                       (SELECT seq FROM delivery WHERE dead = 1 ORDER BY seq DESC LIMIT ?1)";
            connection.execute(sql, [max]).map(drop)
        })
        .await
    }

    /// Those that were given up, the newest first.
    pub(super) async fn dead(&self, limit: u32) -> Result<Vec<Dead>, NotifyStoreError> {
        self.with(move |connection| {
            let sql = "SELECT seq, target, hold, event, at, attempts, error FROM delivery WHERE dead = 1
                       ORDER BY seq DESC LIMIT ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([limit], |row| {
                Ok(Dead {
                    id: row.get(0)?,
                    target: row.get(1)?,
                    hold: row.get(2)?,
                    event: row.get(3)?,
                    at: Timestamp::from_micros(row.get(4)?),
                    attempts: row.get(5)?,
                    error: row.get(6)?,
                })
            })?;
            rows.collect()
        })
        .await
    }

    /// Gives a dead one all its attempts again; `false` where there is none of that number.
    pub(super) async fn revive(&self, seq: i64, now: Timestamp) -> Result<bool, NotifyStoreError> {
        self.with(move |connection| {
            let sql = "UPDATE delivery SET dead = 0, attempts = 0, due_at = ?2 WHERE seq = ?1 AND dead = 1";
            Ok(connection.execute(sql, params![seq, now.as_micros()])? == 1)
        })
        .await
    }

    /// How many wait, and how many are dead.
    pub(super) async fn counts(&self) -> Result<(u64, u64), NotifyStoreError> {
        self.with(|connection| {
            let count = |dead: i64| {
                let sql = "SELECT count(*) FROM delivery WHERE dead = ?1";
                connection
                    .query_row(sql, [dead], |row| row.get::<_, i64>(0))
                    .map(|number| u64::try_from(number).unwrap_or(0))
            };
            Ok((count(0)?, count(1)?))
        })
        .await
    }

    /// What a target calls the message that it has of a hold.
    pub(super) async fn place(&self, target: &str, hold: &HoldId) -> Result<Option<String>, NotifyStoreError> {
        let (target, hold) = (target.to_owned(), hold.to_string());
        self.with(move |connection| {
            let sql = "SELECT place FROM message WHERE target = ?1 AND hold = ?2";
            connection.query_row(sql, [target, hold], |row| row.get(0)).optional()
        })
        .await
    }

    pub(super) async fn set_place(&self, target: &str, hold: &HoldId, place: &str) -> Result<(), NotifyStoreError> {
        let (target, hold, place) = (target.to_owned(), hold.to_string(), place.to_owned());
        self.with(move |connection| {
            let number: u32 = connection.query_row("SELECT count(*) FROM message", [], |row| row.get(0))?;
            if number >= MESSAGES_MAX {
                connection.execute(
                    "DELETE FROM message WHERE hold NOT IN (SELECT hold FROM told WHERE stage < ?1)",
                    [OVER],
                )?;
            }
            connection.execute("INSERT OR REPLACE INTO message VALUES (?1, ?2, ?3)", [target, hold, place]).map(drop)
        })
        .await
    }
}
