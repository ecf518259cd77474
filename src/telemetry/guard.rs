//! Gauges that end with what they count.

use super::families::families;

/// One open session; it counts as long as this value lives.
#[derive(Debug)]
#[must_use = "the session counts only as long as this value lives"]
pub struct SessionGauge(());

impl SessionGauge {
    /// Counts a session in.
    pub fn enter() -> Self {
        families().sessions_opened.inc();
        families().sessions.inc();
        Self(())
    }
}

impl Drop for SessionGauge {
    fn drop(&mut self) {
        families().sessions.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_counts_as_long_as_its_guard_lives() {
        let before = families().sessions.get();
        let guard = SessionGauge::enter();
        assert_eq!(families().sessions.get(), before + 1);
        drop(guard);
        assert_eq!(families().sessions.get(), before);
    }
}
