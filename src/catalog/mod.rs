//! An immutable snapshot of what a database holds, and how names resolve in it.
//!
//! Must not: query anything. Rows come in through [`CatalogBuilder`], whoever ran [`source::QUERIES`].
//! Start reading at [`Catalog`].
mod builder;
mod edit;
mod model;
mod names;
pub mod refresh;
mod remembered;
mod roles;
mod snapshot;
pub mod source;
mod store;
mod tagging;
pub mod tags;
mod vouched;

use std::sync::Arc;

pub use builder::{CatalogBuilder, CatalogError};
pub use model::{
    Cast, Column, Expression, Function, Key, Language, Oid, Operator, Parsed, Policy, Reference, Relation,
    RelationKind, Rule, Trigger, Type,
};
pub use names::{IDENTIFIER_MAX, SearchPath, clip, fold};
pub use remembered::{ColumnKey, ColumnPath, Expected, Remembered};
pub use roles::Role;
pub use tagging::comment_tags;
pub use vouched::Vouched;

/// A data category on a column: a dotted Fideslang name such as `user.contact.email`.
pub type Tag = Arc<str>;

/// The schema of the session's temporary relations, as a name path writes it.
pub const PG_TEMP: &str = "pg_temp";

/// A snapshot of one database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalog {
    store: Arc<model::Store>,
    /// What the next one is compared with; `None` where it was not read by [`refresh`].
    ledger: Option<Arc<refresh::Ledger>>,
    tags: Arc<tagging::Tags>,
    /// A hash of the definitions alone.
    content: u64,
    signature: u64,
    vouched: Arc<[Vouched]>,
}

/// A stored or view column with what it is tagged with.
#[derive(Clone, Debug)]
pub struct ColumnRef<'a> {
    /// The relation that has it.
    pub relation: &'a Arc<Relation>,
    /// The column.
    pub column: &'a Column,
    /// Its own tags; a view's column has those of a rule that names the view.
    pub tags: &'a [Tag],
}

impl Catalog {
    /// A catalog of nothing: every name is unknown in it.
    #[must_use]
    pub fn empty() -> Self {
        CatalogBuilder::new().finish()
    }

    /// The name of the database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.store.database
    }

    /// The OID of the database; 0 in a snapshot of an older form.
    #[must_use]
    pub fn database_oid(&self) -> Oid {
        self.store.database_oid
    }

    /// A cheap hash of the content, tags included: two catalogs with the same signature say the same.
    #[must_use]
    pub const fn signature(&self) -> u64 {
        self.signature
    }

    /// Whether another one differs in nothing but when it was read, the sizes of relations included.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let sizes = |catalog: &Self| catalog.ledger.as_ref().map(|ledger| ledger.sizes().to_owned());
        self.signature == other.signature && sizes(self) == sizes(other)
    }

    /// A relation by its OID.
    #[must_use]
    pub fn relation(&self, oid: Oid) -> Option<&Arc<Relation>> {
        self.store.relations.get(&oid)
    }

    /// All relations, in no order.
    pub fn relations(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.store.relations.values()
    }

    /// A relation by schema and name.
    #[must_use]
    pub fn relation_in(&self, schema: &str, name: &str) -> Option<&Arc<Relation>> {
        self.relation(*self.store.relation_names.get(schema)?.get(name)?)
    }

    /// The relations of that name, in whatever schema.
    pub fn relations_named(&self, name: &str) -> impl Iterator<Item = &Arc<Relation>> {
        let oids = self.store.relation_names.values().filter_map(move |names| names.get(name));
        oids.filter_map(|oid| self.relation(*oid))
    }

    /// The functions of that name, in whatever schema.
    pub fn functions_named(&self, name: &str) -> impl Iterator<Item = &Arc<Function>> {
        self.store.functions.values().filter_map(move |names| names.get(name)).flatten()
    }

    /// Whether the schema exists.
    #[must_use]
    pub fn has_schema(&self, schema: &str) -> bool {
        self.store.schemas.contains(schema)
    }

    /// The relation whose row type this is.
    #[must_use]
    pub fn row_relation(&self, type_oid: Oid) -> Option<&Arc<Relation>> {
        self.relation(self.store.types.get(&type_oid)?.relation)
    }

    /// A type by its OID.
    #[must_use]
    pub fn type_of(&self, oid: Oid) -> Option<&Type> {
        self.store.types.get(&oid).map(|row| &**row)
    }

    /// The types of that name that people made, in whatever schema.
    #[must_use]
    pub fn types_named(&self, name: &str) -> Vec<Oid> {
        let found = self.store.type_names.values().filter_map(|names| names.get(name).copied());
        found.filter(|oid| self.type_of(*oid).is_some_and(Type::is_made_by_people)).collect()
    }

    /// The array type over a type; 0 where there is none.
    #[must_use]
    pub fn array_of(&self, element: Oid) -> Oid {
        self.store.array_types.get(&element).copied().unwrap_or(0)
    }

    /// A type by schema and name.
    #[must_use]
    pub fn type_in(&self, schema: &str, name: &str) -> Option<&Type> {
        self.type_of(*self.store.type_names.get(schema)?.get(name)?)
    }

    /// All functions of that name in that schema.
    #[must_use]
    pub fn functions_in(&self, schema: &str, name: &str) -> &[Arc<Function>] {
        self.store.functions.get(schema).and_then(|names| names.get(name)).map_or(&[], Vec::as_slice)
    }

    /// A function by its OID.
    #[must_use]
    pub fn function(&self, oid: Oid) -> Option<&Arc<Function>> {
        self.store.function_oids.get(&oid)
    }

    /// Operators of that name that are not built in, in whatever schema.
    #[must_use]
    pub fn operators(&self, name: &str) -> &[Operator] {
        self.store.operators.get(name).map_or(&[], Vec::as_slice)
    }

    /// All operators that are not built in.
    pub fn own_operators(&self) -> impl Iterator<Item = &Operator> {
        self.store.operators.values().flatten()
    }

    /// All functions, in no order.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.store.function_oids.values()
    }

    /// Casts that are not built in.
    #[must_use]
    pub fn casts(&self) -> &[Cast] {
        &self.store.casts
    }

    /// Functions that people made and that run unnamed: of operator classes, ranges, and casts that need not be written.
    #[must_use]
    pub fn support(&self) -> &[Oid] {
        &self.store.support
    }

    /// The columns that a relation's children and their children store, with the relation itself first.
    #[must_use]
    pub fn family(&self, oid: Oid) -> Vec<&Arc<Relation>> {
        let mut family: Vec<&Arc<Relation>> = self.relation(oid).into_iter().collect();
        let mut next = 0;
        while let Some(relation) = family.get(next).copied() {
            for child in self.store.children.get(&relation.oid).into_iter().flatten() {
                if !family.iter().any(|known| known.oid == *child) {
                    family.extend(self.relation(*child));
                }
            }
            next += 1;
        }
        family
    }

    /// The tags of one column.
    #[must_use]
    pub fn tags(&self, relation: Oid, column: i16) -> &[Tag] {
        self.tags.get(&(relation, column)).map_or(&[], |tags| tags)
    }

    /// Whether any column of the relation is tagged.
    #[must_use]
    pub fn is_tagged(&self, relation: &Relation) -> bool {
        relation.columns.iter().any(|column| !self.tags(relation.oid, column.number).is_empty())
    }

    /// What a `RowDescription` means by a table OID and a column number.
    #[must_use]
    pub fn column(&self, relation: Oid, number: i16) -> Option<ColumnRef<'_>> {
        let relation = self.relation(relation)?;
        let column = relation.column_number(number)?;
        Some(ColumnRef { relation, column, tags: self.tags(relation.oid, number) })
    }
}
