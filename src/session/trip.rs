//! A stream that crossed its limit: it pauses, a person decides, and it goes on or ends.
//!
//! A pause cannot undo, and a cancel does not stop what Postgres has already materialised. So only a statement that
//! changes nothing is cancelled and drained. What writes is swallowed to its end and rolled back by an error, where a
//! transaction is open or its Sync was kept back; otherwise the upstream connection is closed before anything is
//! drained, which rolls back what is not committed.

use std::task::Poll;

use bytes::Bytes;

use super::Session;
use super::card::Paused;
use super::clear::{Cleared, Form, log_failed, sentence};
use super::hold::Waited;
use super::phase::{Request, Status, Whose};
use super::refuse::{Instead, Refusal};
use super::relay::End;
use super::run::Run;
use super::watch::Cutting;
use crate::approvals::{HoldEnd, HoldState, Release};
use crate::lineage::Event;
use crate::policy::{OnLimit, Verdict};
use crate::report::Report;
use crate::sqlstate;
use crate::wire::build;

/// Why a stream stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trip {
    /// The next row would cross a limit.
    Limit,
    /// Postgres named a tagged column that the analysis had not predicted.
    Unforeseen,
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WayOut {
    /// It changes nothing: the backend is cancelled.
    Cancel,
    /// What it did is rolled back by an error after it.
    Drain,
    /// Only the end of the connection can roll it back.
    Close,
}

impl Session {
    /// Settles the stream that tripped: afterwards it flows again, or has ended for the client.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn settle_trip(&mut self) -> Result<(), End> {
        let Some(trip) = self.watch.tripped else { return Ok(()) };
        self.watch.paused = true;
        let Some(mut run) = self.phase.front().and_then(|front| front.request.run_mut()).cloned() else {
            self.resume();
            return Ok(());
        };
        if trip == Trip::Unforeseen {
            let agrees = self.look_behind(&run).await?;
            let Some(again) = self.phase.front().and_then(|front| front.request.run_mut()).cloned() else {
                self.resume();
                return Ok(());
            };
            run = again;
            if agrees && run.allows_current() {
                if let Cleared::Refused(report) = self.write_down(&run).await? {
                    return self.cut(&run, report).await;
                }
                self.resume();
                return Ok(());
            }
        }
        match Box::pin(self.ask_about(&run, trip)).await? {
            None => {
                if let Some(part) = self.phase.front().and_then(|front| front.request.run_mut()).and_then(Run::part_mut)
                {
                    part.meter.lift();
                }
                self.resume();
                Ok(())
            }
            Some(report) => self.cut(&run, report).await,
        }
    }

    fn resume(&mut self) {
        self.watch.tripped = None;
        self.watch.paused = false;
        self.on_server_input();
    }

    /// Asks a person whether the stream may go on. `None`: it may.
    async fn ask_about(&mut self, run: &Run, trip: Trip) -> Result<Option<Report>, End> {
        let Some(part) = run.parts.get(run.current.min(run.parts.len().saturating_sub(1))) else { return Ok(None) };
        let sent = part.meter.rows;
        if !self.enforces() {
            return Ok(None);
        }
        if trip == Trip::Unforeseen && part.decision.verdict == Verdict::Deny {
            return Ok(Some(self.denied_by_rule(run)));
        }
        if trip == Trip::Limit && part.decision.limits.on_limit == OnLimit::Deny {
            return Ok(Some(limit_report(sent, &part.decision.rule)));
        }
        let paused = Paused { rows_sent: sent, trip };
        let new = match self.card(run, &Form::Execute(Bytes::new()), Some(paused)) {
            Ok(new) => new,
            Err(report) => return Ok(Some(report)),
        };
        Box::pin(self.wait_out(run, new, sent)).await
    }

    async fn wait_out(&mut self, run: &Run, new: crate::approvals::NewHold, sent: u64) -> Result<Option<Report>, End> {
        let approvals = self.services.approvals.clone();
        let (hold, watch) = match Box::pin(self.open_hold(new)).await? {
            Ok(opened) => opened,
            Err(report) => return Ok(Some(report)),
        };
        let patience = self.patience_of_stream(run.since);
        let waited = match self.wait_for_decision(watch, patience).await {
            Ok(waited) => waited,
            Err(end) => {
                // The run itself is still in the queue, and is closed from there.
                self.give_up(run, &hold).await;
                return Err(end);
            }
        };
        match waited {
            Waited::Decided(HoldState::Approved) => {
                let Some(record) = self.scribe.record(run, run.current, Event::Released) else {
                    return Ok(Some(log_failed("the stream has no record")));
                };
                let release = Release { action_hash: hold.action_hash.clone(), record };
                let id = hold.id.clone();
                let released = self.wait_for(async move { approvals.release(&id, release).await }).await?;
                if let Err(error) = released {
                    return Ok(Some(limit_report(sent, &hold.rule).detail(sentence(&error.to_string()))));
                }
                self.released.push(hold.id.clone());
                if let Some(report) = self.settle_log(&hold.id).await? {
                    self.finish(&hold.id, HoldEnd::Failed).await?;
                    return Ok(Some(report));
                }
                self.mark_front(&hold.id);
                Ok(None)
            }
            Waited::Decided(HoldState::Denied) => {
                let mut report = self.denied_by_person(&hold.id).await?;
                report.sqlstate = sqlstate::CONFIGURATION_LIMIT_EXCEEDED;
                self.mark_front(&hold.id);
                Ok(Some(report))
            }
            waited => {
                let why = match waited {
                    Waited::Cancelled => "the client cancelled",
                    Waited::Gone | Waited::Ended => "the connection ended",
                    Waited::Decided(_) | Waited::Patience => "the wait of a paused stream is bounded",
                };
                self.withdraw(run, &hold, why).await?;
                if matches!(waited, Waited::Gone) {
                    return Err(End::Client);
                }
                let mut report =
                    limit_report(sent, &hold.rule).detail(format!("Hold {} was withdrawn: {why}.", hold.id));
                if matches!(waited, Waited::Cancelled) {
                    report = Report { sqlstate: sqlstate::QUERY_CANCELED, ..report };
                }
                Ok(Some(report))
            }
        }
    }

    fn mark_front(&mut self, id: &crate::ids::HoldId) {
        if let Some(part) = self.phase.front().and_then(|front| front.request.run_mut()).and_then(Run::part_mut) {
            part.hold = Some(id.clone());
        }
    }

    /// Ends the stream in the way that leaves server and client with one opinion of what happened.
    async fn cut(&mut self, run: &Run, report: Report) -> Result<(), End> {
        let in_query = matches!(self.phase.front().map(|front| &front.request), Some(Request::Query(_)));
        let sync_sent = self.phase.behind_front().next().is_some();
        match self.way_out(run) {
            WayOut::Cancel => {
                let (upstream, pid, key) = self.backend.clone();
                let cancelled = self.wait_for(async move { upstream.cancel(pid, &key).await }).await?;
                if cancelled.is_err() {
                    self.close_front(&report);
                    return Err(self.end_fatally(&report).await);
                }
            }
            // Its rows are swallowed, and the error that follows takes back what it did.
            WayOut::Drain => {}
            WayOut::Close => {
                self.close_front(&report);
                let report = report.hint(
                    "The connection was closed to roll the statement back; what the server had already committed by itself stays.",
                );
                return Err(self.end_fatally(&report).await);
            }
        }
        self.watch.cutting = Some(Cutting { report: report.clone(), too_late: false, done: false });
        self.resume();
        self.pump_raw(|session, _| match &session.watch.cutting {
            Some(cutting) if !cutting.done && (!cutting.too_late || !session.phase.is_quiet()) => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await?;
        let too_late = self.watch.cutting.take().is_some_and(|cutting| cutting.too_late);
        if too_late {
            self.refuse_afterwards(report, in_query, sync_sent);
        }
        Ok(())
    }

    /// How a stream can be ended without leaving behind what nobody approved.
    fn way_out(&mut self, run: &Run) -> WayOut {
        let single = run.parts.len() == 1;
        let pure = run.facts_of(run.current).is_some_and(|facts| facts.pure_read);
        let behind: Vec<bool> = self.phase.behind_front().map(|request| matches!(request, Request::Sync)).collect();
        let extended = matches!(self.phase.front().map(|front| &front.request), Some(Request::Execute(_)));
        if !single || behind.contains(&false) {
            WayOut::Close
        } else if pure {
            WayOut::Cancel
        } else if self.phase.status == Status::Transaction || (extended && behind.is_empty()) {
            // The transaction is open, or its Sync was kept back: an error rolls back.
            WayOut::Drain
        } else {
            WayOut::Close
        }
    }

    /// The statement had completed: an error in its place makes the server agree with what the client is told.
    fn refuse_afterwards(&mut self, report: Report, in_query: bool, sync_sent: bool) {
        let instead = self.channel.refuses_by(if in_query { Instead::Query } else { Instead::Execute });
        let refusal = Refusal::new(instead, report, None);
        refusal.write(&mut self.server.output);
        self.phase.forwarded(Request::Refusal(Box::new(refusal)), Whose::Client);
        if sync_sent {
            build::bare(&mut self.server.output, b'S');
            self.phase.forwarded(Request::Sync, Whose::Client);
        } else if !in_query {
            build::bare(&mut self.server.output, b'H');
            self.phase.flushed();
        }
    }

    fn close_front(&mut self, report: &Report) {
        if let Some(run) = self.phase.front().and_then(|front| front.request.run_mut()) {
            self.scribe.failed(run, crate::lineage::Outcome::Refused, report.sqlstate.as_str());
        }
    }
}

fn limit_report(rows: u64, rule: &str) -> Report {
    Report::new(
        sqlstate::CONFIGURATION_LIMIT_EXCEEDED,
        format!("result stopped after {rows} rows by the limit of rule \"{rule}\""),
    )
    .hint("Ask for fewer rows (LIMIT, a narrower WHERE), or ask an operator to approve the whole result.")
}
