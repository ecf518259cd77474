//! The card: what an operator sees of a held statement.

use super::Session;
use super::action;
use super::clear::Form;
use super::impact;
use super::run::Run;
use super::trip::Trip;
use crate::analysis::StatementFacts;
use crate::analysis::scan::Secrets;
use crate::approvals::{Approvers, CardColumn, Hold, HoldState, Impact, NewHold, Origin, Waiting};
use crate::clock::Timestamp;
use crate::ids::HoldId;
use crate::lineage::Event;
use crate::policy::Estimate;
use crate::report::Report;
use crate::sqlstate;
use crate::wire::frontend;

/// What a value looks like in history.
const MASKED: &str = "?";

/// A stream that stopped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paused {
    pub(super) rows_sent: u64,
    pub(super) trip: Trip,
}

impl Paused {
    fn reason(self) -> String {
        match self.trip {
            Trip::Limit => format!("the result is larger than the {} rows that the rule lets pass", self.rows_sent),
            Trip::Unforeseen => "the result has a tagged column that the text did not show".into(),
        }
    }
}

impl Session {
    /// The card of a run that is to be held; `paused` where it is a stream that stopped.
    ///
    /// # Errors
    /// Values that cannot be shown, or a run without a decision.
    pub(super) fn card(&self, run: &Run, form: &Form, paused: Option<Paused>) -> Result<NewHold, Report> {
        let index = if paused.is_some() { run.current } else { run.deciding() };
        let event = if paused.is_some() { Event::Paused } else { Event::Held };
        let (Some(part), Some(facts), Some(record)) =
            (run.parts.get(index), run.facts_of(index), self.scribe.record(run, index, event))
        else {
            return Err(Report::new(sqlstate::INTERNAL_ERROR, "a statement without a decision cannot be held"));
        };
        // The whole text for whoever decides, but for what nobody may be shown.
        let secrets = Secrets::of(&run.text, self.scribe.strings());
        let parameters = values(form, &secrets)?;
        let decision = &part.decision;
        let now = self.services.clock.now();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let hold = Hold {
            id: HoldId::new(),
            state: HoldState::Pending,
            waiting: Waiting::Connection,
            created_at: now,
            expires_at: now.after(
                self.services.hold.expires.map_or(decision.approve.expires, |most| decision.approve.expires.min(most)),
            ),
            rule: decision.rule.to_string(),
            reason: paused.map_or_else(|| decision.reason.clone(), Paused::reason),
            principal: self.who.principal.clone(),
            origin: Origin { client: text(&record.client), application_name: text(&record.application_name) },
            agent: self.settings.agent.clone(),
            model: self.settings.model.clone(),
            intent: self.settings.intent.clone(),
            database: self.who.database.clone(),
            environment: self.who.environment.clone(),
            statement: String::from_utf8_lossy(&secrets.hide(&run.text)).into_owned(),
            action_hash: action::hash(self, run, form),
            kinds: facts.kinds.iter().copied().collect(),
            command: facts.command.clone(),
            relations: facts.relations.iter().map(ToString::to_string).collect(),
            columns: columns(facts),
            tags: record.tags.clone(),
            sensitivity: decision.sensitivity,
            opaque: record.opaque.clone(),
            findings: findings(facts, form),
            estimate: part.size.estimate,
            plan: part.size.plan.clone(),
            // Of a stream that stopped, the rest is asked about.
            cap: if paused.is_some() { Estimate::default() } else { impact::cap(facts, part.size.estimate) },
            impact: Impact::default(),
            requester: None,
            bundle: None,
            rows_sent: paused.map_or(0, |paused| paused.rows_sent),
            holding_locks_since: self.locks_since(),
            approve: Approvers {
                from: decision.approve.from.clone(),
                quorum: decision.approve.quorum,
                given: Vec::new(),
            },
            decision: None,
            parameters: parameters.clone(),
        };
        let masked_parameters = parameters.into_iter().map(|value| value.map(|_| MASKED.to_owned())).collect();
        Ok(NewHold { hold, record, masked_parameters })
    }

    fn locks_since(&self) -> Option<Timestamp> {
        self.transaction_since.filter(|_| self.holds_locks())
    }
}

fn columns(facts: &StatementFacts) -> std::collections::BTreeMap<String, CardColumn> {
    let column = |column: &crate::analysis::ColumnFacts| CardColumn {
        tags: column.tags.iter().map(ToString::to_string).collect(),
        access: column.access.iter().copied().collect(),
    };
    facts.columns.iter().map(|(name, facts)| (name.to_string(), column(facts))).collect()
}

/// What is found in the statement, behind how often it runs.
fn findings(facts: &StatementFacts, form: &Form) -> Vec<String> {
    let often = if let Form::Binds(many) = form { Some(many.finding()) } else { None };
    often.into_iter().chain(facts.findings.iter().cloned()).collect()
}

/// Bind values as an operator reads them: text as it is, binary as hex with its length, secrets masked.
fn values(form: &Form, secrets: &Secrets) -> Result<Vec<Option<String>>, Report> {
    let values = match form {
        Form::Binds(many) => many
            .values
            .iter()
            .map(|rest| frontend::bind_values(rest))
            .collect::<Result<Vec<_>, _>>()
            .map(|all| all.concat()),
        Form::Bind(rest) | Form::Execute(rest) if !rest.is_empty() => frontend::bind_values(rest),
        Form::Call(rest) => frontend::call_values(rest),
        Form::Query | Form::Bind(_) | Form::Execute(_) => return Ok(Vec::new()),
    };
    Ok(values
        .map_err(|malformed| Report::new(sqlstate::PROTOCOL_VIOLATION, malformed.reason))?
        .into_iter()
        .zip(1..)
        .map(|(value, number)| {
            value.bytes.map(|bytes| match std::str::from_utf8(bytes) {
                _ if secrets.hides_value(number, bytes) => MASKED.to_owned(),
                Ok(text) if !value.binary => text.to_owned(),
                _ => format!("\\x{}", crate::ids::hex(bytes)),
            })
        })
        .collect())
}
