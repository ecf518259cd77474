//! The corners of start-up: what comes before the first query.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::conn::{Conn, Frame, frame, query, startup};
use crate::harness::{ALLOW_ALL, Client, DEADLINE, Options, Proxy, TestDb, eventually};
use crate::identity::{Home, verifier};

fn start(label: &str) -> (TestDb, Proxy) {
    let db = TestDb::new(label);
    let proxy = Proxy::start(&db, Options { policy: Some(ALLOW_ALL), ..Options::default() });
    (db, proxy)
}

/// All frames of a start-up, up to `ReadyForQuery` or the end.
fn frames(address: &str, packet: &[u8]) -> Vec<Frame> {
    let mut conn = Conn::open(address);
    conn.send(packet);
    conn.until('Z')
}

/// What differs between two connections by their nature.
fn comparable(frames: Vec<Frame>) -> Vec<Frame> {
    frames.into_iter().filter(|frame| frame.tag != 'K').collect()
}

fn with_version(mut packet: Vec<u8>, version: u32) -> Vec<u8> {
    packet[4..8].copy_from_slice(&version.to_be_bytes());
    packet
}

#[test]
fn an_error_behind_authentication_ok_is_passed_byte_for_byte() {
    let (db, proxy) = start("bytes");
    let direct = format!("127.0.0.1:{}", db.port);
    for options in ["-c work_mem=banana", "-c nosuch=1", "-c search_path=public"] {
        let packet = startup(&[("user", "postgres"), ("database", &db.name), ("options", options)]);
        let expected = comparable(frames(&direct, &packet));
        assert_eq!(comparable(frames(&proxy.postgres, &packet)), expected, "{options}");
    }
    let expected = frames(&direct, &startup(&[("user", "no_such_role"), ("database", &db.name)]));
    let through = frames(&proxy.postgres, &startup(&[("user", "no_such_role"), ("database", &db.name)]));
    assert_eq!(through, expected);
    assert!(!expected.last().unwrap().field(b'F').is_empty());
}

#[test]
fn newer_protocols_and_protocol_options_are_negotiated_as_the_server_does() {
    let (db, proxy) = start("versions");
    let direct = format!("127.0.0.1:{}", db.port);
    let plain = [("user", "postgres"), ("database", db.name.as_str())];
    let option = [plain[0], plain[1], ("_pq_.nosuch", "1")];
    for (version, pairs) in
        [(0x0003_0002, &plain[..]), (0x0003_270f, &plain[..]), (0x0003_0000, &option[..]), (0x0003_0002, &option[..])]
    {
        let packet = with_version(startup(pairs), version);
        let expected = comparable(frames(&direct, &packet));
        assert_eq!(comparable(frames(&proxy.postgres, &packet)), expected, "{version:x}");
        assert_eq!(expected[0].tag, 'v');
        let mut conn = Conn::open(&proxy.postgres);
        conn.send(&packet);
        conn.until('Z');
        conn.send(&query("SELECT 1"));
        assert_eq!(conn.tags(), "TDCZI");
    }
}

#[test]
fn a_principals_protocol_is_negotiated_by_the_proxy() {
    let db = TestDb::new("negotiate");
    let home =
        Home::new(&format!("principals: [{{ name: copilot, role: agent_trust, scram: '{}' }}]\n", verifier("x")));
    let proxy = home.start(&db, ALLOW_ALL);
    let pairs = [("user", "copilot"), ("database", db.name.as_str()), ("_pq_.nosuch", "1")];
    let packet = |version| with_version(startup(&pairs), version);
    for (version, answered) in [(0x0003_270f, 2), (0x0003_0000, 0)] {
        let mut conn = Conn::open(&proxy.postgres);
        conn.send(&packet(version));
        let frame = conn.frame().unwrap();
        let expected = [&[0, 3, 0, answered, 0, 0, 0, 1][..], b"_pq_.nosuch\0"].concat();
        assert_eq!((frame.tag, frame.body), ('v', expected));
        assert_eq!(conn.frame().unwrap().tag, 'R');
    }
}

#[test]
fn a_start_up_packet_of_nine_kilobytes_is_accepted() {
    let (db, proxy) = start("long");
    let options = format!("-c application_name={}", "x".repeat(9000));
    let packet = startup(&[("user", "postgres"), ("database", &db.name), ("options", &options)]);
    assert_eq!(frames(&proxy.postgres, &packet).last().unwrap().tag, 'Z');
}

#[test]
fn a_packet_without_a_length_ends_its_connection_without_a_word() {
    let (db, proxy) = start("no_length");
    let direct = format!("127.0.0.1:{}", db.port);
    let too_long = [20_000_u32.to_be_bytes(), 196_608_u32.to_be_bytes()].concat();
    // A driver that gives up at once sends the second.
    for packet in [too_long, frame('X', b""), vec![0; 8]] {
        for address in [&direct, &proxy.postgres] {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream.write_all(&packet).unwrap();
            let mut said = Vec::new();
            // Neither an error nor a reset.
            assert!(stream.read_to_end(&mut said).is_ok_and(|_| said.is_empty()), "{address}: {packet:?}: {said:?}");
        }
    }
    proxy.connect().query("SELECT 1").unwrap();
}

#[test]
fn a_start_up_byte_by_byte_works_and_one_that_never_ends_is_ended() {
    let db = TestDb::new("slow");
    let home = Home::new("auth: { timeout: 2s }\n");
    let proxy = home.start(&db, ALLOW_ALL);
    let mut conn = Conn::open(&proxy.postgres);
    for byte in startup(&[("user", "postgres"), ("database", &db.name)]) {
        conn.send(&[byte]);
    }
    assert_eq!(conn.until('Z').last().unwrap().tag, 'Z');
    // One silent, one that has begun, one that was asked for its password and says nothing.
    let silent = Conn::open(&proxy.postgres);
    let mut begun = Conn::open(&proxy.postgres);
    begun.send(&[0, 0, 0]);
    let mut asked = Conn::open(&proxy.postgres);
    asked.send(&startup(&[("user", "agent_scram"), ("database", &db.name)]));
    for mut conn in [silent, begun, asked] {
        assert!(conn.is_closed());
    }
    // A session that is in is not.
    conn.send(&query("SELECT 1"));
    assert_eq!(conn.tags(), "TDCZI");
}

#[test]
fn half_open_connections_are_bounded_and_others_come_in() {
    let db = TestDb::new("flood");
    let home = Home::new("limits: { unauthenticated_max: 10 }\n");
    let proxy = home.start(&db, ALLOW_ALL);
    let open = proxy.connect();
    let flood: Vec<_> = (0..2000)
        .map(|number| {
            let mut conn = Conn::open(&proxy.postgres);
            conn.send(if number % 2 == 0 { b"" } else { &[0, 0] });
            conn
        })
        .collect();
    let come_in = || Client::try_connect(&proxy.dsn("postgres")).ok();
    assert_eq!(eventually("a client comes in", come_in).query("SELECT 1").unwrap(), ["1"]);
    assert_eq!(open.query("SELECT 1").unwrap(), ["1"]);
    for mut conn in flood.into_iter().take(1900) {
        assert!(conn.is_closed());
    }
}

#[test]
fn a_flood_of_relayed_log_ins_leaves_no_more_backends_than_places() {
    let db = TestDb::new("backends");
    let home = Home::new("limits: { unauthenticated_max: 5 }\n");
    let proxy = home.start(&db, ALLOW_ALL);
    let packet = startup(&[("user", "agent_scram"), ("database", &db.name)]);
    let _flood: Vec<_> = (0..60)
        .map(|_| {
            let mut conn = Conn::open(&proxy.postgres);
            conn.send(&packet);
            conn
        })
        .collect();
    let count =
        format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND usename = 'agent_scram'", db.name);
    let come_in = || Client::try_connect(&proxy.dsn("postgres")).ok();
    assert_eq!(eventually("a client comes in", come_in).query("SELECT 1").unwrap(), ["1"]);
    eventually("their backends end", || db.direct(&count).parse::<u32>().is_ok_and(|count| count <= 5).then_some(()));
}
