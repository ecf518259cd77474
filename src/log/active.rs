//! Where the log ends, and the open files there.

use std::path::Path;

use super::disk::{Disk, File};
use super::error::LogError;
use super::merkle::Tree;
use super::segment::{self, suffix};

/// An end of the log: the durable one, or the one with what was written since.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    /// The active segment's number.
    pub number: u32,
    /// Bytes of whole lines in it.
    pub bytes: u64,
    /// The `seq` of its first line.
    pub first: u64,
    /// The tree over all lines of all segments.
    pub tree: Tree,
}

impl Position {
    /// The start of the segment behind this one.
    pub(super) fn following(&self) -> Self {
        Self { number: self.number + 1, bytes: 0, first: self.tree.size(), tree: self.tree.clone() }
    }
}

/// The files that a group commit appends to.
pub(super) struct Files {
    pub lines: Box<dyn File>,
    pub hashes: Box<dyn File>,
    pub checkpoints: Box<dyn File>,
}

impl Files {
    /// Opens them at `position`: what stands behind it is cut off. Of the hashes `hashed` are known to be written.
    pub(super) fn open(disk: &dyn Disk, dir: &Path, position: &Position, hashed: u64) -> Result<Self, LogError> {
        let open = |path: &Path| disk.open(path).map_err(LogError::io("open", path));
        let lines_path = segment::path(dir, position.number, suffix::PLAIN);
        let hashes_path = segment::path(dir, position.number, suffix::HASHES);
        let mut files =
            Self { lines: open(&lines_path)?, hashes: open(&hashes_path)?, checkpoints: open(&dir.join(CHECKPOINTS))? };
        files.lines.truncate(position.bytes).map_err(LogError::io("truncate", &lines_path))?;
        let kept = hashed.saturating_sub(position.first) * 32;
        files.hashes.truncate(kept).map_err(LogError::io("truncate", &hashes_path))?;
        Ok(files)
    }
}

/// The file of the checkpoints after group commits.
pub(super) const CHECKPOINTS: &str = "checkpoints";
