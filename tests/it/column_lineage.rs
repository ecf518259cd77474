//! Column lineage of statements that write: each column says from which others it is made, how, and what decided.

use std::collections::BTreeSet;

use holdgate::analysis::scan::StringMode;
use holdgate::analysis::{Context, analyze};
use holdgate::catalog::Catalog;
use holdgate::ids::StatementId;
use holdgate::lineage::openlineage::render;
use holdgate::lineage::{Event, Outcome, StatementRecord};
use serde_json::Value;

use super::evasions::catalog;
use super::harness::TestDb;

const SETUP: &str = "CREATE TABLE people (id int PRIMARY KEY, email text, city text, born date, score int);
    CREATE TABLE orders (id int PRIMARY KEY, person int, total int);
    CREATE TABLE out (a text, b text, c bigint);
    CREATE VIEW hashed AS SELECT id, md5(email) AS h, city FROM people;
    CREATE FUNCTION greet(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'hi ' || $1 $$;";

/// A statement, and what is said of it: `target <- source KIND/SUBTYPE`, `masked` behind what cannot be read back, and
/// `* <- …` for what decides on whole rows.
const CASES: &[(&str, &[&str])] = &[
    ("INSERT INTO out (a) SELECT email FROM people", &["a <- email DIRECT/IDENTITY"]),
    (
        "INSERT INTO out (a, b) SELECT e, 'x' FROM (SELECT email AS e FROM people) s",
        &["a <- email DIRECT/IDENTITY", "* <- email INDIRECT/FILTER?"],
    ),
    (
        "INSERT INTO out (a) SELECT lower(email) || city FROM people",
        &["a <- email DIRECT/TRANSFORMATION", "a <- city DIRECT/TRANSFORMATION"],
    ),
    ("INSERT INTO out (a) SELECT id::text FROM people", &["a <- id DIRECT/TRANSFORMATION"]),
    (
        "INSERT INTO out (a) SELECT greet(email) FROM people",
        &["a <- email DIRECT/TRANSFORMATION", "* <- email INDIRECT/FILTER?"],
    ),
    ("INSERT INTO out (a) SELECT md5(lower(email)) FROM people", &["a <- email DIRECT/TRANSFORMATION masked"]),
    ("INSERT INTO out (a) SELECT upper(h) FROM hashed", &["a <- email DIRECT/TRANSFORMATION masked"]),
    (
        "INSERT INTO out (a) SELECT encode(sha256(email::bytea), 'hex') || city FROM people",
        &["a <- email DIRECT/TRANSFORMATION masked", "a <- city DIRECT/TRANSFORMATION"],
    ),
    (
        "INSERT INTO out (a) SELECT md5(email) || email FROM people",
        &["a <- email DIRECT/TRANSFORMATION", "a <- email DIRECT/TRANSFORMATION masked"],
    ),
    ("INSERT INTO out (c) SELECT sum(score) + 1 FROM people", &["c <- score DIRECT/AGGREGATION"]),
    ("INSERT INTO out (c) SELECT count(email) FROM people", &["c <- email DIRECT/AGGREGATION masked"]),
    ("INSERT INTO out (a) SELECT string_agg(md5(email), ',') FROM people", &["a <- email DIRECT/AGGREGATION masked"]),
    (
        "INSERT INTO out (a) SELECT max(email) FILTER (WHERE score > 1) FROM people",
        &["a <- email DIRECT/AGGREGATION", "* <- score INDIRECT/FILTER"],
    ),
    (
        "INSERT INTO out (a) SELECT CASE WHEN score > 1 THEN email ELSE city END FROM people",
        &["a <- score INDIRECT/CONDITIONAL", "a <- email DIRECT/IDENTITY", "a <- city DIRECT/IDENTITY"],
    ),
    (
        "INSERT INTO out (a) SELECT email FROM people p JOIN orders o ON o.person = p.id",
        &["a <- email DIRECT/IDENTITY", "* <- person INDIRECT/JOIN", "* <- id INDIRECT/JOIN"],
    ),
    (
        "INSERT INTO out (a) SELECT email FROM people p, orders o WHERE o.person = p.id AND total > 3",
        &[
            "a <- email DIRECT/IDENTITY",
            "* <- person INDIRECT/JOIN",
            "* <- id INDIRECT/JOIN",
            "* <- total INDIRECT/FILTER",
        ],
    ),
    (
        "INSERT INTO out (a) SELECT email FROM people JOIN orders USING (id)",
        &["a <- email DIRECT/IDENTITY", "* <- id INDIRECT/JOIN", "* <- id INDIRECT/JOIN"],
    ),
    (
        "INSERT INTO out (a, c) SELECT city, sum(score) FROM people GROUP BY city HAVING max(born) IS NULL",
        &[
            "a <- city DIRECT/IDENTITY",
            "c <- score DIRECT/AGGREGATION",
            "* <- city INDIRECT/GROUP_BY",
            "* <- born INDIRECT/FILTER",
        ],
    ),
    (
        "INSERT INTO out (a) SELECT email FROM people ORDER BY born",
        &["a <- email DIRECT/IDENTITY", "* <- born INDIRECT/SORT"],
    ),
    (
        "INSERT INTO out (a) SELECT DISTINCT ON (city) email FROM people",
        &["a <- email DIRECT/IDENTITY", "* <- city INDIRECT/GROUP_BY"],
    ),
    (
        "INSERT INTO out (c) SELECT rank() OVER (PARTITION BY city ORDER BY born) FROM people",
        &["* <- city INDIRECT/WINDOW", "* <- born INDIRECT/WINDOW"],
    ),
    (
        "INSERT INTO out (c) SELECT sum(score) OVER (ORDER BY born) FROM people WHERE born > '2000-01-01'",
        &["c <- score DIRECT/AGGREGATION", "* <- born INDIRECT/FILTER", "* <- born INDIRECT/WINDOW"],
    ),
    (
        "UPDATE people SET score = score + 1 WHERE id = 7",
        &["score <- score DIRECT/TRANSFORMATION", "* <- id INDIRECT/FILTER"],
    ),
    (
        "UPDATE people SET city = 'x' WHERE id = 7 RETURNING id, score",
        &["* <- id INDIRECT/FILTER", "* <- score INDIRECT/FILTER?"],
    ),
    (
        "UPDATE people SET city = total::text FROM orders WHERE person = people.id",
        &["city <- total DIRECT/TRANSFORMATION", "* <- person INDIRECT/FILTER", "* <- id INDIRECT/FILTER"],
    ),
    (
        "MERGE INTO people p USING orders o ON o.person = p.id WHEN MATCHED THEN UPDATE SET score = o.total",
        &["score <- total DIRECT/IDENTITY", "* <- person INDIRECT/JOIN", "* <- id INDIRECT/JOIN"],
    ),
    (
        "CREATE TABLE made AS SELECT md5(email) AS m, city FROM people WHERE score > 1",
        &["m <- email DIRECT/TRANSFORMATION masked", "city <- city DIRECT/IDENTITY", "* <- score INDIRECT/FILTER"],
    ),
];

/// A source that may be said to decide and need not be is marked by `?`.
fn wanted(lines: &[&str]) -> (BTreeSet<String>, BTreeSet<String>) {
    let may = lines.iter().filter_map(|line| line.strip_suffix('?')).map(ToOwned::to_owned).collect();
    (lines.iter().filter(|line| !line.ends_with('?')).map(ToString::to_string).collect(), may)
}

fn event(sql: &str, context: &Context<'_>) -> Value {
    let facts = analyze(sql.as_bytes(), context).unwrap();
    let mut record = StatementRecord::new(StatementId::new(), Event::Closed).with_text(sql, StringMode::Standard);
    record = record.with_facts(&facts.statements[0], "shop");
    record.outcome = Some(Outcome::Complete);
    assert!(record.opaque.is_empty(), "{sql}: {:?}", record.opaque);
    render(&record).unwrap()
}

fn said(event: &Value) -> BTreeSet<String> {
    let line = |target: &str, field: &Value| -> Vec<String> {
        let source = field["field"].as_str().unwrap();
        let each = field["transformations"].as_array().unwrap().iter().map(|one| {
            let masked = if one["masking"] == true { " masked" } else { "" };
            let (kind, subtype) = (one["type"].as_str().unwrap(), one["subtype"].as_str().unwrap());
            format!("{target} <- {source} {kind}/{subtype}{masked}")
        });
        each.collect()
    };
    let mut said = BTreeSet::new();
    for output in event["outputs"].as_array().unwrap() {
        let lineage = &output["facets"]["columnLineage"];
        for (target, made) in lineage["fields"].as_object().unwrap() {
            said.extend(made["inputFields"].as_array().unwrap().iter().flat_map(|field| line(target, field)));
        }
        said.extend(lineage["dataset"].as_array().unwrap().iter().flat_map(|field| line("*", field)));
    }
    said
}

fn wrong(catalog: &Catalog, sql: &str, lines: &[&str]) -> Option<String> {
    let path = ["public".to_owned()];
    let context = Context::new(catalog, "shop", &path, "postgres");
    let (must, may) = wanted(lines);
    let said = said(&event(sql, &context));
    let missing: Vec<_> = must.difference(&said).collect();
    let beyond: Vec<_> = said.difference(&must).filter(|line| !may.contains(*line)).collect();
    (!missing.is_empty() || !beyond.is_empty()).then(|| format!("{sql}\n  missing {missing:?}\n  beyond {beyond:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_written_column_says_how_it_is_made_and_what_decided() {
    let db = TestDb::new("column_lineage");
    db.direct(SETUP);
    let catalog = catalog(&db).await;
    let wrong: Vec<String> = CASES.iter().filter_map(|(sql, lines)| wrong(&catalog, sql, lines)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
