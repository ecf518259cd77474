//! Limits over many statements: the row at which they end a stream is the same however the rows are read.

use crate::harness::conn::{Conn, bind, execute, parse, query, startup, sync};
use crate::harness::{Options, Proxy, TestDb};

/// Twenty-five rows an hour, then no more.
const POLICY: &str = "version: 1\ntags:\n  - { columns: [\"*.email\"], tag: user.contact.email }\nrules:\n  - name: drip\n    \
                      match: { kind: [read, session, transaction, export, write] }\n    effect: allow\n    \
                      limits: { on_limit: deny, per: { tag: \"user.**\", rows: 25, window: 1h } }\ndefault: deny\n";

fn start(label: &str) -> (TestDb, Proxy) {
    let db = TestDb::new(label);
    let proxy = Proxy::start(&db, Options { policy: Some(POLICY), ..Options::default() });
    (db, proxy)
}

/// Rows that a text brings, and the SQLSTATE that ends it.
fn rows(conn: &mut Conn, bytes: &[u8]) -> (usize, String) {
    conn.send(bytes);
    let frames = conn.until('Z');
    let count = frames.iter().filter(|frame| matches!(frame.tag, 'D' | 'd')).count();
    let error = frames.iter().find(|frame| frame.tag == 'E').map(|frame| frame.field(b'C'));
    (count, error.unwrap_or_default())
}

#[test]
fn a_slow_drip_over_reconnects_and_names_ends_at_the_row_of_one_large_read() {
    let (db, large) = start("drip_large");
    let mut conn = Conn::session(&large.postgres, &db.name);
    assert_eq!(rows(&mut conn, &query("SELECT email FROM customers")), (25, "53400".to_owned()));
    let (db, drip) = start("drip_slow");
    for id in 1..=25 {
        let mut conn = Conn::open(&drip.postgres);
        let name = format!("agent-{id}");
        conn.send(&startup(&[("user", "postgres"), ("database", &db.name), ("application_name", &name)]));
        conn.until('Z');
        let read = query(&format!("SELECT email FROM customers WHERE id = {id}"));
        assert_eq!(rows(&mut conn, &read), (1, String::new()), "row {id}");
    }
    let mut conn = Conn::session(&drip.postgres, &db.name);
    assert_eq!(rows(&mut conn, &query("SELECT email FROM customers WHERE id = 26")), (0, "53400".to_owned()));
    assert_eq!(rows(&mut conn, &query("SELECT id FROM customers WHERE id = 26")), (1, String::new()));
}

#[test]
fn a_restart_and_a_crash_forget_no_row() {
    let (db, proxy) = start("drip_restart");
    let ten = query("SELECT email FROM customers LIMIT 10");
    assert_eq!(rows(&mut Conn::session(&proxy.postgres, &db.name), &ten).0, 10);
    let proxy = proxy.restart(&db);
    assert_eq!(rows(&mut Conn::session(&proxy.postgres, &db.name), &ten).0, 10);
    proxy.signal("KILL");
    let proxy = proxy.restart(&db);
    assert_eq!(rows(&mut Conn::session(&proxy.postgres, &db.name), &ten), (5, "53400".to_owned()));
}

#[test]
fn streams_at_the_same_time_share_one_budget() {
    let (db, proxy) = start("drip_many");
    let read: usize = std::thread::scope(|scope| {
        let one = || {
            let mut conn = Conn::session(&proxy.postgres, &db.name);
            rows(&mut conn, &query("SELECT email FROM customers")).0
        };
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(read <= 25, "{read} rows have left");
    // What a stream reserved and did not use is there for the next.
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    assert_eq!(read + rows(&mut conn, &query("SELECT email FROM customers")).0, 25);
}

#[test]
fn statements_that_are_judged_before_the_first_of_them_has_run_share_one_budget() {
    let (db, proxy) = start("drip_pipe");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    let one = [parse("", "SELECT email FROM customers LIMIT 10"), bind("", ""), execute("", 0)].concat();
    let (count, _) = rows(&mut conn, &[one.clone(), one.clone(), one, sync()].concat());
    assert_eq!(count, 25);
}

#[test]
fn slices_cursors_and_portals_at_the_same_time_use_up_one_budget() {
    let (db, proxy) = start("drip_slices");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    let mut total = 0;
    let mut read = |bytes: &[u8]| {
        let (count, error) = rows(&mut conn, bytes);
        total += count;
        (count, error)
    };
    read(&query("DECLARE held CURSOR WITH HOLD FOR SELECT email FROM customers"));
    assert_eq!(read(&query("FETCH 6 FROM held")), (6, String::new()));
    read(&query("BEGIN"));
    read(&query("DECLARE plain CURSOR FOR SELECT email FROM customers"));
    assert_eq!(read(&query("FETCH 6 FROM plain")), (6, String::new()));
    let portals = [
        parse("s", "SELECT email FROM customers"),
        bind("p", "s"),
        bind("q", "s"),
        execute("p", 4),
        execute("q", 4),
        execute("p", 4),
        sync(),
    ];
    assert_eq!(read(&portals.concat()), (12, String::new()));
    assert_eq!(read(&query("FETCH 6 FROM held")), (1, "53400".to_owned()));
    assert_eq!(total, 25);
}

#[test]
fn a_copy_out_uses_up_the_budget_too() {
    let (db, proxy) = start("drip_copy");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    assert_eq!(rows(&mut conn, &query("COPY (SELECT email FROM customers LIMIT 20) TO STDOUT")), (20, String::new()));
    assert_eq!(rows(&mut conn, &query("COPY (SELECT email FROM customers) TO STDOUT")), (5, "53400".to_owned()));
    assert_eq!(rows(&mut conn, &query("SELECT 1")), (1, String::new()));
}

#[test]
fn a_write_that_a_limit_ends_has_not_committed() {
    let (db, proxy) = start("drip_write");
    db.direct("CREATE TABLE big AS SELECT id, 'a@b.c'::text AS email FROM generate_series(1, 60000) id");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    let update = "UPDATE big SET email = 'changed' RETURNING email";
    let extended = [parse("", update), bind("", ""), execute("", 0), sync()].concat();
    assert_eq!(rows(&mut conn, &extended), (25, "53400".to_owned()));
    assert_eq!(db.direct("SELECT count(*) FROM big WHERE email = 'changed'"), "0");
    assert_eq!(rows(&mut conn, &query("SELECT 1")), (1, String::new()));
}
