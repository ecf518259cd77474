//! A problem in a file that a person wrote: where it is, what is wrong, what to do.

use std::fmt;

/// A file as it was read: the rooms that judge it never touch the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// How findings name it.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// It loads, and does not mean what its author thinks.
    Warning,
    /// It does not load.
    Error,
}

impl Severity {
    /// The word for it, which is also SARIF's.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Where something stands in its file; both from 1, columns in characters. The default, 0, is nowhere in particular: the
/// file as a whole, or a flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: String,
    /// Where in it.
    pub place: Place,
    /// How bad.
    pub severity: Severity,
    /// What sort of problem: a stable word such as `unknown-key`.
    pub code: &'static str,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Finding {
    /// What keeps the file from being loaded.
    pub fn error(path: &str, place: Place, code: &'static str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), place, severity: Severity::Error, code, message: message.into(), hint: None }
    }

    /// What loads and is hardly meant.
    pub fn warning(path: &str, place: Place, code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, place, code, message) }
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.place != Place::default() {
            write!(f, ":{}:{}", self.place.line, self.place.column)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// The candidate that `word` was probably meant to be; `None` where none is near.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).clamp(1, 3);
    let near = candidates.into_iter().map(|candidate| (distance(word, candidate), candidate));
    near.filter(|(distance, _)| *distance <= most).min().map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn one word into the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    let mut last = None;
    for (line, letter) in from.chars().enumerate() {
        let next = next_row(&Step { letter, last, line, before: &before, row: &row }, &to);
        before = std::mem::replace(&mut row, next);
        last = Some(letter);
    }
    row.last().copied().unwrap_or(0)
}

/// What one line of the distance table is made from.
struct Step<'a> {
    letter: char,
    last: Option<char>,
    line: usize,
    before: &'a [usize],
    row: &'a [usize],
}

fn next_row(from: &Step<'_>, to: &[char]) -> Vec<usize> {
    let mut next = vec![from.line + 1];
    let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    for (column, letter) in to.iter().enumerate() {
        let substituted = at(from.row, column) + usize::from(*letter != from.letter);
        let mut best = substituted.min(at(from.row, column + 1) + 1).min(at(&next, column) + 1);
        let swapped = column > 0 && to.get(column - 1) == Some(&from.letter) && from.last == Some(*letter);
        if swapped {
            best = best.min(at(from.before, column - 1) + 1);
        }
        next.push(best);
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        let keys = ["match", "effect", "approve", "limits"];
        for (typed, meant) in [("mtach", "match"), ("efect", "effect"), ("aprove", "approve"), ("limit", "limits")] {
            assert_eq!(nearest(typed, keys), Some(meant), "{typed}");
        }
        assert_eq!(nearest("colour", keys), None);
    }

    #[test]
    fn a_finding_reads_as_compilers_write_it() {
        let finding = Finding::error("p.yaml", Place { line: 3, column: 5 }, "x", "it is wrong").hint("put it right");
        assert_eq!(finding.to_string(), "p.yaml:3:5: it is wrong; put it right");
    }
}
