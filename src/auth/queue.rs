//! Connections that have not proved who they are: so many, for so long, and the oldest makes place for a new one.
//!
//! Somebody who opens connections and says nothing pushes out their own silent ones: whoever speaks is through in
//! milliseconds, long before they are the oldest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// All that wait. Clones are one.
#[derive(Clone, Debug)]
pub struct Queue {
    waiting: Arc<Mutex<Waiting>>,
    places_max: usize,
    time_max: Duration,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    places: BTreeMap<u64, CancellationToken>,
}

/// One connection's place; it is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    queue: Queue,
    number: u64,
    pushed_out: CancellationToken,
    deadline: Instant,
}

/// Why a connection's time is over before it has proved anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Late {
    /// It took too long.
    #[error("the log-in took too long")]
    TimedOut,
    /// Newer ones needed its place.
    #[error("too many connections wait for their log-in")]
    PushedOut,
}

impl Queue {
    /// A queue with so many places, each for so long.
    #[must_use]
    pub fn new(places_max: usize, time_max: Duration) -> Self {
        Self { waiting: Arc::default(), places_max: places_max.max(1), time_max }
    }

    /// A place for a new connection; the oldest loses its own where all are taken.
    #[must_use]
    pub fn enter(&self) -> Place {
        let pushed_out = CancellationToken::new();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let number = waiting.next;
        waiting.next += 1;
        while waiting.places.len() >= self.places_max {
            let Some((_, oldest)) = waiting.places.pop_first() else { break };
            oldest.cancel();
        }
        waiting.places.insert(number, pushed_out.clone());
        drop(waiting);
        Place { queue: self.clone(), number, pushed_out, deadline: Instant::now() + self.time_max }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).places.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Place {
    /// Does something while the place is held and the time lasts.
    ///
    /// # Errors
    /// The time is over, or the place is lost.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Late> {
        match tokio::time::timeout_at(self.deadline, self.pushed_out.run_until_cancelled(work)).await {
            Ok(Some(done)) => Ok(done),
            Ok(None) => Err(Late::PushedOut),
            Err(_) => Err(Late::TimedOut),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner).places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_makes_place_for_a_new_one() {
        let queue = Queue::new(2, Duration::from_secs(60));
        let (first, second) = (queue.enter(), queue.enter());
        let third = queue.enter();
        assert_eq!(queue.len(), 2);
        assert_eq!(first.within(std::future::pending::<()>()).await, Err(Late::PushedOut));
        assert_eq!(second.within(async { 2 }).await, Ok(2));
        assert_eq!(third.within(async { 3 }).await, Ok(3));
        drop((first, second));
        assert_eq!(queue.len(), 1);
    }

    #[tokio::test]
    async fn a_place_is_lost_when_its_time_is_over() {
        let place = Queue::new(2, Duration::ZERO).enter();
        assert_eq!(place.within(std::future::pending::<()>()).await, Err(Late::TimedOut));
    }
}
