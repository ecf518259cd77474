//! Writes down the steps of holds as they happen, and at a start what happened meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::EventKind;
use super::fault::Fault;
use super::store::{Heard, Noted, Outbox, Step};
use super::worker::Target;
use crate::approvals::{Approvals, HoldChange, HoldFilter, HoldState};
use crate::clock::Clock;
use crate::ids::HoldId;
use crate::telemetry;

/// Holds that are looked at together.
const PAGE: u32 = 200;
/// After steps were lost or the outbox was full, everything is looked at again so soon.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Between the hold store and the outbox.
pub(super) struct Follower {
    pub(super) approvals: Approvals,
    pub(super) outbox: Outbox,
    pub(super) targets: Vec<Arc<dyn Target>>,
    pub(super) clock: Clock,
    pub(super) bell: Arc<Notify>,
}

impl Follower {
    /// Runs until stopped.
    pub(super) async fn run(self, mut changes: broadcast::Receiver<HoldChange>, stop: CancellationToken) {
        let mut behind = true;
        loop {
            if std::mem::take(&mut behind) {
                behind = self.catch_up().await.map_err(|error| self.complain(&error)).unwrap_or(true);
            }
            // Cancel-safe: receiving from a broadcast loses nothing when it is dropped, the others only wait.
            let change = tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_AGAIN), if behind => continue,
                change = changes.recv() => change,
            };
            behind |= match change {
                Ok(change) => {
                    let noted = self.note(&change.id, change.state, Heard::Now).await;
                    noted.map_err(|error| self.complain(&error)).map_or(true, |noted| noted == Noted::Full)
                }
                Err(RecvError::Lagged(_)) => true,
                Err(RecvError::Closed) => return,
            };
        }
    }

    /// Compares every open hold, and every one that was open when it was looked at last, with what was written down;
    /// whether something is still missing.
    async fn catch_up(&self) -> Result<bool, Fault> {
        let mut missing = !self.outbox.is_new().await? && self.catch_up_history().await?;
        for id in self.outbox.told().await? {
            match self.approvals.get(&id).await? {
                Some(hold) => missing |= self.note(&id, hold.state, Heard::Now).await? == Noted::Full,
                None => self.outbox.forget(&id).await?,
            }
        }
        let states = vec![HoldState::Pending, HoldState::Approved, HoldState::Released];
        let mut filter = HoldFilter { states, before: None, limit: PAGE, principal: None };
        loop {
            let page = self.approvals.list(filter.clone()).await?;
            for hold in &page.holds {
                missing |= self.note(&hold.id, hold.state, Heard::Now).await? == Noted::Full;
            }
            filter.before = page.next;
            if filter.before.is_none() {
                return Ok(missing);
            }
        }
    }

    /// What came and went while nobody followed: from the newest back to a page of which everything is known.
    async fn catch_up_history(&self) -> Result<bool, Fault> {
        let mut filter = HoldFilter { limit: PAGE, ..HoldFilter::default() };
        loop {
            let page = self.approvals.list(filter.clone()).await?;
            let mut news = false;
            for hold in &page.holds {
                match self.note(&hold.id, hold.state, Heard::Afterwards).await? {
                    Noted::New => news = true,
                    Noted::Known => {}
                    Noted::Full => return Ok(true),
                }
            }
            filter.before = page.next.filter(|_| news);
            if filter.before.is_none() {
                return Ok(false);
            }
        }
    }

    async fn note(&self, hold: &HoldId, state: HoldState, heard: Heard) -> Result<Noted, Fault> {
        let event = EventKind::of(state);
        let targets = self.targets.iter().filter(|target| target.wants(event)).map(|target| target.name()).collect();
        let noted = self.outbox.note(Step { hold, state, at: self.clock.now(), targets, heard }).await?;
        match noted {
            Noted::New => self.bell.notify_waiters(),
            Noted::Known => {}
            Noted::Full => {
                telemetry::notice("all", "no room");
                tracing::error!(%hold, "the outbox of notices is full: nobody is told of this hold yet");
            }
        }
        let (waiting, dead) = self.outbox.counts().await?;
        telemetry::notices(waiting, dead);
        Ok(noted)
    }

    fn complain(&self, error: &Fault) {
        tracing::error!(%error, targets = self.targets.len(), "steps of holds could not be written down for notices");
    }
}
