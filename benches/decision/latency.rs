//! How long an operator's decision takes to reach the server, and what 10,000 pending holds cost.
//!
//! ```text
//! cargo run --release --example decision -- postgres://postgres@127.0.0.1:5432/postgres
//! ```
//! With a server it times decisions (and makes tables there, which it drops), without one the list and the idle cost.
//! Prints figures; asserts nothing about them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a bench")]
#![allow(clippy::print_stdout, clippy::as_conversions, clippy::disallowed_methods, reason = "a bench")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use holdgate::analysis::Kind;
use holdgate::approvals::{
    Approvals, ApprovalsConfig, Approvers, Bounds, Hold, HoldState, Impact, NewHold, Origin, Role, Waiting,
};
use holdgate::clock::Clock;
use holdgate::config::{Config, Environment, ServeFlags};
use holdgate::control::{Control, ControlParts, OperatorEntry, Operators, RecordSink, SinkError, Unwired, sweep};
use holdgate::ids::{HoldId, StatementId};
use holdgate::lineage::{Event, StatementRecord};
use holdgate::policy::{Estimate, Sensitivity};
use holdgate::principal::Principal;
use holdgate::server::{Options, Server};
use serde_json::{Value, json};

const HOLDS: u32 = 10_000;
const ROUNDS: usize = 60;
const TOKEN: &str = "a-token-of-the-bench";

#[tokio::main]
async fn main() {
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    match std::env::args().nth(1) {
        Some(dsn) => decisions(&dsn).await,
        None => pending().await,
    }
}

/// A log that takes everything.
struct Nowhere;

impl RecordSink for Nowhere {
    fn append_strict(&self, _record: StatementRecord) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Pages of the list, and the idle cost, with many pending holds.
async fn pending() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = Bounds { holds_max: HOLDS * 2, outbox_max: HOLDS * 2, ..Bounds::default() };
    let config = ApprovalsConfig { bounds, ..ApprovalsConfig::new(dir.path().to_owned()) };
    let (approvals, _) = Approvals::start(&config, Clock::System).unwrap();
    let began = Instant::now();
    for number in 0..HOLDS {
        let mut record = StatementRecord::new(StatementId::new(), Event::Started);
        record.text = "UPDATE customers SET email = ? WHERE id = ?".into();
        approvals.open(NewHold { hold: hold(number), record, masked_parameters: vec![] }).await.unwrap();
    }
    println!("{HOLDS} holds opened: {:.0} µs each", began.elapsed().as_micros() as f64 / f64::from(HOLDS));
    let base = serve(control(approvals.clone(), dir.path())).await;
    let client = reqwest::Client::new();
    for (what, path) in [
        ("first page of 100", "/api/v1/holds?state=pending"),
        ("page of 100 in the middle", "/api/v1/holds?state=pending&cursor=5000"),
        ("first page of 1000", "/api/v1/holds?state=pending&limit=1000"),
    ] {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let answer = client.get(format!("{base}{path}")).bearer_auth(TOKEN).send().await.unwrap();
            assert!(!answer.json::<Value>().await.unwrap()["holds"].as_array().unwrap().is_empty());
            times.push(began.elapsed());
        }
        print(what, times);
    }
    let stop = tokio_util::sync::CancellationToken::new();
    let sweeping = tokio::spawn(sweep(approvals, Duration::from_secs(1), stop.clone()));
    let (began, cpu) = (Instant::now(), cpu());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let used = self::cpu().saturating_sub(cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    println!("idle with {HOLDS} pending holds: {:.2} % of a core", used * 100.0);
    stop.cancel();
    sweeping.await.unwrap();
}

fn control(approvals: Approvals, dir: &std::path::Path) -> Control {
    let operator = OperatorEntry {
        name: "bench".to_owned(),
        human: "bench".to_owned(),
        groups: vec![],
        roles: vec![Role::Viewer],
        token: TOKEN.to_owned(),
    };
    Control::new(ControlParts {
        approvals,
        operators: Operators::with_first(vec![operator], dir).unwrap(),
        sink: Arc::new(Nowhere),
        sessions: Arc::new(Unwired),
        reload: Arc::new(Unwired),
        events: Arc::new(Unwired),
        tags: Arc::new(Unwired),
        explain: Arc::new(Unwired),
        bundles: Arc::new(Unwired),
        health: Arc::new(Unwired),
        config: vec![],
    })
}

async fn serve(control: Control) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, holdgate::http::router(control)).await });
    base
}

fn hold(number: u32) -> Hold {
    let now = Clock::System.now();
    Hold {
        id: HoldId::new(),
        state: HoldState::Pending,
        waiting: Waiting::Ticket,
        created_at: now,
        expires_at: now.after(Duration::from_secs(3600)),
        rule: "large-personal-extract".to_owned(),
        reason: "it writes personal data".to_owned(),
        principal: Principal { name: format!("agent-{}", number % 1000), ..Principal::default() },
        origin: Origin { client: "127.0.0.1".to_owned(), application_name: "bench".to_owned() },
        agent: None,
        model: None,
        intent: None,
        database: "shop".to_owned(),
        environment: None,
        statement: format!("UPDATE customers SET email = 'ada@example.com' WHERE id = {number}"),
        parameters: vec![],
        action_hash: number.to_string(),
        kinds: vec![Kind::Write],
        command: "UPDATE".to_owned(),
        relations: vec!["public.customers".to_owned()],
        columns: std::collections::BTreeMap::new(),
        tags: vec!["user.contact.email".to_owned()],
        sensitivity: Sensitivity::Moderate,
        opaque: vec![],
        findings: vec![],
        estimate: Estimate::default(),
        plan: None,
        rows_sent: 0,
        holding_locks_since: None,
        approve: Approvers { from: vec!["dba".to_owned()], quorum: 1, given: vec![] },
        decision: None,
        cap: Estimate::default(),
        impact: Impact::default(),
        requester: None,
        bundle: None,
    }
}

/// From an operator's request to the first byte of the statement on its way to the server.
async fn decisions(dsn: &str) {
    let address = dsn.split('@').next_back().unwrap().split('/').next().unwrap().to_owned();
    let (seen, relayed) = mpsc::channel();
    let relay = relay(address.clone(), seen);
    let state = tempfile::tempdir().unwrap();
    let flags = ServeFlags {
        upstream: Some(dsn.replace(&address, &relay)),
        listen: Some("127.0.0.1:0".to_owned()),
        http: Some("127.0.0.1:0".to_owned()),
        state: Some(state.path().to_owned()),
        ..ServeFlags::default()
    };
    let config = Config::from_flags(&flags, &Environment::process()).unwrap();
    let server = Server::start(Options::of(&config).unwrap()).await.unwrap();
    let through = dsn.replace(&address, &server.postgres().to_string());
    let (client, connection) = tokio_postgres::connect(&through, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let client = Arc::new(client);
    let token = std::fs::read_to_string(state.path().join("operator.token")).unwrap().trim().to_owned();
    let api = Api { client: reqwest::Client::new(), base: format!("http://{}", server.http().unwrap()), token };
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let marker = format!("holdgate_bench_{round}_{}", std::process::id());
        let (own, sql) = (client.clone(), format!("CREATE TABLE {marker} (id int)"));
        let running = tokio::spawn(async move { own.simple_query(&sql).await.map(drop) });
        let id = api.pending(&marker).await;
        // What estimates and probes sent before the decision is not what is timed.
        while relayed.try_recv().is_ok() {}
        let began = Instant::now();
        api.approve(&id).await;
        let at = relayed.recv_timeout(Duration::from_secs(10)).expect("the statement goes on");
        times.push(at.duration_since(began));
        running.await.unwrap().unwrap();
    }
    print("decision to first byte toward the server", times);
    server.drain().await;
    let (direct, connection) = tokio_postgres::connect(dsn, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    for round in 0..ROUNDS {
        let table = format!("holdgate_bench_{round}_{}", std::process::id());
        direct.simple_query(&format!("DROP TABLE {table}")).await.unwrap();
    }
}

struct Api {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl Api {
    async fn pending(&self, marker: &str) -> String {
        loop {
            let url = format!("{}/api/v1/holds?state=pending", self.base);
            let page: Value = self.client.get(url).bearer_auth(&self.token).send().await.unwrap().json().await.unwrap();
            let found =
                page["holds"].as_array().unwrap().iter().find(|hold| hold["statement"].to_string().contains(marker));
            if let Some(hold) = found {
                return hold["id"].as_str().unwrap().to_owned();
            }
        }
    }

    async fn approve(&self, id: &str) {
        let url = format!("{}/api/v1/holds/{id}/decision", self.base);
        let body = json!({"decision": "approve", "reason": "bench"});
        let answer = self.client.post(url).bearer_auth(&self.token).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }
}

/// A relay that tells when a statement of the bench passes on its way to the server.
fn relay(upstream: String, seen: mpsc::Sender<Instant>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Arc::new(Mutex::new(seen));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&upstream).unwrap());
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (back, forth) = ((server.try_clone().unwrap(), client.try_clone().unwrap()), seen.clone());
            std::thread::spawn(move || copy(client, server, Some(&forth)));
            std::thread::spawn(move || copy(back.0, back.1, None));
        }
    });
    address
}

fn copy(mut from: TcpStream, mut to: TcpStream, seen: Option<&Mutex<mpsc::Sender<Instant>>>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let chunk = &buffer[..read];
        if let Some(seen) = seen.filter(|_| chunk.windows(15).any(|window| window == b"holdgate_bench_")) {
            // The bench may be over.
            let _ = seen.lock().unwrap().send(Instant::now());
        }
        if to.write_all(chunk).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// User and system time of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // A tick is a hundredth of a second on every Linux that is in use.
    Duration::from_millis(ticks * 10)
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times[times.len() * part / 100].as_micros() as f64 / 1000.0;
    println!("{what}: median {:.2} ms, 95 % {:.2} ms, {} rounds", at(50), at(95), times.len());
}
