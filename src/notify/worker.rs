//! One target's deliveries, one after the other: tried, tried again later, given up at last.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use super::guard::Reply;
use super::store::{Delivery, Next, NotifyStoreError, Outbox};
use super::{EventKind, Retry, SendError};
use crate::approvals::{Approvals, Hold};
use crate::clock::Clock;
use crate::telemetry;

/// Between two looks while the outbox or the hold store fails.
const FAULT_PAUSE: Duration = Duration::from_secs(5);
/// The longest error that is kept.
const ERROR_MAX: usize = 300;

/// One event on its way to one target.
pub(super) struct Notice<'a> {
    pub(super) delivery: &'a Delivery,
    pub(super) hold: &'a Hold,
}

/// Why a delivery did not arrive.
#[derive(Debug)]
pub(super) enum Failure {
    /// Try again; not before this time has gone by, where the receiver said so.
    Later { after: Option<Duration>, why: String },
    /// The receiver wants nothing more.
    Never(String),
}

/// Where notices go.
pub(super) trait Target: Send + Sync {
    /// Its name, unique in the configuration.
    fn name(&self) -> &str;
    /// Whether it wants to hear of this.
    fn wants(&self, event: EventKind) -> bool;
    /// Delivers once.
    fn deliver<'a>(&'a self, notice: Notice<'a>) -> BoxFuture<'a, Result<(), Failure>>;
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        Self::Later { after: None, why: error.to_string() }
    }
}

impl From<NotifyStoreError> for Failure {
    fn from(error: NotifyStoreError) -> Self {
        Self::Later { after: None, why: error.to_string() }
    }
}

/// Whether an answer says that the notice arrived: any 2xx; 410 says that it is not wanted.
///
/// # Errors
/// It says otherwise.
pub(super) fn arrived(reply: Reply) -> Result<Reply, Failure> {
    match reply.status.as_u16() {
        200..=299 => Ok(reply),
        410 => Err(Failure::Never("the receiver is gone (410)".to_owned())),
        status => Err(Failure::Later { after: reply.retry_after, why: format!("the receiver answered {status}") }),
    }
}

/// Carries the deliveries of one target.
pub(super) struct Worker {
    pub(super) target: Arc<dyn Target>,
    pub(super) outbox: Outbox,
    pub(super) approvals: Approvals,
    pub(super) clock: Clock,
    pub(super) retry: Retry,
    /// Rings when something was written down.
    pub(super) bell: Arc<Notify>,
}

impl Worker {
    /// Runs until stopped. A delivery that is under way then is tried again by the next process.
    pub(super) async fn run(self, stop: CancellationToken) {
        loop {
            let bell = self.bell.notified();
            let pause = match self.turn(&stop).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(target = self.target.name(), %error, "notices cannot be read");
                    Some(FAULT_PAUSE)
                }
            };
            // Cancel-safe: each branch only waits, and the next turn looks at the outbox whichever it was.
            tokio::select! {
                () = stop.cancelled() => return,
                () = bell => {}
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
        }
    }

    /// Delivers what is due; how long until there is more, if that is known.
    async fn turn(&self, stop: &CancellationToken) -> Result<Option<Duration>, Fault> {
        while !stop.is_cancelled() {
            let now = self.clock.now();
            match self.outbox.next(self.target.name(), now).await? {
                Next::Nothing => return Ok(None),
                Next::Later(at) => return Ok(Some(at.since(now))),
                Next::Due(delivery) => {
                    // Cancel-safe: what is not marked as done is delivered again under the same id.
                    tokio::select! {
                        () = stop.cancelled() => return Ok(None),
                        attempted = self.attempt(&delivery) => attempted?,
                    }
                }
            }
        }
        Ok(None)
    }

    async fn attempt(&self, delivery: &Delivery) -> Result<(), Fault> {
        let Some(hold) = self.approvals.get(&delivery.hold).await? else {
            return Ok(self.outbox.done(delivery.seq).await?);
        };
        let failure = match self.target.deliver(Notice { delivery, hold: &hold }).await {
            Ok(()) => {
                telemetry::notice(self.target.name(), "delivered");
                return Ok(self.outbox.done(delivery.seq).await?);
            }
            Err(failure) => failure,
        };
        let attempts = delivery.attempts.saturating_add(1);
        match failure {
            Failure::Later { after, why } if attempts < self.retry.attempts_max => {
                telemetry::notice(self.target.name(), "failed");
                let due_at = self.clock.now().after(self.retry.pause(attempts, after));
                tracing::warn!(target = self.target.name(), why, attempts, "a notice was not delivered yet");
                self.outbox.retry(delivery.seq, due_at, short(why)).await?;
            }
            Failure::Later { why, .. } | Failure::Never(why) => {
                telemetry::notice(self.target.name(), "dead");
                tracing::error!(target = self.target.name(), why, attempts, "a notice was given up");
                self.outbox.bury(delivery.seq, short(why)).await?;
            }
        }
        Ok(())
    }
}

fn short(mut why: String) -> String {
    let mut end = ERROR_MAX.min(why.len());
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    why.truncate(end);
    why
}
