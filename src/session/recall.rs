//! Texts that a session has sent before, and their facts: an agent repeats itself, and finding its own text again costs
//! less than asking the cache that all sessions share.

use std::sync::Arc;

use super::names::Epoch;
use super::ring::Ring;
use crate::analysis::Facts;

/// Longer texts are left to the shared cache.
const TEXT_MAX: usize = 512;

/// The last few texts.
#[derive(Debug, Default)]
pub(super) struct Recall {
    entries: Ring<Entry>,
}

#[derive(Debug)]
struct Entry {
    text: Box<[u8]>,
    epoch: Epoch,
    facts: Arc<Facts>,
}

impl Recall {
    /// The facts of this text at this epoch.
    pub(super) fn get(&self, text: &[u8], epoch: Epoch) -> Option<&Arc<Facts>> {
        let known = |entry: &Entry| entry.epoch == epoch && *entry.text == *text;
        self.entries.find(known).map(|entry| &entry.facts)
    }

    /// Remembers a text.
    pub(super) fn keep(&mut self, text: &[u8], epoch: Epoch, facts: &Arc<Facts>) {
        if text.len() <= TEXT_MAX {
            self.entries.keep(Entry { text: text.into(), epoch, facts: Arc::clone(facts) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_recalled_at_its_epoch_alone() {
        let (mut recall, facts) = (Recall::default(), Arc::new(Facts::default()));
        let (now, later) = (Epoch::default(), Epoch { catalog: 1, settings: 0 });
        recall.keep(b"SELECT a FROM t2 WHERE b = $1", now, &facts);
        assert!(recall.get(b"SELECT a FROM t2 WHERE b = $1", now).is_some());
        assert!(recall.get(b"SELECT a FROM t2 WHERE b = $1", later).is_none());
        assert!(recall.get(b"SELECT a FROM t2 WHERE b = $2", now).is_none());
    }

    #[test]
    fn long_texts_are_left_to_the_shared_cache() {
        let (mut recall, text) = (Recall::default(), vec![b' '; TEXT_MAX + 1]);
        recall.keep(&text, Epoch::default(), &Arc::default());
        assert!(recall.get(&text, Epoch::default()).is_none());
    }
}
