//! Which statements the server may plan ahead of their verdict: those alone whose planning runs nothing of people's.

use holdgate::analysis::{Context, plannable, settings};
use holdgate::backend::catalog::load;
use tokio_postgres::{Client, NoTls};

use crate::harness::TestDb;

/// Statements, and the query of each that is planned.
const INNOCENT: &[(&str, &str)] = &[
    ("SELECT email FROM customers WHERE city = 'x'", "SELECT email FROM customers WHERE city = 'x'"),
    ("/* why */ WITH a AS (SELECT * FROM orders) TABLE a", "/* why */ WITH a AS (SELECT * FROM orders) TABLE a"),
    ("SELECT lower(email) FROM customer_contacts", "SELECT lower(email) FROM customer_contacts"),
    ("SELECT id FROM orders WHERE id < $1", "SELECT id FROM orders WHERE id < $1"),
    ("COPY (SELECT ')', (id) FROM orders) TO STDOUT", "SELECT ')', (id) FROM orders"),
    ("DECLARE \"for\" CURSOR WITH HOLD FOR SELECT id FROM orders", " SELECT id FROM orders"),
    (
        "SELECT count(*) FROM kept WHERE mood = 'glad' AND tag = 'a'",
        "SELECT count(*) FROM kept WHERE mood = 'glad' AND tag = 'a'",
    ),
];

/// Statements that are never planned, whatever there is in the database.
const NEVER: &[&str] = &[
    "SELECT 1; SELECT 2",
    "SELECT id FROM orders; DROP TABLE orders",
    "",
    "DELETE FROM orders RETURNING id",
    "WITH d AS (DELETE FROM orders RETURNING id) SELECT * FROM d",
    "SELECT id INTO made FROM orders",
    "CREATE TABLE made AS SELECT id FROM orders",
    "EXPLAIN SELECT id FROM orders",
    "EXECUTE s",
    "COPY orders TO STDOUT",
    "COPY (DELETE FROM orders RETURNING id) TO STDOUT",
    "COPY (SELECT 1) TO STDOUT; SELECT (2)",
    "DECLARE c CURSOR FOR SELECT 1; FETCH ALL FROM c",
    "SELECT nextval('s') FROM orders",
    "SELECT pg_read_file('x')",
    "SELECT query_to_xml('SELECT 1', true, true, '')",
    "SELECT table_to_xml('orders', true, true, '')",
    "SELECT set_config('a.b', 'c', true)",
    "SELECT pg_terminate_backend(1)",
    "SELECT lo_get(1)",
    "SELECT id FROM nothing_of_that_name",
    "SELECT nothing_of_that_name(id) FROM orders",
    "SELECT id::nothing_of_that_name FROM orders",
    "SELECT broken FROM",
];

/// What people make, and a statement whose planning runs it, or could.
const PEOPLES: &[(&str, &str)] = &[
    ("", "SELECT id FROM orders WHERE own('x')"),
    ("", "SELECT own(city) FROM customers"),
    ("CREATE VIEW w AS SELECT id FROM orders WHERE own('x')", "SELECT id FROM w"),
    ("CREATE VIEW w1 AS SELECT id FROM orders WHERE own('x'); CREATE VIEW w2 AS SELECT * FROM w1", "SELECT id FROM w2"),
    (
        "CREATE OPERATOR <<< (LEFTARG = text, RIGHTARG = text, FUNCTION = own2)",
        "SELECT id FROM customers WHERE 'a' <<< 'b'",
    ),
    ("CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = int, FUNCTION = own3)", "SELECT id FROM customers"),
    ("CREATE CAST (point AS boolean) WITH FUNCTION own4(point) AS IMPLICIT", "SELECT id FROM customers"),
    ("CREATE CAST (point AS boolean) WITH FUNCTION own4(point)", "SELECT id FROM orders WHERE '(1,1)'::point::bool"),
    ("CREATE DOMAIN d AS text CHECK (own(value))", "SELECT id FROM orders WHERE 'x'::d = 'x'"),
    ("CREATE DOMAIN d AS text CHECK (own(value)); CREATE DOMAIN e AS d", "SELECT id FROM orders WHERE 'x'::e = 'x'"),
    ("CREATE DOMAIN d AS text CHECK (own(value)); CREATE TABLE t (a d[])", "SELECT a FROM t WHERE a = '{x}'"),
    (
        "CREATE DOMAIN d AS text CHECK (own(value)); CREATE TYPE c AS (x d); CREATE TABLE t (a c)",
        "SELECT a FROM t WHERE a = '(x)'",
    ),
    (
        "CREATE DOMAIN d AS int CHECK (own(value::text)); CREATE TYPE r AS RANGE (SUBTYPE = d); CREATE TABLE t (a r)",
        "SELECT a FROM t WHERE a = '[1,2]'",
    ),
    ("CREATE INDEX ON orders (id) WHERE own('x')", "SELECT id FROM orders WHERE id = 7"),
    ("CREATE INDEX ON orders ((own('x')))", "SELECT id FROM orders"),
    ("ALTER TABLE orders ADD CHECK (own('x'))", "SELECT id FROM orders"),
    ("CREATE STATISTICS st ON (own('x' || total)), id FROM orders", "SELECT id FROM orders"),
    (
        "CREATE TABLE p (a text) PARTITION BY LIST (own(a)); CREATE TABLE q PARTITION OF p FOR VALUES IN (true)",
        "SELECT a FROM p",
    ),
    ("CREATE TABLE q (CHECK (own('x'))) INHERITS (orders)", "SELECT id FROM orders"),
    ("CREATE AGGREGATE agg(text) (SFUNC = own5, STYPE = text)", "SELECT agg(city) FROM customers"),
    (
        "ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON orders USING (own('x'))",
        "SELECT id FROM orders",
    ),
    (
        "CREATE FOREIGN DATA WRAPPER f; CREATE SERVER s FOREIGN DATA WRAPPER f; CREATE FOREIGN TABLE ft (a int) SERVER s",
        "SELECT a FROM ft",
    ),
    ("CREATE TEMP TABLE tt (a int)", "SELECT a FROM tt"),
];

const OWN: &str = "
    CREATE SEQUENCE s;
    CREATE TYPE mood AS ENUM ('glad', 'sad');
    CREATE DOMAIN tag AS text CHECK (length(value) < 9);
    CREATE TABLE kept (mood mood, tag tag, CHECK (upper(tag) <> 'X'));
    CREATE INDEX ON kept (lower(tag)) WHERE tag > 'a';
    CREATE FUNCTION own(text) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
    CREATE FUNCTION own2(text, text) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
    CREATE FUNCTION own3(text, int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
    CREATE FUNCTION own4(point) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
    CREATE FUNCTION own5(text, text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';";

struct Here {
    client: Client,
    database: String,
}

impl Here {
    /// The query that may be planned of a statement, as a role that row-level security is for.
    async fn query_of(&self, sql: &str, types: &[u32]) -> Option<String> {
        let catalog = load(&self.client).await.unwrap();
        let path = settings::split("\"$user\", public");
        let context = Context::new(&catalog, &self.database, &path, "agent_trust");
        plannable(sql.as_bytes(), types, &context).map(|found| found.query)
    }
}

async fn here(db: &TestDb) -> Here {
    db.direct(OWN);
    let (client, connection) = tokio_postgres::connect(&db.dsn(), NoTls).await.unwrap();
    tokio::spawn(connection);
    Here { client, database: db.name.clone() }
}

#[tokio::test]
async fn a_query_of_the_servers_own_functions_is_planned_and_nothing_else_is() {
    let db = TestDb::new("plannable");
    let here = here(&db).await;
    for (sql, query) in INNOCENT {
        assert_eq!(here.query_of(sql, &[]).await.as_deref(), Some(*query), "{sql}");
    }
    for sql in NEVER {
        assert_eq!(here.query_of(sql, &[]).await, None, "{sql}");
    }
}

#[tokio::test]
async fn nothing_is_planned_that_would_run_what_people_wrote() {
    let db = TestDb::new("peoples");
    let here = here(&db).await;
    for (made, sql) in PEOPLES {
        // Without what was made, or without the name, the same form of statement is planned.
        here.client.batch_execute(&format!("BEGIN; {made}")).await.unwrap();
        let context_free = load_in_transaction(&here, sql).await;
        here.client.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(context_free, None, "{made}: {sql}");
    }
    for table in ["orders", "customers", "kept"] {
        assert!(here.query_of(&format!("SELECT * FROM {table}"), &[]).await.is_some(), "{table}");
    }
}

/// The catalog with what the open transaction has made.
async fn load_in_transaction(here: &Here, sql: &str) -> Option<String> {
    let mut builder = holdgate::catalog::CatalogBuilder::new();
    here.client.batch_execute("SET LOCAL search_path = pg_catalog").await.unwrap();
    for query in holdgate::catalog::source::QUERIES {
        for message in here.client.simple_query(query.sql).await.unwrap() {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                builder.add(query.name, row.get(0).unwrap()).unwrap();
            }
        }
    }
    let catalog = builder.finish();
    let path = settings::split("\"$user\", public");
    let context = Context::new(&catalog, &here.database, &path, "agent_trust");
    plannable(sql.as_bytes(), &[], &context).map(|found| found.query)
}

#[tokio::test]
async fn a_value_of_a_type_that_people_check_is_not_planned_with() {
    let db = TestDb::new("plan_types");
    let here = here(&db).await;
    db.direct("CREATE DOMAIN d AS text CHECK (own(value))");
    let of = |name: &str| db.direct(&format!("SELECT '{name}'::regtype::oid::int")).parse::<u32>().unwrap();
    let sql = "SELECT id FROM orders WHERE $1 = 'x'";
    for (name, planned) in [("text", true), ("tag", true), ("mood", true), ("d", false), ("d[]", false)] {
        assert_eq!(here.query_of(sql, &[of(name)]).await.is_some(), planned, "{name}");
    }
    assert!(here.query_of(sql, &[0]).await.is_some());
    assert!(here.query_of(sql, &[u32::MAX]).await.is_none(), "a type that nobody knows");
}

#[tokio::test]
async fn extensions_that_only_compute_do_not_stand_in_the_way() {
    let db = TestDb::new("plan_ext");
    let here = here(&db).await;
    db.direct("CREATE EXTENSION citext; CREATE EXTENSION pg_trgm; CREATE TABLE c (name citext)");
    assert!(here.query_of("SELECT id FROM orders", &[]).await.is_some());
    assert!(here.query_of("SELECT name FROM c WHERE name = 'x' AND name % 'y'", &[]).await.is_some());
}
