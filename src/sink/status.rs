//! How a sink is, for whoever watches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::telemetry;

/// How one sink is, now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// The last attempt succeeded.
    pub up: bool,
    /// Records of the log that it has not passed yet.
    pub behind: u64,
    /// Events that the receiver refused, since the start.
    pub dead: u64,
    /// What went wrong last, while it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The same, where the sink writes it.
#[derive(Debug)]
pub(super) struct Board {
    name: String,
    passed: AtomicU64,
    dead: AtomicU64,
    error: Mutex<Option<String>>,
}

impl Board {
    pub(super) fn new(name: &str) -> Self {
        telemetry::sink_up(name, true);
        Self { name: name.to_owned(), passed: AtomicU64::new(0), dead: AtomicU64::new(0), error: Mutex::default() }
    }

    pub(super) fn sent(&self, events: usize) {
        telemetry::sink_events(&self.name, "sent", events);
        self.set_error(None);
    }

    pub(super) fn refused(&self) {
        self.dead.fetch_add(1, Ordering::Relaxed);
        telemetry::sink_events(&self.name, "dead", 1);
    }

    pub(super) fn down(&self, why: String) {
        telemetry::sink_events(&self.name, "retried", 1);
        self.set_error(Some(why));
    }

    /// Records up to `next` are passed, of so many durable ones.
    pub(super) fn passed(&self, next: u64, durable: u64) {
        self.passed.store(next, Ordering::Relaxed);
        telemetry::sink_behind(&self.name, durable.saturating_sub(next));
    }

    pub(super) fn status(&self, durable: u64) -> Status {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Status {
            name: self.name.clone(),
            up: error.is_none(),
            behind: durable.saturating_sub(self.passed.load(Ordering::Relaxed)),
            dead: self.dead.load(Ordering::Relaxed),
            error,
        }
    }

    fn set_error(&self, error: Option<String>) {
        let mut now = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        if now.is_some() != error.is_some() {
            telemetry::sink_up(&self.name, error.is_none());
            match &error {
                Some(error) => tracing::warn!(sink = self.name, error, "a sink is down"),
                None => tracing::info!(sink = self.name, "a sink is up again"),
            }
        }
        *now = error;
    }
}
