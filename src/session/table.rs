//! Values by the names of the protocol, of which the empty one is used most.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// Whether two names are the same. Most are empty, and an empty slice on the heap points nowhere: comparing it as bytes
/// costs a hundred times what looking at its length does.
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && (one.is_empty() || one == other)
}

/// What names stand for.
#[derive(Debug)]
pub(super) struct Table<T> {
    unnamed: Option<T>,
    named: HashMap<Box<[u8]>, T, RandomState>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { unnamed: None, named: HashMap::default() }
    }
}

impl<T> Table<T> {
    pub(super) fn get(&self, name: &[u8]) -> Option<&T> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) }
    }

    pub(super) fn get_mut(&mut self, name: &[u8]) -> Option<&mut T> {
        if name.is_empty() { self.unnamed.as_mut() } else { self.named.get_mut(name) }
    }

    pub(super) fn insert(&mut self, name: Box<[u8]>, value: T) {
        if name.is_empty() {
            self.unnamed = Some(value);
        } else {
            self.named.insert(name, value);
        }
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Option<T> {
        if name.is_empty() {
            return self.unnamed.take();
        }
        let removed = self.named.remove(name);
        self.shrink();
        removed
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&[u8], &T) -> bool) {
        self.unnamed = self.unnamed.take().filter(|value| keep(b"", value));
        self.named.retain(|name, value| keep(name, value));
        self.shrink();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        let named = self.named.iter().map(|(name, value)| (&**name, value));
        self.unnamed.iter().map(|value| (&b""[..], value)).chain(named)
    }

    /// An idle session keeps no room for names that it does not have.
    fn shrink(&mut self) {
        if self.named.is_empty() && self.named.capacity() > 0 {
            self.named = HashMap::default();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.named.len() + usize::from(self.unnamed.is_some())
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_name_is_a_name_like_any_other() {
        let mut table = Table::default();
        for (name, value) in [(&b""[..], 1), (b"a", 2), (b"", 3)] {
            table.insert(name.into(), value);
        }
        assert_eq!((table.get(b""), table.get(b"a"), table.get(b"b"), table.len()), (Some(&3), Some(&2), None, 2));
        table.retain(|_, value| *value > 2);
        assert_eq!((table.get(b""), table.get(b"a")), (Some(&3), None));
        assert_eq!(table.remove(b""), Some(3));
        assert_eq!((table.remove(b""), table.named.capacity()), (None, 0));
        assert_eq!((table.get(b""), table.len()), (None, 0));
    }

    #[test]
    fn names_are_the_same_where_their_bytes_are() {
        assert!(is_same(b"", b"") && is_same(b"a", b"a"));
        assert!(!is_same(b"a", b"") && !is_same(b"a", b"b"));
    }
}
