//! What is known of columns beyond one snapshot: names that they had, tags that came to them with values.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::tags::TagRules;
use super::{Catalog, Oid, Relation, Tag};

/// A column by what no renaming changes. The row type is made with its relation and lives as long: a relation that gets
/// the OID of a dropped one is told apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ColumnKey {
    /// The relation.
    pub relation: Oid,
    /// Its row type.
    pub row_type: Oid,
    /// `attnum`.
    pub number: i16,
}

/// A column by its names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ColumnPath {
    /// The schema.
    pub schema: Arc<str>,
    /// The relation.
    pub relation: Arc<str>,
    /// The column.
    pub column: Arc<str>,
}

impl std::fmt::Display for ColumnPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.schema, self.relation, self.column)
    }
}

/// A tag for a column that a statement makes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Expected {
    /// The column, by the name that it will have.
    pub path: ColumnPath,
    /// The tag.
    pub tag: Tag,
    /// A relation that has the name already, and is not meant; 0 where there is none.
    pub replaces: Oid,
}

/// What counts beside comments and the names of now.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// Names under which a rule may have tagged a column.
    pub names: BTreeMap<ColumnKey, BTreeSet<ColumnPath>>,
    /// Tags that came with values.
    pub derived: BTreeMap<ColumnKey, BTreeSet<Tag>>,
    /// The same for columns that are being made.
    pub expected: BTreeSet<Expected>,
}

impl Remembered {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.derived.is_empty() && self.expected.is_empty()
    }

    /// Adds what is remembered elsewhere.
    pub fn extend(&mut self, other: &Self) {
        for (key, names) in &other.names {
            self.names.entry(*key).or_default().extend(names.iter().cloned());
        }
        for (key, tags) in &other.derived {
            self.derived.entry(*key).or_default().extend(tags.iter().cloned());
        }
        self.expected.extend(other.expected.iter().cloned());
    }

    /// Whether another one has anything that this one has not.
    #[must_use]
    pub fn adds(&self, other: &Self) -> bool {
        let derived = |(key, tags): (&ColumnKey, &BTreeSet<Tag>)| {
            self.derived.get(key).is_some_and(|known| tags.is_subset(known))
        };
        let names = |(key, names): (&ColumnKey, &BTreeSet<ColumnPath>)| {
            self.names.get(key).is_some_and(|known| names.is_subset(known))
        };
        !(other.expected.is_subset(&self.expected)
            && other.derived.iter().all(derived)
            && other.names.iter().all(names))
    }
}

impl Expected {
    /// The same under the name that its relation or column is given; `None` where another one is renamed.
    #[must_use]
    pub fn moved(&self, from: (&str, &str), to: (&str, &str), column: Option<(&str, &str)>) -> Option<Self> {
        let ColumnPath { schema, relation, column: own } = &self.path;
        if (&**schema, &**relation) != from || column.is_some_and(|(old, _)| old != &**own) {
            return None;
        }
        let own = column.map_or_else(|| Arc::clone(own), |(_, new)| new.into());
        let path = ColumnPath { schema: to.0.into(), relation: to.1.into(), column: own };
        Some(Self { path, tag: Arc::clone(&self.tag), replaces: self.replaces })
    }
}

impl Catalog {
    /// A column's key; `None` where the catalog has no such column, or its relation has no row type.
    #[must_use]
    pub fn key(&self, relation: Oid, number: i16) -> Option<ColumnKey> {
        self.relation(relation)?.column_number(number)?;
        let row_type = *self.store.row_types.get(&relation)?;
        Some(ColumnKey { relation, row_type, number })
    }

    /// Whether the relation of a key is still the one that it was.
    #[must_use]
    pub fn has(&self, key: &ColumnKey) -> bool {
        self.key(key.relation, key.number) == Some(*key)
    }

    /// The names of a column.
    #[must_use]
    pub fn path(&self, key: &ColumnKey) -> Option<ColumnPath> {
        let relation = self.relation(key.relation)?;
        Some(path(relation, &relation.column_number(key.number)?.name))
    }

    /// A column by its names.
    #[must_use]
    pub fn key_of(&self, path: &ColumnPath) -> Option<ColumnKey> {
        let relation = self.relation_in(&path.schema, &path.relation)?;
        self.key(relation.oid, relation.column(&path.column)?.number)
    }

    /// Columns that a rule tags by their name, or by that of a parent, with that name.
    #[must_use]
    pub fn names_that_tag(&self, database: &str, rules: &TagRules) -> Vec<(ColumnKey, ColumnPath)> {
        let mut found: HashMap<(Oid, i16), BTreeSet<ColumnPath>> = HashMap::new();
        for relation in self.relations().filter(|relation| !relation.is_built_in()) {
            for column in &relation.columns {
                if !rules.tags_for(database, &relation.schema, &relation.name, &column.name).is_empty() {
                    found.entry((relation.oid, column.number)).or_default().insert(path(relation, &column.name));
                }
            }
        }
        super::tagging::inherit(&self.store, &mut found);
        let keyed = found.into_iter().filter_map(|((relation, number), names)| {
            self.key(relation, number).map(|key| names.into_iter().map(move |name| (key, name)))
        });
        keyed.flatten().collect()
    }

    /// Which expected columns are there, and their keys.
    #[must_use]
    pub fn found<'e>(&self, expected: impl IntoIterator<Item = &'e Expected>) -> Vec<(ColumnKey, &'e Expected)> {
        let key = |expected: &Expected| self.key_of(&expected.path).filter(|key| key.relation != expected.replaces);
        expected.into_iter().filter_map(|expected| key(expected).map(|key| (key, expected))).collect()
    }
}

fn path(relation: &Relation, column: &Arc<str>) -> ColumnPath {
    ColumnPath {
        schema: Arc::clone(&relation.schema),
        relation: Arc::clone(&relation.name),
        column: Arc::clone(column),
    }
}
