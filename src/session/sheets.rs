//! The sheets of a session: what the closing lines of statements that it repeats have in common.

use std::sync::Arc;

use super::ring::Ring;
use crate::analysis::Facts;
use crate::lineage::Sheet;
use crate::policy::Decision;

/// The sheets that were used last. Whoever changes what all records of a session share clears them.
#[derive(Debug, Default)]
pub(super) struct Sheets {
    entries: Ring<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Held, as is the decision, so that no others can come to the same address.
    facts: Arc<Facts>,
    index: usize,
    decision: Arc<Decision>,
    sheet: Arc<Sheet>,
}

impl Sheets {
    /// The sheet of a statement that has the same facts and the same decision: those that are one in memory also have one
    /// masked text ([`crate::analysis::Cache`]).
    pub(super) fn get(&self, facts: &Arc<Facts>, index: usize, decision: &Arc<Decision>) -> Option<Arc<Sheet>> {
        let known = |entry: &Entry| {
            Arc::ptr_eq(&entry.facts, facts) && entry.index == index && Arc::ptr_eq(&entry.decision, decision)
        };
        self.entries.find(known).map(|entry| entry.sheet.clone())
    }

    pub(super) fn keep(&mut self, facts: &Arc<Facts>, index: usize, decision: &Arc<Decision>, sheet: &Arc<Sheet>) {
        let entry = Entry { facts: facts.clone(), index, decision: decision.clone(), sheet: sheet.clone() };
        self.entries.keep(entry);
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}
