//! Where the log ends, and the open files there.

use std::path::Path;
use std::sync::Arc;

use super::disk::{Disk, File};
use super::error::LogError;
use super::merkle::{Tree, leaf_hash};
use super::segment::{self, Lines, Segment, suffix};

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
    /// The tree over the lines of earlier segments.
    pub base: Arc<Tree>,
}

impl Position {
    /// The start of the segment behind this one.
    pub(super) fn following(&self) -> Self {
        let (first, tree) = (self.tree.size(), self.tree.clone());
        Self { number: self.number + 1, bytes: 0, first, base: Arc::new(tree.clone()), tree }
    }
}

/// Reads a segment back, up to its durable end: its lines must still be those that were written.
///
/// After a write or a sync that failed, what the system says of the file is believed no more.
pub(super) fn read_back(dir: &Path, end: &Position) -> Result<(), LogError> {
    let path = segment::path(dir, end.number, suffix::PLAIN);
    let segment = Segment { number: end.number, path: path.clone(), sealed: false };
    let mut tree = Tree::clone(&end.base);
    let mut lines = Lines::open(&segment).map_err(LogError::io("open", &path))?;
    while lines.bytes < end.bytes {
        match lines.next().map_err(LogError::io("read", &path))? {
            Some(line) => tree.push(leaf_hash(line)),
            None => break,
        }
    }
    if tree.size() == end.tree.size() && tree.root() == end.tree.root() {
        return Ok(());
    }
    Err(LogError::NotIntact { what: format!("{} does not hold what was written to it", path.display()) })
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
