//! Who holds or wants locks on relations now, asked over the proxy's own credential and waited for only briefly.

use std::fmt::Write;
use std::time::Duration;

use tokio_postgres::SimpleQueryMessage;

use super::databases::Databases;
use crate::catalog::Oid;

/// A card is not kept waiting for longer.
const LOOK_WAIT: Duration = Duration::from_millis(500);
/// Rows that are read at most.
const ROWS_MAX: usize = 200;
/// Relations that are asked about at most.
const RELATIONS_MAX: usize = 100;

/// One relation lock of one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationLock {
    /// The backend's process id.
    pub pid: u32,
    /// Its role.
    pub role: String,
    /// Its application.
    pub application_name: String,
    /// The relation's OID.
    pub relation: Oid,
    /// As `pg_locks.mode` has it: `AccessShareLock`.
    pub mode: String,
    /// Whether it is held; otherwise it is waited for.
    pub granted: bool,
}

impl Databases {
    /// The locks on some relations, and all relation locks of one backend. `None`: there is no credential, or no answer in
    /// time.
    pub async fn locks(&self, name: &str, relations: &[Oid], backend: u32) -> Option<Vec<RelationLock>> {
        let rows = self.look(name, &question(relations, backend), LOOK_WAIT).await?;
        Some(rows.iter().filter_map(lock).collect())
    }
}

fn question(relations: &[Oid], backend: u32) -> String {
    // No relation has the OID 0: an IN list must not be empty.
    let mut oids = String::from("0");
    for oid in relations.iter().take(RELATIONS_MAX) {
        // Writing to a String cannot fail.
        let _ = write!(oids, ",{oid}");
    }
    format!(
        "SELECT l.pid, a.usename, a.application_name, l.relation, l.mode, l.granted FROM pg_catalog.pg_locks l \
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) l.pid \
         WHERE l.locktype OPERATOR(pg_catalog.=) 'relation' AND l.database OPERATOR(pg_catalog.=) \
         (SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) \
         AND (l.relation IN ({oids}) OR l.pid OPERATOR(pg_catalog.=) {backend}) \
         AND l.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() ORDER BY l.pid, l.relation LIMIT {ROWS_MAX}"
    )
}

fn lock(message: &SimpleQueryMessage) -> Option<RelationLock> {
    let SimpleQueryMessage::Row(row) = message else { return None };
    let text = |place: usize| row.get(place).unwrap_or_default().to_owned();
    Some(RelationLock {
        pid: row.get(0)?.parse().ok()?,
        role: text(1),
        application_name: text(2),
        relation: row.get(3)?.parse().ok()?,
        mode: text(4),
        granted: row.get(5) == Some("t"),
    })
}
