//! `holdgate check` as people and machines call it.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::path::Path;
use std::process::{Command, Output};

const WRONG: &str = "version: 1\nrules:\n  - {name: a, match: {kind: ddl}, efect: hold}\n";

fn check(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_holdgate")).arg("check").args(arguments).output().unwrap()
}

fn file(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn text(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
fn the_shipped_policy_is_checked_where_none_is_named() {
    let output = check(&[]);
    assert_eq!((output.status.code(), text(&output)), (Some(0), "no findings\n"));
}

#[test]
fn findings_are_exit_code_1_and_show_line_and_hint() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "p.yaml", WRONG);
    let output = check(&["--policies", &path]);
    assert_eq!(output.status.code(), Some(1));
    let text = text(&output);
    assert!(text.contains(&format!("{path}:3:35: error: unknown key `efect` [unknown-key]")), "{text}");
    assert!(text.contains("hint: did you mean `effect`?"), "{text}");
    assert!(text.contains("the key `effect` is missing"), "{text}");
}

#[test]
fn machines_get_json_and_sarif() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "p.yaml", WRONG);
    let json: serde_json::Value =
        serde_json::from_slice(&check(&["--policies", &path, "--format", "json"]).stdout).unwrap();
    assert_eq!(json.pointer("/findings/0/line"), Some(&serde_json::json!(3)));
    let sarif: serde_json::Value =
        serde_json::from_slice(&check(&["--policies", &path, "--format", "sarif"]).stdout).unwrap();
    assert_eq!(sarif.pointer("/runs/0/results/0/ruleId"), Some(&serde_json::json!("missing-key")));
}

#[test]
fn a_configuration_is_checked_with_the_policies_that_it_names() {
    let dir = tempfile::tempdir().unwrap();
    file(dir.path(), "p.yaml", WRONG);
    let config = file(dir.path(), "holdgate.yaml", "upstreams: [{name: a, dsn: 'host=db'}]\npolicies: p.yaml\n");
    let output = check(&["--config", &config]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("unknown key `efect`"), "{}", text(&output));
    let config = file(dir.path(), "bad.yaml", "upstraems: []\n");
    assert!(text(&check(&["--config", &config])).contains("did you mean `upstreams`?"));
}

#[test]
fn a_file_that_is_not_there_and_a_flag_that_is_none_are_exit_code_2() {
    assert_eq!(check(&["--policies", "/nonexistent.yaml"]).status.code(), Some(2));
    assert_eq!(check(&["--format", "xml"]).status.code(), Some(2));
}

#[test]
fn the_schema_is_printed_for_editors() {
    let output = check(&["--schema"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output), include_str!("../../policies/schema.json"));
}
