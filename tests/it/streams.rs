//! Large results: held before they start, or stopped at their limit in mid-stream.

use crate::harness::{Options, Proxy, TestDb};

fn start(label: &str) -> (TestDb, Proxy) {
    let db = TestDb::new(label);
    let proxy = Proxy::start(&db, Options::default());
    (db, proxy)
}

#[test]
fn a_whole_tagged_relation_is_held_before_its_first_row() {
    let (_db, proxy) = start("before");
    for sql in ["SELECT * FROM customers", "COPY customers TO STDOUT", "TABLE customer_contacts"] {
        let decided = proxy.api().decide_later(sql, "deny");
        assert_eq!(proxy.connect().fails(sql).0, "42501", "{sql}");
        assert_eq!(decided.join().unwrap()["rows_sent"].as_u64().unwrap_or(0), 0, "{sql}");
    }
    assert_eq!(proxy.connect().query("SELECT id FROM customers ORDER BY id LIMIT 10").unwrap().len(), 10);
}

#[test]
fn an_approved_stream_gives_exactly_the_direct_rows() {
    let (db, proxy) = start("through");
    let sql = "SELECT * FROM orders ORDER BY id";
    let decided = proxy.api().decide_later(sql, "approve");
    let rows = proxy.connect().query(sql).unwrap().join("\n");
    decided.join().unwrap();
    assert_eq!(rows, db.direct(sql));
}

#[test]
fn a_denied_stream_ends_with_53400_and_the_session_is_usable() {
    let (_db, proxy) = start("cut");
    let client = proxy.connect();
    for sql in ["SELECT * FROM orders", "SELECT id FROM orders"] {
        let decided = proxy.api().decide_later(sql, "deny");
        assert_eq!(client.fails(sql).0, "53400", "{sql}");
        decided.join().unwrap();
        assert_eq!(client.query("SELECT 1").unwrap(), ["1"]);
    }
}

#[test]
fn a_denied_stream_in_a_transaction_fails_that_transaction() {
    let (_db, proxy) = start("cut_tx");
    let client = proxy.connect();
    client.query("BEGIN").unwrap();
    let decided = proxy.api().decide_later("SELECT * FROM orders", "deny");
    assert_eq!(client.fails("SELECT * FROM orders").0, "53400");
    decided.join().unwrap();
    assert_eq!(client.fails("SELECT 1").0, "25P02");
    client.query("ROLLBACK").unwrap();
}

#[test]
fn a_denied_update_returning_has_changed_nothing() {
    let (db, proxy) = start("returning");
    let client = proxy.connect();
    let simple = "UPDATE orders SET total = -1 RETURNING id";
    let decided = proxy.api().decide_later(simple, "deny");
    assert_eq!(client.fails(simple).0, "42501", "a simple Query is asked about before it starts");
    decided.join().unwrap();
    let extended = "UPDATE orders SET total = -2 RETURNING id";
    let decided = proxy.api().decide_later(extended, "deny");
    let error = client.wait(client.inner.query(extended, &[])).unwrap_err();
    decided.join().unwrap();
    assert_eq!(error.code().unwrap().code(), "53400");
    client.query("BEGIN").unwrap();
    let in_block = "UPDATE orders SET total = -3 RETURNING id";
    let decided = proxy.api().decide_later(in_block, "deny");
    assert_eq!(client.fails(in_block).0, "53400");
    decided.join().unwrap();
    client.query("ROLLBACK").unwrap();
    assert_eq!(db.direct("SELECT count(*) FROM orders WHERE total < 0"), "0");
    assert_eq!(client.query("SELECT 1").unwrap(), ["1"]);
}

#[test]
fn a_fetch_carries_what_its_cursor_reads() {
    let (_db, proxy) = start("cursor");
    let client = proxy.connect();
    client.query("BEGIN").unwrap();
    client.query("DECLARE c CURSOR FOR SELECT * FROM customers").unwrap();
    assert_eq!(client.query("FETCH 3 FROM c").unwrap().len(), 3);
    let decided = proxy.api().decide_later("FETCH ALL", "deny");
    assert_eq!(client.fails("FETCH ALL FROM c").0, "42501");
    decided.join().unwrap();
}

#[test]
fn an_execute_carries_what_its_prepare_named() {
    let (_db, proxy) = start("sqlprepare");
    let client = proxy.connect();
    client.query("PREPARE p AS SELECT * FROM customers").unwrap();
    let decided = proxy.api().decide_later("EXECUTE p", "deny");
    assert_eq!(client.fails("EXECUTE p").0, "42501");
    decided.join().unwrap();
}

#[test]
fn many_small_reads_use_up_a_budget() {
    let policy = "version: 1\ntags:\n  - { columns: [\"*.email\"], tag: user.contact.email }\nrules:\n  - name: drip\n    \
                  match: { kind: [read, session, transaction] }\n    effect: allow\n    \
                  limits: { on_limit: deny, per: { tag: \"user.**\", rows: 25, window: 1h } }\ndefault: deny\n";
    let db = TestDb::new("budget");
    let proxy = Proxy::start(&db, Options { policy: Some(policy), ..Options::default() });
    let mut read = 0;
    for _ in 0..10 {
        let client = proxy.connect();
        match client.query("SELECT email FROM customers LIMIT 5") {
            Ok(rows) => read += rows.len(),
            Err(error) => {
                assert_eq!(error.code().unwrap().code(), "53400");
                break;
            }
        }
    }
    assert_eq!(read, 25);
}
