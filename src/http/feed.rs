//! The steps of holds in their order, for those who follow them: the last ones are kept, so that a reader that was cut
//! off goes on where it stood.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::approvals::HoldChange;
use crate::ids::random_base32;

/// Steps that are kept for readers who come back.
const KEPT_MAX: usize = 4096;
/// Steps that one reader may lag behind before it is dropped.
const BEHIND_MAX: usize = 256;

/// One step. `change` is `None` where steps were lost: whoever follows must look at everything anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) change: Option<HoldChange>,
}

/// All steps since the start of the process. Clones are one.
#[derive(Clone)]
pub(super) struct Feed(Arc<Inner>);

struct Inner {
    /// Numbers of another process mean nothing here.
    process: String,
    kept: Mutex<Kept>,
    live: broadcast::Sender<Entry>,
}

#[derive(Default)]
struct Kept {
    next: u64,
    entries: VecDeque<Entry>,
}

/// One reader's place in the steps.
pub(super) struct Reader {
    /// Whether steps were lost between the place that it named and now.
    pub(super) lost: bool,
    pub(super) missed: VecDeque<Entry>,
    pub(super) live: broadcast::Receiver<Entry>,
}

impl Feed {
    /// A feed without steps; [`Feed::run`] carries them.
    pub(super) fn new() -> Self {
        let inner =
            Inner { process: random_base32(8), kept: Mutex::default(), live: broadcast::Sender::new(BEHIND_MAX) };
        Self(Arc::new(inner))
    }

    /// Carries steps until stopped.
    pub(super) async fn run(self, mut changes: broadcast::Receiver<HoldChange>, stop: CancellationToken) {
        loop {
            // Cancel-safe: receiving from a broadcast loses nothing when it is dropped.
            let change = tokio::select! {
                () = stop.cancelled() => return,
                change = changes.recv() => change,
            };
            match change {
                Ok(change) => self.push(Some(change)),
                Err(RecvError::Lagged(_)) => self.push(None),
                Err(RecvError::Closed) => return,
            }
        }
    }

    pub(super) fn push(&self, change: Option<HoldChange>) {
        let mut kept = self.kept();
        let entry = Entry { number: kept.next, change };
        kept.next += 1;
        if entry.change.is_none() {
            kept.entries.clear();
        }
        if kept.entries.len() == KEPT_MAX {
            kept.entries.pop_front();
        }
        kept.entries.push_back(entry.clone());
        // Nobody listens: not an error. Sent under the lock, so that no reader misses a step while it joins.
        let _ = self.0.live.send(entry);
    }

    /// Follows from the step after the one that is named, or from now on.
    pub(super) fn follow(&self, after: Option<&str>) -> Reader {
        let kept = self.kept();
        let live = self.0.live.subscribe();
        let Some(after) = after else { return Reader { lost: false, missed: VecDeque::new(), live } };
        let missed = self.number(after).and_then(|number| kept.after(number));
        Reader { lost: missed.is_none(), missed: missed.unwrap_or_default(), live }
    }

    /// How a step is named in `Last-Event-ID`.
    pub(super) fn name(&self, number: u64) -> String {
        format!("{}-{number}", self.0.process)
    }

    /// The place of one who has seen every step so far.
    pub(super) fn here(&self) -> Option<String> {
        self.kept().next.checked_sub(1).map(|number| self.name(number))
    }

    fn number(&self, name: &str) -> Option<u64> {
        let (process, number) = name.split_once('-')?;
        number.parse().ok().filter(|_| process == self.0.process)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// The steps after that one; `None` where some of them are not kept any more.
    fn after(&self, number: u64) -> Option<VecDeque<Entry>> {
        let first = self.entries.front().map_or(self.next, |entry| entry.number);
        let wanted = number.checked_add(1).filter(|wanted| *wanted <= self.next && *wanted >= first)?;
        Some(self.entries.iter().filter(|entry| entry.number >= wanted).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast::error::TryRecvError;

    use super::*;
    use crate::approvals::{HoldState, Waiting};
    use crate::ids::HoldId;

    #[expect(clippy::unnecessary_wraps, reason = "as it is pushed")]
    fn change() -> Option<HoldChange> {
        Some(HoldChange { id: HoldId::new(), state: HoldState::Pending, waiting: Waiting::Connection })
    }

    #[test]
    fn a_reader_goes_on_after_the_step_that_it_saw_last() {
        let feed = Feed::new();
        let steps = [change(), change(), change()];
        for step in &steps {
            feed.push(step.clone());
        }
        let reader = feed.follow(Some(&feed.name(0)));
        assert!(!reader.lost);
        assert_eq!(reader.missed.iter().map(|entry| entry.change.clone()).collect::<Vec<_>>(), steps[1..]);
        assert!(feed.follow(Some(&feed.here().unwrap())).missed.is_empty());
    }

    #[test]
    fn a_place_that_is_unknown_or_too_old_says_so() {
        let feed = Feed::new();
        for _ in 0..=KEPT_MAX {
            feed.push(change());
        }
        for place in ["", "x", "other-1", &feed.name(9999), &format!("{}-x", feed.0.process), &feed.name(u64::MAX)] {
            assert!(feed.follow(Some(place)).lost, "{place}");
        }
        assert!(!feed.follow(Some(&feed.name(0))).lost);
        feed.push(change());
        assert!(feed.follow(Some(&feed.name(0))).lost);
        feed.push(None);
        assert!(feed.follow(Some(&feed.name(1))).lost);
    }

    #[test]
    fn a_reader_that_does_not_read_is_dropped_and_keeps_nobody_waiting() {
        let feed = Feed::new();
        let mut reader = feed.follow(None);
        for _ in 0..=BEHIND_MAX {
            feed.push(change());
        }
        assert!(matches!(reader.live.try_recv(), Err(TryRecvError::Lagged(1))));
    }
}
