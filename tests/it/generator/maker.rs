//! The maker of statements: its state, and the small choices that all its parts share.

use super::doc::Doc;
use super::random::Random;
use super::schema::{Column, Schema};
use super::scope::{Cte, Levels, Place};
use super::{lexis, write};

/// Makes statements over a schema.
pub struct Maker<'s> {
    pub(super) random: Random,
    pub(super) schema: &'s Schema,
    pub(super) levels: Levels,
    pub(super) ctes: Vec<Cte>,
    /// How many parts may still be made; then all becomes simple.
    pub(super) budget: usize,
    /// Whether an aggregate may stand here.
    pub(super) aggregates: bool,
    /// Whether a window function may stand here.
    pub(super) windows: bool,
    fresh: usize,
}

/// Names for aliases: short ones, and ones that are columns, tables, keywords or too long.
const ALIASES: [&str; 14] = [
    "a",
    "b",
    "t",
    "name",
    "people",
    "orders",
    "item",
    "id",
    "user",
    "Order",
    "excluded",
    "second",
    "secret",
    "an_alias_that_is_exactly_sixty_three_bytes_long_so_more_is_cut_",
];

impl<'s> Maker<'s> {
    /// A maker with a stream of its own.
    pub fn new(schema: &'s Schema, seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            schema,
            levels: Levels::default(),
            ctes: Vec::new(),
            budget: 0,
            aggregates: false,
            windows: false,
            fresh: 0,
        }
    }

    /// The next statement.
    pub fn statement(&mut self) -> Doc {
        self.levels.0.clear();
        self.ctes.clear();
        self.budget = 20 + self.random.below(120);
        (self.aggregates, self.windows) = (false, false);
        if self.random.chance(25) { write::statement(self) } else { self.top_query() }
    }

    /// Takes from the budget; false where nothing is left.
    pub(super) const fn spend(&mut self) -> bool {
        self.budget = self.budget.saturating_sub(1);
        self.budget > 0
    }

    /// An alias that no item of a list has.
    pub(super) fn alias(&mut self, taken: &[String]) -> String {
        if self.random.chance(60) {
            let name = *self.random.one(&ALIASES);
            if taken.iter().all(|other| other != name) {
                return name.to_owned();
            }
        }
        self.fresh += 1;
        format!("x{}", self.fresh)
    }

    /// A name for a result column.
    pub(super) fn fresh_name(&mut self) -> String {
        self.alias(&[])
    }

    /// A number that hangs on no column of the query itself.
    pub(super) fn uncorrelated(&mut self) -> Doc {
        let own = self.levels.0.pop();
        let value = self.value("integer", 1);
        self.levels.0.extend(own);
        value
    }

    /// A name in one of its forms.
    pub(super) fn name(&mut self, name: &str) -> String {
        lexis::vary(name, &mut self.random)
    }

    /// New names for columns.
    pub(super) fn renamed(&mut self, columns: &[Column]) -> Vec<Column> {
        const NAMES: [&str; 10] = ["id", "name", "people", "c", "secret", "Mixed", "order", "total", "kind", "a"];
        let mut renamed: Vec<Column> = Vec::new();
        for column in columns {
            self.fresh += 1;
            let mut name = (*self.random.one(&NAMES)).to_owned();
            if renamed.iter().any(|other| other.name == name) {
                name = format!("c{}", self.fresh);
            }
            renamed.push(Column { name, kind: column.kind.clone(), writable: false });
        }
        renamed
    }

    /// `(a, b, c)`.
    pub(super) fn names(&mut self, columns: &[Column]) -> String {
        let names: Vec<String> = columns.iter().map(|column| self.name(&column.name)).collect();
        format!("({})", names.join(", "))
    }

    /// A column as one of the ways to say it; `None` where there is none.
    pub(super) fn say(&mut self, place: Place) -> Option<Doc> {
        let item = self.levels.0[place.level].items[place.item].clone();
        let column = item.columns[place.column].clone();
        let bare = self.levels.is_bare(place.level, &column.name);
        let qualified = self.levels.qualifies(place.level, place.item);
        let name = self.name(&column.name);
        if bare && (!qualified || self.random.chance(50)) {
            return Some(name.into());
        }
        if !qualified {
            return None;
        }
        let alias = self.name(&item.alias);
        let ungrouped = self.levels.0[place.level].grouped.is_none();
        let shadowed = self.levels.names_column(&item.alias);
        Some(match (&item.table, self.random.below(20)) {
            (Some((schema, table)), 0 | 1) => format!("{}.{}.{name}", self.name(schema), self.name(table)).into(),
            (Some((schema, table)), 2) => {
                format!("{}.{}.{}.{name}", self.name(&self.schema.database), self.name(schema), self.name(table)).into()
            }
            (_, 3 | 4) if ungrouped && !shadowed => format!("({alias}).{name}").into(),
            (_, 5) if ungrouped && !shadowed => format!("{}({alias})", lexis::quoted(&column.name)).into(),
            _ => format!("{alias}.{name}").into(),
        })
    }

    /// A column of a type, mostly of the innermost query.
    pub(super) fn column(&mut self, kind: &str) -> Option<Doc> {
        let mut places = self.levels.columns(Some(kind));
        let deepest = self.levels.0.len().wrapping_sub(1);
        if self.random.chance(70) && places.iter().any(|place| place.level == deepest) {
            places.retain(|place| place.level == deepest);
        }
        if places.is_empty() {
            return None;
        }
        let place = *self.random.one(&places);
        self.say(place)
    }

    /// The type of some column in sight, or a usual one.
    pub(super) fn some_kind(&mut self) -> String {
        let places = self.levels.columns(None);
        if places.is_empty() || self.random.chance(30) {
            return (*self.random.one(&["integer", "text", "boolean", "numeric", "date", "jsonb", "text[]"]))
                .to_owned();
        }
        let place = *self.random.one(&places);
        self.levels.0[place.level].items[place.item].columns[place.column].kind.clone()
    }
}
