//! Errors speak: a failed cast or a violated constraint carries values out without a row.

use super::Session;
use super::phase::Request;
use crate::policy::ErrorText;
use crate::report::Report;
use crate::sqlstate::SqlState;
use crate::wire::backend::Fields;

impl Session {
    /// What the client is told in place of an error that could carry tagged values; `None` where it may read it.
    pub(super) fn redacted(&mut self, fields: &Fields<'_>) -> Option<Report> {
        let sqlstate = SqlState::read(fields.sqlstate())?;
        if !self.redacts(|text| text.redacts(sqlstate.as_str())) {
            return None;
        }
        Some(
            Report::new(sqlstate, "error text withheld because the statement touches tagged columns")
                .detail("The SQLSTATE is the server's own; its message could quote personal data.")
                .hint("Check types and constraints of the values that the statement reads or writes."),
        )
    }

    /// The same for a notice.
    pub(super) fn redacted_notice(&mut self, fields: &Fields<'_>) -> Option<Report> {
        let sqlstate = SqlState::read(fields.sqlstate())?;
        let text = "notice withheld because the statement touches tagged columns";
        self.redacts(ErrorText::redacts_notices).then(|| Report::new(sqlstate, text))
    }

    fn redacts(&mut self, rule: impl Fn(ErrorText) -> bool) -> bool {
        if !self.enforces() {
            return false;
        }
        match self.phase.front().map(|front| &front.request) {
            Some(Request::Query(run) | Request::Execute(run) | Request::Call(run)) => {
                run.parts.iter().any(|part| rule(part.decision.errors))
            }
            _ => false,
        }
    }
}
