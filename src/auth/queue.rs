//! Connections that have not proved who they are: so many, for so long, and the oldest makes place for a new one.
//!
//! Where all places are taken, the address that has most of them loses one: a silent connection before one that has sent
//! its start-up packet, the oldest first. Somebody who floods from one address pushes out their own.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::throttle::source;

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
    /// By age: the oldest has the smallest number.
    places: BTreeMap<u64, Taken>,
}

#[derive(Debug)]
struct Taken {
    source: IpAddr,
    has_spoken: bool,
    pushed_out: CancellationToken,
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

    /// A place for a new connection; another loses its own where all are taken.
    #[must_use]
    pub fn enter(&self, address: IpAddr) -> Place {
        let pushed_out = CancellationToken::new();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let number = waiting.next;
        waiting.next += 1;
        while waiting.places.len() >= self.places_max {
            let Some(lost) = waiting.least().and_then(|number| waiting.places.remove(&number)) else { break };
            lost.pushed_out.cancel();
        }
        let taken = Taken { source: source(address), has_spoken: false, pushed_out: pushed_out.clone() };
        waiting.places.insert(number, taken);
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

impl Waiting {
    /// Whose place is lost next.
    fn least(&self) -> Option<u64> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for taken in self.places.values() {
            *counts.entry(taken.source).or_default() += 1;
        }
        let most = counts.values().copied().max()?;
        let crowd = self.places.iter().filter(|(_, taken)| counts.get(&taken.source) == Some(&most));
        crowd.min_by_key(|(number, taken)| (taken.has_spoken, **number)).map(|(number, _)| *number)
    }
}

impl Place {
    /// The connection has sent its start-up packet: it is less likely to be there only for its place.
    pub fn has_spoken(&self) {
        let mut waiting = self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = waiting.places.get_mut(&self.number) {
            taken.has_spoken = true;
        }
    }

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

    fn from(host: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, host])
    }

    #[tokio::test]
    async fn the_oldest_makes_place_for_a_new_one() {
        let queue = Queue::new(2, Duration::from_secs(60));
        let (first, second) = (queue.enter(from(1)), queue.enter(from(1)));
        let third = queue.enter(from(1));
        assert_eq!(queue.len(), 2);
        assert_eq!(first.within(std::future::pending::<()>()).await, Err(Late::PushedOut));
        assert_eq!(second.within(async { 2 }).await, Ok(2));
        assert_eq!(third.within(async { 3 }).await, Ok(3));
        drop((first, second));
        assert_eq!(queue.len(), 1);
    }

    #[tokio::test]
    async fn a_flood_pushes_out_its_own_and_silent_ones_first() {
        let queue = Queue::new(4, Duration::from_secs(60));
        let other = queue.enter(from(2));
        let speaker = queue.enter(from(1));
        speaker.has_spoken();
        let flood: Vec<_> = (0..100).map(|_| queue.enter(from(1))).collect();
        assert_eq!(queue.len(), 4);
        assert_eq!(other.within(async {}).await, Ok(()));
        assert_eq!(speaker.within(async {}).await, Ok(()));
        assert_eq!(flood.iter().filter(|place| place.pushed_out.is_cancelled()).count(), 98);
    }

    #[tokio::test]
    async fn a_place_is_lost_when_its_time_is_over() {
        let place = Queue::new(2, Duration::ZERO).enter(from(1));
        assert_eq!(place.within(std::future::pending::<()>()).await, Err(Late::TimedOut));
    }
}
