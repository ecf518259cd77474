//! What was done to a segment whose lines are not those that were signed or noted.

use super::lines::SegmentLines;
use super::{Problem, Tamper};
use crate::log::merkle::Hash;

/// One segment, with what its checkpoints say.
pub(super) struct Case<'a> {
    pub file: String,
    /// The number of its first line.
    pub first: u64,
    /// Sizes between which a signed root does not fit: the last that fits, the first that does not.
    pub bad: Option<(u64, u64)>,
    /// The last size at which a signed root fits.
    pub good: u64,
    pub found: &'a SegmentLines,
    /// How many lines its seal signs.
    pub expected: Option<u64>,
    pub is_last: bool,
}

/// Everything that is wrong with the segment; the first place in it is named exactly.
pub(super) fn diagnose(case: &Case<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(error) = &case.found.unreadable {
        let at = case.found.leaves.len();
        problems.push(case.problem(Tamper::Edited, Some(at), format!("cannot be read on from here: {error}")));
    }
    if case.found.torn > 0 && !case.is_last {
        let what = format!("{} bytes behind the last line are no line", case.found.torn);
        problems.push(case.problem(Tamper::Edited, Some(case.found.leaves.len()), what));
    }
    let lines = by_number(case).or_else(|| by_hash(case)).or_else(|| by_root(case)).or_else(|| by_count(case));
    problems.extend(lines);
    problems
}

impl Case<'_> {
    /// `index` counts lines of the segment from 0.
    fn problem(&self, tamper: Tamper, index: Option<usize>, what: String) -> Problem {
        let index = index.and_then(|index| u64::try_from(index).ok());
        Problem {
            tamper,
            file: self.file.clone(),
            line: index.map(|index| index + 1),
            seq: index.map(|index| self.first + index),
            what,
        }
    }

    /// Whether the line is among those that a signed root vouches for.
    fn is_vouched(&self, index: usize) -> bool {
        self.bad.is_none() && u64::try_from(index).is_ok_and(|index| self.first + index < self.good)
    }
}

/// A line that carries another number than its place.
fn by_number(case: &Case<'_>) -> Option<Problem> {
    let (index, seq) = case.found.misplaced?;
    let leaf = case.found.leaves.get(index)?;
    let due = case.found.noted.get(index);
    let Some(seq) = seq else {
        return Some(case.problem(Tamper::Edited, Some(index), "the line is no record".to_owned()));
    };
    let place = case.first + u64::try_from(index).ok()?;
    let is_noted = due.is_some_and(|due| due == leaf);
    let due_later = due.is_some_and(|due| behind(&case.found.leaves, index).contains(due));
    let was_later = behind(&case.found.noted, index).contains(leaf);
    let is_longer = case.found.leaves.len() > case.found.noted.len();
    let (tamper, what) = match seq {
        _ if index == 0 && !was_later && !due_later => {
            (Tamper::SegmentSwapped, format!("the segment begins with record {seq} where {place} is due"))
        }
        _ if is_noted => (Tamper::Edited, format!("carries number {seq} where {place} is due")),
        _ if was_later && due_later && !is_longer => {
            (Tamper::Reordered, format!("record {seq} stands where {place} is due"))
        }
        _ if due_later => (Tamper::Inserted, format!("a line with number {seq} was put in before record {place}")),
        seq if seq < place && is_longer && due.is_none() => {
            (Tamper::Inserted, format!("a line with number {seq} was put in behind the last"))
        }
        seq if seq > place => (Tamper::Deleted, format!("records {place} to {} are missing", seq - 1)),
        _ => (Tamper::Edited, format!("carries number {seq} where {place} is due")),
    };
    Some(case.problem(tamper, Some(index), what))
}

/// A line that is not the one that was noted when it was written.
fn by_hash(case: &Case<'_>) -> Option<Problem> {
    let differs = |(leaf, noted): (&Hash, &Hash)| leaf != noted;
    let index = case.found.leaves.iter().zip(&case.found.noted).position(differs)?;
    if case.is_vouched(index) {
        let what = "the noted hash of this line differs; the line itself is the one that was signed".to_owned();
        return Some(Problem {
            file: case.file.replace(".jsonl", ".hashes").replace(".zst", ""),
            ..case.problem(Tamper::Evidence, Some(index), what)
        });
    }
    let leaf = case.found.leaves.get(index)?;
    let due = case.found.noted.get(index)?;
    let (tamper, what) = if behind(&case.found.leaves, index).contains(due) {
        (Tamper::Inserted, "a line was put in here")
    } else if behind(&case.found.noted, index).contains(leaf) {
        (Tamper::Deleted, "lines before this one are missing")
    } else {
        (Tamper::Edited, "the line was changed")
    };
    Some(case.problem(tamper, Some(index), what.to_owned()))
}

/// A signed root that does not fit, though the noted hashes do: both were changed.
fn by_root(case: &Case<'_>) -> Option<Problem> {
    let (good, bad) = case.bad?;
    let what = format!(
        "records {good} to {} are not those that were signed, and the noted hashes were changed with them",
        bad - 1
    );
    let index = usize::try_from(good.saturating_sub(case.first)).ok();
    Some(case.problem(Tamper::Edited, index, what))
}

/// Fewer or more lines than were signed or noted.
fn by_count(case: &Case<'_>) -> Option<Problem> {
    let count = case.found.leaves.len();
    let lines = u64::try_from(count).ok()?;
    let noted = u64::try_from(case.found.noted.len()).ok()?;
    let due = case.expected.unwrap_or(noted);
    if lines < due {
        let what = format!("{} lines are missing at the end", due - lines);
        return Some(case.problem(Tamper::Truncated, Some(count), what));
    }
    if lines > due && case.expected.is_some() {
        let index = usize::try_from(due).ok();
        return Some(case.problem(Tamper::Inserted, index, format!("{} lines were added at the end", lines - due)));
    }
    // Noted hashes of vouched lines that are gone, or of lines that never were.
    let vouched = case.good.saturating_sub(case.first);
    (noted < vouched.min(lines) || noted > lines).then(|| {
        let what = format!("{noted} hashes are noted for {lines} lines");
        Problem {
            file: case.file.replace(".jsonl", ".hashes").replace(".zst", ""),
            ..case.problem(Tamper::Evidence, None, what)
        }
    })
}

fn behind(hashes: &[Hash], index: usize) -> &[Hash] {
    hashes.get(index + 1..).unwrap_or_default()
}
