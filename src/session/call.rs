//! A `FunctionCall`: judged as the call of that function in a query, by what the server says that its OID stands for.

use std::sync::Arc;

use bytes::Bytes;

use super::Session;
use super::clear::{Cleared, Form};
use super::phase::Request;
use super::relay::End;
use super::run::Run;
use crate::analysis::{Facts, Kind, StatementFacts};
use crate::catalog::Oid;
use crate::report::Report;

/// What records and cards call it.
const COMMAND: &str = "FUNCTION CALL";

impl Session {
    /// Judges the call of a function by its OID.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn judge_call(&mut self, oid: Oid) -> Result<Result<Box<Run>, Report>, End> {
        let Some(text) = self.call_as_query(oid).await? else {
            let text = Bytes::from(format!("FunctionCall {oid}"));
            let mut facts = StatementFacts::opaque(COMMAND, 0..text.len(), "no function of this OID is known");
            facts.kinds.insert(Kind::Call);
            if self.is_failed_transaction() {
                // Nothing can be asked, and nothing can run.
                facts.opaque.clear();
                facts.kinds.remove(&Kind::Opaque);
            }
            let mut run = self.decide(text, Arc::new(Facts { statements: vec![facts] }));
            run.call = Some(oid);
            return Ok(Ok(run));
        };
        self.calling = Some(oid);
        let judged = self.judge(&text).await;
        self.calling = None;
        let judged = match judged? {
            Ok(run) => run,
            Err(report) => return Ok(Err(report)),
        };
        let mut facts = Facts::clone(&judged.facts);
        for statement in &mut facts.statements {
            statement.kinds.insert(Kind::Call);
            COMMAND.clone_into(&mut statement.command);
        }
        let mut run = self.decide(text, Arc::new(facts));
        run.call = Some(oid);
        Ok(Ok(run))
    }

    /// The query that calls the function of an OID with values of exactly its types.
    async fn call_as_query(&mut self, oid: Oid) -> Result<Option<Bytes>, End> {
        let question = format!(
            "SELECT pg_catalog.format('SELECT %I.%I(%s)', n.nspname, p.proname, (SELECT \
             pg_catalog.string_agg(pg_catalog.format('CAST($%s AS %s)', place, pg_catalog.format_type(type, NULL)), \
             ', ' ORDER BY place) FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY AS arguments(type, place))) \
             FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) \
             p.pronamespace WHERE p.oid OPERATOR(pg_catalog.=) '{oid}'::pg_catalog.oid"
        );
        let rows = self.ask(&question).await?.unwrap_or_default();
        Ok(rows.into_iter().flatten().flatten().next().map(Bytes::from))
    }

    /// Decides about a call whose values came as they are here.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn clear_call(&mut self, run: &mut Box<Run>, values: Bytes) -> Result<Cleared, End> {
        self.clear(run, Form::Call(values)).await
    }

    /// The result of a call is as good as a row. It has left the function already, so it is counted and not stopped.
    pub(super) fn count_result(&mut self, length: usize) {
        let bytes = u64::try_from(length).unwrap_or(u64::MAX);
        let Some(Request::Call(run)) = self.phase.front().map(|front| &mut front.request) else { return };
        let admitted = run.part_mut().is_none_or(|part| part.meter.admit(bytes));
        if !admitted && !self.admits_by_reserving(bytes) {
            // What is left was looked at before the call; another stream has used it up since.
            if let Some(part) = self.phase.front().and_then(|front| front.request.run_mut()).and_then(Run::part_mut) {
                part.meter.lift();
                part.meter.admit(bytes);
            }
        }
    }
}
