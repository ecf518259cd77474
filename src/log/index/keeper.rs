//! Keeps the index behind a log that is being written, while sessions have the machine first.

use std::path::{Path, PathBuf};

use super::{Index, IndexError, Progress};

/// So many bytes behind, the index is caught up however busy the log is.
const LAG_MAX: u64 = 64 << 20;
/// A log that grew by less since the last look is quiet.
const QUIET: u64 = 1 << 20;

/// Looks at the log now and then.
pub struct IndexKeeper {
    dir: PathBuf,
    index: Option<Index>,
    lag: u64,
}

impl IndexKeeper {
    /// For the log in `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), index: None, lag: 0 }
    }

    /// Catches the index up where the log is quiet or far ahead. Blocks.
    ///
    /// # Errors
    /// The index cannot be kept; the next look begins anew.
    pub fn look(&mut self) -> Result<(), IndexError> {
        let done = self.try_look();
        if done.is_err() {
            self.index = None;
        }
        done
    }

    fn try_look(&mut self) -> Result<(), IndexError> {
        let index = match &mut self.index {
            Some(index) => index,
            missing => missing.insert(Index::open(&self.dir)?),
        };
        let lag = index.lag()?;
        let is_quiet = lag.saturating_sub(self.lag) < QUIET;
        self.lag = lag;
        if lag > 0 && (is_quiet || lag > LAG_MAX) {
            Progress::silent(|progress| index.catch_up(progress))?;
            self.lag = 0;
        }
        Ok(())
    }
}
