//! The same wire script gives the same frames from Postgres and through the proxy, however its bytes are cut.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::harness::conn::{Conn, Frame, startup};
use crate::harness::transcript::{self, Line, Step};
use crate::harness::{ALLOW_ALL, Options, Proxy, TestDb};

/// How the bytes of a batch reach the proxy.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    EachByte,
}

fn same_as_directly(label: &str, options: Options<'_>, cut: Cut) {
    let db = TestDb::new(label);
    let proxy = Proxy::start(&db, options);
    let direct = format!("127.0.0.1:{}", db.port);
    let mut different = Vec::new();
    for ((name, bare), (_, served)) in scripts(&db.name, 0).into_iter().zip(scripts(&db.name, 1)) {
        let expected = replies(&direct, &db.name, &bare, Cut::Whole);
        let found = replies(&proxy.postgres, &db.name, &served, cut);
        let differs = expected.iter().zip(&found).find(|(expected, found)| expected != found);
        different.extend(differs.map(|(expected, found)| {
            format!("{name}, line {}:\n  direct  {:?}\n  through {:?}", expected.0, expected.1, found.1)
        }));
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

const OBSERVING: Options<'_> = Options { observe: true, policy: None, arguments: &[] };
const ALLOWING: Options<'_> = Options { observe: false, policy: Some(ALLOW_ALL), arguments: &[] };

#[test]
fn scripts_get_the_frames_of_postgres_in_observe_mode() {
    same_as_directly("wire_observe", OBSERVING, Cut::Whole);
}

#[test]
fn scripts_get_the_frames_of_postgres_where_all_is_allowed() {
    same_as_directly("wire_enforce", ALLOWING, Cut::Whole);
}

#[test]
fn scripts_that_come_byte_by_byte_get_the_frames_of_postgres_in_observe_mode() {
    same_as_directly("wire_bytes_observe", OBSERVING, Cut::EachByte);
}

#[test]
fn scripts_that_come_byte_by_byte_get_the_frames_of_postgres_where_all_is_allowed() {
    same_as_directly("wire_bytes_enforce", ALLOWING, Cut::EachByte);
}

/// All scripts; `$DATABASE` in them is the test's own, `$RUN` is another name in each run.
fn scripts(database: &str, run: usize) -> Vec<(String, Vec<Line>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wire");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = paths
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(path).unwrap();
            let text = text.replace("$DATABASE", database).replace("$RUN", &format!("{database}_{run}"));
            (name, transcript::read(&text))
        })
        .collect();
    found.sort_by(|left, right| left.0.cmp(&right.0));
    assert!(found.len() > 5, "the scripts are in fixtures/wire");
    found
}

/// Runs a script; what each of its reads got, with the line of the read.
fn replies(address: &str, database: &str, script: &[Line], cut: Cut) -> Vec<(usize, Vec<String>)> {
    let mut conns: BTreeMap<char, Conn> = BTreeMap::new();
    let mut keys: BTreeMap<char, Vec<u8>> = BTreeMap::new();
    let mut waiting: BTreeMap<char, Vec<u8>> = BTreeMap::new();
    let mut heard = Vec::new();
    for line in script {
        match &line.step {
            Step::Ask(packet) => {
                let mut conn = Conn::open(address);
                conn.send(packet);
                // Whether it encrypts is each server's own affair; one that does is called anew, as by a client that
                // does not want it.
                if conn.byte() == Some(b'N') {
                    conns.insert(line.conn, conn);
                }
                continue;
            }
            Step::Startup(packet) => {
                let mut conn = conns.remove(&line.conn).unwrap_or_else(|| Conn::open(address));
                conn.send(packet);
                conns.insert(line.conn, conn);
                continue;
            }
            Step::Cancel(whose) => {
                let mut conn = Conn::open(address);
                let body = [&80_877_102_u32.to_be_bytes()[..], &keys[whose]].concat();
                conn.send(&[&u32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], &body].concat());
                assert!(conn.is_closed());
                continue;
            }
            Step::Send(_) | Step::Read(..) => {}
        }
        let conn = conns.entry(line.conn).or_insert_with(|| {
            let mut conn = Conn::open(address);
            conn.send(&startup(&[("user", "postgres"), ("database", database), ("application_name", "wire")]));
            heard.push((line.number, read(&mut conn, Some('Z'), 1, keys.entry(line.conn).or_default())));
            conn
        });
        match &line.step {
            Step::Startup(_) | Step::Ask(_) | Step::Cancel(_) => {}
            Step::Send(bytes) => waiting.entry(line.conn).or_default().extend(bytes),
            Step::Read(tag, count) => {
                send(conn, &waiting.remove(&line.conn).unwrap_or_default(), cut);
                let frames = read(conn, *tag, *count, keys.entry(line.conn).or_default());
                let whole =
                    tag.is_none_or(|tag| frames.iter().filter(|frame| frame.starts_with(tag)).count() >= *count);
                heard.push((line.number, frames));
                if !whole {
                    // What never came is not waited for again.
                    return heard;
                }
            }
        }
    }
    assert!(waiting.is_empty(), "a script ends with messages that nobody reads the answer to");
    heard
}

fn send(conn: &mut Conn, bytes: &[u8], cut: Cut) {
    match cut {
        Cut::Whole => conn.send(bytes),
        Cut::EachByte => bytes.iter().for_each(|byte| conn.send(&[*byte])),
    }
}

/// Frames as they are compared; the key to cancel by is kept where one comes.
fn read(conn: &mut Conn, tag: Option<char>, count: usize, key: &mut Vec<u8>) -> Vec<String> {
    let mut frames = Vec::new();
    match tag {
        Some(tag) => (0..count).for_each(|_| frames.extend(conn.until(tag))),
        None => frames.extend(std::iter::from_fn(|| conn.frame())),
    }
    if let Some(data) = frames.iter().find(|frame| frame.tag == 'K') {
        key.clone_from(&data.body);
    }
    frames.iter().filter(|frame| !is_keepalive(frame)).map(shown).collect()
}

/// A frame without what differs between any two sessions: process ids, cancel keys, oids of tables, temporary schemas.
fn shown(frame: &Frame) -> String {
    let body = match frame.tag {
        'K' => b"process and key".to_vec(),
        // A salt, a nonce.
        'R' if matches!(frame.body[3], 5 | 11) => frame.body[..4].to_vec(),
        'A' => frame.body[4..].to_vec(),
        'T' => without_table_oids(&frame.body),
        _ => frame.body.clone(),
    };
    let text = format!("{} {}", frame.tag, body.escape_ascii());
    let mut parts = text.split("pg_temp_");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |shown, part| shown + "pg_temp_" + part.trim_start_matches(|digit: char| digit.is_ascii_digit()))
}

/// A walsender says that it is there, whenever it likes.
fn is_keepalive(frame: &Frame) -> bool {
    frame.tag == 'd' && frame.body.len() == 18 && frame.body[0] == b'k'
}

/// `RowDescription`: each column is its name, then the oid of its table, then 14 bytes more.
fn without_table_oids(body: &[u8]) -> Vec<u8> {
    let mut shown = body[..2].to_vec();
    let mut rest = &body[2..];
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        shown.extend(&rest[..=end]);
        shown.push(u8::from(rest[end + 1..end + 5] != [0; 4]));
        shown.extend(&rest[end + 5..end + 19]);
        rest = &rest[end + 19..];
    }
    shown
}

/// What a client sends, by name: every message of the protocol, versions 3.0 and 3.2, but for the tokens of GSSAPI.
fn sent(step: &Step) -> Option<String> {
    let code = |packet: &[u8]| u32::from_be_bytes(packet[4..8].try_into().unwrap());
    Some(match step {
        Step::Ask(packet) | Step::Startup(packet) => match code(packet) {
            80_877_103 => "SSLRequest".to_owned(),
            80_877_104 => "GSSENCRequest".to_owned(),
            version => format!("StartupMessage {}.{}", version >> 16, version & 0xffff),
        },
        Step::Cancel(_) => "CancelRequest".to_owned(),
        // Describe and Close are two messages each.
        Step::Send(bytes) if matches!(bytes[0], b'D' | b'C') && matches!(bytes[5], b'S' | b'P') => {
            format!("{} {}", char::from(bytes[0]), char::from(bytes[5]))
        }
        Step::Send(bytes) => char::from(bytes[0]).to_string(),
        Step::Read(..) => return None,
    })
}

/// What a server answers, by name: an authentication request and `ReadyForQuery` with what they say.
fn answered(frame: &str) -> String {
    let said = |prefix: &str| frame.strip_prefix(prefix).map(|body| body.chars().take(16).collect::<String>());
    match frame.chars().next().unwrap() {
        'R' => format!("R {}", said("R ").unwrap()),
        'Z' => frame.to_owned(),
        tag => tag.to_string(),
    }
}

#[test]
fn the_scripts_show_every_message_of_the_protocol_in_both_directions() {
    let db = TestDb::new("wire_covered");
    let direct = format!("127.0.0.1:{}", db.port);
    let (mut asked, mut heard) = (BTreeSet::new(), BTreeSet::new());
    for (_, script) in scripts(&db.name, 0) {
        asked.extend(script.iter().filter_map(|line| sent(&line.step)));
        let frames = replies(&direct, &db.name, &script, Cut::Whole).into_iter().flat_map(|(_, frames)| frames);
        heard.extend(frames.map(|frame| answered(&frame)));
    }
    let frontend = [
        "StartupMessage 3.0",
        "StartupMessage 3.2",
        "SSLRequest",
        "GSSENCRequest",
        "CancelRequest",
        "p",
        "Q",
        "P",
        "B",
        "D S",
        "D P",
        "E",
        "C S",
        "C P",
        "F",
        "d",
        "c",
        "f",
        "H",
        "S",
        "X",
    ];
    let backend = [
        // AuthenticationOk, CleartextPassword, MD5Password, SASL, SASLContinue.
        r"R \x00\x00\x00\x00",
        r"R \x00\x00\x00\x03",
        r"R \x00\x00\x00\x05",
        r"R \x00\x00\x00\n",
        r"R \x00\x00\x00\x0b",
        // BackendKeyData, ParseComplete, BindComplete, CloseComplete, CommandComplete, EmptyQueryResponse.
        "K",
        "1",
        "2",
        "3",
        "C",
        "I",
        // CopyData, CopyDone, CopyInResponse, CopyOutResponse, CopyBothResponse.
        "d",
        "c",
        "G",
        "H",
        "W",
        // DataRow, RowDescription, NoData, ParameterDescription, PortalSuspended, FunctionCallResponse.
        "D",
        "T",
        "n",
        "t",
        "s",
        "V",
        // ErrorResponse, NoticeResponse, NotificationResponse, ParameterStatus, NegotiateProtocolVersion.
        "E",
        "N",
        "A",
        "S",
        "v",
        "Z I",
        "Z T",
        "Z E",
    ];
    let heard: BTreeSet<String> = heard.iter().map(|name| name.get(..18).unwrap_or(name).to_owned()).collect();
    let missing = |all: &[&str], shown: &BTreeSet<String>| -> Vec<String> {
        all.iter()
            .filter(|name| !shown.iter().any(|shown| shown.starts_with(**name)))
            .map(|name| (*name).to_owned())
            .collect()
    };
    assert_eq!(missing(&frontend, &asked), Vec::<String>::new(), "sent: {asked:?}");
    assert_eq!(missing(&backend, &heard), Vec::<String>::new(), "answered: {heard:?}");
}
