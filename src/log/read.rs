//! Reading records back, over all segments, beside a writer that goes on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::LogError;
use super::segment::{self, Lines, Segment, suffix};
use crate::lineage::{self, StatementRecord};

/// The records of the log in `dir`, the oldest first.
///
/// # Errors
/// The directory cannot be read.
pub fn read(dir: &Path) -> Result<Records, LogError> {
    let segments = segment::list(dir).map_err(LogError::io("read", dir))?;
    let number = segments.first().map_or(0, |segment| segment.number);
    Ok(Records { dir: dir.to_path_buf(), number, offset: 0, line: 0, lines: None })
}

/// Iterator of [`read`]. Where it has ended it may be asked again: it goes on with what was appended meanwhile.
///
/// A line that is no record is an error with its place; the lines behind it follow.
pub struct Records {
    dir: PathBuf,
    number: u32,
    /// Bytes of this segment that were read.
    offset: u64,
    /// Lines of this segment that were read.
    line: u64,
    lines: Option<Lines>,
}

impl Iterator for Records {
    type Item = Result<StatementRecord, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.next_line().transpose()?;
        Some(line.and_then(|line| {
            lineage::decode_line(&line).map_err(|error| LogError::NotIntact {
                what: format!("{:08} line {} is no record: {error}", self.number, self.line),
            })
        }))
    }
}

impl Records {
    /// From the first line of a segment on.
    pub(super) fn from_segment(dir: &Path, number: u32) -> Self {
        Self { dir: dir.to_path_buf(), number, offset: 0, line: 0, lines: None }
    }

    fn next_line(&mut self) -> Result<Option<Vec<u8>>, LogError> {
        loop {
            if let Some(line) = self.line_here()? {
                return Ok(Some(line));
            }
            if !self.has_following() {
                return Ok(None);
            }
            // Once there is a next segment nothing more is appended here; what came since the look above is.
            if let Some(line) = self.line_here()? {
                return Ok(Some(line));
            }
            self.number += 1;
            (self.offset, self.line, self.lines) = (0, 0, None);
        }
    }

    fn line_here(&mut self) -> Result<Option<Vec<u8>>, LogError> {
        let path = segment::path(&self.dir, self.number, suffix::PLAIN);
        if self.lines.is_none() {
            let sealed = !path.exists();
            let path = if sealed { path.with_extension(suffix::SEALED) } else { path.clone() };
            match Lines::open_at(&Segment { number: self.number, path, sealed }, self.offset) {
                Ok(lines) => self.lines = Some(lines),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(LogError::io("open", &self.dir)(error)),
            }
        }
        let Some(lines) = self.lines.as_mut() else { return Ok(None) };
        let line = lines.next().map_err(LogError::io("read", &path))?.map(<[u8]>::to_vec);
        match &line {
            Some(line) => {
                self.offset += u64::try_from(line.len()).unwrap_or(u64::MAX) + 1;
                self.line += 1;
            }
            // A half line was read: it must be read again from its start.
            None => self.lines = None,
        }
        Ok(line)
    }

    fn has_following(&self) -> bool {
        let exists = |suffix| fs::exists(segment::path(&self.dir, self.number + 1, suffix)).unwrap_or(false);
        exists(suffix::PLAIN) || exists(suffix::SEALED)
    }
}
