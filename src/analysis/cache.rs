//! Facts that are known already: by exact text, and by shape where no value matters.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::Arc;

use dashmap::DashMap;
use foldhash::quality::RandomState;

use super::context::{Context, Encoding, Readers, Rejected};
use super::facts::Facts;
use super::shape;
use crate::catalog::Oid;

/// Facts of texts that were analysed before, in all sessions of an upstream.
#[derive(Debug)]
pub struct Cache {
    entries: DashMap<u64, Entry, BuildHasherDefault<Hashed>>,
    hasher: RandomState,
    entries_max: usize,
}

/// What a cache says of a text.
#[derive(Debug)]
pub struct Known {
    /// Its facts.
    pub facts: Arc<Facts>,
    /// It is likely to come again as it is: it has no values of its own, or came before.
    pub repeats: bool,
}

/// Hands on a key that is a hash already: hashing it again would cost as much as hashing a short text.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[derive(Debug)]
struct Entry {
    text: Box<[u8]>,
    meaning: Meaning,
    facts: Arc<Facts>,
}

/// All that the meaning of a text hangs on besides the text.
#[derive(Debug, PartialEq, Eq)]
struct Meaning {
    catalog: u64,
    database: Box<str>,
    search_path: Box<[String]>,
    role: Box<str>,
    readers: Readers,
    called: Option<Oid>,
    standard_conforming_strings: bool,
    encoding: Encoding,
}

impl Meaning {
    fn of(context: &Context<'_>) -> Self {
        Self {
            catalog: context.catalog.signature(),
            database: context.database.into(),
            search_path: context.search_path.into(),
            role: context.role.into(),
            readers: context.readers,
            called: context.called,
            standard_conforming_strings: context.standard_conforming_strings,
            encoding: context.encoding,
        }
    }

    fn is(&self, context: &Context<'_>) -> bool {
        self.catalog == context.catalog.signature()
            && *self.database == *context.database
            && *self.search_path == *context.search_path
            && *self.role == *context.role
            && self.readers == context.readers
            && self.called == context.called
            && self.standard_conforming_strings == context.standard_conforming_strings
            && self.encoding == context.encoding
    }
}

/// How many texts a cache holds, unless the configuration says otherwise.
pub const CACHE_ENTRIES_MAX: usize = 8192;
/// Longer texts are analysed each time: they are seldom sent twice.
pub const CACHED_TEXT_MAX: usize = 64 << 10;

impl Cache {
    /// An empty cache of at most that many texts.
    #[must_use]
    pub fn new(entries_max: usize) -> Self {
        Self { entries: DashMap::default(), hasher: RandomState::default(), entries_max }
    }

    /// The facts of a text, analysed where they are not known. A session with relations of its
    /// own has a catalog of its own.
    ///
    /// # Errors
    /// As [`super::analyze`].
    pub fn analyze(&self, text: &[u8], context: &Context<'_>) -> Result<Arc<Facts>, Rejected> {
        self.look_up(text, context).map(|known| known.facts)
    }

    /// The same, and whether the text is likely to come again as it is.
    ///
    /// # Errors
    /// As [`super::analyze`].
    pub fn look_up(&self, text: &[u8], context: &Context<'_>) -> Result<Known, Rejected> {
        if text.len() > CACHED_TEXT_MAX {
            return super::analyze(text, context).map(|facts| Known { facts: Arc::new(facts), repeats: false });
        }
        // Where a backslash or a trailing byte can end a string, a shape says nothing.
        let plain = context.standard_conforming_strings && context.encoding == Encoding::Safe;
        let shape = if plain { shape::of(text) } else { None };
        if let Some(shape) = &shape
            && let Some(facts) = self.known(&shape.text, context)
        {
            return Ok(Known { facts, repeats: !shape.has_values });
        }
        if let Some(facts) = self.known(text, context) {
            return Ok(Known { facts, repeats: true });
        }
        let facts = Arc::new(super::analyze(text, context)?);
        match shape {
            // Another caller may grant it more work.
            _ if facts.is_unfinished() => {}
            Some(shape) if shape::is_general(&facts) => self.keep(&shape.text, context, &facts),
            _ => self.keep(text, context, &facts),
        }
        Ok(Known { facts, repeats: false })
    }

    /// A shape is no text that a client could send: a value's sign begins with a control character, which is no token.
    fn known(&self, text: &[u8], context: &Context<'_>) -> Option<Arc<Facts>> {
        let entry = self.entries.get(&self.key(text, context))?;
        (*entry.text == *text && entry.meaning.is(context)).then(|| Arc::clone(&entry.facts))
    }

    fn keep(&self, text: &[u8], context: &Context<'_>, facts: &Arc<Facts>) {
        if self.entries.len() >= self.entries_max {
            self.shrink();
        }
        let entry = Entry { text: text.into(), meaning: Meaning::of(context), facts: Arc::clone(facts) };
        self.entries.insert(self.key(text, context), entry);
    }

    fn key(&self, text: &[u8], context: &Context<'_>) -> u64 {
        self.hasher.hash_one((text, context.catalog.signature(), context.search_path, context.role))
    }

    /// Drops about a quarter of the texts: by their hash, which is random.
    fn shrink(&self) {
        self.entries.retain(|key, _| key % 4 != 0);
        if self.entries.len() >= self.entries_max {
            self.entries.clear();
        }
    }

    /// How many texts it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::new(CACHE_ENTRIES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn a_text_is_analysed_once_per_meaning() {
        let catalog = Catalog::empty();
        let cache = Cache::new(10);
        let public = ["public".to_owned()];
        let context = Context::new(&catalog, "shop", &public, "bob");
        let first = cache.analyze(b"SELECT 1", &context).unwrap();
        assert!(Arc::ptr_eq(&first, &cache.analyze(b"SELECT 1", &context).unwrap()));
        let other = Context { role: "eve", ..context };
        assert!(!Arc::ptr_eq(&first, &cache.analyze(b"SELECT 1", &other).unwrap()));
    }

    #[test]
    fn a_statement_is_analysed_once_per_shape() {
        let catalog = Catalog::empty();
        let cache = Cache::new(10);
        let context = Context::new(&catalog, "shop", &[], "bob");
        let first = cache.analyze(b"SELECT a FROM (VALUES (1)) v(a) WHERE a = 1", &context).unwrap();
        let second = cache.analyze(b"SELECT a FROM (VALUES (22)) v(a) WHERE a = 333", &context).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn a_full_cache_stays_within_its_bound() {
        let catalog = Catalog::empty();
        let cache = Cache::new(8);
        let context = Context::new(&catalog, "shop", &[], "bob");
        for number in 0..100 {
            cache.analyze(format!("SELECT {number}").as_bytes(), &context).unwrap();
        }
        assert!(cache.len() <= 8);
        assert!(!cache.is_empty());
    }
}
