//! Who may decide a hold, and what their word changes: the one place of the self-approval check, under every surface.

use super::{Answer, DecisionRequest, Given, Hold, HoldDecision, HoldState, Operator};
use crate::clock::Timestamp;
use crate::principal::{Principal, PrincipalKind};

/// Why a person's word does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    SelfApproval,
    NotAnApprover,
}

/// What a counted word changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cast {
    /// The hold carries it now: decided, or one step nearer to its quorum.
    Counted,
    /// The same human had approved before; nothing changed.
    Repeated,
}

/// Whether this operator may give this answer at all, whatever the state of the hold.
///
/// A denial of one's own request is no approval of it: whoever may decide may stop their own agent.
pub(super) fn admit(hold: &Hold, operator: &Operator, answer: Answer) -> Result<(), Refusal> {
    if answer == Answer::Approve && (is_own(&hold.principal, operator) || asked(hold, operator)) {
        return Err(Refusal::SelfApproval);
    }
    let member = operator.is_admin() || hold.approve.from.iter().any(|group| operator.groups.contains(group));
    if operator.may_decide() && member { Ok(()) } else { Err(Refusal::NotAnApprover) }
}

/// Counts an admitted answer on a pending hold. A quorum counts each human once; any denial ends it.
pub(super) fn cast(hold: &mut Hold, operator: &Operator, request: &DecisionRequest, at: Timestamp) -> Cast {
    if request.verdict == Answer::Approve {
        if hold.approve.given.iter().any(|given| same(&given.human, &operator.human)) {
            return Cast::Repeated;
        }
        hold.approve.given.push(Given {
            by: operator.name.clone(),
            human: operator.human.clone(),
            reason: request.reason.clone(),
            at,
        });
        if !quorum_reached(hold) {
            return Cast::Counted;
        }
        // The policy's time counts twice: for the question, and again for the approval until it is spent.
        hold.expires_at = at.after(hold.expires_at.since(hold.created_at));
        hold.state = HoldState::Approved;
    } else {
        hold.state = HoldState::Denied;
    }
    hold.decision = Some(HoldDecision {
        by: operator.name.clone(),
        verdict: request.verdict.as_str().to_owned(),
        reason: request.reason.clone(),
        at,
    });
    Cast::Counted
}

fn quorum_reached(hold: &Hold) -> bool {
    let given = u32::try_from(hold.approve.given.len()).unwrap_or(u32::MAX);
    given >= hold.approve.quorum.max(1)
}

/// Whether a request is the operator's own: over humans, not accounts.
///
/// Where nobody is named as the human behind the request, its principal and role names stand for one: in relay mode a
/// role's name is all that is known of the person.
fn is_own(principal: &Principal, operator: &Operator) -> bool {
    let named = principal.human.as_deref();
    let stands_for_itself = named.is_none() || matches!(principal.kind, PrincipalKind::Human | PrincipalKind::Unknown);
    let own_names = stands_for_itself.then_some([principal.name.as_str(), principal.role.as_str()]);
    named
        .into_iter()
        .chain(own_names.into_iter().flatten())
        .filter(|requester| !requester.trim().is_empty())
        .any(|requester| same(requester, &operator.human) || same(requester, &operator.name))
}

/// Whether the operator is who asked in the principal's name.
fn asked(hold: &Hold, operator: &Operator) -> bool {
    let requester = hold.requester.as_ref();
    requester.is_some_and(|asked| same(&asked.human, &operator.human) || same(&asked.name, &operator.name))
}

/// Names of people are compared without case, so that a spelling is no way around.
fn same(left: &str, right: &str) -> bool {
    left.trim().to_lowercase() == right.trim().to_lowercase()
}

#[cfg(test)]
#[path = "ballot_tests.rs"]
mod tests;
