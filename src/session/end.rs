//! How sessions end.

use std::collections::VecDeque;
use std::task::Poll;
use std::time::Duration;

use super::Session;
use super::bundle::ROLLED_BACK;
use super::hold::stored;
use super::phase::Status;
use super::relay::End;
use crate::analysis::{Kind, SessionEffect, StatementFacts};
use crate::approvals::HoldEnd;
use crate::catalog::Remembered;
use crate::lineage::Line;
use crate::log::Log;
use crate::report::Report;
use crate::sqlstate;
use crate::wire::build::{self, Severity};

/// How often, and how often at most, the records of an ended session are offered to a broken log: for an hour.
const LATE_PAUSE: Duration = Duration::from_secs(1);
const LATE_TRIES: u32 = 3600;

/// Writes what a broken log could not take, once it is repaired.
async fn hand_in_late(log: Log, mut late: VecDeque<Line>) {
    for _ in 0..LATE_TRIES {
        while let Some(line) = late.pop_front() {
            if let Err(error) = log.try_append(line) {
                late.push_back(error.into_line());
                break;
            }
        }
        if late.is_empty() {
            return;
        }
        tokio::time::sleep(LATE_PAUSE).await;
    }
    tracing::error!(records = late.len(), "closing records of an ended session were not written");
}

/// Who sees what a statement defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeenBy {
    /// Every session, once it is committed.
    All,
    /// This session: temporary relations.
    Session,
}

impl SeenBy {
    pub(super) fn of(facts: &StatementFacts) -> Self {
        if facts.session_local && facts.kind() < Kind::Call { Self::Session } else { Self::All }
    }
}

/// Also where the session's task panics or is dropped.
impl Drop for Session {
    fn drop(&mut self) {
        self.close_records();
    }
}

impl Session {
    /// Whether an operator or a drain ends the session now: killed at once, drained as soon as nothing of it is open.
    pub(super) fn must_end(&self) -> bool {
        let idle = self.phase.is_quiet() && self.phase.status == Status::Idle && !self.phase.in_batch;
        // A stream of replication has no end of its own.
        self.killed.is_some() || (self.draining && (idle || self.phase.copy_both))
    }

    /// What the client is told where [`Self::must_end`].
    pub(super) fn reason_to_end(&self) -> Option<Report> {
        if !self.must_end() {
            return None;
        }
        let report = match &self.killed {
            Some(by) => Report::new(sqlstate::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
                .detail(format!("The session was ended by operator {by}.")),
            None => Report::new(sqlstate::ADMIN_SHUTDOWN, "terminating connection because the proxy is shutting down")
                .hint("Connect again in a moment."),
        };
        Some(report)
    }

    /// Tells the client why, as far as it still listens, and ends the session.
    pub(super) async fn end_with(&mut self, report: &Report) -> End {
        build::report(&mut self.client.output, Severity::Fatal, report);
        self.watch.ended = true;
        let flushed = self
            .pump_raw(|session, _| if session.client.output.is_empty() { Poll::Ready(()) } else { Poll::Pending })
            .await;
        drop(flushed);
        End::Ours
    }

    /// The same where the server connection must be closed before anything more is read from it.
    pub(super) async fn end_fatally(&mut self, report: &Report) -> End {
        self.server.abort();
        self.end_with(report).await
    }

    /// What is left to do when the session is over: runs are closed, approvals that were spent get their end.
    pub(super) async fn wind_up(&mut self, end: &End) {
        // A client that has said goodbye is told nothing more, as Postgres has it.
        if *end == End::Server && !self.watch.fatal_seen && !self.client.eof {
            let report = Report::new(sqlstate::CONNECTION_FAILURE, "the upstream closed the connection");
            self.end_with(&report).await;
        }
        self.close_lost_runs();
        self.abandon_expected();
        let ended = std::mem::take(&mut self.scribe.ended_holds);
        let left = std::mem::take(&mut self.released).into_iter().map(|id| {
            let end = ended.iter().find(|(hold, _)| *hold == id).map_or(HoldEnd::Unknown, |(_, end)| *end);
            (id, end)
        });
        for (id, end) in left.chain(std::mem::take(&mut self.unfinished)) {
            if let Err(error) = self.services.approvals.finish(&id, end).await {
                tracing::error!(%error, hold = %id, "the end of a hold was not stored");
            }
        }
        // With the connection its open transaction was rolled back.
        self.undone.append(&mut self.spent_here);
        for id in std::mem::take(&mut self.undone) {
            stored(&id, "that the approval is void", self.services.approvals.void(&id, ROLLED_BACK).await);
        }
        self.close_records();
    }

    /// Nothing that was judged stays without a closing record: what the log cannot take now waits for it without the
    /// session. What was opened in the log and cannot even wait, because the process ends, is closed at the next start.
    fn close_records(&mut self) {
        self.close_lost_runs();
        let late = self.scribe.end();
        if late.is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(hand_in_late(self.services.log.clone(), late));
        } else {
            tracing::error!(records = late.len(), "closing records of a session were not written");
        }
    }

    /// The server is out of any transaction block.
    pub(super) fn end_transaction(&mut self) {
        self.transaction_since = None;
        self.forget_writes();
        self.spent_here.clear();
        self.names.end_transaction();
        self.settle_expected();
        self.settings.transaction_ended();
        if std::mem::take(&mut self.own_changed) {
            // A temporary relation may have gone with its transaction.
            self.snapshot = None;
        }
        if self.changed {
            // Now other sessions see it, or nobody does.
            self.changed = false;
            self.database.mark_stale();
            self.snapshot = None;
        }
    }

    /// The server has said whether the session has temporary relations, however they came about.
    pub(super) fn note_own_relations(&mut self, has_some: bool) {
        if has_some != self.private && (has_some || self.phase.status == Status::Idle) {
            self.private = has_some;
            self.snapshot = None;
        }
    }

    /// A transaction ended or went back to a savepoint, whatever status the server reports next.
    pub(super) fn rewind(&mut self) {
        self.settings.rolled_back();
        if self.changed || self.own_changed {
            self.snapshot = None;
        }
    }

    /// DDL, or something that could have been: the catalog is read again before it is relied upon.
    pub(super) fn note_catalog_change(&mut self, effect: &SessionEffect, seen_by: SeenBy) {
        self.own_changed |= matches!(effect, SessionEffect::CatalogChange);
        match effect {
            SessionEffect::CatalogChange if seen_by == SeenBy::Session => {
                self.has_own = true;
                self.private = true;
                self.snapshot = None;
            }
            SessionEffect::CatalogChange => {
                self.changed = true;
                self.has_own = true;
                self.snapshot = None;
            }
            SessionEffect::DiscardAll => {
                self.snapshot = None;
                self.private = false;
                self.has_own = false;
                self.own = Remembered::default();
            }
            _ => {}
        }
    }
}
