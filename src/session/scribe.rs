//! Makes the records of a session: one opening line for what must be on disk first, one closing line for every statement.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Services;
use super::run::{Part, Run};
use super::settings::Settings;
use crate::analysis::scan::StringMode;
use crate::approvals::HoldEnd;
use crate::clock;
use crate::ids::HoldId;
use crate::lineage::{Event, Outcome, StatementRecord};
use crate::log;
use crate::policy::Verdict;
use crate::telemetry;

/// Writes down what happens to runs. A closing line goes to the log at once; where the log has no room, it queues here.
pub(super) struct Scribe {
    /// What all records of the session share.
    template: StatementRecord,
    strings: StringMode,
    /// Verdicts are recorded and not carried out.
    observes: bool,
    services: Arc<Services>,
    /// The newest opening line of each statement that has one and no closing line. Few: those that run or wait now.
    opened: Vec<StatementRecord>,
    /// Closing lines that the log had no room for.
    pub(super) closing: VecDeque<StatementRecord>,
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
            opened: Vec::new(),
            closing: VecDeque::new(),
            ended_holds: Vec::new(),
        }
    }

    pub(super) fn application_name(&mut self, name: &[u8]) {
        self.template.application_name = Some(String::from_utf8_lossy(name).into_owned());
    }

    /// The policy that decides from now on: its SHA-256, and whether its verdicts are only recorded.
    pub(super) fn policy(&mut self, sha256: &str, observes: bool) {
        self.observes = observes;
        if self.template.policy != sha256 {
            sha256.clone_into(&mut self.template.policy);
        }
    }

    /// What the agent says of itself, and how strings are to be read, may have changed.
    pub(super) fn claims(&mut self, settings: &Settings) {
        self.template.agent.name.clone_from(&settings.agent);
        self.template.agent.model.clone_from(&settings.model);
        self.template.agent.run.clone_from(&settings.run);
        self.template.intent.clone_from(&settings.intent);
        self.strings = if settings.standard_conforming_strings { StringMode::Standard } else { StringMode::Backslash };
    }

    /// The record of one statement of a run, without an outcome.
    pub(super) fn record(&self, run: &Run, index: usize, event: Event) -> Option<StatementRecord> {
        let part = run.parts.get(index)?;
        let mut record = self.template.clone();
        record.id = part.id;
        record.event = event;
        record.hold.clone_from(&part.hold);
        record.observed = self.observes && part.decision.verdict != Verdict::Allow;
        let record = record.with_text(run.text_of(index), self.strings).with_decision(&part.decision);
        let Some(facts) = run.facts_of(index) else { return Some(record) };
        let database = record.database.clone().unwrap_or_default();
        Some(record.with_facts(facts, &database))
    }

    /// The current statement of a run completed; `counted` is what its command tag says.
    pub(super) fn completed(&mut self, run: &mut Run, counted: Option<u64>) {
        let index = run.current.min(run.parts.len().saturating_sub(1));
        let bytes = run.parts.get(index).map_or(0, |part| part.meter.bytes);
        let rows = run.parts.get(index).map(|part| part.meter.rows.max(counted.unwrap_or(0)));
        self.close(run, index, |record| {
            record.outcome = Some(Outcome::Complete);
            record.rows = rows;
            record.bytes = Some(bytes);
        });
    }

    /// The current statement of a run failed or was refused; those behind it never ran.
    pub(super) fn failed(&mut self, run: &mut Run, outcome: Outcome, sqlstate: &str) {
        for index in run.current..run.parts.len() {
            let (rows, bytes) = run.parts.get(index).map_or((0, 0), |part| (part.meter.rows, part.meter.bytes));
            let ran = index == run.current;
            self.close(run, index, |record| {
                record.outcome = Some(if ran { outcome } else { Outcome::Withdrawn });
                record.sqlstate = Some(sqlstate.to_owned());
                record.rows = Some(rows);
                record.bytes = Some(bytes);
            });
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
            self.close(run, index, |record| record.outcome = Some(Outcome::Unknown));
        }
    }

    /// Statements that never reached the server.
    pub(super) fn withheld(&mut self, run: &mut Run, outcome: Outcome, sqlstate: &str) {
        for index in 0..run.parts.len() {
            self.close(run, index, |record| {
                record.outcome = Some(outcome);
                record.sqlstate = Some(sqlstate.to_owned());
            });
        }
    }

    /// What else follows from an end: budgets, metrics, the store.
    fn account(&mut self, run: &Run, index: usize, record: &StatementRecord) {
        let Some(part) = run.parts.get(index) else { return };
        let verdict = part.decision.verdict.as_str();
        telemetry::statement(verdict, record.kinds.last().map_or("none", |kind| kind.as_str()));
        telemetry::result(part.meter.rows, part.meter.bytes);
        if let (Some(facts), Some(principal)) = (run.facts_of(index), &self.template.principal) {
            let now = self.services.clock.now();
            for budget in part.decision.limits.budgets.iter().filter(|budget| budget.covers(facts)) {
                self.services.budgets.spend(&principal.name, budget, part.meter.rows, now);
            }
        }
        let end = match record.outcome {
            Some(Outcome::Complete) => HoldEnd::Finished,
            Some(Outcome::Unknown) => HoldEnd::Unknown,
            _ => HoldEnd::Failed,
        };
        let last = run.parts.iter().all(|part| part.closed);
        if let Some(hold) = part.hold.clone().filter(|_| last) {
            self.ended_holds.push((hold, end));
        }
    }

    /// Statements of a run that a rule refuses: their closing lines, to be on disk before anybody is told.
    pub(super) fn refusals(&mut self, run: &mut Run, sqlstate: &str) -> Vec<StatementRecord> {
        let count = run.parts.len();
        let close = |index| {
            self.closing_line(run, index, |record| {
                record.outcome = Some(Outcome::Refused);
                record.sqlstate = Some(sqlstate.to_owned());
            })
        };
        (0..count).filter_map(close).collect()
    }

    /// An opening line is about to be written: whatever happens, a closing line must follow.
    pub(super) fn opening(&mut self, record: &StatementRecord) {
        self.opened.retain(|opened| opened.id != record.id);
        self.opened.push(record.clone());
    }

    /// The session is over: closes what was opened and has no run any more, such as a Bind that was approved and never
    /// executed, and gives away what the log had no room for.
    pub(super) fn end(&mut self) -> VecDeque<StatementRecord> {
        for opened in std::mem::take(&mut self.opened) {
            self.hand_in(log::closing(&opened));
        }
        std::mem::take(&mut self.closing)
    }

    /// Hands a closing line in, or keeps it until the log has room.
    pub(super) fn hand_in(&mut self, record: StatementRecord) {
        if !self.closing.is_empty() {
            self.closing.push_back(record);
        } else if let Err(error) = self.services.log.try_append(record) {
            self.closing.extend(error.into_record());
        }
    }

    fn close(&mut self, run: &mut Run, index: usize, fill: impl FnOnce(&mut StatementRecord)) {
        if let Some(record) = self.closing_line(run, index, fill) {
            self.hand_in(record);
        }
    }

    /// The one closing line of a statement; `None` where it was made before.
    fn closing_line(
        &mut self,
        run: &mut Run,
        index: usize,
        fill: impl FnOnce(&mut StatementRecord),
    ) -> Option<StatementRecord> {
        match run.parts.get_mut(index) {
            Some(Part { closed, .. }) if !*closed => *closed = true,
            _ => return None,
        }
        let mut record = self.record(run, index, Event::Closed)?;
        self.opened.retain(|opened| opened.id != record.id);
        let took = clock::monotonic().saturating_duration_since(run.since);
        record.duration_us = Some(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        fill(&mut record);
        self.account(run, index, &record);
        Some(record)
    }
}
