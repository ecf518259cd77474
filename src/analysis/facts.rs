//! What is known of a statement without running it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::flows::Flows;
use super::ways::Uses;

/// What a statement does, in the order of gravity: the gravest of its kinds names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Kind {
    /// Harmless settings, SHOW, LISTEN, DISCARD, PREPARE, DEALLOCATE.
    Session = 0,
    /// BEGIN to ROLLBACK TO.
    Transaction = 1,
    /// SELECT, VALUES, TABLE, FETCH.
    Read = 2,
    /// INSERT, UPDATE, DELETE, MERGE, COPY FROM STDIN, temporary tables.
    Write = 3,
    /// CALL and `FunctionCall` with known bodies.
    Call = 4,
    /// COPY … TO, replication.
    Export = 5,
    /// CREATE, ALTER, DROP and what else changes definitions or takes strong locks.
    Ddl = 6,
    /// GRANT, REVOKE, roles, ownership and who one is.
    Dcl = 7,
    /// What no analysis can know.
    Opaque = 8,
}

impl Kind {
    /// All kinds, the mildest first.
    pub const ALL: [Self; 9] = [
        Self::Session,
        Self::Transaction,
        Self::Read,
        Self::Write,
        Self::Call,
        Self::Export,
        Self::Ddl,
        Self::Dcl,
        Self::Opaque,
    ];

    /// The kind as policies and records write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Transaction => "transaction",
            Self::Read => "read",
            Self::Write => "write",
            Self::Call => "call",
            Self::Export => "export",
            Self::Ddl => "ddl",
            Self::Dcl => "dcl",
            Self::Opaque => "opaque",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a column is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Its values can leave: in a result, a copy, an error, another column.
    Reveal,
    /// It decides what leaves: WHERE, JOIN, GROUP BY, ORDER BY.
    Probe,
    /// It is written.
    Write,
}

/// A physical relation: names as in the catalog, unquoted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RelationName {
    /// Its schema.
    pub schema: Arc<str>,
    /// Its name in that schema.
    pub name: Arc<str>,
}

impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A physical column. Displayed as `schema.table.column`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ColumnName {
    /// The relation that stores it.
    pub relation: RelationName,
    /// Its name.
    pub column: Arc<str>,
}

impl fmt::Display for ColumnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.relation, self.column)
    }
}

pub use crate::catalog::Tag;

/// How one column is touched, and what it is tagged with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnFacts {
    /// All the ways in which the statement touches it.
    pub access: BTreeSet<Access>,
    /// Its tags; empty where it has none.
    pub tags: BTreeSet<Tag>,
    /// What it decides, where it is a probe.
    pub uses: Uses,
}

impl ColumnFacts {
    /// Adds what another statement, or another reading of this one, does with the column.
    pub(super) fn extend(&mut self, other: &Self) {
        self.access.extend(other.access.iter().copied());
        self.tags.extend(other.tags.iter().cloned());
        self.uses.extend(other.uses);
    }
}

/// One column of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name in the result.
    pub name: String,
    /// The physical columns whose values it is made from.
    pub sources: BTreeSet<ColumnName>,
}

/// How many rows the result can have, as far as the text proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// At most one: a unique key, a plain aggregate, no rows at all.
    One,
    /// At most this many: a literal LIMIT, VALUES.
    Rows(u64),
    /// Nothing in the text bounds it.
    Unbounded,
}

impl Bound {
    /// The bound as a number of rows; `None` where there is none.
    #[must_use]
    pub const fn rows(self) -> Option<u64> {
        match self {
            Self::One => Some(1),
            Self::Rows(rows) => Some(rows),
            Self::Unbounded => None,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.write_str("one"),
            Self::Rows(rows) => write!(f, "rows:{rows}"),
            Self::Unbounded => f.write_str("unbounded"),
        }
    }
}

/// What a statement does to the session's own maps once Postgres confirms it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEffect {
    /// PREPARE: the name and the byte range of the inner statement in the text.
    Prepare {
        /// The statement's name, cut at 63 bytes as the server does.
        name: String,
        /// Facts of the inner statement, judged at EXECUTE.
        inner: Box<StatementFacts>,
    },
    /// EXECUTE of a name.
    Execute {
        /// The statement's name.
        name: String,
    },
    /// DEALLOCATE of a name; `None` is ALL.
    Deallocate {
        /// The statement's name.
        name: Option<String>,
    },
    /// DECLARE of a cursor.
    Declare {
        /// The cursor's name.
        name: String,
        /// Facts of its query.
        inner: Box<StatementFacts>,
    },
    /// FETCH or MOVE from a cursor.
    Fetch {
        /// The cursor's name.
        name: String,
        /// The most rows that come back; `None` is ALL.
        rows: Option<u64>,
        /// MOVE: no rows come back.
        moves: bool,
    },
    /// CLOSE of a cursor; `None` is ALL.
    Close {
        /// The cursor's name.
        name: Option<String>,
    },
    /// SET or RESET of a setting; `None` where it is reset. SET LOCAL counts too.
    Set {
        /// The setting's name, lower case.
        name: String,
        /// Its value as the text gives it.
        value: Option<String>,
    },
    /// DISCARD ALL.
    DiscardAll,
    /// The catalog may be another one after this: DDL, or a function that could have run DDL.
    CatalogChange,
}

/// How the reason begins by which a text that the parser refuses is opaque.
pub(super) const UNPARSABLE: &str = "the parser refuses it: ";

/// Facts of one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementFacts {
    /// All its kinds; never empty.
    pub kinds: BTreeSet<Kind>,
    /// Its command as a command tag would say it: `SELECT`, `ALTER TABLE`.
    pub command: String,
    /// Where it stands in the text: a byte range.
    pub span: Range<usize>,
    /// Every physical relation that it touches.
    pub relations: BTreeSet<RelationName>,
    /// Every physical column that it touches.
    pub columns: BTreeMap<ColumnName, ColumnFacts>,
    /// Every function that it calls and that is not built in, as `schema.name`; built-in ones that matter to rules as `pg_catalog.name`.
    pub functions: BTreeSet<String>,
    /// The columns of the result, in order; empty where it has none or they cannot be known.
    pub outputs: Vec<Output>,
    /// Why parts of it cannot be known; empty where all is known. Not empty exactly where `kinds` holds [`Kind::Opaque`].
    pub opaque: Vec<String>,
    /// How many rows can come back.
    pub bound: Bound,
    /// Rows that leave do not show how much is revealed: packing aggregates (`string_agg`, `array_agg`, `json_agg`),
    /// writes out of tagged columns, functions.
    pub packs: bool,
    /// Rows of the result come from these relations without a narrowing condition; for estimates by catalog row counts.
    pub scans: BTreeSet<RelationName>,
    /// A plain SELECT, VALUES, TABLE or COPY TO without side effects: a cancel in mid-stream undoes it.
    pub pure_read: bool,
    /// Where the values go that it reads.
    pub flows: Flows,
    /// What Postgres's confirmation changes in the session.
    pub effects: Vec<SessionEffect>,
    /// DDL findings for the card: rewrites, strong locks, missing WHERE.
    pub findings: Vec<String>,
    /// A name in it is not in the catalog: a newer snapshot may know it.
    pub unresolved: bool,
    /// It reads what definitions say that can be replaced in their place: views, functions, rules, triggers, policies.
    pub defined: bool,
    /// It depends on the session: temporary relations, or names that only this session can resolve.
    pub session_local: bool,
}

impl StatementFacts {
    /// A statement of which only the command is known.
    #[must_use]
    pub fn opaque(command: &str, span: Range<usize>, why: &str) -> Self {
        Self {
            kinds: BTreeSet::from([Kind::Opaque]),
            command: command.to_owned(),
            span,
            relations: BTreeSet::new(),
            columns: BTreeMap::new(),
            functions: BTreeSet::new(),
            outputs: Vec::new(),
            opaque: vec![why.to_owned()],
            bound: Bound::Unbounded,
            packs: true,
            scans: BTreeSet::new(),
            pure_read: false,
            flows: Flows::default(),
            effects: Vec::new(),
            findings: Vec::new(),
            unresolved: false,
            defined: false,
            session_local: true,
        }
    }

    /// EXECUTE, FETCH and their kin carry what the statement that they name does.
    pub fn carry(&mut self, inner: &Self) {
        self.kinds.extend(inner.kinds.iter().copied());
        self.relations.extend(inner.relations.iter().cloned());
        for (name, column) in &inner.columns {
            self.columns.entry(name.clone()).or_default().extend(column);
        }
        self.functions.extend(inner.functions.iter().cloned());
        self.outputs.clone_from(&inner.outputs);
        self.opaque.extend(inner.opaque.iter().cloned());
        self.flows.extend(&inner.flows);
        self.flows.fill(&inner.outputs, |column| {
            inner.columns.get(column).map(|facts| facts.tags.clone()).unwrap_or_default()
        });
        self.scans.extend(inner.scans.iter().cloned());
        self.bound = inner.bound;
        self.packs |= inner.packs;
        self.defined |= inner.defined;
        self.findings.extend(inner.findings.iter().cloned());
        self.effects.extend(inner.effects.iter().cloned());
        self.session_local = true;
    }

    /// The gravest kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kinds.iter().next_back().copied().unwrap_or(Kind::Opaque)
    }

    /// Whether the parser refuses the text; Postgres is likely to do so too, but only Postgres knows.
    #[must_use]
    pub fn is_unparsable(&self) -> bool {
        self.opaque.iter().any(|why| why.starts_with(UNPARSABLE))
    }

    /// All tags of all columns that it touches.
    #[must_use]
    pub fn tags(&self) -> BTreeSet<Tag> {
        self.columns.values().flat_map(|column| column.tags.iter().cloned()).collect()
    }

    /// Whether it touches a tagged column.
    #[must_use]
    pub fn is_tagged(&self) -> bool {
        self.columns.values().any(|column| !column.tags.is_empty())
    }

    /// BEGIN to ROLLBACK TO, DEALLOCATE, CLOSE: what a session must always be able to say.
    #[must_use]
    pub fn is_always_allowed(&self) -> bool {
        !self.kinds.is_empty()
            && self.opaque.is_empty()
            && matches!(
                self.command.as_str(),
                "BEGIN"
                    | "START TRANSACTION"
                    | "COMMIT"
                    | "END"
                    | "ROLLBACK"
                    | "SAVEPOINT"
                    | "RELEASE"
                    | "ROLLBACK TO"
                    | "DEALLOCATE"
                    | "DEALLOCATE ALL"
                    | "CLOSE"
                    | "CLOSE CURSOR"
                    | "CLOSE CURSOR ALL"
            )
    }
}

/// Facts of one text: of each statement in it, in order. An empty text has no statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The statements.
    pub statements: Vec<StatementFacts>,
}
