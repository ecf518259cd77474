//! What one text may cost: each step is counted, and a statement that has no steps left is opaque.

use std::cell::Cell;

use super::analyzer::Analyzer;
use super::facts::{Facts, SessionEffect};
use super::touch::{Field, Value};

/// Steps of one text: expressions, queries and FROM items read, columns carried from one to the next. About as many
/// seconds as millions, in a release build. The largest queries of TPC-DS take a few thousand.
pub const WORK_MAX: usize = 1_000_000;

/// Why a statement is opaque that would have taken more steps.
const TOO_MUCH: &str = "it takes more work than an analysis may cost";

/// Steps that are left to the statements of a text.
#[derive(Debug)]
pub(super) struct Work {
    left: Cell<usize>,
}

impl Default for Work {
    fn default() -> Self {
        Self::new(WORK_MAX)
    }
}

impl Work {
    pub(super) const fn new(max: usize) -> Self {
        Self { left: Cell::new(max) }
    }

    fn spend(&self, steps: usize) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(steps));
        left >= steps
    }
}

impl Analyzer<'_> {
    /// Pays for some steps; false where none are left, and then nothing more may be read.
    pub(super) fn spend(&mut self, steps: usize) -> bool {
        let paid = self.work.spend(steps);
        if !paid && !self.exhausted {
            self.exhausted = true;
            self.touched.acts = true;
            // What it did not come to could have changed definitions.
            self.touched.effects.push(SessionEffect::CatalogChange);
        }
        if !paid {
            self.touched.opaque(TOO_MUCH);
        }
        paid
    }

    /// Pays for a value that is carried on.
    pub(super) fn carried(&mut self, value: Value) -> Value {
        let fields = value.fields.as_ref().map_or(0, |fields| fields.len());
        if self.spend(value.sources.len() / 4 + fields / 4) { value } else { Value::default() }
    }

    /// Pays for columns that are carried on.
    pub(super) fn carried_fields(&mut self, fields: Vec<Field>) -> Vec<Field> {
        if self.spend(weight(&fields)) { fields } else { Vec::new() }
    }
}

/// What it costs to carry columns on.
pub(super) fn weight(fields: &[Field]) -> usize {
    fields.iter().map(|field| 1 + field.value.sources.len() / 4).sum()
}

impl Facts {
    /// Whether a statement in it was given up for the work that it takes: with more, more would be known.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.statements.iter().any(|statement| statement.opaque.iter().any(|why| why == TOO_MUCH))
    }
}

#[cfg(test)]
#[path = "work_tests.rs"]
mod tests;
