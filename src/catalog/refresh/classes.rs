//! The server's own tables in which definitions are kept, and how changes of their rows are told.

/// What a row is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    /// A relation.
    Relation,
    /// A type.
    Type,
    /// A function.
    Function,
    /// An operator: read with all others, but what prints its name depends on it.
    Operator,
}

/// How the end of a row is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its key is known, and is missed.
    Missed,
    /// It ends with another row that is missed, or changes one.
    Witnessed,
}

/// Rows of one table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Class {
    pub(super) name: &'static str,
    pub(super) part: Part,
    /// A number that no other row has.
    key: &'static str,
    /// The OID of what the row is part of.
    owner: &'static str,
    /// The table and which of its rows; ends in a condition.
    from: &'static str,
    pub(super) ending: Ending,
}

/// In whose schemas a reader looks: not in those of TOAST, nor in the temporary ones of others.
macro_rules! seen {
    ($schema:literal) => {
        concat!(
            "NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.oid OPERATOR(pg_catalog.=) ",
            $schema,
            " AND (n.nspname OPERATOR(pg_catalog.=) 'pg_toast' OR (n.oid OPERATOR(pg_catalog.<>) pg_catalog.pg_my_temp_schema() \
             AND pg_catalog.starts_with(CAST(n.nspname AS pg_catalog.text), 'pg_temp_'))))"
        )
    };
}

const fn class(name: &'static str, part: Part, [key, owner, from]: [&'static str; 3], ending: Ending) -> Class {
    Class { name, part, key, owner, from, ending }
}

use Ending::{Missed, Witnessed};

/// All of them. A default ends with a change of its column's row, an aggregate with its function's.
pub(super) const CLASSES: &[Class] = &[
    class(
        "relation",
        Part::Relation,
        [
            "oid",
            "oid",
            concat!(
                "pg_catalog.pg_class t WHERE t.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,f,v,m,S,c}') AND ",
                seen!("t.relnamespace")
            ),
        ],
        Missed,
    ),
    class(
        "column",
        Part::Relation,
        [
            "(CAST(attrelid AS pg_catalog.int8) OPERATOR(pg_catalog.*) 65536) OPERATOR(pg_catalog.+) attnum",
            "attrelid",
            "pg_catalog.pg_attribute t WHERE t.attnum OPERATOR(pg_catalog.>) 0",
        ],
        Witnessed,
    ),
    class("default", Part::Relation, ["oid", "adrelid", "pg_catalog.pg_attrdef t WHERE true"], Witnessed),
    class(
        "parent",
        Part::Relation,
        [
            "(CAST(inhrelid AS pg_catalog.int8) OPERATOR(pg_catalog.*) 65536) OPERATOR(pg_catalog.+) inhseqno",
            "inhrelid",
            "pg_catalog.pg_inherits t WHERE true",
        ],
        Missed,
    ),
    class(
        "comment",
        Part::Relation,
        [
            "(CAST(objoid AS pg_catalog.int8) OPERATOR(pg_catalog.*) 65536) OPERATOR(pg_catalog.+) objsubid",
            "objoid",
            "pg_catalog.pg_description t WHERE t.classoid OPERATOR(pg_catalog.=) 1259 AND t.objsubid OPERATOR(pg_catalog.>) 0 \
             AND pg_catalog.strpos(t.description, '@pii(') OPERATOR(pg_catalog.>) 0",
        ],
        Missed,
    ),
    class("index", Part::Relation, ["indexrelid", "indrelid", "pg_catalog.pg_index t WHERE true"], Missed),
    class("rule", Part::Relation, ["oid", "ev_class", "pg_catalog.pg_rewrite t WHERE true"], Missed),
    class("policy", Part::Relation, ["oid", "polrelid", "pg_catalog.pg_policy t WHERE true"], Missed),
    class("trigger", Part::Relation, ["oid", "tgrelid", "pg_catalog.pg_trigger t WHERE NOT t.tgisinternal"], Missed),
    class(
        "constraint",
        Part::Relation,
        ["oid", "conrelid", "pg_catalog.pg_constraint t WHERE t.conrelid OPERATOR(pg_catalog.<>) 0"],
        Missed,
    ),
    class(
        "reference",
        Part::Relation,
        ["oid", "confrelid", "pg_catalog.pg_constraint t WHERE t.contype OPERATOR(pg_catalog.=) 'f'"],
        Missed,
    ),
    class("statistics", Part::Relation, ["oid", "stxrelid", "pg_catalog.pg_statistic_ext t WHERE true"], Missed),
    class(
        "partitioned",
        Part::Relation,
        ["partrelid", "partrelid", "pg_catalog.pg_partitioned_table t WHERE true"],
        Witnessed,
    ),
    class("type", Part::Type, ["oid", "oid", concat!("pg_catalog.pg_type t WHERE ", seen!("t.typnamespace"))], Missed),
    class("range", Part::Type, ["rngtypid", "rngtypid", "pg_catalog.pg_range t WHERE true"], Witnessed),
    class(
        "check",
        Part::Type,
        ["oid", "contypid", "pg_catalog.pg_constraint t WHERE t.contypid OPERATOR(pg_catalog.<>) 0"],
        Missed,
    ),
    class("function", Part::Function, ["oid", "oid", "pg_catalog.pg_proc t WHERE true"], Missed),
    class(
        "aggregate",
        Part::Function,
        [
            "CAST(aggfnoid AS pg_catalog.oid)",
            "CAST(aggfnoid AS pg_catalog.oid)",
            "pg_catalog.pg_aggregate t WHERE true",
        ],
        Witnessed,
    ),
    class(
        "member",
        Part::Function,
        [
            "objid",
            "objid",
            "pg_catalog.pg_depend t WHERE t.refclassid OPERATOR(pg_catalog.=) 3079 AND t.classid OPERATOR(pg_catalog.=) 1255 \
             AND t.deptype OPERATOR(pg_catalog.=) 'e'",
        ],
        Missed,
    ),
    class("operator", Part::Operator, ["oid", "oid", "pg_catalog.pg_operator t WHERE true"], Witnessed),
];

/// The age of the oldest transaction that is open: what it wrote may be taken back.
pub(super) const NOW: &str =
    "(SELECT pg_catalog.age(CAST(pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()) AS pg_catalog.xid)))";

/// Squares of numbers below this prime add up without an overflow.
pub(super) const PRIME: i64 = 2_147_483_629;

impl Class {
    fn rows(&self, cut: &str) -> String {
        let (key, owner, from) = (self.key, self.owner, self.from);
        let recent = format!("pg_catalog.age(t.xmin) OPERATOR(pg_catalog.<=) {cut}");
        let only = if self.ending == Missed { String::new() } else { format!(" AND {recent}") };
        format!(
            "(SELECT CAST({key} AS pg_catalog.int8) AS key, {owner} AS owner, \
             CASE WHEN {recent} THEN pg_catalog.concat(t.xmin, t.ctid, \
             CASE WHEN pg_catalog.age(t.xmin) OPERATOR(pg_catalog.<=) {NOW} THEN '*' END) END AS token FROM {from}{only}) AS s"
        )
    }

    /// Asks for the number of rows, sums that tell whether the same ones are there, and the rows that transactions wrote
    /// since the cut; of a first survey, all rows whose end is to be missed.
    pub(super) fn survey(&self, cut: &str, first: bool) -> String {
        let (name, rows) = (self.name, self.rows(cut));
        let listed = if first { "" } else { " FILTER (WHERE s.token IS NOT NULL)" };
        format!(
            "SELECT pg_catalog.concat_ws('|', '{name}', pg_catalog.count(*), COALESCE(pg_catalog.sum(s.key), 0), \
             COALESCE(pg_catalog.sum((s.key OPERATOR(pg_catalog.%) {PRIME}) OPERATOR(pg_catalog.*) (s.key OPERATOR(pg_catalog.%) {PRIME})), 0), \
             pg_catalog.string_agg(pg_catalog.concat(s.key, ':', s.owner, ':', s.token), ' '){listed}) FROM {rows}"
        )
    }

    /// Asks for all keys.
    pub(super) fn list(&self) -> String {
        let (name, key, owner, from) = (self.name, self.key, self.owner, self.from);
        format!(
            "SELECT pg_catalog.concat_ws('|', '{name}', pg_catalog.string_agg(pg_catalog.concat(s.key, ':', s.owner, ':'), ' ')) \
             FROM (SELECT CAST({key} AS pg_catalog.int8) AS key, {owner} AS owner FROM {from}) AS s"
        )
    }
}
