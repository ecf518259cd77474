//! Any sequence of messages with any verdicts gets the replies that Postgres itself gives to that sequence with errors in
//! the refused places.
//!
//! `HOLDGATE_SEQUENCES` is how many sequences each test tries, `HOLDGATE_SEED` the first of their seeds.

mod bare;
mod message;
mod script;

use std::sync::atomic::{AtomicBool, Ordering};

use message::Message;
use script::Maker;

use crate::generator::random::Random;
use crate::harness::conn::{Conn, Frame};
use crate::harness::{ALLOW_ALL, Api, Options, Proxy, TestDb};

/// Sequences that each test tries where the environment says nothing else.
const SEQUENCES: u64 = 100;

/// Decides by the names of the tables.
const POLICY: &str = "version: 1\nerrors: pass\nrules:\n  \
    - { name: refused, match: { relation: \"*.t_refused*\" }, effect: deny }\n  \
    - { name: denied, match: { relation: \"*.t_denied*\" }, effect: hold, approve: { from: [dba] } }\n  \
    - { name: approved, match: { relation: \"*.t_approved*\" }, effect: hold, approve: { from: [dba] } }\n\
    default: allow\n";

/// Whatever went before, this comes to an end with a marker.
const FAREWELL: [Message; 2] = [Message::CopyFail, Message::Sync];
/// Stands where the connection ends.
const END: &str = "the end of the connection";
const MARKER: &str = "SELECT 'marker'";

fn setup(db: &TestDb) {
    for class in ["open", "approved", "denied", "refused"] {
        db.direct(&format!(
            "CREATE TABLE t_{class} (a int); INSERT INTO t_{class} VALUES (1), (2), (3);
             CREATE FUNCTION f_{class}(a int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT a'"
        ));
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().map_or(otherwise, |text| text.parse().unwrap())
}

/// A frame as it is compared: errors by their SQLSTATE; notices and parameters come as they like.
fn shown(frame: &Frame) -> Option<String> {
    match frame.tag {
        'N' | 'S' | 'A' => None,
        'E' => Some(format!("E {}", frame.field(b'C'))),
        'T' => Some(format!("T {}", frame.body[..2].escape_ascii())),
        tag => Some(format!("{tag} {}", frame.body.escape_ascii())),
    }
}

/// What the proxy answers, however the bytes are cut.
fn through(address: &str, database: &str, sequence: &[Message], random: &mut Random) -> Vec<String> {
    let mut conn = Conn::session(address, database);
    let bytes: Vec<u8> = sequence.iter().flat_map(Message::bytes).collect();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let most = if random.chance(50) { rest.len() } else { rest.len().min(60) };
        let (now, later) = rest.split_at(1 + random.below(most));
        conn.send(now);
        rest = later;
    }
    let mut heard = Vec::new();
    while let Some(frame) = conn.frame() {
        let marked = frame.tag == 'D' && frame.body.ends_with(b"marker");
        heard.extend(shown(&frame));
        if marked {
            heard.extend(conn.until('Z').iter().filter_map(shown));
            return heard;
        }
    }
    heard.push(END.to_owned());
    heard
}

/// The replies of both where they differ.
fn difference(pair: &Pair, sequence: &[Message], seed: u64) -> Option<String> {
    let last = [Message::Query("ROLLBACK".to_owned()), Message::Query(MARKER.to_owned())];
    let asked: Vec<Message> = sequence.iter().cloned().chain(FAREWELL).chain(last).collect();
    let direct = format!("127.0.0.1:{}", pair.bare.port);
    let expected = bare::replies(&direct, &pair.bare.name, &asked);
    let found = through(&pair.proxy.postgres, &pair.served.name, &asked, &mut Random::new(seed));
    let fits =
        |expected: &String, found: &String| expected == found || (expected == bare::REFUSED && found.starts_with("E "));
    let same = |bare: &[String]| bare.len() == found.len() && bare.iter().zip(&found).all(|(a, b)| fits(a, b));
    (!same(&expected)).then(|| format!("direct  {expected:?}\nthrough {found:?}"))
}

/// A server that is asked directly, and one behind the proxy, with the same content.
struct Pair {
    bare: TestDb,
    served: TestDb,
    proxy: Proxy,
}

impl Pair {
    fn start(label: &str, policy: &str) -> Self {
        let (bare, served) = (TestDb::new(&format!("{label}_bare")), TestDb::new(&format!("{label}_served")));
        setup(&bare);
        setup(&served);
        let proxy = Proxy::start(&served, Options { policy: Some(policy), ..Options::default() });
        Self { bare, served, proxy }
    }

    fn rows(db: &TestDb) -> String {
        let all = ["open", "approved", "denied", "refused"]
            .map(|class| format!("SELECT '{class}', a, count(*) FROM t_{class} GROUP BY a"));
        db.direct(&format!("{} ORDER BY 1, 2", all.join(" UNION ALL ")))
    }
}

/// Leaves out messages for as long as the replies differ.
fn smallest(pair: &Pair, mut sequence: Vec<Message>, seed: u64) -> (Vec<Message>, String) {
    let mut why = difference(pair, &sequence, seed).unwrap_or_else(|| "it did not happen again".to_owned());
    let mut at = 0;
    while at < sequence.len() {
        let mut shorter = sequence.clone();
        shorter.remove(at);
        match difference(pair, &shorter, seed) {
            Some(found) => (sequence, why) = (shorter, found),
            None => at += 1,
        }
    }
    (sequence, why)
}

/// Decides holds by the names in their statements until it is told to stop.
fn decide(api: &Api, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let holds = api.get("/api/v1/holds?state=pending");
        for hold in holds["holds"].as_array().unwrap() {
            let denied = hold["statement"].as_str().unwrap().contains("t_denied");
            let decision = if denied { "deny" } else { "approve" };
            // Its session may have gone on without it.
            api.decide(hold["id"].as_str().unwrap(), decision, "by its name");
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn try_all(pair: &Pair, salt: u64) {
    let (stop, api) = (AtomicBool::new(false), pair.proxy.api());
    let first = number("HOLDGATE_SEED", 1);
    let failure = std::thread::scope(|scope| {
        scope.spawn(|| decide(&api, &stop));
        let failure = (first..first + number("HOLDGATE_SEQUENCES", SEQUENCES)).find_map(|seed| {
            let sequence = Maker::new(seed * 2 + salt).sequence();
            difference(pair, &sequence, seed).map(|why| {
                let (small, small_why) = smallest(pair, sequence, seed);
                format!("seed {seed}\n{why}\nsmallest: {small:#?}\n{small_why}")
            })
        });
        stop.store(true, Ordering::Relaxed);
        failure
    });
    assert!(failure.is_none(), "{}", failure.unwrap_or_default());
    assert_eq!(Pair::rows(&pair.served), Pair::rows(&pair.bare), "both have done the same");
}

#[test]
fn any_sequence_with_any_verdicts_gets_the_replies_of_errors_in_the_refused_places() {
    try_all(&Pair::start("seq", POLICY), 0);
}

#[test]
fn any_sequence_gets_the_replies_of_postgres_where_all_is_allowed() {
    let pair = Pair::start("seq_open", ALLOW_ALL);
    // Tables whose names decide nothing.
    let open = |text: &str| {
        ["approved", "denied", "refused"].iter().fold(text.to_owned(), |text, class| text.replace(class, "open"))
    };
    let first = number("HOLDGATE_SEED", 1);
    for seed in first..first + number("HOLDGATE_SEQUENCES", SEQUENCES) {
        let renamed = |message| match message {
            Message::Query(sql) => Message::Query(open(&sql)),
            Message::Parse { name, sql } => Message::Parse { name, sql: open(&sql) },
            other => other,
        };
        let sequence: Vec<Message> = Maker::new(seed * 2 + 1).sequence().into_iter().map(renamed).collect();
        if difference(&pair, &sequence, seed).is_some() {
            let (small, why) = smallest(&pair, sequence, seed);
            panic!("seed {seed}: smallest: {small:#?}\n{why}");
        }
    }
    assert_eq!(Pair::rows(&pair.served), Pair::rows(&pair.bare), "both have done the same");
}
