//! Replication connections are a way in like any other: their commands are judged, held, refused and written down, and
//! what is allowed streams as it does directly.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::conn::{Conn, execute, flush, frame, parse, query, startup, sync};
use crate::harness::{ALLOW_ALL, Options, Proxy, TestDb, eventually};

/// Replication may go on, and no more than a little of it.
const LIMITED: &str = "version: 1\nrules:\n  \
    - { name: little, match: { kind: export }, effect: allow, limits: { bytes: 2KiB, on_limit: deny } }\n\
    default: allow\n";

/// Everything is allowed, and addresses are known for what they are.
const TAGGED: &str =
    "version: 1\ntags:\n  - { columns: [email], tag: user.contact.email }\nrules: []\ndefault: allow\n";

fn start(label: &str, policy: Option<&str>) -> (TestDb, Proxy) {
    let db = TestDb::new(label);
    let proxy = Proxy::start(&db, Options { policy, ..Options::default() });
    (db, proxy)
}

fn walsender(address: &str, database: &str, replication: &str) -> Conn {
    let mut conn = Conn::open(address);
    conn.send(&startup(&[("user", "postgres"), ("database", database), ("replication", replication)]));
    let frames = conn.until('Z');
    assert!(frames.iter().any(|frame| frame.tag == 'K'), "{frames:?}");
    conn
}

/// The SQLSTATE that a text gets.
fn fails(conn: &mut Conn, text: &str) -> String {
    conn.send(&query(text));
    let frames = conn.until('Z');
    let error = frames.iter().find(|frame| frame.tag == 'E').unwrap_or_else(|| panic!("{text}: {frames:?}"));
    error.field(b'C')
}

fn rows(conn: &mut Conn, text: &str) -> usize {
    conn.send(&query(text));
    let frames = conn.until('Z');
    assert!(!frames.iter().any(|frame| frame.tag == 'E'), "{text}: {frames:?}");
    frames.iter().filter(|frame| frame.tag == 'D').count()
}

/// The closing record of a command, once it is there.
fn record(proxy: &Proxy, command: &str) -> Value {
    eventually(&format!("a closing record of {command}"), || {
        let (_, lines, _) = proxy.holdgate(&["log", "query", "--format", "jsonl"]);
        let records = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.into_iter().find(|record| record["command"] == command && record["event"] == "closed")
    })
}

/// Makes a slot directly, and something for it to carry.
fn slot(db: &TestDb, rows: u32) -> String {
    let slot = format!("s_{}", db.name);
    db.direct(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')"));
    db.direct(&format!("UPDATE customers SET email = email || '.org' WHERE id <= {rows}"));
    slot
}

fn drop_slot(db: &TestDb, slot: &str) {
    eventually("the slot is free", || {
        let free =
            db.direct(&format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{slot}' AND active"));
        (free == "0").then_some(())
    });
    db.direct(&format!("SELECT pg_drop_replication_slot('{slot}')"));
}

#[test]
fn the_shipped_policy_holds_whatever_streams_or_keeps_the_log_and_lets_questions_pass() {
    let (db, proxy) = start("repl_held", None);
    let mut conn = walsender(&proxy.postgres, &db.name, "database");
    assert_eq!(rows(&mut conn, "IDENTIFY_SYSTEM"), 1);
    for text in [
        "CREATE_REPLICATION_SLOT held_slot LOGICAL test_decoding",
        "DROP_REPLICATION_SLOT held_slot",
        "START_REPLICATION SLOT held_slot LOGICAL 0/0",
        "BASE_BACKUP ( LABEL 'x' )",
    ] {
        let decided = proxy.api().decide_later(text.split(' ').next().unwrap(), "deny");
        assert_eq!(fails(&mut conn, text), "42501", "{text}");
        let hold = decided.join().unwrap();
        assert_eq!(hold["command"], text.split(' ').next().unwrap(), "{hold}");
        assert_eq!(rows(&mut conn, "SHOW work_mem"), 1, "after {text}");
    }
    assert_eq!(db.direct("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'held_slot'"), "0");
}

#[test]
fn a_physical_connection_is_refused_and_goes_on() {
    let (db, proxy) = start(
        "repl_physical",
        Some(
            "version: 1\nrules:\n  \
        - { name: none, match: { kind: [export, call] }, effect: deny }\ndefault: allow\n",
        ),
    );
    let mut conn = walsender(&proxy.postgres, &db.name, "true");
    for text in ["START_REPLICATION 0/1000000", "BASE_BACKUP", "CREATE_REPLICATION_SLOT denied_slot PHYSICAL"] {
        assert_eq!(fails(&mut conn, text), "42501", "{text}");
        assert_eq!(rows(&mut conn, "IDENTIFY_SYSTEM"), 1, "after {text}");
    }
    assert_eq!(fails(&mut conn, "SELECT 1"), "0A000");
}

#[test]
fn a_held_stream_shows_the_tagged_columns_and_its_record_says_how_much_left() {
    let (db, proxy) = start("repl_card", None);
    let slot = slot(&db, 20);
    let mut conn = walsender(&proxy.postgres, &db.name, "database");
    let decided = proxy.api().decide_later("START_REPLICATION", "approve");
    conn.send(&query(&format!("START_REPLICATION SLOT \"{slot}\" LOGICAL 0/0")));
    assert_eq!(conn.until('W').last().unwrap().tag, 'W');
    let hold = decided.join().unwrap();
    assert!(hold["columns"]["public.customers.email"]["tags"][0] == "user.contact.email", "{hold}");
    assert_eq!(hold["kinds"], serde_json::json!(["export"]), "{hold}");
    let mut changes = 0;
    while changes < 20 {
        let data = conn.until('d').pop().unwrap();
        changes += usize::from(data.body[0] == b'w' && String::from_utf8_lossy(&data.body).contains("UPDATE"));
    }
    conn.send(&frame('c', b""));
    assert_eq!(conn.until('Z').last().unwrap().body, b"I");
    let record = record(&proxy, "START_REPLICATION");
    assert_eq!(record["outcome"], "complete", "{record}");
    assert!(record["rows"].as_u64().unwrap() >= 20 && record["bytes"].as_u64().unwrap() > 1000, "{record}");
    assert!(record["columns"].to_string().contains("public.customers.email"), "{record}");
    drop_slot(&db, &slot);
}

#[test]
fn a_client_that_goes_away_in_mid_stream_leaves_a_record_with_what_left() {
    let (db, proxy) = start("repl_gone", Some(ALLOW_ALL));
    let slot = slot(&db, 5);
    let mut conn = walsender(&proxy.postgres, &db.name, "database");
    conn.send(&query(&format!("START_REPLICATION SLOT \"{slot}\" LOGICAL 0/0")));
    conn.until('d');
    drop(conn);
    let record = record(&proxy, "START_REPLICATION");
    assert!(record["rows"].as_u64().unwrap() >= 1, "{record}");
    drop_slot(&db, &slot);
}

#[test]
fn a_stream_that_crosses_its_limit_ends_with_its_connection() {
    let (db, proxy) = start("repl_limit", Some(LIMITED));
    let slot = slot(&db, 100);
    let mut conn = walsender(&proxy.postgres, &db.name, "database");
    conn.send(&query(&format!("START_REPLICATION SLOT \"{slot}\" LOGICAL 0/0")));
    let frames: Vec<_> = std::iter::from_fn(|| conn.frame()).collect();
    assert_eq!(frames.last().unwrap().field(b'C'), "53400", "{frames:?}");
    let bytes: usize = frames.iter().filter(|frame| frame.tag == 'd').map(|frame| frame.body.len() + 5).sum();
    assert!(bytes <= 2048, "{bytes}");
    drop_slot(&db, &slot);
}

#[test]
fn plain_sql_on_a_replication_connection_is_judged_like_any_other() {
    let (db, proxy) = start("repl_sql", None);
    let mut conn = walsender(&proxy.postgres, &db.name, "database");
    assert_eq!(rows(&mut conn, "SELECT id FROM orders LIMIT 3"), 3);
    let decided = proxy.api().decide_later("SELECT email FROM customers", "deny");
    assert_eq!(fails(&mut conn, "SELECT email FROM customers"), "42501");
    decided.join().unwrap();
    assert_eq!(rows(&mut conn, "BEGIN; SELECT 1"), 1);
    let decided = proxy.api().decide_later("DROP TABLE orders", "deny");
    assert_eq!(fails(&mut conn, "DROP TABLE orders"), "42501");
    decided.join().unwrap();
    assert_eq!(fails(&mut conn, "SELECT 1"), "25P02");
    conn.send(&query("ROLLBACK"));
    assert_eq!(conn.tags(), "CZI");
}

#[test]
fn nothing_is_asked_between_begin_and_the_first_command_nor_while_a_snapshot_is_exported() {
    let (db, proxy) = start("repl_snapshot", Some(ALLOW_ALL));
    let mut conn = walsender(&proxy.postgres, &db.name, "database");
    assert_eq!(rows(&mut conn, "BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ"), 0);
    let used = format!("CREATE_REPLICATION_SLOT u_{} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'use')", db.name);
    assert_eq!(rows(&mut conn, &used), 1);
    assert_eq!(rows(&mut conn, "SELECT id FROM customers LIMIT 2"), 2);
    assert_eq!(rows(&mut conn, "COMMIT"), 0);
    conn.send(&query(&format!("CREATE_REPLICATION_SLOT e_{} TEMPORARY LOGICAL pgoutput", db.name)));
    let made = conn.until('Z').into_iter().find(|frame| frame.tag == 'D').unwrap();
    let made = String::from_utf8_lossy(&made.body).into_owned();
    let snapshot = made.split(|c: char| !c.is_ascii_hexdigit() && c != '-').find(|part| part.matches('-').count() == 2);
    db.direct(&format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '{}'; SELECT 1",
        snapshot.unwrap_or_else(|| panic!("{made:?}"))
    ));
}

#[test]
fn the_extended_protocol_is_refused_in_the_words_of_the_server() {
    let (db, proxy) = start("repl_extended", None);
    let mut conn = walsender(&proxy.postgres, &db.name, "database");
    conn.send(&[parse("", "DROP TABLE orders"), execute("", 0), flush(), sync()].concat());
    let frames = conn.until('Z');
    assert_eq!(frames[0].field(b'M'), "extended query protocol not supported in a replication connection");
    assert_eq!(frames.len(), 2, "{frames:?}");
    assert_eq!(rows(&mut conn, "SHOW work_mem"), 1);
}

#[test]
fn a_drain_and_an_operator_end_a_stream() {
    let (db, mut proxy) = start("repl_ends", Some(ALLOW_ALL));
    let slot = slot(&db, 1);
    let begin = |proxy: &Proxy| {
        let mut conn = walsender(&proxy.postgres, &db.name, "database");
        conn.send(&query(&format!("START_REPLICATION SLOT \"{slot}\" LOGICAL 0/0")));
        assert_eq!(conn.until('W').last().unwrap().tag, 'W');
        conn
    };
    let last = |conn: &mut Conn| std::iter::from_fn(|| conn.frame()).last().unwrap().field(b'C');
    let mut conn = begin(&proxy);
    let session = proxy.admin("SHOW SESSIONS").split('|').next().unwrap().to_owned();
    proxy.admin(&format!("KILL '{session}'"));
    assert_eq!(last(&mut conn), "57P01");
    eventually("the slot is free", || {
        (db.direct(&format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}'")) == "f").then_some(())
    });
    let mut conn = begin(&proxy);
    proxy.signal("TERM");
    assert_eq!(last(&mut conn), "57P01");
    proxy.wait();
    drop_slot(&db, &slot);
}

/// One of the programs that come with the server.
fn tool(proxy: &Proxy, program: &str, arguments: &[&str]) -> Output {
    let (host, port) = proxy.postgres.split_once(':').unwrap();
    Command::new(program)
        .args(["-h", host, "-p", port, "-U", "postgres", "--no-password"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

#[test]
fn the_programs_of_the_server_work_where_all_is_allowed_and_fail_where_a_rule_denies() {
    let (db, proxy) = start("repl_tools", Some(ALLOW_ALL));
    let denying = Proxy::start(
        &db,
        Options {
            policy: Some(
                "version: 1\nrules:\n  - { name: none, match: { kind: [export, call] }, effect: deny }\ndefault: allow\n",
            ),
            ..Options::default()
        },
    );
    let folder = tempfile::TempDir::new().unwrap();
    let folder = folder.path().to_str().unwrap();
    let slot = format!("t_{}", db.name);
    // What was committed may not be written yet; something behind it takes the writer past it.
    let end = |db: &TestDb| {
        let end = db.direct("SELECT pg_current_wal_insert_lsn()");
        db.direct("SELECT pg_logical_emit_message(false, 'end', '')");
        end
    };
    let (from_database, of_slot) = (["-d", &db.name], ["-S", &slot]);
    let create = [&from_database[..], &of_slot, &["--create-slot", "-P", "test_decoding"]].concat();
    assert!(!tool(&denying, "pg_recvlogical", &create).status.success());
    let made = tool(&proxy, "pg_recvlogical", &create);
    assert!(made.status.success(), "{made:?}");
    db.direct("UPDATE customers SET email = 'streamed@example.org' WHERE id = 1");
    let until = end(&db);
    let begin = [&from_database[..], &of_slot, &["--start", "-n", "-f", "-", "--endpos", &until]].concat();
    assert!(!tool(&denying, "pg_recvlogical", &begin).status.success());
    let streamed = tool(&proxy, "pg_recvlogical", &begin);
    assert!(String::from_utf8_lossy(&streamed.stdout).contains("streamed@example.org"), "{streamed:?}");
    let dropped = tool(&proxy, "pg_recvlogical", &[&from_database[..], &of_slot, &["--drop-slot"]].concat());
    assert!(dropped.status.success(), "{dropped:?}");

    let until = end(&db);
    let receive = ["-D", folder, "-n", "--endpos", &until];
    assert!(!tool(&denying, "pg_receivewal", &receive).status.success());
    let received = tool(&proxy, "pg_receivewal", &receive);
    assert!(received.status.success(), "{received:?}");

    let backup = ["-D", "-", "-F", "t", "-X", "none", "-c", "fast"];
    assert!(!tool(&denying, "pg_basebackup", &backup).status.success());
    let backup = tool(&proxy, "pg_basebackup", &backup);
    assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
    assert!(backup.stdout.len() > 1 << 20);
    let record = record(&proxy, "BASE_BACKUP");
    assert!(record["bytes"].as_u64().unwrap() >= u64::try_from(backup.stdout.len()).unwrap(), "{record}");
}

#[test]
fn a_stream_is_tagged_with_its_publications_where_these_bind_it_and_with_the_database_elsewhere() {
    let (db, proxy) = start("repl_published", Some(TAGGED));
    let name = &db.name;
    db.direct(
        "CREATE PUBLICATION of_orders FOR TABLE orders; CREATE PUBLICATION of_names FOR TABLE customers (id, city) \
         WHERE (id > 5); CREATE PUBLICATION \"All\" FOR ALL TABLES",
    );
    for (slot, plugin) in [("o", "pgoutput"), ("t", "test_decoding")] {
        db.direct(&format!("SELECT pg_create_logical_replication_slot('{slot}_{name}', '{plugin}')"));
    }
    let mail = "public.customers.email";
    let cases = [
        ("o", "of_orders", "public.orders", false),
        ("o", "of_names,OF_ORDERS", "public.customers", false),
        ("o", "of_orders,\"All\"", "public.customers", true),
        ("o", "of_orders,nobodys", "public.customers", true),
        ("t", "of_orders", "public.customers", true),
    ];
    for (slot, publications, carries, reveals_mail) in cases {
        let text = format!(
            "START_REPLICATION SLOT {slot}_{name} LOGICAL 0/0 (proto_version '1', publication_names '{publications}')"
        );
        let explained = stream_of(&db, &proxy, &text);
        assert_eq!(explained["columns"].to_string().contains(mail), reveals_mail, "{publications}: {explained}");
        assert!(explained["relations"].to_string().contains(carries), "{publications}: {explained}");
    }
    for slot in ["o", "t"] {
        drop_slot(&db, &format!("{slot}_{name}"));
    }
}

/// The record of a stream that its client leaves at once.
fn stream_of(db: &TestDb, proxy: &Proxy, text: &str) -> Value {
    let records = || {
        let (_, lines, _) = proxy.holdgate(&["log", "query", "--format", "jsonl"]);
        let all = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let closed = |line: &Value| line["command"] == "START_REPLICATION" && line["event"] == "closed";
        all.filter(closed).collect::<Vec<_>>()
    };
    let before = records().len();
    let mut conn = walsender(&proxy.postgres, &db.name, "database");
    conn.send(&query(text));
    let _answered = conn.frame();
    drop(conn);
    eventually("another record", || {
        let mut now = records();
        // The newest stands last.
        now.pop().filter(|_| now.len() >= before)
    })
}
