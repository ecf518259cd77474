//! From a text to a judged run: facts, what names mean here and now, and the policy's decisions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::names::{Epoch, Prepared};
use super::phase::{Request, Status};
use super::relay::End;
use super::run::Run;
use super::{Mode, Session};
use crate::analysis::{Bound, Facts, Kind, SessionEffect, StatementFacts};
use crate::backend::databases::Snapshot;
use crate::catalog::{CatalogBuilder, source};
use crate::policy::{self, Decision, Estimate};
use crate::report::Report;
use crate::sqlstate;

/// An unknown name makes one session read the catalog again at most this often.
const LOOK_UP_PAUSE: Duration = Duration::from_secs(1);

impl Session {
    /// Whether verdicts are carried out.
    pub(super) fn enforces(&self) -> bool {
        self.services.mode == Mode::Enforce && self.services.policy.load().mode() == policy::Mode::Enforce
    }

    /// What facts depend on besides the text.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch {
            catalog: self.snapshot.as_ref().map_or(0, |snapshot| snapshot.version),
            settings: self.settings.generation,
        }
    }

    /// Judges a text.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn judge(&mut self, text: &Bytes) -> Result<Result<Box<Run>, Report>, End> {
        let facts = match self.facts(text).await? {
            Ok(facts) => facts,
            Err(report) => return Ok(Err(report)),
        };
        Ok(Ok(self.decide(text.clone(), facts)))
    }

    /// Judges a prepared statement; its facts are worked out again where what they depend on has changed.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn judge_prepared(&mut self, prepared: &Prepared) -> Result<Result<Box<Run>, Report>, End> {
        self.refresh().await?;
        if prepared.epoch == self.epoch() {
            return Ok(Ok(self.decide(prepared.text.clone(), prepared.facts.clone())));
        }
        let facts = match self.facts(&prepared.text).await? {
            Ok(facts) if prepared.by_sql => inner_facts(&facts).unwrap_or(facts),
            Ok(facts) => facts,
            Err(report) => return Ok(Err(report)),
        };
        Ok(Ok(self.decide(prepared.text.clone(), facts)))
    }

    /// Judges the call of a function by its OID.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn judge_call(&mut self, oid: u32) -> Result<Box<Run>, End> {
        self.refresh().await?;
        let text = Bytes::from(format!("FunctionCall {oid}"));
        let mut facts = StatementFacts::opaque("FUNCTION CALL", 0..text.len(), "the fast-path call is not analysed");
        facts.kinds.insert(Kind::Call);
        if let Some(function) = self.snapshot.as_ref().and_then(|snapshot| snapshot.catalog.function(oid)) {
            facts.functions.insert(format!("{}.{}", function.schema, function.name));
        }
        Ok(self.decide(text, Arc::new(Facts { statements: vec![facts] })))
    }

    /// The prepared statement that a Bind names: of this batch, or confirmed. An unknown one is opaque.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn prepared(&mut self, name: &[u8]) -> Result<Prepared, End> {
        if let Some(prepared) = self.parsed_in_batch(name) {
            return Ok(prepared);
        }
        if self.phase.has_older_batch() {
            // What an older batch did to names is known only from its answers.
            self.settle().await?;
        }
        let unknown = || Prepared::opaque(name, "no prepared statement of this name is known");
        Ok(self.names.statement(name).cloned().unwrap_or_else(unknown))
    }

    fn parsed_in_batch(&self, name: &[u8]) -> Option<Prepared> {
        self.phase.batch().find_map(|request| match request {
            Request::Parse(parsed, prepared) if **parsed == *name => Some(prepared.clone()),
            _ => None,
        })
    }

    /// The run of a portal that is to be executed.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn take_portal_run(&mut self, name: &[u8]) -> Result<Result<PortalRun, Report>, End> {
        let bound = self.phase.bound_in_batch(name);
        if bound.is_none() && self.phase.has_older_batch() {
            self.settle().await?;
        }
        let portal = match self.phase.bound_in_batch(name) {
            Some(portal) => Some(portal),
            None => self.names.portal_mut(name),
        };
        let Some(portal) = portal else {
            let prepared = Prepared::opaque(name, "no portal of this name is known");
            let judged = self.judge_prepared(&prepared).await?;
            return Ok(judged.map(|run| PortalRun { run, cleared: false, values: Bytes::new() }));
        };
        if let Some(run) = portal.cleared.take() {
            return Ok(Ok(PortalRun { run, cleared: true, values: Bytes::new() }));
        }
        let (prepared, rows_sent, values) = (portal.prepared.clone(), portal.rows_sent, portal.values.clone());
        let mut judged = self.judge_prepared(&prepared).await?;
        if let Ok(run) = &mut judged {
            for part in &mut run.parts {
                part.meter.rows_before = rows_sent;
            }
        }
        Ok(judged.map(|run| PortalRun { run, cleared: false, values }))
    }

    /// Compares the catalog with the server before an approval is spent: what the approval was bound to may have changed
    /// behind the proxy's back.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn look_again(&mut self) -> Result<(), End> {
        if self.private || !self.services.databases.has_credential() {
            // In the middle of a batch nothing can be asked: what is known there was read before it.
            if !self.phase.executed {
                self.snapshot = None;
            }
            return Ok(());
        }
        let (services, database) = (self.services.clone(), self.who.database.clone());
        if let Err(error) = self.wait_for(async move { services.databases.check(&database).await }).await? {
            tracing::warn!(%error, "the catalog could not be compared and is read again");
            self.services.databases.database(&self.who.database).mark_stale();
        }
        Ok(())
    }

    /// Judges a run anew before an approval is spent. Some: it became stricter, and the approval does not stand.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn judge_again(&mut self, run: &mut Box<Run>) -> Result<Option<Report>, End> {
        let Some(before) = run.parts.get(run.deciding()).map(|part| part.decision.clone()) else { return Ok(None) };
        let judged = if run.text.starts_with(b"FunctionCall ") {
            Ok(self.decide(run.text.clone(), run.facts.clone()))
        } else {
            self.judge_prepared(&Prepared::of(run)).await?
        };
        let mut again = match judged {
            Ok(again) => again,
            Err(report) => return Ok(Some(report)),
        };
        let Some(after) = again.parts.get(again.deciding()).map(|part| part.decision.clone()) else { return Ok(None) };
        let stricter = after.verdict > before.verdict
            || after.approve.quorum > before.approve.quorum
            || before.approve.from.iter().any(|group| !after.approve.from.contains(group));
        if stricter {
            return Ok(Some(
                Report::new(sqlstate::HOLD_LAPSED, "the approval is void because the policy became stricter")
                    .detail("The statement was judged again before it ran, and was not executed.")
                    .hint("Send the statement again to ask for a new approval."),
            ));
        }
        for (part, old) in again.parts.iter_mut().zip(&run.parts) {
            part.id = old.id;
            part.hold.clone_from(&old.hold);
        }
        again.since = run.since;
        again.portal.clone_from(&run.portal);
        *run = again;
        Ok(None)
    }

    #[expect(clippy::unnecessary_box_returns, reason = "runs live in boxes: they wait in queues beside small entries")]
    fn decide(&mut self, text: Bytes, facts: Arc<Facts>) -> Box<Run> {
        let policy = self.services.policy.load();
        let observes = !self.enforces();
        self.scribe.policy(policy.sha256(), observes);
        let now = self.services.clock.now();
        let facts = self.resolve(&facts).unwrap_or(facts);
        let decisions = facts.statements.iter().map(|facts| {
            let mut request = policy::Request {
                principal: &self.who.principal,
                database: &self.who.database,
                client: self.who.client.map(|address| address.ip()),
                environment: self.who.environment.as_deref(),
                intent: self.settings.intent.as_deref(),
                facts,
                estimate: None,
                at: now,
            };
            let decision = policy.evaluate(&request);
            if !decision.wants_estimate {
                return decision;
            }
            request.estimate = self.estimate(facts);
            if request.estimate.is_none() { decision } else { policy.evaluate(&request) }
        });
        let decisions: Vec<Decision> = decisions.collect();
        let mut run = Run::new(text, facts, decisions);
        self.charge_budgets(&mut run);
        Box::new(run)
    }

    /// What the catalog says of the size of a result: the rows of what is scanned without a narrowing condition.
    pub(super) fn estimate(&self, facts: &StatementFacts) -> Option<Estimate> {
        if let Some(rows) = facts.bound.rows() {
            return Some(Estimate { rows: Some(rows), bytes: None });
        }
        let catalog = &self.snapshot.as_ref()?.catalog;
        let rows = facts
            .scans
            .iter()
            .map(|name| catalog.relation_in(&name.schema, &name.name).and_then(|relation| relation.estimated_rows()))
            .try_fold(0_u64, |sum, rows| rows.map(|rows| sum.max(rows)))?;
        (!facts.scans.is_empty()).then_some(Estimate { rows: Some(rows), bytes: None })
    }

    /// What is left of budgets caps the run too.
    fn charge_budgets(&self, run: &mut Run) {
        let now = self.services.clock.now();
        for (part, facts) in run.parts.iter_mut().zip(&run.facts.statements) {
            for budget in &part.decision.limits.budgets {
                if !budget.covers(facts) {
                    continue;
                }
                let left = self.services.budgets.left(&self.who.principal.name, budget, now);
                part.meter.rows_max = Some(part.meter.rows_max.map_or(left, |max| max.min(left)));
            }
        }
    }

    /// EXECUTE and FETCH carry the facts of what they run.
    fn resolve(&self, facts: &Arc<Facts>) -> Option<Arc<Facts>> {
        let resolves =
            |effect: &SessionEffect| matches!(effect, SessionEffect::Execute { .. } | SessionEffect::Fetch { .. });
        if !facts.statements.iter().any(|facts| facts.effects.iter().any(resolves)) {
            return None;
        }
        let mut facts = Facts::clone(facts);
        for statement in &mut facts.statements {
            for effect in statement.effects.clone() {
                match effect {
                    SessionEffect::Execute { name } => {
                        let inner = self.names.statement(name.as_bytes()).map(|prepared| &prepared.facts);
                        carry(statement, inner, "EXECUTE of a statement that is not known");
                    }
                    SessionEffect::Fetch { name, rows, moves } => {
                        let inner = self.names.portal(name.as_bytes()).map(|portal| &portal.prepared.facts);
                        carry(statement, inner, "FETCH from a cursor that is not known");
                        if moves || rows.is_some() {
                            statement.bound = Bound::Rows(if moves { 0 } else { rows.unwrap_or(u64::MAX) });
                        }
                    }
                    _ => {}
                }
            }
        }
        Some(Arc::new(facts))
    }

    async fn facts(&mut self, text: &Bytes) -> Result<Result<Arc<Facts>, Report>, End> {
        self.refresh().await?;
        let facts = match self.read_text(text).await? {
            Ok(facts) => facts,
            Err(report) => return Ok(Err(report)),
        };
        if !is_unresolved(&facts) {
            return Ok(Ok(self.in_sequence(text, facts).await?));
        }
        let now = self.services.clock.now();
        if now.since(self.looked_up_at) >= LOOK_UP_PAUSE {
            // A name that the catalog does not know: something may have been created behind our back.
            self.looked_up_at = now;
            self.services.databases.database(&self.who.database).mark_stale();
            self.snapshot = None;
            self.refresh().await?;
        }
        let facts = self.read_text(text).await?;
        if !self.has_own || self.private || !facts.as_ref().is_ok_and(|facts| is_unresolved(facts)) {
            return self.sequenced(text, facts).await;
        }
        // A temporary relation, perhaps: only this connection can see it.
        self.private = true;
        self.snapshot = None;
        self.refresh().await?;
        let facts = self.read_text(text).await?;
        self.sequenced(text, facts).await
    }

    async fn sequenced(
        &mut self,
        text: &Bytes,
        facts: Result<Arc<Facts>, Report>,
    ) -> Result<Result<Arc<Facts>, Report>, End> {
        match facts {
            Ok(facts) => Ok(Ok(self.in_sequence(text, facts).await?)),
            refused => Ok(refused),
        }
    }

    /// Makes sure that the catalog and the meaning of names are current, where that can be asked now.
    async fn refresh(&mut self) -> Result<(), End> {
        self.follow_tags();
        if self.settings.names.is_some() && self.is_current() {
            return Ok(());
        }
        if self.phase.status == Status::Failed || self.phase.skipping {
            return Ok(());
        }
        self.learn_names().await?;
        if self.is_current() {
            return Ok(());
        }
        let uncommitted = self.changed && self.phase.status == Status::Transaction;
        if self.services.databases.has_credential() {
            let (services, database) = (self.services.clone(), self.who.database.clone());
            match self.wait_for(async move { services.databases.fresh(&database).await }).await? {
                Ok(shared) if uncommitted || self.private => self.private_base = shared.version,
                Ok(shared) => {
                    self.snapshot = Some(shared);
                    return Ok(());
                }
                Err(error) => tracing::warn!(%error, "the catalog is read over the client's connection"),
            }
        }
        self.read_catalog(uncommitted).await
    }

    fn is_current(&self) -> bool {
        let Some(mine) = &self.snapshot else { return false };
        let version = if self.private { self.private_base } else { mine.version };
        let shared = self.services.databases.database(&self.who.database).current();
        shared.map_or(self.private && version == 0, |shared| shared.version == version)
    }

    /// Reads the catalog over the client's own connection.
    async fn read_catalog(&mut self, uncommitted: bool) -> Result<(), End> {
        let mut builder = CatalogBuilder::new();
        for query in source::QUERIES {
            let Some(rows) = self.ask(query.sql).await? else { return Ok(()) };
            for json in rows.into_iter().flatten().flatten() {
                if let Err(error) = builder.add(query.name, &json) {
                    tracing::error!(%error, "the catalog cannot be read");
                    return Ok(());
                }
            }
        }
        let catalog = builder.finish();
        let databases = &self.services.databases;
        let snapshot: Arc<Snapshot> = if uncommitted || self.private {
            self.private = true;
            let snapshot = databases.private(&self.who.database, &catalog, &self.own);
            self.keep_own(&snapshot);
            snapshot
        } else {
            databases.offer(&self.who.database, &catalog)
        };
        self.snapshot = Some(snapshot);
        Ok(())
    }
}

/// A portal that is to be executed.
pub(super) struct PortalRun {
    pub(super) run: Box<Run>,
    /// It was cleared at its Bind, and that is spent now.
    pub(super) cleared: bool,
    /// The values of its Bind, as they came.
    pub(super) values: Bytes,
}

fn is_unresolved(facts: &Facts) -> bool {
    facts.statements.iter().any(|facts| facts.unresolved)
}

/// The facts of the statement inside a PREPARE or DECLARE.
fn inner_facts(facts: &Facts) -> Option<Arc<Facts>> {
    facts.statements.iter().flat_map(|facts| &facts.effects).find_map(|effect| match effect {
        SessionEffect::Prepare { inner, .. } | SessionEffect::Declare { inner, .. } => {
            Some(Arc::new(Facts { statements: vec![StatementFacts::clone(inner)] }))
        }
        _ => None,
    })
}

fn carry(statement: &mut StatementFacts, inner: Option<&Arc<Facts>>, unknown: &str) {
    if let Some(inner) = inner.and_then(|facts| facts.statements.first()) {
        statement.carry(inner);
    } else {
        statement.kinds.insert(Kind::Opaque);
        statement.opaque.push(unknown.to_owned());
    }
}
