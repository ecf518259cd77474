//! The embedded hold store: one `SQLite` file, write-ahead log, every commit on disk before it returns.

mod rows;
mod schema;

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use self::rows::Row;
use super::ballot::{self, Cast, Refusal};
use super::records;
use super::{
    Before, Bounds, Bundle, Counts, DecideError, DecisionRequest, Hold, HoldChange, HoldEnd, HoldFilter, HoldState,
    NewHold, Once, Opened, Operator, OutboxRow, Page, Recovered, Release, ReleaseError, Seal, Spend, StepError, Store,
    StoreError, Waiting,
};
use crate::clock::Timestamp;
use crate::ids::{HoldId, StatementId};
use crate::lineage::Outcome;

/// Holds in `STATE/store.db`, their key in `STATE/store.key`. One process at a time.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    seal: Seal,
    bounds: Bounds,
    changes: Vec<HoldChange>,
    /// What was counted last, and after how many changes: nobody else writes here.
    counted: Option<(u64, Counts)>,
}

impl SqliteStore {
    /// Opens or creates the store in an existing directory.
    ///
    /// # Errors
    /// [`StoreError::Storage`]: a file that cannot be used, a newer schema, or another process that holds it.
    pub fn open(dir: &Path, bounds: Bounds) -> Result<Self, StoreError> {
        let seal = Seal::from_file(&dir.join("store.key"))?;
        let connection = schema::connect(&dir.join("store.db"))?;
        Ok(Self { connection, seal, bounds, changes: Vec::new(), counted: None })
    }

    /// A store in memory, for tests of the rules alone.
    #[cfg(test)]
    pub(super) fn in_memory(key: &Path, bounds: Bounds) -> Result<Self, StoreError> {
        let (connection, seal) = (schema::in_memory()?, Seal::from_file(key)?);
        Ok(Self { connection, seal, bounds, changes: Vec::new(), counted: None })
    }

    /// Runs one transaction; its steps are published only once it is committed.
    fn within<T>(&mut self, work: impl FnOnce(&mut Step<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut step = Step { tx: &tx, seal: &self.seal, bounds: self.bounds, changes: Vec::new() };
        let answer = work(&mut step)?;
        let changes = step.changes;
        tx.commit()?;
        self.changes.extend(changes);
        Ok(answer)
    }
}

impl Store for SqliteStore {
    fn open(&mut self, new: &NewHold, at: Timestamp) -> Result<Opened, StoreError> {
        self.within(|step| match step.joinable(new, at)? {
            Some(row) => step.join(row, new).map(Opened::Joined),
            None => step.create(new).map(Opened::New),
        })
    }

    fn hold(&mut self, id: &HoldId) -> Result<Option<Hold>, StoreError> {
        Ok(rows::find(&self.connection, &self.seal, id)?.map(|row| row.hold()))
    }

    fn list(&mut self, filter: &HoldFilter) -> Result<Page, StoreError> {
        rows::page(&self.connection, &self.seal, filter)
    }

    fn decide(
        &mut self,
        id: &HoldId,
        operator: &Operator,
        request: &DecisionRequest,
        at: Timestamp,
    ) -> Result<Hold, DecideError> {
        self.within(|step| {
            let Some(once) = &request.once else { return step.decide(id, operator, request, at) };
            if let Some(answered) = step.answered(operator, once, at)? {
                return Ok(answered);
            }
            let decided = step.decide(id, operator, request, at)?;
            if let (Ok(_), Some(row)) = (&decided, step.find(id)?) {
                rows::note_answer(step.tx, (&operator.name, once), &row.shown, at)?;
            }
            Ok(decided)
        })?
    }

    fn withdraw(&mut self, id: &HoldId, run: StatementId, why: &str, at: Timestamp) -> Result<Hold, StepError> {
        self.within(|step| {
            let row = match step.left(id, run, at)? {
                Ok(row) => row,
                Err(refused) => return Ok(Err(refused)),
            };
            if row.shown.state == HoldState::Pending && row.shown.waiting != Waiting::Connection {
                return step.lapse(row, HoldState::Withdrawn, why).map(Ok);
            }
            step.save(row).map(Ok)
        })?
    }

    fn ticket(&mut self, id: &HoldId, run: StatementId, at: Timestamp) -> Result<Hold, StepError> {
        self.within(|step| match step.left(id, run, at)? {
            Ok(row) => step.save(row).map(Ok),
            Err(refused) => Ok(Err(refused)),
        })?
    }

    fn expire_due(&mut self, limit: u32, at: Timestamp) -> Result<usize, StoreError> {
        let due = rows::due(&self.connection, at, limit)?;
        if due.is_empty() {
            return Ok(0);
        }
        self.within(|step| {
            for id in &due {
                step.current(id, at)?;
            }
            Ok(due.len())
        })
    }

    fn release(&mut self, id: &HoldId, release: &Release, at: Timestamp) -> Result<Hold, ReleaseError> {
        self.within(|step| step.release(id, release, at))?
    }

    fn finish(&mut self, id: &HoldId, end: HoldEnd, _at: Timestamp) -> Result<Hold, StepError> {
        self.within(|step| {
            let Some(mut row) = step.find(id)? else { return Ok(Err(StepError::NotFound)) };
            if row.shown.state != HoldState::Released {
                return Ok(Err(StepError::NotNow(Box::new(row.hold()))));
            }
            row.end(end);
            step.save(row).map(Ok)
        })?
    }

    fn void(&mut self, id: &HoldId, why: &str, at: Timestamp) -> Result<Hold, StepError> {
        self.within(|step| {
            let Some(row) = step.current(id, at)? else { return Ok(Err(StepError::NotFound)) };
            if row.shown.state != HoldState::Approved {
                return Ok(Err(StepError::NotNow(Box::new(row.hold()))));
            }
            step.lapse(row, HoldState::Void, why).map(Ok)
        })?
    }

    fn covering(
        &mut self,
        principal: &str,
        database: &str,
        digest: &str,
        at: Timestamp,
    ) -> Result<Option<Hold>, StoreError> {
        let found = rows::covering(&self.connection, principal, database, digest)?;
        self.within(|step| {
            for id in found {
                let row = step.current(&id, at)?;
                if let Some(row) = row.filter(|row| row.shown.state == HoldState::Approved) {
                    return Ok(Some(row.hold()));
                }
            }
            Ok(None)
        })
    }

    fn spend(&mut self, id: &HoldId, spend: &Spend, at: Timestamp) -> Result<Hold, ReleaseError> {
        self.within(|step| step.spend(id, spend, at))?
    }

    fn rebase(&mut self, id: &HoldId, basis: &str, at: Timestamp) -> Result<Hold, StepError> {
        self.within(|step| {
            let Some(mut row) = step.current(id, at)? else { return Ok(Err(StepError::NotFound)) };
            if row.shown.state != HoldState::Approved {
                return Ok(Err(StepError::NotNow(Box::new(row.hold()))));
            }
            if let Some(bundle) = &mut row.shown.bundle {
                basis.clone_into(&mut bundle.basis);
            }
            step.save(row).map(Ok)
        })?
    }

    fn before(&mut self, principal: &str) -> Result<Before, StoreError> {
        rows::before(&self.connection, principal)
    }

    fn recover(&mut self, at: Timestamp) -> Result<Recovered, StoreError> {
        self.within(|step| step.recover(at))
    }

    fn outbox_next(&mut self, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        rows::outbox_next(&self.connection, limit)
    }

    fn outbox_ack(&mut self, acknowledged: &[i64]) -> Result<(), StoreError> {
        self.within(|step| rows::outbox_delete(step.tx, acknowledged))
    }

    fn outbox_waits(&mut self, id: &HoldId) -> Result<bool, StoreError> {
        rows::outbox_holds(&self.connection, id)
    }

    fn counts(&mut self) -> Result<Counts, StoreError> {
        let changes = self.connection.total_changes();
        if let Some((_, counts)) = self.counted.filter(|(then, _)| *then == changes) {
            return Ok(counts);
        }
        let counts = rows::counts(&self.connection)?;
        self.counted = Some((changes, counts));
        Ok(counts)
    }

    fn take_changes(&mut self) -> Vec<HoldChange> {
        std::mem::take(&mut self.changes)
    }
}

/// One open transaction.
struct Step<'a> {
    tx: &'a Transaction<'a>,
    seal: &'a Seal,
    bounds: Bounds,
    changes: Vec<HoldChange>,
}

impl Step<'_> {
    fn find(&self, id: &HoldId) -> Result<Option<Row>, StoreError> {
        rows::find(self.tx, self.seal, id)
    }

    /// The hold as it stands at this time: one whose time is over is expired here, before anything else can happen to it.
    fn current(&mut self, id: &HoldId, at: Timestamp) -> Result<Option<Row>, StoreError> {
        let Some(row) = self.find(id)? else { return Ok(None) };
        if !row.shown.state.is_open() || row.shown.expires_at > at {
            return Ok(Some(row));
        }
        let why = if row.shown.state == HoldState::Pending { "nobody decided in time" } else { "not spent in time" };
        self.lapse(row, HoldState::Expired, why)?;
        self.find(id)
    }

    /// The open hold that the same action joins. What waits in the middle of its own stream or transaction belongs to
    /// that connection alone.
    fn joinable(&mut self, new: &NewHold, at: Timestamp) -> Result<Option<Row>, StoreError> {
        if new.hold.rows_sent > 0 {
            return Ok(None);
        }
        for id in rows::same_action(self.tx, &new.hold)? {
            let Some(row) = self.current(&id, at)? else { continue };
            let shared = row.shown.rows_sent == 0 && row.shown.holding_locks_since.is_none();
            if row.shown.state.is_open() && shared {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    fn join(&mut self, mut row: Row, new: &NewHold) -> Result<Hold, StoreError> {
        // A bundle is asked for by a person, and no connection waits for it.
        if new.hold.waiting == Waiting::Connection {
            rows::add_waiter(self.tx, &row.shown.id, &new.record)?;
            row.shown.waiting = Waiting::Connection;
        }
        self.post(&row, &records::held(&new.record, &row.shown))?;
        self.save(row)
    }

    fn create(&mut self, new: &NewHold) -> Result<Hold, StoreError> {
        self.check_bounds(new)?;
        let row = Row::new(new);
        rows::insert(self.tx, self.seal, &row)?;
        rows::prune(self.tx, self.bounds.history_max)?;
        if new.hold.waiting == Waiting::Connection {
            rows::add_waiter(self.tx, &row.shown.id, &new.record)?;
        }
        self.post(&row, &records::held(&new.record, &row.shown))?;
        self.changes.push(row.change());
        Ok(row.hold())
    }

    fn check_bounds(&self, new: &NewHold) -> Result<(), StoreError> {
        let Bounds { holds_max, holds_per_principal_max, outbox_max, .. } = self.bounds;
        let counts = rows::counts(self.tx)?;
        let own = rows::open_of(self.tx, &new.hold.principal.name)?;
        let full = |what, max| Err(StoreError::Full { what, max });
        if counts.outbox >= u64::from(outbox_max) {
            return full("records that wait for the log", outbox_max);
        }
        if counts.pending + counts.approved >= u64::from(holds_max) {
            return full("open holds", holds_max);
        }
        if own >= u64::from(holds_per_principal_max) {
            return full("open holds of one principal", holds_per_principal_max);
        }
        Ok(())
    }

    fn decide(
        &mut self,
        id: &HoldId,
        operator: &Operator,
        request: &DecisionRequest,
        at: Timestamp,
    ) -> Result<Result<Hold, DecideError>, StoreError> {
        let Some(mut row) = self.current(id, at)? else { return Ok(Err(DecideError::NotFound)) };
        match ballot::admit(&row.shown, operator, request.verdict) {
            Err(Refusal::SelfApproval) => return Ok(Err(DecideError::SelfApproval)),
            Err(Refusal::NotAnApprover) => return Ok(Err(DecideError::NotAnApprover)),
            Ok(()) => {}
        }
        if row.shown.state != HoldState::Pending {
            return Ok(Err(DecideError::AlreadyDecided(Box::new(row.hold()))));
        }
        if ballot::cast(&mut row.shown, operator, request, at) == Cast::Repeated {
            return Ok(Ok(row.hold()));
        }
        self.post(&row, &records::decided(&row.record, &row.shown, operator, request))?;
        self.save(row).map(Ok)
    }

    /// What the first request under this key was answered; text and values are shown while the hold is open.
    fn answered(
        &self,
        operator: &Operator,
        once: &Once,
        at: Timestamp,
    ) -> Result<Option<Result<Hold, DecideError>>, StoreError> {
        let Some((request, mut hold)) = rows::answer(self.tx, (&operator.name, &once.key), at)? else {
            return Ok(None);
        };
        if request != once.request {
            return Ok(Some(Err(DecideError::KeyReused)));
        }
        if let Some(secret) = self.find(&hold.id)?.and_then(|row| row.secret) {
            rows::reveal(&mut hold, &secret);
        }
        Ok(Some(Ok(hold)))
    }

    /// One waiting run goes away; who waits then is written to the row, which is not saved yet.
    fn left(&mut self, id: &HoldId, run: StatementId, at: Timestamp) -> Result<Result<Row, StepError>, StoreError> {
        rows::remove_waiter(self.tx, id, run)?;
        let Some(mut row) = self.current(id, at)? else { return Ok(Err(StepError::NotFound)) };
        if !row.shown.state.is_open() {
            return Ok(Err(StepError::NotNow(Box::new(row.hold()))));
        }
        if rows::waiters(self.tx, id)?.is_empty() {
            row.shown.waiting = Waiting::Ticket;
            row.shown.holding_locks_since = None;
        }
        Ok(Ok(row))
    }

    fn release(
        &mut self,
        id: &HoldId,
        release: &Release,
        at: Timestamp,
    ) -> Result<Result<Hold, ReleaseError>, StoreError> {
        let Some(mut row) = self.current(id, at)? else { return Ok(Err(ReleaseError::NotFound)) };
        if row.shown.state != HoldState::Approved {
            return Ok(Err(ReleaseError::NotApproved(Box::new(row.hold()))));
        }
        if row.shown.action_hash != release.action_hash {
            let void = self.lapse(row, HoldState::Void, "what the approval was bound to has changed")?;
            return Ok(Err(ReleaseError::Changed(Box::new(void))));
        }
        row.shown.state = HoldState::Released;
        row.record = release.record.clone();
        self.post(&row, &records::released(&row.record, &row.shown))?;
        let full = row.hold();
        let saved = self.save(row)?;
        // The run that spends it gets the text once more; on disk it is gone.
        Ok(Ok(Hold { statement: full.statement, parameters: full.parameters, ..saved }))
    }

    fn spend(&mut self, id: &HoldId, spend: &Spend, at: Timestamp) -> Result<Result<Hold, ReleaseError>, StoreError> {
        let Some(mut row) = self.current(id, at)? else { return Ok(Err(ReleaseError::NotFound)) };
        let approved = row.shown.state == HoldState::Approved;
        let next = row.shown.bundle.as_mut().filter(|_| approved);
        let next = next.and_then(|bundle| bundle.covered(&spend.digests).map(|places| (bundle, places)));
        let Some((bundle, places)) = next else { return Ok(Err(ReleaseError::NotApproved(Box::new(row.hold())))) };
        if bundle.basis != spend.basis {
            let void = self.lapse(row, HoldState::Void, "a definition changed that none of its statements changed")?;
            return Ok(Err(ReleaseError::Changed(Box::new(void))));
        }
        bundle.release(places);
        row.shown.state = HoldState::Released;
        row.record = spend.record.clone();
        self.post(&row, &records::released(&row.record, &row.shown))?;
        self.save(row).map(Ok)
    }

    fn recover(&mut self, at: Timestamp) -> Result<Recovered, StoreError> {
        let mut recovered = Recovered::default();
        for id in rows::in_states(self.tx, &[HoldState::Released])? {
            let Some(mut row) = self.find(&id)? else { continue };
            row.end(HoldEnd::Unknown);
            self.post(&row, &records::orphaned(&row.record, &row.shown, Outcome::Unknown))?;
            self.save(row)?;
            recovered.unknown.push(id);
        }
        for id in rows::in_states(self.tx, &[HoldState::Pending, HoldState::Approved])? {
            let Some(mut row) = self.current(&id, at)? else { continue };
            for run in rows::waiters(self.tx, &id)? {
                self.post(&row, &records::orphaned(&run, &row.shown, Outcome::Withdrawn))?;
                rows::remove_waiter(self.tx, &id, run.id)?;
            }
            if row.shown.waiting == Waiting::Connection && row.shown.state.is_open() {
                row.shown.waiting = Waiting::Ticket;
                row.shown.holding_locks_since = None;
                self.save(row)?;
                recovered.tickets.push(id);
            }
        }
        Ok(recovered)
    }

    /// Ends a hold without a decision or a run.
    fn lapse(&mut self, mut row: Row, state: HoldState, why: &str) -> Result<Hold, StoreError> {
        row.shown.state = state;
        let outcome = if state == HoldState::Expired { Outcome::Expired } else { Outcome::Withdrawn };
        self.post(&row, &records::lapsed(&row.record, &row.shown, outcome, why))?;
        self.save(row)
    }

    fn post(&self, row: &Row, record: &crate::lineage::StatementRecord) -> Result<(), StoreError> {
        rows::outbox_add(self.tx, &row.shown.id, record)
    }

    /// The compare-and-set: the row changes only where it is still as it was read.
    fn save(&mut self, mut row: Row) -> Result<Hold, StoreError> {
        if !row.shown.state.is_open() {
            row.shown.waiting = Waiting::None;
            // While one statement of a bundle runs, the texts of the others are still to be shown.
            let runs_on =
                row.shown.state == HoldState::Released && row.shown.bundle.as_ref().is_some_and(Bundle::has_more);
            if !runs_on {
                row.secret = None;
                if let Some(bundle) = &mut row.shown.bundle {
                    bundle.close();
                }
            }
        }
        rows::update(self.tx, &row)?;
        self.changes.push(row.change());
        Ok(row.hold())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.to_string())
    }
}
