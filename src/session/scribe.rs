//! Makes the records of a session: one opening line for what must be on disk first, one closing line for every statement.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Services;
use super::run::Run;
use super::settings::Settings;
use super::sheets::Sheets;
use crate::analysis::scan::{Secrets, StringMode};
use crate::approvals::HoldEnd;
use crate::clock;
use crate::ids::HoldId;
use crate::lineage::{Closing, Ending, Event, Line, Outcome, Sheet, StatementRecord, ValueForm};
use crate::log;
use crate::policy::Verdict;
use crate::telemetry;
use crate::wire::frontend;

/// Writes down what happens to runs. A closing line goes to the log at once; where the log has no room, it queues here.
pub(super) struct Scribe {
    /// What all records of the session share.
    template: StatementRecord,
    strings: StringMode,
    /// Verdicts are recorded and not carried out.
    observes: bool,
    pub(super) services: Arc<Services>,
    sheets: Sheets,
    /// The newest opening line of each statement that has one and no closing line. Few: those that run or wait now.
    opened: Vec<StatementRecord>,
    /// Closing lines that the log had no room for.
    pub(super) closing: VecDeque<Line>,
    /// Holds whose statements have ended, for the store.
    pub(super) ended_holds: Vec<(HoldId, HoldEnd)>,
}

impl Scribe {
    pub(super) fn new(template: StatementRecord, services: Arc<Services>) -> Self {
        Self {
            template,
            strings: StringMode::Standard,
            observes: false,
            services,
            sheets: Sheets::default(),
            opened: Vec::new(),
            closing: VecDeque::new(),
            ended_holds: Vec::new(),
        }
    }

    /// How strings are to be read now.
    pub(super) fn strings(&self) -> StringMode {
        self.strings
    }

    pub(super) fn application_name(&mut self, name: &[u8]) {
        self.template.application_name = Some(String::from_utf8_lossy(name).into_owned());
        self.sheets.clear();
    }

    /// The policy that decides from now on: its SHA-256, and whether its verdicts are only recorded.
    pub(super) fn policy(&mut self, sha256: &str, observes: bool) {
        if self.template.policy != sha256 || self.observes != observes {
            self.observes = observes;
            sha256.clone_into(&mut self.template.policy);
            self.sheets.clear();
        }
    }

    /// What the agent says of itself, and how strings are to be read, may have changed.
    pub(super) fn claims(&mut self, settings: &Settings) {
        self.template.agent.name.clone_from(&settings.agent);
        self.template.agent.model.clone_from(&settings.model);
        self.template.agent.run.clone_from(&settings.run);
        self.template.intent.clone_from(&settings.intent);
        self.strings = if settings.standard_conforming_strings { StringMode::Standard } else { StringMode::Backslash };
        self.sheets.clear();
    }

    /// The record of one statement of a run, without an outcome.
    pub(super) fn record(&self, run: &Run, index: usize, event: Event) -> Option<StatementRecord> {
        let part = run.parts.get(index)?;
        let mut record = self.template.clone();
        record.id = part.id;
        record.event = event;
        record.hold.clone_from(&part.hold);
        record.observed = self.observes && part.decision.verdict != Verdict::Allow;
        let masked = self.services.literals.mask(run.text_of(index), self.strings);
        (record.text, record.shape) = (masked.text, masked.shape);
        record.parameters = self.parameters(run);
        let record = record.with_decision(&part.decision);
        let Some(facts) = run.facts_of(index) else { return Some(record) };
        let database = record.database.clone().unwrap_or_default();
        Some(record.with_facts(facts, &database))
    }

    /// What stands for the values of a Bind: a password is nothing in any mode.
    fn parameters(&self, run: &Run) -> Vec<String> {
        let Some(sent) = &run.sent else { return Vec::new() };
        let secrets = Secrets::of(&run.text, self.strings);
        let told = |(place, value): (usize, frontend::Value<'_>)| match value.bytes {
            None => "NULL".to_owned(),
            Some(bytes) if secrets.hides_value(place + 1, bytes) => "?".to_owned(),
            Some(bytes) if value.binary => {
                let type_oid = sent.types.get(place).copied().unwrap_or(0);
                self.services.literals.of_value(bytes, ValueForm::Binary(type_oid))
            }
            Some(bytes) => self.services.literals.of_value(bytes, ValueForm::Text),
        };
        // The server refuses a malformed Bind: it stands for nothing.
        frontend::bind_values(&sent.bind).unwrap_or_default().into_iter().enumerate().map(told).collect()
    }

    /// The current statement of a run completed; `counted` is what its command tag says.
    pub(super) fn completed(&mut self, run: &mut Run, counted: Option<u64>) {
        let index = run.current.min(run.parts.len().saturating_sub(1));
        let Some(meter) = run.parts.get(index).map(|part| part.meter) else { return };
        let rows = Some(meter.rows.max(counted.unwrap_or(0)));
        self.close(run, index, End { outcome: Outcome::Complete, sqlstate: None, rows, bytes: Some(meter.bytes) });
    }

    /// The current statement of a run failed or was refused; those behind it never ran.
    pub(super) fn failed(&mut self, run: &mut Run, outcome: Outcome, sqlstate: &str) {
        for index in run.current..run.parts.len() {
            let Some(meter) = run.parts.get(index).map(|part| part.meter) else { return };
            let outcome = if index == run.current { outcome } else { Outcome::Withdrawn };
            let (rows, bytes) = (Some(meter.rows), Some(meter.bytes));
            self.close(run, index, End { outcome, sqlstate: Some(sqlstate), rows, bytes });
        }
    }

    /// The server is ready for the next query: what is still open had no answer of its own.
    pub(super) fn ended(&mut self, run: &mut Run) {
        for index in 0..run.parts.len() {
            run.current = index;
            self.completed(run, None);
        }
    }

    /// The connection ended: what was forwarded and not answered is not known.
    pub(super) fn lost(&mut self, run: &mut Run) {
        for index in 0..run.parts.len() {
            let mut end = End::without_rows(Outcome::Unknown, None);
            // A stream of replication has no other end, often enough.
            if let Some(meter) = run.parts.get(index).map(|part| part.meter).filter(|_| run.replicates) {
                (end.rows, end.bytes) = (Some(meter.rows), Some(meter.bytes));
            }
            self.close(run, index, end);
        }
    }

    /// Statements that never reached the server.
    pub(super) fn withheld(&mut self, run: &mut Run, outcome: Outcome, sqlstate: &str) {
        for index in 0..run.parts.len() {
            self.close(run, index, End::without_rows(outcome, Some(sqlstate)));
        }
    }

    /// What else follows from an end: budgets, metrics, the store.
    fn account(&mut self, run: &Run, index: usize, outcome: Outcome) {
        let Some(part) = run.parts.get(index) else { return };
        let kind = run.facts_of(index).map_or("none", |facts| facts.kind().as_str());
        telemetry::statement(part.decision.verdict.as_str(), kind);
        telemetry::result(part.meter.rows, part.meter.bytes);
        self.settle_budgets(run, index);
        let end = match outcome {
            Outcome::Complete => HoldEnd::Finished,
            Outcome::Unknown => HoldEnd::Unknown,
            _ => HoldEnd::Failed,
        };
        // Of several executions under one approval the last one ends it, or one that fails: the others are skipped then.
        let goes_on = run.more_follow && outcome == Outcome::Complete;
        let last = !goes_on && run.parts.iter().all(|part| part.closed);
        if let Some(hold) = part.hold.clone().filter(|_| last) {
            self.ended_holds.push((hold, end));
        }
    }

    /// Whose statements these are.
    pub(super) fn principal(&self) -> Option<&str> {
        self.template.principal.as_ref().map(|principal| principal.name.as_str())
    }

    /// Statements of a run that a rule refuses: their closing lines, to be on disk before anybody is told.
    pub(super) fn refusals(&mut self, run: &mut Run, sqlstate: &str) -> Vec<StatementRecord> {
        let count = run.parts.len();
        let close = |index| self.closing_record(run, index, End::without_rows(Outcome::Refused, Some(sqlstate)));
        (0..count).filter_map(close).collect()
    }

    /// An opening line is about to be written: whatever happens, a closing line must follow.
    pub(super) fn opening(&mut self, record: &StatementRecord) {
        self.opened.retain(|opened| opened.id != record.id);
        self.opened.push(record.clone());
    }

    /// The session is over: closes what was opened and has no run any more, such as a Bind that was approved and never
    /// executed, and gives away what the log had no room for.
    pub(super) fn end(&mut self) -> VecDeque<Line> {
        for opened in std::mem::take(&mut self.opened) {
            self.hand_in(log::closing(&opened));
        }
        std::mem::take(&mut self.closing)
    }

    /// Hands a closing line in, or keeps it until the log has room.
    pub(super) fn hand_in(&mut self, line: impl Into<Line>) {
        if !self.closing.is_empty() {
            self.closing.push_back(line.into());
        } else if let Err(error) = self.services.log.try_append(line) {
            self.closing.push_back(error.into_line());
        }
    }

    /// Writes the one closing line of a statement, unless it was written before.
    fn close(&mut self, run: &mut Run, index: usize, end: End<'_>) {
        if !mark_closed(run, index) {
            return;
        }
        self.account(run, index, end.outcome);
        let Some(part) = run.parts.get(index) else { return };
        if part.hold.is_none()
            && !self.opened.iter().any(|opened| opened.id == part.id)
            && let Some(sheet) = self.sheet(run, index)
        {
            self.hand_in(Closing { id: part.id, ending: end.after(run), sheet });
        } else if let Some(record) = self.finished(run, index, end) {
            self.hand_in(record);
        }
    }

    /// The one closing record of a statement, to be written by the caller; `None` where it was made before.
    fn closing_record(&mut self, run: &mut Run, index: usize, end: End<'_>) -> Option<StatementRecord> {
        if !mark_closed(run, index) {
            return None;
        }
        self.account(run, index, end.outcome);
        self.finished(run, index, end)
    }

    fn finished(&mut self, run: &Run, index: usize, end: End<'_>) -> Option<StatementRecord> {
        let mut record = self.record(run, index, Event::Closed)?;
        self.opened.retain(|opened| opened.id != record.id);
        end.after(run).apply(&mut record);
        Some(record)
    }

    /// What this closing line shares with those of its like.
    fn sheet(&mut self, run: &Run, index: usize) -> Option<Arc<Sheet>> {
        if !self.services.literals.are_alike() {
            return None;
        }
        let decision = &run.parts.get(index)?.decision;
        if let Some(sheet) = self.sheets.get(&run.facts, index, decision) {
            return Some(sheet);
        }
        let sheet = Arc::new(Sheet::of(&self.record(run, index, Event::Closed)?)?);
        self.sheets.keep(&run.facts, index, decision, &sheet);
        Some(sheet)
    }
}

/// How a statement ended, as far as its run does not tell.
#[derive(Clone, Copy)]
struct End<'a> {
    outcome: Outcome,
    sqlstate: Option<&'a str>,
    rows: Option<u64>,
    bytes: Option<u64>,
}

impl<'a> End<'a> {
    fn without_rows(outcome: Outcome, sqlstate: Option<&'a str>) -> Self {
        Self { outcome, sqlstate, rows: None, bytes: None }
    }

    fn after(self, run: &Run) -> Ending {
        let took = clock::monotonic().saturating_duration_since(run.since);
        Ending {
            outcome: self.outcome,
            sqlstate: self.sqlstate.map(ToOwned::to_owned),
            rows: self.rows,
            bytes: self.bytes,
            duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// False where it was closed before.
fn mark_closed(run: &mut Run, index: usize) -> bool {
    run.parts.get_mut(index).is_some_and(|part| !std::mem::replace(&mut part.closed, true))
}
