//! Rows of the catalog queries become a [`Catalog`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde::Deserialize;

use super::model::{Rows, Store, Thing};
use super::{
    Cast, Catalog, Expression, Function, Key, Oid, Operator, Policy, Reference, Relation, Rule, Trigger, Type, source,
    tagging,
};

/// Why a catalog cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The name is none of [`source::QUERIES`].
    #[error("no catalog query is called {0:?}")]
    UnknownQuery(String),
    /// A row is not what the query returns.
    #[error("a row of the catalog query {query:?} cannot be read")]
    Row {
        /// The query.
        query: &'static str,
        /// What is wrong with the row.
        source: serde_json::Error,
    },
    /// What the server said of its own tables is not what was asked.
    #[error("what has changed in the catalog cannot be read: {0}")]
    Survey(String),
    /// A snapshot file is not one.
    #[error("it is no catalog snapshot")]
    Snapshot(#[from] serde_json::Error),
    /// A snapshot file of another version.
    #[error("the snapshot has version {0}; this program reads version {VERSION}", VERSION = super::snapshot::VERSION)]
    Version(u32),
}

/// Collects rows, beside those of another catalog or from none.
#[derive(Debug, Default)]
pub struct CatalogBuilder {
    store: Store,
    /// It began with another catalog.
    over: bool,
    things: BTreeMap<Thing, Vec<(&'static str, Arc<str>)>>,
    relations: Vec<Relation>,
    keys: Vec<Key>,
    rules: Vec<Rule>,
    policies: Vec<Policy>,
    triggers: Vec<Trigger>,
    expressions: Vec<Expression>,
    references: Vec<Reference>,
    sizes: HashMap<Oid, Size>,
}

#[derive(Deserialize)]
struct Database {
    name: Arc<str>,
    #[serde(default)]
    oid: Oid,
}

#[derive(Deserialize)]
struct Named {
    name: Arc<str>,
}

#[derive(Deserialize)]
struct Support {
    function: Oid,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Size {
    oid: Oid,
    tuples: f64,
    pages: i64,
}

impl CatalogBuilder {
    /// A builder without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A builder with all that a catalog has.
    pub(super) fn over(base: &Catalog) -> Self {
        Self { store: Store::clone(&base.store), over: true, ..Self::default() }
    }

    pub(super) fn forget_relations(&mut self, oids: &BTreeSet<Oid>) {
        for oid in oids {
            self.store.take_relation(*oid);
        }
    }

    pub(super) fn forget_types(&mut self, oids: &BTreeSet<Oid>) {
        for oid in oids {
            self.store.take_type(*oid);
        }
    }

    pub(super) fn forget_functions(&mut self, oids: &BTreeSet<Oid>) {
        for oid in oids {
            self.store.take_function(*oid);
        }
    }

    /// Forgets what is read as a whole.
    pub(super) fn forget_rest(&mut self) {
        let store = &mut self.store;
        store.schemas.clear();
        store.operators.clear();
        store.casts.clear();
        store.support.clear();
        store.roles.clear();
        store.rows.retain(|thing, _| !matches!(thing, Thing::Rest(_)));
    }

    /// Adds one row of the named query: the JSON text of its only column.
    ///
    /// # Errors
    /// An unknown query name, or a row that this query does not return.
    pub fn add(&mut self, query: &str, row: &str) -> Result<(), CatalogError> {
        let query = source::QUERIES
            .iter()
            .find(|known| known.name == query)
            .map(|known| known.name)
            .ok_or_else(|| CatalogError::UnknownQuery(query.to_owned()))?;
        // A row means the same however its JSON is spaced: a snapshot and its server have one signature.
        let row = serde_json::from_str(row)
            .map(|row: serde_json::Value| row.to_string())
            .map_err(|source| CatalogError::Row { query, source })?;
        let thing = self.read(query, &row).map_err(|source| CatalogError::Row { query, source })?;
        self.things.entry(thing).or_default().push((query, row.into()));
        Ok(())
    }

    fn read(&mut self, query: &'static str, row: &str) -> Result<Thing, serde_json::Error> {
        fn relation<T: for<'d> Deserialize<'d>>(
            rows: &mut Vec<T>,
            row: &str,
            owner: impl Fn(&T) -> Oid,
        ) -> Result<Thing, serde_json::Error> {
            let row: T = serde_json::from_str(row)?;
            let thing = Thing::Relation(owner(&row));
            rows.push(row);
            Ok(thing)
        }
        match query {
            source::RELATIONS => relation(&mut self.relations, row, |row| row.oid),
            source::KEYS => relation(&mut self.keys, row, |row| row.relation),
            source::RULES => relation(&mut self.rules, row, |row| row.relation),
            source::POLICIES => relation(&mut self.policies, row, |row| row.relation),
            source::TRIGGERS => relation(&mut self.triggers, row, |row| row.relation),
            source::EXPRESSIONS => relation(&mut self.expressions, row, |row| row.relation),
            source::REFERENCES => relation(&mut self.references, row, |row| row.relation),
            source::SIZES => {
                let size: Size = serde_json::from_str(row)?;
                self.sizes.insert(size.oid, size);
                Ok(Thing::Relation(size.oid))
            }
            source::TYPES => {
                let row: Type = serde_json::from_str(row)?;
                let thing = Thing::Type(row.oid);
                self.store.put_type(row);
                Ok(thing)
            }
            source::FUNCTIONS => {
                let row: Function = serde_json::from_str(row)?;
                let thing = Thing::Function(row.oid);
                self.store.put_function(Arc::new(row));
                Ok(thing)
            }
            _ => self.read_rest(query, row).map(|()| Thing::Rest(query)),
        }
    }

    fn read_rest(&mut self, query: &'static str, row: &str) -> Result<(), serde_json::Error> {
        match query {
            source::DATABASE => {
                let row: Database = serde_json::from_str(row)?;
                self.store.database = row.name;
                self.store.database_oid = row.oid;
            }
            source::SCHEMAS => drop(self.store.schemas.insert(serde_json::from_str::<Named>(row)?.name)),
            source::SUPPORT => self.store.support.push(serde_json::from_str::<Support>(row)?.function),
            source::OPERATORS => {
                let operator: Operator = serde_json::from_str(row)?;
                self.store.operators.entry(Arc::clone(&operator.name)).or_default().push(operator);
            }
            source::ROLES => {
                let role: super::Role = serde_json::from_str(row)?;
                self.store.roles.insert(role.oid, role);
            }
            source::CASTS => self.store.casts.push(serde_json::from_str::<Cast>(row)?),
            _ => {}
        }
        Ok(())
    }

    /// The catalog, tagged by column comments and by what is known of the server's own statistics views.
    #[must_use]
    pub fn finish(mut self) -> Catalog {
        self.attach_all();
        for relation in std::mem::take(&mut self.relations) {
            self.store.put_relation(relation);
        }
        self.note_sizes();
        for (thing, rows) in std::mem::take(&mut self.things) {
            let of_nothing = matches!(thing, Thing::Relation(oid) if !self.store.relations.contains_key(&oid));
            if !of_nothing {
                self.store.rows.insert(thing, Arc::new(Rows::of(rows)));
            }
        }
        if self.over {
            self.store.forget_parsed();
        }
        let tags = tagging::own_tags(&self.store);
        let mut hash = DefaultHasher::new();
        for (thing, rows) in &self.store.rows {
            (thing, rows.hash).hash(&mut hash);
        }
        let content = hash.finish();
        Catalog {
            store: Arc::new(self.store),
            ledger: None,
            tags: Arc::new(tags),
            content,
            signature: content,
            vouched: Arc::new([]),
        }
    }

    fn attach_all(&mut self) {
        let relations = &mut self.relations;
        let places: HashMap<Oid, usize> =
            relations.iter().enumerate().map(|(place, relation)| (relation.oid, place)).collect();
        let places = &places;
        attach(relations, places, std::mem::take(&mut self.keys), |row| row.relation, |relation| &mut relation.keys);
        attach(relations, places, std::mem::take(&mut self.rules), |row| row.relation, |relation| &mut relation.rules);
        let policies = std::mem::take(&mut self.policies);
        attach(relations, places, policies, |row| row.relation, |relation| &mut relation.policies);
        let triggers = std::mem::take(&mut self.triggers);
        attach(relations, places, triggers, |row| row.relation, |relation| &mut relation.triggers);
        let expressions = std::mem::take(&mut self.expressions);
        attach(relations, places, expressions, |row| row.relation, |relation| &mut relation.expressions);
        let references = std::mem::take(&mut self.references);
        attach(relations, places, references, |row| row.relation, |relation| &mut relation.references);
    }

    /// Sizes come for more relations than have changed.
    fn note_sizes(&mut self) {
        for size in std::mem::take(&mut self.sizes).into_values() {
            let Some(known) = self.store.relations.get_mut(&size.oid) else { continue };
            #[expect(clippy::float_cmp, reason = "it is the same number, or another one")]
            if known.tuples != size.tuples || known.pages != size.pages {
                let changed = Arc::make_mut(known);
                (changed.tuples, changed.pages) = (size.tuples, size.pages);
            }
            let Some(rows) = self.store.rows.get(&Thing::Relation(size.oid)) else { continue };
            // Rows of a relation that has not changed: its size alone was read.
            if let Some(new) = self.things.remove(&Thing::Relation(size.oid)) {
                let mut rows = Rows::clone(rows);
                rows.rows.retain(|(query, _)| *query != source::SIZES);
                rows.rows.extend(new);
                self.store.rows.insert(Thing::Relation(size.oid), Arc::new(rows));
            }
        }
    }
}

impl Rows {
    fn of(rows: Vec<(&'static str, Arc<str>)>) -> Self {
        let mut hash = DefaultHasher::new();
        for (query, row) in rows.iter().filter(|(query, _)| *query != source::SIZES) {
            hash.write(query.as_bytes());
            hash.write(row.as_bytes());
        }
        Self { hash: hash.finish(), rows }
    }
}

fn attach<T>(
    relations: &mut [Relation],
    places: &HashMap<Oid, usize>,
    rows: Vec<T>,
    owner: impl Fn(&T) -> Oid,
    slot: impl Fn(&mut Relation) -> &mut Vec<T>,
) {
    for row in rows {
        if let Some(relation) = places.get(&owner(&row)).and_then(|place| relations.get_mut(*place)) {
            slot(relation).push(row);
        }
    }
}
