//! One test for each way round the analysis: a schema with the trap in it, and statements that step on it.
//!
//! A file under `fixtures/sql/evasion/` is the set-up, then statements; above each stands what it must be said to touch
//! (`-- touches: columns`, none for a statement that must stay clean), to write, or that it must be called opaque.

use std::collections::BTreeSet;
use std::path::Path;

use holdgate::analysis::{Access, Context, StatementFacts, analyze, settings};
use holdgate::backend::catalog::load;
use holdgate::catalog::Catalog;
use tokio_postgres::NoTls;

use crate::harness::TestDb;

/// What must be said of a statement.
enum Expected {
    /// These columns and no other, at least read or decided by; no column at all where there are none.
    Touches(Vec<String>),
    /// These columns are written.
    Writes(Vec<String>),
    Opaque,
}

struct Case {
    expected: Expected,
    sql: String,
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn expectation(line: &str) -> Option<Expected> {
    if let Some(columns) = line.strip_prefix("-- touches:") {
        return Some(Expected::Touches(words(columns)));
    }
    if let Some(columns) = line.strip_prefix("-- writes:") {
        return Some(Expected::Writes(words(columns)));
    }
    (line == "-- opaque").then_some(Expected::Opaque)
}

/// The set-up of a file and its cases.
fn read(name: &str) -> (String, Vec<Case>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sql/evasion").join(format!("{name}.sql"));
    let text = std::fs::read_to_string(path).unwrap();
    let mut setup = String::new();
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(expected) = expectation(line) {
            cases.push(Case { expected, sql: String::new() });
            continue;
        }
        let into = cases.last_mut().map_or(&mut setup, |case| &mut case.sql);
        into.push_str(line);
        into.push('\n');
    }
    (setup, cases)
}

pub(crate) async fn catalog(db: &TestDb) -> Catalog {
    let (client, connection) = tokio_postgres::connect(&db.dsn(), NoTls).await.unwrap();
    tokio::spawn(connection);
    load(&client).await.unwrap()
}

fn columns(statements: &[StatementFacts], wanted: impl Fn(Access) -> bool) -> BTreeSet<String> {
    let all = statements.iter().flat_map(|statement| &statement.columns);
    all.filter(|(_, facts)| facts.access.iter().any(|access| wanted(*access)))
        .map(|(name, _)| name.to_string())
        .collect()
}

/// What is wrong with the facts of a case; nothing where they are right.
fn wrong(case: &Case, context: &Context<'_>) -> Option<String> {
    let facts = analyze(case.sql.as_bytes(), context).unwrap();
    let opaque: Vec<&String> = facts.statements.iter().flat_map(|statement| &statement.opaque).collect();
    let read = columns(&facts.statements, |access| access != Access::Write);
    let written = columns(&facts.statements, |access| access == Access::Write);
    let right = match &case.expected {
        Expected::Opaque => !opaque.is_empty(),
        Expected::Writes(wanted) => opaque.is_empty() && wanted.iter().all(|column| written.contains(column)),
        Expected::Touches(wanted) if wanted.is_empty() => {
            opaque.is_empty() && !read.iter().any(|column| column.contains("email"))
        }
        Expected::Touches(wanted) => opaque.is_empty() && wanted.iter().all(|column| read.contains(column)),
    };
    (!right).then(|| format!("{}  read {read:?}, written {written:?}, opaque {opaque:?}", case.sql))
}

async fn check(name: &str) {
    let db = TestDb::new(&format!("evasion_{name}"));
    let (setup, cases) = read(name);
    db.direct(&setup);
    let catalog = catalog(&db).await;
    let path = settings::split("\"$user\", public");
    let context = Context::new(&catalog, &db.name, &path, "postgres");
    let failures: Vec<String> = cases.iter().filter_map(|case| wrong(case, &context)).collect();
    assert!(!cases.is_empty() && failures.is_empty(), "{}", failures.join("\n"));
}

macro_rules! evasions {
    ($($name:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                check(stringify!($name)).await;
            }
        )+
    };
}

evasions! {
    arguments,
    cascades,
    constraints,
    definitions,
    domains,
    operators,
    plpgsql,
    triggers,
    unwritten_casts,
}
