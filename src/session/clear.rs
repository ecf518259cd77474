//! From a verdict to what happens: on, refused, or parked until a person decides.

use bytes::Bytes;

use super::Session;
use super::phase::Status;
use super::relay::End;
use super::run::Run;
use crate::lineage::Event;
use crate::policy::Verdict;
use crate::report::Report;
use crate::sqlstate;

/// Why a statement that a rule allows within limits is asked about before it starts.
const COMMITS_FIRST: &str = "it writes and may return more rows than its rule lets pass, and would be committed before the \
                             stream could be stopped";

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
        match self.permit(run, form).await? {
            Cleared::Go if !self.is_failed_transaction() => self.learn(run).await,
            cleared => Ok(cleared),
        }
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
            Verdict::Hold if self.enforces() => return Box::pin(self.hold(run, form)).await,
            Verdict::Allow if self.enforces() && form == Form::Query && self.could_commit_over_a_limit(run) => {
                for part in &mut run.parts {
                    COMMITS_FIRST.clone_into(&mut part.decision.reason);
                    part.decision.verdict = Verdict::Hold;
                }
                return Box::pin(self.hold(run, form)).await;
            }
            Verdict::Deny if self.enforces() => return Ok(Cleared::Refused(Self::denied_by_rule(run))),
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
            let Some(rows_max) = part.meter.rows_left() else { return false };
            let rows = self.estimate(facts).and_then(|estimate| estimate.rows);
            !facts.pure_read && !facts.outputs.is_empty() && rows.is_none_or(|rows| rows > rows_max)
        })
    }

    /// Puts the opening lines of a run on disk.
    pub(super) async fn write_down(&mut self, run: &Run) -> Result<Cleared, End> {
        for index in 0..run.parts.len() {
            let Some(record) = self.scribe.record(run, index, Event::Started) else { continue };
            let log = self.services.log.clone();
            if let Err(error) = self.wait_for(log.append_strict(record)).await? {
                return Ok(Cleared::Refused(log_failed(&error.to_string())));
            }
        }
        Ok(Cleared::Go)
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
