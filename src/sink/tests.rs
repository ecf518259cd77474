//! A sink against a receiver that works, fails, stalls, refuses, goes away and comes back.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::Clock;
use crate::ids::StatementId;
use crate::lineage::{Event, Outcome, StatementRecord};
use crate::log::{Log, Options};

/// How the receiver answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Takes,
    Fails(u16),
    Stalls,
    /// 422 for what holds this word.
    Refuses(&'static str),
}

#[derive(Clone, Default)]
struct Receiver {
    mood: Arc<Mutex<Mood>>,
    /// Names of the jobs that were taken, in order.
    taken: Arc<Mutex<Vec<String>>>,
    requests: Arc<Mutex<Vec<(HeaderMap, usize)>>>,
}

impl Receiver {
    async fn answer(State(this): State<Self>, headers: HeaderMap, body: Bytes) -> StatusCode {
        let value: Value = serde_json::from_slice(&body).unwrap();
        let events = value.as_array().cloned().unwrap_or_else(|| vec![value]);
        this.requests.lock().unwrap().push((headers, events.len()));
        let mood = *this.mood.lock().unwrap();
        match mood {
            Mood::Takes => {}
            Mood::Fails(status) => return StatusCode::from_u16(status).unwrap(),
            Mood::Stalls => std::future::pending().await,
            Mood::Refuses(word) if body.windows(word.len()).any(|at| at == word.as_bytes()) => {
                return StatusCode::UNPROCESSABLE_ENTITY;
            }
            Mood::Refuses(_) => {}
        }
        let names = events.iter().map(|event| event["job"]["facets"]["sql"]["query"].as_str().unwrap().to_owned());
        this.taken.lock().unwrap().extend(names);
        StatusCode::CREATED
    }

    /// Serves until the handle is aborted.
    async fn serve(&self, address: &str) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/api/v1/lineage", post(Self::answer)).with_state(self.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (address, serving)
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn taken(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }
}

struct Room {
    state: tempfile::TempDir,
    log: Log,
    receiver: Receiver,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

/// A running sink.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
    watch: Watch,
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

impl Room {
    async fn new() -> Self {
        // Twice in one process is not an error: the provider is there.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let state = tempfile::tempdir().unwrap();
        let options = Options { segment_max: 4000, ..Options::new(state.path().join("log")) };
        let log = Log::open(options, Clock::System).unwrap();
        let receiver = Receiver::default();
        let (address, serving) = receiver.serve("127.0.0.1:0").await;
        Self { state, log, receiver, address, serving }
    }

    async fn append(&self, names: &[String]) {
        let record = |name: &String| {
            let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
            record.outcome = Some(Outcome::Complete);
            record.text.clone_from(name);
            record
        };
        self.log.append_all_strict(names.iter().map(record).collect()).await.unwrap();
    }

    fn options(&self) -> SinkOptions {
        let url = format!("http://{}/api/v1/lineage", self.address);
        let (retry_min, retry_max) = (Duration::from_millis(5), Duration::from_millis(20));
        SinkOptions { retry_min, retry_max, ..SinkOptions::new("marquez", url) }
    }

    fn start(&self, options: SinkOptions) -> Running {
        let sink = Sink::open(options, self.log.clone(), self.state.path().join("log"), &self.files()).unwrap();
        let (stop, watch) = (CancellationToken::new(), sink.watch());
        Running { task: tokio::spawn(sink.run(stop.clone())), stop, watch }
    }

    fn files(&self) -> std::path::PathBuf {
        self.state.path().join("sinks")
    }

    async fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let end = crate::clock::monotonic() + Duration::from_secs(20);
        while !is_so() {
            assert!(crate::clock::monotonic() < end, "{what}: {:?}", self.receiver.taken());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn until_taken(&self, expected: &[String]) {
        self.until("all are taken", || self.receiver.taken().len() >= expected.len()).await;
        assert_eq!(self.receiver.taken(), expected);
    }
}

fn names(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("SELECT {number:04}")).collect()
}

fn dead(files: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(files.join("marquez.dead.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn events_arrive_once_and_in_order_over_restarts_and_segments() {
    let room = Room::new().await;
    let all = names(0..150);
    room.append(&all[..60]).await;
    for (from, to) in [(60, 90), (90, 120), (120, 150)] {
        let sink = room.start(room.options());
        room.append(&all[from..to]).await;
        room.until_taken(&all[..to]).await;
        sink.stop().await;
    }
    // Nothing is left that would be sent again.
    let sink = room.start(room.options());
    room.append(&names(150..151)).await;
    room.until_taken(&names(0..151)).await;
    room.until("nothing is behind", || sink.watch.status(room.log.durable()).behind == 0).await;
    sink.stop().await;
}

#[tokio::test]
async fn a_receiver_that_fails_stalls_or_is_away_is_tried_again_and_holds_nobody_up() {
    let room = Room::new().await;
    let token = room.state.path().join("token");
    std::fs::write(&token, "first\n").unwrap();
    let options =
        SinkOptions { timeout: Duration::from_millis(100), token_file: Some(token.clone()), ..room.options() };
    let sink = room.start(options);
    let mut expected = Vec::new();
    for (mood, from) in [(Mood::Fails(503), 0), (Mood::Fails(401), 10), (Mood::Fails(429), 20), (Mood::Stalls, 30)] {
        room.receiver.set(mood);
        let before = room.receiver.requests.lock().unwrap().len();
        // Appends go on while the receiver does not.
        room.append(&names(from..from + 10)).await;
        room.until("it was tried again", || room.receiver.requests.lock().unwrap().len() > before + 2).await;
        let status = sink.watch.status(room.log.durable());
        assert!(!status.up && status.behind == 10 && status.error.is_some(), "{status:?}");
        assert_eq!(room.receiver.taken(), expected);
        room.receiver.set(Mood::Takes);
        expected.extend(names(from..from + 10));
        room.until_taken(&expected).await;
        room.until("it is up", || sink.watch.status(room.log.durable()).up).await;
    }
    std::fs::write(&token, "second\n").unwrap();
    room.serving.abort();
    room.append(&names(40..50)).await;
    room.until("it is away", || !sink.watch.status(room.log.durable()).up).await;
    let (_, again) = room.receiver.serve(&room.address.to_string()).await;
    expected.extend(names(40..50));
    room.until_taken(&expected).await;
    let requests = room.receiver.requests.lock().unwrap().clone();
    let authorization = |at: usize| requests[at].0["authorization"].to_str().unwrap().to_owned();
    assert_eq!((authorization(0), authorization(requests.len() - 1)), ("Bearer first".into(), "Bearer second".into()));
    assert_eq!(dead(&room.files()).len(), 0);
    sink.stop().await;
    again.abort();
}

#[tokio::test]
async fn what_is_refused_becomes_a_dead_letter_and_the_rest_goes_on_in_order() {
    let room = Room::new().await;
    let is_bad = |name: &String| name.ends_with("0007") || name.ends_with("0042");
    for (batch_max, from, bad) in [(1, 0, "SELECT 0007"), (8, 30, "SELECT 0042")] {
        room.receiver.set(Mood::Refuses(bad));
        let sink = room.start(SinkOptions { batch_max, ..room.options() });
        room.append(&names(from..from + 30)).await;
        let expected: Vec<_> = names(0..from + 30).into_iter().filter(|name| !is_bad(name)).collect();
        room.until("all are passed", || sink.watch.status(room.log.durable()).behind == 0).await;
        let (taken, buried) = (room.receiver.taken(), dead(&room.files()));
        assert_eq!(taken, expected);
        assert_eq!(buried.len(), if from == 0 { 1 } else { 2 });
        assert!(buried.iter().all(|letter| letter["refused"].as_str().unwrap().contains("422")));
        assert!(buried.iter().all(|letter| letter["event"]["eventType"] == "COMPLETE"));
        assert_eq!(sink.watch.status(0).dead, 1);
        sink.stop().await;
    }
    let most = room.receiver.requests.lock().unwrap().iter().map(|(_, events)| *events).max();
    assert!(most > Some(1), "batches are arrays: {most:?}");
}

#[tokio::test]
async fn a_position_that_is_none_is_said_and_nothing_is_sent_twice_by_mistake() {
    let room = Room::new().await;
    std::fs::create_dir(room.files()).unwrap();
    std::fs::write(room.files().join("marquez.position"), "soon").unwrap();
    let opened = Sink::open(room.options(), room.log.clone(), room.state.path().join("log"), &room.files());
    assert!(matches!(opened.err(), Some(SinkError::Position(_))));
}
