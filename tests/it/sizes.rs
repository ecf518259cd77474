//! How many rows can leave, as far as the text and the keys prove it, and where the rows that leave do not show it.

use std::path::Path;

use holdgate::analysis::{Bound, Context, analyze, settings};
use holdgate::backend::catalog::load;
use holdgate::policy::Policy;
use tokio_postgres::NoTls;

use crate::harness::TestDb;

/// The set-up, then each statement with what stands above it.
fn sizes() -> (String, Vec<(String, String)>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sql/sizes.sql");
    let text = std::fs::read_to_string(path).unwrap();
    let mut setup = String::new();
    let mut cases: Vec<(String, String)> = Vec::new();
    for line in text.lines().skip_while(|line| line.starts_with("--")) {
        match (line.strip_prefix("-- "), cases.last_mut()) {
            (Some(expected), _) => cases.push((expected.to_owned(), String::new())),
            (None, Some((_, sql))) => sql.push_str(line),
            (None, None) => setup.push_str(line),
        }
    }
    (setup, cases)
}

#[tokio::test]
async fn a_size_is_proved_small_or_not_proved() {
    let db = TestDb::new("sizes");
    let (setup, cases) = sizes();
    db.direct(&setup);
    let (client, connection) = tokio_postgres::connect(&db.dsn(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let catalog = load(&client).await.unwrap().with_tags(&db.name, Policy::shipped().tag_rules());
    let path = settings::split("\"$user\", public");
    let context = Context::new(&catalog, &db.name, &path, "postgres");
    let mut failures = Vec::new();
    for (expected, sql) in &cases {
        let facts = analyze(sql.as_bytes(), &context).unwrap();
        let statement = facts.statements.first().unwrap();
        let found = match statement.bound {
            _ if statement.packs => "packs".to_owned(),
            Bound::One => "one".to_owned(),
            Bound::Rows(rows) => format!("rows {rows}"),
            Bound::Unbounded => "unbounded".to_owned(),
        };
        if found != *expected || !statement.opaque.is_empty() {
            failures.push(format!("{sql}\n  {found}, not {expected}; opaque {:?}", statement.opaque));
        }
    }
    assert!(cases.len() > 30 && failures.is_empty(), "{}", failures.join("\n"));
}
