//! The queue between the handles and the writer. Its bound is room in bytes, taken before a record is put in.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::error::LogError;
use crate::clock::monotonic;
use crate::lineage::Line;

/// The writer is woken for asynchronous records alone once so many bytes wait; below that it looks by itself.
const WAKE_AT: usize = 1 << 20;

/// A record on its way.
pub(super) struct Pending {
    pub line: Line,
    /// Its number, once it is written.
    pub seq: u64,
    /// Room that it takes in the queue, given back once it is durable or refused.
    pub weight: u32,
    pub reply: Reply,
}

/// Who waits for it.
pub(super) enum Reply {
    /// A strict append.
    Strict(oneshot::Sender<Result<u64, LogError>>),
    /// The record of a change of keys, which follows once it is durable.
    Key(oneshot::Sender<Result<u64, LogError>>),
    /// An asynchronous append: it must not get lost.
    Nobody,
    /// The log's own note of a gap: made anew by each attempt to recover.
    Own,
}

impl Reply {
    /// Whether somebody waits until it is durable.
    pub(super) const fn is_strict(&self) -> bool {
        matches!(self, Self::Strict(_) | Self::Key(_))
    }

    /// Tells who waits, if anybody does.
    pub(super) fn answer(self, result: Result<u64, LogError>) {
        if let Self::Strict(reply) | Self::Key(reply) = self {
            // The session may have ended meanwhile; the record is in the log all the same.
            let _ = reply.send(result);
        }
    }
}

/// All that was queued.
#[derive(Default)]
pub(super) struct Group {
    pub records: Vec<Pending>,
    /// The queue was closed behind these: there will be no other group.
    pub is_last: bool,
}

/// How many strict records a group waits for, and how long: those who were told together come back together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gather {
    pub strict: usize,
    pub within: Duration,
}

/// How far the queue's end is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// Nothing more comes in; the writer takes what is there.
    Closed,
    /// The writer is gone.
    Over,
}

/// Many handles put in, one writer takes all at once.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    records: Vec<Pending>,
    weight: usize,
    /// How many of them somebody waits for.
    strict: usize,
    /// The writer goes on once these are so many.
    strict_wanted: usize,
    /// Somebody waits for one of them, or they are many, or the queue was closed.
    is_urgent: bool,
    /// The writer sleeps without a limit: the first record of any kind wakes it.
    is_asleep: bool,
    end: End,
    /// Who waits until the writer has ended.
    closers: Vec<oneshot::Sender<()>>,
}

impl State {
    /// Whether the writer is to be woken for it.
    fn put(&mut self, pending: Pending) -> bool {
        let was_urgent = self.is_urgent;
        self.weight += usize::try_from(pending.weight).unwrap_or(WAKE_AT);
        let is_strict = pending.reply.is_strict();
        self.strict += usize::from(is_strict);
        self.records.push(pending);
        self.is_urgent |= is_strict || self.weight >= WAKE_AT;
        let is_enough = is_strict && self.strict == self.strict_wanted;
        (self.is_urgent && !was_urgent) || is_enough || std::mem::take(&mut self.is_asleep)
    }
}

impl Queue {
    /// Puts a record in; an asynchronous one wakes the writer only from a sleep without limit, so that a busy log is not
    /// woken for each statement.
    ///
    /// # Errors
    /// The queue was closed: the record comes back.
    pub(super) fn push(&self, pending: Pending) -> Result<(), Pending> {
        let mut state = self.lock();
        if state.end != End::Open {
            return Err(pending);
        }
        if state.put(pending) {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Puts records in, all in one group.
    ///
    /// # Errors
    /// The queue was closed.
    pub(super) fn push_all(&self, group: Vec<Pending>) -> Result<(), LogError> {
        let mut state = self.lock();
        if state.end != End::Open {
            return Err(LogError::Closed);
        }
        let mut wakes = false;
        for pending in group {
            wakes |= state.put(pending);
        }
        if wakes {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Lets nothing in any more and wakes the writer. `closer` is told once the writer has ended.
    pub(super) fn close(&self, closer: Option<oneshot::Sender<()>>) {
        let mut state = self.lock();
        state.is_urgent = true;
        if state.end != End::Over {
            state.end = End::Closed;
            state.closers.extend(closer);
        }
        self.filled.notify_one();
    }

    /// The writer's last word: whoever waits for its end goes on, and what was still put in is refused.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.end = End::Over;
        state.closers.clear();
        state.records.clear();
    }

    /// All that is queued: at once where somebody waits (or as `gather` says), otherwise at `until`; without one, as soon
    /// as anything comes.
    pub(super) fn take(&self, until: Option<Instant>, gather: Gather) -> Group {
        let mut state = self.lock();
        while !state.is_urgent {
            let Some(until) = until else {
                if !state.records.is_empty() {
                    break;
                }
                state.is_asleep = true;
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(monotonic());
            if left.is_zero() {
                break;
            }
            state = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_asleep = false;
        state = self.gather(state, gather);
        let is_last = state.end != End::Open;
        state.is_urgent = is_last;
        (state.weight, state.strict) = (0, 0);
        Group { records: std::mem::take(&mut state.records), is_last }
    }

    fn gather<'a>(&'a self, mut state: MutexGuard<'a, State>, gather: Gather) -> MutexGuard<'a, State> {
        let began = monotonic();
        state.strict_wanted = gather.strict;
        while state.strict > 0 && state.strict < gather.strict && state.end == End::Open && state.weight < WAKE_AT {
            let left = gather.within.saturating_sub(monotonic().saturating_duration_since(began));
            if left.is_zero() {
                break;
            }
            state = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.strict_wanted = 0;
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
