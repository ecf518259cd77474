//! No value of a statement stands anywhere: a workload full of canaries, then everything that is kept is searched.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use crate::harness::conn::{Conn, execute, frame, parse, sync};
use crate::harness::{Options, Proxy, TestDb, eventually};

const POLICY: &str = "version: 1\nerrors: pass\ntags:\n  - { columns: [email], tag: user.contact.email }\n  - { columns: \
                      [last_name], tag: user.name }\nrules:\n  - { name: never, match: { tag: user.name }, effect: deny }\n  \
                      - { name: ask, match: { kind: [ddl, dcl] }, effect: hold, approve: { from: [dba], quorum: 1, \
                      expires: 30m } }\n  - { name: orders, match: { relation: \"*.orders\", kind: write }, effect: hold, \
                      approve: { from: [dba], quorum: 1, expires: 2s } }\ndefault: allow\n";

/// In every form in which it could be written down.
const CANARIES: &[&[u8]] = &[
    b"CANARY",
    b"canary",
    b"43414e415259",
    b"43414E415259",
    b"Q0FOQVJZ",
    b"NBTkFSW",
    b"DQU5BUl",
    b"C\\u0041NARY",
    b"73317331",
    b"7331733",
];

fn found_in(bytes: &[u8]) -> Option<&'static [u8]> {
    CANARIES.iter().copied().find(|canary| bytes.windows(canary.len()).any(|window| window == *canary))
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Nothing under the state directory holds a canary.
fn search(state: &Path) {
    let mut all = Vec::new();
    files(state, &mut all);
    assert!(all.iter().any(|path| path.ends_with("00000000.jsonl")), "{all:?}");
    for path in all.iter().filter(|path| !path.ends_with("policy.yaml")) {
        // A file can go between the two looks.
        let Ok(bytes) = fs::read(path) else { continue };
        if let Some(canary) = found_in(&bytes) {
            let at = bytes.windows(canary.len()).position(|window| window == canary).unwrap();
            let around = &bytes[at.saturating_sub(200)..(at + 60).min(bytes.len())];
            panic!("{}: {}", path.display(), String::from_utf8_lossy(around));
        }
    }
}

/// Statements that run, fail, or are refused; whichever, their values stay out.
const STATEMENTS: &[&str] = &[
    "SELECT 'CANARY', E'CAN\\101RY CANARY', U&'C\\0041NARY CANARY', $$CANARY$$, $t$CANARY$t$, 73317331 -- CANARY",
    "SELECT /* CANARY */ email FROM customers WHERE email = 'CANARY' OR city = $q$CANARY$q$",
    "SELECT '{\"k\": \"CANARY\"}'::jsonb, ARRAY['CANARY', 'x'], ROW('CANARY'), B'0', X'43414e415259'",
    "SELECT email, 'CANARY'::int FROM customers",
    "SELECT 'CANARY'::int",
    "SELECT CAST(email AS int) FROM customers WHERE id = 7 AND email <> 'CANARY'",
    "INSERT INTO customers VALUES (1, 'CANARY', 'CANARY', 'CANARY', 'CANARY')",
    "INSERT INTO customers (id, first_name) VALUES (73317331, 'CANARY')",
    "DO $$ BEGIN RAISE EXCEPTION 'CANARY %', 'CANARY' USING DETAIL = 'CANARY', HINT = 'CANARY'; END $$",
    "DO $$ BEGIN RAISE NOTICE 'CANARY'; END $$",
    "SELECT last_name FROM customers WHERE first_name = 'CANARY'",
    "SELECT is_no_column FROM customers WHERE city = 'x' AND 'CANARY",
    "SELECT \"unclosed CANARY",
    "SELECT 'CANARY' FROM",
    "SET application_name = 'it'",
    "SET standard_conforming_strings = off",
    "SELECT 'a\\'CANARY', 'b'",
    "SELECT 'a\\' CANARY \\'', email FROM customers LIMIT 1",
    "RESET standard_conforming_strings",
    "SELECT 'a\\', 'CANARY'",
    "SELECT set_config('my.x', 'CANARY', false)",
    "SET my.y = 'CANARY'",
    "NOTIFY here, 'CANARY'",
    "PREPARE p AS SELECT email FROM customers WHERE email = $1",
    "EXECUTE p('CANARY')",
    "DECLARE c CURSOR WITH HOLD FOR SELECT email FROM customers WHERE email <> 'CANARY'",
    "FETCH 1 FROM c",
    "COPY (SELECT 'CANARY') TO STDOUT",
    "SELECT 'a\u{2028}\n{\"v\":1,\"seq\":0}', 'CANARY'",
];

#[test]
fn no_value_of_a_statement_is_kept_anywhere() {
    let db = TestDb::new("canaries");
    let arguments = ["--diagnostics", "trace", "--hold-wait", "0s"];
    let mut proxy = Proxy::start(&db, Options { policy: Some(POLICY), arguments: &arguments, ..Options::default() });
    let client = proxy.connect();
    for sql in STATEMENTS {
        drop(client.query(sql));
    }
    drop(client.query("SELECT 'CANARY' FROM customers WHERE no_function('CANARY')"));
    extended(&proxy, &db.name);
    copies(&proxy);

    // Held: open, denied, expired, and withdrawn.
    assert_eq!(client.fails("CREATE TABLE held (a text DEFAULT 'CANARY', b int DEFAULT 73317331)").0, "57H01");
    let hold = proxy.api().wait_for_hold("held");
    assert!(hold["statement"].as_str().unwrap().contains("CANARY"), "an operator decides over the full text");
    search(proxy.state.path());
    let (status, _) = proxy.api().decide(hold["id"].as_str().unwrap(), "deny", "no");
    assert_eq!(status, 200);
    assert_eq!(client.fails("DELETE FROM orders WHERE total::text = 'CANARY'").0, "57H01");
    eventually("the holds on orders have expired", || {
        let (_, open) = proxy.api().request("GET", "/api/v1/holds?state=pending", None);
        (!open.contains("orders")).then_some(())
    });
    for path in ["/metrics", "/api/v1/holds", "/api/v1/events"] {
        let (status, body) = proxy.api().request("GET", path, None);
        assert_eq!((status, found_in(body.as_bytes())), (200, None), "{path}");
    }
    drop(client);
    proxy.signal("TERM");
    proxy.wait();
    for line in proxy.all_lines() {
        assert_eq!(found_in(line.as_bytes()), None, "{line}");
    }
    search(proxy.state.path());
    for format in ["jsonl", "openlineage"] {
        let (code, out, _) = proxy.holdgate(&["log", "export", "--format", format]);
        assert_eq!((code, found_in(out.as_bytes())), (0, None), "{format}");
        assert!(out.lines().count() > STATEMENTS.len());
    }
}

/// Parse, Bind with text and binary values, names, and bytes that are no text.
fn extended(proxy: &Proxy, database: &str) {
    let mut conn = Conn::session(&proxy.postgres, database);
    let bind = |portal: &str, statement: &str, format: u8, values: &[&[u8]]| {
        let mut body = [portal.as_bytes(), b"\0", statement.as_bytes(), b"\0\0\x01\0", &[format]].concat();
        body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
        for value in values {
            body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
            body.extend(*value);
        }
        body.extend(b"\0\0");
        frame('B', &body)
    };
    let by_email = "SELECT email FROM customers WHERE email = $1 AND city <> $2";
    for (sql, format, values) in [
        (by_email, 0, [&b"CANARY"[..], b"CANARY"]),
        (by_email, 1, [b"CANARY", b"CANARY\x01"]),
        ("SELECT $1::int, $2::text", 0, [b"CANARY", b"x"]),
        ("SELECT $1::int, $2::text", 1, [b"CANARY", b"x"]),
        ("SELECT $1::text, last_name FROM customers WHERE city = $2", 0, [b"CANARY", b"CANARY"]),
        ("INSERT INTO orders SELECT 0, 0, length($1::text || $2)", 0, [b"CANARY", b"CANARY"]),
    ] {
        let statement = parse("CANARY_statement", sql);
        let run = execute("CANARY_portal", 0);
        conn.send(&[statement, bind("CANARY_portal", "CANARY_statement", format, &values), run, sync()].concat());
        conn.tags();
        conn.send(&[frame('C', b"SCANARY_statement\0"), sync()].concat());
        conn.tags();
    }
    // Bytes that are no UTF-8, and a surrogate on its own.
    for sql in [
        &b"SELECT 'CANARY\xff\xfe'"[..],
        b"SELECT '\xed\xa0\x80 CANARY'",
        b"SELECT \xff\"CANARY\xff",
        b"SELECT $\xff$CANARY",
    ] {
        conn.send(&frame('Q', &[sql, b"\0"].concat()));
        conn.tags();
    }
    // A text with a zero byte in it is malformed.
    conn.send(&frame('Q', b"SELECT 1\0 'CANARY'\0"));
    conn.tags();
}

fn copies(proxy: &Proxy) {
    let client = proxy.connect();
    client.query("CREATE TEMP TABLE t (a text, b int)").ok();
    let good: Bytes = "CANARY\t1\n".into();
    let bad: Bytes = "CANARY\tCANARY\n".into();
    for data in [good, bad] {
        drop(client.wait(async {
            let sink = client.inner.copy_in("COPY customers (first_name, id) FROM STDIN").await?;
            let mut sink = std::pin::pin!(sink);
            futures_util::SinkExt::send(&mut sink, data).await?;
            sink.finish().await
        }));
    }
}

#[test]
fn a_password_is_on_no_card_and_in_no_record_in_any_mode() {
    for mode in ["masked", "hmac", "plain"] {
        let db = TestDb::new(&format!("secret_{mode}"));
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("holdgate.yaml");
        fs::write(&config, format!("log: {{ literals: {mode} }}\n")).unwrap();
        let arguments = ["--config", config.to_str().unwrap(), "--diagnostics", "trace"];
        let mut proxy =
            Proxy::start(&db, Options { policy: Some(POLICY), arguments: &arguments, ..Options::default() });
        let role = format!("bob_{mode}_{}", std::process::id());
        let api = proxy.api();
        let client = proxy.connect();
        let sql = format!("CREATE ROLE {role} LOGIN PASSWORD 'CANARY' VALID UNTIL '2031-02-03'");
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| client.query(&sql).unwrap());
            let hold = api.wait_for_hold(&role);
            let shown = format!("CREATE ROLE {role} LOGIN PASSWORD '?' VALID UNTIL '2031-02-03'");
            assert_eq!(hold["statement"], shown, "all of it but the secret");
            assert_eq!(found_in(hold.to_string().as_bytes()), None);
            assert_eq!(api.decide(hold["id"].as_str().unwrap(), "approve", "go").0, 200);
            asked.join().unwrap();
        });
        // What ran is what was sent.
        assert_eq!(
            db.direct(&format!("SELECT count(*) FROM pg_authid WHERE rolname = '{role}' AND rolpassword <> ''")),
            "1"
        );
        db.direct(&format!("DROP ROLE {role}"));
        let connection =
            "CREATE SUBSCRIPTION s CONNECTION 'host=db password=CANARY' PUBLICATION p WITH (connect = false)";
        let denied = api.decide_later("SUBSCRIPTION", "deny");
        assert_eq!(client.fails(connection).0, "42501");
        assert_eq!(found_in(denied.join().unwrap().to_string().as_bytes()), None);
        client.query("SELECT 'same', 'same', 'other'").unwrap();
        client.query("SELECT 42 AS literal").unwrap();
        // The driver sends both in the binary form of the types that the server describes.
        client
            .wait(client.inner.query("SELECT $1::text, $2::int4, $3::text", &[&"same", &42, &None::<String>]))
            .unwrap();
        let mut conn = Conn::session(&proxy.postgres, &db.name);
        let bound = frame('B', b"\0s\0\0\0\0\x02\0\0\0\x04same\0\0\0\x0242\0\0");
        conn.send(&[parse("s", "SELECT $1, $2"), bound, execute("", 0), sync()].concat());
        conn.tags();
        drop(client);
        proxy.signal("TERM");
        proxy.wait();
        for line in proxy.all_lines() {
            assert_eq!(found_in(line.as_bytes()), None, "{line}");
        }
        search(proxy.state.path());
        check_mode(mode, &proxy);
    }
}

fn check_mode(mode: &str, proxy: &Proxy) {
    let log = fs::read_to_string(proxy.state.path().join("log/00000000.jsonl")).unwrap();
    let line = log.lines().find(|line| line.contains("\"command\":\"SELECT\"")).unwrap();
    let text = serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    match mode {
        "masked" => assert_eq!(text, "SELECT '?', '?', '?'"),
        "plain" => assert_eq!(text, "SELECT 'same', 'same', 'other'"),
        _ => {
            let tags: Vec<_> = text.strip_prefix("SELECT ").unwrap().split(", ").collect();
            assert!(tags[0].starts_with("'?h:") && tags[0] == tags[1] && tags[0] != tags[2], "{text}");
            let record = |text: &str| -> serde_json::Value {
                let records = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
                let mut closed = records.filter(|record| record["event"] == "closed");
                closed.find(|record| record["text"].as_str().unwrap().starts_with(text)).unwrap()
            };
            let same = tags[0].trim_matches('\'');
            let number = record("SELECT ?h:")["text"].as_str().unwrap().split(' ').nth(1).unwrap().to_owned();
            let bound = record("SELECT $1::text")["parameters"].clone();
            assert_eq!(bound, serde_json::json!([same, number, "NULL"]), "binary, of described types");
            assert_eq!(record("SELECT $1, $2")["parameters"], serde_json::json!([same, number]), "text");
        }
    }
}

/// The proxy's own words, as long as they come.
trait AllLines {
    fn all_lines(&self) -> Vec<String>;
}

impl AllLines for Proxy {
    fn all_lines(&self) -> Vec<String> {
        std::iter::from_fn(|| self.next_line(Duration::from_millis(500))).collect()
    }
}
