//! Rows that principals have read of a tag of late, so that many small reads count like one large one.

use std::collections::VecDeque;
use std::time::Duration;

use dashmap::DashMap;

use crate::clock::Timestamp;
use crate::policy::Budget;

/// Readings are kept in slices of this length.
const SLICE: Duration = Duration::from_secs(60);

/// Budgets that are counted at once; beyond it the oldest readings are dropped first.
const COUNTED_MAX: usize = 100_000;

/// Counts by principal and tag pattern.
#[derive(Debug, Default)]
pub struct Budgets {
    counted: DashMap<(String, String), VecDeque<(Timestamp, u64)>>,
}

impl Budgets {
    /// Rows that are left of a budget now.
    #[must_use]
    pub fn left(&self, principal: &str, budget: &Budget, now: Timestamp) -> u64 {
        let key = (principal.to_owned(), budget.tag.clone());
        let since = now.before(budget.window);
        let used = self
            .counted
            .get(&key)
            .map_or(0, |readings| readings.iter().filter(|(at, _)| *at >= since).map(|(_, rows)| *rows).sum::<u64>());
        budget.rows.saturating_sub(used)
    }

    /// Rows were read.
    pub fn spend(&self, principal: &str, budget: &Budget, rows: u64, now: Timestamp) {
        if rows == 0 {
            return;
        }
        if self.counted.len() >= COUNTED_MAX {
            self.counted.retain(|_, readings| readings.back().is_some_and(|(at, _)| now.since(*at) < budget.window));
        }
        let mut readings = self.counted.entry((principal.to_owned(), budget.tag.clone())).or_default();
        while readings.front().is_some_and(|(at, _)| now.since(*at) > budget.window) {
            readings.pop_front();
        }
        match readings.back_mut() {
            Some((at, sum)) if now.since(*at) < SLICE => *sum = sum.saturating_add(rows),
            _ => readings.push_back((now, rows)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Budget {
        Budget { tag: "user.**".into(), rows: 100, window: Duration::from_secs(3600) }
    }

    #[test]
    fn many_small_reads_use_up_a_budget_like_one_large_one() {
        let budgets = Budgets::default();
        let now = Timestamp::from_micros(0);
        for _ in 0..100 {
            budgets.spend("agent", &budget(), 1, now);
        }
        assert_eq!(budgets.left("agent", &budget(), now), 0);
        assert_eq!(budgets.left("another", &budget(), now), 100);
    }

    #[test]
    fn a_window_slides() {
        let budgets = Budgets::default();
        let start = Timestamp::from_micros(0);
        budgets.spend("agent", &budget(), 60, start);
        assert_eq!(budgets.left("agent", &budget(), start.after(Duration::from_secs(1800))), 40);
        assert_eq!(budgets.left("agent", &budget(), start.after(Duration::from_secs(3700))), 100);
    }
}
