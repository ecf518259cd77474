//! What is remembered of one database.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::file::{Change, Line};
use super::{Arrival, Awaited, DerivedTag, Review, Target, View};
use crate::catalog::tags::TagRules;
use crate::catalog::{Catalog, ColumnKey, ColumnPath, Oid, PG_TEMP, Remembered, Tag};
use crate::ids::StatementId;

/// One database.
#[derive(Debug, Default)]
pub(super) struct State {
    derived: BTreeMap<(ColumnKey, Tag), DerivedTag>,
    awaited: Vec<Awaited>,
    names: BTreeMap<ColumnKey, BTreeSet<ColumnPath>>,
    /// Columns with such names that all sessions have seen.
    seen: HashSet<ColumnKey>,
    /// Statements of which nobody will say that they have ended.
    abandoned: HashSet<StatementId>,
    /// What counts; made anew where something has changed.
    remembered: Arc<Remembered>,
    /// What the file does not have yet.
    pub(super) unsaved: Vec<Change>,
}

impl State {
    /// Takes a line of the file.
    pub(super) fn add(&mut self, line: Line) {
        match line {
            Line::Derived(derived) => drop(self.derived.insert((derived.key, Arc::clone(&derived.tag)), derived)),
            Line::Awaited(awaited) => {
                self.abandoned.insert(awaited.statement);
                self.awaited.push(awaited);
            }
            Line::Name { key, path, .. } => {
                self.seen.insert(key);
                self.names.entry(key).or_default().insert(path);
            }
        }
        self.changed();
    }

    pub(super) fn remembered(&self) -> Arc<Remembered> {
        Arc::clone(&self.remembered)
    }

    pub(super) fn derived(&self) -> impl Iterator<Item = &DerivedTag> {
        self.derived.values()
    }

    pub(super) fn len(&self) -> usize {
        self.derived.len() + self.awaited.len()
    }

    fn changed(&mut self) {
        let mut remembered = Remembered { names: self.names.clone(), ..Remembered::default() };
        for derived in self.derived.values().filter(|derived| derived.review != Review::Dismissed) {
            remembered.derived.entry(derived.key).or_default().insert(Arc::clone(&derived.tag));
        }
        remembered.expected = self.awaited.iter().map(|awaited| awaited.expected.clone()).collect();
        self.remembered = Arc::new(remembered);
    }

    /// Names under which rules tag columns: they stay tagged under other names.
    pub(super) fn note_names(&mut self, catalog: &Catalog, rules: &TagRules) {
        let mut news = false;
        for (key, path) in catalog.names_that_tag(catalog.database(), rules) {
            let lasting = &*path.schema != PG_TEMP;
            if lasting && self.names.entry(key).or_default().insert(path.clone()) {
                self.unsaved.push(Change::Put(Line::Name { database: catalog.database_oid(), key, path }));
                news = true;
            }
        }
        if news {
            self.changed();
        }
    }

    /// Whether an arrival says anything that is not known.
    pub(super) fn is_news(&self, arrival: &Arrival) -> bool {
        match &arrival.target {
            Target::Known(key, _) => match self.derived.get(&(*key, Arc::clone(&arrival.tag))) {
                Some(known) => known.review == Review::Dismissed && !arrival.sources.is_subset(&known.sources),
                None => true,
            },
            Target::Made(expected) => !self
                .awaited
                .iter()
                .any(|awaited| awaited.statement == arrival.statement && awaited.expected == *expected),
        }
    }

    pub(super) fn learn(&mut self, database: (&str, Oid), arrival: Arrival, next_id: &mut u64) {
        if !self.is_news(&arrival) {
            return;
        }
        let Arrival { target, tag, sources, statement, at } = arrival;
        match target {
            Target::Known(key, column) => {
                let (database, database_oid) = (database.0.to_owned(), database.1);
                let id = *next_id;
                let (review, reviewed_by, seen) = (Review::Open, None, false);
                let new = DerivedTag {
                    id,
                    database,
                    database_oid,
                    key,
                    column,
                    tag,
                    sources,
                    statement,
                    at,
                    review,
                    reviewed_by,
                    seen,
                };
                *next_id += 1;
                self.put(new);
            }
            Target::Made(expected) => {
                let (database, database_oid) = (database.0.to_owned(), database.1);
                let awaited = Awaited { database, database_oid, expected, sources, statement, at };
                self.unsaved.push(Change::Put(Line::Awaited(awaited.clone())));
                self.awaited.push(awaited);
            }
        }
        self.changed();
    }

    /// A dismissed tag whose column gets values from elsewhere is open again, under its old number.
    fn put(&mut self, mut new: DerivedTag) {
        let place = (new.key, Arc::clone(&new.tag));
        if let Some(old) = self.derived.get(&place) {
            new.sources.extend(old.sources.iter().cloned());
            (new.id, new.seen) = (old.id, old.seen);
        }
        self.unsaved.push(Change::Put(Line::Derived(new.clone())));
        self.derived.insert(place, new);
    }

    /// Awaited columns that are there get their tags for good. A name that was given to a relation before its transaction
    /// ended stays awaited: that relation may vanish, and another one come.
    pub(super) fn bind(&mut self, catalog: &Catalog, view: &View, next_id: &mut u64) {
        let mut found: Vec<(ColumnKey, Awaited)> = Vec::new();
        for awaited in &self.awaited {
            for (key, _) in catalog.found([&awaited.expected]) {
                found.push((key, awaited.clone()));
            }
        }
        for (key, awaited) in &found {
            let arrival = Arrival {
                target: Target::Known(*key, awaited.expected.path.clone()),
                tag: Arc::clone(&awaited.expected.tag),
                sources: awaited.sources.clone(),
                statement: awaited.statement,
                at: awaited.at,
            };
            self.learn((&awaited.database, awaited.database_oid), arrival, next_id);
        }
        if let View::Shared(ended) = view {
            let abandoned = std::mem::take(&mut self.abandoned);
            let is_found = |awaited: &Awaited| found.iter().any(|(_, one)| one == awaited);
            self.release(|awaited| {
                ended.contains(&awaited.statement) || abandoned.contains(&awaited.statement) && is_found(awaited)
            });
            self.abandoned = abandoned;
            let left: HashSet<StatementId> = self.awaited.iter().map(|awaited| awaited.statement).collect();
            self.abandoned.retain(|statement| left.contains(statement));
        }
    }

    fn release(&mut self, over: impl Fn(&Awaited) -> bool) {
        let (gone, stays): (Vec<_>, Vec<_>) = std::mem::take(&mut self.awaited).into_iter().partition(over);
        self.awaited = stays;
        if gone.is_empty() {
            return;
        }
        self.unsaved.extend(gone.into_iter().map(|awaited| Change::Remove(Line::Awaited(awaited).key())));
        self.changed();
    }

    /// What all sessions have seen and a catalog that is committed lacks was dropped: it is forgotten, and that is said.
    pub(super) fn sweep(&mut self, catalog: &Catalog, dropped: &mut Vec<String>) {
        let mut news = self.sweep_names(catalog);
        for derived in self.derived.values_mut() {
            if let Some(path) = catalog.path(&derived.key).filter(|_| catalog.has(&derived.key))
                && (!derived.seen || derived.column != path)
            {
                derived.seen = true;
                derived.column = path;
                self.unsaved.push(Change::Put(Line::Derived(derived.clone())));
            }
        }
        let gone: Vec<_> = self.derived.iter().filter(|(_, one)| one.seen && !catalog.has(&one.key)).collect();
        let gone: Vec<(ColumnKey, Tag)> = gone.into_iter().map(|(place, _)| place.clone()).collect();
        for place in gone {
            if let Some(one) = self.derived.remove(&place) {
                dropped.push(format!(
                    "the derived tag {} of column {} was forgotten: it was dropped",
                    one.tag, one.column
                ));
                self.unsaved.push(Change::Remove(Line::Derived(one).key()));
                news = true;
            }
        }
        if news {
            self.changed();
        }
    }

    fn sweep_names(&mut self, catalog: &Catalog) -> bool {
        let (here, gone): (Vec<_>, Vec<_>) = self.names.keys().copied().partition(|key| catalog.has(key));
        self.seen.extend(here);
        let mut news = false;
        for key in gone.iter().filter(|key| self.seen.remove(key)) {
            for path in self.names.remove(key).into_iter().flatten() {
                let line = Line::Name { database: catalog.database_oid(), key: *key, path };
                self.unsaved.push(Change::Remove(line.key()));
                news = true;
            }
        }
        news
    }

    /// Nobody will say that these statements have ended.
    pub(super) fn abandon(&mut self, statements: &[StatementId]) {
        let awaited = |statement: &&StatementId| self.awaited.iter().any(|awaited| awaited.statement == **statement);
        let left: Vec<StatementId> = statements.iter().filter(awaited).copied().collect();
        self.abandoned.extend(left);
    }

    pub(super) fn review(&mut self, id: u64, review: Review, by: &str) -> Option<DerivedTag> {
        let derived = self.derived.values_mut().find(|derived| derived.id == id)?;
        derived.review = review;
        derived.reviewed_by = Some(by.to_owned());
        let reviewed = derived.clone();
        self.unsaved.push(Change::Put(Line::Derived(reviewed.clone())));
        self.changed();
        Some(reviewed)
    }
}
