//! Refusals in every state of the protocol: what comes back is what Postgres says to an error in that place, and the next
//! statement on that connection works.

use crate::harness::conn::{Conn, bind, describe_portal, execute, flush, frame, parse, query, sync};
use crate::harness::{Options, Proxy, TestDb};

/// What touches orders is refused by a rule, what touches customers waits for a person.
const POLICY: &str = "version: 1\nerrors: pass\nrules:\n  \
    - { name: refused, match: { relation: \"*.orders\" }, effect: deny }\n  \
    - { name: held, match: { relation: \"*.customers\" }, effect: hold, approve: { from: [dba] } }\ndefault: allow\n";

/// One statement that a rule refuses, and one that is held and that nobody waits for.
const BOTH: [&str; 2] = ["SELECT id FROM orders", "SELECT id FROM customers"];

fn start(label: &str) -> (TestDb, Proxy) {
    let db = TestDb::new(label);
    let proxy = Proxy::start(&db, Options { policy: Some(POLICY), ..Options::default() });
    (db, proxy)
}

/// A session whose held statements are refused at once.
fn session(db: &TestDb, proxy: &Proxy) -> Conn {
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    conn.send(&query("SET holdgate.wait = '0s'"));
    assert_eq!(conn.tags(), "CZI");
    conn
}

fn works(conn: &mut Conn) {
    conn.send(&[parse("", "SELECT 1"), bind("", ""), describe_portal(""), execute("", 0), sync()].concat());
    assert_eq!(conn.tags(), "12TDCZI");
}

fn hears(conn: &mut Conn, bytes: &[u8], tags: &str) {
    conn.send(bytes);
    assert_eq!(conn.tags(), tags);
}

#[test]
fn parse_and_bind_without_execute() {
    let (db, proxy) = start("st_bind");
    for (sql, tags) in BOTH.into_iter().zip(["EZI", "1EZI"]) {
        let mut conn = session(&db, &proxy);
        hears(&mut conn, &[parse("", sql), bind("", ""), sync()].concat(), tags);
        works(&mut conn);
    }
}

#[test]
fn after_a_flush_of_the_client() {
    let (db, proxy) = start("st_flush");
    for (sql, tags) in BOTH.into_iter().zip(["EZI", "1EZI"]) {
        let mut conn = session(&db, &proxy);
        conn.send(&[parse("a", "SELECT 1"), bind("", "a"), execute("", 0), flush()].concat());
        let answered: String = (0..4).map(|_| conn.frame().unwrap().tag).collect();
        assert_eq!(answered, "12DC");
        hears(&mut conn, &[parse("", sql), flush(), bind("", ""), execute("", 0), sync()].concat(), tags);
        works(&mut conn);
    }
}

#[test]
fn a_prepared_statement_that_is_bound_again_and_again() {
    let (db, proxy) = start("st_cached");
    let mut conn = session(&db, &proxy);
    hears(&mut conn, &[parse("s1", BOTH[1]), sync()].concat(), "1ZI");
    for _ in 0..3 {
        hears(&mut conn, &[bind("", "s1"), describe_portal(""), execute("", 0), sync()].concat(), "EZI");
        works(&mut conn);
    }
    hears(&mut conn, &[frame('C', b"Ss1\0"), sync()].concat(), "3ZI");
    hears(&mut conn, &[parse("s1", "SELECT 1"), bind("", "s1"), execute("", 0), sync()].concat(), "12DCZI");
}

#[test]
fn a_name_whose_parse_was_skipped_after_a_refusal() {
    let (db, proxy) = start("st_skipped");
    for (sql, tags) in BOTH.into_iter().zip(["EZI", "1EZI"]) {
        let mut conn = session(&db, &proxy);
        let skipped = [parse("x", sql), bind("", "x"), parse("later", "SELECT 1"), sync()].concat();
        hears(&mut conn, &skipped, tags);
        hears(&mut conn, &[bind("", "later"), execute("", 0), sync()].concat(), "EZI");
        hears(&mut conn, &[parse("later", "SELECT 2"), bind("", "later"), execute("", 0), sync()].concat(), "12DCZI");
    }
}

#[test]
fn names_that_differ_behind_their_63rd_byte_are_one_name() {
    let (db, proxy) = start("st_long");
    let mut conn = session(&db, &proxy);
    let (one, other) = (format!("{}1", "n".repeat(70)), format!("{}2", "n".repeat(70)));
    let close = frame('C', &[b"S", other.as_bytes(), b"\0"].concat());
    hears(&mut conn, &[parse(&one, "SELECT 1"), sync()].concat(), "1ZI");
    hears(&mut conn, &[bind("", &other), execute("", 0), sync()].concat(), "2DCZI");
    hears(&mut conn, &[close, parse(&other, BOTH[1]), sync()].concat(), "31ZI");
    hears(&mut conn, &[bind("", &one), execute("", 0), sync()].concat(), "EZI");
    works(&mut conn);
}

#[test]
fn a_prepare_whose_name_is_cut_at_63_bytes_is_known_under_both_names() {
    let (db, proxy) = start("st_cut");
    let mut conn = session(&db, &proxy);
    let long = "q".repeat(80);
    hears(&mut conn, &query(&format!("PREPARE {long} AS SELECT 1")), "CZI");
    hears(&mut conn, &query(&format!("EXECUTE {long}")), "TDCZI");
    hears(&mut conn, &[bind("", &long[..63]), execute("", 0), sync()].concat(), "2DCZI");
}

#[test]
fn a_portal_in_slices_is_refused_before_its_first() {
    let (db, proxy) = start("st_slices");
    let mut conn = session(&db, &proxy);
    hears(&mut conn, &query("BEGIN"), "CZT");
    hears(&mut conn, &query("SAVEPOINT s"), "CZT");
    let slices = [parse("", BOTH[0]), bind("p", ""), execute("p", 2), execute("p", 2), sync()].concat();
    hears(&mut conn, &slices, "EZE");
    hears(&mut conn, &query(BOTH[0]), "EZE");
    hears(&mut conn, &query("ROLLBACK TO s"), "CZT");
    hears(&mut conn, &query("COMMIT"), "CZI");
    works(&mut conn);
}

#[test]
fn around_a_copy() {
    let (db, proxy) = start("st_copy");
    let (data, done) = (frame('d', b"1\t1\t1\n"), frame('c', b""));
    for table in ["nosuch", "orders", "customers"] {
        let mut conn = session(&db, &proxy);
        let copy = query(&format!("COPY {table} FROM STDIN"));
        conn.send(&[copy, data.clone(), done.clone(), query("SELECT 1")].concat());
        assert_eq!((conn.tags(), conn.tags()), ("EZI".to_owned(), "TDCZI".to_owned()), "{table}");
        works(&mut conn);
    }
    assert_eq!(db.direct("SELECT count(*) FROM orders"), "20000");
}

#[test]
fn sql_level_statements_and_cursors() {
    let (db, proxy) = start("st_sql");
    let mut conn = session(&db, &proxy);
    for sql in BOTH {
        hears(&mut conn, &query(&format!("PREPARE q AS {sql}")), "EZI");
        hears(&mut conn, &query("EXECUTE q"), "EZI");
        hears(&mut conn, &query("BEGIN"), "CZT");
        hears(&mut conn, &query(&format!("DECLARE c CURSOR FOR {sql}")), "EZE");
        hears(&mut conn, &query("FETCH c"), "EZE");
        hears(&mut conn, &query("ROLLBACK"), "CZI");
        works(&mut conn);
    }
}

#[test]
fn in_a_batch_behind_what_has_run_already() {
    let (db, proxy) = start("st_behind");
    for (sql, tags) in BOTH.into_iter().zip(["12CEZI", "12C1EZI"]) {
        let mut conn = session(&db, &proxy);
        let insert = [parse("", "CREATE TEMP TABLE kept (a int)"), bind("", ""), execute("", 0)].concat();
        hears(&mut conn, &[insert, parse("", sql), bind("", ""), execute("", 0), sync()].concat(), tags);
        // The batch was one transaction, and the refusal has rolled it back.
        hears(&mut conn, &query("SELECT * FROM kept"), "EZI");
        works(&mut conn);
    }
}
