//! The things that a catalog holds, each as one row of [`super::source::QUERIES`] brings it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

/// An object identifier of the server.
pub type Oid = u32;

/// What a relation is (`pg_class.relkind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelationKind {
    /// An ordinary table.
    #[serde(rename = "r")]
    Table,
    /// A partitioned table.
    #[serde(rename = "p")]
    Partitioned,
    /// A foreign table.
    #[serde(rename = "f")]
    Foreign,
    /// A view.
    #[serde(rename = "v")]
    View,
    /// A materialised view.
    #[serde(rename = "m")]
    Matview,
    /// A sequence.
    #[serde(rename = "S")]
    Sequence,
    /// A composite type.
    #[serde(rename = "c")]
    Composite,
}

/// A place where the analysis keeps what it made of a definition, so that it is parsed once a snapshot.
#[derive(Default)]
pub struct Parsed(OnceLock<Arc<dyn std::any::Any + Send + Sync>>);

impl Parsed {
    /// What was kept, where it is of that type.
    #[must_use]
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        Arc::clone(self.0.get()?).downcast().ok()
    }

    /// Whether something was kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.0.get().is_some()
    }

    /// The same thing, for a definition that says the same.
    #[must_use]
    pub fn share(&self) -> Self {
        Self(self.0.clone())
    }

    /// Keeps a value; the first one stays.
    pub fn keep<T: Send + Sync + 'static>(&self, value: Arc<T>) {
        // Two sessions may make the same value at the same time; either will do.
        drop(self.0.set(value));
    }
}

impl Clone for Parsed {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl std::fmt::Debug for Parsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parsed")
    }
}

/// A relation with its columns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Relation {
    /// Its OID.
    pub oid: Oid,
    /// Its schema; `pg_temp` for a temporary relation of the session.
    pub schema: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// What it is.
    pub kind: RelationKind,
    /// `p` permanent, `u` unlogged, `t` temporary.
    #[serde(default = "permanent")]
    pub persistence: char,
    /// Rows, as the last ANALYZE counted; negative where never.
    #[serde(default)]
    pub tuples: f64,
    /// Pages of 8 KiB.
    #[serde(default)]
    pub pages: i64,
    /// Row-level security is on.
    #[serde(default)]
    pub row_security: bool,
    /// For its owner too.
    #[serde(default)]
    pub force_row_security: bool,
    /// The role that owns it; 0 where that is not known.
    #[serde(default)]
    pub owner: Oid,
    /// `reloptions`: `name=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Arc<str>>,
    /// What it inherits from or is a partition of.
    #[serde(default)]
    pub parents: Vec<Oid>,
    /// Its columns in order; dropped ones are left out.
    pub columns: Vec<Column>,
    /// A view's or materialised view's query, qualified under the search path `pg_catalog`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Arc<str>>,
    /// Primary and unique keys.
    #[serde(skip)]
    pub keys: Vec<Key>,
    /// Rules but the one that makes a view.
    #[serde(skip)]
    pub rules: Vec<Rule>,
    /// Row-level security policies.
    #[serde(skip)]
    pub policies: Vec<Policy>,
    /// Triggers that people made.
    #[serde(skip)]
    pub triggers: Vec<Trigger>,
    /// Expressions that a write or a plan computes: checks, index expressions and predicates, extended statistics, the
    /// partition key.
    #[serde(skip)]
    pub expressions: Vec<Expression>,
    /// Foreign keys of other relations that carry a write of this one on.
    #[serde(skip)]
    pub references: Vec<Reference>,
    /// What the analysis made of the definition.
    #[serde(skip)]
    pub parsed: Parsed,
}

const fn permanent() -> char {
    'p'
}

impl Relation {
    /// The same relation with what was made of its definition: for an edit that leaves the definition as it is.
    #[must_use]
    pub fn alike(&self) -> Self {
        Self { parsed: self.parsed.share(), ..self.clone() }
    }

    /// A column by name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| &*column.name == name)
    }

    /// A column by number.
    #[must_use]
    pub fn column_number(&self, number: i16) -> Option<&Column> {
        self.columns.iter().find(|column| column.number == number)
    }

    /// How many rows it has, as far as the server has counted; `None` where it never has.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::as_conversions,
        reason = "the cast saturates, and the number is not negative"
    )]
    pub fn estimated_rows(&self) -> Option<u64> {
        (self.tuples >= 0.0).then_some(self.tuples as u64)
    }

    /// Whether a view reads as whoever asks (`security_invoker`), and not as its owner. A value that is no boolean is one
    /// that no server keeps.
    #[must_use]
    pub fn reads_as_invoker(&self) -> bool {
        let value = self.options.iter().find_map(|option| option.strip_prefix("security_invoker="));
        value.is_some_and(|value| {
            let value = value.to_ascii_lowercase();
            value.starts_with(['t', 'y', '1']) || value == "on"
        })
    }

    /// Whether it belongs to the server itself.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        matches!(&*self.schema, "pg_catalog" | "information_schema" | "pg_toast")
    }

    /// Whether it is none of the server's own, whatever schema it is in.
    #[must_use]
    pub const fn is_made_by_people(&self) -> bool {
        self.oid >= FIRST_USER_OID
    }

    /// Whether it keeps rows of its own, so that its columns are physical.
    #[must_use]
    pub const fn stores(&self) -> bool {
        !matches!(self.kind, RelationKind::View | RelationKind::Composite)
    }
}

/// A column of a relation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Column {
    /// `attnum`.
    pub number: i16,
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    #[serde(rename = "type")]
    pub type_oid: Oid,
    /// NOT NULL.
    #[serde(default)]
    pub not_null: bool,
    /// The expression of its default or generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Arc<str>>,
    /// The default is a generation expression.
    #[serde(default)]
    pub generated: bool,
    /// Its comment, where it holds a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Arc<str>>,
}

/// A set of columns that identifies one row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Key {
    /// The relation.
    pub relation: Oid,
    /// `attnum` of each column.
    pub columns: Vec<i16>,
}

/// A rewrite rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// The relation.
    pub relation: Oid,
    /// Its name.
    pub name: Arc<str>,
    /// `2` UPDATE, `3` INSERT, `4` DELETE.
    pub event: char,
    /// INSTEAD.
    pub instead: bool,
    /// `CREATE RULE …`.
    pub definition: Arc<str>,
}

/// A row-level security policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// The relation.
    pub relation: Oid,
    /// `r`, `a`, `w`, `d` or `*`.
    pub command: char,
    /// The roles that it is for, 0 for all; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<Oid>>,
    /// USING.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub using: Option<Arc<str>>,
    /// WITH CHECK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Arc<str>>,
}

/// A trigger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trigger {
    /// The relation.
    pub relation: Oid,
    /// Its name.
    pub name: Arc<str>,
    /// Its function.
    pub function: Oid,
    /// `pg_trigger.tgtype`: 4 INSERT, 8 DELETE, 16 UPDATE, 32 TRUNCATE.
    pub events: i32,
    /// The names that its body has for the rows before and after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<Arc<str>>,
    /// `CREATE TRIGGER …`, where it has a WHEN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Arc<str>>,
}

/// An expression that a write of a relation computes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Expression {
    /// The relation.
    pub relation: Oid,
    /// The expression, or several with commas between them.
    pub text: Arc<str>,
}

/// A foreign key that carries a change of the referenced relation on to the one that refers to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reference {
    /// The referenced relation.
    pub relation: Oid,
    /// The relation that refers to it.
    pub from: Oid,
    /// `pg_constraint.confdeltype`: `c` cascade, `n` set null, `d` set default; others write nothing.
    pub on_delete: char,
    /// `pg_constraint.confupdtype`.
    pub on_update: char,
}

/// A type.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Type {
    /// Its OID.
    pub oid: Oid,
    /// Its schema.
    pub schema: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// `b` base, `c` composite, `d` domain, `e` enum, `p` pseudo, `r` range, `m` multirange.
    pub kind: char,
    /// `typcategory`: `S` strings, `A` arrays …
    pub category: char,
    /// The relation of a composite; 0 where it is none.
    #[serde(default)]
    pub relation: Oid,
    /// The type of an array's elements; 0 where it is none.
    #[serde(default)]
    pub element: Oid,
    /// What a domain is over; 0 where it is none.
    #[serde(default)]
    pub base: Oid,
    /// The type of a range's bounds, or the range of a multirange; 0 where it is none.
    #[serde(default)]
    pub subtype: Oid,
    /// A domain's check expressions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Arc<str>>,
}

impl Type {
    /// Whether it is none of the server's own.
    #[must_use]
    pub const fn is_made_by_people(&self) -> bool {
        self.oid >= FIRST_USER_OID
    }
}

/// In what a function is written, as far as it matters to the analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// `internal`, or `c` of the server and of extensions.
    Compiled,
    /// `sql`.
    Sql,
    /// `plpgsql`.
    PlPgSql,
    /// Anything else.
    Other,
}

/// A function, procedure, aggregate or window function.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Function {
    /// Its OID.
    pub oid: Oid,
    /// Its schema.
    pub schema: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// `f` function, `p` procedure, `a` aggregate, `w` window.
    pub kind: char,
    /// The language's name.
    pub language: Arc<str>,
    /// `i` immutable, `s` stable, `v` volatile.
    pub volatility: char,
    /// Input arguments.
    #[serde(default)]
    pub arguments: Vec<Oid>,
    /// How many of them have defaults.
    #[serde(default)]
    pub defaults: u16,
    /// The last argument is variadic.
    #[serde(default)]
    pub variadic: bool,
    /// Return type.
    pub returns: Oid,
    /// It returns a set.
    #[serde(default)]
    pub returns_set: bool,
    /// Names of all arguments, in and out; empty where it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argument_names: Vec<Arc<str>>,
    /// `i`, `o`, `b`, `v`, `t` for each; empty where all are `i`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argument_modes: Vec<char>,
    /// SECURITY DEFINER.
    #[serde(default)]
    pub definer: bool,
    /// Who owns it: the role that a SECURITY DEFINER runs as.
    #[serde(default = "nobody")]
    pub owner: Arc<str>,
    /// The expressions of its default arguments, with commas between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_values: Option<Arc<str>>,
    /// Its source text, where it is not built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Arc<str>>,
    /// Its body in SQL-standard form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Arc<str>>,
    /// Its settings, `name=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Arc<str>>,
    /// The extension that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<Arc<str>>,
    /// Functions that an aggregate is made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Oid>,
    /// What the analysis made of the body.
    #[serde(skip)]
    pub parsed: Parsed,
}

fn nobody() -> Arc<str> {
    Arc::from("")
}

impl Function {
    /// Its language.
    #[must_use]
    pub fn language(&self) -> Language {
        match &*self.language {
            "internal" | "c" => Language::Compiled,
            "sql" => Language::Sql,
            "plpgsql" => Language::PlPgSql,
            _ => Language::Other,
        }
    }

    /// Whether it belongs to the server itself.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        &*self.schema == "pg_catalog" && self.oid < FIRST_USER_OID
    }

    /// Whether it can be called with that many arguments.
    #[must_use]
    pub fn takes(&self, arguments: usize) -> bool {
        let most = self.arguments.len();
        let least = most.saturating_sub(usize::from(self.defaults));
        (least..=most).contains(&arguments) || (self.variadic && arguments + 1 >= least)
    }

    /// Names of the columns that it returns, where they are its own.
    pub fn outputs(&self) -> impl Iterator<Item = &Arc<str>> {
        self.argument_names
            .iter()
            .zip(&self.argument_modes)
            .filter(|(_, mode)| matches!(mode, 'o' | 'b' | 't'))
            .map(|(name, _)| name)
    }
}

/// The first OID that the server gives to what people make (`FirstNormalObjectId`).
pub(super) const FIRST_USER_OID: Oid = 16384;

/// An operator that is not built in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Operator {
    /// Its schema.
    pub schema: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Type of the left operand; 0 for a prefix operator.
    pub left: Oid,
    /// Type of the right operand.
    pub right: Oid,
    /// Its function.
    pub function: Oid,
}

/// A cast that is not built in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cast {
    /// From.
    pub source: Oid,
    /// To.
    pub target: Oid,
    /// Its function; 0 where it has none.
    pub function: Oid,
}

/// What a schema has, by name.
pub(super) type Names<T> = HashMap<Arc<str>, Arc<HashMap<Arc<str>, T>>>;

/// The rows that one thing was read from, as they came, and their hash.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    pub(super) rows: Vec<(&'static str, Arc<str>)>,
    pub(super) hash: u64,
}

/// What rows were read of: relations, types, functions by their OIDs; all else by the name of its query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Thing {
    Rest(&'static str),
    Relation(Oid),
    Type(Oid),
    Function(Oid),
}

/// Everything, indexed. Cheap enough to clone for each change: what is large in it is shared.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    pub(super) database: Arc<str>,
    pub(super) database_oid: Oid,
    /// The row type of each relation.
    pub(super) row_types: HashMap<Oid, Oid>,
    pub(super) schemas: HashSet<Arc<str>>,
    pub(super) relations: HashMap<Oid, Arc<Relation>>,
    pub(super) relation_names: Names<Oid>,
    /// In the order of their OIDs.
    pub(super) children: HashMap<Oid, Vec<Oid>>,
    pub(super) types: HashMap<Oid, Arc<Type>>,
    /// The array type of each element type.
    pub(super) array_types: HashMap<Oid, Oid>,
    pub(super) type_names: Names<Oid>,
    /// Of one name in the order of their OIDs.
    pub(super) functions: Names<Vec<Arc<Function>>>,
    pub(super) function_oids: HashMap<Oid, Arc<Function>>,
    pub(super) operators: HashMap<Arc<str>, Vec<Operator>>,
    pub(super) casts: Vec<Cast>,
    pub(super) support: Vec<Oid>,
    /// What it was read from; nothing once it was edited.
    pub(super) rows: BTreeMap<Thing, Arc<Rows>>,
    /// Empty in a database without row-level security.
    pub(super) roles: HashMap<Oid, super::Role>,
}

/// The names of a schema, to be changed.
pub(super) fn names_in<'n, T: Clone>(names: &'n mut Names<T>, schema: &Arc<str>) -> &'n mut HashMap<Arc<str>, T> {
    Arc::make_mut(names.entry(Arc::clone(schema)).or_default())
}
