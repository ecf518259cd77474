//! From a verdict to what happens: on, refused, or parked until a person decides.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Session;
use super::phase::Status;
use super::relay::End;
use super::run::Run;
use crate::lineage::{Event, Outcome};
use crate::policy::Verdict;
use crate::report::Report;
use crate::sqlstate;

/// Why a statement that a rule allows within limits is asked about before it starts.
const COMMITS_FIRST: &str = "it writes and may return more rows than its rule lets pass, and would be committed before the \
                             stream could be stopped";

/// A disk that neither takes a record nor fails is waited for so long; a disk that fails says so at once.
const WRITE_WAIT: Duration = Duration::from_secs(5);

/// Where in the protocol the statement stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A simple Query.
    Query,
    /// A Bind, with its values as they came.
    Bind(Bytes),
    /// An Execute that was not cleared at its Bind, with the values of that Bind.
    Execute(Bytes),
    /// A `FunctionCall`.
    Call,
}

/// What happens to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cleared {
    /// It is forwarded.
    Go,
    /// It is refused, and the client is told this.
    Refused(Report),
    /// An earlier frame of its batch failed: the server discards it anyway.
    Skipped,
}

impl Session {
    /// Decides what happens to a run, waiting as long as that takes. When this says go, everything that must be on disk
    /// before the statement reaches the server is on disk.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn clear(&mut self, run: &mut Box<Run>, form: Form) -> Result<Cleared, End> {
        let cleared = match self.permit(run, form).await {
            Ok(Cleared::Go) if !self.is_failed_transaction() => self.learn(run).await,
            cleared => cleared,
        };
        if cleared.is_err() {
            // The session ended under it: it was judged, and never reached the server.
            self.scribe.withheld(run, Outcome::Withdrawn, sqlstate::CONNECTION_FAILURE.as_str());
        }
        cleared
    }

    async fn permit(&mut self, run: &mut Box<Run>, form: Form) -> Result<Cleared, End> {
        if self.services.registry.is_paused() {
            let registry = self.services.registry.clone();
            self.wait_for(async move { registry.resumed().await }).await?;
        }
        if let Err(why) = self.services.log.health() {
            return Ok(Cleared::Refused(log_failed(&why)));
        }
        if self.is_failed_transaction() && !run.controls_transactions() {
            return Ok(Cleared::Go);
        }
        match run.verdict() {
            Verdict::Hold if self.enforces() => return self.hold_all(run, form).await,
            Verdict::Allow if self.enforces() && form == Form::Query && self.could_commit_over_a_limit(run) => {
                for part in &mut run.parts {
                    let decision = Arc::make_mut(&mut part.decision);
                    COMMITS_FIRST.clone_into(&mut decision.reason);
                    decision.verdict = Verdict::Hold;
                }
                return self.hold_all(run, form).await;
            }
            Verdict::Deny if self.enforces() => return Ok(Cleared::Refused(self.deny(run).await?)),
            Verdict::Allow | Verdict::Hold | Verdict::Deny => {}
        }
        // A Bind is written down by its Execute, which may carry no more than the Bind was cleared for.
        if run.is_strict() && !matches!(form, Form::Bind(_)) {
            return self.write_down(run).await;
        }
        Ok(Cleared::Go)
    }

    /// Rows of a writing statement leave while it is already done: in a simple Query outside of a transaction block it
    /// commits whatever a person says then. So where it is not proved or estimated to stay below its limit, the question
    /// comes first.
    fn could_commit_over_a_limit(&self, run: &Run) -> bool {
        if self.phase.status != Status::Idle {
            return false;
        }
        run.parts.iter().zip(&run.facts.statements).any(|(part, facts)| {
            let Some(rows_max) = part.meter.rows_max else { return false };
            let rows = self.estimate(facts).and_then(|estimate| estimate.rows);
            !facts.pure_read && !facts.outputs.is_empty() && rows.is_none_or(|rows| rows > rows_max)
        })
    }

    /// The hold's own records open the statement that decides; those beside it in the same text get their lines here.
    async fn hold_all(&mut self, run: &mut Box<Run>, form: Form) -> Result<Cleared, End> {
        match Box::pin(self.hold(run, form)).await? {
            Cleared::Go if run.parts.len() > 1 && !self.is_failed_transaction() => {
                let deciding = run.deciding();
                self.write_down_but(run, Some(deciding)).await
            }
            cleared => Ok(cleared),
        }
    }

    /// Puts the opening lines of a run on disk.
    pub(super) async fn write_down(&mut self, run: &Run) -> Result<Cleared, End> {
        self.write_down_but(run, None).await
    }

    async fn write_down_but(&mut self, run: &Run, but: Option<usize>) -> Result<Cleared, End> {
        let indices = (0..run.parts.len()).filter(|index| Some(*index) != but);
        let records: Vec<_> = indices.filter_map(|index| self.scribe.record(run, index, Event::Started)).collect();
        for record in &records {
            self.scribe.opening(record);
        }
        let log = self.services.log.clone();
        let written = tokio::time::timeout(WRITE_WAIT, async move { log.append_all_strict(records).await });
        Ok(match self.wait_for(written).await? {
            Ok(Ok(())) => Cleared::Go,
            Ok(Err(error)) => Cleared::Refused(log_failed(&error.to_string())),
            Err(_) => Cleared::Refused(log_failed(&late())),
        })
    }

    /// A rule says no: that is on disk before anybody is told.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn deny(&mut self, run: &mut Run) -> Result<Report, End> {
        let report = Self::denied_by_rule(run);
        let records = self.scribe.refusals(run, report.sqlstate.as_str());
        let (log, kept) = (self.services.log.clone(), records.clone());
        // A task of its own: the lines must not be lost with a session that ends while it waits.
        let written = tokio::spawn(async move { log.append_each_strict(records).await });
        let Ok(answer) = self.wait_for(tokio::time::timeout(WRITE_WAIT, written)).await? else {
            return Ok(log_failed(&late()));
        };
        let mut refused = None;
        for (mut record, one) in kept.into_iter().zip(answer.unwrap_or_default()) {
            let Err(error) = one else { continue };
            record.sqlstate = Some(sqlstate::IO_ERROR.as_str().to_owned());
            self.scribe.hand_in(record);
            refused = Some(log_failed(&error.to_string()));
        }
        Ok(refused.unwrap_or(report))
    }

    /// What a client is told when a rule says no.
    pub(super) fn denied_by_rule(run: &Run) -> Report {
        let index = run.deciding();
        let Some(part) = run.parts.get(index) else {
            return Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, "statement denied by policy");
        };
        let what = run.facts_of(index).map_or("statement", |facts| facts.command.as_str());
        Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("{what} denied by rule \"{}\"", part.decision.rule))
            .detail(sentence(&part.decision.reason))
            .hint(
                "Do not send it again unchanged: ask for fewer rows or other columns, or ask the owner of the policy.",
            )
    }
}

fn late() -> String {
    format!("the log did not answer in {} s", WRITE_WAIT.as_secs())
}

/// What a client is told when the log cannot be written.
pub(super) fn log_failed(why: &str) -> Report {
    Report::new(sqlstate::IO_ERROR, "statement not forwarded because the lineage log cannot be written")
        .detail(sentence(why))
        .hint("Nothing was executed. Try again once an operator has repaired the log.")
}

/// A text as a sentence, for DETAIL.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let mut sentence: String = letters.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    sentence.push_str(letters.as_str());
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}
