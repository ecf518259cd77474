//! Tells people and programs of holds: Standard Webhooks, Slack, Teams, all from one outbox on disk.
//!
//! What is to be told is written down first and delivered later, with retries; a session never waits for it, and nothing
//! of a statement lies in the outbox: a message is made from the hold at the moment when it is sent.
//! Must not: decide anything, block a session, follow a redirect, or reach into a private network that nobody named.
//! Start reading at [`Notifier::start`].

mod backoff;
mod event;
mod fault;
mod follow;
mod guard;
mod notifier;
pub mod slack;
mod store;
mod teams;
#[cfg(test)]
mod testing;
mod voice;
mod webhook;
mod worker;

pub use backoff::Retry;
pub use event::EventKind;
pub use guard::{Reach, SendError, Sender, admitted};
pub use notifier::{Notifier, NotifyOptions};
pub use store::{Dead, NotifyStoreError};
pub use teams::Teams;
pub use voice::Voice;
pub use webhook::{Webhook, WebhookSecret};
