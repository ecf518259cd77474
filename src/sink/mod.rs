//! Copies of the log for other systems: each sink reads behind the writer, at its own pace.
//!
//! The log is the queue. A sink reads what is durable in it, sends it in order, and notes how far it has come in
//! `STATE/sinks`; the next start goes on from there. What was sent and not noted, because the process ended in between, is
//! sent again: each event carries the same run and the same time, by which a receiver knows it.
//!
//! **Back-pressure:** none toward sessions. A receiver that is slow or away makes its sink fall behind, which `/metrics`
//! and `/readyz` show, and nothing else: no statement waits, nothing is kept in memory, nothing is dropped. A receiver that
//! refuses an event gets the following ones; the refused one is a dead letter, in a file of its own.
//!
//! Must not: be waited for by anybody; send what is not durable; read the state of a session. Start reading at [`Sink`].

mod files;
mod post;
mod run;
mod source;
mod status;

use std::path::PathBuf;
use std::time::Duration;

pub use run::{Sink, Watch};
pub use status::Status;

/// Where events go, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkOptions {
    /// Its name in metrics and file names.
    pub name: String,
    /// Where events are posted, whole: `http://marquez:5000/api/v1/lineage`.
    pub url: String,
    /// A file whose first line is sent as a bearer token; read anew for each attempt.
    pub token_file: Option<PathBuf>,
    /// Events in one request. With 1 an event is the body; with more the body is an array of events.
    pub batch_max: usize,
    /// How long one request may take.
    pub timeout: Duration,
    /// The pause after the first failure; each further one doubles it.
    pub retry_min: Duration,
    /// The longest pause.
    pub retry_max: Duration,
}

impl SinkOptions {
    /// The usual way to send to an address: single events, 10 s each, pauses from half a second to a minute.
    #[must_use]
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            token_file: None,
            batch_max: 1,
            timeout: Duration::from_secs(10),
            retry_min: Duration::from_millis(500),
            retry_max: Duration::from_secs(60),
        }
    }
}

/// Why a sink does not start.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The directory of its files.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A position that is none: whoever knows how far the sink has come writes it there, or removes the file to send all.
    #[error("{} holds no position", .0.display())]
    Position(PathBuf),
    /// The HTTP client.
    #[error("sink {0}: {1}")]
    Client(String, reqwest::Error),
}

#[cfg(test)]
mod tests;
