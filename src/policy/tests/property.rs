//! A stricter policy never widens.

use proptest::prelude::*;

use super::evaluating::{ask, statement};
use super::*;
use crate::analysis::{Bound, Kind, StatementFacts};

const TAGS: &str =
    "tags:\n  - {columns: email, tag: user.contact.email}\n  - {columns: ssn, tag: user.government_id}\n";

fn condition() -> impl Strategy<Value = String> {
    let one = prop_oneof![
        prop::sample::subsequence(vec!["read", "write", "call", "export", "ddl", "opaque"], 1..4)
            .prop_map(|kinds| format!("kind: [{}]", kinds.join(", "))),
        prop::sample::select(vec!["user.**", "user.contact.*", "user.government_id"])
            .prop_map(|tag| format!("tag: {tag}")),
        prop::sample::select(vec!["t", "u", "public.*"]).prop_map(|relation| format!("relation: {relation}")),
        prop::sample::select(vec!["reveal", "probe", "[reveal, probe]"]).prop_map(|access| format!("access: {access}")),
        (prop::sample::select(vec![">", "<="]), 0_u64..1000)
            .prop_map(|(sign, rows)| format!("rows: \"{sign} {rows}\"")),
        any::<bool>().prop_map(|unbounded| format!("unbounded: {unbounded}")),
        Just("sensitivity: [high, critical]".to_owned()),
    ];
    prop::collection::vec(one, 1..4).prop_map(|mut conditions| {
        conditions.sort();
        conditions.dedup_by(|one, other| one.split(':').next() == other.split(':').next());
        conditions.join(", ")
    })
}

fn rule(effects: Vec<&'static str>) -> impl Strategy<Value = String> {
    let limits = prop_oneof![Just(None), (1_u64..2000).prop_map(Some)];
    (condition(), prop::option::of(condition()), prop::sample::select(effects), limits).prop_map(
        |(matches, unless, effect, limit)| {
            let unless = unless.map(|unless| format!(", unless: {{{unless}}}")).unwrap_or_default();
            let limit = limit.filter(|_| effect == "allow").map(|rows| format!(", limits: {{rows: {rows}}}"));
            format!("match: {{{matches}}}{unless}, effect: {effect}{}", limit.unwrap_or_default())
        },
    )
}

/// Rules under unique names. Shadowed ones are errors in files and no matter here.
fn assemble(rules: &[String]) -> Policy {
    let lines: Vec<_> = rules.iter().enumerate().map(|(at, rule)| format!("  - {{name: r{at}, {rule}}}")).collect();
    let lines = lines.join("\n") + "\n";
    let rules = if rules.is_empty() { String::new() } else { format!("rules:\n{lines}") };
    let source = source(&format!("{TAGS}{rules}default: allow\n"));
    match Policy::load(std::slice::from_ref(&source)) {
        Ok(policy) => policy,
        Err(findings) => {
            assert!(findings.iter().all(|finding| finding.code == "shadowed"), "{findings:#?}\n{}", source.text);
            Policy::assemble(&[source]).0
        }
    }
}

fn facts() -> impl Strategy<Value = StatementFacts> {
    let kinds = vec![Kind::Read, Kind::Write, Kind::Call, Kind::Export, Kind::Ddl, Kind::Opaque];
    let columns = vec!["t.id", "t.email", "!t.ssn", "u.ssn", "!u.email"];
    let bound = prop_oneof![Just(Bound::One), (0_u64..1500).prop_map(Bound::Rows), Just(Bound::Unbounded)];
    (prop::sample::subsequence(kinds, 1..3), prop::sample::subsequence(columns, 0..5), bound, any::<(bool, bool)>())
        .prop_map(|(kinds, columns, bound, (packs, whole))| {
            let mut facts = statement(&assemble(&[]), &kinds, &columns);
            facts.bound = bound;
            facts.packs = packs;
            if whole {
                facts.scans.clone_from(&facts.relations);
            }
            if kinds.contains(&Kind::Opaque) {
                facts.opaque.push("unknown".to_owned());
            }
            facts
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn a_hold_or_deny_in_front_never_makes_an_answer_milder(
        rules in prop::collection::vec(rule(vec!["allow", "hold", "deny"]), 0..4),
        stricter in rule(vec!["hold", "deny"]),
        facts in facts(),
        likely in prop::option::of(0_u64..1500),
    ) {
        let mut more = vec![stricter];
        more.extend(rules.iter().cloned());
        let estimate = likely.map(|rows| Estimate { rows: Some(rows), bytes: None, ..Estimate::default() });
        let before = ask(&assemble(&rules), &facts, |request| request.estimate = estimate);
        let after = ask(&assemble(&more), &facts, |request| request.estimate = estimate);
        // The rule in front may be a hold before a deny of the same statement: a person then decides what was refused.
        let may_be_asked = before.verdict == Verdict::Deny && &*after.rule == "r0";
        prop_assert!(after.verdict >= before.verdict || may_be_asked);
        if let (Verdict::Allow, Some(rows)) = (after.verdict, before.limits.rows) {
            prop_assert!(after.limits.rows.is_some_and(|now| now <= rows));
        }
    }
}
