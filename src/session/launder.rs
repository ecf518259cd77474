//! Tags travel with values: what a run is about to put into columns counts before the run is forwarded.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Session;
use super::clear::Cleared;
use super::relay::End;
use super::run::Run;
use crate::analysis::{ColumnName, Facts, Flow, Move, RelationName};
use crate::backend::databases::Snapshot;
use crate::backend::memory::{Arrival, Target};
use crate::catalog::{Catalog, ColumnPath, Expected, PG_TEMP, Remembered};
use crate::clock::Timestamp;
use crate::ids::StatementId;
use crate::report::Report;
use crate::sqlstate;

/// Tags on their way, and what is only this session's own of them.
#[derive(Debug, Default)]
struct Arrivals {
    shared: Vec<Arrival>,
    /// Temporary relations: nobody else sees them, and they end with the session.
    own: Remembered,
}

impl Session {
    /// Remembers what a run brings where; it must not be forwarded where that fails.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn learn(&mut self, run: &Run) -> Result<Cleared, End> {
        let flows = |run: &Run| run.facts.statements.iter().any(|facts| !facts.flows.is_empty());
        let Some(snapshot) = self.snapshot.clone().filter(|_| flows(run)) else { return Ok(Cleared::Go) };
        let ids: Vec<StatementId> = run.parts.iter().map(|part| part.id).collect();
        let Arrivals { shared, own } = self.arrivals(&run.facts, &ids, &snapshot.catalog);
        let mut changed = self.own.adds(&own);
        self.own.extend(&own);
        let oid = snapshot.catalog.database_oid();
        let databases = &self.services.databases;
        if databases.memory().is_news(oid, &shared) {
            let makes = |arrival: &&Arrival| matches!(arrival.target, Target::Made(_));
            self.expecting.extend(shared.iter().filter(makes).map(|arrival| arrival.statement));
            let (services, name) = (self.services.clone(), self.who.database.clone());
            let learned = self.wait_for(async move {
                tokio::task::spawn_blocking(move || services.databases.learn(&name, oid, shared)).await
            });
            match learned.await? {
                Ok(Ok(())) => changed = true,
                Ok(Err(error)) => return Ok(Cleared::Refused(not_remembered(&error.to_string()))),
                Err(error) => return Ok(Cleared::Refused(not_remembered(&error.to_string()))),
            }
        }
        if changed {
            self.tag_again(&snapshot);
        }
        Ok(Cleared::Go)
    }

    /// The session's snapshot with the tags of now; what it shows is as old as before.
    pub(super) fn tag_again(&mut self, snapshot: &Snapshot) {
        let shared = self.database.current();
        if !self.private
            && let Some(shared) = shared
        {
            self.snapshot = Some(shared);
            return;
        }
        let databases = &self.services.databases;
        self.snapshot = Some(databases.tagged(&self.who.database, &self.database, &snapshot.catalog, &self.own));
    }

    /// A private snapshot follows what has come to be known of tags since it was read.
    pub(super) fn follow_tags(&mut self) {
        let Some(mine) = self.snapshot.as_ref().filter(|_| self.private) else { return };
        if mine.tags != self.database.tags() {
            let databases = &self.services.databases;
            self.snapshot = Some(databases.tagged(&self.who.database, &self.database, &mine.catalog, &self.own));
        }
    }

    /// A catalog was read on the session's own connection: what was expected of temporary relations is there, or will
    /// never be; names under which rules tag them are kept.
    pub(super) fn keep_own(&mut self, snapshot: &Snapshot) {
        let expected = std::mem::take(&mut self.own.expected);
        for (key, expected) in snapshot.catalog.found(&expected) {
            self.own.derived.entry(key).or_default().insert(Arc::clone(&expected.tag));
        }
        self.own.derived.retain(|key, _| snapshot.catalog.has(key));
        self.own.names.retain(|key, _| snapshot.catalog.has(key));
        let policy = self.services.policy.load();
        for (key, path) in snapshot.catalog.names_that_tag(&self.who.database, policy.tag_rules()) {
            if &*path.schema == PG_TEMP {
                self.own.names.entry(key).or_default().insert(path);
            }
        }
    }

    /// Facts of a text with several statements, of which later ones may read what earlier ones write.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn in_sequence(&mut self, text: &bytes::Bytes, facts: Arc<Facts>) -> Result<Arc<Facts>, End> {
        let several = facts.statements.len() > 1 && facts.statements.iter().any(|one| !one.flows.is_empty());
        let Some(snapshot) = self.snapshot.clone().filter(|_| several) else { return Ok(facts) };
        let mut facts = facts;
        let mut tentative = self.own.clone();
        for _ in 0..facts.statements.len() {
            let Some(now) = self.snapshot.clone() else { break };
            let ids = vec![StatementId::new(); facts.statements.len()];
            let Arrivals { shared, own } = self.arrivals(&facts, &ids, &now.catalog);
            let before = tentative.clone();
            tentative.extend(&own);
            tentative.extend(&remembered(shared));
            if !before.adds(&tentative) {
                break;
            }
            let databases = &self.services.databases;
            self.snapshot = Some(databases.tagged(&self.who.database, &self.database, &snapshot.catalog, &tentative));
            match self.read_text(text).await? {
                Ok(again) => facts = again,
                Err(_) => break,
            }
        }
        self.snapshot = Some(snapshot);
        Ok(facts)
    }

    fn arrivals(&self, facts: &Facts, ids: &[StatementId], catalog: &Catalog) -> Arrivals {
        let mut arrivals = Arrivals::default();
        let at = self.services.clock.now();
        for (facts, id) in facts.statements.iter().zip(ids) {
            for (column, flow) in &facts.flows.into {
                arrivals.add((column, flow), (*id, at), catalog);
            }
            let memory = self.services.databases.memory().of(catalog.database_oid());
            for one in &facts.flows.moves {
                arrivals.moved(one, (*id, at), (&memory, &self.own));
            }
        }
        arrivals
    }

    /// The transaction is over: what its statements made is there for all, or will never be.
    pub(super) fn settle_expected(&mut self) {
        if !self.expecting.is_empty() {
            self.services.databases.memory().end(std::mem::take(&mut self.expecting));
        }
    }

    /// Nobody here will know how the statements end.
    pub(super) fn abandon_expected(&mut self) {
        self.services.databases.memory().abandon(&std::mem::take(&mut self.expecting));
    }
}

impl Arrivals {
    fn add(
        &mut self,
        (column, flow): (&ColumnName, &Flow),
        (statement, at): (StatementId, Timestamp),
        catalog: &Catalog,
    ) {
        if flow.tags.is_empty() {
            return;
        }
        let path = path_of(&column.relation, &column.column);
        let there = catalog.relation_in(&path.schema, &path.relation);
        let known = there.and_then(|relation| relation.column(&path.column).map(|column| (relation, column)));
        let in_force = known.map_or(&[][..], |(relation, column)| catalog.tags(relation.oid, column.number));
        let key = catalog.key_of(&path);
        let sources: BTreeSet<String> = flow.sources.iter().map(ToString::to_string).collect();
        for tag in &flow.tags {
            let target = match key {
                Some(_) if !flow.creates && !flow.keeps && in_force.contains(tag) => continue,
                Some(key) if !flow.creates => Target::Known(key, path.clone()),
                _ => {
                    let replaces = key.map_or(0, |key| key.relation);
                    Target::Made(Expected { path: path.clone(), tag: Arc::clone(tag), replaces })
                }
            };
            self.put(Arrival { target, tag: Arc::clone(tag), sources: sources.clone(), statement, at });
        }
    }

    fn put(&mut self, arrival: Arrival) {
        match arrival.target {
            Target::Known(key, path) if &*path.schema == PG_TEMP => {
                self.own.derived.entry(key).or_default().insert(arrival.tag);
            }
            Target::Made(expected) if &*expected.path.schema == PG_TEMP => {
                self.own.expected.insert(expected);
            }
            _ => self.shared.push(arrival),
        }
    }

    /// What is expected under a name is expected under the one that it moves to.
    fn moved(
        &mut self,
        one: &Move,
        (statement, at): (StatementId, Timestamp),
        (memory, own): (&Remembered, &Remembered),
    ) {
        let of_run = self.shared.iter().filter_map(|arrival| match &arrival.target {
            Target::Made(expected) => Some((expected.clone(), arrival.sources.clone())),
            Target::Known(..) => None,
        });
        let earlier = memory.expected.iter().chain(&own.expected).chain(&self.own.expected);
        let all: Vec<(Expected, BTreeSet<String>)> =
            of_run.chain(earlier.map(|expected| (expected.clone(), BTreeSet::new()))).collect();
        for (expected, sources) in all {
            let from = (&*one.from.schema, &*one.from.name);
            let column = one.column.as_ref().map(|(old, new)| (&**old, &**new));
            if let Some(expected) = expected.moved(from, (&one.to.schema, &one.to.name), column) {
                let tag = Arc::clone(&expected.tag);
                self.put(Arrival { target: Target::Made(expected), tag, sources, statement, at });
            }
        }
    }
}

/// Arrivals as if they were in force.
fn remembered(arrivals: Vec<Arrival>) -> Remembered {
    let mut remembered = Remembered::default();
    for arrival in arrivals {
        match arrival.target {
            Target::Known(key, _) => drop(remembered.derived.entry(key).or_default().insert(arrival.tag)),
            Target::Made(expected) => drop(remembered.expected.insert(expected)),
        }
    }
    remembered
}

fn path_of(relation: &RelationName, column: &Arc<str>) -> ColumnPath {
    ColumnPath {
        schema: Arc::clone(&relation.schema),
        relation: Arc::clone(&relation.name),
        column: Arc::clone(column),
    }
}

/// What a client is told where a tag cannot be remembered.
fn not_remembered(why: &str) -> Report {
    Report::new(sqlstate::IO_ERROR, "statement not forwarded because the tags of what it copies cannot be kept")
        .detail(super::clear::sentence(why))
        .hint("Nothing was executed. Try again once an operator has repaired the state directory.")
}
