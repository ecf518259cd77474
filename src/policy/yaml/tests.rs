//! What is found in files, and where.

use std::time::Duration as Time;

use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Effect {
    Allow,
    Hold,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: At<String>,
    effect: Effect,
    #[serde(default)]
    kinds: List<String>,
    expires: Option<Duration>,
    bytes: Option<Size>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    #[serde(default)]
    rules: Vec<At<Rule>>,
}

fn read_text(text: &str) -> (Option<Document>, Vec<String>) {
    let (document, findings) = read(&Source { path: "f".to_owned(), text: text.to_owned() });
    (document, findings.iter().map(ToString::to_string).collect())
}

#[test]
fn a_value_knows_its_place_and_one_value_is_a_list() {
    let text =
        "version: 1\nrules:\n  - name: a\n    effect: hold\n    kinds: ddl\n    expires: 30m\n    bytes: 64MiB\n";
    let (document, findings) = read_text(text);
    assert_eq!(findings, Vec::<String>::new());
    let rules = document.unwrap().rules;
    assert_eq!(rules[0].place, Place { line: 3, column: 5 });
    assert_eq!(rules[0].name.place, Place { line: 3, column: 11 });
    assert_eq!(rules[0].kinds.0, ["ddl"]);
    assert_eq!(rules[0].expires, Some(Duration(Time::from_mins(30))));
    assert_eq!(rules[0].bytes, Some(Size(64 << 20)));
}

#[test]
fn all_problems_are_found_at_once() {
    let text = "version: one\nrulse: []\nrules:\n  - name: a\n    efect: hold\n  - name: b\n    effect: hodl\n  \
                - name: [c]\n    effect: hold\n  - name: d\n    effect: allow\n    expires: soon\n";
    let (document, findings) = read_text(text);
    assert_eq!(document, None);
    assert_eq!(
        findings,
        [
            "f:1:10: expected u32, found string \"one\"",
            "f:2:1: unknown key `rulse`; did you mean `rules`?",
            "f:5:5: unknown key `efect`; did you mean `effect`?",
            "f:4:5: the key `effect` is missing",
            "f:7:13: unknown value `hodl`; did you mean `hold`?",
            "f:8:11: expected a string, found sequence",
            "f:12:14: `soon` is no time span; write a number and ms, s, m, h or d, such as 30m",
        ]
    );
}

#[test]
fn what_has_no_problem_is_read_beside_what_has() {
    let (document, findings) =
        read_text("version: 1\nrules:\n  - {name: a, effect: hodl}\n  - {name: b, effect: hold}\n");
    assert_eq!(findings.len(), 1);
    assert_eq!(document.unwrap().rules[0].name.value, "b");
}

#[test]
fn text_that_is_no_yaml_is_one_finding_in_its_place() {
    let (document, findings) = read_text("version: 1\nrules: [\n  - {\n");
    assert_eq!(document, None);
    assert_eq!(findings.len(), 1);
    assert!(findings[0].starts_with("f:"), "{findings:?}");
}

#[test]
fn an_empty_file_and_a_key_given_twice_are_findings() {
    assert_eq!(read_text(" \n").1, ["f:1:1: the file is empty"]);
    let (_, findings) = read_text("version: 1\nversion: 2\n");
    assert!(findings[0].contains("f:2:1") && findings[0].contains("version"), "{findings:?}");
}

#[test]
fn nesting_is_bounded() {
    let text = format!("version: {}1{}", "[".repeat(1000), "]".repeat(1000));
    assert_eq!(read_text(&text).1.len(), 1);
}

#[test]
fn words_are_no_truth_values() {
    let (document, _) = read_text("version: 1\nrules: [{name: no, effect: hold}, {name: 7, effect: hold}]\n");
    let rules = document.unwrap().rules;
    assert_eq!((rules[0].name.as_str(), rules[1].name.as_str()), ("no", "7"));
}

#[test]
fn sizes_and_durations_need_a_known_unit_and_must_fit() {
    assert_eq!("1500ms".parse(), Ok(Duration(Time::from_millis(1500))));
    assert_eq!("0".parse(), Ok(Duration(Time::ZERO)));
    assert_eq!("2 GB".parse(), Ok(Size(2_000_000_000)));
    for text in ["", "60", "5 weeks", "-1s", "99999999999999999d"] {
        assert!(text.parse::<Duration>().is_err(), "{text}");
    }
    for text in ["", "MiB", "1.5MiB", "99999999999GiB", "1TB"] {
        assert!(text.parse::<Size>().is_err(), "{text}");
    }
}
