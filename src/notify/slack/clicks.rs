//! Clicks that were acknowledged and are not answered yet: on disk, so that a crash loses none.

use std::path::Path;

use rusqlite::params;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::StatementId;
use crate::notify::store::{NotifyStoreError, Outbox};

/// Clicks that wait, at most; Slack shows whoever clicks beyond it that it did not work.
const WAITING_MAX: i64 = 1000;

/// What is kept of a click: nothing of the message that it was made on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The user of Slack.
    pub(super) user: String,
    pub(super) hold: String,
    pub(super) action: String,
    /// `approve` or `deny`.
    pub(super) answer: String,
    pub(super) reason: Option<String>,
    /// Where whoever clicked is told what came of it.
    pub(super) response_url: String,
}

/// The file that notices lie in too. Clones are one.
#[derive(Clone, Debug)]
pub struct Clicks(Outbox);

impl Clicks {
    /// Over an outbox that is open.
    pub(in crate::notify) fn new(outbox: Outbox) -> Self {
        Self(outbox)
    }

    /// Over a file of its own.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn open(path: &Path) -> Result<Self, NotifyStoreError> {
        Outbox::open(path, 0).map(Self)
    }

    /// Keeps a click, on disk when this returns; the id under which it is one.
    pub(super) async fn keep(&self, kept: &Kept, at: Timestamp) -> Result<String, NotifyStoreError> {
        let id = StatementId::new().to_string();
        let text = serde_json::to_string(kept).map_err(|error| NotifyStoreError(error.to_string()))?;
        let (row, at) = (id.clone(), at.as_micros());
        let fits = self.0.with(move |connection| {
            let waiting: i64 = connection.query_row("SELECT count(*) FROM click", [], |row| row.get(0))?;
            if waiting >= WAITING_MAX {
                return Ok(false);
            }
            // Acknowledged to somebody outside: it must outlive a power cut too, unlike what can be found out again.
            connection.pragma_update(None, "synchronous", "FULL")?;
            let written =
                connection.execute("INSERT INTO click (id, at, click) VALUES (?1, ?2, ?3)", params![row, at, text]);
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            written.map(|_| true)
        });
        if fits.await? { Ok(id) } else { Err(NotifyStoreError("too many clicks wait".to_owned())) }
    }

    /// It was answered.
    pub(super) async fn done(&self, id: &str) -> Result<(), NotifyStoreError> {
        let id = id.to_owned();
        self.0.with(move |connection| connection.execute("DELETE FROM click WHERE id = ?1", [id]).map(drop)).await
    }

    /// Those that an earlier process left, the oldest first.
    pub(super) async fn left(&self) -> Result<Vec<(String, Kept)>, NotifyStoreError> {
        let rows = self.0.with(|connection| {
            let mut statement = connection.prepare_cached("SELECT id, click FROM click ORDER BY at, id")?;
            let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            rows.collect::<Result<Vec<_>, _>>()
        });
        let read = |(id, text): (String, String)| match serde_json::from_str(&text) {
            Ok(kept) => Ok((id, kept)),
            Err(error) => Err(NotifyStoreError(format!("click {id}: {error}"))),
        };
        rows.await?.into_iter().map(read).collect()
    }
}
