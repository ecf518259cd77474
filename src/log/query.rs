//! Searching the log: by its index where that is of use, by a scan for what the index does not know.

use std::collections::VecDeque;
use std::path::Path;

use super::error::LogError;
use super::index::{Index, IndexError, Search};
use super::read::{Records, read};
use crate::lineage::{Filters, StatementRecord};

/// The records that match, the oldest first; with `limit`, the newest ones. Relative times must be resolved
/// ([`Filters::resolved`]).
///
/// # Errors
/// The directory cannot be read.
pub fn query(dir: &Path, filters: &Filters) -> Result<Matches, LogError> {
    match Index::open_readonly(dir).and_then(|index| Search::new(index, filters)) {
        Ok(search) => match Matches::by_index(dir, filters, search) {
            Err(LogError::Index { why }) => {
                tracing::warn!(why, "the log is read from its beginning instead");
                Matches::by_scan(dir, filters)
            }
            found => found,
        },
        Err(error) => {
            tracing::debug!(%error, "the log is read from its beginning");
            Matches::by_scan(dir, filters)
        }
    }
}

/// Iterator of [`query`]. A line that is no record is an error with its place.
pub struct Matches {
    search: Option<Box<Search>>,
    newest: VecDeque<Result<StatementRecord, LogError>>,
    /// With a limit, all that was asked for is in `newest`.
    is_limited: bool,
    records: Records,
    filters: Filters,
}

impl Matches {
    fn by_scan(dir: &Path, filters: &Filters) -> Result<Self, LogError> {
        let mut matches = Self::new(read(dir)?, filters);
        if let Some(limit) = filters.limit {
            matches.newest = matches.scan_newest(limit);
            matches.is_limited = true;
        }
        Ok(matches)
    }

    fn by_index(dir: &Path, filters: &Filters, mut search: Search) -> Result<Self, LogError> {
        let mut matches = Self::new(Records::behind(dir, search.end()), filters);
        if let Some(limit) = filters.limit {
            // First what is newer than the index.
            matches.newest = matches.scan_newest(limit);
            let older = search.newest(limit - matches.newest.len()).map_err(of_index)?;
            older.into_iter().rev().for_each(|record| matches.newest.push_front(Ok(record)));
            matches.is_limited = true;
        } else {
            matches.search = Some(Box::new(search));
        }
        Ok(matches)
    }

    fn new(records: Records, filters: &Filters) -> Self {
        Self { search: None, newest: VecDeque::new(), is_limited: false, records, filters: filters.clone() }
    }

    /// What was appended since the iterator ended and matches, without a limit. May be asked again and again.
    pub fn follow(&mut self) -> impl Iterator<Item = Result<StatementRecord, LogError>> + '_ {
        std::iter::from_fn(|| self.scan())
    }

    fn scan(&mut self) -> Option<Result<StatementRecord, LogError>> {
        let filters = &self.filters;
        self.records.find(|record| record.as_ref().map_or(true, |record| filters.matches(record)))
    }

    fn scan_newest(&mut self, limit: usize) -> VecDeque<Result<StatementRecord, LogError>> {
        let mut newest = VecDeque::new();
        while let Some(record) = self.scan() {
            newest.push_back(record);
            if newest.len() > limit {
                newest.pop_front();
            }
        }
        newest
    }
}

impl Iterator for Matches {
    type Item = Result<StatementRecord, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_limited {
            return self.newest.pop_front();
        }
        if let Some(search) = &mut self.search {
            match search.next() {
                Ok(Some(record)) => return Some(Ok(record)),
                Ok(None) => self.search = None,
                Err(error) => {
                    self.search = None;
                    self.is_limited = true;
                    return Some(Err(of_index(error)));
                }
            }
        }
        self.scan()
    }
}

fn of_index(error: IndexError) -> LogError {
    match error {
        IndexError::Log(error) => error,
        error => LogError::Index { why: error.to_string() },
    }
}
