//! Sets of records: 65,536 numbers to a chunk, each chunk a list while that is short and a bitmap from then on.

/// Records of one chunk.
pub(super) const CHUNK: u64 = 1 << 16;
/// Bytes of a bitmap. A list of this length or more becomes one.
const BITMAP: usize = 8192;

/// The chunk of a record, and its place there.
pub(super) fn split(seq: u64) -> (u64, u16) {
    (seq / CHUNK, u16::try_from(seq % CHUNK).unwrap_or(u16::MAX))
}

/// What a row holds with further records, in ascending order and behind those that are there, added to it.
pub(super) fn extended(stored: &[u8], added: &[u16]) -> Vec<u8> {
    if stored.len() < BITMAP && stored.len() + added.len() * 2 < BITMAP {
        let mut list = stored.to_vec();
        list.extend(added.iter().flat_map(|place| place.to_le_bytes()));
        return list;
    }
    let mut set = Set::default();
    set.add_stored(stored);
    for place in added {
        set.add(*place);
    }
    set.0.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A set of the records of one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set(Box<[u64; 1024]>);

impl Default for Set {
    fn default() -> Self {
        Self(Box::new([0; 1024]))
    }
}

impl Set {
    fn add(&mut self, place: u16) {
        if let Some(word) = self.0.get_mut(usize::from(place / 64)) {
            *word |= 1 << (place % 64);
        }
    }

    /// Adds what a row holds.
    pub(super) fn add_stored(&mut self, stored: &[u8]) {
        if stored.len() == BITMAP {
            let (words, _) = stored.as_chunks::<8>();
            self.0.iter_mut().zip(words).for_each(|(word, stored)| *word |= u64::from_le_bytes(*stored));
            return;
        }
        let (places, _) = stored.as_chunks::<2>();
        for place in places {
            self.add(u16::from_le_bytes(*place));
        }
    }

    /// Adds all from `first` up to `end`, which is not one of them.
    pub(super) fn add_range(&mut self, first: u64, end: u64) {
        (first..end.min(CHUNK)).filter_map(|place| u16::try_from(place).ok()).for_each(|place| self.add(place));
    }

    /// Leaves what is in both.
    pub(super) fn retain(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(word, other)| *word &= other);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The records' numbers, ascending, where this is chunk `chunk`.
    pub(super) fn seqs(&self, chunk: u64) -> Vec<u64> {
        let mut seqs = Vec::new();
        for (base, word) in (chunk * CHUNK..).step_by(64).zip(self.0.iter()) {
            let mut left = *word;
            while left != 0 {
                seqs.push(base + u64::from(left.trailing_zeros()));
                left &= left - 1;
            }
        }
        seqs
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_added_is_there_as_a_list_and_as_a_bitmap(places in prop::collection::btree_set(any::<u16>(), 0..6000), cut in 0_usize..6000) {
            let places: Vec<u16> = places.into_iter().collect();
            let (first, second) = places.split_at(cut.min(places.len()));
            let mut set = Set::default();
            set.add_stored(&extended(&extended(&[], first), second));
            let expected: Vec<u64> = places.iter().map(|place| 3 * CHUNK + u64::from(*place)).collect();
            prop_assert_eq!(set.seqs(3), expected);
            prop_assert_eq!(set.is_empty(), places.is_empty());
        }
    }

    #[test]
    fn a_range_and_an_intersection_end_where_they_say() {
        let (mut set, mut other) = (Set::default(), Set::default());
        set.add_range(10, 20);
        other.add_range(18, CHUNK + 5);
        set.retain(&other);
        assert_eq!(set.seqs(0), [18, 19]);
    }
}
