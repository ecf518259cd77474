//! `FunctionCall`, the way into functions that is no query, is judged like a query that calls the function.

use crate::harness::conn::{Conn, frame, query};
use crate::harness::{Options, Proxy, TestDb, eventually};

const POLICY: &str = "version: 1\ntags:\n  - { columns: [\"*.email\"], tag: user.contact.email }\nrules:\n  \
    - { name: asked, match: { function: \"public.asked\" }, effect: hold, approve: { from: [dba] } }\n  \
    - { name: no-email, match: { tag: \"user.**\", access: reveal }, effect: deny }\n  \
    - { name: rest, match: { kind: [read, write, call, session, transaction] }, effect: allow }\ndefault: deny\n";

fn start(label: &str, policy: Option<&str>) -> (TestDb, Proxy) {
    let db = TestDb::new(label);
    db.direct(
        "CREATE FUNCTION leak(int) RETURNS text LANGUAGE sql AS 'SELECT email FROM customers WHERE id = $1';
         CREATE FUNCTION leak(text) RETURNS text LANGUAGE sql AS 'SELECT upper($1)';
         CREATE FUNCTION leak(text, text) RETURNS text LANGUAGE sql AS 'SELECT $1 || $2';
         CREATE FUNCTION asked(int, text) RETURNS text LANGUAGE sql AS 'SELECT $2 || $1'",
    );
    let proxy = Proxy::start(&db, Options { policy, ..Options::default() });
    (db, proxy)
}

fn oid(db: &TestDb, signature: &str) -> u32 {
    db.direct(&format!("SELECT '{signature}'::regprocedure::oid")).parse().unwrap()
}

/// A call with text values.
fn call(oid: u32, values: &[&str]) -> Vec<u8> {
    let mut body = [&oid.to_be_bytes()[..], &[0, 0]].concat();
    body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(value.as_bytes());
    }
    body.extend([0, 0]);
    frame('F', &body)
}

#[test]
fn a_call_is_judged_by_the_body_of_that_function() {
    let (db, proxy) = start("call_body", Some(POLICY));
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    conn.send(&call(oid(&db, "leak(int)"), &["7"]));
    let frames = conn.until('Z');
    assert_eq!(frames[0].field(b'C'), "42501", "{frames:?}");
    assert_eq!(frames.last().unwrap().body, b"I");
    conn.send(&call(oid(&db, "leak(text,text)"), &["mi", "ne"]));
    let frames = conn.until('Z');
    assert!(frames.iter().any(|frame| frame.tag == 'V' && frame.body.ends_with(b"mine")), "{frames:?}");
    conn.send(&query("SELECT 1"));
    assert_eq!(conn.tags(), "TDCZI");
}

#[test]
fn of_functions_of_one_name_and_as_many_arguments_the_one_that_is_called_counts() {
    let (db, proxy) = start("call_overload", Some(POLICY));
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    for _ in 0..2 {
        conn.send(&call(oid(&db, "leak(text)"), &["harmless"]));
        let frames = conn.until('Z');
        assert!(frames.iter().any(|frame| frame.tag == 'V' && frame.body.ends_with(b"HARMLESS")), "{frames:?}");
        conn.send(&call(oid(&db, "leak(int)"), &["7"]));
        assert_eq!(conn.until('Z')[0].field(b'C'), "42501");
    }
    conn.send(&query("SELECT leak(CAST('harmless' AS text))"));
    assert_eq!(conn.until('Z')[0].field(b'C'), "42501", "a query may mean either");
}

#[test]
fn a_refused_call_fails_its_transaction_as_postgres_has_it() {
    let (db, proxy) = start("call_tx", Some(POLICY));
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    let leak = call(oid(&db, "leak(int)"), &["7"]);
    conn.send(&[query("BEGIN"), leak.clone()].concat());
    assert_eq!((conn.tags(), conn.tags()), ("CZT".to_owned(), "EZE".to_owned()));
    conn.send(&leak);
    let frames = conn.until('Z');
    assert_eq!(frames[0].field(b'C'), "25P02", "{frames:?}");
    conn.send(&query("ROLLBACK"));
    assert_eq!(conn.tags(), "CZI");
}

#[test]
fn a_held_call_shows_its_values_and_runs_once_it_is_approved() {
    let (db, proxy) = start("call_held", Some(POLICY));
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    for (decision, tags) in [("deny", "EZI"), ("approve", "VZI")] {
        let decided = proxy.api().decide_later("asked", decision);
        conn.send(&call(oid(&db, "asked(int,text)"), &["7", "why"]));
        assert_eq!(conn.tags(), tags);
        let hold = decided.join().unwrap();
        assert_eq!(hold["parameters"], serde_json::json!(["7", "why"]), "{hold}");
        assert_eq!(hold["command"], "FUNCTION CALL");
        assert!(hold["kinds"].as_array().unwrap().contains(&"call".into()), "{hold}");
    }
}

#[test]
fn calls_of_built_in_functions_pass_the_shipped_policy_and_are_recorded() {
    let (db, proxy) = start("call_builtin", None);
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    conn.send(&call(1397, &["-7"]));
    let frames = conn.until('Z');
    assert!(frames.iter().any(|frame| frame.tag == 'V' && frame.body.ends_with(b"7")), "{frames:?}");
    let proxy = Proxy::start(&db, Options { observe: true, ..Options::default() });
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    conn.send(&call(oid(&db, "leak(int)"), &["7"]));
    assert_eq!(conn.tags(), "VZI");
    let found = eventually("the call is in the log", || {
        let (_, lines, _) = proxy.holdgate(&["log", "query", "--column", "customers.email", "--format", "jsonl"]);
        lines.lines().find(|line| line.contains("FUNCTION CALL") && line.contains("complete")).map(str::to_owned)
    });
    assert!(found.contains("public.customers.email"), "{found}");
}
