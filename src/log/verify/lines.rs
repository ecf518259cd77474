//! The lines of one segment as they are found, and the leaf hashes that were noted when they were written.

use std::fs;
use std::path::Path;

use crate::log::error::LogError;
use crate::log::merkle::{Hash, leaf_hash};
use crate::log::segment::{self, Lines, Segment, suffix};

/// What a segment holds.
pub(super) struct SegmentLines {
    pub leaves: Vec<Hash>,
    /// The hashes that were noted; fewer where the newest lines are not noted yet.
    pub noted: Vec<Hash>,
    /// The first line whose own number is not its place, with that number; none where the line has no number.
    pub misplaced: Option<(usize, Option<u64>)>,
    /// Bytes of an unfinished line.
    pub torn: u64,
    /// Reading ended before the end: what the file system or the decompressor said.
    pub unreadable: Option<String>,
}

impl SegmentLines {
    /// Hashes before lines: beside a running writer there may be more lines than hashes, never fewer.
    pub(super) fn read(dir: &Path, segment: &Segment, first: u64) -> Result<Self, LogError> {
        let hashes = fs::read(segment::path(dir, segment.number, suffix::HASHES)).unwrap_or_default();
        let (noted, _) = hashes.as_chunks::<32>();
        let mut found = Self { leaves: Vec::new(), noted: noted.to_vec(), misplaced: None, torn: 0, unreadable: None };
        let mut lines = Lines::open(segment).map_err(LogError::io("open", &segment.path))?;
        loop {
            match lines.next() {
                Ok(Some(line)) => found.add(line, first),
                Ok(None) => break,
                Err(error) => {
                    found.unreadable = Some(error.to_string());
                    break;
                }
            }
        }
        found.torn = lines.torn;
        Ok(found)
    }

    fn add(&mut self, line: &[u8], first: u64) {
        let index = self.leaves.len();
        let place = u64::try_from(index).unwrap_or(u64::MAX).saturating_add(first);
        let seq = seq_of(line);
        if self.misplaced.is_none() && seq != Some(place) {
            self.misplaced = Some((index, seq));
        }
        self.leaves.push(leaf_hash(line));
    }
}

/// The number in a line as the log writes it: `{"v":1,"seq":N,`.
fn seq_of(line: &[u8]) -> Option<u64> {
    let behind = line.strip_prefix(b"{\"v\":")?;
    let behind = behind.get(behind.iter().position(|byte| *byte == b',')?..)?.strip_prefix(b",\"seq\":")?;
    let digits = behind.get(..behind.iter().position(|byte| *byte == b',')?)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
