//! How long a statement waits for a person, and what is left when nobody comes.

use crate::harness::conn::{Conn, bind, execute, flush, parse, query, startup, sync};
use crate::harness::{Options, Proxy, TestDb, eventually};

fn start(label: &str, arguments: &[&str]) -> (TestDb, Proxy) {
    let db = TestDb::new(label);
    let proxy = Proxy::start(&db, Options { arguments, ..Options::default() });
    (db, proxy)
}

/// A proxy with a configuration file of its own.
fn configured(label: &str, hold: &str) -> (TestDb, Proxy, tempfile::TempDir) {
    let (db, dir) = (TestDb::new(label), tempfile::tempdir().unwrap());
    let path = dir.path().join("holdgate.yaml");
    std::fs::write(&path, hold).unwrap();
    let proxy = Proxy::start(&db, Options { arguments: &["--config", path.to_str().unwrap()], ..Options::default() });
    (db, proxy, dir)
}

fn state(proxy: &Proxy, id: &str, field: &str) -> String {
    proxy.api().get(&format!("/api/v1/holds/{id}"))[field].as_str().unwrap_or_default().to_owned()
}

#[test]
fn in_a_transaction_nobody_waits_longer_than_the_server_keeps_it() {
    let (_db, proxy) = start("wait_tx", &[]);
    let client = proxy.connect();
    client.query("SET idle_in_transaction_session_timeout = '2500ms'").unwrap();
    client.query("BEGIN").unwrap();
    let (code, text) = client.fails("DROP TABLE orders");
    assert_eq!(code, "57H03", "{text}");
    client.query("ROLLBACK").unwrap();
    assert_eq!(client.query("SELECT count(*) FROM orders").unwrap(), ["20000"]);
}

#[test]
fn between_transactions_nobody_waits_longer_than_the_server_keeps_the_session() {
    let (_db, proxy) = start("wait_idle", &[]);
    let client = proxy.connect();
    client.query("SET idle_session_timeout = '2500ms'").unwrap();
    let (code, text) = client.fails("DROP TABLE orders");
    assert_eq!(code, "57H01", "{text}");
    assert_eq!(client.query("SELECT 1").unwrap(), ["1"]);
}

#[test]
fn in_the_middle_of_a_batch_nobody_waits_longer_than_the_statement_may_last() {
    let (db, proxy) = start("wait_batch", &[]);
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    conn.send(&query("SET statement_timeout = '2500ms'"));
    assert_eq!(conn.tags(), "CZI");
    conn.send(&[parse("", "SELECT 1"), bind("", ""), execute("", 0), flush()].concat());
    conn.send(&[parse("", "DROP TABLE orders"), bind("", ""), execute("", 0), sync()].concat());
    let frames = conn.until('Z');
    let error = frames.iter().find(|frame| frame.tag == 'E').unwrap();
    assert_eq!(error.field(b'C'), "57H03", "{frames:?}");
    conn.send(&query("SELECT 1"));
    assert_eq!(conn.tags(), "TDCZI");
}

#[test]
fn a_role_s_own_time_out_counts_too() {
    let (db, proxy) = start("wait_role", &[]);
    db.direct(&format!("ALTER DATABASE {} SET idle_in_transaction_session_timeout = '2100ms'", db.name));
    let client = proxy.connect();
    client.query("BEGIN").unwrap();
    assert_eq!(client.fails("DROP TABLE orders").0, "57H03");
    client.query("ROLLBACK").unwrap();
}

#[test]
fn a_paused_stream_waits_no_longer_than_its_statement_may_last() {
    let (_db, proxy) = start("wait_stream", &[]);
    let client = proxy.connect();
    client.query("SET statement_timeout = '2500ms'").unwrap();
    let (code, text) = client.fails("SELECT * FROM orders");
    assert_eq!(code, "53400", "{text}");
    assert_eq!(client.query("SELECT 1").unwrap(), ["1"]);
}

#[test]
fn an_agent_that_cannot_wait_gets_a_ticket_at_once_however_it_says_so() {
    let (db, proxy) = start("wait_zero", &[]);
    let by_options = format!("{}?options=-c%20holdgate.wait%3D0", proxy.dsn("postgres"));
    let client = crate::harness::Client::connect(&by_options);
    assert_eq!(client.fails("DROP TABLE orders").0, "57H01");
    client.query("RESET holdgate.wait").unwrap();
    client.query("SET holdgate.wait = '10ms'").unwrap();
    assert_eq!(client.fails("DROP TABLE orders").0, "57H01");
    let mut conn = Conn::open(&proxy.postgres);
    conn.send(&startup(&[("user", "postgres"), ("database", &db.name), ("holdgate.wait", "0s")]));
    conn.until('Z');
    conn.send(&query("DROP TABLE orders"));
    assert!(conn.until('Z').iter().any(|frame| frame.tag == 'E' && frame.field(b'C') == "57H01"));
    let holds = proxy.api().get("/api/v1/holds?state=pending");
    assert_eq!(holds["holds"].as_array().unwrap().len(), 1, "all three have joined one hold: {holds}");
}

#[test]
fn a_statement_sent_again_on_another_connection_joins_its_hold_and_runs_once_it_is_approved() {
    let (db, proxy) = start("wait_join", &[]);
    let first = proxy.connect();
    first.query("SET holdgate.wait = '0s'").unwrap();
    assert_eq!(first.fails("CREATE TABLE joined (a int)").0, "57H01");
    drop(first);
    let decided = proxy.api().decide_later("CREATE TABLE joined", "approve");
    let second = proxy.connect();
    second.query("CREATE TABLE joined (a int)").unwrap();
    let hold = decided.join().unwrap();
    assert!(second.notices().iter().any(|notice| notice.contains("joined hold")), "{:?}", second.notices());
    assert_eq!(db.direct("SELECT count(*) FROM joined"), "0");
    let id = hold["id"].as_str().unwrap().to_owned();
    eventually("it is finished", || (state(&proxy, &id, "state") == "finished").then_some(()));
    second.query("SET holdgate.wait = '0s'").unwrap();
    assert_eq!(second.fails("CREATE TABLE joined (a int)").0, "57H01", "an approval is spent once");
}

#[test]
fn a_disconnect_withdraws_where_that_is_configured() {
    let (db, proxy, _dir) = configured("wait_gone", "hold: { on_disconnect: withdraw }\n");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    conn.send(&query("DROP TABLE orders"));
    let hold = proxy.api().wait_for_hold("DROP TABLE orders");
    drop(conn);
    let id = hold["id"].as_str().unwrap().to_owned();
    eventually("it is withdrawn", || (state(&proxy, &id, "state") == "withdrawn").then_some(()));
}

#[test]
fn what_is_held_in_a_transaction_is_refused_at_once_where_that_is_configured() {
    let (_db, proxy, _dir) = configured("wait_refuse", "hold: { in_transaction: refuse }\n");
    let client = proxy.connect();
    client.query("BEGIN").unwrap();
    assert_eq!(client.fails("DROP TABLE orders").0, "57H03");
    client.query("ROLLBACK").unwrap();
    let decided = proxy.api().decide_later("CREATE TABLE outside", "approve");
    client.query("CREATE TABLE outside (a int)").unwrap();
    decided.join().unwrap();
}
