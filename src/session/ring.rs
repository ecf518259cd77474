//! The last few of something, of which the oldest gives way.

/// How many a session remembers of a kind: an agent repeats fewer statements than these, and looking through all of them
/// costs less than a hash.
pub(super) const ENTRIES_MAX: usize = 16;

/// The last few.
#[derive(Debug)]
pub(super) struct Ring<T> {
    entries: Vec<T>,
    /// The entry that gives way next.
    oldest: usize,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), oldest: 0 }
    }
}

impl<T> Ring<T> {
    /// One that fits.
    pub(super) fn find(&self, fits: impl Fn(&T) -> bool) -> Option<&T> {
        self.entries.iter().find(|entry| fits(entry))
    }

    pub(super) fn keep(&mut self, entry: T) {
        match self.entries.get_mut(self.oldest) {
            Some(place) => *place = entry,
            None => self.entries.push(entry),
        }
        self.oldest = (self.oldest + 1) % ENTRIES_MAX;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_lets_the_oldest_go() {
        let mut ring = Ring::default();
        (0..=ENTRIES_MAX).for_each(|entry| ring.keep(entry));
        assert_eq!(ring.find(|entry| *entry == 0), None);
        assert!((1..=ENTRIES_MAX).all(|wanted| ring.find(|entry| *entry == wanted).is_some()));
        assert_eq!(ring.entries.len(), ENTRIES_MAX);
    }
}
