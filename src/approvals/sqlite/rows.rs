//! The statements over the store's tables; no rule of a hold is here.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::approvals::{
    Before, Counts, Hold, HoldChange, HoldEnd, HoldFilter, HoldState, NewHold, Once, OutboxRow, Page, Seal, Secret,
    StoreError, Waiting,
};
use crate::clock::Timestamp;
use crate::ids::{HoldId, StatementId};
use crate::lineage::StatementRecord;

/// How long the answer of a request is kept under its key.
const ANSWERS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Answers that are kept; the oldest goes first.
const ANSWERS_MAX: u32 = 4096;

/// One row of `hold`.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The state that was read: what the compare-and-set compares with.
    was: HoldState,
    /// The hold with text and values masked.
    pub(super) shown: Hold,
    /// Text and values while it is open.
    pub(super) secret: Option<Secret>,
    /// The record of the run that opened it; once released, of the run that spent it.
    pub(super) record: StatementRecord,
}

impl Row {
    pub(super) fn new(new: &NewHold) -> Self {
        let steps = new.hold.bundle.iter().flat_map(|bundle| &bundle.steps);
        let secret = Secret {
            statement: new.hold.statement.clone(),
            parameters: new.hold.parameters.clone(),
            steps: steps.map(|step| step.statement.clone()).collect(),
        };
        let mut shown =
            Hold { statement: new.record.text.clone(), parameters: new.masked_parameters.clone(), ..new.hold.clone() };
        for step in shown.bundle.iter_mut().flat_map(|bundle| &mut bundle.steps) {
            step.statement.clone_from(&step.masked);
        }
        Self { was: shown.state, shown, secret: Some(secret), record: new.record.clone() }
    }

    /// The hold as it may be shown now.
    pub(super) fn hold(&self) -> Hold {
        let mut hold = self.shown.clone();
        if let Some(secret) = &self.secret {
            reveal(&mut hold, secret);
        }
        hold
    }

    /// What ran has ended. A bundle of which something is left is as approved as before.
    pub(super) fn end(&mut self, end: HoldEnd) {
        self.shown.state = end.state();
        if let Some(bundle) = &mut self.shown.bundle {
            bundle.end(end);
            if end == HoldEnd::Finished && bundle.has_more() {
                self.shown.state = HoldState::Approved;
                self.shown.waiting = Waiting::Ticket;
            }
        }
    }

    pub(super) fn change(&self) -> HoldChange {
        HoldChange { id: self.shown.id.clone(), state: self.shown.state, waiting: self.shown.waiting }
    }
}

const COLUMNS: &str = "state, shown, sealed, record";

pub(super) fn find(db: &Connection, seal: &Seal, id: &HoldId) -> Result<Option<Row>, StoreError> {
    let raw = db
        .prepare_cached(&format!("SELECT {COLUMNS} FROM hold WHERE id = ?1"))?
        .query_row([id.as_str()], Raw::read)
        .optional()?;
    raw.map(|raw| raw.row(seal)).transpose()
}

pub(super) fn page(db: &Connection, seal: &Seal, filter: &HoldFilter) -> Result<Page, StoreError> {
    let limit = usize::try_from(filter.limit.max(1)).unwrap_or(usize::MAX);
    let before = filter.before.unwrap_or(i64::MAX);
    let mut statement = db.prepare_cached(&places(filter))?;
    // One more than asked tells whether there is a next page; it is not read.
    let places = statement
        .query_map(params![before, i64::from(filter.limit.max(1)) + 1, filter.principal], |row| row.get::<_, i64>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    let next = places.get(limit).and_then(|_| places.get(limit - 1)).copied();
    let mut row = db.prepare_cached("SELECT shown, sealed FROM hold WHERE seq = ?1")?;
    let holds = places.into_iter().take(limit).map(|place| {
        let (shown, sealed) =
            row.query_row([place], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<Vec<u8>>>(1)?)))?;
        let mut hold: Hold = from_json(&shown)?;
        if let Some(sealed) = sealed {
            let secret = seal.open(&hold.id, &sealed)?;
            reveal(&mut hold, &secret);
        }
        Ok(hold)
    });
    Ok(Page { holds: holds.collect::<Result<_, StoreError>>()?, next })
}

/// The places of a page: of each state as many as the page has at most, by its index, so that neither history nor the
/// other pages are read. The states are compiled into the text: they are words of ours.
fn places(filter: &HoldFilter) -> String {
    let states = if filter.states.is_empty() { &HoldState::ALL } else { filter.states.as_slice() };
    let of = if filter.principal.is_some() { "principal = ?3" } else { "?3 IS NULL" };
    let one = |state: &HoldState| {
        let of_state = format!("state = '{}' AND {of} AND seq < ?1", state.as_str());
        format!("SELECT seq FROM (SELECT seq FROM hold WHERE {of_state} ORDER BY seq DESC LIMIT ?2)")
    };
    let all = states.iter().map(one).collect::<Vec<_>>().join(" UNION ");
    format!("SELECT seq FROM ({all}) ORDER BY seq DESC LIMIT ?2")
}

/// The answer of a key that is not too old: what was asked, and the hold as it stood then, masked.
pub(super) fn answer(
    db: &Connection,
    (operator, key): (&str, &str),
    at: Timestamp,
) -> Result<Option<(Vec<u8>, Hold)>, StoreError> {
    let found = db
        .prepare_cached("SELECT request, shown FROM answer WHERE operator = ?1 AND key = ?2 AND at > ?3")?
        .query_row(params![operator, key, at.before(ANSWERS_KEPT).as_micros()], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    found.map(|(request, shown)| Ok((request, from_json(&shown)?))).transpose()
}

/// Keeps an answer under its key; those that are too old or too many go.
pub(super) fn note_answer(
    db: &Connection,
    (operator, once): (&str, &Once),
    shown: &Hold,
    at: Timestamp,
) -> Result<(), StoreError> {
    db.prepare_cached("INSERT OR REPLACE INTO answer (operator, key, request, shown, at) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![operator, once.key, once.request, json(shown)?, at.as_micros()])?;
    db.prepare_cached(
        "DELETE FROM answer WHERE at <= max(?1, ifnull((SELECT at FROM answer ORDER BY at DESC LIMIT 1 OFFSET ?2), ?1))",
    )?
    .execute(params![at.before(ANSWERS_KEPT).as_micros(), ANSWERS_MAX])?;
    Ok(())
}

/// Text and values in their places.
pub(super) fn reveal(hold: &mut Hold, secret: &Secret) {
    hold.statement.clone_from(&secret.statement);
    hold.parameters.clone_from(&secret.parameters);
    let steps = hold.bundle.iter_mut().flat_map(|bundle| &mut bundle.steps);
    for (step, text) in steps.zip(&secret.steps) {
        step.statement.clone_from(text);
    }
}

pub(super) fn insert(db: &Connection, seal: &Seal, row: &Row) -> Result<(), StoreError> {
    let hold = &row.shown;
    let sealed = row.secret.as_ref().map(|secret| seal.seal(&hold.id, secret)).transpose()?;
    db.prepare_cached(
        "INSERT INTO hold (id, state, action_hash, principal, database, expires_at, shown, sealed, record)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        hold.id.as_str(),
        hold.state.as_str(),
        hold.action_hash,
        hold.principal.name,
        hold.database,
        hold.expires_at.as_micros(),
        json(hold)?,
        sealed,
        json(&row.record)?,
    ])?;
    Ok(())
}

/// Writes a row that is still in the state in which it was read; drops the sealed text once the row has none.
pub(super) fn update(db: &Connection, row: &Row) -> Result<(), StoreError> {
    let hold = &row.shown;
    let changed = db
        .prepare_cached(
            "UPDATE hold SET state = ?3, expires_at = ?4, shown = ?5, record = ?6, sealed = iif(?7, sealed, NULL),
             next_step = ?8 WHERE id = ?1 AND state = ?2",
        )?
        .execute(params![
            hold.id.as_str(),
            row.was.as_str(),
            hold.state.as_str(),
            hold.expires_at.as_micros(),
            json(hold)?,
            json(&row.record)?,
            row.secret.is_some(),
            next_step(hold),
        ])?;
    if changed != 1 {
        return Err(StoreError::Storage(format!("hold {} changed under its own transaction", hold.id)));
    }
    if !hold.state.is_open() {
        db.prepare_cached("DELETE FROM waiter WHERE hold = ?1")?.execute([hold.id.as_str()])?;
    }
    Ok(())
}

/// What may be spent next of an approved bundle.
fn next_step(hold: &Hold) -> Option<&str> {
    hold.bundle.as_ref().filter(|_| hold.state == HoldState::Approved)?.next_digest()
}

pub(super) fn covering(
    db: &Connection,
    principal: &str,
    database: &str,
    digest: &str,
) -> Result<Vec<HoldId>, StoreError> {
    ids(
        db,
        "SELECT id FROM hold WHERE next_step = ?1 AND principal = ?2 AND database = ?3 ORDER BY seq",
        params![digest, principal, database],
    )
}

pub(super) fn before(db: &Connection, principal: &str) -> Result<Before, StoreError> {
    let mut before = Before::default();
    let mut statement = db.prepare_cached("SELECT state, count(*) FROM hold WHERE principal = ?1 GROUP BY state")?;
    let rows = statement.query_map([principal], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    for row in rows {
        let (state, number) = row?;
        let number = u64::try_from(number).unwrap_or(0);
        before.holds += number;
        match HoldState::parse(&state) {
            Some(HoldState::Pending) | None => {}
            Some(HoldState::Denied) => before.denied += number,
            Some(HoldState::Expired | HoldState::Withdrawn | HoldState::Void) => before.lapsed += number,
            Some(_) => before.approved += number,
        }
    }
    Ok(before)
}

pub(super) fn same_action(db: &Connection, hold: &Hold) -> Result<Vec<HoldId>, StoreError> {
    ids(
        db,
        "SELECT id FROM hold WHERE action_hash = ?1 AND principal = ?2 AND database = ?3
         AND state IN ('pending', 'approved') ORDER BY seq",
        params![hold.action_hash, hold.principal.name, hold.database],
    )
}

pub(super) fn due(db: &Connection, at: Timestamp, limit: u32) -> Result<Vec<HoldId>, StoreError> {
    ids(
        db,
        "SELECT id FROM hold WHERE expires_at <= ?1 AND state IN ('pending', 'approved') ORDER BY expires_at LIMIT ?2",
        params![at.as_micros(), limit],
    )
}

pub(super) fn in_states(db: &Connection, states: &[HoldState]) -> Result<Vec<HoldId>, StoreError> {
    ids(db, &format!("SELECT id FROM hold WHERE state IN ({}) ORDER BY seq", state_list(states)), [])
}

/// Drops closed holds that are not among the last `keep` that were opened, counted from the row just inserted.
pub(super) fn prune(db: &Connection, keep: u32) -> Result<(), StoreError> {
    let closed: Vec<_> = HoldState::ALL.into_iter().filter(|state| state.is_closed()).collect();
    let sql = format!("DELETE FROM hold WHERE seq <= ?1 AND state IN ({})", state_list(&closed));
    db.prepare_cached(&sql)?.execute([db.last_insert_rowid() - i64::from(keep)])?;
    Ok(())
}

pub(super) fn open_of(db: &Connection, principal: &str) -> Result<u64, StoreError> {
    count(db, "SELECT count(*) FROM hold WHERE principal = ?1 AND state IN ('pending', 'approved')", [principal])
}

pub(super) fn counts(db: &Connection) -> Result<Counts, StoreError> {
    let of = |state: HoldState| count(db, "SELECT count(*) FROM hold WHERE state = ?1", [state.as_str()]);
    Ok(Counts {
        pending: of(HoldState::Pending)?,
        approved: of(HoldState::Approved)?,
        released: of(HoldState::Released)?,
        outbox: count(db, "SELECT count(*) FROM outbox", [])?,
    })
}

pub(super) fn add_waiter(db: &Connection, id: &HoldId, run: &StatementRecord) -> Result<(), StoreError> {
    db.prepare_cached("INSERT OR REPLACE INTO waiter (hold, run, record) VALUES (?1, ?2, ?3)")?.execute(params![
        id.as_str(),
        run.id.to_string(),
        json(run)?
    ])?;
    Ok(())
}

pub(super) fn remove_waiter(db: &Connection, id: &HoldId, run: StatementId) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM waiter WHERE hold = ?1 AND run = ?2")?
        .execute([id.as_str(), run.to_string().as_str()])?;
    Ok(())
}

/// The records of the runs that wait for the hold.
pub(super) fn waiters(db: &Connection, id: &HoldId) -> Result<Vec<StatementRecord>, StoreError> {
    let mut statement = db.prepare_cached("SELECT record FROM waiter WHERE hold = ?1 ORDER BY run")?;
    let records = statement.query_map([id.as_str()], |row| row.get::<_, String>(0))?;
    records.map(|record| from_json(&record?)).collect()
}

pub(super) fn outbox_add(db: &Connection, id: &HoldId, record: &StatementRecord) -> Result<(), StoreError> {
    db.prepare_cached("INSERT INTO outbox (hold, record) VALUES (?1, ?2)")?
        .execute([id.as_str(), json(record)?.as_str()])?;
    Ok(())
}

pub(super) fn outbox_next(db: &Connection, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
    let mut statement = db.prepare_cached("SELECT seq, hold, record FROM outbox ORDER BY seq LIMIT ?1")?;
    let rows = statement
        .query_map([limit], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)))?;
    rows.map(|row| {
        let (row, hold, record) = row?;
        Ok(OutboxRow { row, hold: hold_id(&hold)?, record: from_json(&record)? })
    })
    .collect()
}

pub(super) fn outbox_delete(db: &Connection, acknowledged: &[i64]) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached("DELETE FROM outbox WHERE seq = ?1")?;
    for row in acknowledged {
        statement.execute([row])?;
    }
    Ok(())
}

pub(super) fn outbox_holds(db: &Connection, id: &HoldId) -> Result<bool, StoreError> {
    Ok(db.prepare_cached("SELECT 1 FROM outbox WHERE hold = ?1 LIMIT 1")?.exists([id.as_str()])?)
}

/// One row as it lies in the file.
struct Raw {
    state: String,
    shown: String,
    sealed: Option<Vec<u8>>,
    record: String,
}

impl Raw {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { state: row.get(0)?, shown: row.get(1)?, sealed: row.get(2)?, record: row.get(3)? })
    }

    fn row(self, seal: &Seal) -> Result<Row, StoreError> {
        let shown: Hold = from_json(&self.shown)?;
        let was = HoldState::parse(&self.state)
            .ok_or_else(|| StoreError::Storage(format!("hold {} has the unknown state {}", shown.id, self.state)))?;
        let secret = self.sealed.map(|sealed| seal.open(&shown.id, &sealed)).transpose()?;
        Ok(Row { was, shown, secret, record: from_json(&self.record)? })
    }
}

fn ids(db: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<Vec<HoldId>, StoreError> {
    let mut statement = db.prepare_cached(sql)?;
    let found = statement.query_map(values, |row| row.get::<_, String>(0))?;
    found.map(|id| hold_id(&id?)).collect()
}

fn count(db: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<u64, StoreError> {
    let counted: i64 = db.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
    Ok(u64::try_from(counted).unwrap_or(0))
}

fn hold_id(text: &str) -> Result<HoldId, StoreError> {
    HoldId::parse(text).ok_or_else(|| StoreError::Storage("the store holds an id that is none".to_owned()))
}

fn state_list(states: &[HoldState]) -> String {
    states.iter().map(|state| format!("'{}'", state.as_str())).collect::<Vec<_>>().join(", ")
}

fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Storage(error.to_string()))
}

fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Storage(format!("a row cannot be read: {error}")))
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
