//! Values that tests of holds are made of.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::analysis::Kind;
use crate::clock::Timestamp;
use crate::ids::{HoldId, StatementId};
use crate::lineage::{Event, StatementRecord};
use crate::policy::{Estimate, Sensitivity};
use crate::principal::{Principal, PrincipalKind};

/// How long a sample stays open.
pub(crate) const EXPIRES: Duration = Duration::from_mins(30);

pub(crate) fn start() -> Timestamp {
    Timestamp::from_micros(1_795_000_000_000_000)
}

pub(crate) fn principal(name: &str, kind: PrincipalKind, human: Option<&str>) -> Principal {
    Principal { name: name.to_owned(), kind, human: human.map(str::to_owned), groups: vec![], role: "app".to_owned() }
}

pub(crate) fn operator(name: &str, human: &str, groups: &[&str], roles: &[Role]) -> Operator {
    Operator {
        name: name.to_owned(),
        human: human.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        roles: roles.to_vec(),
    }
}

pub(crate) fn hold(principal: Principal) -> Hold {
    Hold {
        id: HoldId::new(),
        state: HoldState::Pending,
        waiting: Waiting::Connection,
        created_at: start(),
        expires_at: start().after(EXPIRES),
        rule: "ddl-needs-a-dba".to_owned(),
        reason: "it changes definitions".to_owned(),
        principal,
        origin: Origin { client: "127.0.0.1".to_owned(), application_name: "psql".to_owned() },
        agent: None,
        model: None,
        intent: None,
        database: "shop".to_owned(),
        environment: None,
        statement: "UPDATE customers SET email = 'ada@example.com' WHERE id = $1".to_owned(),
        parameters: vec![Some("7".to_owned()), None],
        action_hash: "aa".to_owned(),
        kinds: vec![Kind::Write],
        command: "UPDATE".to_owned(),
        relations: vec!["public.customers".to_owned()],
        columns: BTreeMap::new(),
        tags: vec![],
        sensitivity: Sensitivity::Moderate,
        opaque: vec![],
        findings: vec![],
        estimate: Estimate::default(),
        plan: None,
        rows_sent: 0,
        holding_locks_since: None,
        approve: Approvers { from: vec!["dba".to_owned()], quorum: 1, given: vec![] },
        decision: None,
        cap: Estimate::default(),
        impact: Impact::default(),
        requester: None,
        bundle: None,
    }
}

pub(crate) fn agent() -> Principal {
    principal("agent-7", PrincipalKind::Agent, Some("bob"))
}

pub(crate) fn new_hold(hold: Hold) -> NewHold {
    let mut record = StatementRecord::new(StatementId::new(), Event::Started);
    record.text = "UPDATE customers SET email = ? WHERE id = $1".to_owned();
    NewHold { hold, record, masked_parameters: vec![Some("?".to_owned()), None] }
}

pub(crate) fn ada() -> Operator {
    operator("ada", "ada@example.com", &["dba"], &[Role::Operator])
}

pub(crate) fn answer(verdict: Answer) -> DecisionRequest {
    DecisionRequest { verdict, reason: Some("because".to_owned()), method: Method::Http, once: None }
}

pub(crate) fn release(hash: &str) -> Release {
    Release { action_hash: hash.to_owned(), record: StatementRecord::new(StatementId::new(), Event::Started) }
}
