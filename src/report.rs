//! The one shape of text that a peer may read. Errors become a [`Report`] by hand, never by formatting whatever went wrong.

use crate::sqlstate::SqlState;

/// What a client is told of a refusal or failure, in the words of Postgres's error style guide:
/// `message` is lower case without a full stop, `detail` and `hint` are sentences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The SQLSTATE.
    pub sqlstate: SqlState,
    /// The primary message.
    pub message: String,
    /// What else is known.
    pub detail: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
}

impl Report {
    /// A report with a primary message alone.
    pub fn new(sqlstate: SqlState, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), detail: None, hint: None }
    }

    /// The same with a DETAIL.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same with a HINT.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
