//! Exactly one outcome, live: decisions, cancels, disconnects, reloads, expiry, a drain and a killed process race for one
//! hold.

use std::sync::{Arc, Barrier};

use serde_json::Value;

use crate::harness::conn::{Conn, query};
use crate::harness::{Api, Options, Proxy, TestDb, eventually};

/// Rounds of a usual run; `HOLDGATE_TEST_LIVE_ROUNDS` asks for another number.
const ROUNDS: usize = 24;

fn rounds() -> usize {
    std::env::var("HOLDGATE_TEST_LIVE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS)
}

fn hold(api: &Api, id: &str) -> Value {
    api.get(&format!("/api/v1/holds/{id}"))
}

fn id_of(hold: &Value) -> String {
    hold["id"].as_str().unwrap().to_owned()
}

/// Two deciders start together; how many of them were told that their answer counts.
fn race(api: &Api, id: &str, words: [&'static str; 2], beside: impl FnOnce()) -> usize {
    let start = Arc::new(Barrier::new(3));
    let deciders = words.map(|word| {
        let (api, id, start) = (api.clone(), id.to_owned(), start.clone());
        std::thread::spawn(move || {
            start.wait();
            api.decide(&id, word, "race").0
        })
    });
    start.wait();
    beside();
    deciders.into_iter().map(|decider| decider.join().unwrap()).filter(|status| *status == 200).count()
}

const POLICY: &str = "version: 1\nrules:\n  - { name: w, match: { relation: \"*.ran\" }, effect: hold, approve: { from: [dba], \
                      quorum: 1, expires: 2s } }\ndefault: allow\n";

/// Holds that race at once: an end that they share is waited for once.
const TOGETHER: usize = 8;

/// A statement that waits, and its hold.
struct Held {
    number: usize,
    id: String,
    ends: jiff::Timestamp,
    _conn: Conn,
}

fn held(db: &TestDb, proxy: &Proxy, numbers: std::ops::Range<usize>) -> Vec<Held> {
    let sent = numbers.map(|number| {
        let mut conn = Conn::session(&proxy.postgres, &db.name);
        conn.send(&query(&format!("INSERT INTO ran VALUES ({number})")));
        (number, conn)
    });
    let sent: Vec<_> = sent.collect();
    let waiting = sent.into_iter().map(|(number, conn)| {
        let hold = proxy.api().wait_for_hold(&format!("VALUES ({number})"));
        let ends = hold["expires_at"].as_str().unwrap().parse().unwrap();
        Held { number, id: id_of(&hold), ends, _conn: conn }
    });
    waiting.collect()
}

fn ran(db: &TestDb, number: usize) -> String {
    db.direct(&format!("SELECT count(*) FROM ran WHERE round = {number}"))
}

#[test]
fn decisions_that_race_with_the_end_of_their_time_have_one_outcome() {
    let db = TestDb::new("race_expiry");
    db.direct("CREATE TABLE ran (round int); GRANT ALL ON ran TO PUBLIC");
    let proxy = Proxy::start(&db, Options { policy: Some(POLICY), ..Options::default() });
    let api = proxy.api();
    let mut outcomes = std::collections::BTreeMap::new();
    for batch in 0..rounds().div_ceil(TOGETHER) {
        let holds = held(&db, &proxy, batch * TOGETHER..(batch + 1) * TOGETHER);
        let racing = holds.iter().map(|hold| {
            let (api, id, number, ends) = (api.clone(), hold.id.clone(), hold.number, hold.ends);
            std::thread::spawn(move || {
                // Some come before the end, some after it, most about then.
                let early = jiff::SignedDuration::from_millis(i64::try_from(number % 7).unwrap() * 4);
                eventually("the end is near", || (jiff::Timestamp::now() >= ends - early).then_some(()));
                let words = if number.is_multiple_of(3) { ["approve", "deny"] } else { ["approve", "approve"] };
                race(&api, &id, words, || {})
            })
        });
        let racing: Vec<_> = racing.collect();
        let counted: Vec<_> = racing.into_iter().map(|one| one.join().unwrap()).collect();
        for (hold, counted) in holds.iter().zip(counted) {
            let state = eventually("the round is settled", || {
                let state = self::hold(&api, &hold.id)["state"].as_str().unwrap().to_owned();
                (!["pending", "approved", "released"].contains(&state.as_str())).then_some(state)
            });
            let (decided, runs) = match state.as_str() {
                "finished" => (1, "1"),
                "denied" => (1, "0"),
                // Nobody decided in time, or it was approved in time and not spent in time: the hold says which.
                "expired" => (self::hold(&api, &hold.id)["approve"]["given"].as_array().unwrap().len(), "0"),
                other => panic!("hold {} ended {other}", hold.number),
            };
            assert_eq!((counted, ran(&db, hold.number).as_str()), (decided, runs), "hold {} is {state}", hold.number);
            *outcomes.entry(state).or_insert(0) += 1;
        }
    }
    println!("{outcomes:?}");
}

#[test]
fn decisions_that_race_with_a_drain_have_one_outcome_and_none_is_forgotten() {
    let db = TestDb::new("race_drain");
    db.direct("CREATE TABLE ran (round int); GRANT ALL ON ran TO PUBLIC");
    let policy = POLICY.replace("expires: 2s", "expires: 600s");
    let mut proxy = Proxy::start(&db, Options { policy: Some(&policy), ..Options::default() });
    let mut outcomes = std::collections::BTreeMap::new();
    for batch in 0..rounds().div_ceil(TOGETHER) {
        let holds = held(&db, &proxy, batch * TOGETHER..(batch + 1) * TOGETHER);
        let start = Arc::new(Barrier::new(holds.len() + 1));
        let deciding = holds.iter().map(|hold| {
            let (api, id, start) = (proxy.api(), hold.id.clone(), start.clone());
            let word = if hold.number.is_multiple_of(3) { "deny" } else { "approve" };
            std::thread::spawn(move || {
                start.wait();
                (api.try_decide(&id, word) == Some(200)).then_some(word)
            })
        });
        let deciding: Vec<_> = deciding.collect();
        start.wait();
        proxy.signal("TERM");
        let told: Vec<_> = deciding.into_iter().map(|one| one.join().unwrap()).collect();
        proxy = proxy.restart(&db);
        let client = proxy.connect();
        client.query("SET holdgate.wait = '0s'").unwrap();
        for (hold, told) in holds.iter().zip(told) {
            let state = self::hold(&proxy.api(), &hold.id)["state"].as_str().unwrap().to_owned();
            let before = ran(&db, hold.number);
            let fits = match (told, state.as_str()) {
                // Where the answer did not come through, whatever became of the decision has one end.
                (Some("approve") | None, "finished") => before == "1",
                (Some("approve"), "approved" | "failed")
                | (Some("deny"), "denied")
                | (None, "approved" | "denied" | "withdrawn" | "pending" | "failed") => before == "0",
                (Some("approve") | None, "unknown") => true,
                _ => false,
            };
            assert!(fits, "hold {}: told {told:?}, {state}, ran {before} times", hold.number);
            if state == "approved" {
                client.query(&format!("INSERT INTO ran VALUES ({})", hold.number)).unwrap();
                assert_eq!(ran(&db, hold.number), "1", "the ticket runs once");
            }
            if state == "pending" {
                proxy.api().decide(&hold.id, "deny", "over");
            }
            *outcomes.entry(state).or_insert(0) += 1;
        }
    }
    println!("{outcomes:?}");
}

#[test]
fn decisions_that_race_with_a_cancel_a_disconnect_or_a_reload_have_one_outcome() {
    let db = TestDb::new("race");
    db.direct("CREATE TABLE ran (round int); GRANT ALL ON ran TO PUBLIC");
    let policy = "version: 1\nrules:\n  - { name: w, match: { relation: \"*.ran\" }, effect: hold }\ndefault: allow\n";
    let proxy = Proxy::start(&db, Options { policy: Some(policy), ..Options::default() });
    let api = proxy.api();
    for round in 0..rounds() {
        let sql = format!("INSERT INTO ran VALUES ({round})");
        let mut conn = Some(Conn::session(&proxy.postgres, &db.name));
        conn.as_mut().unwrap().send(&query(&sql));
        let id = id_of(&api.wait_for_hold(&sql));
        let words = if round % 2 == 0 { ["approve", "deny"] } else { ["approve", "approve"] };
        let counted = race(&api, &id, words, || match round % 4 {
            0 => drop(conn.take()),
            1 => proxy.signal("HUP"),
            2 => conn.as_ref().unwrap().cancel(&proxy.postgres),
            _ => {}
        });
        let state = eventually("the round is settled", || {
            let now = hold(&api, &id);
            let state = now["state"].as_str().unwrap().to_owned();
            let open =
                state == "pending" || state == "released" || (state == "approved" && now["waiting"] == "connection");
            (!open).then_some(state)
        });
        // What the client takes back first is not there any more to be decided.
        let expected = usize::from(state != "withdrawn");
        assert_eq!(counted, expected, "one decision counts: round {round}, {state}");
        let ran = db.direct(&format!("SELECT count(*) FROM ran WHERE round = {round}"));
        let expected = match state.as_str() {
            "finished" => "1",
            "denied" | "withdrawn" | "approved" | "void" => "0",
            // The client went while it ran.
            "unknown" | "failed" => ran.as_str(),
            other => panic!("round {round} ended {other}"),
        };
        assert!(ran == expected && (ran == "0" || ran == "1"), "round {round} is {state} and ran {ran} times");
    }
}

#[test]
fn a_process_that_is_killed_runs_nothing_twice_and_forgets_no_decision() {
    let db = TestDb::new("killed");
    db.direct("CREATE TABLE ran (round int); GRANT ALL ON ran TO PUBLIC");
    let policy = "version: 1\nrules:\n  - { name: w, match: { relation: \"*.ran\" }, effect: hold }\ndefault: allow\n";
    let mut proxy = Proxy::start(&db, Options { policy: Some(policy), ..Options::default() });
    for round in 0..rounds().div_ceil(4) {
        let api = proxy.api();
        let sql = format!("INSERT INTO ran VALUES ({round})");
        let mut conn = Conn::session(&proxy.postgres, &db.name);
        conn.send(&query(&sql));
        let id = id_of(&api.wait_for_hold(&sql));
        let (decider, wanted) = (api.clone(), id.clone());
        let deciding =
            std::thread::spawn(move || std::panic::catch_unwind(|| decider.decide(&wanted, "approve", "x").0).ok());
        // The instant differs from round to round: nothing, the decision, or the statement itself has been seen.
        match round % 3 {
            0 => {}
            1 => eventually("decided", || (hold(&api, &id)["state"] != "pending").then_some(())),
            _ => eventually("spent", || {
                let state = hold(&api, &id)["state"].clone();
                (state != "pending" && state != "approved").then_some(())
            }),
        }
        proxy = proxy.killed_and_restarted(&db);
        let told = deciding.join().unwrap() == Some(200);
        let after = hold(&proxy.api(), &id)["state"].as_str().unwrap().to_owned();
        assert!(!told || after != "pending", "round {round}: a decision that counted is {after}");
        let client = proxy.connect();
        client.query("SET holdgate.wait = '0s'").unwrap();
        let ran = |db: &TestDb| db.direct(&format!("SELECT count(*) FROM ran WHERE round = {round}"));
        let before = ran(&db);
        let sent = client.query(&sql);
        let now = ran(&db);
        match after.as_str() {
            // An approval that was not spent is a ticket, and runs once.
            "approved" => assert!(before == "0" && now == "1" && sent.is_ok(), "round {round}: {before} {now}"),
            "pending" => assert_eq!((before.as_str(), now.as_str()), ("0", "0")),
            // What had been released never runs again, whatever became of it.
            "unknown" | "finished" => assert!(before == now && sent.is_err(), "round {round}: {before} {now}"),
            other => panic!("round {round} is {other}"),
        }
        assert!(now == "0" || now == "1", "round {round} ran {now} times");
        if after != "approved" {
            // A principal may have so many open holds and no more.
            let left = proxy.api().wait_for_hold(&sql);
            assert_eq!(proxy.api().decide(&id_of(&left), "deny", "the round is over").0, 200);
        }
    }
}
