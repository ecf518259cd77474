//! The server's planner says how much a query brings back before it runs, and the limit is counted all the same.

use std::time::{Duration, Instant};

use bytes::Bytes;
use holdgate::backend::connect::{Encryption, Negotiation, Upstream};
use holdgate::backend::databases::{Credential, Databases};
use holdgate::backend::memory::Memory;
use holdgate::backend::planner::{PlanFailure, Question};
use holdgate::catalog::tags::TagRules;
use serde_json::Value;
use tokio_postgres::types::Type;

use crate::harness::conn::{Conn, execute, frame, parse, sync};
use crate::harness::{Client, Options, Proxy, TestDb};

/// More than 500 rows of what is tagged wait for a person.
const POLICY: &str = "version: 1\nerrors: pass\ntags:\n  - { columns: [\"*.public.customers.email\"], tag: \
                      user.contact.email }\nrules:\n  - { name: bulk, match: { tag: \"user.**\", rows: \"> 500\" }, \
                      effect: hold }\ndefault: allow\n";

/// 2000 rows, which no text shows: without an estimate it starts, and is counted.
const MANY: &str = "SELECT email FROM customers WHERE city <> 'nowhere'";

/// All of a table, of which the catalog has a count.
const ALL: &str = "SELECT email FROM customers";

/// A planner that is waited for until it answers, however busy the machine is.
const WAIT: Duration = Duration::from_mins(1);

fn start(label: &str) -> (TestDb, Proxy) {
    let db = TestDb::new(label);
    let proxy = start_as(&db, &db.dsn());
    (db, proxy)
}

fn start_as(db: &TestDb, dsn: &str) -> Proxy {
    let dir = tempfile::TempDir::new().unwrap();
    let config = dir.path().join("holdgate.yaml");
    std::fs::write(&config, format!("limits: {{ planner_wait: {}s }}\n", WAIT.as_secs())).unwrap();
    let arguments = ["--config", config.to_str().unwrap()];
    Proxy::start_to(dsn, &db.name, Options { policy: Some(POLICY), arguments: &arguments, ..Options::default() })
}

fn client(proxy: &Proxy) -> Client {
    let client = proxy.connect();
    client.query("SET holdgate.wait = '0s'").unwrap();
    client
}

/// The hold of a statement that does not start, which is then decided.
fn held(proxy: &Proxy, client: &Client, sql: &str) -> Value {
    let (code, text) = client.fails(sql);
    assert_eq!(code, "57H01", "{sql}: {text}");
    waiting(proxy, sql)
}

fn waiting(proxy: &Proxy, sql: &str) -> Value {
    let hold = proxy.api().wait_for_hold(sql);
    assert_eq!(hold["rows_sent"], 0, "{hold}");
    proxy.api().decide(hold["id"].as_str().unwrap(), "deny", "it is done");
    hold
}

fn source(hold: &Value) -> &str {
    hold["estimate"]["source"].as_str().unwrap()
}

/// Connections of the proxy's own, with the locks that code of people's has left there.
fn traces(db: &TestDb) -> String {
    db.direct(
        "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
         WHERE l.locktype = 'advisory' AND a.application_name = 'holdgate' AND a.datname = current_database()",
    )
}

#[test]
fn what_is_expected_to_be_large_waits_before_its_first_row_with_the_plan_on_its_card() {
    let (db, proxy) = start("est_over");
    let client = client(&proxy);
    let hold = held(&proxy, &client, MANY);
    let plan: Value = serde_json::from_str(&db.direct(&format!("EXPLAIN (FORMAT JSON) {MANY}"))).unwrap();
    let node = &plan[0]["Plan"];
    assert_eq!(hold["estimate"]["rows"], node["Plan Rows"], "{hold}");
    let bytes = node["Plan Rows"].as_u64().unwrap() * node["Plan Width"].as_u64().unwrap();
    assert_eq!((&hold["estimate"]["bytes"], source(&hold)), (&Value::from(bytes), "estimated"));
    assert_eq!(hold["plan"], "Seq Scan on customers");
    let id = hold["id"].as_str().unwrap();
    let operator = Client::connect(&format!("postgres://operator:{}@{}/holdgate", proxy.token, proxy.postgres));
    let card = operator.query(&format!("SHOW HOLD '{id}'")).unwrap().join("\n");
    assert!(card.contains("estimated") && card.contains("Seq Scan on customers"), "{card}");
    let join = "SELECT c.email FROM customers c, orders o WHERE o.total > c.id";
    assert!(
        held(&proxy, &client, join)["estimate"]["rows"].as_u64().unwrap() > 20_000,
        "rows that leave, not rows read"
    );
}

#[test]
fn what_is_expected_to_be_small_starts_and_is_counted() {
    let (db, proxy) = start("est_under");
    let client = client(&proxy);
    assert_eq!(client.query("SELECT email FROM customers WHERE city = 'city1'").unwrap().len(), 286);
    let narrow = "SELECT c.email FROM customers c JOIN orders o ON o.customer_id = c.id WHERE o.id <= 5";
    assert_eq!(client.query(narrow).unwrap().len(), 5);
    // The statistics do not know of these rows yet.
    db.direct("UPDATE customers SET city = 'moved' WHERE id <= 900");
    let sql = "SELECT email FROM customers WHERE city = 'moved'";
    let decided = proxy.api().decide_later(sql, "deny");
    assert_eq!(client.fails(sql).0, "53400");
    let hold = decided.join().unwrap();
    assert_eq!((&hold["rows_sent"], source(&hold)), (&Value::from(500), "estimated"));
    assert!(hold["estimate"]["rows"].as_u64().unwrap() < 500, "{hold}");
}

#[test]
fn code_of_peoples_never_runs_to_make_an_estimate() {
    let db = TestDb::new("est_code");
    // Planning runs it, and a read-only transaction that is rolled back does not take its trace away.
    db.direct(
        "CREATE FUNCTION trace(text) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_advisory_lock_shared(4711); RETURN true; END $$; \
         CREATE VIEW v AS SELECT email FROM customers WHERE trace('x'); GRANT SELECT ON v TO PUBLIC; \
         CREATE TABLE secured (email text); INSERT INTO secured SELECT email FROM customers; \
         ALTER TABLE secured ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON secured USING (trace('x')); \
         GRANT SELECT ON secured TO PUBLIC; COMMENT ON COLUMN secured.email IS '@pii(user.contact.email)'; \
         CREATE DOMAIN d AS text CHECK (trace(value)); ANALYZE",
    );
    let dsn = format!("postgres://agent_trust@127.0.0.1:{}/{}", db.port, db.name);
    let proxy = start_as(&db, &dsn);
    let client = Client::connect(&proxy.dsn("agent_trust"));
    client.query("SET holdgate.wait = '0s'").unwrap();
    // The proxy's connections do ask the planner, and planning does run the function.
    assert_eq!(source(&held(&proxy, &client, MANY)), "estimated");
    let direct = Client::connect(&dsn.replace(&db.name, &format!("{}?application_name=holdgate", db.name)));
    direct.query("EXPLAIN SELECT 1 FROM customers WHERE trace('x')").unwrap();
    assert_eq!(traces(&db), "1");
    direct.query("SELECT pg_advisory_unlock_all()").unwrap();
    for sql in [
        "SELECT email FROM customers WHERE trace('x') LIMIT 700",
        "SELECT email FROM v LIMIT 700",
        "SELECT email FROM secured LIMIT 700",
        "SELECT email FROM customers WHERE 'x'::d = 'x' LIMIT 700",
    ] {
        // Held for its LIMIT, stopped in its midst, or done: what matters is where it ran.
        let decided = proxy.api().decide_later(sql, "deny");
        assert!(client.query(sql).is_err(), "{sql}");
        decided.join().unwrap();
        assert_eq!(traces(&db), "0", "{sql}");
    }
    assert_eq!(source(&held(&proxy, &client, MANY)), "estimated");
}

#[test]
fn a_lock_of_another_session_is_not_waited_for() {
    let (db, proxy) = start("est_lock");
    let client = client(&proxy);
    assert_eq!(source(&held(&proxy, &client, ALL)), "estimated");
    let other = Client::connect(&db.dsn());
    other.query("BEGIN; LOCK TABLE customers IN ACCESS EXCLUSIVE MODE").unwrap();
    let hold = held(&proxy, &client, &format!("{ALL} -- locked"));
    assert_eq!((source(&hold), &hold["estimate"]["rows"]), ("counted", &Value::from(2000)));
    other.query("ROLLBACK").unwrap();
    assert_eq!(source(&held(&proxy, &client, ALL)), "estimated");
}

#[test]
fn the_clients_own_values_are_planned_with_in_either_format() {
    let (db, proxy) = start("est_bind");
    let client = client(&proxy);
    let sql = "SELECT email FROM customers WHERE id <= $1";
    for types in [&[][..], &[Type::INT8][..]] {
        let prepared = client.wait(client.inner.prepare_typed(sql, types)).unwrap();
        assert_eq!(client.wait(client.inner.query(&prepared, &[&10_i64])).unwrap().len(), 10);
        assert!(client.wait(client.inner.query(&prepared, &[&1900_i64])).is_err());
        let hold = waiting(&proxy, sql);
        let rows = hold["estimate"]["rows"].as_u64().unwrap();
        assert!((1800..2000).contains(&rows) && source(&hold) == "estimated", "{hold}");
    }
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    conn.send(&[crate::harness::conn::query("SET holdgate.wait = '0s'"), parse("s", sql), sync()].concat());
    assert_eq!((conn.tags(), conn.tags()), ("CZI".to_owned(), "1ZI".to_owned()));
    for (value, seen) in [("7", "2DDDDDDDCZI"), ("1900", "EZI")] {
        let length = u32::try_from(value.len()).unwrap().to_be_bytes();
        let body = [b"\0s\0\0\0\0\x01".as_slice(), &length, value.as_bytes(), b"\0\0"].concat();
        conn.send(&[frame('B', &body), execute("", 0), sync()].concat());
        assert_eq!(conn.tags(), seen, "{value}");
    }
    assert_eq!(source(&waiting(&proxy, sql)), "estimated");
}

#[test]
fn only_the_role_of_the_proxys_own_credential_is_planned_for() {
    let (_db, proxy) = start("est_role");
    let own = client(&proxy);
    assert_eq!(source(&held(&proxy, &own, ALL)), "estimated");
    let other = Client::connect(&proxy.dsn("agent_trust"));
    other.query("SET holdgate.wait = '0s'").unwrap();
    assert_eq!(source(&held(&proxy, &other, ALL)), "counted");
    own.query("SET ROLE agent_trust").unwrap();
    assert_eq!(source(&held(&proxy, &own, ALL)), "counted");
    own.query("RESET ROLE").unwrap();
    assert_eq!(source(&held(&proxy, &own, ALL)), "estimated");
}

#[test]
fn what_another_connection_does_not_see_is_not_planned() {
    let (_db, proxy) = start("est_own");
    let client = proxy.connect();
    for (before, after, expected) in [
        ("BEGIN; SELECT id FROM orders LIMIT 1", "ROLLBACK", "estimated"),
        ("BEGIN; INSERT INTO orders VALUES (-1, 1, 1)", "ROLLBACK", "counted"),
        ("BEGIN; CREATE TABLE made (a int)", "ROLLBACK", "counted"),
        ("CREATE TEMP TABLE mine (a int)", "DROP TABLE mine", "counted"),
        ("SELECT 1", "SELECT 1", "estimated"),
    ] {
        client.query(before).unwrap();
        let sql = format!("{ALL} /* {before} */");
        let decided = proxy.api().decide_later(&sql, "deny");
        assert!(client.query(&sql).is_err());
        assert_eq!(source(&decided.join().unwrap()), expected, "{before}");
        client.query("ROLLBACK").unwrap();
        client.query(after).unwrap();
    }
}

#[test]
fn the_query_inside_copy_and_cursor_is_planned() {
    let (_db, proxy) = start("est_inner");
    let copy = format!("COPY ({MANY}) TO STDOUT");
    let hold = held(&proxy, &client(&proxy), &copy);
    assert_eq!((source(&hold), &hold["plan"]), ("estimated", &Value::from("Seq Scan on customers")));
    let client = proxy.connect();
    client.query("BEGIN").unwrap();
    client.query(&format!("DECLARE c CURSOR FOR {MANY}")).unwrap();
    assert_eq!(client.query("FETCH 10 FROM c").unwrap().len(), 10);
    let decided = proxy.api().decide_later("FETCH ALL FROM c", "deny");
    assert!(client.query("FETCH ALL FROM c").is_err());
    let hold = decided.join().unwrap();
    assert_eq!((source(&hold), &hold["rows_sent"]), ("estimated", &Value::from(0)), "{hold}");
}

#[test]
fn several_statements_of_one_text_are_planned_each_by_itself() {
    let (_db, proxy) = start("est_several");
    let client = client(&proxy);
    let hold = held(&proxy, &client, &format!("SELECT 1; {MANY}; SELECT 2"));
    assert_eq!(source(&hold), "estimated");
    let sql = format!("INSERT INTO orders VALUES (-1, 1, 1); {ALL}");
    assert_eq!(source(&held(&proxy, &client, &sql)), "counted", "what comes before it writes");
}

fn databases(db: &TestDb, connections_max: usize, wait: Duration) -> Databases {
    let upstream = Upstream {
        host: "127.0.0.1".into(),
        port: db.port,
        encryption: Encryption::Never,
        address: None,
        negotiation: Negotiation::Asked,
        timeout: Duration::from_secs(5),
    };
    let credential = Credential { user: "postgres".into(), password: None };
    Databases::new(upstream, Some(credential), TagRules::default(), Memory::passing().unwrap())
        .with_planners(connections_max, wait)
}

fn question(query: &str) -> Question {
    Question {
        query: query.into(),
        search_path: vec!["public".into()],
        settings: Vec::new(),
        types: std::sync::Arc::default(),
        bind: Bytes::new(),
    }
}

#[tokio::test]
async fn two_commands_never_go() {
    let db = TestDb::new("est_two");
    let databases = databases(&db, 2, WAIT);
    assert!(databases.plan(&db.name, &question("SELECT 1")).await.is_ok());
    for text in
        ["SELECT 1; SELECT 2", "SELECT 1; COMMIT; CREATE TABLE made (a int)", "ANALYZE SELECT pg_advisory_lock(1)"]
    {
        let failure = databases.plan(&db.name, &question(text)).await.unwrap_err();
        assert!(matches!(failure, PlanFailure::Refused(_)), "{text}: {failure}");
    }
    assert_eq!(db.direct("SELECT to_regclass('made') IS NULL"), "t");
    let asleep = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1";
    assert_eq!(db.direct(asleep), "0");
    assert!(databases.plan(&db.name, &question("SELECT 1")).await.is_ok(), "the connection is in no transaction");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planners_are_few_and_waited_for_within_bounds() {
    let db = TestDb::new("est_pool");
    let databases = std::sync::Arc::new(databases(&db, 1, Duration::from_secs(2)));
    let (other, connection) = tokio_postgres::connect(&db.dsn(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    other.batch_execute("BEGIN; LOCK TABLE customers IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let since = Instant::now();
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let (databases, name) = (databases.clone(), db.name.clone());
        asked.spawn(async move { databases.plan(&name, &question("SELECT email FROM customers")).await });
    }
    let mut late = 0;
    while let Some(answer) = asked.join_next().await {
        let failure = answer.unwrap().unwrap_err();
        late += u32::from(matches!(failure, PlanFailure::Late(_)));
    }
    println!("{late} of 30 gave up after {:?}", since.elapsed());
    assert!(late > 0, "thirty waits for one lock do not fit in the time of one question");
    let open =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdgate' AND datname = current_database()";
    assert!(db.direct(open).parse::<u32>().unwrap() <= 2, "the one in use, and one whose end the server has not seen");
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(databases.plan(&db.name, &question("SELECT email FROM customers")).await.unwrap().rows, 2000);
}
