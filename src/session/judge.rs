//! From a text to a judged run: facts, what names mean here and now, and the policy's decisions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::meaning::{Plan, names_another};
use super::names::{Epoch, Prepared};
use super::phase::Status;
use super::relay::End;
use super::run::{Revocable, Run};
use super::sizes::{Sent, Size};
use super::{Mode, Session, read};
use crate::analysis::{self, Context, Facts, Kind, StatementFacts};
use crate::approvals::Hold;
use crate::catalog::Catalog;
use crate::policy::{self, Decision, Policy, Verdict};
use crate::report::Report;
use crate::sqlstate;

/// An unknown name makes one session read the catalog again at most this often.
const LOOK_UP_PAUSE: Duration = Duration::from_secs(1);

/// Definitions that can be replaced in their place were compared with the server this long ago at most.
pub(super) const DEFINITIONS_AGE: Duration = Duration::from_millis(50);

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
        // Boxed, as all that is seldom awaited: an idle session keeps the room of its largest await.
        if self.channel.is_walsender()
            && let Some(run) = Box::pin(self.judge_command(text)).await?
        {
            return Ok(Ok(run));
        }
        let facts = match self.read_in_turn(text).await? {
            Ok(facts) => facts,
            Err(report) => return Ok(Err(report)),
        };
        Ok(Ok(self.decide_planned(text, facts).await?))
    }

    /// The facts of a text, once all is answered that they hang on.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn read_in_turn(&mut self, text: &Bytes) -> Result<Result<Arc<Facts>, Report>, End> {
        self.catch_up().await?;
        let facts = match self.facts(text).await? {
            Ok(facts) => facts,
            Err(report) => return Ok(Err(report)),
        };
        self.catch_up_for(&facts).await?;
        Ok(Ok(facts))
    }

    /// Decides over a text without values of a Bind, with what the planner says of it.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn decide_planned(&mut self, text: &Bytes, facts: Arc<Facts>) -> Result<Box<Run>, End> {
        self.plan_ahead(text, &facts, None).await?;
        Ok(self.decide(text.clone(), facts))
    }

    /// Whether a frame that runs nothing by itself passes without more ado: these facts were let pass before by a policy
    /// that looked at nothing else, and the client has not given it up. What runs later is judged then, and recorded.
    pub(super) fn passes_again(&mut self, facts: &Arc<Facts>) -> bool {
        let policy = self.services.policy.load();
        let known = self.decided.get(facts, &policy, self.settings.intent.as_deref());
        let allowed = known.is_some_and(|decisions| matches!(decisions, [only] if only.verdict == Verdict::Allow));
        allowed && !self.hears_a_cancel()
    }

    /// Judges a prepared statement; its facts are worked out again where what they depend on has changed. `sent` is its
    /// Bind, to be planned with; without it, what the planner has said of the text before stands.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn judge_prepared(
        &mut self,
        prepared: &mut Prepared,
        plan: Plan,
        sent: Option<&Bytes>,
    ) -> Result<Result<Box<Run>, Report>, End> {
        match self.read_again(prepared, plan).await? {
            Ok(()) => Ok(Ok(self.decide_prepared(prepared, sent).await?)),
            Err(report) => Ok(Err(report)),
        }
    }

    /// Works out the facts of a prepared statement again where what they depend on has changed.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn read_again(&mut self, prepared: &mut Prepared, plan: Plan) -> Result<Result<(), Report>, End> {
        self.catch_up().await?;
        if let Some(facts) = self.names_nothing(&prepared.text).await? {
            prepared.facts = facts;
            return Ok(Ok(()));
        }
        self.refresh().await?;
        self.compare_definitions(&prepared.facts.clone()).await?;
        if prepared.epoch != self.epoch() {
            match self.facts(&prepared.text).await? {
                Ok(facts) => self.means_now(prepared, facts, plan),
                Err(report) => return Ok(Err(report)),
            }
        }
        self.catch_up_for(&prepared.facts).await?;
        Ok(Ok(()))
    }

    /// Decides over a prepared statement whose facts are those of now.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn decide_prepared(&mut self, prepared: &Prepared, sent: Option<&Bytes>) -> Result<Box<Run>, End> {
        if let Some(bind) = sent {
            let sent = Sent::to(prepared, bind);
            self.plan_ahead(&prepared.text, &prepared.facts, Some(sent)).await?;
        }
        let mut run = self.decide(prepared.text.clone(), prepared.facts.clone());
        if self.services.literals.tell_values() {
            run.sent = sent.map(|bind| Sent { types: prepared.value_types(), bind: bind.clone() });
        }
        Ok(run)
    }

    /// What is on its way to the server and may change what names mean is answered before the next text is judged.
    async fn catch_up(&mut self) -> Result<(), End> {
        let touched = self.settings.touched || self.changed || self.own_changed;
        let revocable = if touched { Revocable::Yes } else { Revocable::No };
        if self.phase.changes_meaning(revocable) { self.settle().await } else { Ok(()) }
    }

    /// EXECUTE and FETCH mean what their names mean once all that comes before them has been answered.
    async fn catch_up_for(&mut self, facts: &Facts) -> Result<(), End> {
        if names_another(facts) { self.settle().await } else { Ok(()) }
    }

    /// The prepared statement that a Bind names: of this batch, or confirmed. An unknown one is opaque.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn prepared(&mut self, name: &[u8]) -> Result<Prepared, End> {
        if let Some(prepared) = self.phase.parsed_in_batch(name) {
            return Ok(prepared.clone());
        }
        if self.phase.has_older_batch() {
            // What an older batch did to names is known only from its answers.
            self.settle().await?;
        }
        let unknown = || Prepared::opaque(name, "no prepared statement of this name is known");
        Ok(self.names.statement(name).cloned().unwrap_or_else(unknown))
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
            let mut prepared = Prepared::opaque(name, "no portal of this name is known");
            let judged = self.judge_prepared(&mut prepared, Plan::Fixed, None).await?;
            return Ok(judged.map(|run| PortalRun { run, cleared: false, values: Bytes::new() }));
        };
        if let Some(run) = portal.cleared.take() {
            return Ok(Ok(PortalRun { run, cleared: true, values: Bytes::new() }));
        }
        let (mut prepared, rows_sent, values) = (portal.prepared.clone(), portal.rows_sent, portal.values.clone());
        let mut judged = self.judge_prepared(&mut prepared, Plan::Fixed, Some(&values)).await?;
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
            self.snapshot = None;
            return Ok(());
        }
        let (services, database) = (self.services.clone(), self.who.database.clone());
        if let Err(error) = self.wait_for(async move { services.databases.check(&database).await }).await? {
            tracing::warn!(%error, "the catalog could not be compared and is read again");
            self.database.mark_stale();
        }
        Ok(())
    }

    /// Judges a run anew before an approval is spent. Some: it is stricter than what was approved, and the approval does
    /// not stand. What was approved is on the hold: the policy may have changed since a ticket was given.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn judge_again(&mut self, run: &mut Box<Run>, hold: &Hold) -> Result<Option<Report>, End> {
        let was = run.verdict();
        let judged = if let Some(oid) = run.call {
            self.judge_call(oid).await?
        } else if run.replicates {
            self.judge(&run.text.clone()).await?
        } else {
            // The same size as before: nobody has asked for another one.
            self.plans.clone_from(&run.plans);
            self.judge_prepared(&mut Prepared::of(run), Plan::Fixed, None).await?
        };
        let mut again = match judged {
            Ok(again) => again,
            Err(report) => return Ok(Some(report)),
        };
        let Some(after) = again.parts.get(again.deciding()).map(|part| part.decision.clone()) else { return Ok(None) };
        let stricter = after.verdict > was
            || after.approve.quorum > hold.approve.quorum
            || hold.approve.from.iter().any(|group| !after.approve.from.contains(group));
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
        again.statement.clone_from(&run.statement);
        again.sent.clone_from(&run.sent);
        *run = again;
        Ok(None)
    }

    pub(super) fn decide(&mut self, text: Bytes, facts: Arc<Facts>) -> Box<Run> {
        let policy = self.services.policy.load();
        let observes = !self.enforces();
        self.scribe.policy(policy.sha256(), observes);
        let facts = self.resolve(facts);
        let decisions = self.decisions((&text, &facts), &policy);
        let mut run = Run::new(text, facts, decisions);
        run.plans.clone_from(&self.plans);
        self.charge_budgets(&mut run);
        Box::new(run)
    }

    fn decisions(&mut self, (text, facts): (&Bytes, &Arc<Facts>), policy: &Arc<Policy>) -> Vec<(Arc<Decision>, Size)> {
        let sizes = facts.statements.iter().enumerate().map(|(index, facts)| self.size((text, index), facts));
        let intent = self.settings.intent.as_deref();
        if let Some(known) = self.decided.get(facts, policy, intent) {
            return known.iter().cloned().zip(sizes).collect();
        }
        let sizes: Vec<Size> = sizes.collect();
        let statements = facts.statements.iter().zip(&sizes);
        let decisions: Vec<_> = statements.map(|(facts, size)| Arc::new(self.sized(facts, size, policy))).collect();
        self.decided.keep(facts, policy, intent, &decisions);
        decisions.into_iter().zip(sizes).collect()
    }

    async fn facts(&mut self, text: &Bytes) -> Result<Result<Arc<Facts>, Report>, End> {
        if let Some(facts) = self.names_nothing(text).await? {
            return Ok(Ok(facts));
        }
        self.refresh().await?;
        let facts = match self.read_text(text).await? {
            Ok(facts) => facts,
            Err(report) => return Ok(Err(report)),
        };
        if !is_unresolved(&facts) {
            if self.compare_definitions(&facts).await? == Compared::Changed {
                let facts = self.read_text(text).await?;
                return Box::pin(self.sequenced(text, facts)).await;
            }
            return if facts.statements.len() > 1 {
                Box::pin(self.in_sequence(text, facts)).await.map(Ok)
            } else {
                Ok(Ok(facts))
            };
        }
        Box::pin(self.look_up(text)).await
    }

    /// A name that the catalog does not know: something may have been created behind our back.
    async fn look_up(&mut self, text: &Bytes) -> Result<Result<Arc<Facts>, Report>, End> {
        if self.compare_now().await? == Compared::Changed {
            let facts = self.read_text(text).await?;
            if facts.as_ref().is_ok_and(|facts| !is_unresolved(facts)) {
                return self.sequenced(text, facts).await;
            }
        }
        let now = self.services.clock.now();
        if now.since(self.looked_up_at) >= LOOK_UP_PAUSE {
            self.looked_up_at = now;
            self.database.mark_stale();
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

    /// Views, functions and policies can be replaced in their place, and no description of a result shows it: they are
    /// compared with the server before what rests on them is judged, unless that was done a moment ago.
    async fn compare_definitions(&mut self, facts: &Facts) -> Result<Compared, End> {
        let announced = self.database.is_announced();
        let rests = announced || facts.statements.iter().any(|facts| facts.defined || !facts.functions.is_empty());
        if rests { self.compare(DEFINITIONS_AGE).await } else { Ok(Compared::Same) }
    }

    async fn compare_now(&mut self) -> Result<Compared, End> {
        self.compare(Duration::ZERO).await
    }

    /// Compares the shared catalog with the server over the proxy's own connection; a new one is in force at once.
    pub(super) async fn compare(&mut self, age: Duration) -> Result<Compared, End> {
        if !self.services.databases.has_credential() {
            return Ok(Compared::Same);
        }
        let before = self.epoch();
        let (services, database) = (self.services.clone(), self.who.database.clone());
        let check = Box::pin(async move { services.databases.check_within(&database, age).await });
        let checked = self.wait_for(check).await?;
        if let Err(error) = checked {
            tracing::warn!(%error, "the catalog could not be compared");
        }
        self.refresh().await?;
        Ok(if self.epoch() == before { Compared::Same } else { Compared::Changed })
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

    /// The facts of a text at once; one that takes long is opaque.
    pub(super) fn analyse(&self, text: &Bytes) -> Result<Arc<Facts>, Report> {
        match self.context() {
            Some(context) => self.services.facts.analyze(text, &context).map_err(read::too_hard),
            None => Ok(self.without_names(text)),
        }
    }

    /// The facts of a text while nothing is known of what names mean.
    pub(super) fn without_names(&self, text: &Bytes) -> Arc<Facts> {
        self.always_allowed(text).unwrap_or_else(|| {
            let why = "the catalog or the search path of this session is not known";
            read::unknown(text, why)
        })
    }

    /// What names nothing does not wait while the catalog is read again: a cancel that finds BEGIN waiting was meant for what
    /// comes after it. Where the catalog is read over the client's own connection it is read before a transaction begins.
    async fn names_nothing(&mut self, text: &Bytes) -> Result<Option<Arc<Facts>>, End> {
        let beside = self.services.databases.has_credential() && !self.private && !self.changed;
        if !beside || self.is_current() || self.database.current().is_some() {
            return Ok(None);
        }
        let Some(facts) = self.always_allowed(text) else { return Ok(None) };
        if self.phase.status != Status::Failed && !self.phase.skipping {
            // Not later: no question of ours may come between BEGIN and what follows it.
            Box::pin(self.learn_names()).await?;
        }
        Ok(Some(facts))
    }

    /// A failed transaction can be left also where nothing can be asked, and a text without a name means the same whatever
    /// names mean.
    fn always_allowed(&self, text: &Bytes) -> Option<Arc<Facts>> {
        let catalog = Catalog::empty();
        let context = Context {
            standard_conforming_strings: self.settings.standard_conforming_strings,
            encoding: self.settings.encoding,
            ..Context::new(&catalog, &self.who.database, &[], "")
        };
        let facts = analysis::analyze(text, &context).ok()?;
        let nameless = |facts: &StatementFacts| {
            facts.kind() == Kind::Read && facts.opaque.is_empty() && facts.functions.is_empty() && is_nameless(text)
        };
        let harmless = |facts: &StatementFacts| facts.is_always_allowed() || nameless(facts);
        let known = !facts.statements.is_empty() && facts.statements.iter().all(harmless);
        known.then(|| Arc::new(facts))
    }

    /// What a text is read in now; `None` where that is not known.
    pub(super) fn context(&self) -> Option<Context<'_>> {
        let (snapshot, names) = self.snapshot.as_ref().zip(self.settings.names.as_ref())?;
        Some(Context {
            standard_conforming_strings: self.settings.standard_conforming_strings,
            encoding: self.settings.encoding,
            called: self.calling,
            statement_max: self.services.bounds.statement_max,
            work_max: read::QUICK_WORK_MAX,
            ..Context::new(&snapshot.catalog, &self.who.database, &names.search_path, &names.role)
        })
    }

    /// Makes sure that the catalog and the meaning of names are current, where that can be asked now.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn refresh(&mut self) -> Result<(), End> {
        self.follow_tags();
        if self.settings.names.is_some() && self.is_current() {
            return Ok(());
        }
        if self.phase.status == Status::Failed || self.phase.skipping {
            return Ok(());
        }
        Box::pin(self.learn_meaning()).await
    }

    async fn learn_meaning(&mut self) -> Result<(), End> {
        self.learn_names().await?;
        if self.is_current() {
            return Ok(());
        }
        let uncommitted = self.changed && (self.phase.status == Status::Transaction || self.phase.executed);
        if uncommitted || self.private {
            // Not waited for: its reading may wait for locks that this very transaction holds.
            let shared = self.database.current();
            self.private_base = shared.map_or(0, |shared| shared.version);
        } else if self.services.databases.has_credential() {
            let (services, database) = (self.services.clone(), self.who.database.clone());
            match self.wait_for(async move { services.databases.fresh(&database).await }).await? {
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
        let shared = self.database.current();
        shared.map_or(self.private && version == 0, |shared| shared.version == version)
    }
}

/// What a comparison of the catalog with the server came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// It says what it said.
    Same,
    /// There is a new one.
    Changed,
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

/// A SELECT of numbers: no operator, type, function or relation, all of which a search path could give another meaning.
fn is_nameless(text: &[u8]) -> bool {
    let mut words = text.split(|byte| matches!(byte, b' ' | b',' | b';')).filter(|word| !word.is_empty());
    words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"select"))
        && words.all(|word| word.iter().all(u8::is_ascii_digit))
}
