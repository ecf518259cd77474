//! How grave a statement is: one table over its tags, its size and its kinds.
//!
//! | columns | few rows (≤ 10), or only probed or written | some (≤ 500) | many, or unknown |
//! |---|---|---|---|
//! | untagged | low | low | low |
//! | personal or other tag | moderate | moderate | high |
//! | secret: credentials, government and payment numbers, special categories | high | high | critical |
//!
//! Kinds raise it: ddl and dcl are at least moderate; an export counts as many rows; opaque is at least moderate, and
//! critical over tagged columns.

use super::decision::{Request, Sensitivity};
use super::size::Amount;
use crate::analysis::{Access, Kind, StatementFacts};

/// Rows that are few.
const FEW: u64 = 10;
/// Rows that are some.
const SOME: u64 = 500;

/// Tags whose values do harm by themselves, in Fideslang words; each with all below it.
const SECRET: [&str; 15] = [
    "system.authentication",
    "system.values",
    "user.authorization",
    "user.biometric",
    "user.biometric_health",
    "user.criminal_history",
    "user.financial",
    "user.genetic",
    "user.government_id",
    "user.health_and_medical",
    "user.payment",
    "user.demographic.race_ethnicity",
    "user.demographic.religious_belief",
    "user.demographic.sexual_orientation",
    "user.demographic.political_opinion",
];

/// What the columns of a statement carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Untagged,
    Personal,
    Secret,
}

/// How much of it comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Volume {
    Few,
    Some,
    Many,
}

/// How grave it is.
pub(super) fn of(request: &Request<'_>) -> Sensitivity {
    let facts = request.facts;
    let class = class(facts);
    let by_columns = match (class, volume(request)) {
        (Class::Untagged, _) => Sensitivity::Low,
        (Class::Personal, Volume::Few | Volume::Some) => Sensitivity::Moderate,
        (Class::Personal, Volume::Many) | (Class::Secret, Volume::Few | Volume::Some) => Sensitivity::High,
        (Class::Secret, Volume::Many) => Sensitivity::Critical,
    };
    let by_kind = match facts.kind() {
        Kind::Opaque if class != Class::Untagged => Sensitivity::Critical,
        Kind::Opaque | Kind::Ddl | Kind::Dcl => Sensitivity::Moderate,
        Kind::Session | Kind::Transaction | Kind::Read | Kind::Write | Kind::Call | Kind::Export => Sensitivity::Low,
    };
    by_columns.max(by_kind)
}

fn class(facts: &StatementFacts) -> Class {
    let tags = facts.columns.values().flat_map(|column| &column.tags);
    tags.map(|tag| if is_secret(tag) { Class::Secret } else { Class::Personal }).max().unwrap_or(Class::Untagged)
}

fn is_secret(tag: &str) -> bool {
    let within = |root: &&str| tag.strip_prefix(*root).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    SECRET.iter().any(within)
}

fn volume(request: &Request<'_>) -> Volume {
    let facts = request.facts;
    let mut tagged = facts.columns.values().filter(|column| !column.tags.is_empty());
    if !facts.packs && !tagged.any(|column| column.access.contains(&Access::Reveal)) {
        return Volume::Few;
    }
    if facts.kinds.contains(&Kind::Export) {
        return Volume::Many;
    }
    match Amount::rows(request).known() {
        Some(rows) if rows <= FEW => Volume::Few,
        Some(rows) if rows <= SOME => Volume::Some,
        _ => Volume::Many,
    }
}
