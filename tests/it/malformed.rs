//! Bad input ends that client alone, cleanly.

use crate::harness::conn::{Conn, frame, query, startup};
use crate::harness::{ALLOW_ALL, Options, Proxy, TestDb};

fn start(label: &str) -> (TestDb, Proxy) {
    let db = TestDb::new(label);
    let proxy = Proxy::start(&db, Options { policy: Some(ALLOW_ALL), ..Options::default() });
    (db, proxy)
}

fn others_are_served(proxy: &Proxy) {
    assert_eq!(proxy.connect().query("SELECT 1").unwrap(), ["1"]);
}

#[test]
fn garbage_and_oversized_start_up_packets_end_that_connection() {
    let (_db, proxy) = start("garbage");
    let oversized = [&20_000_u32.to_be_bytes()[..], &196_608_u32.to_be_bytes(), &[b'x'; 200]].concat();
    let no_terminator = [&13_u32.to_be_bytes()[..], &196_608_u32.to_be_bytes(), b"user\0"].concat();
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0; 8], vec![0xff; 64], oversized, no_terminator] {
        let mut conn = Conn::open(&proxy.postgres);
        conn.send(&bytes);
        if let Some(frame) = conn.frame() {
            assert_eq!((frame.tag, frame.field(b'C').as_str()), ('E', "08P01"));
        }
        assert!(conn.is_closed());
    }
    others_are_served(&proxy);
}

#[test]
fn an_old_protocol_and_repeated_parameters_are_refused() {
    let (db, proxy) = start("startup");
    let mut old = startup(&[("user", "postgres")]);
    old[4..8].copy_from_slice(&131_072_u32.to_be_bytes());
    for (bytes, code) in
        [(old, "0A000"), (startup(&[("user", "agent_trust"), ("database", &db.name), ("user", "postgres")]), "08P01")]
    {
        let mut conn = Conn::open(&proxy.postgres);
        conn.send(&bytes);
        assert_eq!(conn.frame().unwrap().field(b'C'), code);
        assert!(conn.is_closed());
    }
    others_are_served(&proxy);
}

#[test]
fn bytes_in_clear_behind_an_ssl_request_are_refused() {
    let (_db, proxy) = start("clear");
    let mut conn = Conn::open(&proxy.postgres);
    let request = [&8_u32.to_be_bytes()[..], &80_877_103_u32.to_be_bytes()].concat();
    conn.send(&[request, startup(&[("user", "postgres")])].concat());
    let frame = conn.frame().unwrap();
    assert_eq!(frame.field(b'C'), "08P01", "{frame:?}");
    assert!(conn.is_closed());
    others_are_served(&proxy);
}

#[test]
fn bytes_in_clear_behind_a_gss_request_are_refused() {
    let (db, proxy) = start("clear_gss");
    let request = [&8_u32.to_be_bytes()[..], &80_877_104_u32.to_be_bytes()].concat();
    let mut conn = Conn::open(&proxy.postgres);
    conn.send(&[request.clone(), startup(&[("user", "agent_trust"), ("database", &db.name)])].concat());
    let frame = conn.frame().unwrap();
    assert_eq!(frame.field(b'C'), "08P01", "{frame:?}");
    assert!(conn.is_closed());
    others_are_served(&proxy);
}

#[test]
fn a_user_without_a_name_is_told_so() {
    let (_db, proxy) = start("nameless");
    let mut conn = Conn::open(&proxy.postgres);
    conn.send(&startup(&[("user", "")]));
    assert_eq!(conn.frame().unwrap().field(b'C'), "28000");
    assert!(conn.is_closed());
}

#[test]
fn a_query_with_bytes_after_its_nul_is_one_error_and_no_second_query() {
    let (db, proxy) = start("smuggle");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    conn.send(&frame('Q', &[b"SELECT 1\0", &query("INSERT INTO orders VALUES (0, 1, 0)")[..]].concat()));
    let frames = conn.until('Z');
    assert_eq!(frames[0].field(b'C'), "08P01");
    conn.send(&query("SELECT 1"));
    assert_eq!(conn.tags(), "TDCZI");
    assert_eq!(db.direct("SELECT count(*) FROM orders WHERE id = 0"), "0");
}

#[test]
fn unknown_and_oversized_frames_end_that_session_with_08p01() {
    let (db, proxy) = start("frames");
    let huge = [&b"S"[..], &0x7fff_ffff_u32.to_be_bytes()].concat();
    let short = [&b"Q"[..], &3_u32.to_be_bytes()].concat();
    for bytes in [b"~~~~~~~~".to_vec(), huge, short] {
        let mut conn = Conn::session(&proxy.postgres, &db.name);
        conn.send(&bytes);
        let frame = conn.frame().unwrap();
        assert_eq!((frame.tag, frame.field(b'C').as_str()), ('E', "08P01"));
        assert!(conn.is_closed());
    }
    others_are_served(&proxy);
}

#[test]
fn a_truncated_frame_ends_with_its_client() {
    let (db, proxy) = start("truncated");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    conn.send(&[&b"Q"[..], &1000_u32.to_be_bytes(), b"SELECT"].concat());
    drop(conn);
    others_are_served(&proxy);
}

#[test]
fn a_statement_over_the_size_or_nesting_bound_is_54000_and_the_session_goes_on() {
    let db = TestDb::new("bounds");
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("holdgate.yaml");
    std::fs::write(&path, "limits: { statement_max: 64KiB }\n").unwrap();
    let arguments = ["--config", path.to_str().unwrap()];
    let proxy = Proxy::start(&db, Options { policy: Some(ALLOW_ALL), arguments: &arguments, ..Options::default() });
    let client = proxy.connect();
    let large = format!("SELECT '{}'", "x".repeat(70_000));
    let deep = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    for sql in [large, deep] {
        assert_eq!(client.fails(&sql).0, "54000");
        assert_eq!(client.query("SELECT 1").unwrap(), ["1"]);
    }
}

#[test]
fn an_unreachable_upstream_is_08001_and_names_it() {
    let db = TestDb::new("away");
    let proxy = Proxy::start_to("postgres://postgres@127.0.0.1:1/shop", "shop", Options::default());
    let mut conn = Conn::open(&proxy.postgres);
    conn.send(&startup(&[("user", "postgres"), ("database", "shop")]));
    let frame = conn.frame().unwrap();
    assert_eq!(frame.field(b'C'), "08001");
    assert!(frame.field(b'M').contains("127.0.0.1:1"), "{}", frame.field(b'M'));
    assert_eq!(proxy.api().request("GET", "/readyz", None).0, 503);
    assert_eq!(proxy.api().request("GET", "/livez", None).0, 200);
    drop(db);
}

#[test]
fn all_problems_of_a_configuration_come_at_once_and_nothing_starts() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("holdgate.yaml");
    std::fs::write(&path, "upstreams: 7\nlisten: nowhere\nhold: { wait: soon }\nunknown_key: 1\n").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_holdgate"))
        .args(["serve", "--config"])
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    for part in ["holdgate.yaml:1", "holdgate.yaml:2", "holdgate.yaml:3", "holdgate.yaml:4"] {
        assert!(said.contains(part), "{part} in {said}");
    }
}
