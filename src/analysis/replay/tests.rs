//! One text, several statements: each means what those before it made of it.

use super::Replay;
use crate::analysis::{Access, StatementFacts};
use crate::catalog::tags::TagRules;
use crate::catalog::{Catalog, CatalogBuilder};

/// `public.people(id, email)`, whose email is tagged by its comment, and a view `public.shown` of it.
fn catalog() -> Catalog {
    let columns = r#"[{"number":1,"name":"id","type":23},{"number":2,"name":"email","type":25,"comment":"@pii(user.contact.email)"}]"#;
    let view = r#"[{"number":1,"name":"who","type":25}]"#;
    let rows = [
        ("schemas", r#"{"name":"pg_catalog"}"#.to_owned()),
        ("schemas", r#"{"name":"public"}"#.to_owned()),
        ("relations", format!(r#"{{"oid":20001,"schema":"public","name":"people","kind":"r","columns":{columns}}}"#)),
        (
            "relations",
            format!(
                r#"{{"oid":20002,"schema":"public","name":"shown","kind":"v","columns":{view},"definition":"SELECT people.email AS who FROM public.people"}}"#
            ),
        ),
    ];
    let mut builder = CatalogBuilder::new();
    for (query, row) in rows {
        builder.add(query, &row).unwrap();
    }
    builder.finish()
}

fn play(text: &str) -> Vec<StatementFacts> {
    let path = vec!["public".to_owned()];
    let mut replay = Replay::new(catalog(), TagRules::default(), path, "bob".to_owned());
    replay.run(text.as_bytes()).unwrap().statements
}

/// The tagged columns that the last statement reveals, and why it is opaque.
fn last(text: &str) -> (Vec<String>, Vec<String>) {
    let facts = play(text).pop().unwrap();
    let revealed = |(_, column): &(_, &crate::analysis::ColumnFacts)| {
        !column.tags.is_empty() && column.access.contains(&Access::Reveal)
    };
    (facts.columns.iter().filter(revealed).map(|(name, _)| name.to_string()).collect(), facts.opaque)
}

fn reveals(text: &str) -> Vec<String> {
    let (columns, opaque) = last(text);
    assert!(opaque.is_empty(), "{text}: {opaque:?}");
    columns
}

#[test]
fn a_tag_goes_with_the_values_into_another_table() {
    let plain = "public.copy.mail";
    assert_eq!(reveals("CREATE TABLE copy AS SELECT email AS mail FROM people; SELECT mail FROM copy"), [plain]);
    assert_eq!(reveals("SELECT email AS mail INTO copy FROM people; TABLE copy"), [plain]);
    assert_eq!(reveals("CREATE TABLE copy (mail) AS SELECT lower(email) FROM people; SELECT * FROM copy"), [plain]);
    assert_eq!(reveals("CREATE TEMP TABLE copy AS TABLE people; SELECT email FROM copy"), ["pg_temp.copy.email"]);
    assert_eq!(
        reveals("CREATE MATERIALIZED VIEW copy AS SELECT email mail FROM people; SELECT mail FROM copy"),
        [plain]
    );
    assert_eq!(reveals("CREATE TABLE copy (LIKE people); SELECT email FROM copy"), ["public.copy.email"]);
    let child = "CREATE TABLE child (extra int) INHERITS (people); SELECT email FROM child";
    assert_eq!(reveals(child), ["public.child.email"]);
    let generated =
        "CREATE TABLE copy (LIKE people, low text GENERATED ALWAYS AS (lower(email)) STORED); SELECT low FROM copy";
    assert_eq!(reveals(generated), ["public.copy.low"]);
}

#[test]
fn a_tag_stays_with_a_column_under_another_name() {
    assert_eq!(reveals("ALTER TABLE people RENAME email TO e; SELECT e FROM people"), ["public.people.e"]);
    assert_eq!(reveals("ALTER TABLE people RENAME TO p; SELECT email FROM p"), ["public.p.email"]);
    assert_eq!(
        reveals("CREATE SCHEMA s; ALTER TABLE people SET SCHEMA s; SELECT email FROM s.people"),
        ["s.people.email"]
    );
    assert_eq!(reveals("ALTER SCHEMA public RENAME TO s; SELECT email FROM s.people"), ["s.people.email"]);
    assert_eq!(
        reveals("COMMENT ON COLUMN people.id IS '@pii(user.unique_id)'; SELECT id FROM people"),
        ["public.people.id"]
    );
    assert!(reveals("COMMENT ON COLUMN people.email IS NULL; SELECT email FROM people").is_empty());
}

#[test]
fn a_view_follows_what_it_shows_and_not_a_name() {
    let moved = "ALTER TABLE people RENAME TO p; CREATE TABLE people (email int)";
    assert_eq!(reveals(&format!("{moved}; SELECT who FROM shown")), ["public.p.email"]);
    assert!(reveals(&format!("{moved}; SELECT email FROM people")).is_empty());
    assert_eq!(reveals("ALTER TABLE people RENAME email TO e; SELECT * FROM shown"), ["public.people.e"]);
    let view = "CREATE VIEW v (w) AS SELECT email FROM people; ALTER VIEW v RENAME w TO x; SELECT x FROM v";
    assert_eq!(reveals(view), ["public.people.email"]);
    let replaced = "CREATE OR REPLACE VIEW shown AS SELECT 'nobody'::text AS who FROM people; SELECT who FROM shown";
    assert!(reveals(replaced).is_empty());
}

#[test]
fn columns_come_and_go() {
    assert!(reveals("ALTER TABLE people ADD COLUMN email2 text; SELECT email2 FROM people").is_empty());
    assert_eq!(
        reveals("CREATE TABLE t (a int); ALTER TABLE people DROP id; SELECT * FROM people"),
        ["public.people.email"]
    );
    let again =
        "ALTER TABLE people DROP COLUMN email; ALTER TABLE people ADD COLUMN email int; SELECT email FROM people";
    assert!(reveals(again).is_empty(), "another column of the same name");
}

#[test]
fn what_is_gone_is_not_known() {
    for text in
        ["DROP TABLE people; SELECT email FROM people", "DROP SCHEMA public CASCADE; SELECT email FROM public.people"]
    {
        let (_, opaque) = last(text);
        assert!(opaque.contains(&"relation \"people\" is not in the catalog".to_owned()), "{text}: {opaque:?}");
    }
}

#[test]
fn a_rollback_takes_back_definitions_settings_and_only_those_behind_it() {
    let copy = "CREATE TABLE copy AS SELECT email FROM people";
    assert!(!last(&format!("BEGIN; {copy}; ROLLBACK; SELECT email FROM copy")).1.is_empty());
    assert_eq!(reveals(&format!("BEGIN; {copy}; COMMIT; SELECT email FROM copy")), ["public.copy.email"]);
    let savepoint = format!("BEGIN; {copy}; SAVEPOINT s; DROP TABLE copy; ROLLBACK TO s; SELECT email FROM copy");
    assert_eq!(reveals(&savepoint), ["public.copy.email"]);
    let path = "CREATE SCHEMA s; CREATE TABLE s.people (email int); BEGIN; SET search_path = s; ROLLBACK; SELECT email FROM people";
    assert_eq!(reveals(path), ["public.people.email"]);
}

#[test]
fn settings_change_what_a_name_means() {
    let s = "CREATE SCHEMA s; CREATE TABLE s.people (email int)";
    assert!(reveals(&format!("{s}; SET search_path = s, public; SELECT email FROM people")).is_empty());
    let local = format!("{s}; BEGIN; SET LOCAL search_path = s; COMMIT; SELECT email FROM people");
    assert_eq!(reveals(&local), ["public.people.email"]);
    assert_eq!(
        reveals(&format!("{s}; SET search_path = s; RESET ALL; SELECT email FROM people")),
        ["public.people.email"]
    );
}

#[test]
fn a_prepared_statement_is_judged_by_what_it_means_when_it_runs() {
    let text = "PREPARE q AS SELECT * FROM people; EXECUTE q";
    assert_eq!(reveals(text), ["public.people.email"]);
    let changed = "PREPARE q AS SELECT who FROM shown; ALTER TABLE people RENAME TO p; EXECUTE q";
    assert_eq!(reveals(changed), ["public.p.email"]);
    assert_eq!(reveals("BEGIN; DECLARE c CURSOR FOR SELECT email FROM people; FETCH c"), ["public.people.email"]);
    assert!(!last("EXECUTE nothing").1.is_empty());
    assert!(!last("PREPARE q AS SELECT 1; DEALLOCATE q; EXECUTE q").1.is_empty());
}

#[test]
fn a_function_of_the_text_is_read_and_a_new_body_replaces_the_old() {
    let f = "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT email FROM people'";
    assert_eq!(reveals(&format!("{f}; SELECT f()")), ["public.people.email"]);
    let g = "CREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''x'''";
    assert!(reveals(&format!("{f}; SELECT f(); {g}; SELECT f()")).is_empty());
    assert!(!last(&format!("{f}; DROP FUNCTION f(); SELECT f()")).1.is_empty());
}

#[test]
fn a_rule_and_a_cascade_of_the_text_do_what_they_say() {
    let written = |text: &str| -> Vec<String> {
        let facts = play(text).pop().unwrap();
        assert!(facts.opaque.is_empty(), "{text}: {:?}", facts.opaque);
        facts.relations.iter().map(ToString::to_string).collect()
    };
    let rule = "CREATE TABLE log (id int); \
        CREATE RULE r AS ON DELETE TO people DO ALSO INSERT INTO public.log VALUES (old.id); DELETE FROM people";
    assert_eq!(written(rule), ["public.log", "public.people"]);
    let cascade = "CREATE TABLE log (id int); CREATE TABLE child (id int REFERENCES people (id) ON DELETE CASCADE); \
        CREATE RULE r AS ON DELETE TO child DO ALSO INSERT INTO public.log VALUES (old.id); DELETE FROM people";
    assert!(written(cascade).contains(&"public.log".to_owned()));
    let named =
        "CREATE TABLE log (id int); CREATE RULE r AS ON DELETE TO people DO ALSO DELETE FROM log; DELETE FROM people";
    assert!(!last(named).1.is_empty(), "a name in a rule that is not qualified is not known");
}

#[test]
fn what_is_not_followed_makes_later_statements_say_so() {
    let policy = "CREATE POLICY p ON people USING (true); SELECT id FROM people";
    assert!(last(policy).1.iter().any(|why| why.contains("CREATE POLICY")));
    assert!(last("CREATE CAST (int AS text) WITH INOUT; BEGIN").1.is_empty(), "a BEGIN means what it means");
}
