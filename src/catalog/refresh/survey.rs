//! The answer to the one question that says what has changed since a catalog was read.

use super::Ledger;
use super::classes::{CLASSES, NOW};
use crate::catalog::{CatalogError, Oid};

/// How many rows a table has, and sums over their keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) rows: i128,
    pub(super) sum: i128,
    pub(super) squares: i128,
}

/// One row of the server's own tables.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) key: i64,
    pub(super) owner: Oid,
    /// Which version of the row it is, where it was written lately.
    pub(super) token: Option<Box<str>>,
}

/// What one table has.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) count: Count,
    pub(super) rows: Vec<Row>,
}

/// What the server has.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// In the order of [`CLASSES`].
    pub(super) classes: Vec<Found>,
    pub(super) cut: u64,
    /// The next transaction.
    pub(super) next: u64,
    pub(super) place: String,
    pub(super) names_sum: String,
    pub(super) rest: String,
    pub(super) sizes: String,
    /// The search path that is set, as it was written.
    pub(super) path: String,
}

/// What is known of where and when.
const HEAD: &str = "SELECT pg_catalog.concat('now|', pg_catalog.pg_current_snapshot(), '|', \
    pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()), '/', \
    (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))";

const PATH: &str = "SELECT pg_catalog.concat('path|', pg_catalog.current_setting('search_path'))";

/// Names that definitions print; of roles, those that own functions.
const NAMES_SUM: &str = "SELECT pg_catalog.concat_ws('|', 'names', pg_catalog.count(*), \
    pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws(',', s.kind, s.oid, s.name), 0))) FROM ";

/// All of them.
const NAMES: &str = "SELECT pg_catalog.concat_ws('|', 'name', s.kind, s.oid, s.name) FROM ";

const NAMED: &str = "(SELECT 'schema' AS kind, oid, nspname AS name FROM pg_catalog.pg_namespace \
    UNION ALL SELECT 'language', oid, lanname FROM pg_catalog.pg_language \
    UNION ALL SELECT 'extension', oid, extname FROM pg_catalog.pg_extension \
    UNION ALL SELECT 'role', oid, rolname FROM pg_catalog.pg_roles \
    WHERE oid OPERATOR(pg_catalog.=) ANY (SELECT p.proowner FROM pg_catalog.pg_proc p) \
    UNION ALL SELECT 'database', oid, datname FROM pg_catalog.pg_database \
    WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) AS s";

/// What is read as a whole where anything of it has changed.
const REST: &str = "SELECT pg_catalog.concat_ws('|', 'rest', \
    (SELECT pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws(',', oid, xmin, ctid), 0)) FROM pg_catalog.pg_operator \
    WHERE oid OPERATOR(pg_catalog.>=) 16384), \
    (SELECT pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws(',', oid, xmin, ctid), 1)) FROM pg_catalog.pg_cast), \
    (SELECT pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws(',', oid, xmin, ctid), 2)) FROM pg_catalog.pg_amproc \
    WHERE oid OPERATOR(pg_catalog.>=) 16384), \
    (SELECT pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws(',', rngtypid, xmin, ctid), 3)) FROM pg_catalog.pg_range), \
    (SELECT pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws(',', setdatabase, setrole, setconfig), 4)) \
    FROM pg_catalog.pg_db_role_setting), \
    (SELECT pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws(',', oid, rolname, rolsuper, rolbypassrls, rolinherit), 5)) \
    FROM pg_catalog.pg_roles WHERE (SELECT secured FROM sums)), \
    (SELECT pg_catalog.sum(pg_catalog.hashtextextended(CAST(m AS pg_catalog.text), 6)) FROM pg_catalog.pg_auth_members m \
    WHERE (SELECT secured FROM sums)))";

/// How large relations are; those that nobody has counted say nothing.
const SIZES: &str = "SELECT pg_catalog.concat_ws('|', 'sizes', pages, tuples) FROM sums";

/// What is told by a look at all relations, which is had once.
const SUMS: &str = "WITH sums AS MATERIALIZED (SELECT pg_catalog.bool_or(c.relrowsecurity) AS secured, \
    pg_catalog.sum(c.relpages) FILTER (WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,f,m}') AND c.oid OPERATOR(pg_catalog.>=) 16384) AS pages, \
    pg_catalog.sum(CAST(c.reltuples AS pg_catalog.float8)) FILTER (WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,f,m}') \
    AND c.oid OPERATOR(pg_catalog.>=) 16384 AND c.relpages OPERATOR(pg_catalog.>) 0) AS tuples FROM pg_catalog.pg_class c) ";

impl Survey {
    /// The question. What was read before a cut and is still there is the same.
    pub(super) fn sql(base: Option<&Ledger>) -> String {
        let cut = match base {
            // The number of a transaction on disk is the lower half of it.
            Some(base) => {
                format!("(SELECT pg_catalog.age(CAST('{}' AS pg_catalog.xid)))", base.cut & u64::from(u32::MAX))
            }
            None => NOW.to_owned(),
        };
        let mut parts =
            vec![HEAD.to_owned(), PATH.to_owned(), format!("{NAMES_SUM}{NAMED}"), REST.to_owned(), SIZES.to_owned()];
        parts.extend(CLASSES.iter().map(|class| class.survey(&cut, base.is_none())));
        format!("{SUMS}{}", parts.join(" UNION ALL "))
    }

    /// Reads the answer, a text a row.
    pub(super) fn read<'r>(answer: impl IntoIterator<Item = &'r str>) -> Result<Self, CatalogError> {
        let mut survey = Self { classes: vec![Found::default(); CLASSES.len()], ..Self::default() };
        let mut seen = 0;
        for text in answer {
            let (name, rest) = text.split_once('|').unwrap_or((text, ""));
            match name {
                "now" => survey.read_head(rest).ok_or_else(|| unread(text))?,
                "path" => rest.clone_into(&mut survey.path),
                "names" => rest.clone_into(&mut survey.names_sum),
                "rest" => rest.clone_into(&mut survey.rest),
                "sizes" => rest.clone_into(&mut survey.sizes),
                _ => {
                    let place = CLASSES.iter().position(|class| class.name == name).ok_or_else(|| unread(text))?;
                    let found = Found::read(rest).ok_or_else(|| unread(text))?;
                    survey.classes.get_mut(place).map(|known| *known = found).ok_or_else(|| unread(text))?;
                    seen += 1;
                }
            }
        }
        if seen == CLASSES.len() && survey.next > 0 { Ok(survey) } else { Err(unread("too few rows")) }
    }

    fn read_head(&mut self, text: &str) -> Option<()> {
        let (snapshot, place) = text.split_once('|')?;
        let mut bounds = snapshot.split(':');
        self.cut = bounds.next()?.parse().ok()?;
        self.next = bounds.next()?.parse().ok()?;
        place.clone_into(&mut self.place);
        Some(())
    }
}

/// The question for names.
pub(super) fn names() -> String {
    format!("{NAMES}{NAMED}")
}

impl Found {
    fn read(text: &str) -> Option<Self> {
        let mut fields = text.split('|');
        let mut number = || fields.next()?.parse().ok();
        let count = Count { rows: number()?, sum: number()?, squares: number()? };
        Some(Self { count, rows: rows(fields.next().unwrap_or_default())? })
    }
}

/// Rows with spaces between them.
pub(super) fn rows(text: &str) -> Option<Vec<Row>> {
    text.split(' ').filter(|row| !row.is_empty()).map(row).collect()
}

fn row(text: &str) -> Option<Row> {
    let mut fields = text.splitn(3, ':');
    let (key, owner) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let token = fields.next().filter(|token| !token.is_empty());
    Some(Row { key, owner, token: token.map(Into::into) })
}

pub(super) fn unread(text: &str) -> CatalogError {
    CatalogError::Survey(text.chars().take(200).collect())
}
