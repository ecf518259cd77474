//! What all handlers share.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRef;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::feed::Feed;
use super::idempotent::Answers;
use super::stream::READERS_MAX;
use crate::clock::Clock;
use crate::control::Control;

/// How the HTTP listener is set up.
#[derive(Clone, Debug, Default)]
pub struct SiteOptions {
    /// The time by which sessions and keys end.
    pub clock: Clock,
    /// Ends streams.
    pub stop: CancellationToken,
}

/// The listener's shared state. Clones are one.
#[derive(Clone)]
pub struct Site(Arc<Parts>);

/// The state itself.
pub struct Parts {
    pub(super) control: Control,
    pub(super) feed: Feed,
    pub(super) readers: Arc<Semaphore>,
    pub(super) answers: Answers,
    pub(super) stop: CancellationToken,
}

impl Site {
    /// Over the operators' API. Starts to carry the steps of holds: call it within a runtime.
    #[must_use]
    pub fn new(control: Control, options: SiteOptions) -> Self {
        let feed = Feed::new();
        tokio::spawn(feed.clone().run(control.changes(), options.stop.clone()));
        Self(Arc::new(Parts {
            control,
            feed,
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            answers: Answers::new(options.clock),
            stop: options.stop,
        }))
    }
}

impl Deref for Site {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl FromRef<Site> for Control {
    fn from_ref(site: &Site) -> Self {
        site.control.clone()
    }
}
