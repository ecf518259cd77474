//! What the proxy does for itself, on connections of its own and between the client's statements, nobody notices.

use crate::harness::conn::{Conn, Frame, frame, query, startup};
use crate::harness::{ALLOW_ALL, Client, Options, Proxy, TestDb, eventually};

/// A proxy that serves every database of the server.
fn everywhere(db: &TestDb) -> Proxy {
    let dsn = format!("host=127.0.0.1 port={} user=postgres sslmode=disable", db.port);
    Proxy::start_to(&dsn, &db.name, Options { policy: Some(ALLOW_ALL), ..Options::default() })
}

fn client(proxy: &Proxy, database: &str) -> Client {
    Client::connect(&format!("postgres://postgres@{}/{database}", proxy.postgres))
}

#[test]
fn a_database_that_everybody_has_left_can_be_dropped() {
    let db = TestDb::new("un_drop");
    let proxy = everywhere(&db);
    let name = format!("{}_x", db.name);
    db.direct(&format!("CREATE DATABASE {name}"));
    let inside = client(&proxy, &name);
    inside.query("CREATE TABLE t (a int)").unwrap();
    assert_eq!(inside.query("SELECT count(*) FROM t").unwrap(), ["0"]);
    drop(inside);
    client(&proxy, &db.name).query(&format!("DROP DATABASE {name}")).unwrap();
    // Made anew under the same name it is another one.
    db.direct(&format!("CREATE DATABASE {name}"));
    let inside = client(&proxy, &name);
    assert_eq!(inside.fails("SELECT count(*) FROM t").0, "42P01");
    inside.query("CREATE TABLE t (b text)").unwrap();
    assert_eq!(inside.query("SELECT count(b) FROM t").unwrap(), ["0"]);
    drop(inside);
    db.direct(&format!("DROP DATABASE {name}"));
}

#[test]
fn a_database_can_be_copied_by_the_only_session_in_it() {
    let db = TestDb::new("un_copy");
    let proxy = everywhere(&db);
    let inside = client(&proxy, &db.name);
    inside.query("CREATE TABLE copied (a int)").unwrap();
    assert_eq!(inside.query("SELECT count(*) FROM copied").unwrap(), ["0"]);
    let copy = format!("{}_copy", db.name);
    inside.query(&format!("CREATE DATABASE {copy} TEMPLATE {}", db.name)).unwrap();
    inside.query(&format!("DROP DATABASE {copy}")).unwrap();
}

#[test]
fn notices_of_our_own_questions_are_swallowed() {
    let db = TestDb::new("un_notice");
    let proxy = Proxy::start(&db, Options { observe: true, ..Options::default() });
    let told = |address: &str| {
        let mut conn = Conn::session(address, &db.name);
        for sql in ["SET client_min_messages = debug5", "CREATE TEMP TABLE mine (a int)"] {
            conn.send(&query(sql));
            conn.until('Z');
        }
        // What is temporary is looked up on the client's own connection.
        conn.send(&query("SELECT count(*) FROM mine"));
        let began = |frame: &Frame| frame.tag == 'N' && frame.field(b'M').starts_with("StartTransaction");
        conn.until('Z').into_iter().filter(began).count()
    };
    assert_eq!(told(&format!("127.0.0.1:{}", db.port)), 1);
    assert_eq!(told(&proxy.postgres), 1);
}

/// The catalog has to be read again before the next statement is judged. Comments are part of it, and of nothing that a
/// statement itself needs: that reading waits until the client that is returned commits.
fn the_catalog_waits(db: &TestDb, conn: &mut Conn) -> Client {
    conn.send(&query("CREATE TABLE made (a int)"));
    conn.until('Z');
    let locker = Client::connect(&db.dsn());
    locker.query("BEGIN; LOCK TABLE pg_catalog.pg_description IN ACCESS EXCLUSIVE MODE").unwrap();
    locker
}

#[test]
fn a_transaction_begins_while_the_catalog_is_read_again() {
    let db = TestDb::new("un_begin");
    let proxy = Proxy::start(&db, Options { policy: Some(ALLOW_ALL), ..Options::default() });
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    let locker = the_catalog_waits(&db, &mut conn);
    conn.send(&query("BEGIN ISOLATION LEVEL REPEATABLE READ"));
    assert_eq!(conn.until('Z').first().map(|frame| frame.tag), Some('C'));
    let parse = [b"\0SET TRANSACTION READ ONLY\0".as_slice(), &[0, 0]].concat();
    conn.send(&[frame('P', &parse), frame('H', b"")].concat());
    locker.query("COMMIT").unwrap();
    conn.until('1');
    // Nothing of ours came between BEGIN and what must be first in its transaction.
    conn.send(&[frame('B', &[0; 8]), frame('E', &[0; 5]), frame('S', b"")].concat());
    assert_eq!(conn.until('Z').iter().map(|frame| frame.tag).collect::<String>(), "2CZ");
    conn.send(&query("SELECT count(*) FROM made"));
    assert_eq!(conn.until('Z').iter().map(|frame| frame.tag).collect::<String>(), "TDCZ");
}

#[test]
fn a_cancel_ends_a_statement_that_is_still_being_judged() {
    let db = TestDb::new("un_cancel");
    let proxy = Proxy::start(&db, Options { policy: Some(ALLOW_ALL), ..Options::default() });
    let mut conn = Conn::open(&proxy.postgres);
    conn.send(&startup(&[("user", "postgres"), ("database", &db.name)]));
    let key = conn.until('Z').into_iter().find(|frame| frame.tag == 'K').unwrap().body;
    let locker = the_catalog_waits(&db, &mut conn);
    conn.send(&query("SELECT count(*) FROM made"));
    eventually("the statement is being judged", || {
        let waiting = "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'pg_description'::regclass AND NOT granted";
        (db.direct(waiting) == "t").then_some(())
    });
    let mut cancel = Conn::open(&proxy.postgres);
    cancel.send(&[&16_u32.to_be_bytes()[..], &80_877_102_u32.to_be_bytes(), &key].concat());
    assert!(cancel.is_closed());
    locker.query("COMMIT").unwrap();
    let answer = conn.until('Z');
    assert_eq!(answer.first().map(|frame| (frame.tag, frame.field(b'C'))), Some(('E', "57014".to_owned())));
    conn.send(&[query("SELECT 1"), frame('X', b"")].concat());
    assert_eq!(conn.tags(), "TDCZI");
}
