//! `holdgate log` as its users run it.

use std::path::Path;
use std::process::{Command, Output};

use holdgate::clock::Clock;
use holdgate::ids::StatementId;
use holdgate::lineage::{Event, Outcome, StatementRecord};
use holdgate::log::{Log, Options};
use holdgate::principal::Principal;

pub(crate) fn holdgate(state: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdgate"));
    command.arg("log").args(arguments).arg("--state").arg(state).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

async fn state_with_records() -> tempfile::TempDir {
    let state = tempfile::tempdir().unwrap();
    let log = Log::open(Options::new(state.path().join("log")), Clock::System).unwrap();
    for (principal, text) in [("ann", "SELECT ?"), ("bob", "DROP TABLE t"), ("ann", "SELECT a\u{1b}[2J")] {
        let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
        record.principal = Some(Principal { name: principal.into(), ..Principal::default() });
        record.outcome = Some(Outcome::Complete);
        record.text = text.into();
        log.append_strict(record).await.unwrap();
    }
    log.close().await;
    state
}

#[tokio::test]
async fn records_are_found_in_every_format() {
    let state = state_with_records().await;
    let table = stdout(&holdgate(state.path(), &["query", "--principal", "ann"]));
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains("complete") && !table.contains("bob") && !table.contains('\u{1b}'), "{table}");
    let lines = stdout(&holdgate(state.path(), &["query", "--text", "drop", "--format", "jsonl"]));
    let record: serde_json::Value = serde_json::from_str(&lines).unwrap();
    assert_eq!(record["seq"], 1);
    let array = stdout(&holdgate(state.path(), &["query", "--format", "json", "--since", "1h"]));
    assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&array).unwrap().len(), 3);
    let events = stdout(&holdgate(state.path(), &["export", "--format", "openlineage"]));
    for event in events.lines() {
        let event: serde_json::Value = serde_json::from_str(event).unwrap();
        assert_eq!(event["eventType"], "COMPLETE");
    }
    let tail = stdout(&holdgate(state.path(), &["tail", "--limit", "1", "--format", "jsonl"]));
    assert_eq!((tail.lines().count(), tail.contains("\"seq\":2")), (1, true));
}

#[tokio::test]
async fn verify_exits_1_where_a_byte_was_changed_and_names_the_place() {
    let state = state_with_records().await;
    let intact = holdgate(state.path(), &["verify"]);
    assert_eq!(intact.status.code(), Some(0), "{}", stdout(&intact));
    assert!(stdout(&intact).starts_with("intact: 3 records"));
    let proof = holdgate(state.path(), &["prove", "1"]);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&proof.stdout).unwrap()["size"], 3);

    let path = state.path().join("log/00000000.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("DROP", "drop")).unwrap();
    let changed = holdgate(state.path(), &["verify"]);
    assert_eq!(changed.status.code(), Some(1));
    assert!(
        stdout(&changed).starts_with("00000000.jsonl line 2 (seq 1): the line was changed"),
        "{}",
        stdout(&changed)
    );
}

#[test]
fn a_state_directory_without_a_log_is_a_usage_error() {
    let state = tempfile::tempdir().unwrap();
    let output = holdgate(state.path(), &["query"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--state"));
}
