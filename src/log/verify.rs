//! Whether the log is what its key signed: every line, every segment, nothing more and nothing less.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::active::CHECKPOINTS;
use super::checkpoint::{Checkpoint, split_notes};
use super::error::LogError;
use super::key::Verifier;
use super::merkle::{Hash, Tree};
use super::open::position_of;
use super::seal::sha256_of;
use super::segment::{self, Segment, suffix};

mod diagnose;
mod lines;

use lines::SegmentLines;

/// What to verify against.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// A verifier key that was kept elsewhere; without one, the log's own.
    pub key: Option<PathBuf>,
    /// A file of checkpoints that were kept elsewhere: finds a log that was rolled back as a whole.
    pub checkpoint: Option<PathBuf>,
}

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
    /// Something other than a line differs: a checkpoint, a seal, a hash, a sealed file's bytes.
    Evidence,
}

/// Reads all of the log in `dir` and checks it.
///
/// # Errors
/// Files that cannot be read, or a given key or checkpoint file that is none. What does not fit is in the report.
pub fn verify(dir: &Path, options: &VerifyOptions) -> Result<Report, LogError> {
    let mut report = Report::default();
    let verifier = match &options.key {
        Some(path) => Verifier::read(path)?,
        None => match Verifier::of(dir) {
            Ok(verifier) => verifier,
            Err(error) => {
                report.evidence("signing.pub".to_owned(), error.to_string());
                return Ok(report);
            }
        },
    };
    let mut walk = Walk { dir, verifier, report, roots: BTreeMap::new(), tree: Tree::default() };
    // Checkpoints before lines: beside a running writer there may be more lines than checkpoints, never fewer.
    walk.checkpoints(&dir.join(CHECKPOINTS), Kept::Here)?;
    if let Some(path) = &options.checkpoint {
        walk.checkpoints(path, Kept::Elsewhere)?;
    }
    let segments = segment::list(dir).map_err(LogError::io("list", dir))?;
    walk.segments(&segments)?;
    walk.end();
    Ok(walk.report)
}

/// Where a checkpoint was kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Here,
    Elsewhere,
}

/// A root that somebody signed.
struct Signed {
    root: Hash,
    file: String,
    kept: Kept,
}

struct Walk<'a> {
    dir: &'a Path,
    verifier: Verifier,
    report: Report,
    /// All signed roots by size.
    roots: BTreeMap<u64, Signed>,
    tree: Tree,
}

impl Walk<'_> {
    fn checkpoints(&mut self, path: &Path, kept: Kept) -> Result<(), LogError> {
        let file = name(path);
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if kept == Kept::Elsewhere => return Err(LogError::io("read", path)(error)),
            Err(error) => {
                self.report.evidence(file, format!("no checkpoints: {error}"));
                return Ok(());
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        let (notes, torn) = split_notes(&text);
        for (index, note) in notes.iter().enumerate() {
            match Checkpoint::parse(note, &self.verifier) {
                Some(checkpoint) => self.anchor(checkpoint.size, checkpoint.root, file.clone(), kept),
                None => self
                    .report
                    .evidence(file.clone(), format!("checkpoint {} is not signed by this log's key", index + 1)),
            }
        }
        let cut = torn.char_indices().next_back().and_then(|(last, _)| torn.get(..last)).unwrap_or_default();
        if notes.is_empty() || Checkpoint::parse(&format!("{cut}\n"), &self.verifier).is_some() {
            self.report.evidence(file, "the last checkpoint is no whole one".to_owned());
        }
        Ok(())
    }

    fn anchor(&mut self, size: u64, root: Hash, file: String, kept: Kept) {
        match self.roots.get(&size) {
            Some(other) if other.root != root => {
                let what = format!("signs another root for {size} lines than {}: the log was forked", other.file);
                self.report.evidence(file, what);
            }
            Some(_) => {}
            None => {
                self.roots.insert(size, Signed { root, file, kept });
            }
        }
    }

    fn segments(&mut self, segments: &[Segment]) -> Result<(), LogError> {
        self.report.segments = segments.len();
        let mut expected = 0;
        for (index, segment) in segments.iter().enumerate() {
            while expected < segment.number {
                self.missing(expected);
                expected += 1;
            }
            expected += 1;
            let is_last = index + 1 == segments.len();
            let seal = self.seal(segment)?;
            let first = self.tree.size();
            let found = SegmentLines::read(self.dir, segment, first)?;
            self.segment(segment, &found, seal.as_ref(), is_last);
            // The seal says where the next segment begins, whatever was done to this one.
            if let Some(end) = seal.as_ref().and_then(|seal| position_of(segment.number, seal)) {
                self.tree = end.tree;
            }
        }
        Ok(())
    }

    fn missing(&mut self, number: u32) {
        let seal = fs::read_to_string(segment::path(self.dir, number, suffix::SEAL)).ok();
        if let Some(end) = seal.and_then(|note| position_of(number, &Checkpoint::parse(&note, &self.verifier)?)) {
            self.tree = end.tree;
        }
        self.report.problems.push(Problem {
            tamper: Tamper::SegmentMissing,
            file: format!("{number:08}.{}", suffix::PLAIN),
            line: None,
            seq: None,
            what: "the segment is missing".to_owned(),
        });
    }

    /// The segment's seal, once it and the sealed file that it signs were checked.
    fn seal(&mut self, segment: &Segment) -> Result<Option<Checkpoint>, LogError> {
        let path = segment::path(self.dir, segment.number, suffix::SEAL);
        let note = match fs::read(&path) {
            Ok(note) => note,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if segment.sealed {
                    self.report.evidence(name(&path), "the seal of a sealed segment is missing".to_owned());
                }
                return Ok(None);
            }
            Err(error) => return Err(LogError::io("read", &path)(error)),
        };
        let seal = String::from_utf8(note).ok().and_then(|note| Checkpoint::parse(&note, &self.verifier));
        let Some(seal) = seal else {
            self.report.evidence(name(&path), "the seal is not signed by this log's key".to_owned());
            return Ok(None);
        };
        self.anchor(seal.size, seal.root, name(&path), Kept::Here);
        let file = segment::path(self.dir, segment.number, suffix::SEALED);
        let signed = seal.extension("sha256").and_then(|mut words| words.next().map(str::to_owned));
        let found = sha256_of(&file).ok();
        if found.is_none() || signed != found {
            self.report.evidence(name(&file), "its bytes are not those that were sealed".to_owned());
        }
        Ok(Some(seal))
    }

    fn segment(&mut self, segment: &Segment, found: &SegmentLines, seal: Option<&Checkpoint>, is_last: bool) {
        let file = name(&segment.path);
        let first = self.tree.size();
        let mut bad = None;
        let mut good = first;
        for (size, leaf) in (first + 1..).zip(&found.leaves) {
            self.tree.push(*leaf);
            if let Some(signed) = self.roots.get(&size) {
                if signed.root == self.tree.root() {
                    good = size;
                } else if bad.is_none() {
                    bad = Some((good, size));
                }
            }
        }
        self.report.lines += u64::try_from(found.leaves.len()).unwrap_or(u64::MAX);
        let expected = seal.map(|seal| seal.size - first.min(seal.size));
        let problems = diagnose::diagnose(&diagnose::Case { file, first, bad, good, found, expected, is_last });
        self.report.problems.extend(problems);
        self.report.torn = found.torn;
    }

    /// Whether the newest checkpoints are reached.
    fn end(&mut self) {
        let size = self.tree.size();
        let newest = self.roots.last_key_value().map_or(0, |(newest, _)| *newest);
        self.report.anchored = newest.min(size);
        self.report.unanchored = size.saturating_sub(newest);
        for (here, tamper) in [(Kept::Here, Tamper::Truncated), (Kept::Elsewhere, Tamper::RolledBack)] {
            let beyond = self.roots.range(size + 1..).rev().find(|(_, signed)| signed.kept == here);
            let Some((covered, signed)) = beyond else { continue };
            let what = format!("signs {covered} lines, but the log ends after {size}");
            let file = signed.file.clone();
            self.report.problems.push(Problem { tamper, file, line: None, seq: Some(size), what });
        }
    }
}

impl Report {
    fn evidence(&mut self, file: String, what: String) {
        self.problems.push(Problem { tamper: Tamper::Evidence, file, line: None, seq: None, what });
    }
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
