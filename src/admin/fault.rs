//! What an operator is told of a command that failed.

use crate::approvals::{DecideError, StoreError};
use crate::control::ActError;
use crate::control::card::printable;
use crate::report::Report;
use crate::sqlstate;

/// Why a decision does not count.
pub(super) fn undecided(error: DecideError) -> Report {
    match error {
        DecideError::NotFound => unknown_hold(),
        DecideError::SelfApproval => Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, "nobody approves their own request")
            .hint("Another person of the groups that the rule names must decide."),
        DecideError::NotAnApprover => Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, "you are no approver of this hold")
            .hint("SHOW HOLD '<id>'; names the groups that may decide."),
        DecideError::AlreadyDecided(hold) => {
            let report = Report::new(
                sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("hold {} is {} already", hold.id, hold.state.as_str()),
            );
            match &hold.decision {
                Some(decision) => {
                    report.detail(format!("{} by {} at {}.", decision.verdict, printable(&decision.by), decision.at))
                }
                None => report,
            }
        }
        DecideError::KeyReused => {
            Report::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, "the key was used for another request")
        }
        DecideError::Store(error) => store(&error),
    }
}

/// No such hold.
pub(super) fn unknown_hold() -> Report {
    Report::new(sqlstate::UNDEFINED_OBJECT, "there is no such hold").hint("SHOW HOLDS ALL; lists them.")
}

/// No such derived tag.
pub(super) fn unknown_tag() -> Report {
    Report::new(sqlstate::UNDEFINED_OBJECT, "there is no such derived tag").hint("SHOW TAGS; lists them.")
}

/// Why a review does not count.
pub(super) fn unreviewed(error: &ActError) -> Report {
    match error {
        ActError::NoTag | ActError::NotFound => unknown_tag(),
        ActError::NotAnOperator | ActError::NotAnAdmin => {
            Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, "a viewer may not decide")
        }
        error => {
            tracing::error!(%error, "the review of a derived tag failed");
            Report::new(sqlstate::IO_ERROR, "the review could not be written down")
                .hint("The proxy's diagnostics say why.")
        }
    }
}

/// Why an act did not happen.
pub(super) fn not_done(error: &ActError) -> Report {
    match error {
        ActError::NotAnAdmin | ActError::NotAnOperator => {
            Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, "only an admin may do this")
        }
        ActError::NotFound | ActError::NoTag => {
            Report::new(sqlstate::UNDEFINED_OBJECT, "there is no such session").hint("SHOW SESSIONS; lists them.")
        }
        ActError::Refused(problems) => {
            let all: Vec<_> = problems.iter().map(|problem| printable(problem)).collect();
            Report::new(sqlstate::INVALID_PARAMETER_VALUE, "the policies have problems, and the old ones stay")
                .detail(all.join(" "))
        }
        ActError::Memory(_) | ActError::Log(_) => {
            tracing::error!(%error, "an operator's act did not happen");
            Report::new(sqlstate::IO_ERROR, "it was not done, because it could not be written down")
                .hint("The proxy's diagnostics say why.")
        }
    }
}

/// The store failed; why is a matter of the diagnostics.
pub(super) fn store(error: &StoreError) -> Report {
    tracing::error!(%error, "the hold store failed");
    Report::new(sqlstate::IO_ERROR, "the hold store failed").hint("The proxy's diagnostics say why.")
}
