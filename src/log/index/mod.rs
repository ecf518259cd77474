//! Where to look for what: an SQLite file beside the log, made of its lines and kept up behind them.
//!
//! Each value that a filter can ask for has the set of the records that hold it. A query intersects sets, then reads the
//! records themselves from the log and looks whether they match: what the index says is never evidence, and where it is
//! damaged, missing or of another log it is made anew. It is caught up in transactions that move its place in the log
//! with what they add, so that a crash leaves it whole and at most behind.
//!
//! Must not: be needed by anything; stand in a session's way.

mod batch;
mod file;
mod keeper;
mod postings;
mod search;

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::error::LogError;
use super::merkle::leaf_hash;
use super::read::{Place, Records};
use super::segment::{self, suffix};
use batch::{Batch, Ids};

pub use keeper::IndexKeeper;
pub(super) use search::Search;

/// Records that are added in one transaction.
const BATCH_MAX: u32 = 1 << 16;
/// The index's file in the log's directory.
pub(super) const FILE: &str = "index.sqlite";
/// How long another process may hold the file.
const BUSY: Duration = Duration::from_secs(10);

/// Why an index cannot be used. The log itself may be well.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The index's file.
    #[error("the log's index: {0}")]
    File(#[from] rusqlite::Error),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It names another record where it should be.
    #[error("the log's index is not one of this log; `{} log index` makes it anew", crate::ids::NAME)]
    Astray,
}

/// How far catching up is: bytes of plain text that are behind it, and all of them, as far as is known.
pub struct Progress<'a>(pub &'a mut dyn FnMut(u64, u64));

impl Progress<'_> {
    /// For whom it does not matter.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn silent(work: impl FnOnce(&mut Progress<'_>) -> Result<u64, IndexError>) -> Result<u64, IndexError> {
        work(&mut Progress(&mut |_, _| {}))
    }
}

/// An open index.
pub struct Index {
    file: Connection,
    dir: std::path::PathBuf,
    ids: Ids,
}

impl Index {
    /// Opens the index of the log in `dir`; a new, empty one where there is none, or none that can be used.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn open(dir: &Path) -> Result<Self, IndexError> {
        let path = dir.join(FILE);
        let file = match file::open(&path) {
            Ok(file) => file,
            Err(error) if file::is_damaged(&error) => {
                tracing::warn!(%error, "the log's index is damaged and is made anew");
                file::remove(&path);
                file::open(&path)?
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { file, dir: dir.to_path_buf(), ids: Ids::default() })
    }

    /// Opens the index for reading alone.
    ///
    /// # Errors
    /// There is none of this version, or it cannot be read.
    pub(super) fn open_readonly(dir: &Path) -> Result<Self, IndexError> {
        Ok(Self { file: file::open_readonly(&dir.join(FILE))?, dir: dir.to_path_buf(), ids: Ids::default() })
    }

    /// Throws away what is there, so that the next [`Self::catch_up`] makes all of it anew.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn clear(&mut self) -> Result<(), IndexError> {
        self.ids = Ids::default();
        Ok(file::clear(&mut self.file)?)
    }

    /// Adds what was appended to the log since. How many records that were.
    ///
    /// # Errors
    /// The log or the file cannot be read or written. What was added before stays.
    pub fn catch_up(&mut self, progress: &mut Progress<'_>) -> Result<u64, IndexError> {
        if !self.is_of_this_log()? {
            tracing::warn!("the log is not the one that its index was made of: the index is made anew");
            self.clear()?;
        }
        let (mut added, mut behind) = (0, file::stand(&self.file)?.bytes);
        loop {
            let all = behind.max(self.bytes_of_log()?);
            let batch = self.add_batch()?;
            (added, behind) = (added + batch.records, behind + batch.bytes);
            (progress.0)(behind, all);
            if batch.records < u64::from(BATCH_MAX) {
                return Ok(added);
            }
        }
    }

    /// How many bytes of the log it has not seen, roughly.
    ///
    /// # Errors
    /// The log or the file cannot be read.
    pub fn lag(&self) -> Result<u64, IndexError> {
        Ok(self.bytes_of_log()?.saturating_sub(file::stand(&self.file)?.bytes))
    }

    fn add_batch(&mut self) -> Result<Added, IndexError> {
        let transaction = self.file.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have moved it meanwhile.
        let mut stand = file::stand(&transaction)?;
        let first = stand.place;
        let mut records = Records::behind(&self.dir, first.max(first_place(&self.dir)?));
        let (mut batch, mut bytes, mut last) = (Batch::default(), 0, Vec::new());
        while batch.records() < u64::from(BATCH_MAX) {
            let before = records.place();
            let Some(line) = records.next_line()? else { break };
            let here = records.place();
            let start = if here.segment == before.segment {
                before
            } else {
                Place { segment: here.segment, ..Place::default() }
            };
            bytes += here.offset - start.offset;
            if batch.add(&line, start) {
                (stand.place, stand.start, last) = (here, start.offset, line);
            }
        }
        let added = Added { records: batch.records(), bytes };
        if added.records > 0 {
            batch.write(&transaction, &mut self.ids)?;
            stand.hash = leaf_hash(&last).to_vec();
            stand.bytes += bytes;
            file::set_stand(&transaction, &stand)?;
        }
        // Ids that were given in a transaction that is not kept must not be known.
        transaction.commit().inspect_err(|_| self.ids = Ids::default())?;
        Ok(added)
    }

    /// Whether the last line that was added stands where it stood.
    fn is_of_this_log(&self) -> Result<bool, IndexError> {
        let stand = file::stand(&self.file)?;
        if stand.hash.is_empty() {
            return Ok(stand.place == Place::default());
        }
        let start = Place { offset: stand.start, line: stand.place.line.saturating_sub(1), ..stand.place };
        let mut records = Records::behind(&self.dir, start);
        Ok(matches!(records.next_line(), Ok(Some(line)) if leaf_hash(&line).as_slice() == stand.hash))
    }

    fn bytes_of_log(&self) -> Result<u64, IndexError> {
        bytes_of(&self.dir)
    }
}

struct Added {
    records: u64,
    bytes: u64,
}

/// Where the lines begin that were not removed.
fn first_place(dir: &Path) -> Result<Place, IndexError> {
    let segments = segment::list(dir).map_err(LogError::io("list", dir))?;
    Ok(Place { segment: segments.first().map_or(0, |segment| segment.number), ..Place::default() })
}

/// Bytes of plain text in the log: sealed segments say theirs in their seals.
fn bytes_of(dir: &Path) -> Result<u64, IndexError> {
    let mut bytes = 0;
    for segment in segment::list(dir).map_err(LogError::io("list", dir))? {
        let length = if segment.sealed {
            let seal = std::fs::read_to_string(segment::path(dir, segment.number, suffix::SEAL)).unwrap_or_default();
            seal.lines().find_map(|line| line.strip_prefix("bytes ")?.parse().ok()).unwrap_or(0)
        } else {
            std::fs::metadata(&segment.path).map_or(0, |found| found.len())
        };
        bytes += length;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
