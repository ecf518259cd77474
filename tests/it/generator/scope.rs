//! What a query that is being made can refer to.

use super::schema::Column;

/// One item of FROM.
#[derive(Clone, Debug)]
pub struct Item {
    /// The name that qualifies its columns; empty where it has none.
    pub alias: String,
    /// Schema and table, where the item can be qualified by them too.
    pub table: Option<(String, String)>,
    pub columns: Vec<Column>,
    /// Its row type, where that has a name; `record` otherwise.
    pub row: String,
}

/// One query's FROM.
#[derive(Clone, Debug, Default)]
pub struct Level {
    /// The items, those within joins too.
    pub items: Vec<Item>,
    /// The columns that can be said without a qualifier.
    pub bare: Vec<Column>,
    /// The columns that can be said outside of aggregates: item and column; everything where `None`.
    pub grouped: Option<Vec<(usize, usize)>>,
}

impl Level {
    /// Adds what another one can refer to.
    pub fn extend(&mut self, other: Self) {
        self.items.extend(other.items);
        self.bare.extend(other.bare);
    }
}

/// A column that can be said: level, item, column.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub level: usize,
    pub item: usize,
    pub column: usize,
}

/// A common table expression that is in scope.
#[derive(Clone, Debug)]
pub struct Cte {
    pub name: String,
    pub columns: Vec<Column>,
}

/// The levels from the outermost query to the innermost.
#[derive(Clone, Debug, Default)]
pub struct Levels(pub Vec<Level>);

impl Levels {
    /// Whether a qualifier means this item.
    pub fn qualifies(&self, level: usize, item: usize) -> bool {
        let alias = &self.0[level].items[item].alias;
        let named = |level: &Level| level.items.iter().filter(|other| other.alias == *alias).count();
        !alias.is_empty() && named(&self.0[level]) == 1 && self.0[level + 1..].iter().all(|inner| named(inner) == 0)
    }

    /// Whether the bare name means a column of this level, and one alone.
    pub fn is_bare(&self, level: usize, name: &str) -> bool {
        let named = |level: &Level| level.bare.iter().filter(|column| column.name == name).count();
        named(&self.0[level]) == 1 && self.0[level + 1..].iter().all(|inner| named(inner) == 0)
    }

    /// Whether a name alone would be taken for a column rather than for a row.
    pub fn names_column(&self, name: &str) -> bool {
        self.0.iter().any(|level| level.bare.iter().any(|column| column.name == name))
    }

    /// All columns of a type that can be said.
    pub fn columns(&self, kind: Option<&str>) -> Vec<Place> {
        let mut found = Vec::new();
        for (level, scope) in self.0.iter().enumerate() {
            for (item, of) in scope.items.iter().enumerate() {
                for (column, candidate) in of.columns.iter().enumerate() {
                    let free = scope.grouped.as_ref().is_none_or(|grouped| grouped.contains(&(item, column)));
                    let unique = of.columns.iter().filter(|other| other.name == candidate.name).count() == 1;
                    if free && unique && !candidate.name.is_empty() && kind.is_none_or(|kind| kind == candidate.kind) {
                        found.push(Place { level, item, column });
                    }
                }
            }
        }
        found
    }
}
