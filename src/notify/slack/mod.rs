//! Slack: a message for each hold, changed in place when the hold changes, with buttons that decide it.
//!
//! A button is an answer of the operator whom the configuration or a confirmed e-mail address names, by the same way as
//! on every other surface. Must not: believe a callback without its signature, or show a button under a cut card.
//! Start reading at [`Slack`] and [`Interactions`].

mod answer;
mod api;
mod blocks;
mod clicks;
mod operators;
mod signature;
mod socket;
mod target;

pub use answer::{Busy, Click, Decide, Interactions};
pub use api::{Api, SlackError};
pub use clicks::Clicks;
pub use operators::Accounts;
pub use signature::SigningSecret;
pub use socket::Socket;
pub use target::Slack;

#[cfg(test)]
mod tests;
