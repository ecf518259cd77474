//! The handle by which sessions and operators reach the store: a bounded queue to one thread that owns it.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot};

use super::board::Board;
use super::{
    Before, Bounds, Counts, DecideError, DecisionRequest, Hold, HoldChange, HoldEnd, HoldFilter, HoldWatch, NewHold,
    Opened, Operator, OutboxRow, Page, Recovered, Release, ReleaseError, Spend, SqliteStore, StepError, Store,
    StoreError,
};
use crate::clock::{Clock, Timestamp};
use crate::ids::{HoldId, StatementId};

/// Operations that may wait for the store's thread; whoever comes later waits in line.
const QUEUE_MAX: usize = 256;

/// Where the store lies and how much it may carry.
#[derive(Clone, Debug)]
pub struct ApprovalsConfig {
    /// An existing directory, of this process alone.
    pub dir: PathBuf,
    /// The bounds.
    pub bounds: Bounds,
    /// How long a release waits for the log before it fails closed.
    pub settle_wait: Duration,
}

impl ApprovalsConfig {
    /// The usual bounds on a directory.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, bounds: Bounds::default(), settle_wait: Duration::from_secs(10) }
    }
}

/// Why a release must not go on to the backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// The log did not take the records of the hold.
    #[error("the log cannot be written: {0}")]
    Log(String),
    /// The log did not answer in time.
    #[error("the log did not answer in {} s", .0.as_secs())]
    Late(Duration),
    /// The store's own fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The hold store. Clones share one store; it closes when the last of them is gone.
///
/// An operation that was sent runs to its end even if its future is dropped: a session that drops a running
/// [`Approvals::release`] leaves a released hold behind, and owes it a [`Approvals::finish`].
#[derive(Clone, Debug)]
pub struct Approvals {
    queue: mpsc::Sender<Job>,
    board: Arc<Board>,
    settle_wait: Duration,
}

/// Runs on the store's thread, at the time that it is given.
type Work = Box<dyn FnOnce(&mut dyn Store, Timestamp) + Send>;

enum Job {
    Run(Work),
    Close(oneshot::Sender<()>),
}

impl Approvals {
    /// Opens the embedded store and recovers what an earlier process left. Blocks for the time of that.
    ///
    /// # Errors
    /// A store that cannot be opened, or that another process holds.
    pub fn start(config: &ApprovalsConfig, clock: Clock) -> Result<(Self, Recovered), StoreError> {
        let mut store = SqliteStore::open(&config.dir, config.bounds)?;
        let recovered = store.recover(clock.now())?;
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let board = Board::new();
        board.outbox.notify_one();
        let shared = Arc::clone(&board);
        thread::Builder::new()
            .name(format!("{}-store", crate::ids::NAME))
            .spawn(move || serve(store, jobs, &clock, &shared))
            .map_err(|error| StoreError::Storage(error.to_string()))?;
        Ok((Self { queue, board, settle_wait: config.settle_wait }, recovered))
    }

    /// Ends the store's thread after everything that was sent before; later operations get [`StoreError::Closed`].
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Job::Close(done)).await.is_ok() {
            // An error means that the thread is gone already.
            let _ = closed.await;
        }
    }

    /// Parks a statement, or joins the open hold of the same action hash, principal and database: one that is pending,
    /// or approved and not spent. `new.record.id` is the run that waits from now on.
    ///
    /// What waits in the middle of its own stream (`rows_sent`) or transaction (`holding_locks_since`) is never joined;
    /// what depends on its session in another way must carry the session in its action hash.
    ///
    /// # Errors
    /// [`StoreError::Full`] at a bound; [`StoreError::Storage`].
    pub async fn open(&self, new: NewHold) -> Result<Opened, StoreError> {
        self.ask(move |store, at| store.open(&new, at)).await?
    }

    /// One hold: in full while open, masked afterwards.
    ///
    /// # Errors
    /// [`StoreError::Storage`], [`StoreError::Unsealable`].
    pub async fn get(&self, id: &HoldId) -> Result<Option<Hold>, StoreError> {
        let id = id.clone();
        self.ask(move |store, _| store.hold(&id)).await?
    }

    /// A page of holds, the newest first.
    ///
    /// # Errors
    /// As [`Approvals::get`].
    pub async fn list(&self, filter: HoldFilter) -> Result<Page, StoreError> {
        self.ask(move |store, _| store.list(&filter)).await?
    }

    /// Counts a person's answer; the hold as it stands after it (still pending where the quorum asks for more).
    ///
    /// # Errors
    /// Why the answer does not count.
    pub async fn decide(
        &self,
        id: &HoldId,
        operator: &Operator,
        request: DecisionRequest,
    ) -> Result<Hold, DecideError> {
        let (id, operator) = (id.clone(), operator.clone());
        self.ask(move |store, at| store.decide(&id, &operator, &request, at)).await?
    }

    /// The run goes away and wants nothing any more: a pending hold on which no other run waits is withdrawn; an
    /// approval that came first stays, as a ticket.
    ///
    /// # Errors
    /// [`StepError::NotNow`] with the outcome that came first.
    pub async fn withdraw(&self, id: &HoldId, run: StatementId, why: &str) -> Result<Hold, StepError> {
        let (id, why) = (id.clone(), why.to_owned());
        self.ask(move |store, at| store.withdraw(&id, run, &why, at)).await?
    }

    /// The run goes away; the hold stays open as a ticket that the same action joins.
    ///
    /// # Errors
    /// [`StepError::NotNow`] with the outcome that came first.
    pub async fn ticket(&self, id: &HoldId, run: StatementId) -> Result<Hold, StepError> {
        let id = id.clone();
        self.ask(move |store, at| store.ticket(&id, run, at)).await?
    }

    /// Ends what is undecided or unspent after its time, at most `limit` holds; how many it were.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    pub async fn expire_due(&self, limit: u32) -> Result<usize, StoreError> {
        self.ask(move |store, at| store.expire_due(limit, at)).await?
    }

    /// Spends an approval, durably, before the first byte goes to the backend. [`Approvals::settled`] must follow.
    ///
    /// The hold that comes back carries the full text and values, as approved.
    ///
    /// # Errors
    /// Why it may not run; another `action_hash` than the approved one voids the approval.
    pub async fn release(&self, id: &HoldId, release: Release) -> Result<Hold, ReleaseError> {
        let id = id.clone();
        self.ask(move |store, at| store.release(&id, &release, at)).await?
    }

    /// What became of a released statement.
    ///
    /// # Errors
    /// [`StepError::NotNow`] where it was not released, or is finished already.
    pub async fn finish(&self, id: &HoldId, end: HoldEnd) -> Result<Hold, StepError> {
        let id = id.clone();
        self.ask(move |store, at| store.finish(&id, end, at)).await?
    }

    /// What the approval was bound to has changed: it is void.
    ///
    /// # Errors
    /// [`StepError::NotNow`] where the hold is not approved.
    pub async fn void(&self, id: &HoldId, why: &str) -> Result<Hold, StepError> {
        let (id, why) = (id.clone(), why.to_owned());
        self.ask(move |store, at| store.void(&id, &why, at)).await?
    }

    /// The approved bundle whose next statement has this digest, of that principal in that database.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    pub async fn covering(&self, principal: &str, database: &str, digest: &str) -> Result<Option<Hold>, StoreError> {
        let (principal, database, digest) = (principal.to_owned(), database.to_owned(), digest.to_owned());
        self.ask(move |store, at| store.covering(&principal, &database, &digest, at)).await?
    }

    /// Spends the next statement of a bundle, durably; [`Approvals::settled`] must follow.
    ///
    /// # Errors
    /// Why it may not run; another basis voids the bundle.
    pub async fn spend(&self, id: &HoldId, spend: Spend) -> Result<Hold, ReleaseError> {
        let id = id.clone();
        self.ask(move |store, at| store.spend(&id, &spend, at)).await?
    }

    /// What the rest of a bundle is bound to, after one of its statements ran.
    ///
    /// # Errors
    /// [`StepError::NotNow`] where it is not an approved bundle.
    pub async fn rebase(&self, id: &HoldId, basis: String) -> Result<Hold, StepError> {
        let id = id.clone();
        self.ask(move |store, at| store.rebase(&id, &basis, at)).await?
    }

    /// What became of the holds of a principal.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    pub async fn before(&self, principal: &str) -> Result<Before, StoreError> {
        let principal = principal.to_owned();
        self.ask(move |store, _| store.before(&principal)).await?
    }

    /// Follows one hold from where it stands now; `None` where there is none.
    ///
    /// # Errors
    /// As [`Approvals::get`].
    pub async fn subscribe(&self, id: &HoldId) -> Result<Option<HoldWatch>, StoreError> {
        let (id, board) = (id.clone(), Arc::clone(&self.board));
        // On the store's thread, so that no step falls between the look and the registration.
        self.ask(move |store, _| Ok(store.hold(&id)?.map(|hold| board.watch(&id, hold.state)))).await?
    }

    /// Every committed step from now on; a slow reader loses the oldest and is told so.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<HoldChange> {
        self.board.changes()
    }

    /// How many open holds there are.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        self.ask(|store, _| store.counts()).await?
    }

    /// Waits until the log has every record of the hold on disk. Nothing of a released statement is forwarded before.
    ///
    /// # Errors
    /// The log failed or is late: the statement must not be forwarded (58030).
    pub async fn settled(&self, id: &HoldId) -> Result<(), SettleError> {
        let wait = self.settle_wait;
        tokio::time::timeout(wait, self.acknowledged(id)).await.unwrap_or(Err(SettleError::Late(wait)))
    }

    async fn acknowledged(&self, id: &HoldId) -> Result<(), SettleError> {
        let mut log = self.board.log.subscribe();
        loop {
            // Read before the store is asked, so that an acknowledgement in between is not slept through.
            let failure = log.borrow_and_update().failure.clone();
            let id = id.clone();
            if !self.ask(move |store, _| store.outbox_waits(&id)).await?? {
                return Ok(());
            }
            if let Some(failure) = failure {
                return Err(SettleError::Log(failure));
            }
            log.changed().await.map_err(|_| StoreError::Closed)?;
        }
    }

    /// Returns when there may be records for the log. For the one pump. Cancel-safe.
    pub async fn outbox_ready(&self) {
        self.board.outbox.notified().await;
    }

    /// The oldest records that the log has not acknowledged, in order.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    pub async fn outbox_next(&self, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        self.ask(move |store, _| store.outbox_next(limit)).await?
    }

    /// The log has these on disk: whoever waits in [`Approvals::settled`] looks again.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    pub async fn outbox_ack(&self, rows: Vec<i64>) -> Result<(), StoreError> {
        self.ask(move |store, _| store.outbox_ack(&rows)).await??;
        self.board.log.send_modify(|log| {
            log.acknowledged = log.acknowledged.wrapping_add(1);
            log.failure = None;
        });
        Ok(())
    }

    /// The log refused: whoever waits in [`Approvals::settled`] fails, until an acknowledgement comes again.
    pub fn outbox_failed(&self, why: &str) {
        self.board.log.send_modify(|log| log.failure = Some(why.to_owned()));
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Store, Timestamp) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = Job::Run(Box::new(move |store, at| {
            // The asker may be gone: the step stands all the same.
            let _ = answer.send(work(store, at));
        }));
        self.queue.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)
    }
}

/// The store's thread.
fn serve(mut store: SqliteStore, mut jobs: mpsc::Receiver<Job>, clock: &Clock, board: &Board) {
    while let Some(job) = jobs.blocking_recv() {
        match job {
            Job::Run(work) => {
                work(&mut store, clock.now());
                board.publish(store.take_changes());
            }
            Job::Close(done) => {
                drop(store);
                // Whoever asked may be gone.
                let _ = done.send(());
                return;
            }
        }
    }
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;
