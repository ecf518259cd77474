//! Definitions and texts that double with every level: an analysis ends all the same, and says where it gave up.

use super::super::{Context, Facts, analyze};
use crate::catalog::{Catalog, CatalogBuilder};

const OWN: u32 = 20_000;

/// A catalog of relations and functions that its tests write down.
struct Definitions {
    builder: CatalogBuilder,
    next: u32,
}

impl Definitions {
    fn new() -> Self {
        let mut builder = CatalogBuilder::new();
        builder.add("schemas", r#"{"name": "public"}"#).unwrap();
        Self { builder, next: OWN }
    }

    fn relation(mut self, name: &str, kind: char, definition: Option<String>) -> Self {
        let row = serde_json::json!({
            "oid": self.oid(), "schema": "public", "name": name, "kind": kind, "persistence": "p", "row_security": false,
            "parents": [], "definition": definition,
            "columns": [{"number": 1, "name": "a", "type": 25, "not_null": false, "generated": false,
                "default": null, "comment": "@pii(user.contact.email)"}],
        });
        self.builder.add("relations", &row.to_string()).unwrap();
        self
    }

    fn table(self, name: &str) -> Self {
        self.relation(name, 'r', None)
    }

    fn view(self, name: &str, definition: &str) -> Self {
        self.relation(name, 'v', Some(definition.to_owned()))
    }

    fn function(mut self, name: &str, language: &str, source: &str) -> Self {
        let row = serde_json::json!({
            "oid": self.oid(), "schema": "public", "name": name, "kind": "f", "language": language, "volatility": "s",
            "arguments": [], "defaults": 0, "variadic": false, "returns": 25, "returns_set": false, "argument_names": [],
            "argument_modes": [], "definer": false, "source": source, "body": null, "settings": [], "extension": null,
            "parts": [],
        });
        self.builder.add("functions", &row.to_string()).unwrap();
        self
    }

    fn oid(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn analyze(self, sql: &str) -> Facts {
        analyze_in(&self.builder.finish(), sql)
    }
}

fn analyze_in(catalog: &Catalog, sql: &str) -> Facts {
    let path = ["public".to_owned()];
    analyze(sql.as_bytes(), &Context::new(catalog, "shop", &path, "bob")).unwrap()
}

fn is_tagged(facts: &Facts) -> bool {
    facts.statements.iter().any(super::super::StatementFacts::is_tagged)
}

#[test]
fn thirty_views_that_join_the_one_before_twice_are_read_whole() {
    let mut definitions = Definitions::new().table("v0");
    for level in 1..=30 {
        let below = level - 1;
        definitions =
            definitions.view(&format!("v{level}"), &format!("SELECT x.a FROM public.v{below} x, public.v{below} y"));
    }
    let facts = definitions.analyze("SELECT a FROM v30");
    assert!(is_tagged(&facts) && facts.statements[0].opaque.is_empty(), "{facts:?}");
}

#[test]
fn a_thousand_views_over_each_other_are_read_whole() {
    let mut definitions = Definitions::new().table("v0");
    for level in 1..=1_000 {
        definitions = definitions.view(&format!("v{level}"), &format!("SELECT a FROM public.v{}", level - 1));
    }
    let facts = definitions.analyze("SELECT a FROM v1000");
    assert!(is_tagged(&facts) && facts.statements[0].opaque.is_empty(), "{facts:?}");
}

#[test]
fn ten_thousand_views_over_each_other_are_opaque() {
    let mut definitions = Definitions::new().table("v0");
    for level in 1..=10_000 {
        definitions = definitions.view(&format!("v{level}"), &format!("SELECT a FROM public.v{}", level - 1));
    }
    assert!(!definitions.analyze("SELECT a FROM v10000").statements[0].opaque.is_empty());
}

#[test]
fn a_view_that_grows_with_every_level_is_given_up() {
    let mut definitions = Definitions::new().table("v0").function("f", "sql", "SELECT a FROM v0");
    for level in 1..=40 {
        let below = level - 1;
        // What a function means hangs on the search path, so that none of these is remembered.
        definitions = definitions
            .view(&format!("v{level}"), &format!("SELECT x.a || public.f() FROM public.v{below} x, public.v{below} y"));
    }
    let facts = definitions.analyze("SELECT a FROM v40");
    assert!(facts.is_unfinished() && !facts.statements[0].pure_read, "{facts:?}");
}

#[test]
fn functions_that_call_the_one_before_twice_come_to_an_end() {
    for language in ["sql", "plpgsql"] {
        let mut definitions = Definitions::new().table("t").function("f0", language, "SELECT a FROM t");
        for level in 1..=40 {
            let below = level - 1;
            let source = format!("SELECT f{below}() || f{below}() || (SELECT f{below}())");
            definitions = definitions.function(&format!("f{level}"), language, &source);
        }
        let facts = definitions.analyze("SELECT f40()");
        assert!(is_tagged(&facts) || facts.is_unfinished(), "{facts:?}");
    }
}

#[test]
fn functions_that_call_each_other_in_a_ring_are_read_once_round() {
    let definitions = Definitions::new()
        .table("t")
        .function("f", "sql", "SELECT g() FROM t")
        .function("g", "sql", "SELECT h()")
        .function("h", "plpgsql", "BEGIN RETURN f(); END");
    let facts = definitions.analyze("SELECT g()");
    let relations = &facts.statements[0].relations;
    assert!(relations.len() == 1 && !facts.is_unfinished(), "{facts:?}");
}

#[test]
fn thirty_functions_that_all_call_each_other_come_to_an_end() {
    let all: Vec<String> = (0..30).map(|number| format!("f{number}()")).collect();
    let mut definitions = Definitions::new().table("t");
    for number in 0..30 {
        definitions =
            definitions.function(&format!("f{number}"), "sql", &format!("SELECT {} FROM t", all.join(" || ")));
    }
    let facts = definitions.analyze("SELECT f0()");
    assert!(is_tagged(&facts) || facts.is_unfinished(), "{facts:?}");
}

#[test]
fn a_body_is_read_in_time_that_grows_with_its_length() {
    let body = format!("BEGIN {} END", "PERFORM * FROM t; t t ".repeat(20_000));
    let facts = Definitions::new().table("t").function("f", "plpgsql", &body).analyze("SELECT f()");
    assert!(is_tagged(&facts), "{facts:?}");
    let block = Definitions::new().table("t").analyze(&format!("DO $body$ {body} $body$"));
    assert!(is_tagged(&block), "{block:?}");
}

#[test]
fn a_body_that_nests_deeper_than_a_statement_may_is_opaque() {
    let deep = format!("SELECT {}1", "- ".repeat(100_000));
    let facts = Definitions::new().function("f", "sql", &deep).analyze("SELECT f()");
    assert!(!facts.statements[0].opaque.is_empty(), "{facts:?}");
    let chain = format!("SELECT 1{}", " + 1".repeat(100_000));
    for (kind, sql) in [("function", "SELECT f()"), ("view", "SELECT a FROM v"), ("literal", "")] {
        let definitions = Definitions::new().function("f", "sql", &chain).view("v", &chain);
        let sql = match kind {
            "literal" => format!("SELECT query_to_xml('{chain}', true, true, '')"),
            _ => sql.to_owned(),
        };
        let facts = definitions.analyze(&sql);
        assert!(!facts.statements[0].opaque.is_empty(), "{kind}: {facts:?}");
    }
}

#[test]
fn columns_that_double_with_every_with_are_given_up() {
    let mut sql = "WITH c0 AS (SELECT 1 AS a)".to_owned();
    for level in 1..40 {
        let below = level - 1;
        sql += &format!(", c{level} AS (SELECT * FROM c{below} x, c{below} y)");
    }
    let facts = analyze_in(&Catalog::empty(), &format!("{sql} SELECT * FROM c39"));
    assert!(!facts.statements[0].opaque.is_empty());
    let rows = sql.replace("SELECT *", "SELECT x, y");
    let facts = analyze_in(&Catalog::empty(), &format!("{rows} SELECT * FROM c39"));
    assert!(facts.statements[0].outputs.len() < 10);
}

#[test]
fn recursive_queries_within_each_other_are_given_up() {
    let mut sql = "SELECT 1 AS a".to_owned();
    for level in 0..30 {
        sql = format!("WITH RECURSIVE c{level} AS ({sql} UNION SELECT a FROM c{level}) SELECT a FROM c{level}");
    }
    assert!(analyze_in(&Catalog::empty(), &sql).is_unfinished());
}

#[test]
fn names_that_nothing_has_are_not_all_kept() {
    let calls: Vec<String> = (0..30_000).map(|number| format!("b{number}()")).collect();
    let facts = analyze_in(&Catalog::empty(), &format!("SELECT 1 WHERE {}", calls.join(" OR ")));
    assert!((1..100).contains(&facts.statements[0].opaque.len()));
}

#[test]
fn a_target_list_longer_than_postgres_takes_is_opaque() {
    let stars = Definitions::new().table("t").analyze(&format!("SELECT {} 1 FROM t", "t.*, ".repeat(100_000)));
    assert!(stars.statements[0].outputs.is_empty() && !stars.statements[0].opaque.is_empty());
}

#[test]
fn what_was_given_up_is_not_remembered() {
    let catalog = Catalog::empty();
    let cache = super::super::Cache::new(10);
    let context = Context { work_max: 10, ..Context::new(&catalog, "shop", &[], "bob") };
    let sql = format!("SELECT 1 WHERE {}", "a = b OR ".repeat(50) + "true");
    assert!(cache.analyze(sql.as_bytes(), &context).unwrap().is_unfinished());
    assert!(!cache.analyze(sql.as_bytes(), &Context { work_max: 10_000, ..context }).unwrap().is_unfinished());
}

#[test]
fn ten_thousand_functions_that_each_call_the_next_are_opaque() {
    for language in ["sql", "plpgsql"] {
        let mut definitions = Definitions::new().function("f0", language, "SELECT 1");
        for level in 1..=10_000 {
            definitions = definitions.function(&format!("f{level}"), language, &format!("SELECT f{}()", level - 1));
        }
        assert!(!definitions.analyze("SELECT f10000()").statements[0].opaque.is_empty(), "{language}");
    }
}

#[test]
fn comments_in_a_body_fit_the_stack() {
    let body = format!("SELECT a FROM t {}", "-- b\n".repeat(15_000));
    assert!(is_tagged(&Definitions::new().table("t").function("f", "sql", &body).analyze("SELECT f()")));
}
