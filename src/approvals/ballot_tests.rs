//! Who may decide what.

use super::*;
use crate::approvals::samples::{hold, operator, principal};
use crate::approvals::{Method, Role};

fn approve() -> DecisionRequest {
    DecisionRequest { verdict: Answer::Approve, reason: None, method: Method::Http, once: None }
}

fn now() -> Timestamp {
    Timestamp::from_micros(1_000_000)
}

#[test]
fn the_human_behind_an_agent_cannot_approve_under_any_account_or_spelling() {
    let hold = hold(principal("agent-7", PrincipalKind::Agent, Some("Ada@Example.com")));
    for (account, human) in [("ada", "ada@example.com"), ("ada-2", " ADA@example.com "), ("ada@example.com", "x")] {
        let own = operator(account, human, &["dba"], &[Role::Operator]);
        assert_eq!(admit(&hold, &own, Answer::Approve), Err(Refusal::SelfApproval), "{account} {human}");
    }
}

#[test]
fn an_admin_is_no_exception_from_the_self_approval_check() {
    let hold = hold(principal("agent-7", PrincipalKind::Agent, Some("ada")));
    let admin = operator("root", "ada", &["dba"], &[Role::Admin]);
    assert_eq!(admit(&hold, &admin, Answer::Approve), Err(Refusal::SelfApproval));
}

#[test]
fn where_nobody_is_named_the_principal_and_its_role_stand_for_a_human() {
    let relayed = hold(Principal { role: "ada_role".to_owned(), ..principal("ada", PrincipalKind::Unknown, None) });
    for human in ["ada", "ada_role"] {
        let own = operator("x", human, &["dba"], &[Role::Operator]);
        assert_eq!(admit(&relayed, &own, Answer::Approve), Err(Refusal::SelfApproval), "{human}");
    }
    let shared = hold(principal("agent-7", PrincipalKind::Agent, Some("bob")));
    let named_like_the_agent = operator("agent-7", "carol", &["dba"], &[Role::Operator]);
    assert_eq!(admit(&shared, &named_like_the_agent, Answer::Approve), Ok(()));
}

#[test]
fn whoever_may_decide_may_stop_their_own_agent() {
    let hold = hold(principal("agent-7", PrincipalKind::Agent, Some("ada")));
    let own = operator("ada", "ada", &["dba"], &[Role::Operator]);
    assert_eq!(admit(&hold, &own, Answer::Deny), Ok(()));
}

#[test]
fn only_members_of_a_named_group_decide_and_viewers_never() {
    let hold = hold(principal("agent-7", PrincipalKind::Agent, Some("bob")));
    let admitted =
        |groups: &[&str], roles: &[Role]| admit(&hold, &operator("ada", "ada", groups, roles), Answer::Approve);
    assert_eq!(admitted(&["dba"], &[Role::Operator]), Ok(()));
    assert_eq!(admitted(&[], &[Role::Admin]), Ok(()));
    assert_eq!(admitted(&["compliance"], &[Role::Operator]), Err(Refusal::NotAnApprover));
    assert_eq!(admitted(&["dba"], &[Role::Viewer]), Err(Refusal::NotAnApprover));
    assert_eq!(admitted(&["dba"], &[Role::Viewer, Role::Operator]), Err(Refusal::NotAnApprover));
    assert_eq!(admitted(&["dba"], &[Role::Viewer, Role::Admin]), Err(Refusal::NotAnApprover));
    assert_eq!(admitted(&["dba"], &[]), Err(Refusal::NotAnApprover));
}

#[test]
fn a_quorum_counts_one_human_once_however_many_accounts_and_groups() {
    let mut hold = hold(principal("agent-7", PrincipalKind::Agent, Some("bob")));
    hold.approve.quorum = 2;
    let first = operator("ada", "ada@example.com", &["dba"], &[Role::Operator]);
    let again = operator("ada-admin", "Ada@Example.com", &["dba", "compliance"], &[Role::Admin]);
    let second = operator("carol", "carol@example.com", &["dba"], &[Role::Operator]);
    assert_eq!(cast(&mut hold, &first, &approve(), now()), Cast::Counted);
    assert_eq!(cast(&mut hold, &again, &approve(), now()), Cast::Repeated);
    assert_eq!((hold.state, hold.approve.given.len()), (HoldState::Pending, 1));
    assert_eq!(cast(&mut hold, &second, &approve(), now()), Cast::Counted);
    assert_eq!(hold.state, HoldState::Approved);
    assert_eq!(hold.decision.unwrap().by, "carol");
}

#[test]
fn one_denial_ends_a_quorum_half_given() {
    let mut hold = hold(principal("agent-7", PrincipalKind::Agent, Some("bob")));
    hold.approve.quorum = 2;
    let ada = operator("ada", "ada", &["dba"], &[Role::Operator]);
    cast(&mut hold, &ada, &approve(), now());
    let deny =
        DecisionRequest { verdict: Answer::Deny, reason: Some("no".to_owned()), method: Method::Psql, once: None };
    cast(&mut hold, &operator("carol", "carol", &["dba"], &[Role::Operator]), &deny, now());
    assert_eq!(hold.state, HoldState::Denied);
    assert_eq!(hold.decision.unwrap().reason.as_deref(), Some("no"));
}

#[test]
fn an_approval_has_the_time_of_the_question_again_until_it_is_spent() {
    let mut hold = hold(principal("agent-7", PrincipalKind::Agent, Some("bob")));
    let span = hold.expires_at.since(hold.created_at);
    let late = hold.expires_at.before(std::time::Duration::from_secs(1));
    cast(&mut hold, &operator("ada", "ada", &["dba"], &[Role::Operator]), &approve(), late);
    assert_eq!(hold.expires_at, late.after(span));
}
