//! What `check` finds.

use super::*;

/// That one finding, and no other, begins and ends like this.
fn assert_one(text: &str, starts: &str, contains: &str) {
    let found = findings(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with(starts) && found[0].contains(contains), "{}", found[0]);
}

#[test]
fn a_key_or_word_that_is_not_known_is_named_with_what_was_meant() {
    assert_one(
        "rules:\n  - {name: a, mtach: {kind: ddl}, match: {kind: ddl}, effect: hold}\n",
        "p.yaml:3:15",
        "did you mean `match`",
    );
    assert_one("rules:\n  - {name: a, match: {kind: ddk}, effect: hold}\n", "p.yaml:3:29", "did you mean `ddl`");
    assert_one("rules:\n  - {name: a, match: {kind: ddl}, effect: hodl}\n", "p.yaml:3:43", "did you mean `hold`");
    assert_one("defautl: hold\n", "p.yaml:2:1", "did you mean `default`");
}

#[test]
fn all_problems_of_all_files_come_at_once_in_their_order() {
    let first = Source { path: "a.yaml".to_owned(), text: "version: 2\ndefault: hold\n".to_owned() };
    let second = Source { path: "b.yaml".to_owned(), text: "version: 1\nrulse: []\ndefault: deny\n".to_owned() };
    let found: Vec<_> = Policy::check(&[first, second]).iter().map(|f| (f.path.clone(), f.place.line)).collect();
    assert_eq!(found, [("a.yaml".to_owned(), 1), ("b.yaml".to_owned(), 2), ("b.yaml".to_owned(), 3)]);
}

#[test]
fn rules_and_tags_of_several_files_follow_each_other() {
    let text = |name: &str, effect: &str| {
        format!(
            "version: 1\ntags: [{{columns: {name}, tag: t.{name}}}]\nrules: [{{name: {name}, match: {{column: {name}}}, effect: {effect}}}]\n"
        )
    };
    let source = |path: &str, text: String| Source { path: path.to_owned(), text };
    let policy = Policy::load(&[source("a", text("x", "hold")), source("b", text("y", "deny"))]).unwrap();
    assert_eq!(policy.rule_names().collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(policy.tag_rules().tags().len(), 2);
}

#[test]
fn a_rule_that_would_stop_transaction_control_is_an_error() {
    assert_one(
        "rules:\n  - {name: a, match: {kind: [ddl, transaction]}, effect: deny}\n",
        "p.yaml:3:22",
        "cannot be stopped",
    );
    for command in ["begin", "ROLLBACK", "\"*\"", "\"DEALLOC*\"", "CLOSE"] {
        assert_one(
            &format!("rules:\n  - {{name: a, match: {{command: {command}}}, effect: hold}}\n"),
            "p.yaml:3:",
            "cannot be stopped",
        );
    }
    assert!(findings("rules:\n  - {name: a, match: {command: PREPARE TRANSACTION}, effect: hold}\n").is_empty());
    assert!(findings("rules:\n  - {name: a, match: {kind: transaction}, effect: allow}\n").is_empty());
}

#[test]
fn a_rule_behind_a_broader_one_never_decides() {
    let rules = |first: &str, second: &str| {
        format!(
            "tags: [{{columns: email, tag: user.contact.email}}]\nrules:\n  - {{name: a, {first}}}\n  - {{name: b, {second}}}\n"
        )
    };
    for (first, second) in [
        ("match: {kind: [ddl, dcl]}, effect: hold", "match: {kind: ddl}, effect: deny"),
        ("match: {relation: orders}, effect: deny", "match: {relation: public.orders, kind: read}, effect: hold"),
        ("match: {tag: user.**}, effect: hold", "match: {tag: user.contact.email, rows: \"> 5\"}, effect: deny"),
        ("match: {kind: [read, write]}, effect: allow", "match: {kind: read, database: shop}, effect: allow"),
        ("match: {principal: bot}, effect: allow", "match: {principal: bot, kind: ddl}, effect: hold"),
    ] {
        assert_one(&rules(first, second), "p.yaml:5:12", "never decides");
    }
}

#[test]
fn a_rule_that_can_decide_is_not_called_shadowed() {
    let rules = |first: &str, second: &str| {
        format!(
            "tags: [{{columns: email, tag: user.contact.email}}]\nrules:\n  - {{name: a, {first}}}\n  - {{name: b, {second}}}\n"
        )
    };
    for (first, second) in [
        ("match: {kind: ddl}, effect: hold", "match: {kind: [ddl, dcl]}, effect: deny"),
        ("match: {kind: read}, effect: allow", "match: {kind: read}, effect: hold"),
        ("match: {relation: orders}, effect: allow", "match: {relation: orders}, effect: deny"),
        ("match: {tag: user.**, rows: \"> 5\"}, effect: hold", "match: {tag: user.**}, effect: deny"),
        ("match: {kind: ddl}, unless: {principal: dba}, effect: hold", "match: {kind: ddl}, effect: deny"),
        ("match: {kind: ddl}, mode: observe, effect: hold", "match: {kind: ddl}, effect: deny"),
        ("match: {principal: bot}, effect: deny", "match: {principal: \"b*\"}, effect: allow"),
    ] {
        let found = findings(&rules(first, second));
        assert!(found.is_empty(), "{first} / {second}: {found:?}");
    }
}

#[test]
fn names_are_unique_and_not_reserved() {
    let rule = |name: &str, kind: &str| format!("  - {{name: {name}, match: {{kind: {kind}}}, effect: hold}}\n");
    assert_one(
        &format!("rules:\n{}{}", rule("a", "ddl"), rule("a", "dcl")),
        "p.yaml:4:12",
        "stands in p.yaml:3 already",
    );
    assert_one(&format!("rules:\n{}", rule("default", "ddl")), "p.yaml:3:12", "cannot be called");
}

#[test]
fn conditions_that_match_everything_or_nothing_are_errors() {
    assert_one("rules:\n  - {name: a, match: {}, effect: deny}\n", "p.yaml:3:22", "matches everything");
    assert_one("rules:\n  - {name: a, match: {kind: []}, effect: deny}\n", "p.yaml:3:22", "`kind` lists nothing");
}

#[test]
fn patterns_that_cannot_match_are_findings() {
    assert_one("rules:\n  - {name: a, match: {column: a.b.c.d.e}, effect: deny}\n", "p.yaml:3:31", "at most 4");
    assert_one("rules:\n  - {name: a, match: {relation: \"\"}, effect: deny}\n", "p.yaml:3:33", "empty");
    let text = "tags: [{columns: email, tag: user.contact.email}]\nrules:\n  - {name: a, match: {tag: user.contact.emial}, effect: hold}\n";
    assert_one(text, "p.yaml:4:28", "did you mean `user.contact.email`");
    assert!(Policy::load(&[source(text)]).is_ok(), "a tag that nobody gives is a warning");
}

#[test]
fn what_rides_on_an_allow_has_no_place_on_a_hold() {
    assert_one(
        "rules:\n  - {name: a, match: {kind: ddl}, effect: hold, limits: {rows: 5}}\n",
        "p.yaml:3:57",
        "limits ride on an allow",
    );
    assert_one(
        "rules:\n  - {name: a, match: {kind: ddl}, effect: deny, reveal_errors: true}\n",
        "p.yaml:3:64",
        "rules that allow",
    );
}

#[test]
fn approval_that_nobody_can_give_is_an_error() {
    for (approve, problem) in [("from: []", "nobody"), ("quorum: 0", "asks nobody"), ("expires: 0", "at once")] {
        let text = format!("rules:\n  - {{name: a, match: {{kind: ddl}}, effect: hold, approve: {{{approve}}}}}\n");
        assert_one(&text, "p.yaml:3:", problem);
    }
}

#[test]
fn a_default_that_lets_opaque_statements_past_the_rules_is_a_warning() {
    let text = "tags: [{columns: email, tag: t}]\nrules:\n  - {name: a, match: {tag: t}, effect: deny}\n";
    assert_one(&format!("{text}default: allow\n"), "p.yaml:4:12", "opaque");
    assert!(
        findings(&format!("{text}  - {{name: b, match: {{kind: opaque}}, effect: hold}}\ndefault: allow\n")).is_empty()
    );
}

#[test]
fn a_test_beside_the_rules_fails_in_its_place() {
    let text = "rules:\n  - {name: a, match: {kind: ddl}, effect: hold}\ntests:\n  - {name: t, given: {kind: ddl}, expect: {verdict: deny, rule: b}}\n";
    let found = findings(text);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].starts_with("p.yaml:5:53: the test `t` fails: it expects deny, and `a` says hold"),
        "{}",
        found[0]
    );
    assert!(found[1].contains("it expects the rule `b`, and `a` decides"), "{}", found[1]);
}

#[test]
fn a_policy_with_errors_does_not_load_and_its_shipped_one_always_does() {
    assert!(Policy::load(&[source("default: never\n")]).is_err());
    assert!(Policy::load(&[Policy::shipped_source()]).is_ok());
    assert_eq!(Policy::load(&[]).map(|policy| policy.default), Ok(Verdict::Hold));
}

#[test]
fn the_hash_changes_with_every_text() {
    let hash = |text: &str| policy(text).sha256().to_owned();
    assert_eq!(hash("default: hold\n").len(), 64);
    assert_eq!(hash("default: hold\n"), hash("default: hold\n"));
    assert_ne!(hash("default: hold\n"), hash("default: hold \n"));
}

#[test]
fn the_schema_accepts_the_shipped_policy_and_refuses_a_wrong_one() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let shipped: serde_json::Value = serde_saphyr::from_str(&Policy::shipped_source().text).unwrap();
    let errors: Vec<_> = validator.iter_errors(&shipped).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let wrong =
        serde_json::json!({ "version": 1, "rules": [{ "name": "a", "match": { "knid": "ddl" }, "effect": "hold" }] });
    assert!(!validator.is_valid(&wrong));
}

#[test]
fn the_commands_that_check_protects_are_those_that_always_pass() {
    let policy = policy("default: deny\n");
    for command in lint::ALWAYS {
        let mut facts = evaluating::statement(&policy, &[crate::analysis::Kind::Session], &[]);
        facts.command = command.to_owned();
        assert!(facts.is_always_allowed(), "{command}");
    }
}
