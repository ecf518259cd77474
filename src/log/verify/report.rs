//! What verifying a log finds.

use crate::log::retire::Retired;

/// What was found. The log is intact where `problems` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Whole lines.
    pub lines: u64,
    /// Segments, the active one too.
    pub segments: usize,
    /// Lines that the newest checkpoint covers.
    pub anchored: u64,
    /// Lines behind it: whole and in order, and signed by nothing yet. A running log has some for a moment, a crashed one
    /// until its next start.
    pub unanchored: u64,
    /// Bytes of an unfinished line at the end.
    pub torn: u64,
    /// Segments whose records were removed by retention, with what the log signed about that.
    pub retired: Vec<Retired>,
    /// All that does not fit.
    pub problems: Vec<Problem>,
}

impl Report {
    /// Whether nothing was changed, as far as the checkpoints reach.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.problems.is_empty()
    }
}

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// What was done to the log.
    pub tamper: Tamper,
    /// The file's name.
    pub file: String,
    /// The line in it, from 1, where it is known.
    pub line: Option<u64>,
    /// The record's number, where it is known.
    pub seq: Option<u64>,
    /// One sentence.
    pub what: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        if let Some(seq) = self.seq {
            write!(f, " (seq {seq})")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// What can be done to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tamper {
    /// A line's bytes differ.
    Edited,
    /// Lines are gone from the middle.
    Deleted,
    /// Lines are there that never were.
    Inserted,
    /// Lines stand in another order.
    Reordered,
    /// Lines are gone from the end.
    Truncated,
    /// A whole segment is gone.
    SegmentMissing,
    /// A segment holds another one's lines.
    SegmentSwapped,
    /// The log is older than a checkpoint that was kept elsewhere.
    RolledBack,
    /// A checkpoint that this log signed, or one that was kept elsewhere, tells of another history.
    Forked,
    /// Something is signed by a key that is not this log's, or is not any more.
    UnknownKey,
    /// Something other than a line differs: a checkpoint, a seal, a hash, a sealed file's bytes.
    Evidence,
}

impl Report {
    /// Something other than a line that does not fit.
    pub(super) fn evidence(&mut self, tamper: Tamper, file: String, what: String) {
        self.problems.push(Problem { tamper, file, line: None, seq: None, what });
    }
}
