//! What makes an approval void, one rule a test, and what does not: an approval covers exactly what was shown, once.
//!
//! Each test lets a ticket be approved and then changes one thing. What is asked afterwards is a question of its own: it
//! does not run, and is not approved.

use serde_json::Value;

use crate::harness::conn::{Conn, bind, execute, frame, parse, sync};
use crate::harness::{Client, Options, Proxy, TestDb, eventually};

/// The action of most tests: an export, which the shipped policy holds.
const EXPORT: &str = "COPY orders TO STDOUT";

struct Scene {
    db: TestDb,
    proxy: Proxy,
    client: Client,
}

fn scene(label: &str) -> Scene {
    scene_with(label, Options::default())
}

fn scene_with(label: &str, options: Options<'_>) -> Scene {
    let db = TestDb::new(label);
    let proxy = Proxy::start(&db, options);
    let client = proxy.connect();
    impatient(&client);
    Scene { db, proxy, client }
}

/// Its holds become tickets at once.
fn impatient(client: &Client) {
    client.query("SET holdgate.wait = '0s'").unwrap();
}

/// The server ran it: this driver's simple protocol does not take the answer of a COPY, and says so.
fn ran(client: &Client, sql: &str) {
    if let Err(error) = client.query(sql) {
        assert!(error.as_db_error().is_none(), "{sql}: {error:?}");
    }
}

impl Scene {
    /// Asks for a statement and lets it be approved; the hold's id.
    fn approved(&self, sql: &str) -> String {
        self.approved_on(&self.client, sql)
    }

    fn approved_on(&self, client: &Client, sql: &str) -> String {
        assert_eq!(client.fails(sql).0, "57H01", "{sql}");
        let hold = self.proxy.api().wait_for_hold(sql);
        let id = hold["id"].as_str().unwrap().to_owned();
        assert_eq!(self.proxy.api().decide(&id, "approve", "seen").0, 200);
        id
    }

    /// The statement is a question of its own now: it did not run, and the approval was not spent on it.
    fn asks_anew(&self, client: &Client, sql: &str, id: &str) {
        let (code, text) = client.fails(sql);
        assert!(code == "57H01" || code == "57H03", "{sql}: {code} {text}");
        assert!(code == "57H03" || !text.contains(id), "{sql} joined {id}: {text}");
        self.unspent(id);
    }

    fn unspent(&self, id: &str) {
        let state = self.state(id);
        assert!(state == "approved" || state == "void", "{id} is {state}");
    }

    fn state(&self, id: &str) -> String {
        self.hold(id)["state"].as_str().unwrap().to_owned()
    }

    fn hold(&self, id: &str) -> Value {
        self.proxy.api().get(&format!("/api/v1/holds/{id}"))
    }

    /// Something was changed behind the proxy's back: the approval is spent on nothing before the change is known, and on
    /// nothing after it.
    fn drifts(&self, sql: &str, id: &str) {
        self.asks_anew(&self.client, sql, id);
    }
}

#[test]
fn an_approved_statement_runs_as_it_was_shown() {
    let scene = scene("void_none");
    let id = scene.approved("CREATE TABLE t_shown (a int)");
    scene.client.query("CREATE TABLE t_shown (a int)").unwrap();
    eventually("it is finished", || (scene.state(&id) == "finished").then_some(()));
}

#[test]
fn other_text_is_not_what_was_approved() {
    let scene = scene("void_text");
    let id = scene.approved("CREATE TABLE t_text (a int)");
    for other in
        ["CREATE TABLE t_text (a bigint)", "CREATE TABLE t_text  (a int)", "/* x */ CREATE TABLE t_text (a int)"]
    {
        scene.asks_anew(&scene.client, other, &id);
    }
}

#[test]
fn another_bind_value_is_not_what_was_approved() {
    let scene = scene("void_bind");
    let policy_held = "TRUNCATE orders";
    let client = &scene.client;
    let sql = "COPY (SELECT 1) TO STDOUT";
    assert_eq!(client.fails(sql).0, "57H01");
    let sql = "DELETE FROM orders WHERE id = $1::int8 AND pg_read_file('x') IS NULL";
    let statement = client.wait(client.inner.prepare(sql)).unwrap();
    let run = |value: i64| client.wait(client.inner.execute(&statement, &[&value])).unwrap_err();
    let code = |error: &tokio_postgres::Error| error.code().unwrap().code().to_owned();
    assert_eq!(code(&run(1)), "57H01");
    let hold = scene.proxy.api().wait_for_hold("pg_read_file");
    assert_eq!(hold["parameters"], serde_json::json!(["\\x0000000000000001"]));
    let id = hold["id"].as_str().unwrap();
    assert_eq!(scene.proxy.api().decide(id, "approve", "").0, 200);
    let other = run(2);
    assert_eq!(code(&other), "57H01");
    assert!(!other.as_db_error().unwrap().detail().unwrap().contains(id), "{other:?}");
    scene.unspent(id);
    assert_eq!(client.fails(policy_held).0, "57H01");
}

#[test]
fn another_role_is_not_what_was_approved() {
    let scene = scene("void_role");
    let id = scene.approved(EXPORT);
    let other = Client::connect(&scene.proxy.dsn("agent_trust"));
    impatient(&other);
    scene.asks_anew(&other, EXPORT, &id);
}

#[test]
fn another_current_role_is_not_what_was_approved() {
    let allow_set_role =
        "version: 1\nrules:\n  - { name: exports, match: { kind: export }, effect: hold }\ndefault: allow\n";
    let scene = scene_with("void_setrole", Options { policy: Some(allow_set_role), ..Options::default() });
    let id = scene.approved(EXPORT);
    scene.client.query("SET ROLE agent_trust").unwrap();
    scene.asks_anew(&scene.client, EXPORT, &id);
    scene.client.query("RESET ROLE").unwrap();
    ran(&scene.client, EXPORT);
}

#[test]
fn another_search_path_is_not_what_was_approved() {
    let scene = scene("void_path");
    scene.db.direct("CREATE SCHEMA other");
    let id = scene.approved(EXPORT);
    scene.client.query("SET search_path = other, public").unwrap();
    scene.asks_anew(&scene.client, EXPORT, &id);
}

#[test]
fn another_database_is_not_what_was_approved() {
    let scene = scene("void_db");
    let one = TestDb::new("void_db_two");
    let server = scene.db.dsn().rsplit_once('/').unwrap().0.to_owned();
    let proxy = Proxy::start_to(&server, &scene.db.name, Options::default());
    let client = proxy.connect();
    impatient(&client);
    assert_eq!(client.fails(EXPORT).0, "57H01");
    let id = proxy.api().wait_for_hold(EXPORT)["id"].as_str().unwrap().to_owned();
    assert_eq!(proxy.api().decide(&id, "approve", "").0, 200);
    let other = Client::connect(&format!("postgres://postgres@{}/{}", proxy.postgres, one.name));
    impatient(&other);
    let (code, text) = other.fails(EXPORT);
    assert!(code == "57H01" && !text.contains(&id), "{text}");
    assert_eq!(proxy.api().get(&format!("/api/v1/holds/{id}"))["state"], "approved");
}

#[test]
fn another_principal_of_the_same_role_name_is_not_who_was_approved() {
    let db = TestDb::new("void_who");
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("holdgate.yaml");
    let named = |name: &str| format!("principals:\n  - {{ name: {name}, kind: agent, role: postgres, human: bob }}\n");
    std::fs::write(&path, named("one")).unwrap();
    let arguments = ["--config", path.to_str().unwrap()];
    let proxy = Proxy::start(&db, Options { arguments: &arguments, ..Options::default() });
    let client = proxy.connect();
    impatient(&client);
    assert_eq!(client.fails(EXPORT).0, "57H01");
    let id = proxy.api().wait_for_hold(EXPORT)["id"].as_str().unwrap().to_owned();
    assert_eq!(proxy.api().decide(&id, "approve", "").0, 200);
    drop(client);
    std::fs::write(&path, named("two")).unwrap();
    let proxy = proxy.restart_with(&db, &arguments);
    let client = proxy.connect();
    impatient(&client);
    let (code, text) = client.fails(EXPORT);
    assert!(code == "57H01" && !text.contains(&id), "{text}");
    assert_eq!(proxy.api().get(&format!("/api/v1/holds/{id}"))["state"], "approved");
}

#[test]
fn a_table_swapped_under_the_same_name_is_not_what_was_approved() {
    let scene = scene("void_swap");
    let id = scene.approved(EXPORT);
    scene.db.direct("ALTER TABLE orders RENAME TO old_orders; CREATE TABLE orders AS SELECT * FROM old_orders");
    scene.drifts(EXPORT, &id);
}

#[test]
fn a_view_that_was_redefined_is_not_what_was_approved() {
    let scene = scene("void_view");
    scene.db.direct(
        "CREATE VIEW few AS SELECT id, total FROM orders WHERE id < 10; CREATE VIEW above AS SELECT * FROM few",
    );
    let sql = "COPY (SELECT * FROM above) TO STDOUT";
    let id = scene.approved(sql);
    scene.db.direct("CREATE OR REPLACE VIEW few AS SELECT id, total FROM orders");
    scene.drifts(sql, &id);
}

#[test]
fn a_function_that_was_redefined_is_not_what_was_approved() {
    let scene = scene("void_function");
    scene.db.direct("CREATE FUNCTION inner_one() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    scene.db.direct("CREATE FUNCTION outer_one() RETURNS int LANGUAGE sql AS 'SELECT inner_one()'");
    let sql = "COPY (SELECT outer_one()) TO STDOUT";
    let id = scene.approved(sql);
    scene.db.direct("CREATE OR REPLACE FUNCTION inner_one() RETURNS int LANGUAGE sql AS 'SELECT 2'");
    scene.drifts(sql, &id);
}

#[test]
fn a_trigger_policy_or_domain_that_changed_is_not_what_was_approved() {
    let scene = scene("void_rest");
    scene.db.direct(
        "CREATE DOMAIN small AS int CHECK (VALUE < 10); CREATE TABLE box (n small); GRANT ALL ON box TO PUBLIC; \
         CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    );
    let sql = "COPY box TO STDOUT";
    for change in [
        "ALTER DOMAIN small ADD CHECK (VALUE > 0)",
        "CREATE POLICY p ON box USING (n > 1)",
        "CREATE TRIGGER tr BEFORE INSERT ON box FOR EACH ROW EXECUTE FUNCTION t()",
    ] {
        let id = scene.approved(sql);
        scene.db.direct(change);
        scene.drifts(sql, &id);
    }
}

const TAGGED: &str = "version: 1\ntags: []\nrules:\n  - { name: exports, match: { kind: export }, effect: hold, approve: { from: [dba] } }\ndefault: allow\n";

fn reload(proxy: &Proxy, policy: &str) {
    std::fs::write(proxy.state.path().join("policy.yaml"), policy).unwrap();
    proxy.signal("HUP");
    proxy.wait_for_line("reloaded");
}

#[test]
fn a_column_that_was_retagged_is_not_what_was_approved() {
    let scene = scene_with("void_tag", Options { policy: Some(TAGGED), ..Options::default() });
    let id = scene.approved(EXPORT);
    let retagged = TAGGED.replace("tags: []", "tags:\n  - { columns: [\"*.*.orders.total\"], tag: user.financial }");
    reload(&scene.proxy, &retagged);
    scene.asks_anew(&scene.client, EXPORT, &id);
}

#[test]
fn a_policy_that_became_stricter_voids_an_approval() {
    for stricter in [
        TAGGED.replace("from: [dba]", "from: [dba], quorum: 2"),
        TAGGED.replace("from: [dba]", "from: [compliance]"),
        TAGGED.replace("effect: hold", "effect: deny").replace(", approve: { from: [dba] }", ""),
    ] {
        let scene = scene_with("void_strict", Options { policy: Some(TAGGED), ..Options::default() });
        let id = scene.approved(EXPORT);
        reload(&scene.proxy, &stricter);
        let (code, text) = scene.client.fails(EXPORT);
        assert!(code == "57H03" || code == "42501", "{code} {text}");
        scene.unspent(&id);
    }
}

#[test]
fn a_policy_reload_that_has_nothing_to_do_with_it_voids_nothing() {
    let scene = scene_with("void_not", Options { policy: Some(TAGGED), ..Options::default() });
    let id = scene.approved(EXPORT);
    let more = TAGGED.replace("rules:\n", "rules:\n  - { name: calls, match: { kind: call }, effect: deny }\n");
    reload(&scene.proxy, &more);
    ran(&scene.client, EXPORT);
    eventually("it is finished", || (scene.state(&id) == "finished").then_some(()));
}

#[test]
fn a_definition_that_has_nothing_to_do_with_it_voids_nothing() {
    let scene = scene("void_other");
    let id = scene.approved(EXPORT);
    scene.db.direct("CREATE TABLE apart (a int); INSERT INTO orders VALUES (0, 1, 0); ANALYZE orders");
    ran(&scene.client, EXPORT);
    eventually("it is finished", || (scene.state(&id) == "finished").then_some(()));
}

#[test]
fn a_second_execute_of_the_same_prepared_statement_is_not_covered() {
    let scene = scene("void_second");
    let mut conn = Conn::session(&scene.proxy.postgres, &scene.db.name);
    conn.send(&crate::harness::conn::query("SET holdgate.wait = '0s'"));
    assert_eq!(conn.tags(), "CZI");
    let run = |conn: &mut Conn| {
        conn.send(&[bind("", "s"), execute("", 0), sync()].concat());
        conn.until('Z').iter().find(|frame| frame.tag == 'E').map(|error| error.field(b'C'))
    };
    conn.send(&[parse("s", "TRUNCATE orders"), sync()].concat());
    assert_eq!(conn.tags(), "1ZI");
    assert_eq!(run(&mut conn).as_deref(), Some("57H01"));
    let id = scene.proxy.api().wait_for_hold("TRUNCATE orders")["id"].as_str().unwrap().to_owned();
    assert_eq!(scene.proxy.api().decide(&id, "approve", "").0, 200);
    assert_eq!(run(&mut conn), None);
    assert_eq!(run(&mut conn).as_deref(), Some("57H01"));
}

#[test]
fn a_second_execute_of_the_same_portal_is_not_covered() {
    let scene = scene("void_portal");
    let mut conn = Conn::session(&scene.proxy.postgres, &scene.db.name);
    conn.send(&crate::harness::conn::query("SET holdgate.stream_wait = '0s'; SET holdgate.wait = '0s'"));
    conn.until('Z');
    let decided = scene.proxy.api().decide_later("TRUNCATE orders", "approve");
    conn.send(&crate::harness::conn::query("SET holdgate.wait = '30s'"));
    conn.until('Z');
    conn.send(&[parse("", "TRUNCATE orders"), bind("p", ""), execute("p", 0), frame('H', b"")].concat());
    assert!(conn.until('C').iter().all(|frame| frame.tag != 'E'));
    decided.join().unwrap();
    conn.send(&crate::harness::conn::query("SELECT 1"));
    let decided = scene.proxy.api().decide_later("TRUNCATE orders", "deny");
    conn.until('Z');
    conn.send(&[parse("", "TRUNCATE orders"), bind("p", ""), execute("p", 0), sync()].concat());
    let frames = conn.until('Z');
    assert_eq!(frames.iter().find(|frame| frame.tag == 'E').unwrap().field(b'C'), "42501");
    decided.join().unwrap();
}

#[test]
fn a_replay_on_another_connection_runs_it_once_in_all() {
    let scene = scene("void_replay");
    let id = scene.approved(EXPORT);
    let other = scene.proxy.connect();
    impatient(&other);
    ran(&other, EXPORT);
    eventually("it is finished", || (scene.state(&id) == "finished").then_some(()));
    for client in [&scene.client, &other] {
        let (code, text) = client.fails(EXPORT);
        assert!(code == "57H01" && !text.contains(&id), "{text}");
    }
}

#[test]
fn an_approval_is_over_after_its_time() {
    let short = TAGGED.replace("from: [dba]", "from: [dba], expires: 2s");
    let scene = scene_with("void_late", Options { policy: Some(&short), ..Options::default() });
    let id = scene.approved(EXPORT);
    eventually("it has expired", || (scene.state(&id) == "expired").then_some(()));
    let (code, text) = scene.client.fails(EXPORT);
    assert!(code == "57H01" && !text.contains(&id), "{text}");
}

#[test]
fn more_rows_than_the_operator_saw_are_asked_about_again() {
    let held = "version: 1\nrules:\n  - { name: big, match: { relation: \"*.orders\", rows: \"> 500\" }, effect: hold }\ndefault: allow\n";
    let db = TestDb::new("void_cap");
    let proxy = Proxy::start(&db, Options { policy: Some(held), ..Options::default() });
    let client = proxy.connect();
    let sql = "SELECT id FROM orders";
    let first = proxy.api().decide_later(sql, "approve");
    assert_eq!(client.query(sql).unwrap().len(), 20_000, "as many as it was said to have");
    let cap = first.join().unwrap()["cap"]["rows"].as_u64().unwrap();
    assert!((20_000..60_000).contains(&cap), "{cap}");
    db.direct("ALTER TABLE orders SET (autovacuum_enabled = off); INSERT INTO orders SELECT id, 1, 1 FROM generate_series(20001, 100000) id");
    let api = proxy.api();
    let again = std::thread::spawn(move || {
        let first = api.wait_for_hold(sql);
        assert_eq!(api.decide(first["id"].as_str().unwrap(), "approve", "").0, 200);
        let second = eventually("the stream stops at the cap", || {
            let holds = api.get("/api/v1/holds?state=pending");
            holds["holds"].as_array().unwrap().iter().find(|hold| hold["rows_sent"] != 0).cloned()
        });
        assert_eq!(api.decide(second["id"].as_str().unwrap(), "deny", "too many").0, 200);
        (first["cap"]["rows"].as_u64().unwrap(), second["rows_sent"].as_u64().unwrap())
    });
    assert_eq!(client.fails(sql).0, "53400");
    let (cap, sent) = again.join().unwrap();
    assert_eq!(cap, sent);
}
