//! kill -9 of the proxy under load, again and again: what was acknowledged is in the log, and everything has one end.
//!
//! `make torture` runs 200 rounds (`HOLDGATE_TORTURE_ROUNDS`), `make test` a few.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use holdgate::lineage::{Event, Outcome, StatementRecord};
use holdgate::log::{Records, VerifyOptions, read, verify};

use crate::harness::{Api, Client, Options, Proxy, TestDb, eventually};

const POLICY: &str = "version: 1\nerrors: pass\ntags:\n  - { columns: [email], tag: user.contact.email }\n  - { columns: \
                      [last_name], tag: user.name }\nrules:\n  - { name: never, match: { tag: user.name }, effect: deny }\n  \
                      - { name: ask, match: { relation: \"*.orders\", kind: write }, effect: hold, approve: { from: [dba], \
                      quorum: 1, expires: 30m } }\ndefault: allow\n";

/// Small segments, so that rounds go over their ends.
const CONFIG: &str = "log: { segment_max: 65536 }\n";

const CLIENTS: usize = 6;
const ROUNDS: usize = 4;

/// What a client asks. Its marker is an identifier, which masking leaves in the log's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Tagged,
    /// The same over the extended protocol.
    Bound,
    Held,
    Denied,
}

impl Kind {
    fn sql(self, marker: &str) -> String {
        match self {
            Self::Plain => format!("SELECT 1 AS {marker}"),
            Self::Tagged | Self::Bound => format!("SELECT c.email AS {marker} FROM customers c WHERE c.id = 7"),
            Self::Held => format!("DELETE FROM orders AS {marker} WHERE {marker}.id = -1"),
            Self::Denied => format!("SELECT c.last_name AS {marker} FROM customers c WHERE c.id = 7"),
        }
    }
}

/// A generator of its own: rounds differ, a failing one can be told by its number.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn kind(&mut self) -> Kind {
        [Kind::Plain, Kind::Plain, Kind::Tagged, Kind::Tagged, Kind::Bound, Kind::Held, Kind::Denied][self.below(7)]
    }
}

/// What a client was told: the marker, and whether the answer was the one that its kind gets.
type Told = (Kind, String);

/// Asks until its connection dies; gives back what was answered.
fn client(dsn: &str, label: &str, seed: u64, asked: mpsc::Sender<()>) -> Vec<Told> {
    let mut told = Vec::new();
    let Ok(client) = Client::try_connect(dsn) else { return told };
    let mut random = Random(seed);
    for number in 0.. {
        let kind = random.kind();
        let marker = format!("{label}_{number}");
        asked.send(()).ok();
        let sql = kind.sql(&marker);
        let answer = match kind {
            Kind::Bound => client.wait(client.inner.query(&sql, &[])).map(drop),
            _ => client.query(&sql).map(drop),
        };
        match answer {
            Ok(()) if kind != Kind::Denied => told.push((kind, marker)),
            Err(error) if kind == Kind::Denied && error.code().is_some_and(|code| code.code() == "42501") => {
                told.push((kind, marker));
            }
            Err(error) if error.as_db_error().is_none() || error.is_closed() => return told,
            Err(error) => panic!("{sql}: {error:?}"),
            Ok(()) => panic!("{sql} was not denied"),
        }
    }
    told
}

/// Approves whatever is held, until stopped.
fn approver(api: Api, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            let Some(holds) = api.try_get("/api/v1/holds?state=pending") else { return };
            for hold in holds["holds"].as_array().into_iter().flatten() {
                if api.try_decide(hold["id"].as_str().unwrap(), "approve").is_none() {
                    return;
                }
            }
        }
    })
}

/// All records so far, by statement.
struct Book {
    records: Records,
    openings: HashMap<String, Vec<StatementRecord>>,
    closings: HashMap<String, Vec<StatementRecord>>,
    steps: HashSet<String>,
}

impl Book {
    fn note_new(&mut self) {
        while let Some(record) = self.records.next() {
            let record = record.unwrap();
            if let Some(hold) = &record.hold {
                let by = record.approval.as_ref().map(|approval| approval.verdict.clone());
                let step = format!("{:?} {} {hold} {by:?} {:?}", record.event, record.id, record.outcome);
                let is_new = record.event == Event::Operator || self.steps.insert(step.clone());
                assert!(is_new, "written twice: {step}");
            }
            match record.event {
                Event::Started | Event::Held | Event::Released | Event::Paused => {
                    self.openings.entry(record.id.to_string()).or_default().push(record);
                }
                Event::Closed => self.closings.entry(record.id.to_string()).or_default().push(record),
                Event::Decided | Event::Operator | Event::System => {}
            }
        }
    }

    /// No statement has two ends, and none that was opened has none.
    fn check_ends(&self) {
        for (id, closings) in &self.closings {
            assert_eq!(closings.len(), 1, "{id}: {closings:#?}");
        }
        for (id, openings) in &self.openings {
            assert!(self.closings.contains_key(id), "opened and never closed: {openings:#?}");
        }
    }

    fn closing_of(&self, marker: &str) -> Vec<&StatementRecord> {
        self.closings.values().flatten().filter(|record| has_marker(&record.text, marker)).collect()
    }

    fn was_opened(&self, marker: &str) -> bool {
        let strict = |record: &&StatementRecord| matches!(record.event, Event::Started | Event::Released);
        self.openings.values().flatten().filter(strict).any(|record| has_marker(&record.text, marker))
    }

    /// What was checked need not be looked through again.
    fn turn_page(&mut self) {
        self.openings.clear();
        self.closings.clear();
    }
}

fn has_marker(text: &str, marker: &str) -> bool {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|word| word == marker)
}

fn rounds() -> usize {
    std::env::var("HOLDGATE_TORTURE_ROUNDS").ok().map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

#[test]
fn whenever_the_proxy_is_killed_nothing_acknowledged_is_lost_and_every_statement_has_one_end() {
    let db = TestDb::new("torture");
    let server_log = db.log_statements();
    let state = tempfile::TempDir::new().unwrap();
    let config = state.path().join("holdgate.yaml");
    fs::write(&config, CONFIG).unwrap();
    let config = config.to_str().unwrap().to_owned();
    let arguments = ["--config", config.as_str()];
    let options = Options { policy: Some(POLICY), arguments: &arguments, ..Options::default() };
    let dir = state.path().join("log");
    let mut random = Random(0x5eed);
    let mut proxy = Proxy::start_in(state, &db.dsn(), &db.name, options);
    let mut book = Book {
        records: read(&dir).unwrap(),
        openings: HashMap::new(),
        closings: HashMap::new(),
        steps: HashSet::new(),
    };
    let (mut told_in_all, mut reached_in_all, mut unknown_in_all) = (0, 0, 0);
    let mut log_read = 0;
    for round in 0..rounds() {
        let told = load(&proxy, round, &mut random);
        let state = proxy.kill();
        let state = if round % 3 == 2 { interrupted_starts(state, &db, &mut random, &config) } else { state };
        proxy = Proxy::start_in(state, &db.dsn(), &db.name, options);
        eventually("the backends of the dead proxy have ended", || {
            let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = \
                        'torture'";
            (db.direct(left) == "0").then_some(())
        });
        let report = verify(&dir, &VerifyOptions::default()).unwrap();
        assert_eq!(report.problems, [], "round {round}");
        book.note_new();
        book.check_ends();
        for (kind, marker) in &told {
            let found = book.closing_of(marker);
            let is_async = *kind == Kind::Plain;
            assert!(found.len() == 1 || is_async && found.is_empty(), "round {round}: {kind:?} {marker}: {found:#?}");
            assert!(is_async || *kind == Kind::Denied || book.was_opened(marker), "round {round}: {kind:?} {marker}");
        }
        let reached = reached(&server_log, &mut log_read, round);
        for marker in &reached {
            assert!(book.was_opened(marker), "round {round}: {marker} reached the server without a record");
            assert_eq!(book.closing_of(marker).len(), 1, "round {round}: {marker}");
        }
        told_in_all += told.len();
        reached_in_all += reached.len();
        let unknown = |record: &&StatementRecord| record.outcome == Some(Outcome::Unknown);
        unknown_in_all += book.closings.values().flatten().filter(unknown).count();
        book.turn_page();
    }
    println!(
        "{} rounds: {told_in_all} answered, {reached_in_all} tagged or held reached the server, {unknown_in_all} of unknown \
         outcome",
        rounds()
    );
    assert!(told_in_all > 0 && reached_in_all > 0);
}

/// Clients ask until so many statements were sent; then the proxy is to be killed, with all of them under way.
fn load(proxy: &Proxy, round: usize, random: &mut Random) -> Vec<Told> {
    let (asked, asks) = mpsc::channel();
    let dsn = format!("{}?application_name=torture", proxy.dsn("postgres"));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (dsn, asked) = (dsn.clone(), asked.clone());
            let seed = (u64::try_from(round * CLIENTS + number).unwrap() << 32) + 77;
            let label = format!("m{}_{round}_{number}", std::process::id());
            std::thread::spawn(move || client(&dsn, &label, seed, asked))
        })
        .collect();
    drop(asked);
    let stop = Arc::new(AtomicBool::new(false));
    let approver = approver(proxy.api(), stop.clone());
    for _ in 0..10 + random.below(110) {
        asks.recv().unwrap();
    }
    // From here to the kill anything can be anywhere.
    proxy.signal("KILL");
    stop.store(true, Ordering::SeqCst);
    approver.join().unwrap();
    clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
}

/// Starts that are killed before they are through: also the recovery can be interrupted.
fn interrupted_starts(state: tempfile::TempDir, db: &TestDb, random: &mut Random, config: &str) -> tempfile::TempDir {
    for _ in 0..2 {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_holdgate"));
        command.args(["serve", "--upstream", &db.dsn(), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        command.args(["--config", config, "--state"]).arg(state.path());
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        // The start itself has no event that could be waited for from outside.
        std::thread::sleep(std::time::Duration::from_millis(u64::try_from(random.below(150)).unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    state
}

/// Markers of tagged and held statements of this round that stand in the server's own log.
fn reached(server_log: &std::path::Path, from: &mut usize, round: usize) -> HashSet<String> {
    let bytes = fs::read(server_log).unwrap();
    let text = String::from_utf8_lossy(&bytes[*from..]).into_owned();
    *from = bytes.len();
    let own = format!("m{}_{round}_", std::process::id());
    let is_statement = |line: &&str| line.contains("statement: ") || line.contains("execute ");
    let words =
        text.lines().filter(is_statement).filter(|line| line.contains("c.email") || line.contains("DELETE FROM"));
    words
        .flat_map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')))
        .filter(|word| word.starts_with(&own))
        .map(str::to_owned)
        .collect()
}
