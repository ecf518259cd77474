//! The same wire script gives the same frames from Postgres and through the proxy, however its bytes are cut.

use std::collections::BTreeMap;
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

fn same_as_directly(label: &str, options: Options<'_>) {
    let db = TestDb::new(label);
    let proxy = Proxy::start(&db, options);
    let direct = format!("127.0.0.1:{}", db.port);
    let mut different = Vec::new();
    for (name, script) in scripts(&db.name) {
        let expected = replies(&direct, &db.name, &script, Cut::Whole);
        for cut in [Cut::Whole, Cut::EachByte] {
            let found = replies(&proxy.postgres, &db.name, &script, cut);
            let differs = expected.iter().zip(&found).find(|(expected, found)| expected != found);
            different.extend(differs.map(|(expected, found)| {
                format!("{name}, {cut:?}, line {}:\n  direct  {:?}\n  through {:?}", expected.0, expected.1, found.1)
            }));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn scripts_get_the_frames_of_postgres_in_observe_mode() {
    same_as_directly("wire_observe", Options { observe: true, ..Options::default() });
}

#[test]
fn scripts_get_the_frames_of_postgres_where_all_is_allowed() {
    same_as_directly("wire_enforce", Options { policy: Some(ALLOW_ALL), ..Options::default() });
}

/// All scripts; `$DATABASE` in them is the test's own.
fn scripts(database: &str) -> Vec<(String, Vec<Line>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wire");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = paths
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, transcript::read(&std::fs::read_to_string(path).unwrap().replace("$DATABASE", database)))
        })
        .collect();
    found.sort_by(|left, right| left.0.cmp(&right.0));
    assert!(found.len() > 5, "the scripts are in fixtures/wire");
    found
}

/// Runs a script; what each of its reads got, with the line of the read.
fn replies(address: &str, database: &str, script: &[Line], cut: Cut) -> Vec<(usize, Vec<String>)> {
    let mut conns: BTreeMap<char, Conn> = BTreeMap::new();
    let mut waiting: BTreeMap<char, Vec<u8>> = BTreeMap::new();
    let mut heard = Vec::new();
    for line in script {
        if let Step::Startup(packet) = &line.step {
            let mut conn = Conn::open(address);
            conn.send(packet);
            conns.insert(line.conn, conn);
            continue;
        }
        let conn = conns.entry(line.conn).or_insert_with(|| {
            let mut conn = Conn::open(address);
            conn.send(&startup(&[("user", "postgres"), ("database", database), ("application_name", "wire")]));
            heard.push((line.number, read(&mut conn, Some('Z'), 1)));
            conn
        });
        match &line.step {
            Step::Startup(_) => {}
            Step::Send(bytes) => waiting.entry(line.conn).or_default().extend(bytes),
            Step::Read(tag, count) => {
                send(conn, &waiting.remove(&line.conn).unwrap_or_default(), cut);
                let frames = read(conn, *tag, *count);
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

fn read(conn: &mut Conn, tag: Option<char>, count: usize) -> Vec<String> {
    let mut frames = Vec::new();
    match tag {
        Some(tag) => (0..count).for_each(|_| frames.extend(conn.until(tag))),
        None => frames.extend(std::iter::from_fn(|| conn.frame())),
    }
    frames.iter().map(shown).collect()
}

/// A frame without what differs between any two sessions: process ids, cancel keys, oids of tables, temporary schemas.
fn shown(frame: &Frame) -> String {
    let body = match frame.tag {
        'K' => b"process and key".to_vec(),
        'A' => frame.body[4..].to_vec(),
        'T' => without_table_oids(&frame.body),
        _ => frame.body.clone(),
    };
    let text = format!("{} {}", frame.tag, body.escape_ascii());
    let mut parts = text.split("pg_temp_");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |shown, part| shown + "pg_temp_" + part.trim_start_matches(|digit: char| digit.is_ascii_digit()))
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
