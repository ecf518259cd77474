//! A statement waits for a person on its live connection.
//!
//! The straight line: everything before it is answered; locks that Parse took are given back where that is possible; the
//! hold is on disk; the client is told; the session waits and still sees its client go away; what comes back is spent
//! once, and only if nothing that it was bound to has changed.

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use super::Session;
use super::action;
use super::clear::{Cleared, Form, log_failed, sentence};
use super::phase::{Request, Status, Whose};
use super::relay::End;
use super::run::Run;
use crate::approvals::{
    Hold, HoldEnd, HoldState, HoldWatch, NewHold, Opened, Release, ReleaseError, StepError, StoreError,
};
use crate::ids::HoldId;
use crate::lineage::{Event, Outcome};
use crate::policy::Alternatives;
use crate::report::Report;
use crate::sqlstate;
use crate::wire::build::{self, Severity};
use crate::wire::frame;

/// How a wait ended.
#[derive(Debug)]
pub(super) enum Waited {
    /// The hold is no longer pending.
    Decided(HoldState),
    /// The time on the live connection is over.
    Patience,
    /// The client cancelled.
    Cancelled,
    /// The client went away.
    Gone,
    /// The session is to end: drained or killed.
    Ended,
}

impl Session {
    /// Parks a run until a person decides.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn hold(&mut self, run: &mut Box<Run>, form: Form) -> Result<Cleared, End> {
        self.settle().await?;
        if self.phase.skipping {
            return Ok(Cleared::Skipped);
        }
        if self.is_failed_transaction() && !run.controls_transactions() {
            return Ok(Cleared::Go);
        }
        self.give_locks_back().await?;
        if self.holds_locks() && !self.services.hold.in_transaction {
            return Ok(Cleared::Refused(refused_in_transaction()));
        }
        let form = self.gather(run, form).await?;
        let mut new = match self.card(run, &form, None) {
            Ok(new) => new,
            Err(report) => return Ok(Cleared::Refused(report)),
        };
        new.hold.impact = Box::pin(self.impact(run)).await?;
        let (hold, watch) = match Box::pin(self.open_hold(new)).await? {
            Ok(opened) => opened,
            Err(report) => return Ok(Cleared::Refused(report)),
        };
        Self::mark(run, &hold.id);
        let patience = self.patience(&hold).await?;
        match self.wait_for_decision(watch, patience).await {
            Ok(waited) => Box::pin(self.conclude(run, &hold, &form, waited)).await,
            Err(end) => {
                self.give_up(run, &hold).await;
                self.scribe.withheld(run, Outcome::Withdrawn, sqlstate::CONNECTION_FAILURE.as_str());
                Err(end)
            }
        }
    }

    /// Opens a hold, on disk in the store and in the log, and tells the client.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn open_hold(&mut self, new: NewHold) -> Result<Result<(Hold, HoldWatch), Report>, End> {
        // From here on a cancel is for the hold, not for the backend.
        self.registration.holding(true);
        self.scribe.opening(&new.record);
        let run = new.record.id;
        let approvals = self.services.approvals.clone();
        let opened = match self.wait_for(async move { approvals.open(new).await }).await? {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(self.not_held(&store_failed(&error)))),
        };
        let hold = opened.hold().clone();
        self.registration.waits_for(&hold);
        if let Some(report) = self.settle_log(&hold.id).await? {
            // The client is told that nothing waits: then nothing may.
            let (approvals, id) = (self.services.approvals.clone(), hold.id.clone());
            drop(self.wait_for(async move { approvals.withdraw(&id, run, "the log cannot be written").await }).await?);
            return Ok(Err(self.not_held(&report)));
        }
        self.announce(&hold, if matches!(opened, Opened::Joined(_)) { Joined::Yes } else { Joined::No });
        let (approvals, id) = (self.services.approvals.clone(), hold.id.clone());
        match self.wait_for(async move { approvals.subscribe(&id).await }).await? {
            Ok(Some(watch)) => Ok(Ok((hold, watch))),
            Ok(None) => Ok(Err(self.not_held(&lapsed(&hold.id, "has closed already")))),
            Err(error) => Ok(Err(self.not_held(&store_failed(&error)))),
        }
    }

    fn not_held(&self, report: &Report) -> Report {
        self.registration.holding(false);
        report.clone()
    }

    pub(super) fn mark(run: &mut Run, id: &HoldId) {
        for part in &mut run.parts {
            part.hold = Some(id.clone());
        }
    }

    pub(super) fn unmark(run: &mut Run) {
        for part in &mut run.parts {
            part.hold = None;
        }
    }

    /// Parse took locks that would last until Sync. Where nothing has executed yet, outside of a transaction block, a
    /// Sync of our own gives them back.
    async fn give_locks_back(&mut self) -> Result<(), End> {
        if self.phase.status != Status::Idle || self.phase.executed || !self.phase.in_batch {
            return Ok(());
        }
        build::bare(&mut self.server.output, b'S');
        self.phase.forwarded(Request::Sync, Whose::Ours);
        self.settle().await
    }

    pub(super) fn holds_locks(&self) -> bool {
        self.phase.status != Status::Idle || self.phase.executed
    }

    /// Tells the client that it waits, for whom, and for how long.
    fn announce(&mut self, hold: &Hold, joined: Joined) {
        let what = if joined == Joined::Yes { "joined hold" } else { "held as" };
        let from = hold.approve.from.join(" or ");
        let report = Report::new(
            sqlstate::HOLD_PENDING,
            format!("{} {what} {} by rule \"{}\"", hold.command, hold.id, hold.rule),
        )
        .detail(format!("{} Waiting for {from} to decide.", sentence(&hold.reason)))
        .hint(format!("Keep the connection open; operators decide with: APPROVE '{0}' or DENY '{0}'.", hold.id));
        build::report(&mut self.client.output, Severity::Notice, &report);
    }

    /// Waits for a decision, with an open eye on the client. Client frames that arrive meanwhile stay where they are.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn wait_for_decision(&mut self, mut watch: HoldWatch, patience: Duration) -> Result<Waited, End> {
        let mut decided = std::pin::pin!(watch.decided());
        let mut sleep = std::pin::pin!(tokio::time::sleep(patience));
        let pumped = self
            .pump_raw(|session, cx| {
                if let Poll::Ready(state) = decided.as_mut().poll(cx) {
                    return Poll::Ready(Waited::Decided(state));
                }
                if std::mem::take(&mut session.cancel_requested) {
                    return Poll::Ready(Waited::Cancelled);
                }
                if session.must_end() {
                    return Poll::Ready(Waited::Ended);
                }
                if session.client_left() {
                    return Poll::Ready(Waited::Gone);
                }
                sleep.as_mut().poll(cx).map(|()| Waited::Patience)
            })
            .await;
        self.registration.holding(false);
        pumped
    }

    /// The session ended under a wait, by the server's own time-outs for instance: nobody waits any more.
    pub(super) async fn give_up(&self, run: &Run, hold: &Hold) {
        if let Some(statement) = run.deciding_id() {
            let step = self.services.approvals.withdraw(&hold.id, statement, "the connection ended").await;
            stored(&hold.id, "the withdrawal", step);
        }
    }

    /// Whether the client has said goodbye: end of file, or a Terminate somewhere in what waits.
    pub(super) fn client_left(&self) -> bool {
        let mut input: &[u8] = &self.client.input;
        while let Ok(Some(header)) = frame::frontend_header(input) {
            if header.tag == b'X' {
                return true;
            }
            match input.get(header.frame_len()..) {
                Some(rest) => input = rest,
                None => break,
            }
        }
        self.client.eof
    }

    async fn conclude(&mut self, run: &mut Box<Run>, hold: &Hold, form: &Form, waited: Waited) -> Result<Cleared, End> {
        match waited {
            Waited::Decided(HoldState::Approved) => self.release(run, hold, form).await,
            Waited::Decided(HoldState::Denied) => Ok(Cleared::Refused(self.denied_by_person(&hold.id).await?)),
            Waited::Decided(HoldState::Expired) => Ok(Cleared::Refused(lapsed(&hold.id, "expired undecided"))),
            Waited::Decided(state) => {
                Ok(Cleared::Refused(lapsed(&hold.id, &format!("is {} and cannot be spent here", state.as_str()))))
            }
            Waited::Patience => self.leave_ticket(run, hold).await,
            Waited::Cancelled => {
                self.withdraw(run, hold, "the client cancelled").await?;
                Ok(Cleared::Refused(cancelled(&hold.id)))
            }
            Waited::Gone if self.can_have_ticket(run) && self.services.hold.ticket_on_disconnect => {
                self.ticket(run, hold).await?;
                self.scribe.withheld(run, Outcome::Withdrawn, sqlstate::CONNECTION_FAILURE.as_str());
                Err(End::Client)
            }
            Waited::Gone | Waited::Ended => {
                self.withdraw(run, hold, "the connection ended").await?;
                self.scribe.withheld(run, Outcome::Withdrawn, sqlstate::CONNECTION_FAILURE.as_str());
                match self.reason_to_end() {
                    Some(report) => Err(self.end_with(&report).await),
                    None => Err(End::Client),
                }
            }
        }
    }

    /// What depends on this very session cannot be sent again on another one.
    fn can_have_ticket(&self, run: &Run) -> bool {
        !self.holds_locks() && !run.facts.statements.iter().any(|facts| facts.session_local)
    }

    async fn leave_ticket(&mut self, run: &Run, hold: &Hold) -> Result<Cleared, End> {
        if !self.can_have_ticket(run) {
            self.withdraw(run, hold, "the wait inside of a transaction is bounded").await?;
            return Ok(Cleared::Refused(
                lapsed(
                    &hold.id,
                    "was not decided in time, and what depends on an open transaction or on this session has no ticket",
                )
                .hint("Run the statement outside of a transaction block, so that it can wait longer."),
            ));
        }
        Ok(Cleared::Refused(match self.ticket(run, hold).await? {
            Stored::Yes => ticket_report(hold, &self.instead_of(run)),
            Stored::No(error) => store_failed(&error)
                .detail(format!("Hold {} may stand without its connection until {}.", hold.id, hold.expires_at))
                .hint("The statement was not executed. Send exactly the same statement again once the store works."),
        }))
    }

    async fn ticket(&mut self, run: &Run, hold: &Hold) -> Result<Stored, End> {
        let Some(statement) = run.deciding_id() else { return Ok(Stored::Yes) };
        let (approvals, id) = (self.services.approvals.clone(), hold.id.clone());
        // A decision that came first stands; it is then found by sending the statement again.
        let step = self.wait_for(async move { approvals.ticket(&id, statement).await }).await?;
        Ok(stored(&hold.id, "the ticket", step))
    }

    /// Takes a hold back.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn withdraw(&mut self, run: &Run, hold: &Hold, why: &'static str) -> Result<(), End> {
        let Some(statement) = run.deciding_id() else { return Ok(()) };
        let (approvals, id) = (self.services.approvals.clone(), hold.id.clone());
        let step = self.wait_for(async move { approvals.withdraw(&id, statement, why).await }).await?;
        if let Stored::No(_) = stored(&hold.id, "the withdrawal", step) {
            // An approval of it can only be spent by the same statement, sent again; until then it lapses by itself.
            self.warn_of(hold);
        }
        Ok(())
    }

    /// The client gave a hold up that the store still has.
    fn warn_of(&mut self, hold: &Hold) {
        let report =
            Report::new(sqlstate::IO_ERROR, format!("hold {} could not be withdrawn", hold.id)).detail(format!(
                "It stands until {} unless an operator denies it. The statement was not executed.",
                hold.expires_at
            ));
        build::report(&mut self.client.output, Severity::Notice, &report);
    }

    /// Spends an approval: the statement is judged anew, the approval must still fit, and its release is on disk in the
    /// store and in the log before this says go.
    async fn release(&mut self, run: &mut Box<Run>, hold: &Hold, form: &Form) -> Result<Cleared, End> {
        self.look_again().await?;
        if let Some(report) = self.judge_again(run, hold).await? {
            self.void(&hold.id, "judged anew, it became stricter").await?;
            return Ok(Cleared::Refused(report));
        }
        let Some(record) = self.scribe.record(run, run.deciding(), Event::Released) else {
            return Ok(Cleared::Refused(lapsed(&hold.id, "cannot be released")));
        };
        self.scribe.opening(&record);
        let release = Release { action_hash: action::hash(self, run, form), record };
        let (approvals, id) = (self.services.approvals.clone(), hold.id.clone());
        let released = match self.wait_for(async move { approvals.release(&id, release).await }).await? {
            Ok(released) => released,
            Err(ReleaseError::Changed(_)) => return Ok(Cleared::Refused(drifted(&hold.id))),
            Err(error) => return Ok(Cleared::Refused(lapsed(&hold.id, &error.to_string()))),
        };
        let cleared = self.let_go(run, &hold.id).await?;
        // What the operator saw of its size is what may leave.
        let deciding = run.deciding();
        if let Some(part) = run.parts.get_mut(deciding) {
            part.meter.cap(released.cap);
        }
        if matches!(cleared, Cleared::Go) {
            self.cover_the_rest(run, hold, form, released.cap);
        }
        Ok(cleared)
    }

    /// An approval was spent in the store: the log has it on disk before this says go.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn let_go(&mut self, run: &mut Run, id: &HoldId) -> Result<Cleared, End> {
        self.released.push(id.clone());
        if let Some(report) = self.settle_log(id).await? {
            self.finish(id, HoldEnd::Failed).await?;
            return Ok(Cleared::Refused(report));
        }
        for part in &mut run.parts {
            part.meter.lift();
        }
        Ok(Cleared::Go)
    }

    /// What an approval was bound to has changed.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn void(&mut self, id: &HoldId, why: &'static str) -> Result<(), End> {
        let (approvals, id) = (self.services.approvals.clone(), id.clone());
        let wanted = id.clone();
        let step = self.wait_for(async move { approvals.void(&wanted, why).await }).await?;
        // Where it is approved no more, another outcome came first. Where the store fails, whoever tries to spend it next voids it.
        stored(&id, "that the approval is void", step);
        Ok(())
    }

    /// Waits until the log has all records of a hold; what the client is told where it has not.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn settle_log(&mut self, id: &HoldId) -> Result<Option<Report>, End> {
        let (approvals, id) = (self.services.approvals.clone(), id.clone());
        let settled = self.wait_for(async move { approvals.settled(&id).await }).await?;
        Ok(settled.err().map(|error| log_failed(&error.to_string())))
    }

    /// What a client is told when a person said no.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn denied_by_person(&mut self, id: &HoldId) -> Result<Report, End> {
        let (approvals, wanted) = (self.services.approvals.clone(), id.clone());
        let hold = self.wait_for(async move { approvals.get(&wanted).await }).await?.ok().flatten();
        let (rule, decision) = hold.map(|hold| (hold.rule, hold.decision)).unwrap_or_default();
        let by = decision.as_ref().map(|decision| decision.by.as_str()).unwrap_or_default();
        let detail = serde_json::json!({
            "hold": id,
            "state": "denied",
            "rule": rule,
            "by": by,
            "reason": decision.as_ref().and_then(|decision| decision.reason.as_deref()),
            "decided_at": decision.as_ref().map(|decision| decision.at),
        });
        Ok(Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("statement denied by {by} under rule \"{rule}\""))
            .detail(detail.to_string())
            .hint("Do not send it again unchanged; change what the reason names."))
    }
}

/// Whether a step is in the store.
#[derive(Debug)]
pub(super) enum Stored {
    /// It is, or the hold had gone further by itself.
    Yes,
    /// The store failed.
    No(StoreError),
}

/// Says so where the store has failed.
pub(super) fn stored(id: &HoldId, what: &str, step: Result<Hold, StepError>) -> Stored {
    match step {
        Ok(_) => Stored::Yes,
        Err(StepError::Store(error)) => {
            tracing::error!(%error, hold = %id, what, "a step of a hold was not stored");
            Stored::No(error)
        }
        Err(error @ (StepError::NotFound | StepError::NotNow(_))) => {
            tracing::debug!(%error, hold = %id, what, "the hold had gone further by itself");
            Stored::Yes
        }
    }
}

/// Whether a hold is a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joined {
    Yes,
    No,
}

fn ticket_report(hold: &Hold, instead: &Alternatives) -> Report {
    let detail = serde_json::json!({
        "hold": hold.id,
        "state": "pending",
        "expires_at": hold.expires_at,
        "rule": hold.rule,
        "reason": hold.reason,
        "approve": {"from": hold.approve.from, "quorum": hold.approve.quorum},
        "retry": "send the same statement again",
        "status": format!("SHOW {}.tickets", crate::ids::NAME),
        "allowed_instead": (!instead.is_empty()).then_some(instead),
    });
    let hint = "Send exactly the same statement again later, on any connection: it joins this hold, and runs once it is approved.";
    let hint = instead.sentence().map_or_else(|| hint.to_owned(), |sentence| format!("{hint} {sentence}"));
    Report::new(sqlstate::HOLD_PENDING, format!("{} waits for approval as hold {}", hold.command, hold.id))
        .detail(detail.to_string())
        .hint(hint)
}

fn lapsed(id: &HoldId, what: &str) -> Report {
    Report::new(sqlstate::HOLD_LAPSED, format!("hold {id} {what}")).detail("The statement was not executed.")
}

fn refused_in_transaction() -> Report {
    Report::new(sqlstate::HOLD_LAPSED, "statement needs approval and is not held inside of a transaction")
        .hint("Run it outside of a transaction block, where it can wait without holding locks.")
}

fn drifted(id: &HoldId) -> Report {
    lapsed(id, "is void")
        .detail("Something that the approval was bound to changed after it was given: the statement was not executed.")
        .hint("Send the statement again to ask for a new approval.")
}

fn cancelled(id: &HoldId) -> Report {
    Report::new(sqlstate::QUERY_CANCELED, "canceling statement due to user request")
        .detail(format!("Hold {id} was withdrawn; the statement was not executed."))
}

fn store_failed(error: &StoreError) -> Report {
    let sqlstate = match error {
        StoreError::Full { .. } => sqlstate::CONFIGURATION_LIMIT_EXCEEDED,
        _ => sqlstate::IO_ERROR,
    };
    Report::new(sqlstate, "statement needs approval and cannot be held").detail(sentence(&error.to_string()))
}
