//! Rows of the catalog queries become a [`Catalog`].

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use serde::Deserialize;

use super::model::{Store, Type};
use super::{
    Cast, Catalog, Expression, Function, Key, Operator, Policy, Reference, Relation, Rule, Trigger, source, tagging,
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
    /// A snapshot file is not one.
    #[error("it is no catalog snapshot")]
    Snapshot(#[from] serde_json::Error),
    /// A snapshot file of another version.
    #[error("the snapshot has version {0}; this program reads version {VERSION}", VERSION = super::snapshot::VERSION)]
    Version(u32),
}

/// Collects rows.
#[derive(Debug, Default)]
pub struct CatalogBuilder {
    store: Store,
    relations: Vec<Relation>,
    keys: Vec<Key>,
    rules: Vec<Rule>,
    policies: Vec<Policy>,
    triggers: Vec<Trigger>,
    expressions: Vec<Expression>,
    references: Vec<Reference>,
    hash: DefaultHasher,
}

#[derive(Deserialize)]
struct Database {
    name: Arc<str>,
    #[serde(default)]
    oid: super::Oid,
}

#[derive(Deserialize)]
struct Named {
    name: Arc<str>,
}

impl CatalogBuilder {
    /// A builder without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The search path under which the rows were read, where it was not `pg_catalog` alone: names that are visible in it
    /// come without their schemas.
    pub fn printed_under(&mut self, path: &[String]) {
        self.store.printed_under = path.to_vec();
        for name in path {
            self.hash.write(name.as_bytes());
        }
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
        self.read(query, &row).map_err(|source| CatalogError::Row { query, source })?;
        if query != source::SIZES {
            self.hash.write(query.as_bytes());
            self.hash.write(row.as_bytes());
        }
        self.store.rows.push((query, row.into()));
        Ok(())
    }

    fn read(&mut self, query: &'static str, row: &str) -> Result<(), serde_json::Error> {
        match query {
            source::DATABASE => {
                let row: Database = serde_json::from_str(row)?;
                self.store.database = row.name;
                self.store.database_oid = row.oid;
            }
            source::SCHEMAS => drop(self.store.schemas.insert(serde_json::from_str::<Named>(row)?.name)),
            source::RELATIONS => self.relations.push(serde_json::from_str(row)?),
            source::SIZES => self.size(&serde_json::from_str(row)?),
            source::KEYS => self.keys.push(serde_json::from_str(row)?),
            source::RULES => self.rules.push(serde_json::from_str(row)?),
            source::POLICIES => self.policies.push(serde_json::from_str(row)?),
            source::TRIGGERS => self.triggers.push(serde_json::from_str(row)?),
            source::EXPRESSIONS => self.expressions.push(serde_json::from_str(row)?),
            source::REFERENCES => self.references.push(serde_json::from_str(row)?),
            source::SUPPORT => self.store.support.push(serde_json::from_str::<Support>(row)?.function),
            source::TYPES => self.add_type(serde_json::from_str(row)?),
            source::FUNCTIONS => self.add_function(serde_json::from_str(row)?),
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

    fn size(&mut self, size: &Size) {
        if let Some(relation) = self.relations.iter_mut().rev().find(|relation| relation.oid == size.oid) {
            relation.tuples = size.tuples;
            relation.pages = size.pages;
        }
    }

    fn add_type(&mut self, row: Type) {
        if row.relation != 0 {
            self.store.row_types.insert(row.relation, row.oid);
        }
        let names = self.store.type_names.entry(Arc::clone(&row.schema)).or_default();
        names.insert(Arc::clone(&row.name), row.oid);
        if row.category == 'A' && row.element != 0 {
            self.store.array_types.insert(row.element, row.oid);
        }
        self.store.types.insert(row.oid, row);
    }

    fn add_function(&mut self, row: Function) {
        let row = Arc::new(row);
        let names = self.store.functions.entry(Arc::clone(&row.schema)).or_default();
        names.entry(Arc::clone(&row.name)).or_default().push(Arc::clone(&row));
        self.store.function_oids.insert(row.oid, row);
    }

    /// The catalog, tagged by column comments and by what is known of the server's own statistics views.
    #[must_use]
    pub fn finish(mut self) -> Catalog {
        let mut places = HashMap::new();
        for (place, relation) in self.relations.iter().enumerate() {
            places.insert(relation.oid, place);
        }
        attach(&mut self.relations, &places, self.keys, |row| row.relation, |relation| &mut relation.keys);
        attach(&mut self.relations, &places, self.rules, |row| row.relation, |relation| &mut relation.rules);
        attach(&mut self.relations, &places, self.policies, |row| row.relation, |relation| &mut relation.policies);
        attach(&mut self.relations, &places, self.triggers, |row| row.relation, |relation| &mut relation.triggers);
        attach(
            &mut self.relations,
            &places,
            self.expressions,
            |row| row.relation,
            |relation| &mut relation.expressions,
        );
        attach(&mut self.relations, &places, self.references, |row| row.relation, |relation| &mut relation.references);
        for relation in self.relations {
            let names = self.store.relation_names.entry(Arc::clone(&relation.schema)).or_default();
            names.insert(Arc::clone(&relation.name), relation.oid);
            for parent in &relation.parents {
                self.store.children.entry(*parent).or_default().push(relation.oid);
            }
            self.store.relations.insert(relation.oid, Arc::new(relation));
        }
        let tags = tagging::own_tags(&self.store);
        let content = self.hash.finish();
        Catalog {
            store: Arc::new(self.store),
            tags: Arc::new(tags),
            content,
            signature: content,
            vouched: Arc::new([]),
        }
    }
}

#[derive(Deserialize)]
struct Support {
    function: super::Oid,
}

#[derive(Deserialize)]
struct Size {
    oid: super::Oid,
    tuples: f64,
    pages: i64,
}

fn attach<T>(
    relations: &mut [Relation],
    places: &HashMap<super::Oid, usize>,
    rows: Vec<T>,
    owner: impl Fn(&T) -> super::Oid,
    slot: impl Fn(&mut Relation) -> &mut Vec<T>,
) {
    for row in rows {
        if let Some(relation) = places.get(&owner(&row)).and_then(|place| relations.get_mut(*place)) {
            slot(relation).push(row);
        }
    }
}
