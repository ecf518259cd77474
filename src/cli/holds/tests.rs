//! The command line against a live listener.

use clap::Parser;
use tokio::net::TcpListener;

use super::*;
use crate::control::tests::{ADA, BOB, EVE, Room, hold, room};

/// The command as it stands behind `holdgate holds`.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    holds: Holds,
}

struct Proxy {
    room: Room,
    url: String,
}

async fn proxy() -> Proxy {
    let room = room();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = crate::http::router(room.control.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    Proxy { room, url }
}

/// The exit code and what was printed.
async fn run(url: &str, token: &str, words: &[&str]) -> (u8, String) {
    let line = ["holds"].iter().chain(words).copied().chain(["--url", url, "--token", token]);
    let mut out = Vec::new();
    let code = match act(Line::try_parse_from(line).unwrap().holds.act, &mut out).await {
        Ok(code) => code,
        Err(error) => error.exit_code(),
    };
    (code, String::from_utf8(out).unwrap())
}

impl Proxy {
    async fn run(&self, token: &str, words: &[&str]) -> (u8, String) {
        run(&self.url, token, words).await
    }
}

#[tokio::test]
async fn a_hold_is_listed_shown_and_approved_and_each_exit_code_says_how_it_went() {
    let proxy = proxy().await;
    let id = proxy.room.park(hold()).await;
    let (code, listed) = proxy.run(ADA, &["list"]).await;
    assert_eq!(code, exit::DONE);
    assert!(listed.contains(id.as_str()) && listed.contains("ALTER TABLE customers"), "{listed}");
    let (_, card) = proxy.run(ADA, &["show", id.as_str()]).await;
    assert!(card.contains("statement │ ALTER TABLE customers ADD COLUMN note text"), "{card}");
    let (code, said) = proxy.run(ADA, &["approve", id.as_str(), "--reason", "seen"]).await;
    assert_eq!((code, said), (exit::DONE, format!("hold {id} is approved by ada\n")));
    assert_eq!(proxy.run(BOB, &["deny", id.as_str(), "--reason", "late"]).await.0, exit::CONFLICT);
    let record = proxy.room.sink.records.lock().unwrap()[0].clone();
    assert_eq!(record.approval.unwrap().method, "cli");
}

#[tokio::test]
async fn json_is_the_contract_as_it_came() {
    let proxy = proxy().await;
    let id = proxy.room.park(hold()).await;
    let (_, listed) = proxy.run(EVE, &["list", "--format", "json"]).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let (_, shown) = proxy.run(EVE, &["show", id.as_str(), "--format", "json"]).await;
    assert_eq!(listed["holds"][0], serde_json::from_str::<Value>(&shown).unwrap());
    let (_, lines) = proxy.run(EVE, &["list", "--format", "jsonl"]).await;
    assert_eq!(lines.lines().count(), 1);
}

#[tokio::test]
async fn what_is_refused_unknown_or_unreachable_has_its_own_exit_code() {
    let proxy = proxy().await;
    let id = proxy.room.park(hold()).await;
    let id = id.as_str();
    assert_eq!(proxy.run("nobody's", &["list"]).await.0, exit::UNREACHABLE);
    assert_eq!(proxy.run(EVE, &["approve", id]).await.0, exit::UNREACHABLE);
    assert_eq!(proxy.run(ADA, &["show", "0000000000"]).await.0, exit::NO);
    assert_eq!(proxy.run(ADA, &["list", "--state", "lost"]).await.0, exit::USAGE);
    assert_eq!(run("not a url", ADA, &["list"]).await.0, exit::USAGE);
    // A port that was free a moment ago, and that nobody listens on.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(run(&format!("http://{closed}"), ADA, &["list"]).await.0, exit::UNREACHABLE);
}

#[tokio::test]
async fn watch_prints_each_pending_hold_once() {
    /// Ends the watch with the second hold.
    struct Enough(Vec<u8>);
    impl Write for Enough {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            let lines = String::from_utf8_lossy(&self.0).lines().count();
            if lines < 2 { Ok(()) } else { Err(std::io::ErrorKind::BrokenPipe.into()) }
        }
    }
    let proxy = proxy().await;
    let first = proxy.room.park(hold()).await;
    let line = ["holds", "watch", "--url", &proxy.url, "--token", ADA, "--format", "jsonl"];
    let mut out = Enough(Vec::new());
    let watching = act(Line::try_parse_from(line).unwrap().holds.act, &mut out);
    let parking = async {
        let mut other = hold();
        other.action_hash = "bb".to_owned();
        proxy.room.park(other).await
    };
    let (ended, second) = tokio::join!(watching, parking);
    assert!(matches!(ended, Err(ApiError::Output(_))));
    let printed = String::from_utf8(out.0).unwrap();
    let mut ids: Vec<_> = printed.lines().map(|line| show::id(&serde_json::from_str(line).unwrap())).collect();
    ids.sort();
    let mut expected = [first.to_string(), second.to_string()];
    expected.sort();
    assert_eq!(ids, expected);
}
