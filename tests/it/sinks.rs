//! A proxy that sends its log on: to a receiver that is there, and to one that is not.

use std::fs;
use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use serde_json::Value;

use crate::harness::http::request;
use crate::harness::{ALLOW_ALL, Options, Proxy, TestDb, eventually};

/// Takes each event that is posted, and gives it to the test.
fn receiver() -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/v1/lineage", listener.local_addr().unwrap());
    let (sender, events) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while let Some((_, body)) = request(&mut reader) {
                sender.send(serde_json::from_str(&body).unwrap()).ok();
                (&stream).write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").unwrap();
            }
        }
    });
    (url, events)
}

#[test]
fn statements_arrive_at_a_receiver_and_one_that_is_away_is_shown_and_stops_nothing() {
    let db = TestDb::new("sinks");
    let (url, events) = receiver();
    // Bound and not listening any more: nobody answers there.
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("holdgate.yaml");
    let text = format!(
        "log:\n  sinks:\n    - openlineage: {{ name: here, url: \"{url}\" }}\n    - openlineage: {{ name: away, url: \
         \"http://{away}/\" }}\n"
    );
    fs::write(&config, text).unwrap();
    let arguments = ["--config", config.to_str().unwrap()];
    let proxy = Proxy::start(&db, Options { policy: Some(ALLOW_ALL), arguments: &arguments, ..Options::default() });
    let client = proxy.connect();
    for number in 0..20 {
        client.query(&format!("SELECT {number} AS n{number}")).unwrap();
    }
    let mut texts = Vec::new();
    while texts.len() < 20 {
        let event = events.recv_timeout(crate::harness::DEADLINE).unwrap();
        assert_eq!(event["eventType"], "COMPLETE");
        texts.push(event["job"]["facets"]["sql"]["query"].as_str().unwrap().to_owned());
    }
    assert_eq!(texts, (0..20).map(|number| format!("SELECT ? AS n{number}")).collect::<Vec<_>>());
    let sinks = eventually("one sink is down", || {
        let (status, body) = proxy.api().request("GET", "/readyz", None);
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        (body["sinks"][1]["up"] == false).then(|| body["sinks"].clone())
    });
    assert_eq!((sinks[0]["name"].as_str(), sinks[0]["up"].as_bool()), (Some("here"), Some(true)));
    assert!(sinks[1]["behind"].as_u64() >= Some(20) && sinks[1]["error"].is_string(), "{sinks}");
    let (_, metrics) = proxy.api().request("GET", "/metrics", None);
    for line in ["holdgate_sink_up{sink=\"here\"} 1", "holdgate_sink_up{sink=\"away\"} 0"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert!(metrics.contains("holdgate_sink_events_total{result=\"sent\",sink=\"here\"} "), "{metrics}");
}
