//! `/api/v1/holds/stream`: the steps of holds as server-sent events (HTML standard, section 9.2).
//!
//! An event `hold` carries the hold as it stands when it is sent; an event `reset` says that steps were lost, so that the
//! reader lists anew. `Last-Event-ID` resumes. A reader that falls too far behind is cut off and resumes likewise.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::bearer::Caller;
use super::feed::{Entry, Feed, Reader};
use super::{Problem, Site};
use crate::control::{Control, card};

/// Readers at once.
pub(super) const READERS_MAX: usize = 64;
/// A comment is sent when nothing else was for so long, so that what stands in between keeps the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn stream(
    State(site): State<Site>,
    _caller: Caller,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let permit = Semaphore::try_acquire_owned(Arc::clone(&site.readers))
        .map_err(|_| Problem::unavailable("Too many follow the stream already."))?;
    let after = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let follower = Follower {
        reader: site.feed.follow(after),
        feed: site.feed.clone(),
        control: site.control.clone(),
        stop: site.stop.clone(),
        greeted: false,
        _permit: permit,
    };
    let events = unfold(follower, |mut follower| async { follower.next().await.map(|event| (Ok(event), follower)) });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

struct Follower {
    reader: Reader,
    feed: Feed,
    control: Control,
    stop: CancellationToken,
    greeted: bool,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// The next event; `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(self.greeting());
        }
        loop {
            let entry = self.entry().await?;
            let Some(change) = &entry.change else { return Some(self.reset(entry.number)) };
            match self.control.hold(change.id.as_str()).await {
                Ok(Some(hold)) => return Some(self.event("hold", entry.number, &card::contract(&hold).to_string())),
                // History was pruned meanwhile.
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, "a hold could not be read for the stream");
                    return None;
                }
            }
        }
    }

    async fn entry(&mut self) -> Option<Entry> {
        if let Some(entry) = self.reader.missed.pop_front() {
            return Some(entry);
        }
        // Cancel-safe: the stream is over with the first, and receiving loses nothing when it is dropped.
        tokio::select! {
            () = self.stop.cancelled() => None,
            // One that lags is dropped; it comes back with the last place that it saw.
            entry = self.reader.live.recv() => entry.ok(),
        }
    }

    /// A place to resume from, before anything has happened; or that steps were lost.
    fn greeting(&self) -> Event {
        let kind = if self.reader.lost { "reset" } else { "open" };
        let event = Event::default().event(kind).data("{}");
        // With steps still to come, the place is that of the reader.
        match self.feed.here().filter(|_| self.reader.missed.is_empty()) {
            Some(here) => event.id(here),
            None => event,
        }
    }

    fn reset(&self, number: u64) -> Event {
        self.event("reset", number, "{}")
    }

    fn event(&self, kind: &str, number: u64, data: &str) -> Event {
        Event::default().event(kind).id(self.feed.name(number)).data(data)
    }
}
