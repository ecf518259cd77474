//! How a session is told something from outside: a bell that wakes it, and what was rung for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Context;

use futures_util::task::AtomicWaker;

/// Signals that may wait for one session. More are dropped: the first has woken it.
const SIGNALS_MAX: usize = 8;

/// What a session is told from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Its client asked to cancel what runs.
    Cancel,
    /// An operator ends it.
    Kill {
        /// Who.
        by: String,
    },
    /// The proxy drains: it ends as soon as nothing of it runs.
    Drain,
}

/// The bell of one session. Sessions look at it in every round, so that looking is one load.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: AtomicBool,
    signals: Mutex<Vec<Signal>>,
    waker: AtomicWaker,
}

impl Bell {
    pub(super) fn ring(&self, signal: Signal) {
        let mut signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        if signals.len() < SIGNALS_MAX && !signals.contains(&signal) {
            signals.push(signal);
        }
        drop(signals);
        self.rung.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// What it was rung for since the last time; the task is woken by the next ring.
    pub(super) fn answer(&self, cx: &Context<'_>) -> Vec<Signal> {
        // First, so that a ring in between is not missed.
        self.waker.register(cx.waker());
        self.taken()
    }

    /// The same without being woken.
    pub(super) fn taken(&self) -> Vec<Signal> {
        if !self.rung.load(Ordering::Acquire) || !self.rung.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.signals.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_ring_wakes_whoever_has_listened_and_is_answered_once() {
        let (bell, counter) = (Bell::default(), Arc::new(Counter::default()));
        let waker = Waker::from(counter.clone());
        let cx = Context::from_waker(&waker);
        assert_eq!(bell.answer(&cx), []);
        bell.ring(Signal::Drain);
        bell.ring(Signal::Drain);
        bell.ring(Signal::Cancel);
        assert!(counter.0.load(Ordering::SeqCst) > 0);
        assert_eq!(bell.answer(&cx), [Signal::Drain, Signal::Cancel]);
        assert_eq!(bell.answer(&cx), []);
    }

    #[test]
    fn signals_that_nobody_answers_are_bounded() {
        let bell = Bell::default();
        (0..100).for_each(|number| bell.ring(Signal::Kill { by: number.to_string() }));
        assert_eq!(bell.answer(&Context::from_waker(Waker::noop())).len(), SIGNALS_MAX);
    }
}
