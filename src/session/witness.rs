//! The server has the last word: what it says that result columns come from is compared with what was predicted.
//!
//! A simple Query brings its description before its rows. In the extended protocol it comes with a Describe; what the
//! server said of a statement is good for a second, while catalog and settings stay the same; where nothing is known, a
//! Describe of our own goes along right before the Execute, in the same packet. Its answer is swallowed.

use std::sync::Arc;

use super::Session;
use super::names::Shows;
use super::phase::{Described, Request, Whose};
use super::relay::End;
use super::run::Run;
use super::table::is_same;
use super::trip::Trip;
use super::watch::Fate;
use crate::analysis::{self, Facts, StatementFacts, Unforeseen};
use crate::clock;
use crate::telemetry;
use crate::wire::{backend, build};

impl Session {
    /// Sees to it that the server describes a portal before its first row, unless that is known.
    pub(super) fn have_described(&mut self, name: &[u8], run: &Run) {
        let speaks = |facts: &StatementFacts| !facts.outputs.is_empty() && facts.opaque.is_empty();
        let begins = run.parts.first().is_some_and(|part| part.meter.rows_before == 0);
        if self.phase.skipping || !begins || !run.facts.statements.iter().any(speaks) {
            return;
        }
        let epoch = self.epoch();
        let known = |shows: &Option<Shows>| shows.as_ref().is_some_and(|shows| shows.is_good(epoch));
        let statement = match self.phase.bound_in_batch(name) {
            Some(portal) => portal.statement.clone(),
            None => match self.names.portal(name) {
                Some(portal) if known(&portal.shows) => return,
                Some(portal) => portal.statement.clone(),
                // There is no such portal, and the client gets the error of its own Execute.
                None => return,
            },
        };
        let asked = |request: &Request| match request {
            Request::Describe(Described::Portal(portal)) | Request::Witness(portal) => is_same(portal, name),
            Request::Describe(Described::Statement(asked)) => is_same(asked, &statement),
            _ => false,
        };
        let kept = self.names.statement(&statement).filter(|kept| kept.text == run.text);
        if kept.is_some_and(|kept| known(&kept.shows)) || self.phase.batch().any(asked) {
            return;
        }
        telemetry::description_asked();
        build::describe_portal(&mut self.server.output, name);
        self.phase.forwarded(Request::Witness(name.into()), Whose::Ours);
    }

    /// A `RowDescription`: of a Describe, or before the rows of a simple Query.
    pub(super) fn on_row_description(&mut self, body: &[u8]) -> Fate {
        let fate = self.pass_unless_ours();
        let described = match self.phase.front().map(|front| &front.request) {
            Some(Request::Describe(described)) => Some(described.clone()),
            Some(Request::Witness(portal)) => Some(Described::Portal(portal.clone())),
            _ => None,
        };
        let columns = plain_columns(body);
        match described {
            Some(described) => {
                self.phase.answered();
                self.described(&described, &columns);
            }
            None if fate == Fate::Pass && self.differs(&columns) => {
                self.watch.shown = Some(columns.into());
                self.watch.tripped = Some(Trip::Unforeseen);
            }
            None => {}
        }
        fate
    }

    /// The server has said which plain columns a statement or a portal shows.
    pub(super) fn described(&mut self, described: &Described, columns: &[(u32, i16)]) {
        let shows = Shows { epoch: self.epoch(), at: clock::monotonic(), columns: columns.into() };
        self.names.shows(described, shows);
    }

    /// Before the first row of an Execute: whether the server described something else than was predicted.
    pub(super) fn shows_the_unforeseen(&mut self) -> bool {
        let columns = self.columns_of_front();
        let differs = columns.is_some_and(|columns| self.differs(&columns));
        if differs {
            self.watch.tripped = Some(Trip::Unforeseen);
        }
        differs
    }

    fn columns_of_front(&mut self) -> Option<Arc<[(u32, i16)]>> {
        let epoch = self.epoch();
        let Some(Request::Execute(run)) = self.phase.front().map(|front| &front.request) else { return None };
        let (name, text) = (run.portal.clone()?, run.text.clone());
        let portal = self.names.portal(&name)?;
        let kept = self.names.statement(&portal.statement).filter(|kept| kept.text == text);
        let kept = kept.and_then(|kept| kept.shows.as_ref()).filter(|shows| shows.epoch == epoch);
        portal.shows.as_ref().or(kept).map(|shows| shows.columns.clone())
    }

    /// Whether the statement at the front shows what its facts do not have. Where they are not all known, it was asked
    /// about already.
    fn differs(&mut self, columns: &[(u32, i16)]) -> bool {
        if columns.is_empty() {
            return false;
        }
        let Some(run) = self.phase.front().and_then(|front| front.request.run_mut()) else { return false };
        let (facts, current) = (run.facts.clone(), run.current);
        let epoch = self.epoch();
        if self.foreseen.has(&facts, current, epoch, columns) {
            return false;
        }
        let Some(statement) = facts.statements.get(current) else { return false };
        let differs = !self.unforeseen(columns, statement).is_empty();
        if !differs {
            self.foreseen.keep(facts, current, epoch, columns);
        }
        differs
    }

    fn unforeseen(&self, columns: &[(u32, i16)], facts: &StatementFacts) -> Unforeseen {
        match self.context() {
            Some(context) if facts.opaque.is_empty() => analysis::unforeseen(&context, columns, facts),
            _ => Unforeseen::default(),
        }
    }

    /// The prediction was wrong: the catalog is read again where that can be done beside the stream, and the statement at
    /// the front is judged by that and by what it shows. True: now both agree.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn look_behind(&mut self, old: &Run) -> Result<bool, End> {
        telemetry::unforeseen();
        let columns = self.watch.shown.take().or_else(|| self.columns_of_front()).unwrap_or_default();
        // By the tags that the columns had when the statement was decided, whatever they are called now.
        let before = old.facts_of(old.current).map(|facts| self.unforeseen(&columns, facts)).unwrap_or_default();
        self.reread_beside().await?;
        let again = self.analyse(&old.text).unwrap_or_else(|_| old.facts.clone());
        let mut facts = Facts::clone(&self.resolve(again));
        facts.also(&old.facts);
        let mut agrees = true;
        if let Some(statement) = facts.statements.get_mut(old.current) {
            let unforeseen = self.unforeseen(&columns, statement);
            agrees = unforeseen.is_empty();
            unforeseen.enter(statement);
            before.enter(statement);
        }
        self.plans.clone_from(&old.plans);
        let mut run = self.decide(old.text.clone(), Arc::new(facts));
        for (index, (part, known)) in run.parts.iter_mut().zip(&old.parts).enumerate() {
            if index < old.current {
                *part = known.clone();
            }
            part.id = known.id;
            part.hold.clone_from(&known.hold);
        }
        (run.current, run.since, run.witnessed) = (old.current, old.since, true);
        run.portal.clone_from(&old.portal);
        run.sent.clone_from(&old.sent);
        self.phase.judged_again(*run);
        Ok(agrees)
    }

    /// Reads the shared catalog on the proxy's own connection, while the client's waits.
    async fn reread_beside(&mut self) -> Result<(), End> {
        if !self.services.databases.has_credential() {
            return Ok(());
        }
        let (services, database) = (self.services.clone(), self.who.database.clone());
        self.database.mark_stale();
        match self.wait_for(async move { services.databases.fresh(&database).await }).await? {
            Ok(shared) if !self.private => self.snapshot = Some(shared),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the catalog could not be read beside a stream"),
        }
        Ok(())
    }
}

/// Table OID and attribute number of each plain column; one that cannot be read says that something is unknown.
fn plain_columns(body: &[u8]) -> Vec<(u32, i16)> {
    let Ok(columns) = backend::row_description(body) else { return vec![(u32::MAX, 1)] };
    let plain = columns.iter().filter(|column| column.table_oid != 0);
    plain.map(|column| (column.table_oid, column.attribute)).collect()
}
