//! What is offered instead is what the same policy allows.

use super::*;
use crate::analysis::Output;
use crate::clock::Timestamp;
use crate::policy::Source;
use crate::policy::tests::statement;
use crate::principal::Principal;

const TAGS: &str = "tags:\n  - {columns: email, tag: user.contact.email}\n";

fn policy(rules: &str) -> Policy {
    let source = Source { path: "p.yaml".to_owned(), text: format!("version: 1\n{TAGS}{rules}") };
    Policy::load(&[source]).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

fn reads(policy: &Policy, columns: &[&str]) -> StatementFacts {
    let mut facts = statement(policy, &[Kind::Read], columns);
    let shown = facts.columns.iter().filter(|(_, column)| column.access.contains(&Access::Reveal));
    facts.outputs = shown
        .map(|(name, _)| Output { name: name.column.to_string(), sources: BTreeSet::from([name.clone()]) })
        .collect();
    facts
}

fn instead(policy: &Policy, facts: &StatementFacts) -> Alternatives {
    let principal = Principal::default();
    policy.alternatives(&Request {
        principal: &principal,
        database: "shop",
        client: None,
        environment: None,
        intent: None,
        facts,
        estimate: None,
        at: Timestamp::from_micros(0),
    })
}

const NO_MAIL: &str =
    "rules:\n  - { name: no-mail, match: { tag: \"user.**\", access: reveal }, effect: deny }\ndefault: allow\n";

#[test]
fn a_denied_read_may_have_its_other_columns() {
    let policy = policy(NO_MAIL);
    let found = instead(&policy, &reads(&policy, &["customers.id", "customers.email"]));
    assert_eq!((found.columns, found.without), (vec!["id".to_owned()], vec!["public.customers.email".to_owned()]));
    assert_eq!(found.rows_max, None);
}

#[test]
fn a_denied_read_of_many_rows_may_have_as_many_as_its_rule_lets_pass() {
    let policy = policy(
        "rules:\n  - { name: few, match: { tag: \"user.**\", rows: \"> 50\" }, effect: deny }\ndefault: allow\n",
    );
    let mut facts = reads(&policy, &["customers.email"]);
    facts.scans = facts.relations.clone();
    assert_eq!(instead(&policy, &facts).rows_max, Some(50));
}

#[test]
fn nothing_is_offered_that_the_policy_would_not_keep() {
    let everything = policy("rules:\n  - { name: no, match: { kind: read }, effect: deny }\ndefault: allow\n");
    assert!(instead(&everything, &reads(&everything, &["customers.id", "customers.email"])).is_empty());
    let policy = policy(NO_MAIL);
    assert!(instead(&policy, &reads(&policy, &["customers.email"])).is_empty(), "no column would be left");
    let mut opaque = reads(&policy, &["customers.id", "customers.email"]);
    opaque.opaque.push("dynamic SQL".to_owned());
    assert!(instead(&policy, &opaque).is_empty());
    let write = statement(&policy, &[Kind::Read, Kind::Write], &["customers.id", "customers.email"]);
    assert!(instead(&policy, &write).is_empty());
}

#[test]
fn what_is_allowed_needs_no_alternative() {
    let policy = policy(NO_MAIL);
    assert!(instead(&policy, &reads(&policy, &["customers.id"])).is_empty());
}
