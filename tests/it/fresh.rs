//! A catalog that changes is noticed: by this session, by others, hidden in code, and behind the proxy's back.

use std::time::Duration;

use holdgate::backend::connect::{Encryption, Negotiation, Upstream};
use holdgate::backend::databases::{Credential, Databases};
use holdgate::backend::memory::Memory;
use holdgate::catalog::tags::TagRules;

use crate::harness::conn::{Conn, bind, describe_portal, execute, frame, parse, query, sync};
use crate::harness::{Client, DEADLINE, Options, Proxy, TestDb, eventually};

/// What reveals a tagged column is denied; everything else passes, code that cannot be looked into too.
const POLICY: &str = "version: 1\nerrors: pass\ntags:\n  - { columns: [\"*.public.customers.email\"], tag: \
                      user.contact.email }\nrules:\n  - { name: personal, match: { tag: \"user.**\", access: reveal }, \
                      effect: deny }\ndefault: allow\n";

/// Reads nothing that is tagged, until somebody makes it.
const READ: &str = "SELECT shown FROM v LIMIT 1";

/// From then on it does.
const CHANGE: &str = "CREATE OR REPLACE VIEW v AS SELECT email AS shown FROM customers";

fn start(label: &str) -> (TestDb, Proxy) {
    let db = TestDb::new(label);
    db.direct("CREATE VIEW v AS SELECT city AS shown FROM customers; GRANT ALL ON v TO PUBLIC");
    let proxy = Proxy::start(&db, Options { policy: Some(POLICY), ..Options::default() });
    (db, proxy)
}

fn is_allowed(client: &Client, sql: &str) -> bool {
    match client.query(sql) {
        Ok(_) => true,
        Err(error) => {
            let text = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}")).message().to_owned();
            assert!(text.contains("personal"), "{sql}: {text}");
            false
        }
    }
}

#[test]
fn a_definition_that_this_session_changes_counts_at_once() {
    let (_db, proxy) = start("fr_own");
    let client = proxy.connect();
    assert!(is_allowed(&client, READ));
    client.query(CHANGE).unwrap();
    assert!(!is_allowed(&client, READ));
}

#[test]
fn a_definition_that_another_session_changes_counts_at_once() {
    let (_db, proxy) = start("fr_other");
    let (client, other) = (proxy.connect(), proxy.connect());
    assert!(is_allowed(&client, READ));
    other.query("BEGIN").unwrap();
    other.query(CHANGE).unwrap();
    other.query("COMMIT").unwrap();
    assert!(!is_allowed(&client, READ));
}

#[test]
fn a_definition_that_hides_in_code_counts_at_once() {
    let (db, proxy) = start("fr_hidden");
    db.direct(&format!(
        "CREATE FUNCTION does() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN EXECUTE '{CHANGE}'; END $f$"
    ));
    let back = "CREATE OR REPLACE VIEW v AS SELECT city AS shown FROM customers";
    let block = format!("DO $$ BEGIN EXECUTE '{CHANGE}'; END $$");
    for code in [block.as_str(), "SELECT does()"] {
        let (client, other) = (proxy.connect(), proxy.connect());
        assert!(is_allowed(&client, READ) && is_allowed(&other, READ));
        client.query(code).unwrap();
        assert!(!is_allowed(&client, READ), "{code}");
        assert!(!is_allowed(&other, READ), "{code}");
        client.query(back).unwrap();
    }
}

#[test]
fn a_definition_that_changes_behind_the_proxy_is_polled() {
    let (db, proxy) = start("fr_poll");
    let client = proxy.connect();
    assert!(is_allowed(&client, READ));
    db.direct(CHANGE);
    let since = std::time::Instant::now();
    eventually("the poll", || (!is_allowed(&client, READ)).then_some(()));
    println!("stale for {:?}", since.elapsed());
}

#[test]
fn a_relation_that_was_made_behind_the_proxy_is_looked_up() {
    let (db, proxy) = start("fr_unknown");
    let client = proxy.connect();
    assert!(is_allowed(&client, READ));
    db.direct("CREATE VIEW fresh AS SELECT email FROM customers");
    assert!(!is_allowed(&client, "SELECT * FROM fresh"));
}

#[test]
fn names_that_are_new_on_the_server_are_looked_up_each_before_it_is_forwarded() {
    let (db, proxy) = start("fr_names");
    let client = proxy.connect();
    for number in 0..5 {
        db.direct(&format!(
            "CREATE TABLE made{number} (id int, email text); COMMENT ON COLUMN made{number}.email IS '@pii(user.contact.email)'"
        ));
        assert!(!is_allowed(&client, &format!("SELECT email || '' FROM made{number}")), "{number}");
        assert!(is_allowed(&client, &format!("SELECT id FROM made{number}")), "{number}");
    }
}

#[test]
fn what_is_replaced_behind_the_proxy_is_compared_before_it_is_relied_upon() {
    let (db, proxy) = start("fr_replaced");
    db.direct("CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT city FROM customers LIMIT 1'");
    let client = proxy.connect();
    let prepared = client.wait(client.inner.prepare("SELECT * FROM v LIMIT 1")).unwrap();
    assert!(client.wait(client.inner.query(&prepared, &[])).is_ok());
    let body = |column: &str| {
        format!("CREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT {column} FROM customers LIMIT 1'")
    };
    let back = CHANGE.replace("email AS", "city AS");
    let mut longest = std::time::Duration::ZERO;
    for (change, undo, sql) in [(CHANGE, &*back, READ), (&body("email"), &body("city"), "SELECT f()")] {
        for _ in 0..5 {
            assert!(eventually("it is harmless", || is_allowed(&client, sql).then_some(true)));
            db.direct(change);
            let since = std::time::Instant::now();
            eventually("it is noticed", || (!is_allowed(&client, sql)).then_some(()));
            longest = longest.max(since.elapsed());
            if sql == READ {
                let again = client.wait(client.inner.query(&prepared, &[]));
                assert!(again.is_err(), "what was prepared before is judged anew");
            }
            db.direct(undo);
        }
    }
    println!("stale for {longest:?} at most");
}

/// As the handbook has it.
const ANNOUNCE: &str = "
    CREATE FUNCTION holdgate_announce() RETURNS event_trigger LANGUAGE plpgsql
        AS $$ BEGIN NOTIFY holdgate_definitions; END $$;
    CREATE EVENT TRIGGER holdgate_announce ON ddl_command_end EXECUTE FUNCTION holdgate_announce();";

fn databases(db: &TestDb) -> Databases {
    let upstream = Upstream {
        host: "127.0.0.1".into(),
        port: db.port,
        encryption: Encryption::Never,
        address: None,
        negotiation: Negotiation::Asked,
        timeout: DEADLINE,
    };
    let credential = Credential { user: "postgres".into(), password: None };
    Databases::new(upstream, Some(credential), TagRules::default(), Memory::passing().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_finds_what_has_changed_and_is_not_made_twice_in_a_moment() {
    let db = TestDb::new("fr_compare");
    db.direct("CREATE VIEW v AS SELECT city AS shown FROM customers");
    let databases = databases(&db);
    let first = databases.fresh(&db.name).await.unwrap();
    db.direct("INSERT INTO orders VALUES (-1, 1, 1)");
    databases.check_within(&db.name, Duration::ZERO).await.unwrap();
    let same = databases.database(&db.name).current().map(|snapshot| snapshot.version);
    assert_eq!(same, Some(first.version), "rows are no definitions");
    for change in [
        CHANGE,
        "CREATE POLICY p ON orders USING (id > 1)",
        "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE orders FORCE ROW LEVEL SECURITY",
        "ALTER VIEW v SET (security_invoker = on)",
        "ALTER TABLE orders OWNER TO agent_trust",
        "CREATE STATISTICS st ON (total + 1), id FROM orders",
        "CREATE ROLE fresh_role; GRANT agent_trust TO fresh_role",
        "REVOKE agent_trust FROM fresh_role",
        "ALTER ROLE fresh_role BYPASSRLS",
        "DROP ROLE fresh_role",
    ] {
        databases.fresh(&db.name).await.unwrap();
        db.direct(change);
        databases.check_within(&db.name, Duration::from_secs(3600)).await.unwrap();
        assert!(databases.database(&db.name).current().is_some(), "{change}: it was compared a moment ago");
        // Comparing takes only a part of the time: how soon it is done again hangs on how long it takes.
        let (databases, db) = (&databases, &db);
        let compared = || {
            let check = databases.check_within(&db.name, Duration::ZERO);
            tokio::runtime::Handle::current().block_on(check).unwrap();
            databases.database(&db.name).current().is_none().then_some(())
        };
        tokio::task::block_in_place(|| eventually(change, compared));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_servers_own_trigger_announces_is_compared_at_once() {
    let db = TestDb::new("fr_announce");
    db.direct("CREATE VIEW v AS SELECT city AS shown FROM customers");
    db.direct(ANNOUNCE);
    assert!(include_str!("../../README.md").replace('\n', " ").contains("NOTIFY holdgate_definitions"));
    let databases = databases(&db);
    databases.fresh(&db.name).await.unwrap();
    let database = databases.database(&db.name);
    assert!(!database.is_announced());
    db.direct(CHANGE);
    let db = &db;
    tokio::task::block_in_place(|| eventually("it is announced", || database.is_announced().then_some(())));
    databases.check_within(&db.name, Duration::from_secs(3600)).await.unwrap();
    assert!(database.current().is_none(), "whatever was compared a moment ago");
}

#[test]
fn a_name_that_the_server_does_not_know_either_gets_the_servers_own_error() {
    let (_db, proxy) = start_denying("fr_nobody");
    let client = proxy.connect();
    for sql in ["SELECT * FROM nobody_has_this", "SELECT nothing(id) FROM orders", "SELECT o.nothing FROM orders o"] {
        let expected = if sql.contains("FROM nobody") {
            "42P01"
        } else if sql.contains("nothing(") {
            "42883"
        } else {
            "42703"
        };
        assert_eq!(client.fails(sql).0, expected, "{sql}");
        let error = client.wait(client.inner.prepare(sql)).unwrap_err();
        assert_eq!(error.code().unwrap().code(), expected, "{sql}");
    }
    let (code, text) = client.fails("SELECT * FROM nobody_has_this, customers");
    assert_eq!(code, "42P01", "{text}");
}

#[test]
fn a_name_that_comes_to_be_after_its_parse_is_judged_at_its_bind() {
    let (db, proxy) = start_denying("fr_race");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    // A parse that the server refuses leaves nothing behind that could be bound.
    conn.send(&[parse("s", "SELECT email FROM later"), sync()].concat());
    assert_eq!(conn.tags(), "EZI");
    db.direct("CREATE TABLE later (email text); COMMENT ON COLUMN later.email IS '@pii(user.contact.email)'; INSERT INTO later VALUES ('x')");
    conn.send(&[bind("", "s"), execute("", 0), sync()].concat());
    assert_eq!(conn.tags(), "EZI");
    conn.send(&[parse("s", "SELECT email FROM later"), bind("", "s"), execute("", 0), sync()].concat());
    let heard = conn.until('Z');
    let error = heard.iter().find(|frame| frame.tag == 'E').unwrap();
    assert!(error.field(b'M').contains("personal"), "{}", error.field(b'M'));
    assert!(!heard.iter().any(|frame| frame.tag == 'D'));
}

/// What cannot be known is denied too.
fn start_denying(label: &str) -> (TestDb, Proxy) {
    let db = TestDb::new(label);
    let rule = "\n  - { name: unknown, match: { kind: opaque }, effect: deny }\ndefault";
    let policy = POLICY.replace("\ndefault", rule);
    let proxy = Proxy::start(&db, Options { policy: Some(&policy), ..Options::default() });
    (db, proxy)
}

/// Another table takes the name that a text has: the catalog of the proxy still has the old one.
const SWAP: &str = "ALTER TABLE orders RENAME TO gone; ALTER TABLE customers RENAME TO orders; \
                    ALTER TABLE orders RENAME first_name TO total";

#[test]
fn a_simple_query_that_the_server_reads_otherwise_stops_before_its_first_row() {
    let (db, proxy) = start("fr_simple");
    let client = proxy.connect();
    db.direct("ALTER TABLE orders ADD email text; COMMENT ON COLUMN customers.email IS '@pii(user.contact.email)'");
    assert!(is_allowed(&client, "SELECT email FROM orders LIMIT 1"));
    db.direct(SWAP);
    assert!(!is_allowed(&client, "SELECT email FROM orders LIMIT 1"));
}

/// Message orders of drivers, before and after the swap.
#[test]
fn an_execute_that_the_server_reads_otherwise_stops_before_its_first_row() {
    let orders: [(&str, Vec<Vec<u8>>); 4] = [
        ("bound, never described", vec![[bind("", "s"), execute("", 0), sync()].concat()]),
        ("described with its portal", vec![[bind("", "s"), describe_portal(""), execute("", 0), sync()].concat()]),
        (
            "described as a statement",
            vec![[frame('D', b"Ss\0"), sync()].concat(), [bind("", "s"), execute("", 0), sync()].concat()],
        ),
        ("in slices", vec![query("BEGIN"), [bind("p", "s"), sync()].concat(), [execute("p", 1), sync()].concat()]),
    ];
    for (place, (label, batches)) in orders.into_iter().enumerate() {
        let (db, proxy) = start(&format!("fr_ext{place}"));
        db.direct("ALTER TABLE orders ADD email text; COMMENT ON COLUMN customers.email IS '@pii(user.contact.email)'; UPDATE orders SET email = 'x'");
        let mut conn = Conn::session(&proxy.postgres, &db.name);
        let text = "SELECT email FROM orders ORDER BY id LIMIT 1";
        conn.send(&[parse("s", text), parse("t", text), sync()].concat());
        assert_eq!(conn.tags(), "11ZI");
        conn.send(&[bind("", "t"), execute("", 0), sync()].concat());
        assert_eq!(conn.tags(), "2DCZI", "the answer to our own question is swallowed");
        db.direct(SWAP);
        let mut heard = Vec::new();
        for batch in batches {
            conn.send(&batch);
            heard.extend(conn.until('Z'));
        }
        let error = heard.iter().find(|frame| frame.tag == 'E').unwrap_or_else(|| panic!("{label}: {heard:?}"));
        assert!(error.field(b'M').contains("personal"), "{label}: {}", error.field(b'M'));
        assert!(!heard.iter().any(|frame| frame.tag == 'D'), "{label}");
    }
}

#[test]
fn a_question_of_ours_disturbs_no_driver() {
    let (db, proxy) = start("fr_swallow");
    let run = |sql: &str| [parse("", sql), bind("", ""), execute("", 0)].concat();
    let batches = [
        vec![run("SELECT city FROM customers WHERE id = 1"), sync()],
        vec![run("SELECT city FROM customers WHERE id = 1"), run("SELECT id FROM orders WHERE id = 1"), sync()],
        vec![run("SELECT city FROM customers WHERE id = 1"), frame('H', b""), sync()],
        vec![
            run("SELECT 1/id FROM orders WHERE id - 1 = 0"),
            run("SELECT 1/(id - 1) FROM orders"),
            run("SELECT 1"),
            sync(),
        ],
        vec![parse("", "SELECT city FROM customers WHERE id = $1"), bind("", ""), execute("", 0), sync()],
        vec![execute("nowhere", 0), sync()],
        vec![parse("", "SELECT id FROM orders ORDER BY id"), bind("", ""), execute("", 2), execute("", 2), sync()],
        vec![parse("", "SELECT id FROM orders WHERE false"), bind("", ""), execute("", 0), sync()],
        vec![run("INSERT INTO orders VALUES (-1, 1, 1) RETURNING id"), run("SELECT id FROM missing"), sync()],
        vec![query("BEGIN"), query("SELECT 1/0")],
        vec![run("SELECT id FROM orders LIMIT 1"), sync()],
        vec![query("ROLLBACK")],
    ];
    let mut direct = Conn::session(&format!("127.0.0.1:{}", db.port), &db.name);
    let mut through = Conn::session(&proxy.postgres, &db.name);
    for batch in batches {
        let rounds = batch.iter().filter(|frame| matches!(frame.first(), Some(b'Q' | b'S'))).count();
        for conn in [&mut direct, &mut through] {
            conn.send(&batch.concat());
        }
        for _ in 0..rounds {
            let frames =
                |conn: &mut Conn| conn.until('Z').into_iter().filter(|frame| frame.tag != 'N').collect::<Vec<_>>();
            assert_eq!(frames(&mut through), frames(&mut direct));
        }
    }
}

#[test]
fn a_described_statement_is_not_asked_about_again() {
    let (db, proxy) = start("fr_once");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    conn.send(&[parse("s", "SELECT id FROM orders LIMIT 1"), frame('D', b"Ss\0"), frame('H', b"")].concat());
    for expected in ['1', 't', 'T'] {
        assert_eq!(conn.frame().unwrap().tag, expected);
    }
    conn.send(&[bind("", "s"), execute("", 0), sync()].concat());
    assert_eq!(conn.tags(), "2DCZI");
    let asked = || {
        let metrics = proxy.api().request("GET", "/metrics", None).1;
        metrics.lines().find_map(|line| line.strip_prefix("holdgate_descriptions_asked_total ")).map(str::to_owned)
    };
    assert_eq!(asked().as_deref(), Some("0"));
    conn.send(&[parse("n", "SELECT id FROM orders LIMIT 1"), sync()].concat());
    assert_eq!(conn.tags(), "1ZI");
    for _ in 0..3 {
        conn.send(&[bind("", "n"), execute("", 0), sync()].concat());
        assert_eq!(conn.tags(), "2DCZI");
    }
    assert_eq!(asked().as_deref(), Some("1"));
}
