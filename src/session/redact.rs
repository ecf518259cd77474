//! Errors speak: a failed cast or a violated constraint carries values out without a row.

use super::Session;
use super::phase::Request;
use crate::report::Report;
use crate::sqlstate::SqlState;
use crate::wire::backend::Fields;

impl Session {
    /// What the client is told in place of an error that could carry tagged values; `None` where it may read it.
    pub(super) fn redacted(&mut self, fields: &Fields<'_>) -> Option<Report> {
        if !self.enforces() {
            return None;
        }
        let sqlstate = SqlState::read(fields.sqlstate())?;
        let (Request::Query(run) | Request::Execute(run) | Request::Call(run)) = &self.phase.front()?.request else {
            return None;
        };
        if !run.parts.iter().any(|part| part.decision.errors.redacts(sqlstate.as_str())) {
            return None;
        }
        Some(
            Report::new(sqlstate, "error text withheld because the statement touches tagged columns")
                .detail("The SQLSTATE is the server's own; its message could quote personal data.")
                .hint("Check types and constraints of the values that the statement reads or writes."),
        )
    }
}
