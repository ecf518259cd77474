//! Descriptions of results that were compared with facts and agreed with them, so that they need not be compared again.

use std::sync::Arc;

use super::names::Epoch;
use super::ring::Ring;
use crate::analysis::Facts;

/// The last few that agreed.
#[derive(Debug, Default)]
pub(super) struct Foreseen {
    entries: Ring<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Held, so that no other facts can come to the same address.
    facts: Arc<Facts>,
    /// Which statement of them.
    index: usize,
    epoch: Epoch,
    columns: Box<[(u32, i16)]>,
}

impl Foreseen {
    /// Whether these columns were compared with these facts at this epoch, and agreed.
    pub(super) fn has(&self, facts: &Arc<Facts>, index: usize, epoch: Epoch, columns: &[(u32, i16)]) -> bool {
        let known = self.entries.find(|entry| {
            Arc::ptr_eq(&entry.facts, facts)
                && entry.index == index
                && entry.epoch == epoch
                && *entry.columns == *columns
        });
        known.is_some()
    }

    /// They agreed.
    pub(super) fn keep(&mut self, facts: Arc<Facts>, index: usize, epoch: Epoch, columns: &[(u32, i16)]) {
        let entry = Entry { facts, index, epoch, columns: columns.into() };
        self.entries.keep(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agreed_is_known_for_these_facts_this_epoch_and_these_columns_alone() {
        let (facts, others) = (Arc::new(Facts::default()), Arc::new(Facts::default()));
        let (now, later) = (Epoch::default(), Epoch { catalog: 1, settings: 0 });
        let mut foreseen = Foreseen::default();
        foreseen.keep(facts.clone(), 0, now, &[(16_384, 1)]);
        assert!(foreseen.has(&facts, 0, now, &[(16_384, 1)]));
        assert!(!foreseen.has(&others, 0, now, &[(16_384, 1)]));
        assert!(!foreseen.has(&facts, 1, now, &[(16_384, 1)]));
        assert!(!foreseen.has(&facts, 0, later, &[(16_384, 1)]));
        assert!(!foreseen.has(&facts, 0, now, &[(16_384, 2)]));
    }
}
