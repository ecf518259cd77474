//! Who wants to hear of a hold's steps: the session that waits for one, and whoever shows them all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, broadcast, watch};

use super::{HoldState, Waiting};
use crate::ids::HoldId;

/// Steps that a slow reader of the stream may lag behind before it loses the oldest.
const CHANGES_MAX: usize = 1024;

/// One committed step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldChange {
    /// The hold.
    pub id: HoldId,
    /// Where it stands now.
    pub state: HoldState,
    /// Who waits now.
    pub waiting: Waiting,
}

/// How far the log has come with the outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogProgress {
    /// Moves with every acknowledgement, so that waiters look again.
    pub(super) acknowledged: u64,
    /// Why the last attempt failed; `None` while it works.
    pub(super) failure: Option<String>,
}

/// The meeting point of the store's thread and everybody who waits for it.
#[derive(Debug)]
pub(super) struct Board {
    watchers: Mutex<HashMap<HoldId, watch::Sender<HoldState>>>,
    changes: broadcast::Sender<HoldChange>,
    pub(super) outbox: Notify,
    pub(super) log: watch::Sender<LogProgress>,
}

impl Board {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            watchers: Mutex::default(),
            changes: broadcast::Sender::new(CHANGES_MAX),
            outbox: Notify::new(),
            log: watch::Sender::new(LogProgress::default()),
        })
    }

    /// Tells everybody of committed steps, in order.
    pub(super) fn publish(&self, changes: Vec<HoldChange>) {
        if changes.is_empty() {
            return;
        }
        self.outbox.notify_one();
        let mut watchers = self.watchers();
        for change in changes {
            if let Some(watcher) = watchers.get(&change.id) {
                watcher.send_replace(change.state);
            }
            if change.state.is_closed() {
                watchers.remove(&change.id);
            }
            // Nobody listens: not an error.
            let _ = self.changes.send(change);
        }
    }

    pub(super) fn watch(self: &Arc<Self>, id: &HoldId, state: HoldState) -> HoldWatch {
        let receiver = if state.is_closed() {
            watch::channel(state).1
        } else {
            self.watchers().entry(id.clone()).or_insert_with(|| watch::Sender::new(state)).subscribe()
        };
        HoldWatch { id: id.clone(), receiver, board: Arc::clone(self) }
    }

    pub(super) fn changes(&self) -> broadcast::Receiver<HoldChange> {
        self.changes.subscribe()
    }

    fn watchers(&self) -> MutexGuard<'_, HashMap<HoldId, watch::Sender<HoldState>>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows one hold; ends its own registration.
#[derive(Debug)]
pub struct HoldWatch {
    id: HoldId,
    receiver: watch::Receiver<HoldState>,
    board: Arc<Board>,
}

impl HoldWatch {
    /// Where the hold stands.
    #[must_use]
    pub fn state(&self) -> HoldState {
        *self.receiver.borrow()
    }

    /// Waits until the hold is no longer pending, and says what it became. Cancel-safe.
    ///
    /// Another run that joined the same hold may spend it first: a state beyond approved means that this one did not.
    pub async fn decided(&mut self) -> HoldState {
        // The sender goes with the hold's last step, which has then been seen.
        let seen = self.receiver.wait_for(|state| *state != HoldState::Pending).await.map(|state| *state);
        seen.unwrap_or_else(|_| self.state())
    }
}

impl Drop for HoldWatch {
    fn drop(&mut self) {
        let mut watchers = self.board.watchers();
        // This receiver still counts as one.
        if watchers.get(&self.id).is_some_and(|sender| sender.receiver_count() <= 1) {
            watchers.remove(&self.id);
        }
    }
}
