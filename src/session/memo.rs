//! Facts that are known already: a statement is analysed once for a text, a catalog and a meaning of names.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use crate::analysis::{self, Context, Encoding, Facts, Rejected};

/// Independent parts, so that sessions seldom meet at one lock.
const SHARDS: usize = 16;

/// Texts that one shard keeps; beyond it the shard starts anew.
const SHARD_TEXTS_MAX: usize = 1024;

/// A text longer than this is not kept.
const TEXT_MAX: usize = 16 * 1024;

/// A bounded map from texts to facts. Found by a keyed hash, confirmed by a full comparison.
#[derive(Debug, Default)]
pub struct Memo {
    hasher: RandomState,
    shards: [Mutex<HashMap<u64, Entry>>; SHARDS],
}

#[derive(Debug)]
struct Entry {
    text: Box<[u8]>,
    meaning: Meaning,
    facts: Arc<Facts>,
}

/// What facts depend on besides the text.
#[derive(Debug, PartialEq, Eq)]
struct Meaning {
    version: u64,
    search_path: Vec<String>,
    role: String,
    standard_conforming_strings: bool,
    encoding: Encoding,
}

impl Memo {
    /// The facts of a text, from memory or from an analysis. `version` names the catalog with its tags.
    ///
    /// # Errors
    /// A text that is too large or nested too deeply to be parsed.
    pub fn facts(&self, text: &[u8], version: u64, context: &Context<'_>) -> Result<Arc<Facts>, Rejected> {
        let key = self.hasher.hash_one((text, version, context.search_path, context.role));
        let shard = self.shards.get(usize::try_from(key % 16).unwrap_or(0));
        if let Some(shard) = shard
            && let Some(entry) = shard.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
            && *entry.text == *text
            && entry.meaning.is_of(version, context)
        {
            return Ok(entry.facts.clone());
        }
        let facts = Arc::new(analysis::analyze(text, context)?);
        if let Some(shard) = shard
            && text.len() <= TEXT_MAX
        {
            let meaning = Meaning::of(version, context);
            let mut entries = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if entries.len() >= SHARD_TEXTS_MAX {
                entries.clear();
            }
            entries.insert(key, Entry { text: text.into(), meaning, facts: facts.clone() });
        }
        Ok(facts)
    }
}

impl Meaning {
    fn of(version: u64, context: &Context<'_>) -> Self {
        Self {
            version,
            search_path: context.search_path.to_vec(),
            role: context.role.to_owned(),
            standard_conforming_strings: context.standard_conforming_strings,
            encoding: context.encoding,
        }
    }

    fn is_of(&self, version: u64, context: &Context<'_>) -> bool {
        self.version == version
            && self.search_path == context.search_path
            && self.role == context.role
            && self.standard_conforming_strings == context.standard_conforming_strings
            && self.encoding == context.encoding
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn the_same_text_under_another_catalog_is_analysed_anew() {
        let (memo, catalog, path) = (Memo::default(), Catalog::empty(), ["public".to_owned()]);
        let context = Context::new(&catalog, "shop", &path, "agent");
        let first = memo.facts(b"select 1", 1, &context).unwrap();
        assert!(Arc::ptr_eq(&first, &memo.facts(b"select 1", 1, &context).unwrap()));
        assert!(!Arc::ptr_eq(&first, &memo.facts(b"select 1", 2, &context).unwrap()));
    }

    #[test]
    fn a_memo_is_bounded() {
        let (memo, catalog, path) = (Memo::default(), Catalog::empty(), ["public".to_owned()]);
        let context = Context::new(&catalog, "shop", &path, "agent");
        for number in 0..SHARDS * SHARD_TEXTS_MAX + 1000 {
            memo.facts(format!("select {number}").as_bytes(), 1, &context).unwrap();
        }
        let kept: usize = memo.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(kept <= SHARDS * SHARD_TEXTS_MAX);
    }
}
