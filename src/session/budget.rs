//! Rows that principals have read of a tag of late, so that many small reads count like one large one.
//!
//! A stream reserves rows before they leave and gives back what it did not use, so that streams that run at the same time
//! never let more pass than is left. Every step is in the journal, written before its rows leave, so that a restart, also
//! after a crash of the proxy, counts no row less; a crash of the whole machine can lose the last second.

mod journal;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use journal::{Journal, Step};

use crate::clock::Timestamp;
use crate::policy::Budget;

/// Readings are kept in slices of this length; the last reading of a slice decides when it leaves the window.
const SLICE: Duration = Duration::from_secs(60);

/// Budgets that are counted at once. Those whose readings have left their window make room; without room nothing is left.
const COUNTED_MAX: usize = 100_000;

/// Rows that a stream reserves at once where plenty is left; near the end it reserves one by one.
const RESERVED_MAX: u64 = 64;

/// Why rows cannot be counted.
#[derive(Debug, thiserror::Error)]
#[error("the journal of budgets, {path}: {source}")]
pub struct BudgetError {
    path: String,
    source: std::io::Error,
}

/// Counts by principal and tag pattern.
#[derive(Debug, Default)]
pub struct Budgets {
    counted: DashMap<(String, String), Account>,
    journal: Mutex<Journal>,
}

/// What one principal has read under one tag pattern.
#[derive(Debug, Default)]
struct Account {
    /// The longest window that a budget has asked about.
    window: Duration,
    slices: VecDeque<Slice>,
}

#[derive(Clone, Copy, Debug)]
struct Slice {
    since: Timestamp,
    until: Timestamp,
    rows: u64,
}

impl Account {
    fn used(&self, window: Duration, now: Timestamp) -> u64 {
        let since = now.before(window);
        self.slices.iter().filter(|slice| slice.until >= since).fold(0, |sum, slice| sum.saturating_add(slice.rows))
    }

    fn add(&mut self, window: Duration, rows: u64, now: Timestamp) {
        self.window = self.window.max(window);
        while self.slices.front().is_some_and(|slice| now.since(slice.until) > self.window) {
            self.slices.pop_front();
        }
        match self.slices.back_mut() {
            Some(slice) if now.since(slice.since) < SLICE => {
                slice.rows = slice.rows.saturating_add(rows);
                slice.until = slice.until.max(now);
            }
            _ => self.slices.push_back(Slice { since: now, until: now, rows }),
        }
    }

    /// The newest first: what is given back was reserved a moment ago.
    fn give_back(&mut self, mut rows: u64) {
        for slice in self.slices.iter_mut().rev() {
            let taken = slice.rows.min(rows);
            slice.rows -= taken;
            rows -= taken;
        }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.slices.back().is_none_or(|slice| now.since(slice.until) > self.window)
    }
}

impl Budgets {
    /// Opens the journal in a directory and counts what it holds.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn open(dir: &Path, now: Timestamp) -> Result<Self, BudgetError> {
        let path = dir.join("budgets.jsonl");
        let fault = |source| BudgetError { path: path.display().to_string(), source };
        let (mut journal, steps) = Journal::open(path.clone()).map_err(fault)?;
        let budgets = Self::default();
        for step in steps {
            budgets.replay(&step);
        }
        budgets.counted.retain(|_, account| !account.is_over(now));
        journal.rewrite(&budgets.steps()).map_err(fault)?;
        *budgets.journal.lock().unwrap_or_else(PoisonError::into_inner) = journal;
        Ok(budgets)
    }

    /// Rows that are left of a budget now.
    #[must_use]
    pub fn left(&self, principal: &str, budget: &Budget, now: Timestamp) -> u64 {
        let key = key_of(principal, budget);
        match self.counted.get(&key) {
            Some(account) => budget.rows.saturating_sub(account.used(budget.window, now)),
            None if self.counted.len() >= COUNTED_MAX && !self.makes_room(now) => 0,
            None => budget.rows,
        }
    }

    /// Takes rows out of a budget before they leave: how many may.
    pub fn reserve(&self, principal: &str, budget: &Budget, now: Timestamp) -> u64 {
        if self.left(principal, budget, now) == 0 {
            return 0;
        }
        let key = key_of(principal, budget);
        let rows = {
            let mut account = self.counted.entry(key).or_default();
            let left = budget.rows.saturating_sub(account.used(budget.window, now));
            let rows = if left == 0 { 0 } else { (left / 8).clamp(1, RESERVED_MAX) };
            if rows > 0 {
                account.add(budget.window, rows, now);
            }
            rows
        };
        if rows > 0 && !self.note(&Step::of(principal, budget, rows, now)) {
            self.undo(principal, budget, rows);
            return 0;
        }
        rows
    }

    /// Rows that were reserved and did not leave.
    pub fn give_back(&self, principal: &str, budget: &Budget, rows: u64, now: Timestamp) {
        if rows > 0 && self.note(&Step { back: true, ..Step::of(principal, budget, rows, now) }) {
            self.undo(principal, budget, rows);
        }
    }

    /// Rows have left beyond what a budget allows: a person has said that they may.
    pub fn spend(&self, principal: &str, budget: &Budget, rows: u64, now: Timestamp) {
        if rows > 0 {
            self.counted.entry(key_of(principal, budget)).or_default().add(budget.window, rows, now);
            self.note(&Step::of(principal, budget, rows, now));
        }
    }

    /// Puts what was written since the last call on the disk itself. Blocks for the time of that.
    pub fn sync(&self) {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner).take_unsynced();
        if let Some(Err(error)) = journal.map(|file| file.sync_data()) {
            tracing::error!(%error, "the journal of budgets is not on disk");
        }
    }

    fn undo(&self, principal: &str, budget: &Budget, rows: u64) {
        if let Some(mut account) = self.counted.get_mut(&key_of(principal, budget)) {
            account.give_back(rows);
        }
    }

    fn makes_room(&self, now: Timestamp) -> bool {
        self.counted.retain(|_, account| !account.is_over(now));
        self.counted.len() < COUNTED_MAX
    }

    /// False: it is not in the journal, and must not count as if it were.
    fn note(&self, step: &Step) -> bool {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match journal.append(step) {
            Ok(true) => journal.rewrite(&self.steps()),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = &written {
            tracing::error!(%error, "the journal of budgets cannot be written: no rows are given out");
        }
        written.is_ok()
    }

    fn replay(&self, step: &Step) {
        let key = (step.principal.clone(), step.tag.clone());
        let mut account = self.counted.entry(key).or_default();
        if step.back {
            account.give_back(step.rows);
        } else {
            account.add(Duration::from_secs(step.window), step.rows, step.at);
        }
    }

    fn steps(&self) -> Vec<Step> {
        let of = |entry: dashmap::mapref::multiple::RefMulti<'_, (String, String), Account>| {
            let ((principal, tag), account) = entry.pair();
            let step = |slice: &Slice| Step {
                principal: principal.clone(),
                tag: tag.clone(),
                window: account.window.as_secs(),
                at: slice.until,
                rows: slice.rows,
                back: false,
            };
            account.slices.iter().map(step).collect::<Vec<_>>()
        };
        self.counted.iter().flat_map(of).collect()
    }
}

fn key_of(principal: &str, budget: &Budget) -> (String, String) {
    (principal.to_owned(), budget.tag.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tags::Glob;

    fn budget() -> Budget {
        Budget { tag: Glob::parse("user.**").unwrap(), rows: 100, window: Duration::from_secs(3600) }
    }

    fn all(budgets: &Budgets, now: Timestamp) -> u64 {
        std::iter::from_fn(|| Some(budgets.reserve("agent", &budget(), now)).filter(|rows| *rows > 0)).sum()
    }

    #[test]
    fn many_small_reads_use_up_a_budget_like_one_large_one() {
        let budgets = Budgets::default();
        let now = Timestamp::from_micros(0);
        for _ in 0..100 {
            let reserved = budgets.reserve("agent", &budget(), now);
            budgets.give_back("agent", &budget(), reserved - 1, now);
        }
        assert_eq!(budgets.reserve("agent", &budget(), now), 0);
        assert_eq!(budgets.left("another", &budget(), now), 100);
    }

    #[test]
    fn streams_at_the_same_time_never_get_more_than_is_left() {
        let budgets = Budgets::default();
        let now = Timestamp::from_micros(0);
        let reserved: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| all(&budgets, now))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(reserved, 100);
    }

    #[test]
    fn a_window_slides_and_never_counts_a_row_out_early() {
        let budgets = Budgets::default();
        let start = Timestamp::from_micros(0);
        budgets.spend("agent", &budget(), 60, start);
        budgets.spend("agent", &budget(), 1, start.after(Duration::from_secs(59)));
        assert_eq!(budgets.left("agent", &budget(), start.after(Duration::from_secs(3650))), 39);
        assert_eq!(budgets.left("agent", &budget(), start.after(Duration::from_secs(3700))), 100);
    }

    #[test]
    fn a_restart_counts_what_was_read_before_it_and_forgets_what_has_left_its_window() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::from_micros(0);
        let budgets = Budgets::open(dir.path(), now).unwrap();
        let reserved = budgets.reserve("agent", &budget(), now);
        budgets.give_back("agent", &budget(), reserved - 3, now);
        drop(budgets);
        let path = dir.path().join("budgets.jsonl");
        let torn = std::fs::read_to_string(&path).unwrap() + "{\"principal\":\"agent\",\"ta";
        std::fs::write(&path, torn).unwrap();
        assert_eq!(Budgets::open(dir.path(), now).unwrap().left("agent", &budget(), now), 97);
        let later = now.after(Duration::from_secs(3601));
        assert_eq!(Budgets::open(dir.path(), later).unwrap().left("agent", &budget(), later), 100);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    }

    #[test]
    fn what_cannot_be_written_down_is_not_given_out() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::from_micros(0);
        let budgets = Budgets::open(dir.path(), now).unwrap();
        budgets.journal.lock().unwrap().fail_from_now_on();
        assert_eq!(budgets.reserve("agent", &budget(), now), 0);
        assert_eq!(budgets.left("agent", &budget(), now), 100);
    }
}
