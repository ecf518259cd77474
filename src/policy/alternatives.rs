//! What a policy would allow in place of a statement that it refuses: fewer columns, fewer rows. Pure.
//!
//! Found by asking the same policy about a milder statement, so that it can never promise what the policy would not keep.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Policy;
use super::condition::Compare;
use super::decision::{Estimate, Request, Verdict};
use crate::analysis::{Access, Bound, ColumnName, Kind, StatementFacts};

/// What would be allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Alternatives {
    /// The columns of the result that it may have.
    pub columns: Vec<String>,
    /// The columns that it must not show, `schema.table.column`.
    pub without: Vec<String>,
    /// At most so many rows, with all of its columns.
    pub rows_max: Option<u64>,
}

impl Alternatives {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.without.is_empty() && self.rows_max.is_none()
    }

    /// What to do, as a sentence; `None` where there is nothing.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        let columns = (!self.without.is_empty()).then(|| format!("leave out {}", self.without.join(", ")));
        let rows = self.rows_max.map(|rows| format!("ask for at most {rows} rows (LIMIT {rows})"));
        let all: Vec<_> = columns.into_iter().chain(rows).collect();
        (!all.is_empty()).then(|| format!("It is allowed if you {}.", all.join(", or ")))
    }
}

impl Policy {
    /// What would be allowed instead of a statement that is not. Empty where nothing milder is known: for what is no plain
    /// read, or is opaque.
    #[must_use]
    pub fn alternatives(&self, request: &Request<'_>) -> Alternatives {
        let facts = request.facts;
        let reads = facts.kinds.iter().all(|kind| matches!(kind, Kind::Read | Kind::Export));
        if !reads || !facts.opaque.is_empty() || self.allows(request, facts) {
            return Alternatives::default();
        }
        let mut found = Alternatives::default();
        if let Some((narrower, without)) = narrower(facts).filter(|(narrower, _)| self.allows(request, narrower)) {
            found.columns = narrower.outputs.into_iter().map(|output| output.name).collect();
            found.without = without.iter().map(ToString::to_string).collect();
        }
        found.rows_max = self.thresholds().into_iter().rev().find(|rows| {
            facts.bound.rows().is_none_or(|bound| bound > *rows) && self.allows(request, &shorter(facts, *rows))
        });
        found
    }

    fn allows(&self, request: &Request<'_>, facts: &StatementFacts) -> bool {
        let rows = facts.bound.rows().or(request.estimate.and_then(|estimate| estimate.rows));
        let estimate = Some(Estimate { rows, ..request.estimate.unwrap_or_default() });
        self.evaluate(&Request { facts, estimate, ..request.clone() }).verdict == Verdict::Allow
    }

    /// Numbers of rows at which the rules' answers may change, and one row.
    fn thresholds(&self) -> BTreeSet<u64> {
        let matchers = self.rules.iter().flat_map(|rule| [Some(&rule.matches), rule.unless.as_ref()]).flatten();
        let compared = matchers.filter_map(|matcher| matcher.rows).map(|compare| match compare {
            Compare::Above(rows) | Compare::UpTo(rows) => rows,
        });
        compared.chain([1]).filter(|rows| *rows > 0).collect()
    }
}

/// The statement without the tagged columns that it shows. What only decides about rows stays.
fn narrower(facts: &StatementFacts) -> Option<(StatementFacts, BTreeSet<ColumnName>)> {
    let shown =
        facts.columns.iter().filter(|(_, column)| !column.tags.is_empty() && column.access.contains(&Access::Reveal));
    let without: BTreeSet<ColumnName> = shown.map(|(name, _)| name.clone()).collect();
    let mut narrower = facts.clone();
    narrower.outputs.retain(|output| output.sources.is_disjoint(&without));
    if without.is_empty() || narrower.outputs.is_empty() {
        return None;
    }
    for name in &without {
        if let Some(column) = narrower.columns.get_mut(name) {
            column.access.remove(&Access::Reveal);
        }
    }
    narrower.columns.retain(|_, column| !column.access.is_empty());
    Some((narrower, without))
}

fn shorter(facts: &StatementFacts, rows: u64) -> StatementFacts {
    let bound = if rows == 1 { Bound::One } else { Bound::Rows(rows) };
    StatementFacts { bound, ..facts.clone() }
}

#[cfg(test)]
#[path = "alternatives_tests.rs"]
mod tests;
