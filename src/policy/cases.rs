//! The tests that stand beside the rules, run with made-up facts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Policy;
use super::decision::{Decision, Estimate, Request};
use super::document::{Document, Expect, Given, TestEntry};
use super::finding::{Finding, Place};
use super::yaml::At;
use crate::analysis::{Access, Bound, ColumnFacts, ColumnName, Flows, Kind, RelationName, StatementFacts, Tag};
use crate::clock::Timestamp;
use crate::principal::Principal;

const DATABASE: &str = "test";

/// Findings for the tests of one file that do not hold.
pub(super) fn run(path: &str, document: &Document, policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    for test in &document.tests {
        run_one(path, test, policy, &mut findings);
    }
    findings
}

fn run_one(path: &str, test: &At<TestEntry>, policy: &Policy, findings: &mut Vec<Finding>) {
    let given = &test.given;
    let facts = facts(given, policy);
    let principal = principal(given);
    let request = Request {
        principal: &principal,
        database: database(given),
        client: given.client.as_ref().map(|client| -> IpAddr { client.value.0 }),
        environment: given.environment.as_deref(),
        intent: given.intent.as_deref(),
        facts: &facts,
        estimate: estimate(given),
        at: given.at.as_ref().map_or(Timestamp::from_micros(0), |at| at.value.0),
    };
    let decision = policy.evaluate(&request);
    for (place, message) in differences(&test.expect, &decision) {
        let message = format!("the test `{}` fails: {message}", test.name.value);
        findings.push(Finding::error(path, place, "test-fails", message).hint(decision.reason.clone()));
    }
}

fn differences(expect: &Expect, decision: &Decision) -> Vec<(Place, String)> {
    let mut differences = Vec::new();
    if expect.verdict.value != decision.verdict {
        let (wanted, found) = (expect.verdict.as_str(), decision.verdict.as_str());
        differences.push((expect.verdict.place, format!("it expects {wanted}, and `{}` says {found}", decision.rule)));
    }
    if let Some(rule) = expect.rule.as_ref().filter(|rule| *rule.value != *decision.rule) {
        differences
            .push((rule.place, format!("it expects the rule `{}`, and `{}` decides", rule.value, decision.rule)));
    }
    if let Some(rows) = expect.rows.as_ref().filter(|rows| Some(rows.value) != decision.limits.rows) {
        let found = decision.limits.rows.map_or_else(|| "none".to_owned(), |rows| rows.to_string());
        differences.push((rows.place, format!("it expects a cap of {} rows, and the cap is {found}", rows.value)));
    }
    if let Some(grave) = expect.sensitivity.as_ref().filter(|grave| grave.value != decision.sensitivity) {
        let (wanted, found) = (grave.as_str(), decision.sensitivity.as_str());
        differences.push((grave.place, format!("it expects sensitivity {wanted}, and it is {found}")));
    }
    differences
}

fn database(given: &Given) -> &str {
    given.database.as_deref().unwrap_or(DATABASE)
}

fn principal(given: &Given) -> Principal {
    let Some(At { value: principal, .. }) = &given.principal else { return Principal::default() };
    Principal {
        name: principal.name.clone(),
        kind: principal.kind,
        human: principal.on_behalf_of.clone(),
        groups: principal.groups.0.clone(),
        role: principal.role.clone().unwrap_or_else(|| principal.name.clone()),
    }
}

fn estimate(given: &Given) -> Option<Estimate> {
    let estimate = Estimate { rows: given.estimate, bytes: given.bytes, ..Estimate::default() };
    (estimate != Estimate::default()).then_some(estimate)
}

fn facts(given: &Given, policy: &Policy) -> StatementFacts {
    let mut kinds: BTreeSet<Kind> = given.kind.iter().copied().collect();
    if kinds.is_empty() {
        kinds.insert(Kind::Read);
    }
    let opaque = if kinds.contains(&Kind::Opaque) { vec!["the test says so".to_owned()] } else { Vec::new() };
    let columns = columns(given, policy);
    let mut relations: BTreeSet<RelationName> = given.relation.iter().map(|name| relation(name)).collect();
    relations.extend(columns.keys().map(|column| column.relation.clone()));
    StatementFacts {
        kinds,
        command: given.command.as_deref().unwrap_or("SELECT").to_uppercase(),
        span: 0..0,
        scans: if given.whole { relations.clone() } else { BTreeSet::new() },
        relations,
        columns,
        functions: given.function.iter().cloned().collect(),
        outputs: Vec::new(),
        opaque,
        bound: given.rows.map_or(Bound::Unbounded, Bound::Rows),
        packs: given.packs,
        pure_read: true,
        flows: Flows::default(),
        effects: Vec::new(),
        findings: Vec::new(),
        unresolved: false,
        defined: false,
        session_local: false,
    }
}

fn columns(given: &Given, policy: &Policy) -> BTreeMap<ColumnName, ColumnFacts> {
    let mut access: BTreeSet<Access> = given.access.iter().copied().collect();
    if access.is_empty() {
        access.insert(Access::Reveal);
    }
    let mut columns: BTreeMap<_, _> = given.column.iter().map(|name| column(name, given, policy)).collect();
    if columns.is_empty() && !given.tag.is_empty() {
        let relation = given.relation.first().map_or_else(|| relation("public.unnamed"), |name| relation(name));
        columns.insert(ColumnName { relation, column: "unnamed".into() }, ColumnFacts::default());
    }
    for facts in columns.values_mut() {
        facts.access.clone_from(&access);
        facts.tags.extend(given.tag.iter().map(|tag| Tag::from(tag.as_str())));
    }
    columns
}

fn column(name: &str, given: &Given, policy: &Policy) -> (ColumnName, ColumnFacts) {
    let (table, column) = name.rsplit_once('.').unwrap_or(("public.unnamed", name));
    let relation = relation(table);
    let tags = policy.tag_rules.tags_for(database(given), &relation.schema, &relation.name, column);
    let facts = ColumnFacts { access: BTreeSet::new(), tags: tags.into_iter().collect(), ..ColumnFacts::default() };
    (ColumnName { relation, column: column.into() }, facts)
}

/// `schema.table`; `public` where no schema is given.
fn relation(name: &str) -> RelationName {
    let (schema, name) = name.split_once('.').unwrap_or(("public", name));
    RelationName { schema: schema.into(), name: name.into() }
}
