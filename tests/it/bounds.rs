//! Texts that are made to be slow or to overflow a stack, through the proxy: refused or run, and nobody else notices.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::harness::conn::{Conn, bind, execute, parse, query, sync};
use crate::harness::{ALLOW_ALL, Options, Proxy, TestDb, eventually};

fn hostile() -> Vec<String> {
    let many = |piece: &str| piece.repeat(100_000);
    vec![
        format!("SELECT 1{} FROM orders t", many(" + t.and")),
        format!("SELECT {} 1 {}", many("CASE WHEN t.end THEN "), many("END ")),
        format!("SELECT 1{}", many(" IS NULL BETWEEN 1 AND 2")),
        format!("SELECT 1 {}", many("/**/")),
        many("/*"),
        many("++++"),
        many("-- a\n--b\n"),
        format!("SELECT {}1{}", many("("), many(")")),
        format!("{}SELECT 1{}", many("SELECT ("), many(")")),
        many(";"),
        many("$a$$b$"),
        format!("SELECT 1{}", many("::int")),
    ]
}

#[test]
fn a_hostile_text_is_an_error_of_its_own_session_and_of_no_other() {
    let db = TestDb::new("hostile");
    let proxy = Proxy::start(&db, Options { policy: Some(ALLOW_ALL), ..Options::default() });
    let other = proxy.connect();
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    for text in hostile() {
        conn.send(&query(&text));
        let frames = conn.until('Z');
        let error = frames.iter().find(|frame| frame.tag == 'E').map(|frame| frame.field(b'C'));
        assert!(matches!(error.as_deref(), Some("54000" | "42601" | "54001")), "{error:?} for {}", &text[..40]);
        assert_eq!(other.query("SELECT 1").unwrap(), ["1"]);
    }
}

/// Files under a directory that somebody else could read.
fn readable(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let found = entries.flat_map(|entry| match entry.metadata().unwrap() {
        metadata if metadata.is_dir() => readable(&entry.path()),
        metadata if metadata.mode().trailing_zeros() >= 6 => Vec::new(),
        _ => vec![entry.path()],
    });
    found.collect()
}

#[test]
fn files_in_a_state_directory_that_others_may_enter_are_the_owners_alone() {
    let db = TestDb::new("open_state");
    let state = tempfile::TempDir::new().unwrap();
    std::fs::set_permissions(state.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let proxy = Proxy::start_in(state, &db.dsn(), &db.name, Options::default());
    proxy.connect().query("SELECT email FROM customers WHERE id = 1").unwrap();
    // A key that verifies is for everybody, and standard output is written by whoever started the proxy.
    let mut open = readable(proxy.state.path());
    open.retain(|path| !path.ends_with("log/signing.pub") && !path.ends_with("stdout"));
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_long_pipeline_is_answered_in_full_and_others_are_served_beside_it() {
    const STATEMENTS: usize = 5000;
    let db = TestDb::new("long_pipeline");
    let proxy = Proxy::start(&db, Options { policy: Some(ALLOW_ALL), ..Options::default() });
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    let statements = (0..STATEMENTS).flat_map(|number| parse(&format!("s{number}"), "SELECT 1"));
    conn.send(&statements.chain(sync()).collect::<Vec<u8>>());
    assert_eq!(proxy.connect().query("SELECT 1").unwrap(), ["1"]);
    assert_eq!(conn.tags(), "1".repeat(STATEMENTS) + "ZI");
    // Each Bind names a statement of an older batch, and none is confirmed before the Sync.
    let runs = (0..STATEMENTS).flat_map(|number| [bind("", &format!("s{number}")), execute("", 0)].concat());
    conn.send(&runs.chain(sync()).collect::<Vec<u8>>());
    assert_eq!(proxy.connect().query("SELECT 1").unwrap(), ["1"]);
    assert_eq!(conn.tags(), "2DC".repeat(STATEMENTS) + "ZI");
}

#[test]
fn a_megabyte_of_values_and_a_million_terms_run() {
    let db = TestDb::new("megabyte");
    let proxy = Proxy::start(&db, Options { policy: Some(ALLOW_ALL), ..Options::default() });
    let client = proxy.connect();
    let values = ", 1".repeat(350_000);
    assert_eq!(client.query(&format!("SELECT count(*) FROM orders WHERE id IN (1{values})")).unwrap(), ["1"]);
    let terms = " OR id = 1".repeat(10_000);
    assert_eq!(client.query(&format!("SELECT count(*) FROM orders WHERE id = 1{terms}")).unwrap(), ["1"]);
}

/// Denies what reads the shop and what cannot be known.
const NONE_OF_THE_SHOP: &str = "version: 1\nrules:\n  \
    - { name: shop, match: { relation: \"*.*.*\" }, effect: deny }\n  \
    - { name: opaque, match: { kind: opaque }, effect: deny }\ndefault: allow\n";

#[test]
fn views_and_functions_that_double_with_every_level_leave_the_proxy_serving() {
    let db = TestDb::new("doubling");
    let functions = (1..=14).map(|level| {
        let below = level - 1;
        format!("CREATE FUNCTION f{level}() RETURNS text LANGUAGE sql AS 'SELECT f{below}() || f{below}()';")
    });
    let views = (1..=12).map(|level| {
        let below = level - 1;
        format!("CREATE VIEW v{level} AS SELECT x.id, x.a FROM v{below} x JOIN v{below} y USING (id);")
    });
    let first = "CREATE FUNCTION f0() RETURNS text LANGUAGE sql AS 'SELECT email FROM customers LIMIT 1';";
    let shown = "CREATE VIEW v0 AS SELECT id, f0() AS a FROM customers;";
    let made: Vec<String> =
        [first.to_owned()].into_iter().chain(functions).chain([shown.to_owned()]).chain(views).collect();
    let made = made.concat();
    db.direct(&made);
    // Postgres would plan these for ever: they must not come to it.
    let proxy = Proxy::start(&db, Options { policy: Some(NONE_OF_THE_SHOP), ..Options::default() });
    let client = proxy.connect();
    for sql in ["SELECT f14() WHERE false", "SELECT id FROM v12 WHERE false"] {
        assert_eq!(client.fails(sql).0, "42501", "{sql}");
        assert_eq!(client.query("SELECT 1").unwrap(), ["1"]);
    }
}

#[test]
fn a_client_that_asks_without_end_and_reads_late_is_answered_in_full_and_keeps_the_proxy_small() {
    let db = TestDb::new("pipeline_max");
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("holdgate.yaml");
    std::fs::write(&config, "limits: { pipeline_max: 50 }\n").unwrap();
    let arguments = ["--config", config.to_str().unwrap()];
    let proxy = Proxy::start(&db, Options { policy: Some(ALLOW_ALL), arguments: &arguments, ..Options::default() });
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    let one = [parse("", "SELECT 1"), bind("", ""), execute("", 0)].concat();
    // No Sync and no Flush: Postgres would keep its answers back until its buffer is full.
    let batch: Vec<u8> = one.iter().copied().cycle().take(one.len() * 1000).collect();
    conn.send(&[batch, sync()].concat());
    let tags = conn.tags();
    assert_eq!(tags, "12DC".repeat(1000) + "ZI");
}

#[test]
fn a_client_that_reads_nothing_is_let_go_in_time_and_holds_up_no_operator() {
    let db = TestDb::new("unread");
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("holdgate.yaml");
    std::fs::write(&config, "limits: { unread_max: 3s }\n").unwrap();
    let arguments = ["--config", config.to_str().unwrap()];
    let proxy = Proxy::start(&db, Options { policy: Some(ALLOW_ALL), arguments: &arguments, ..Options::default() });
    let large = "SELECT repeat('x', 100000) FROM generate_series(1, 10000)";
    let running = || {
        let active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT repeat%' \
                      AND datname = current_database()";
        db.direct(active).parse::<u32>().unwrap()
    };
    let mut never = Conn::session(&proxy.postgres, &db.name);
    never.send(&query(large));
    eventually("it runs", || (running() == 1).then_some(()));
    assert_eq!(proxy.connect().query("SELECT 1").unwrap(), ["1"]);
    eventually("its backend is free", || (running() == 0).then_some(()));
    drop(never);
    let mut killed = Conn::session(&proxy.postgres, &db.name);
    killed.send(&query(large));
    eventually("it runs", || (running() == 1).then_some(()));
    let sessions = proxy.admin("SHOW SESSIONS");
    proxy.admin(&format!("KILL '{}'", sessions.split('|').next().unwrap()));
    eventually("its backend is free", || (running() == 0).then_some(()));
}
