//! A frame that comes in pieces means what it means whole, whatever happens between them.

use crate::harness::conn::{Conn, bind, execute, frame, parse, query, sync};
use crate::harness::{Options, Proxy, TestDb};

/// At most five rows pass, and nobody is asked.
const FIVE_ROWS: &str = "version: 1\nerrors: pass\nrules:\n  - name: five\n    match: { kind: [read, write, call, session, transaction] }\n    \
    effect: allow\n    limits: { rows: 5, on_limit: deny }\ndefault: allow\n";

/// Sends a batch that fails, with the beginning of a late frame behind it; the rest of that frame follows the error.
fn fail_inside_of(conn: &mut Conn, late: &[u8]) {
    let fails = [parse("", "SELECT 1 / length(pg_sleep(0.1)::text)"), bind("", ""), execute("", 0)].concat();
    let (first, rest) = late.split_at(7);
    conn.send(&[&fails, first].concat());
    let frames = conn.until('E');
    assert_eq!(frames.last().unwrap().field(b'C'), "22012");
    conn.send(&[rest, &sync()].concat());
    assert_eq!(conn.tags(), "ZI", "the server discards everything up to the Sync");
}

#[test]
fn a_frame_that_is_discarded_while_it_comes_in_leaves_answers_and_limits_in_their_places() {
    let db = TestDb::new("splits");
    let proxy = Proxy::start(&db, Options { policy: Some(FIVE_ROWS), ..Options::default() });
    let call = frame('F', &[&1397_u32.to_be_bytes()[..], &[0; 6]].concat());
    let late = [query("SELECT 'discarded'"), call, parse("x", "SELECT 1"), bind("", ""), execute("nothing", 0)];
    for late in late {
        let mut conn = Conn::session(&proxy.postgres, &db.name);
        fail_inside_of(&mut conn, &late);
        conn.send(&query("SELECT id FROM orders LIMIT 5"));
        assert_eq!(conn.tags(), "TDDDDDCZI");
        conn.send(&query("SELECT id FROM orders"));
        assert_eq!(conn.tags(), "TDDDDDEZI", "the limit holds for the statement behind it");
        conn.send(&[parse("", "SELECT id FROM orders"), bind("", ""), execute("", 0), sync()].concat());
        assert_eq!(conn.tags(), "12DDDDDEZI");
    }
}
