//! Errors speak: a failed cast or a violated constraint carries values out without a row.

use super::Session;
use super::phase::Request;
use crate::policy::Errors;
use crate::report::Report;
use crate::sqlstate::SqlState;
use crate::wire::backend::Fields;

/// SQLSTATE classes whose messages quote values: data exceptions, integrity violations, PL/pgSQL's own.
const SPEAKING: [&str; 3] = ["22", "23", "P0"];

impl Session {
    /// What the client is told in place of an error that could carry tagged values; `None` where it may read it.
    pub(super) fn redacted(&mut self, fields: &Fields<'_>) -> Option<Report> {
        if self.services.policy.load().errors() == Errors::Pass || !self.enforces() {
            return None;
        }
        let sqlstate = SqlState::read(fields.sqlstate())?;
        if !SPEAKING.iter().any(|class| sqlstate.as_str().starts_with(class)) {
            return None;
        }
        let run = match &self.phase.front()?.request {
            Request::Query(run) | Request::Execute(_, run) | Request::Call(run) => run,
            _ => return None,
        };
        if !run.facts.statements.iter().any(crate::analysis::StatementFacts::is_tagged) {
            return None;
        }
        Some(
            Report::new(sqlstate, "error text withheld because the statement touches tagged columns")
                .detail("The SQLSTATE is the server's own; its message could quote personal data.")
                .hint("Check types and constraints of the values that the statement reads or writes."),
        )
    }
}
