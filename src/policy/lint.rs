//! What `check` finds beyond types: rules that cannot mean what they say.

use std::collections::BTreeMap;

use super::Policy;
use super::compile::Compiler;
use super::decision::{ALWAYS_RULE, DEFAULT_RULE, Verdict};
use super::document::{Document, Match, Mode, RuleEntry, Words};
use super::finding::{Finding, Place, nearest};
use super::matcher::Matcher;
use super::rule::Rule;
use super::yaml::At;
use crate::analysis::Kind;
use crate::catalog::tags::{Glob, NamePattern, Wildcard};

/// Commands that are never held or denied: those of `StatementFacts::is_always_allowed`, as a test holds.
pub(super) const ALWAYS: [&str; 13] = [
    "BEGIN",
    "START TRANSACTION",
    "COMMIT",
    "END",
    "ROLLBACK",
    "SAVEPOINT",
    "RELEASE",
    "ROLLBACK TO",
    "DEALLOCATE",
    "DEALLOCATE ALL",
    "CLOSE",
    "CLOSE CURSOR",
    "CLOSE CURSOR ALL",
];

/// Findings that would mislead where something of the files could not be read and is left out.
pub(super) const NEEDS_ALL: [&str; 4] = ["empty", "unknown-tag", "shadowed", "opaque-allowed"];

/// Tags that come from the catalog itself, not from a tag rule.
const CATALOG_TAGS: [&str; 1] = ["system.values"];

/// Findings of one file.
pub(super) fn document(path: &str, document: &Document, policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in &document.rules {
        reserved_name(path, entry, &mut findings);
        for conditions in [Some(&entry.matches), entry.unless.as_ref()].into_iter().flatten() {
            empty(path, conditions, &mut findings);
            unknown_tags(path, &conditions.value, policy, &mut findings);
        }
        always_allowed(path, entry, &mut findings);
    }
    findings
}

/// Findings that need all files.
pub(super) fn across(policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    same_name(&policy.rules, &mut findings);
    shadowed(&policy.rules, &mut findings);
    findings.extend(opaque_hole(policy));
    findings
}

fn reserved_name(path: &str, entry: &RuleEntry, findings: &mut Vec<Finding>) {
    let name = &entry.name;
    if [ALWAYS_RULE, DEFAULT_RULE].contains(&name.as_str()) || name.trim().is_empty() {
        let message = format!("a rule cannot be called `{}`", name.value);
        findings.push(Finding::error(path, name.place, "reserved-name", message).hint("give it a name of its own"));
    }
}

/// Conditions that match everything, or nothing.
fn empty(path: &str, conditions: &At<Match>, findings: &mut Vec<Finding>) {
    if Compiler::new(path).matcher(&conditions.value) == Matcher::default() {
        let finding =
            Finding::error(path, conditions.place, "empty", "no condition is given, so that it matches everything");
        findings.push(finding.hint("name a condition, or say it with `default:`"));
    }
    let given = &conditions.value;
    let words = [
        ("database", &given.database),
        ("command", &given.command),
        ("relation", &given.relation),
        ("column", &given.column),
        ("tag", &given.tag),
        ("function", &given.function),
        ("environment", &given.environment),
        ("intent", &given.intent),
    ];
    let others = [
        ("principal", given.principal.as_ref().map(|list| list.len())),
        ("kind", given.kind.as_ref().map(|list| list.len())),
        ("access", given.access.as_ref().map(|list| list.len())),
        ("sensitivity", given.sensitivity.as_ref().map(|list| list.len())),
        ("time", given.time.as_ref().map(|list| list.len())),
        ("client", given.client.as_ref().map(|list| list.len())),
    ];
    let lengths = words.into_iter().map(|(key, words)| (key, words.as_ref().map(|words| words.len()))).chain(others);
    for (key, _) in lengths.filter(|(_, length)| *length == Some(0)) {
        let message = format!("`{key}` lists nothing, so that the rule never matches");
        findings.push(Finding::error(path, conditions.place, "empty", message));
    }
}

/// Tag patterns that no tag of the policy matches.
fn unknown_tags(path: &str, conditions: &Match, policy: &Policy, findings: &mut Vec<Finding>) {
    let known = policy.tag_rules.tags();
    let names = || known.iter().map(|tag| &**tag).chain(CATALOG_TAGS);
    for word in conditions.tag.iter().flat_map(|words| words.iter()) {
        let Ok(glob) = Glob::parse(word) else { continue };
        if names().any(|tag| glob.matches(tag)) {
            continue;
        }
        let finding = Finding::warning(
            path,
            word.place,
            "unknown-tag",
            format!("no column is given a tag like `{}`", word.value),
        );
        findings.push(match nearest(word, names()) {
            Some(meant) => finding.hint(format!("did you mean `{meant}`?")),
            None => finding.hint("add a tag rule, or take the pattern out"),
        });
    }
}

/// A rule that would stop what a session must always be able to say.
fn always_allowed(path: &str, entry: &RuleEntry, findings: &mut Vec<Finding>) {
    if entry.effect.value == Verdict::Allow {
        return;
    }
    let effect = entry.effect.as_str();
    let mut add = |place: Place, what: String| {
        let message =
            format!("{what} cannot be stopped: a refused BEGIN would let the next statement commit by itself");
        let hint = format!("take it out of this {effect}; PREPARE TRANSACTION is judged by `command`");
        findings.push(Finding::error(path, place, "always-allowed", message).hint(hint));
    };
    let conditions = &entry.matches;
    if conditions.kind.as_ref().is_some_and(|kinds| kinds.contains(&Kind::Transaction)) {
        add(conditions.place, "transaction control".to_owned());
    }
    for (word, command) in stopped(conditions.command.as_ref()) {
        add(word, format!("{command} (transaction control)"));
    }
}

/// The first always-allowed command of each pattern.
fn stopped(commands: Option<&Words>) -> impl Iterator<Item = (Place, &'static str)> {
    commands.into_iter().flat_map(|words| words.iter()).filter_map(|word| {
        let pattern = Wildcard::parse(&word.to_uppercase()).ok()?;
        ALWAYS.iter().find(|command| pattern.matches(command)).map(|command| (word.place, *command))
    })
}

fn same_name(rules: &[Rule], findings: &mut Vec<Finding>) {
    let mut seen: BTreeMap<&str, &Rule> = BTreeMap::new();
    for rule in rules {
        if let Some(first) = seen.insert(&rule.name, rule) {
            let message = format!("the rule `{}` stands in {}:{} already", rule.name, first.path, first.place.line);
            findings
                .push(Finding::error(&rule.path, rule.place, "duplicate-name", message).hint("give it another name"));
        }
    }
}

/// Rules that can never decide, because an earlier one decides whatever they match.
fn shadowed(rules: &[Rule], findings: &mut Vec<Finding>) {
    for (index, rule) in rules.iter().enumerate() {
        let earlier = rules.iter().take(index).find(|earlier| hides(earlier, rule));
        if let Some(earlier) = earlier {
            let message = format!(
                "`{}` never decides: `{}` on line {} decides first whatever it matches",
                rule.name, earlier.name, earlier.place.line
            );
            let finding = Finding::error(&rule.path, rule.place, "shadowed", message);
            findings.push(finding.hint("move it up, narrow the earlier rule, or delete it"));
        }
    }
}

/// Whether `earlier` surely decides wherever `later` would.
fn hides(earlier: &Rule, later: &Rule) -> bool {
    let by_part = earlier.effect == Verdict::Allow && later.effect != Verdict::Allow;
    earlier.mode == Mode::Enforce
        && earlier.unless.is_none()
        && later.mode == Mode::Enforce
        && !(by_part && (earlier.matches.kind.is_some() || earlier.matches.looks_inside()))
        && contains(&earlier.matches, &later.matches)
}

/// Whether each condition of `wide` holds wherever those of `narrow` do.
fn contains(wide: &Matcher, narrow: &Matcher) -> bool {
    let sized = wide.rows.is_some() || wide.bytes.is_some();
    !sized
        && same_or_none(wide.principal.as_ref(), narrow.principal.as_ref())
        && same_or_none(wide.time.as_ref(), narrow.time.as_ref())
        && same_or_none(wide.client.as_ref(), narrow.client.as_ref())
        && same_or_none(wide.unbounded.as_ref(), narrow.unbounded.as_ref())
        && subset(wide.kind.as_ref(), narrow.kind.as_ref(), PartialEq::eq)
        && subset(wide.access.as_ref(), narrow.access.as_ref(), PartialEq::eq)
        && subset(wide.sensitivity.as_ref(), narrow.sensitivity.as_ref(), PartialEq::eq)
        && subset(wide.database.as_ref(), narrow.database.as_ref(), Wildcard::covers)
        && subset(wide.environment.as_ref(), narrow.environment.as_ref(), Wildcard::covers)
        && subset(wide.intent.as_ref(), narrow.intent.as_ref(), Wildcard::covers)
        && subset(wide.command.as_ref(), narrow.command.as_ref(), Wildcard::covers)
        && subset(wide.tag.as_ref(), narrow.tag.as_ref(), Glob::covers)
        && subset(wide.relation.as_ref(), narrow.relation.as_ref(), NamePattern::covers)
        && subset(wide.column.as_ref(), narrow.column.as_ref(), NamePattern::covers)
        && subset(wide.function.as_ref(), narrow.function.as_ref(), NamePattern::covers)
}

fn same_or_none<T: PartialEq>(wide: Option<&T>, narrow: Option<&T>) -> bool {
    wide.is_none() || wide == narrow
}

/// Whether everything that `narrow` lists is within something that `wide` lists.
fn subset<T>(wide: Option<&Vec<T>>, narrow: Option<&Vec<T>>, covers: impl Fn(&T, &T) -> bool) -> bool {
    match (wide, narrow) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => narrow.iter().all(|one| wide.iter().any(|other| covers(other, one))),
    }
}

/// Rules that look inside statements, over a default that lets through what nobody can look into.
fn opaque_hole(policy: &Policy) -> Option<Finding> {
    let strict = |rule: &&Rule| rule.effect != Verdict::Allow && rule.mode == Mode::Enforce;
    let looks_inside = policy.rules.iter().filter(strict).find(|rule| rule.matches.looks_inside())?;
    let names_opaque =
        policy.rules.iter().any(|rule| rule.matches.kind.as_ref().is_some_and(|k| k.contains(&Kind::Opaque)));
    if policy.default != Verdict::Allow || names_opaque {
        return None;
    }
    let message = format!("`{}` cannot see into opaque statements, and the default lets them pass", looks_inside.name);
    let finding = Finding::warning(&looks_inside.path, looks_inside.place, "opaque-allowed", message);
    Some(finding.hint("add a rule for `kind: opaque`"))
}
