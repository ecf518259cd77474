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

    /// Remembers a text without values of its own: one with some seldom comes again.
    pub(super) fn keep(&mut self, text: &[u8], epoch: Epoch, facts: &Arc<Facts>) {
        let has_values = text.windows(2).any(|pair| is_value_after(pair));
        if text.len() <= TEXT_MAX && !has_values {
            self.entries.keep(Entry { text: text.into(), epoch, facts: Arc::clone(facts) });
        }
    }
}

/// A literal begins, as far as can be told without reading the text: `$1` and `table2` are none.
fn is_value_after(pair: &[u8]) -> bool {
    let [before, first] = pair else { return false };
    *first == b'\'' || (first.is_ascii_digit() && !(before.is_ascii_alphanumeric() || matches!(before, b'$' | b'_')))
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
    fn texts_with_values_and_long_ones_push_nothing_out() {
        let (mut recall, facts) = (Recall::default(), Arc::new(Facts::default()));
        let long = vec![b' '; TEXT_MAX + 1];
        for text in [&b"SELECT 1"[..], b"SELECT a FROM t WHERE b = 'x'", b"SELECT a FROM t WHERE b=42", &long] {
            recall.keep(text, Epoch::default(), &facts);
            assert!(recall.get(text, Epoch::default()).is_none());
        }
    }
}
