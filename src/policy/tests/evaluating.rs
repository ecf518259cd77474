//! Which rule decides, and what it decides.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::analysis::{Access, Bound, ColumnFacts, ColumnName, Flows, Kind, RelationName, StatementFacts};
use crate::catalog::tags::Glob;
use crate::clock::Timestamp;
use crate::principal::{Principal, PrincipalKind};

/// A statement that touches these columns (`table.column`, `!` before it for a probe) and is of these kinds.
pub(in crate::policy) fn statement(policy: &Policy, kinds: &[Kind], columns: &[&str]) -> StatementFacts {
    let mut facts = StatementFacts {
        kinds: kinds.iter().copied().collect(),
        command: "SELECT".to_owned(),
        span: 0..0,
        relations: BTreeSet::new(),
        columns: BTreeMap::new(),
        functions: BTreeSet::new(),
        outputs: Vec::new(),
        opaque: Vec::new(),
        bound: Bound::Unbounded,
        packs: false,
        scans: BTreeSet::new(),
        pure_read: true,
        flows: Flows::default(),
        effects: Vec::new(),
        findings: Vec::new(),
        unresolved: false,
        defined: false,
        session_local: false,
    };
    for written in columns {
        let (access, name) = match written.strip_prefix('!') {
            Some(name) => (Access::Probe, name),
            None => (Access::Reveal, *written),
        };
        let (table, column) = name.split_once('.').unwrap();
        let relation = RelationName { schema: "public".into(), name: table.into() };
        let tags = policy.tag_rules().tags_for("shop", "public", table, column).into_iter().collect();
        facts.relations.insert(relation.clone());
        let name = ColumnName { relation, column: column.into() };
        facts.columns.insert(name, ColumnFacts { access: BTreeSet::from([access]), tags, ..ColumnFacts::default() });
    }
    facts
}

pub(super) fn ask(policy: &Policy, facts: &StatementFacts, change: impl FnOnce(&mut Request<'_>)) -> Decision {
    let principal = Principal {
        name: "bot-7".to_owned(),
        kind: PrincipalKind::Agent,
        human: Some("ann".to_owned()),
        groups: vec!["support".to_owned()],
        role: "app".to_owned(),
    };
    let mut request = Request {
        principal: &principal,
        database: "shop",
        client: None,
        environment: None,
        intent: None,
        facts,
        estimate: None,
        at: Timestamp::from_micros(0),
    };
    change(&mut request);
    policy.evaluate(&request)
}

fn answer(policy: &Policy, facts: &StatementFacts) -> (Verdict, String) {
    let decision = ask(policy, facts, |_| ());
    (decision.verdict, decision.rule.to_string())
}

const TAGS: &str =
    "tags:\n  - {columns: email, tag: user.contact.email}\n  - {columns: ssn, tag: user.government_id}\n";

fn with_tags(rules: &str) -> Policy {
    policy(&format!("{TAGS}{rules}"))
}

#[test]
fn the_first_rule_that_decides_wins() {
    let policy = policy(
        "rules:\n  - {name: a, match: {kind: ddl, command: DROP*}, effect: deny}\n  - {name: b, match: {kind: ddl}, effect: allow}\n",
    );
    let mut facts = statement(&policy, &[Kind::Ddl], &[]);
    facts.command = "DROP TABLE".to_owned();
    assert_eq!(answer(&policy, &facts), (Verdict::Deny, "a".to_owned()));
    facts.command = "CREATE INDEX".to_owned();
    assert_eq!(answer(&policy, &facts), (Verdict::Allow, "b".to_owned()));
}

#[test]
fn what_no_rule_names_gets_the_default_and_that_is_hold() {
    let rules = "rules:\n  - {name: a, match: {kind: ddl}, effect: deny}\n";
    let strict = policy(rules);
    let facts = statement(&strict, &[Kind::Read], &[]);
    assert_eq!(answer(&strict, &facts), (Verdict::Hold, DEFAULT_RULE.to_owned()));
    assert_eq!(answer(&policy(&format!("{rules}default: allow\n")), &facts).0, Verdict::Allow);
}

#[test]
fn an_allow_covers_every_kind_and_a_hold_matches_any() {
    let policy = policy(
        "rules:\n  - {name: a, match: {kind: read}, effect: allow}\n  - {name: b, match: {kind: write}, effect: deny}\n",
    );
    assert_eq!(answer(&policy, &statement(&policy, &[Kind::Read], &[])).0, Verdict::Allow);
    assert_eq!(answer(&policy, &statement(&policy, &[Kind::Read, Kind::Write], &[])).0, Verdict::Deny);
}

#[test]
fn an_allow_covers_every_relation_and_function_and_column() {
    for (condition, inside, outside) in [
        ("relation: a", &["a.x"][..], &["a.x", "b.x"][..]),
        ("column: a.*", &["a.x", "a.y"], &["a.x", "b.x"]),
        ("tag: user.contact.**", &["a.x", "a.email"], &["a.email", "a.ssn"]),
        ("access: reveal", &["a.x"], &["a.x", "!a.y"]),
        ("tag: user.**, access: probe", &["a.x", "!a.email"], &["a.x", "a.email"]),
    ] {
        let policy = with_tags(&format!("rules:\n  - {{name: a, match: {{{condition}}}, effect: allow}}\n"));
        assert_eq!(answer(&policy, &statement(&policy, &[Kind::Read], inside)).0, Verdict::Allow, "{condition}");
        assert_eq!(answer(&policy, &statement(&policy, &[Kind::Read], outside)).0, Verdict::Hold, "{condition}");
        assert_eq!(answer(&policy, &statement(&policy, &[Kind::Read], &[])).0, Verdict::Hold, "{condition}");
    }
    let policy = policy("rules:\n  - {name: a, match: {function: app.*}, effect: allow}\n");
    let mut facts = statement(&policy, &[Kind::Call], &[]);
    facts.functions = BTreeSet::from(["app.f".to_owned()]);
    assert_eq!(answer(&policy, &facts).0, Verdict::Allow);
    facts.functions.insert("public.f".to_owned());
    assert_eq!(answer(&policy, &facts).0, Verdict::Hold);
}

#[test]
fn a_deny_matches_one_column_with_all_its_conditions() {
    let policy =
        with_tags("rules:\n  - {name: a, match: {tag: user.**, access: reveal}, effect: deny}\ndefault: allow\n");
    assert_eq!(answer(&policy, &statement(&policy, &[Kind::Read], &["t.id", "t.email"])).0, Verdict::Deny);
    assert_eq!(answer(&policy, &statement(&policy, &[Kind::Read], &["t.id", "!t.email"])).0, Verdict::Allow);
}

#[test]
fn nothing_covers_what_an_opaque_statement_touches() {
    let policy = policy(
        "rules:\n  - {name: a, match: {relation: t}, effect: allow}\n  - {name: b, match: {principal: bot-*}, effect: allow}\n",
    );
    let mut facts = statement(&policy, &[Kind::Read, Kind::Opaque], &["t.x"]);
    facts.opaque = vec!["dynamic SQL".to_owned()];
    assert_eq!(answer(&policy, &facts).1, "b");
}

#[test]
fn transaction_control_passes_whatever_the_rules_say() {
    let policy = policy("rules:\n  - {name: a, match: {principal: \"*\"}, effect: deny}\ndefault: deny\n");
    for command in ["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "ROLLBACK TO", "DEALLOCATE", "CLOSE"] {
        let mut facts = statement(&policy, &[Kind::Transaction], &[]);
        facts.command = command.to_owned();
        assert_eq!(answer(&policy, &facts), (Verdict::Allow, ALWAYS_RULE.to_owned()), "{command}");
        facts.command = "PREPARE TRANSACTION".to_owned();
        assert_eq!(answer(&policy, &facts).0, Verdict::Deny);
    }
}

#[test]
fn an_unknown_size_leaves_the_threshold_as_a_tripwire_with_its_approvers() {
    let policy = with_tags(
        "rules:\n  - {name: big, match: {tag: user.**, rows: \"> 500\"}, effect: hold, approve: {from: dpo, quorum: 2}}\n  \
        - {name: work, match: {kind: read}, effect: allow, limits: {rows: 10000, bytes: 1MiB}}\n",
    );
    let facts = statement(&policy, &[Kind::Read], &["t.email"]);
    let decision = ask(&policy, &facts, |_| ());
    assert_eq!((decision.verdict, &*decision.rule), (Verdict::Allow, "work"));
    assert_eq!((decision.limits.rows, decision.limits.bytes), (Some(500), Some(1 << 20)));
    assert_eq!((decision.approve.from, decision.approve.quorum), (vec!["dpo".to_owned()], 2));
    assert!(decision.wants_estimate);
}

#[test]
fn an_estimate_decides_and_is_no_proof() {
    let policy =
        with_tags("rules:\n  - {name: big, match: {tag: user.**, rows: \"> 500\"}, effect: hold}\ndefault: allow\n");
    let facts = statement(&policy, &[Kind::Read], &["t.email"]);
    let estimate = |rows| Some(Estimate { rows: Some(rows), bytes: None, ..Estimate::default() });
    let over = ask(&policy, &facts, |request| request.estimate = estimate(501));
    assert_eq!((over.verdict, over.wants_estimate), (Verdict::Hold, false));
    let under = ask(&policy, &facts, |request| request.estimate = estimate(500));
    assert_eq!((under.verdict, under.limits.rows, under.wants_estimate), (Verdict::Allow, Some(500), false));
}

#[test]
fn a_proved_bound_needs_no_estimate_and_keeps_the_tripwire() {
    let policy =
        with_tags("rules:\n  - {name: big, match: {tag: user.**, rows: \"> 500\"}, effect: hold}\ndefault: allow\n");
    let mut facts = statement(&policy, &[Kind::Read], &["t.email"]);
    facts.bound = Bound::One;
    let decision = ask(&policy, &facts, |_| ());
    assert_eq!((decision.verdict, decision.wants_estimate), (Verdict::Allow, false));
    assert_eq!(decision.limits.rows, Some(500));
}

#[test]
fn packed_rows_and_whole_relations_count_as_over() {
    let policy =
        with_tags("rules:\n  - {name: big, match: {tag: user.**, rows: \"> 500\"}, effect: hold}\ndefault: allow\n");
    let mut facts = statement(&policy, &[Kind::Read], &["t.email"]);
    facts.scans.clone_from(&facts.relations);
    assert_eq!(answer(&policy, &facts).0, Verdict::Hold);
    facts.scans.clear();
    facts.bound = Bound::One;
    facts.packs = true;
    assert_eq!(answer(&policy, &facts).0, Verdict::Hold);
}

#[test]
fn the_lowest_tripwire_counts_and_a_refusal_at_any_is_refusal() {
    let policy = with_tags(
        "rules:\n  - {name: a, match: {tag: user.**, rows: \"> 500\"}, effect: hold}\n  \
        - {name: b, match: {tag: user.**, rows: \"> 900\"}, effect: deny}\ndefault: allow\n",
    );
    let decision = ask(&policy, &statement(&policy, &[Kind::Read], &["t.email"]), |_| ());
    assert_eq!((decision.limits.rows, decision.limits.on_limit), (Some(500), OnLimit::Deny));
}

#[test]
fn a_tripwire_does_not_loosen_the_tighter_limit_of_an_allow() {
    let policy = with_tags(
        "rules:\n  - {name: a, match: {tag: user.**, rows: \"> 500\"}, effect: hold, approve: {from: dpo}}\n  \
        - {name: b, match: {kind: read}, effect: allow, limits: {rows: 10}, approve: {from: lead}}\n",
    );
    let decision = ask(&policy, &statement(&policy, &[Kind::Read], &["t.email"]), |_| ());
    assert_eq!((decision.limits.rows, decision.approve.from), (Some(10), vec!["lead".to_owned()]));
}

#[test]
fn an_allow_by_size_needs_proof_or_a_cap() {
    let policy = policy("rules:\n  - {name: a, match: {kind: read, rows: \"<= 100\"}, effect: allow}\n");
    let mut facts = statement(&policy, &[Kind::Read], &[]);
    let unknown = ask(&policy, &facts, |_| ());
    assert_eq!((unknown.verdict, unknown.wants_estimate), (Verdict::Hold, true));
    let likely = ask(&policy, &facts, |request| {
        request.estimate = Some(Estimate { rows: Some(5), bytes: None, ..Estimate::default() });
    });
    assert_eq!((likely.verdict, likely.limits.rows), (Verdict::Allow, Some(100)));
    facts.bound = Bound::Rows(100);
    assert_eq!(ask(&policy, &facts, |_| ()).limits.rows, None);
}

#[test]
fn an_exception_of_a_hold_must_cover_all_of_the_statement() {
    let policy = with_tags(
        "rules:\n  - {name: a, match: {tag: user.**}, unless: {relation: t}, effect: deny}\ndefault: allow\n",
    );
    assert_eq!(answer(&policy, &statement(&policy, &[Kind::Read], &["t.email"])).0, Verdict::Allow);
    assert_eq!(answer(&policy, &statement(&policy, &[Kind::Read], &["t.email", "u.ssn"])).0, Verdict::Deny);
}

#[test]
fn an_exception_of_an_allow_matches_any_part_of_the_statement() {
    let policy = with_tags("rules:\n  - {name: a, match: {kind: read}, unless: {tag: \"**\"}, effect: allow}\n");
    assert_eq!(answer(&policy, &statement(&policy, &[Kind::Read], &["t.id"])).0, Verdict::Allow);
    assert_eq!(answer(&policy, &statement(&policy, &[Kind::Read], &["t.id", "t.email"])).0, Verdict::Hold);
}

#[test]
fn an_exception_by_a_size_that_is_only_estimated_leaves_a_cap() {
    let policy = with_tags(
        "rules:\n  - {name: a, match: {tag: user.**}, unless: {rows: \"<= 5\"}, effect: hold}\ndefault: allow\n",
    );
    let facts = statement(&policy, &[Kind::Read], &["t.email"]);
    assert_eq!(answer(&policy, &facts).0, Verdict::Hold);
    let likely = ask(&policy, &facts, |request| {
        request.estimate = Some(Estimate { rows: Some(2), bytes: None, ..Estimate::default() });
    });
    assert_eq!((likely.verdict, likely.limits.rows), (Verdict::Allow, Some(5)));
}

#[test]
fn a_rule_in_observe_mode_is_recorded_and_passed_over() {
    let policy = policy(
        "rules:\n  - {name: a, match: {kind: read}, mode: observe, effect: deny}\n  - {name: b, match: {kind: read}, effect: allow}\n",
    );
    let decision = ask(&policy, &statement(&policy, &[Kind::Read], &[]), |_| ());
    assert_eq!((decision.verdict, &*decision.rule), (Verdict::Allow, "b"));
    assert_eq!(decision.observed, [Observed { rule: "a".into(), verdict: Verdict::Deny }]);
}

#[test]
fn a_policy_in_observe_mode_answers_as_it_would() {
    let policy = policy("mode: observe\nrules:\n  - {name: a, match: {kind: read}, effect: deny}\n");
    assert_eq!(policy.mode(), Mode::Observe);
    assert_eq!(answer(&policy, &statement(&policy, &[Kind::Read], &[])).0, Verdict::Deny);
}

#[test]
fn conditions_on_the_session_match_what_is_known_of_it() {
    let matching = [
        "principal: bot-*",
        "principal: [nobody, {kind: agent}]",
        "principal: {groups: support, on_behalf_of: ann}",
        "principal: {role: app}",
        "database: shop",
        "client: unix",
        "time: \"Thu 00:00-01:00\"",
    ];
    let others = [
        "principal: bot",
        "principal: {kind: human}",
        "principal: {groups: support, on_behalf_of: bob}",
        "database: Shop",
        "principal: {role: postgres}",
        "client: 0.0.0.0/0",
        "time: Fri",
        "environment: \"*\"",
        "intent: \"*\"",
    ];
    for (conditions, verdict) in [(&matching[..], Verdict::Deny), (&others[..], Verdict::Allow)] {
        for condition in conditions {
            let policy =
                policy(&format!("rules:\n  - {{name: a, match: {{{condition}}}, effect: deny}}\ndefault: allow\n"));
            assert_eq!(answer(&policy, &statement(&policy, &[Kind::Read], &[])).0, verdict, "{condition}");
        }
    }
}

#[test]
fn environment_intent_client_and_unbounded_match() {
    let policy = policy(
        "rules:\n  - {name: a, match: {environment: prod*, intent: \"*refund*\", client: 10.0.0.0/8, unbounded: true}, effect: deny}\ndefault: allow\n",
    );
    let facts = statement(&policy, &[Kind::Read], &[]);
    let decision = ask(&policy, &facts, |request| {
        request.environment = Some("production");
        request.intent = Some("look up the refund of order 7. Then stop");
        request.client = Some("10.1.2.3".parse().unwrap());
    });
    assert_eq!(decision.verdict, Verdict::Deny);
}

#[test]
fn sensitivity_comes_from_tags_size_and_kinds() {
    let policy = with_tags("default: allow\n");
    let grave = |kinds: &[Kind], columns: &[&str], bound: Bound| {
        let mut facts = statement(&policy, kinds, columns);
        facts.bound = bound;
        if kinds.contains(&Kind::Opaque) {
            facts.opaque = vec!["unknown".to_owned()];
        }
        ask(&policy, &facts, |_| ()).sensitivity
    };
    let read = [Kind::Read];
    assert_eq!(grave(&read, &["t.id"], Bound::Unbounded), Sensitivity::Low);
    assert_eq!(grave(&read, &["t.email"], Bound::One), Sensitivity::Moderate);
    assert_eq!(grave(&read, &["t.email"], Bound::Unbounded), Sensitivity::High);
    assert_eq!(grave(&read, &["!t.email"], Bound::Unbounded), Sensitivity::Moderate);
    assert_eq!(grave(&read, &["t.ssn"], Bound::One), Sensitivity::High);
    assert_eq!(grave(&read, &["t.ssn"], Bound::Rows(501)), Sensitivity::Critical);
    assert_eq!(grave(&[Kind::Export], &["t.email"], Bound::One), Sensitivity::High);
    assert_eq!(grave(&[Kind::Ddl], &[], Bound::One), Sensitivity::Moderate);
    assert_eq!(grave(&[Kind::Opaque], &[], Bound::Unbounded), Sensitivity::Moderate);
    assert_eq!(grave(&[Kind::Opaque], &["t.email"], Bound::One), Sensitivity::Critical);
}

#[test]
fn error_texts_on_tagged_relations_are_redacted_unless_the_rule_reveals_them() {
    let errors = |head: &str, rule: &str, columns: &[&str], function: Option<&str>| {
        let policy = with_tags(&format!("{head}rules:\n  - {{name: a, match: {{kind: read}}, effect: allow{rule}}}\n"));
        let mut facts = statement(&policy, &[Kind::Read], columns);
        facts.functions.extend(function.map(str::to_owned));
        ask(&policy, &facts, |_| ()).errors
    };
    assert_eq!(errors("", "", &["t.id"], None), ErrorText::Pass);
    assert_eq!(errors("", "", &["t.email"], Some("pg_catalog.lower")), ErrorText::Redact);
    assert_eq!(errors("", "", &["t.email"], Some("public.f")), ErrorText::RedactAll);
    assert_eq!(errors("", ", reveal_errors: true", &["t.email"], None), ErrorText::Pass);
    assert_eq!(errors("errors: pass\n", "", &["t.email"], None), ErrorText::Pass);
    assert!(
        ErrorText::Redact.redacts("22P02") && ErrorText::Redact.redacts("P0001") && ErrorText::Redact.redacts_notices()
    );
    assert!(
        !ErrorText::Redact.redacts("42703")
            && ErrorText::RedactAll.redacts("42703")
            && !ErrorText::Pass.redacts("23505")
    );
}

#[test]
fn the_strictest_of_several_decisions_takes_the_tightest_of_each() {
    let policy = with_tags(
        "rules:\n  - {name: a, match: {tag: user.**, rows: \"> 500\"}, effect: hold}\n  \
        - {name: b, match: {kind: ddl}, effect: hold, approve: {quorum: 2}}\n  - {name: c, match: {kind: read}, effect: allow, limits: {rows: 10}}\ndefault: allow\n",
    );
    let decide = |kinds: &[Kind], columns: &[&str]| ask(&policy, &statement(&policy, kinds, columns), |_| ());
    let decision = Decision::strictest([
        decide(&[Kind::Read], &["t.email"]),
        decide(&[Kind::Ddl], &[]),
        decide(&[Kind::Read], &[]),
    ]);
    let decision = decision.unwrap();
    assert_eq!((decision.verdict, &*decision.rule, decision.approve.quorum), (Verdict::Hold, "b", 2));
    assert_eq!((decision.limits.rows, decision.sensitivity), (Some(10), Sensitivity::High));
    assert!(decision.wants_estimate && decision.errors == ErrorText::Redact);
    assert_eq!(Decision::strictest([]), None);
}

#[test]
fn limits_and_approval_are_as_written_or_by_default() {
    let policy = policy(
        "rules:\n  - name: a\n    match: {kind: read}\n    effect: allow\n    approve: {from: [dba, dpo], quorum: 2, expires: 5m}\n    \
        limits: {rows: 7, bytes: 2KiB, on_limit: deny, per: [{tag: user.**, rows: 9, window: 1h}]}\n",
    );
    let decision = ask(&policy, &statement(&policy, &[Kind::Read], &[]), |_| ());
    let budgets = vec![Budget { tag: Glob::parse("user.**").unwrap(), rows: 9, window: Duration::from_hours(1) }];
    assert_eq!(decision.limits, Limits { rows: Some(7), bytes: Some(2048), on_limit: OnLimit::Deny, budgets });
    let from = vec!["dba".to_owned(), "dpo".to_owned()];
    assert_eq!(decision.approve, Approve { from, quorum: 2, expires: Duration::from_mins(5) });
    let default = ask(&policy, &statement(&policy, &[Kind::Write], &[]), |_| ()).approve;
    assert_eq!(default, Approve { from: vec!["dba".to_owned()], quorum: 1, expires: Duration::from_mins(30) });
}

#[test]
fn a_reason_names_columns_and_kinds() {
    let policy =
        with_tags("rules:\n  - {name: big, match: {kind: read, tag: user.**, rows: \"> 500\"}, effect: hold}\n");
    let mut facts = statement(&policy, &[Kind::Read], &["t.id", "t.email"]);
    facts.packs = true;
    assert_eq!(
        ask(&policy, &facts, |_| ()).reason,
        "The rule big applies: the statement is read, and it touches public.t.email (user.contact.email), and the rows it \
         reveals are not known to be 500 or fewer."
    );
}

#[test]
fn a_sensitivity_that_rests_on_an_unknown_size_wants_an_estimate() {
    let policy = with_tags("rules:\n  - {name: a, match: {kind: read, sensitivity: [low, moderate]}, effect: allow}\n");
    let facts = statement(&policy, &[Kind::Read], &["t.email"]);
    let unknown = ask(&policy, &facts, |_| ());
    assert_eq!((unknown.verdict, unknown.wants_estimate), (Verdict::Hold, true));
    let likely = ask(&policy, &facts, |request| {
        request.estimate = Some(Estimate { rows: Some(5), bytes: None, ..Estimate::default() });
    });
    assert_eq!((likely.verdict, likely.wants_estimate), (Verdict::Allow, false));
}
