//! From a verdict to what happens: on, refused, or parked until a person decides.

use std::sync::Arc;

use bytes::Bytes;

use super::Session;
use super::intercept::too_many_names;
use super::many::Many;
use super::phase::Status;
use super::relay::End;
use super::run::Run;
use crate::analysis::StatementFacts;
use crate::lineage::{Event, Outcome, StatementRecord};
use crate::policy::{Alternatives, Request, Verdict};
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
    /// A Bind, with its values and those of the Binds of the same statement behind it.
    Binds(Box<Many>),
    /// An Execute that was not cleared at its Bind, with the values of that Bind.
    Execute(Bytes),
    /// A `FunctionCall`, with its values as they came.
    Call(Bytes),
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
        self.shown.judged(run.facts_of(run.deciding()).map_or("", |facts| facts.command.as_str()));
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
        if self.services.registry.is_paused()
            && let Some(cleared) = Box::pin(self.sit_out_a_pause()).await?
        {
            return Ok(cleared);
        }
        if let Err(why) = self.services.log.health() {
            self.services.log.note_refused();
            return Ok(Cleared::Refused(log_failed(&why)));
        }
        if self.is_failed_transaction() && !run.controls_transactions() {
            return Ok(Cleared::Go);
        }
        if run.makes_names() && self.names_are_full(run.text.len()) {
            return Ok(Cleared::Refused(too_many_names()));
        }
        match run.verdict() {
            Verdict::Hold if self.enforces() => {
                return match Box::pin(self.spend_bundle(run, &form)).await? {
                    Some(cleared) => Box::pin(self.write_down_beside(run, cleared)).await,
                    None => Box::pin(self.hold_all(run, form)).await,
                };
            }
            Verdict::Allow if self.enforces() && self.could_be_done_over_a_limit(run, &form) => {
                for part in &mut run.parts {
                    let decision = Arc::make_mut(&mut part.decision);
                    COMMITS_FIRST.clone_into(&mut decision.reason);
                    decision.verdict = Verdict::Hold;
                }
                return Box::pin(self.hold_all(run, form)).await;
            }
            Verdict::Deny if self.enforces() => return Ok(Cleared::Refused(Box::pin(self.deny(run)).await?)),
            Verdict::Allow | Verdict::Hold | Verdict::Deny => {}
        }
        // A Bind is written down by its Execute, which may carry no more than the Bind was cleared for.
        if run.is_strict() && !matches!(form, Form::Bind(_)) {
            return self.write_down(run).await;
        }
        Ok(Cleared::Go)
    }

    /// What is done before its result can be stopped is asked about first.
    fn could_be_done_over_a_limit(&self, run: &Run, form: &Form) -> bool {
        match form {
            Form::Query => self.could_commit_over_a_limit(run),
            Form::Call(_) => run.parts.iter().any(|part| part.meter.rows_left() == Some(0)),
            Form::Bind(_) | Form::Binds(_) | Form::Execute(_) => false,
        }
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
            let rows = part.size.estimate.rows;
            !facts.pure_read && !facts.outputs.is_empty() && rows.is_none_or(|rows| rows > rows_max)
        })
    }

    /// The hold's own records open the statement that decides; those beside it in the same text get their lines here.
    async fn hold_all(&mut self, run: &mut Box<Run>, form: Form) -> Result<Cleared, End> {
        let cleared = self.hold(run, form).await?;
        self.write_down_beside(run, cleared).await
    }

    async fn write_down_beside(&mut self, run: &Run, cleared: Cleared) -> Result<Cleared, End> {
        match cleared {
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
        let records = indices.filter_map(|index| self.scribe.record(run, index, Event::Started)).collect();
        Box::pin(self.put_on_disk(records)).await
    }

    /// Puts what a run is let go by on disk.
    pub(super) async fn write_down_as(&mut self, run: &Run, event: Event) -> Result<Cleared, End> {
        let records = (0..run.parts.len()).filter_map(|index| self.scribe.record(run, index, event)).collect();
        Box::pin(self.put_on_disk(records)).await
    }

    async fn put_on_disk(&mut self, records: Vec<StatementRecord>) -> Result<Cleared, End> {
        for record in &records {
            self.scribe.opening(record);
        }
        let log = self.services.log.clone();
        let written = self.in_time(async move { log.append_all_strict(records).await });
        Ok(match self.wait_for(written).await? {
            Ok(Ok(())) => Cleared::Go,
            Ok(Err(error)) => Cleared::Refused(log_failed(&error.to_string())),
            Err(_) => Cleared::Refused(log_failed(&self.late())),
        })
    }

    /// A disk that neither takes a record nor fails is waited for so long; one that fails says so at once.
    fn in_time<F: Future>(&self, written: F) -> tokio::time::Timeout<F> {
        tokio::time::timeout(self.services.log.sync_timeout(), written)
    }

    fn late(&self) -> String {
        self.services.log.note_late();
        format!("the log did not answer in {:?}", self.services.log.sync_timeout())
    }

    /// A rule says no: that is on disk before anybody is told.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn deny(&mut self, run: &mut Run) -> Result<Report, End> {
        let report = self.denied_by_rule(run);
        let records = self.scribe.refusals(run, report.sqlstate.as_str());
        let (log, kept) = (self.services.log.clone(), records.clone());
        // A task of its own: the lines must not be lost with a session that ends while it waits.
        let written = tokio::spawn(async move { log.append_each_strict(records).await });
        let Ok(answer) = self.wait_for(self.in_time(written)).await? else {
            return Ok(log_failed(&self.late()));
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

    /// What a client is told when a rule says no, and what it may ask for instead.
    pub(super) fn denied_by_rule(&self, run: &Run) -> Report {
        let index = run.deciding();
        let Some(part) = run.parts.get(index) else {
            return Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, "statement denied by policy");
        };
        let what = run.facts_of(index).map_or("statement", |facts| facts.command.as_str());
        let instead = self.instead_of(run);
        let detail = serde_json::json!({
            "rule": &*part.decision.rule,
            "reason": part.decision.reason,
            "allowed_instead": (!instead.is_empty()).then_some(&instead),
        });
        let hint = instead.sentence().unwrap_or_else(|| {
            "Do not send it again unchanged: ask for fewer rows or other columns, or ask the owner of the policy."
                .to_owned()
        });
        Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("{what} denied by rule \"{}\"", part.decision.rule))
            .detail(detail.to_string())
            .hint(hint)
    }

    /// What the policy is asked about a statement.
    pub(super) fn request<'a>(&'a self, facts: &'a StatementFacts) -> Request<'a> {
        Request {
            principal: &self.who.principal,
            database: &self.who.database,
            client: self.who.client.map(|address| address.ip()),
            environment: self.who.environment.as_deref(),
            intent: self.settings.intent.as_deref(),
            facts,
            estimate: None,
            at: self.services.clock.now(),
        }
    }

    /// What the policy would allow in place of the statement that decides; nothing where there are several.
    pub(super) fn instead_of(&self, run: &Run) -> Alternatives {
        match run.facts.statements.as_slice() {
            [facts] => self.services.policy.load().alternatives(&self.request(facts)),
            _ => Alternatives::default(),
        }
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
