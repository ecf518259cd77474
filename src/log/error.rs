//! What can go wrong in the log, and whose fault it is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::lineage::Line;

/// Why a record is not in the log. Cheap to clone: every waiting append of a group gets the same one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The disk refused.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was tried: `write`, `sync`, `open` …
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Another process appends to this log.
    #[error("{} is in use by another process", dir.display())]
    InUse {
        /// The log's directory.
        dir: PathBuf,
    },
    /// The log on disk is not what its last checkpoint signed: nothing is appended to it.
    #[error("the log is not intact: {what}; nothing is appended to it (`log verify` says more)")]
    NotIntact {
        /// What does not fit, with the place.
        what: String,
    },
    /// A key or origin that cannot be used.
    #[error("{}: {what}", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The log was closed, or its writer died.
    #[error("the log is closed")]
    Closed,
}

impl LogError {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_path_buf(), source: Arc::new(source) }
    }
}

/// Why a record was not taken without waiting.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TryAppendError {
    /// The queue is full: use [`super::Log::append`], which waits.
    #[error("the log's queue is full")]
    Full(Line),
    /// The log cannot be written now: [`super::Log::append`] tries to recover it.
    #[error("{0}")]
    Unhealthy(LogError, Line),
}

impl TryAppendError {
    /// The record that was not taken, to be given to [`super::Log::append`].
    #[must_use]
    pub fn into_line(self) -> Line {
        match self {
            Self::Full(line) | Self::Unhealthy(_, line) => line,
        }
    }
}
