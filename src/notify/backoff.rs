//! When a delivery that failed is tried again.

use std::time::Duration;

use crate::ids::random_bytes;

/// The longest that a receiver may ask us to wait.
const ASKED_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Each pause is so many times the one before.
const FACTOR: u32 = 4;

/// How often and how far apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Before the second attempt.
    pub first: Duration,
    /// The longest pause.
    pub most: Duration,
    /// Attempts in all; then the delivery is dead.
    pub attempts_max: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { first: Duration::from_secs(5), most: Duration::from_secs(6 * 60 * 60), attempts_max: 10 }
    }
}

impl Retry {
    /// The pause after so many failed attempts, at least 1: exponential, its second half by chance, so that what failed
    /// together is not tried together again. Never shorter than what the receiver asked for.
    pub(super) fn pause(&self, attempts: u32, asked: Option<Duration>) -> Duration {
        let factor = FACTOR.saturating_pow(attempts.saturating_sub(1));
        let whole = self.first.saturating_mul(factor).min(self.most);
        let chance = random_bytes(1).first().copied().unwrap_or_default();
        let pause = whole / 2 + (whole / 2).saturating_mul(u32::from(chance)) / 255;
        asked.map_or(pause, |asked| pause.max(asked.min(ASKED_MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_differ() {
        let retry = Retry { first: Duration::from_secs(4), most: Duration::from_secs(100), attempts_max: 9 };
        for (attempts, least, most) in [(1, 2, 4), (2, 8, 16), (3, 32, 64), (4, 50, 100), (60, 50, 100)] {
            for _ in 0..50 {
                let pause = retry.pause(attempts, None);
                assert!(
                    pause >= Duration::from_secs(least) && pause <= Duration::from_secs(most),
                    "{attempts} {pause:?}"
                );
            }
        }
        let some: std::collections::HashSet<_> = (0..50).map(|_| retry.pause(3, None)).collect();
        assert!(some.len() > 1);
    }

    #[test]
    fn a_receiver_may_ask_for_more_but_not_for_ever() {
        let retry = Retry::default();
        assert_eq!(retry.pause(1, Some(Duration::from_secs(90))), Duration::from_secs(90));
        assert!(retry.pause(9, Some(Duration::from_secs(1))) > Duration::from_secs(1));
        assert_eq!(retry.pause(1, Some(Duration::MAX)), ASKED_MAX);
    }
}
