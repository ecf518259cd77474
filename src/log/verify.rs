//! Whether the log is what its key signed: every line, every segment, nothing more and nothing less.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};

use super::active::{CHECKPOINTS, Position};
use super::checkpoint::{Checkpoint, split_notes};
use super::error::LogError;
use super::key::{Complaint, Verifier};
use super::merkle::{Hash, Tree};
use super::open::position_of;
use super::retire::{self, Retired};
use super::seal::sha256_of;
use super::segment::{self, Segment, suffix};

mod diagnose;
mod lines;
mod report;
mod sealed;

use lines::SegmentLines;
pub use report::{Problem, Report, Tamper};

/// What to verify against, and how thoroughly.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// A verifier key that was kept elsewhere, the log's present one or one before it; without one, the log's own.
    pub key: Option<PathBuf>,
    /// Checkpoints that were kept elsewhere: find a log that was rolled back as a whole, or forked.
    pub checkpoint: Option<KeptCheckpoints>,
    /// How sealed segments are looked at.
    pub depth: Depth,
}

/// Checkpoints from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct KeptCheckpoints {
    /// Where they come from: a file's name, a URL.
    pub name: String,
    /// Checkpoints, one behind the other.
    pub text: String,
}

impl KeptCheckpoints {
    /// From a file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(path: &Path) -> Result<Self, LogError> {
        let bytes = fs::read(path).map_err(LogError::io("read", path))?;
        Ok(Self { name: name(path), text: String::from_utf8_lossy(&bytes).into_owned() })
    }
}

/// How sealed segments are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// A segment whose bytes are those that were sealed, and whose noted hashes lead from the root before it to its own, is
    /// not unpacked: its lines were compared with those hashes when it was sealed.
    #[default]
    Seals,
    /// Every line is read.
    Lines,
}

/// Reads all of the log in `dir` and checks it.
///
/// # Errors
/// Files that cannot be read, or a given key or checkpoint file that is none. What does not fit is in the report.
pub fn verify(dir: &Path, options: &VerifyOptions) -> Result<Report, LogError> {
    let mut report = Report::default();
    let Some(verifier) = verifier(dir, options.key.as_deref(), &mut report)? else { return Ok(report) };
    let mut walk = Walk { dir, verifier, report, roots: BTreeMap::new(), tree: Tree::default() };
    // Checkpoints before lines: beside a running writer there may be more lines than checkpoints, never fewer.
    walk.checkpoints();
    if let Some(kept) = &options.checkpoint {
        walk.notes(&kept.name, &kept.text, Kept::Elsewhere);
    }
    let segments = segment::list(dir).map_err(LogError::io("list", dir))?;
    walk.segments(&segments, options.depth)?;
    walk.policies()?;
    walk.end();
    Ok(walk.report)
}

/// The log's key with those before it, which one that was kept elsewhere must be among.
fn verifier(dir: &Path, kept: Option<&Path>, report: &mut Report) -> Result<Option<Verifier>, LogError> {
    let kept = kept.map(Verifier::read).transpose()?;
    let own = match Verifier::of(dir) {
        Ok(own) => own,
        Err(error) => {
            let tamper = if matches!(error, LogError::Key { .. }) { Tamper::UnknownKey } else { Tamper::Evidence };
            report.evidence(tamper, "signing.pub".to_owned(), error.to_string());
            return Ok(kept);
        }
    };
    if let Some(kept) = kept.filter(|kept| !own.all().any(|key| key.is_key(kept))) {
        let what = format!(
            "the log's key is {}; the key that was kept elsewhere, {}, did not lead to it",
            key(&own),
            key(&kept)
        );
        report.evidence(Tamper::UnknownKey, "signing.pub".to_owned(), what);
    }
    Ok(Some(own))
}

fn key(verifier: &Verifier) -> String {
    verifier.to_string().trim_end().to_owned()
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

/// What the names of kept policies begin with; the rest is the hash of their text.
const POLICY: &str = "policy-";

struct Walk<'a> {
    dir: &'a Path,
    verifier: Verifier,
    report: Report,
    /// All signed roots by size.
    roots: BTreeMap<u64, Signed>,
    tree: Tree,
}

impl Walk<'_> {
    /// The texts of policies are named by their hash, and records name them.
    fn policies(&mut self) -> Result<(), LogError> {
        let listed = fs::read_dir(self.dir).map_err(LogError::io("list", self.dir))?;
        for entry in listed {
            let path = entry.map_err(LogError::io("list", self.dir))?.path();
            let file = name(&path);
            let Some(sha256) = file.strip_prefix(POLICY) else { continue };
            let text = fs::read(&path).map_err(LogError::io("read", &path))?;
            if !crate::ids::hex(digest(&SHA256, &text).as_ref()).eq_ignore_ascii_case(sha256) {
                let what = "its text is not the one that its name is the hash of".to_owned();
                self.report.evidence(Tamper::Evidence, file, what);
            }
        }
        Ok(())
    }

    fn checkpoints(&mut self) {
        let path = self.dir.join(CHECKPOINTS);
        match fs::read(&path) {
            Ok(bytes) => self.notes(CHECKPOINTS, &String::from_utf8_lossy(&bytes), Kept::Here),
            Err(error) => {
                self.report.evidence(Tamper::Evidence, CHECKPOINTS.to_owned(), format!("no checkpoints: {error}"));
            }
        }
    }

    fn notes(&mut self, file: &str, text: &str, kept: Kept) {
        let (notes, torn) = split_notes(text);
        for (index, note) in notes.iter().enumerate() {
            match Checkpoint::parse(note, &self.verifier) {
                Some(checkpoint) => self.anchor(checkpoint.size, checkpoint.root, file.to_owned(), kept),
                None => self.unsigned(file.to_owned(), &format!("checkpoint {}", index + 1), note),
            }
        }
        let cut = torn.char_indices().next_back().and_then(|(last, _)| torn.get(..last)).unwrap_or_default();
        if notes.is_empty() || Checkpoint::parse(&format!("{cut}\n"), &self.verifier).is_some() {
            self.report.evidence(Tamper::Evidence, file.to_owned(), "the last checkpoint is no whole one".to_owned());
        }
    }

    fn unsigned(&mut self, file: String, subject: &str, note: &str) {
        let (tamper, what) = match self.verifier.complaint(note) {
            Complaint::Broken(what) => (Tamper::Evidence, what),
            Complaint::Stranger(what) => (Tamper::UnknownKey, what),
        };
        self.report.evidence(tamper, file, format!("{subject} {what}"));
    }

    fn anchor(&mut self, size: u64, root: Hash, file: String, kept: Kept) {
        match self.roots.get(&size) {
            Some(other) if other.root != root => {
                let what = format!("signs another root for {size} lines than {}: the log was forked", other.file);
                self.report.evidence(Tamper::Forked, file, what);
            }
            Some(_) => {}
            None => {
                self.roots.insert(size, Signed { root, file, kept });
            }
        }
    }

    fn segments(&mut self, segments: &[Segment], depth: Depth) -> Result<(), LogError> {
        self.report.segments = segments.len();
        let mut seals = BTreeMap::new();
        for segment in segments {
            if let Some(seal) = self.seal(segment)? {
                seals.insert(segment.number, seal);
            }
        }
        let fitting = match depth {
            Depth::Seals => sealed::fitting(self.dir, segments, &seals, &self.roots),
            Depth::Lines => BTreeMap::new(),
        };
        let mut expected = 0;
        for (index, segment) in segments.iter().enumerate() {
            while expected < segment.number {
                self.missing(expected);
                expected += 1;
            }
            expected += 1;
            let seal = seals.get(&segment.number);
            let end = seal.and_then(|seal| position_of(segment.number, seal));
            match (fitting.get(&segment.number), &end) {
                (Some(first), Some(end)) if *first == self.tree.size() => {
                    self.report.lines += end.tree.size() - first;
                }
                _ if self.is_gone(segment.number, end.as_ref()) => {}
                _ => {
                    let (problems, lines) = (self.report.problems.len(), self.report.lines);
                    let read = self.read_lines(segment, seal, index + 1 == segments.len());
                    let is_well = read.is_ok() && self.report.problems.len() == problems;
                    if is_well || !self.is_gone(segment.number, end.as_ref()) {
                        read?;
                    } else {
                        // Retention took it away while it was read.
                        self.report.problems.truncate(problems);
                        self.report.lines = lines;
                    }
                }
            }
            // The seal says where the next segment begins, whatever was done to this one.
            if let Some(end) = end {
                self.tree = end.tree;
            }
        }
        Ok(())
    }

    fn missing(&mut self, number: u32) {
        let seal = fs::read_to_string(segment::path(self.dir, number, suffix::SEAL)).ok();
        let end = seal.and_then(|note| position_of(number, &Checkpoint::parse(&note, &self.verifier)?));
        if self.is_gone(number, end.as_ref()) {
            if let Some(end) = &end {
                self.anchor(end.tree.size(), end.tree.root(), format!("{number:08}.{}", suffix::SEAL), Kept::Here);
            }
        } else {
            let (file, what) = (format!("{number:08}.{}", suffix::PLAIN), "the segment is missing".to_owned());
            self.report.problems.push(Problem { tamper: Tamper::SegmentMissing, file, line: None, seq: None, what });
        }
        if let Some(end) = end {
            self.tree = end.tree;
        }
    }

    /// Whether the log has signed that it removed the segment, whatever is left of its files: it may be at it now.
    fn is_gone(&mut self, number: u32, end: Option<&Position>) -> bool {
        let retired = retire::retired(self.dir, number, &self.verifier);
        let fits = |retired: &Retired| end.is_some_and(|end| end.tree.size() == retired.end);
        retired.filter(fits).map(|retired| self.report.retired.push(retired)).is_some()
    }

    /// The segment's seal.
    fn seal(&mut self, segment: &Segment) -> Result<Option<Checkpoint>, LogError> {
        let path = segment::path(self.dir, segment.number, suffix::SEAL);
        let note = match fs::read(&path) {
            Ok(note) => String::from_utf8_lossy(&note).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if segment.sealed {
                    let what = "the seal of a sealed segment is missing".to_owned();
                    self.report.evidence(Tamper::Evidence, name(&path), what);
                }
                return Ok(None);
            }
            Err(error) => return Err(LogError::io("read", &path)(error)),
        };
        let Some(seal) = Checkpoint::parse(&note, &self.verifier) else {
            self.unsigned(name(&path), "the seal", &note);
            return Ok(None);
        };
        self.anchor(seal.size, seal.root, name(&path), Kept::Here);
        Ok(Some(seal))
    }

    /// Reads a segment line by line, and names what was done to it.
    fn read_lines(&mut self, segment: &Segment, seal: Option<&Checkpoint>, is_last: bool) -> Result<(), LogError> {
        if let Some(seal) = seal {
            let file = segment::path(self.dir, segment.number, suffix::SEALED);
            if sealed::sha256(seal).is_none_or(|signed| sha256_of(&file).ok().as_ref() != Some(&signed)) {
                let what = "its bytes are not those that were sealed".to_owned();
                self.report.evidence(Tamper::Evidence, name(&file), what);
            }
        }
        let file = name(&segment.path);
        let first = self.tree.size();
        let found = SegmentLines::read(self.dir, segment, first)?;
        let followed = follow(&mut self.tree, &found.leaves, &self.roots);
        for (size, source) in followed.forked {
            let what = format!("{source} signs another root for {size} lines: the log was forked");
            self.report.evidence(Tamper::Forked, file.clone(), what);
        }
        self.report.lines += u64::try_from(found.leaves.len()).unwrap_or(u64::MAX);
        let expected = seal.map(|seal| seal.size - first.min(seal.size));
        let (bad, good) = (followed.bad, followed.good);
        let problems = diagnose::diagnose(&diagnose::Case { file, first, bad, good, found: &found, expected, is_last });
        self.report.problems.extend(problems);
        self.report.torn = found.torn;
        Ok(())
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

/// How lines fit what was signed.
struct Followed {
    /// Sizes between which one of the log's own roots does not fit: the last that fits, the first that does not.
    bad: Option<(u64, u64)>,
    /// The last size at which one fits.
    good: u64,
    /// Sizes at which one that was kept elsewhere does not fit, with where it was kept.
    forked: Vec<(u64, String)>,
}

/// Adds the leaves to the tree, and compares each root that somebody signed.
fn follow(tree: &mut Tree, leaves: &[Hash], roots: &BTreeMap<u64, Signed>) -> Followed {
    let mut followed = Followed { bad: None, good: tree.size(), forked: Vec::new() };
    let mut signed = roots.range(tree.size() + 1..).peekable();
    for leaf in leaves {
        tree.push(*leaf);
        let Some((size, signed)) = signed.next_if(|(size, _)| **size == tree.size()) else { continue };
        if signed.root == tree.root() {
            followed.good = *size;
        } else if signed.kept == Kept::Elsewhere {
            followed.forked.push((*size, signed.file.clone()));
        } else if followed.bad.is_none() {
            followed.bad = Some((followed.good, *size));
        }
    }
    followed
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod edits;
#[cfg(test)]
mod tests;
