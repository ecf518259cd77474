//! The records of a hold's steps, made from the record of the statement that opened it.

use super::{DecisionRequest, Hold, Operator};
use crate::lineage::{Event, Outcome, RecordApproval, StatementRecord};

/// A hold opened, or a run joined it.
pub(super) fn held(run: &StatementRecord, hold: &Hold) -> StatementRecord {
    of(run, Event::Held, hold)
}

/// A person answered; also one answer of a quorum.
pub(super) fn decided(
    opening: &StatementRecord,
    hold: &Hold,
    operator: &Operator,
    request: &DecisionRequest,
) -> StatementRecord {
    let approval = RecordApproval {
        by: operator.name.clone(),
        human: Some(operator.human.clone()),
        verdict: request.verdict.as_str().to_owned(),
        reason: request.reason.clone(),
        method: request.method.as_str().to_owned(),
    };
    StatementRecord { approval: Some(approval), ..of(opening, Event::Decided, hold) }
}

/// The approved statement is about to be forwarded by this run.
pub(super) fn released(run: &StatementRecord, hold: &Hold) -> StatementRecord {
    of(run, Event::Released, hold)
}

/// The hold ended without a decision or a run; `why` is a plain sentence.
pub(super) fn lapsed(opening: &StatementRecord, hold: &Hold, outcome: Outcome, why: &str) -> StatementRecord {
    let mut record = of(opening, Event::System, hold);
    record.text = format!("hold {} {}: {why}", hold.id, hold.state.as_str());
    record.outcome = Some(outcome);
    record
}

/// The closing line of a run that died with an earlier process.
pub(super) fn orphaned(run: &StatementRecord, hold: &Hold, outcome: Outcome) -> StatementRecord {
    StatementRecord { outcome: Some(outcome), ..of(run, Event::Closed, hold) }
}

fn of(run: &StatementRecord, event: Event, hold: &Hold) -> StatementRecord {
    StatementRecord { event, hold: Some(hold.id.clone()), ..run.clone() }
}
