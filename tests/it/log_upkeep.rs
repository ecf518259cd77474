//! What a running proxy does for its log: checkpoints off the box, retention, pages of events, a new key.

use std::fs;
use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::http::request;
use crate::harness::{ALLOW_ALL, Options, Proxy, STDOUT, TestDb, eventually};

/// Takes checkpoints that are posted to `/kept` and gives all of them to whoever asks; answers 503 to `/failing`, and
/// nobody who posts to `/slow`.
struct Witness {
    address: String,
    kept: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Witness {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (kept, asked) = (Arc::new(Mutex::new(String::new())), Arc::new(Mutex::new(Vec::new())));
        let witness = Self { address, kept: kept.clone(), asked: asked.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (kept, asked) = (kept.clone(), asked.clone());
                std::thread::spawn(move || {
                    let stream = stream.unwrap();
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while let Some((request, body)) = request(&mut reader) {
                        asked.lock().unwrap().push(request.clone());
                        let (status, answer) = match request.as_str() {
                            "POST /kept" => {
                                kept.lock().unwrap().push_str(&body);
                                ("204 No Content", String::new())
                            }
                            "GET /kept" => ("200 OK", kept.lock().unwrap().clone()),
                            "POST /slow" => continue,
                            _ => ("503 Service Unavailable", String::new()),
                        };
                        let length = answer.len();
                        write!(&stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{answer}").unwrap();
                    }
                });
            }
        });
        witness
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn was_asked(&self, request: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == request).count()
    }
}

/// A proxy with this `log:` section.
fn start(db: &TestDb, home: &TempDir, log: &str) -> Proxy {
    let config = home.path().join("holdgate.yaml");
    fs::write(&config, format!("log:\n{log}")).unwrap();
    let arguments = ["--config", config.to_str().unwrap()];
    Proxy::start(db, Options { policy: Some(ALLOW_ALL), arguments: &arguments, ..Options::default() })
}

fn notes(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("\u{2014} ")).count()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// `log verify` of a directory; exit code and what it says.
fn verify(dir: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_holdgate"));
    command.args(["log", "verify"]).args(arguments).arg("--dir").arg(dir).env_remove("HOLDGATE_STATE");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

#[test]
fn checkpoints_go_to_each_place_whatever_the_others_do_and_find_a_log_that_was_put_back() {
    let (db, home, witness) = (TestDb::new("checkpoints"), TempDir::new().unwrap(), Witness::start());
    let file = home.path().join("kept");
    let places = format!(
        "[{}, {}, {}, {}, stdout]",
        witness.url("/slow"),
        witness.url("/failing"),
        file.display(),
        witness.url("/kept")
    );
    let mut proxy = start(&db, &home, &format!("  checkpoints: {{ every: 100ms, to: {places} }}\n"));
    let client = proxy.connect();
    let stdout = proxy.state.path().join(STDOUT);
    let rounds = |from: usize| {
        for number in from..from + 3 {
            let before = notes(&witness.kept.lock().unwrap());
            client.query(&format!("SELECT {number} AS n{number}")).unwrap();
            eventually("the file has a newer one", || (notes(&fs::read_to_string(&file).ok()?) > number).then_some(()));
            eventually("the witness has a newer one", || (notes(&witness.kept.lock().unwrap()) > before).then_some(()));
            eventually("so has standard output", || (notes(&fs::read_to_string(&stdout).ok()?) > number).then_some(()));
        }
    };
    rounds(0);
    eventually("the failing one is asked again", || (witness.was_asked("POST /failing") > 1).then_some(()));
    assert_eq!(witness.was_asked("POST /slow"), 1, "its answer is waited for");
    let log = proxy.state.path().join("log");
    for place in [file.to_str().unwrap(), &witness.url("/kept")] {
        let (code, said) = verify(&log, &["--checkpoint", place]);
        assert_eq!(code, Some(0), "{place}: {said}");
    }
    let copied = home.path().join("copy");
    copy(&log, &copied);
    rounds(3);
    drop(client);
    proxy.signal("TERM");
    proxy.wait();
    assert_eq!(verify(&copied, &[]).0, Some(0), "nothing in the older copy itself can tell");
    for place in [file.to_str().unwrap(), stdout.to_str().unwrap(), &witness.url("/kept")] {
        assert_eq!(verify(&log, &["--checkpoint", place]).0, Some(0), "{place}");
        let (code, said) = verify(&copied, &["--checkpoint", place, "--format", "json"]);
        assert!(code == Some(1) && said.contains("\"tamper\":\"rolled_back\""), "{place}: {said}");
    }
    let (code, said) = verify(&log, &["--checkpoint", &witness.url("/nothing")]);
    assert_eq!(code, Some(2), "a witness that cannot be read is no answer: {said}");
}

#[test]
fn pages_of_events_give_each_record_once_the_newest_first() {
    let db = TestDb::new("event_pages");
    let proxy = Proxy::start(&db, Options { policy: Some(ALLOW_ALL), ..Options::default() });
    let client = proxy.connect();
    for number in 0..25 {
        client.query(&format!("SELECT {number} AS paged{number}")).unwrap();
    }
    drop(client);
    let api = proxy.api();
    let page = |cursor: &str| api.get(&format!("/api/v1/events?text=AS+PAGED&event=closed&limit=7{cursor}"));
    eventually("all are written", || {
        let all = api.get("/api/v1/events?text=as+paged&event=closed");
        (all["events"].as_array().unwrap().len() == 25).then_some(())
    });
    let (mut seqs, mut sizes, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let answer = page(&cursor);
        let events = answer["events"].as_array().unwrap();
        let found: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert!(found.is_sorted(), "within a page the oldest comes first");
        assert!(seqs.last().is_none_or(|last| found.iter().all(|seq| seq < last)), "{found:?} behind {seqs:?}");
        sizes.push(found.len());
        seqs.extend(found.into_iter().rev());
        match &answer["next"] {
            Value::Null => break,
            next => cursor = format!("&cursor={next}"),
        }
    }
    assert_eq!(sizes, [7, 7, 7, 4]);
    seqs.dedup();
    assert_eq!(seqs.len(), 25);
}

/// Numbers of segments that are there.
fn segments(log: &Path) -> Vec<u32> {
    let names = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut numbers: Vec<u32> =
        names.filter(|name| name.contains(".jsonl")).filter_map(|name| name.get(..8)?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[test]
fn retention_removes_segments_of_a_running_proxy_and_a_legal_hold_keeps_them() {
    let (db, home) = (TestDb::new("retention"), TempDir::new().unwrap());
    let mut proxy = start(&db, &home, "  segment_max: 4KiB\n");
    let client = proxy.connect();
    let log = proxy.state.path().join("log");
    let fill = |client: &crate::harness::Client, name: &str, until: usize| {
        eventually("segments fill", || {
            client.query(&format!("SELECT 1 AS {name}")).unwrap();
            (segments(&log).len() >= until).then_some(())
        });
    };
    fill(&client, "before", 3);
    client.query("SELECT 1 AS held_by_court").unwrap();
    fill(&client, "behind", 8);
    drop(client);
    let all = segments(&log);
    let set = ["log", "legal-hold", "set", "case-7", "--reason", "a court asked", "--where", "text=held_by_court"];
    let (code, _, said) = proxy.holdgate(&set);
    assert_eq!(code, 0, "{said}");
    let config = home.path().join("holdgate.yaml");
    // What is written from here on stays in one segment, which is not sealed.
    fs::write(&config, "log:\n  segment_max: 1MiB\n  retention: { size: 1 }\n").unwrap();
    proxy = proxy.restart_with_config(&db, &config);
    let held = || {
        let (_, found, _) = proxy.holdgate(&["log", "query", "--text", "AS held_by_court", "--format", "jsonl"]);
        found.lines().filter(|line| line.contains("\"event\":\"closed\"")).count()
    };
    eventually("what stands before the held record is removed", || (segments(&log)[0] > all[0]).then_some(()));
    assert_eq!(held(), 1);
    let (code, said) = verify(&log, &["--deep"]);
    assert!(code == Some(0) && said.contains("removed: records 0 to "), "{said}");
    let (code, _, said) = proxy.holdgate(&["log", "legal-hold", "lift", "case-7", "--reason", "the court is done"]);
    assert_eq!(code, 0, "{said}");
    eventually("the held record is removed too", || (held() == 0).then_some(()));
    let (code, said) = verify(&log, &["--deep"]);
    assert_eq!(code, Some(0), "{said}");
    // The log itself says in which order that came.
    let (_, lines, _) = proxy.holdgate(&["log", "query", "--format", "jsonl"]);
    let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lifted = records.iter().position(|record| record["command"] == "legal-hold-lift").unwrap();
    assert!(records[lifted..].iter().any(|record| record["text"].as_str().unwrap().contains("retention")), "{lines}");
}

#[test]
fn a_running_proxy_takes_a_new_key_on_a_signal_and_the_log_stays_intact_under_both() {
    let db = TestDb::new("new_key");
    let proxy = Proxy::start(&db, Options { policy: Some(ALLOW_ALL), ..Options::default() });
    let client = proxy.connect();
    let log = proxy.state.path().join("log");
    let old = proxy.state.path().join("kept.pub");
    fs::copy(log.join("signing.pub"), &old).unwrap();
    client.query("SELECT 1 AS before").unwrap();
    let (code, key, said) = proxy.holdgate(&["log", "rotate-key"]);
    assert!(code == 0 && said.contains("RELOAD or SIGHUP"), "{said}");
    assert_ne!(fs::read_to_string(log.join("signing.pub")).unwrap(), key, "nothing changes before it is told to");
    proxy.signal("HUP");
    eventually("the new key signs", || (fs::read_to_string(log.join("signing.pub")).ok()? == key).then_some(()));
    client.query("SELECT 1 AS behind").unwrap();
    drop(client);
    let (code, said) = verify(&log, &["--key", old.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    let proxy = proxy.restart(&db);
    let (code, said) =
        verify(&log_of(&proxy), &["--deep", "--key", proxy.state.path().join("kept.pub").to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
}

fn log_of(proxy: &Proxy) -> std::path::PathBuf {
    proxy.state.path().join("log")
}
