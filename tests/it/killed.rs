//! kill -9 under load, around decision, release and end: nothing approved runs twice, no decision that an operator was told
//! of is lost, and what cannot be known is said to be unknown.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use serde_json::Value;

use crate::harness::{Api, Client, Options, Proxy, TestDb, eventually};

const POLICY: &str =
    "version: 1\nrules:\n  - { name: w, match: { relation: \"*.ran\" }, effect: hold }\ndefault: allow\n";

/// Kills of a usual run; `HOLDGATE_TEST_KILLS` asks for another number.
const KILLS: usize = 3;
const CLIENTS: usize = 6;
const OPERATORS: usize = 3;

fn kills() -> usize {
    std::env::var("HOLDGATE_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS)
}

fn sql(marker: u64) -> String {
    format!("INSERT INTO ran VALUES ({marker})")
}

fn marker_of(statement: &str) -> Option<u64> {
    statement.strip_prefix("INSERT INTO ran VALUES (")?.strip_suffix(')')?.parse().ok()
}

/// What operators and clients saw before the kill.
#[derive(Default)]
struct Seen {
    /// Holds by id.
    markers: HashMap<String, u64>,
    /// Decisions that were answered with 200.
    told: HashMap<String, &'static str>,
    /// Statements whose clients heard that they ran.
    ran: Vec<u64>,
}

/// Sends statements until its connection dies.
fn client(dsn: &str, markers: impl Iterator<Item = u64>, seen: &Mutex<Seen>, sent: &mpsc::Sender<()>) {
    let Ok(client) = Client::try_connect(dsn) else { return };
    for marker in markers {
        sent.send(()).ok();
        match client.query(&sql(marker)) {
            Ok(_) => seen.lock().unwrap().ran.push(marker),
            Err(error) if error.code().is_some_and(|code| code.code() == "42501") => {}
            Err(_) => return,
        }
    }
}

/// Decides whatever waits, each fifth against it, until stopped.
fn operator(api: &Api, stop: &AtomicBool, seen: &Mutex<Seen>) {
    while !stop.load(Ordering::SeqCst) {
        let Some(page) = api.try_get("/api/v1/holds?state=pending") else { return };
        for hold in page["holds"].as_array().into_iter().flatten() {
            let (id, marker) = known(hold);
            seen.lock().unwrap().markers.insert(id.clone(), marker);
            let word = if marker.is_multiple_of(5) { "deny" } else { "approve" };
            match api.try_decide(&id, word) {
                Some(200) => drop(seen.lock().unwrap().told.insert(id, word)),
                Some(_) => {}
                None => return,
            }
        }
    }
}

fn known(hold: &Value) -> (String, u64) {
    let marker = marker_of(hold["statement"].as_str().unwrap());
    (hold["id"].as_str().unwrap().to_owned(), marker.unwrap_or_else(|| panic!("{hold}")))
}

/// Load until so many statements were sent, and then the kill, with everything under way.
fn load_and_kill(proxy: &Proxy, kill: usize) -> Seen {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let (sent, sends) = mpsc::channel();
    let dsn = format!("{}?application_name=killed", proxy.dsn("postgres"));
    let clients = (0..CLIENTS).map(|number| {
        let (dsn, seen, sent) = (dsn.clone(), seen.clone(), sent.clone());
        let first = u64::try_from(kill * CLIENTS + number).unwrap() * 10_000;
        std::thread::spawn(move || client(&dsn, first.., &seen, &sent))
    });
    let clients: Vec<_> = clients.collect();
    let operators = (0..OPERATORS).map(|_| {
        let (api, stop, seen) = (proxy.api(), stop.clone(), seen.clone());
        std::thread::spawn(move || operator(&api, &stop, &seen))
    });
    let operators: Vec<_> = operators.collect();
    drop(sent);
    // Kills come at another place of the load each time.
    for _ in 0..CLIENTS * 2 + (kill * 17) % 61 {
        sends.recv().unwrap();
    }
    proxy.signal("KILL");
    stop.store(true, Ordering::SeqCst);
    for thread in clients.into_iter().chain(operators) {
        thread.join().unwrap();
    }
    Arc::try_unwrap(seen).ok().unwrap().into_inner().unwrap()
}

#[test]
fn whenever_the_proxy_is_killed_nothing_approved_runs_twice_and_no_decision_that_was_told_is_lost() {
    let db = TestDb::new("kills");
    db.direct("CREATE TABLE ran (marker bigint); GRANT ALL ON ran TO PUBLIC");
    let mut proxy = Proxy::start(&db, Options { policy: Some(POLICY), ..Options::default() });
    let mut outcomes = std::collections::BTreeMap::new();
    for kill in 0..kills() {
        let mut seen = load_and_kill(&proxy, kill);
        proxy = proxy.killed_and_restarted(&db);
        eventually("the backends of the dead proxy have ended", || {
            let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = \
                        'killed'";
            (db.direct(left) == "0").then_some(())
        });
        let api = proxy.api();
        let open = api.get("/api/v1/holds?state=pending,approved&limit=1000");
        seen.markers.extend(open["holds"].as_array().unwrap().iter().map(known));
        let ran = runs(&db);
        for (id, marker) in &seen.markers {
            let state = check(&api, (id, *marker), ran.get(marker).copied().unwrap_or(0), &seen);
            *outcomes.entry(state).or_insert(0) += 1;
        }
        let spent = spend_tickets(&proxy, &seen);
        let ran = runs(&db);
        assert!(ran.values().all(|times| *times == 1), "kill {kill}: {ran:?}");
        assert!(spent.iter().all(|marker| ran.contains_key(marker)), "kill {kill}: {spent:?} of {ran:?}");
    }
    println!("{} kills: {outcomes:?}", kills());
    assert!(outcomes.values().sum::<u32>() > 0);
}

/// How often each statement ran, as the server has it.
fn runs(db: &TestDb) -> HashMap<u64, u64> {
    let rows = db.direct("SELECT marker || ' ' || count(*) FROM ran GROUP BY marker");
    let row = |row: &str| row.split_once(' ').map(|(marker, times)| (marker.parse().unwrap(), times.parse().unwrap()));
    rows.lines().filter_map(row).collect()
}

/// The hold after the restart against what was seen before.
fn check(api: &Api, (id, marker): (&str, u64), ran: u64, seen: &Seen) -> String {
    let hold = api.get(&format!("/api/v1/holds/{id}"));
    let state = hold["state"].as_str().unwrap().to_owned();
    let context = || format!("{marker}: {state}, told {:?}, ran {ran} times", seen.told.get(id));
    match state.as_str() {
        "pending" | "approved" | "denied" | "withdrawn" => assert_eq!(ran, 0, "{}", context()),
        "finished" => assert_eq!(ran, 1, "{}", context()),
        "unknown" => assert!(ran <= 1, "{}", context()),
        _ => panic!("{}", context()),
    }
    let kept = match seen.told.get(id) {
        Some(&"deny") => state == "denied",
        Some(_) => ["approved", "finished", "unknown"].contains(&state.as_str()),
        None => true,
    };
    assert!(kept, "a decision is lost: {}", context());
    if seen.ran.contains(&marker) {
        assert!(ran == 1 && ["finished", "unknown"].contains(&state.as_str()), "{}", context());
    }
    state
}

/// What is approved and was not spent runs once, and is given back; what is undecided is over.
fn spend_tickets(proxy: &Proxy, seen: &Seen) -> Vec<u64> {
    let mut spent = Vec::new();
    let client = proxy.connect();
    client.query("SET holdgate.wait = '0s'").unwrap();
    for (id, marker) in &seen.markers {
        match proxy.api().get(&format!("/api/v1/holds/{id}"))["state"].as_str().unwrap() {
            "approved" => {
                client.query(&sql(*marker)).unwrap();
                assert_eq!(client.fails(&sql(*marker)).0, "57H01", "an approval is spent once");
                spent.push(*marker);
            }
            "unknown" => assert_eq!(client.fails(&sql(*marker)).0, "57H01", "it is asked about again"),
            _ => {}
        }
    }
    // Another round must find room.
    let left = proxy.api().get("/api/v1/holds?state=pending&limit=1000");
    for hold in left["holds"].as_array().unwrap() {
        proxy.api().decide(hold["id"].as_str().unwrap(), "deny", "over");
    }
    spent
}
