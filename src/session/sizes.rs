//! How much a statement brings back: proved by its text, estimated by the server's planner, counted by the catalog, or
//! unknown.
//!
//! The planner is asked only where the answer could turn the verdict, for a session whose role is that of the proxy's own
//! credential, and while nothing of this session is there that another connection does not see. Where it has no answer in
//! time, what the catalog counts stands. A limit that a verdict rests on is counted on the wire in any case.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Session;
use super::judge::{Compared, DEFINITIONS_AGE};
use super::names::{Epoch, Prepared};
use super::phase::Status;
use super::relay::End;
use super::run::{Run, leaves_all_as_it_is};
use crate::analysis::{self, Facts, SessionEffect, StatementFacts};
use crate::backend::planner::{Planned, Question};
use crate::clock::{self, Timestamp};
use crate::policy::{self, Basis, Decision, Estimate, Policy};

/// Statements of one text that the planner is asked about.
const PLANS_MAX: usize = 4;

/// How long an answer is good for the same text with the same values: from its Parse to its Execute.
const PLANNED_FOR: Duration = Duration::from_secs(1);

/// The values of a Bind and their types, as the client sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// OIDs; 0, or missing at the end, where the client left them to the server.
    pub(super) types: Arc<[u32]>,
    /// What the Bind has behind its names.
    pub(super) bind: Bytes,
}

impl Sent {
    pub(super) fn to(prepared: &Prepared, bind: &Bytes) -> Self {
        Self { types: prepared.types.clone(), bind: bind.clone() }
    }
}

/// What the planner said of the statements of one text.
#[derive(Clone, Debug)]
pub(super) struct Plans {
    text: Bytes,
    /// The values that were planned with; `None` where no statement has any.
    sent: Option<Sent>,
    epoch: Epoch,
    at: Instant,
    /// One a statement, as far as they were asked about.
    planned: Vec<Option<Planned>>,
}

impl Plans {
    fn are_of(&self, text: &Bytes, sent: Option<&Sent>, epoch: Epoch) -> bool {
        self.text == *text
            && (self.sent.is_none() || self.sent.as_ref() == sent)
            && self.epoch == epoch
            && clock::monotonic().saturating_duration_since(self.at) < PLANNED_FOR
    }
}

/// The size of one statement's result, and the plan that it was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) estimate: Estimate,
    pub(super) plan: Option<String>,
}

impl Size {
    fn rows(rows: u64, source: Basis) -> Self {
        Self { estimate: Estimate { rows: Some(rows), bytes: None, source }, plan: None }
    }
}

impl Session {
    /// Asks the planner about the statements of a text whose verdict an answer could turn.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn plan_ahead(&mut self, text: &Bytes, facts: &Arc<Facts>, sent: Option<Sent>) -> Result<(), End> {
        let epoch = self.epoch();
        if self.plans.as_ref().is_some_and(|plans| plans.are_of(text, sent.as_ref(), epoch)) {
            return Ok(());
        }
        self.plans = None;
        let met_before = || {
            let policy = self.services.policy.load();
            // What is remembered did not hang on a size.
            self.decided.get(facts, &policy, self.settings.intent.as_deref()).is_some()
        };
        if !self.may_plan() || !facts.statements.iter().any(may_be_planned) || met_before() {
            return Ok(());
        }
        let facts = self.resolve(facts.clone());
        let mut plans = Plans { text: text.clone(), sent: None, epoch, at: clock::monotonic(), planned: Vec::new() };
        for (index, statement) in facts.statements.iter().enumerate().take(PLANS_MAX) {
            let asked = if may_be_planned(statement) && self.turns_on_size(statement) {
                Box::pin(self.plan(text, (&facts, index), sent.as_ref(), &mut plans)).await?
            } else {
                None
            };
            plans.planned.push(asked);
            if !leaves_all_as_it_is(statement) {
                // What comes after it would be planned without what it does.
                break;
            }
        }
        plans.at = clock::monotonic();
        if plans.planned.iter().any(Option::is_some) {
            self.plans = Some(Arc::new(plans));
        }
        Ok(())
    }

    /// Whether another connection of the same role sees what this session sees.
    fn may_plan(&self) -> bool {
        let role = self.services.databases.role();
        let same = |name: &str| role == Some(name);
        self.settings.names.as_ref().is_some_and(|names| same(&names.role))
            && same(&self.who.principal.role)
            && self.settings.is_utf8
            && self.settings.standard_conforming_strings
            && self.phase.status != Status::Failed
            && !self.phase.skipping
            && !(self.private || self.changed || self.own_changed || self.wrote)
    }

    /// Whether the verdict over a small result is another one than over a large one.
    fn turns_on_size(&self, facts: &StatementFacts) -> bool {
        let policy = self.services.policy.load();
        let now = self.services.clock.now();
        if !self.opinion(&policy, facts, None, now).wants_estimate {
            return false;
        }
        let of = |size: u64| {
            let estimate = Estimate { rows: Some(size), bytes: Some(size), source: Basis::Estimated };
            let decision = self.opinion(&policy, facts, Some(estimate), now);
            (decision.verdict, decision.rule)
        };
        of(0) != of(u64::MAX)
    }

    async fn plan(
        &mut self,
        text: &Bytes,
        (facts, index): (&Facts, usize),
        sent: Option<&Sent>,
        plans: &mut Plans,
    ) -> Result<Option<Planned>, End> {
        let Some(statement) = facts.statements.get(index) else { return Ok(None) };
        let (text, sent) = match fetched(statement) {
            // The cursor's query, as its DECLARE has it.
            Some(cursor) => match self.names.portal(cursor.as_bytes()) {
                Some(portal) => (portal.prepared.text.clone(), None),
                None => return Ok(None),
            },
            None if facts.statements.len() == 1 => (text.clone(), sent),
            None => (text.slice(statement.span.start.min(text.len())..statement.span.end.min(text.len())), sent),
        };
        let types: Arc<[u32]> = sent.map_or_else(Arc::default, |sent| sent.types.clone());
        // What is planned must be what was looked at.
        if self.compare(DEFINITIONS_AGE).await? == Compared::Changed {
            return Ok(None);
        }
        let Some(context) = self.context() else { return Ok(None) };
        let Some(plannable) = analysis::plannable(&text, &types, &context) else { return Ok(None) };
        if plannable.parameters {
            if sent.is_none() {
                return Ok(None);
            }
            plans.sent = sent.cloned();
        }
        let bind = sent.filter(|_| plannable.parameters).map(|sent| sent.bind.clone()).unwrap_or_default();
        let question = Question {
            query: plannable.query,
            search_path: self.settings.names.as_ref().map(|names| names.search_path.clone()).unwrap_or_default(),
            settings: self.settings.literals.clone(),
            types: if bind.is_empty() { Arc::default() } else { types },
            bind,
        };
        let (services, database) = (self.services.clone(), self.who.database.clone());
        let asked = Box::pin(async move { services.databases.plan(&database, &question).await });
        match self.wait_for(asked).await? {
            Ok(planned) => Ok(Some(planned)),
            Err(error) => {
                tracing::debug!(%error, "what the catalog counts stands for an estimate");
                Ok(None)
            }
        }
    }

    /// What the policy says of one statement at this size.
    fn opinion(&self, policy: &Policy, facts: &StatementFacts, estimate: Option<Estimate>, at: Timestamp) -> Decision {
        policy.evaluate(&policy::Request {
            principal: &self.who.principal,
            database: &self.who.database,
            client: self.who.client.map(|address| address.ip()),
            environment: self.who.environment.as_deref(),
            intent: self.settings.intent.as_deref(),
            facts,
            estimate,
            at,
        })
    }

    /// The decision over one statement of this size.
    pub(super) fn sized(&self, facts: &StatementFacts, size: &Size, policy: &Policy) -> Decision {
        let now = self.services.clock.now();
        let decision = self.opinion(policy, facts, None, now);
        if !decision.wants_estimate || size.estimate.source == Basis::Unknown {
            return decision;
        }
        // It hangs on this size, and is not to be remembered for another one.
        Decision { wants_estimate: true, ..self.opinion(policy, facts, Some(size.estimate), now) }
    }

    /// The size of one statement's result, as far as it is known. What is proved is never more, and comes first.
    pub(super) fn size(&self, (text, index): (&Bytes, usize), facts: &StatementFacts) -> Size {
        if let Some(rows) = facts.bound.rows() {
            return Size::rows(rows, Basis::Proved);
        }
        let planned =
            self.plans.as_ref().filter(|plans| plans.text == *text).and_then(|plans| plans.planned.get(index));
        if let Some(Some(planned)) = planned {
            let estimate = Estimate { rows: Some(planned.rows), bytes: Some(planned.bytes), source: Basis::Estimated };
            return Size { estimate, plan: Some(planned.summary.clone()) };
        }
        self.counted(facts).map_or_else(Size::default, |rows| Size::rows(rows, Basis::Counted))
    }

    /// What the catalog counts of what is scanned without a narrowing condition.
    fn counted(&self, facts: &StatementFacts) -> Option<u64> {
        let catalog = &self.snapshot.as_ref()?.catalog;
        let rows = facts
            .scans
            .iter()
            .map(|name| catalog.relation_in(&name.schema, &name.name).and_then(|relation| relation.estimated_rows()))
            .try_fold(0_u64, |sum, rows| rows.map(|rows| sum.max(rows)))?;
        (!facts.scans.is_empty()).then_some(rows)
    }

    /// A run was put on its way: what it writes is seen by this connection alone until its transaction ends.
    pub(super) fn note_writes(&mut self, run: &Run) {
        self.wrote |= run.writes();
        if run.facts.statements.iter().any(moves_databases) {
            self.services.databases.make_way();
        }
    }

    /// A transaction has ended; what is on its way may have begun the next one.
    pub(super) fn forget_writes(&mut self) {
        self.wrote = self.phase.writes();
    }
}

/// It wants to be alone in the database that it drops, alters or copies.
fn moves_databases(facts: &StatementFacts) -> bool {
    matches!(facts.command.as_str(), "CREATE DATABASE" | "ALTER DATABASE" | "DROP DATABASE")
}

/// A query whose size no text proves.
fn may_be_planned(facts: &StatementFacts) -> bool {
    let reads = matches!(facts.command.as_str(), "SELECT" | "COPY") && facts.pure_read;
    (reads && facts.bound.rows().is_none()) || fetched(facts).is_some()
}

/// The cursor of which all rows are fetched.
fn fetched(facts: &StatementFacts) -> Option<&str> {
    facts.effects.iter().find_map(|effect| match effect {
        SessionEffect::Fetch { name, rows: None, moves: false } => Some(name.as_str()),
        _ => None,
    })
}
