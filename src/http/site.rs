//! What all handlers share.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRef;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::attempts::{Attempts, FAILURES_MAX};
use super::console::oidc::{Pendings, Provider};
use super::console::{Place, Sessions};
use super::feed::Feed;
use super::idempotent::Answers;
use super::slack::SlackDoor;
use super::stream::READERS_MAX;
use crate::clock::Clock;
use crate::control::Control;
use crate::notify::Notifier;
use crate::policy::Network;

/// How the HTTP listener is set up.
#[derive(Clone, Default)]
pub struct SiteOptions {
    /// Where browsers find the listener, `https://host[:port]`; by default where their request says.
    pub public_url: Option<String>,
    /// The provider by which operators sign in.
    pub provider: Option<Arc<Provider>>,
    /// What lets clicks in Slack in.
    pub slack: Option<SlackDoor>,
    /// Notices, to show those that were given up.
    pub notifier: Option<Notifier>,
    /// Wrong tokens in a row of one address before it has to wait, a second for each; 50.
    pub failures_max: Option<u32>,
    /// Proxies before the listener whose word about an address counts.
    pub trusted_proxies: Vec<Network>,
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
    pub(super) place: Place,
    pub(super) attempts: Attempts,
    pub(super) sessions: Sessions,
    pub(super) provider: Option<Arc<Provider>>,
    pub(super) pendings: Pendings,
    pub(super) slack: Option<SlackDoor>,
    pub(super) notifier: Option<Notifier>,
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
            answers: Answers::new(options.clock.clone()),
            place: Place::new(options.public_url.as_deref()),
            attempts: Attempts::new(options.failures_max.unwrap_or(FAILURES_MAX), options.trusted_proxies),
            sessions: Sessions::new(options.clock.clone()),
            provider: options.provider,
            slack: options.slack,
            notifier: options.notifier,
            pendings: Pendings::new(options.clock),
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
