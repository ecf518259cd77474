//! Searching the log by a scan.

use std::collections::VecDeque;
use std::path::Path;

use super::error::LogError;
use super::read::{Records, read};
use crate::lineage::{Filters, StatementRecord};

/// The records that match, the oldest first; with `limit`, the newest ones. Relative times must be resolved
/// ([`Filters::resolved`]).
///
/// # Errors
/// The directory cannot be read.
pub fn query(dir: &Path, filters: &Filters) -> Result<Matches, LogError> {
    let mut matches = Matches { records: read(dir)?, filters: filters.clone(), newest: None };
    let Some(limit) = filters.limit else { return Ok(matches) };
    let mut newest = VecDeque::new();
    for record in matches.by_ref() {
        newest.push_back(record);
        if newest.len() > limit {
            newest.pop_front();
        }
    }
    matches.newest = Some(newest);
    Ok(matches)
}

/// Iterator of [`query`]. A line that is no record is an error with its place.
pub struct Matches {
    records: Records,
    filters: Filters,
    newest: Option<VecDeque<Result<StatementRecord, LogError>>>,
}

impl Matches {
    /// What was appended since the iterator ended and matches, without a limit. May be asked again and again.
    pub fn follow(&mut self) -> impl Iterator<Item = Result<StatementRecord, LogError>> + '_ {
        std::iter::from_fn(|| self.scan())
    }

    fn scan(&mut self) -> Option<Result<StatementRecord, LogError>> {
        let filters = &self.filters;
        self.records.find(|record| record.as_ref().map_or(true, |record| filters.matches(record)))
    }
}

impl Iterator for Matches {
    type Item = Result<StatementRecord, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.newest {
            Some(newest) => newest.pop_front(),
            None => self.scan(),
        }
    }
}
