//! Operators, acts and the pump.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::analysis::Kind;
use crate::approvals::{Answer, ApprovalsConfig, HoldState, NewHold, Release, Role, SettleError, samples};
use crate::clock::Clock;
use crate::principal::PrincipalKind;

/// A log in memory that can be broken.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) records: Mutex<Vec<StatementRecord>>,
    pub(crate) broken: AtomicBool,
}

impl RecordSink for Memory {
    fn append_strict(&self, record: StatementRecord) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            if self.broken.load(Ordering::SeqCst) {
                return Err(SinkError("no space left on device".to_owned()));
            }
            self.records.lock().unwrap().push(record);
            Ok(())
        })
    }
}

impl Memory {
    pub(crate) fn events(&self) -> Vec<Event> {
        self.records.lock().unwrap().iter().map(|record| record.event).collect()
    }
}

/// A control over a store in a fresh directory, with three operators and no sessions.
pub(crate) struct Room {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: Clock,
    pub(crate) approvals: Approvals,
    pub(crate) sink: Arc<Memory>,
    pub(crate) control: Control,
}

pub(crate) const ADA: &str = "token-of-ada-00000";
pub(crate) const BOB: &str = "token-of-bob-00000";
pub(crate) const EVE: &str = "token-of-eve-00000";

pub(crate) fn room() -> Room {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual(samples::start());
    let (approvals, _) = Approvals::start(&ApprovalsConfig::new(dir.path().to_owned()), clock.clone()).unwrap();
    let sink = Arc::new(Memory::default());
    let control = Control::new(ControlParts {
        approvals: approvals.clone(),
        operators: Operators::with_first(
            vec![
                entry("ada", &["dba"], Role::Operator, ADA),
                entry("bob", &["dba"], Role::Operator, BOB),
                entry("eve", &["sales"], Role::Viewer, EVE),
            ],
            dir.path(),
        )
        .unwrap(),
        sink: sink.clone(),
        sessions: Arc::new(Unwired),
        reload: Arc::new(Unwired),
        events: Arc::new(Unwired),
        tags: Arc::new(Unwired),
        explain: Arc::new(Unwired),
        bundles: Arc::new(Unwired),
        health: Arc::new(Unwired),
        config: vec![("listen".to_owned(), "127.0.0.1:6432".to_owned())],
    });
    Room { dir, clock, approvals, sink, control }
}

fn entry(name: &str, groups: &[&str], role: Role, token: &str) -> OperatorEntry {
    OperatorEntry {
        name: name.to_owned(),
        human: format!("{name}@example.com"),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        roles: vec![role],
        token: token.to_owned(),
    }
}

/// A pending hold of an agent that nobody is known to stand behind.
pub(crate) fn hold() -> Hold {
    Hold {
        statement: "ALTER TABLE customers ADD COLUMN note text".to_owned(),
        parameters: vec![],
        command: "ALTER TABLE".to_owned(),
        kinds: vec![Kind::Ddl],
        ..samples::hold(samples::principal("agent-7", PrincipalKind::Agent, None))
    }
}

/// The same control with another log to read.
pub(crate) fn with_events(room: &Room, events: Arc<dyn EventSource>) -> Control {
    Control::new(ControlParts { events, ..(*room.control.parts).clone() })
}

impl Room {
    pub(crate) async fn park(&self, hold: Hold) -> HoldId {
        let mut record = StatementRecord::new(StatementId::new(), Event::Started);
        record.text = hold.statement.clone();
        let new = NewHold { hold, record, masked_parameters: vec![] };
        self.approvals.open(new).await.unwrap().hold().id.clone()
    }

    fn operator(&self, token: &str) -> Operator {
        self.control.authenticate(token).unwrap()
    }
}

fn request(verdict: Answer) -> DecisionRequest {
    DecisionRequest { verdict, reason: Some("seen".to_owned()), method: Method::Http, once: None }
}

#[tokio::test]
async fn a_decision_is_an_act_with_issuer_subject_and_method() {
    let room = room();
    let id = room.park(hold()).await;
    let ada = room.operator(ADA);
    let decided = room.control.decide(&ada, id.as_str(), request(Answer::Approve)).await.unwrap();
    assert_eq!(decided.state, HoldState::Approved);
    let records = room.sink.records.lock().unwrap();
    let approval = records[0].approval.clone().unwrap();
    assert_eq!((records[0].event, records[0].hold.as_ref()), (Event::Operator, Some(&id)));
    assert_eq!((approval.by.as_str(), approval.method.as_str()), ("ada", "http"));
}

#[tokio::test]
async fn an_answer_that_does_not_count_is_recorded_too() {
    let room = room();
    let mut own = hold();
    own.principal.human = Some("ada@example.com".to_owned());
    let id = room.park(own).await;
    let ada = room.operator(ADA);
    let decided = room.control.decide(&ada, id.as_str(), request(Answer::Approve)).await;
    assert_eq!(decided, Err(DecideError::SelfApproval));
    assert!(room.sink.records.lock().unwrap()[0].text.contains("refused"));
}

#[tokio::test]
async fn the_first_operator_approves_where_groups_allow_and_never_reaches_a_hold_that_is_none() {
    let room = room();
    let token = std::fs::read_to_string(room.dir.path().join(TOKEN_FILE)).unwrap();
    let first = room.operator(token.trim());
    let id = room.park(hold()).await;
    assert!(room.control.decide(&first, id.as_str(), request(Answer::Deny)).await.is_ok());
    let none = room.control.decide(&first, "no such id", request(Answer::Deny)).await;
    assert_eq!(none, Err(DecideError::NotFound));
}

#[tokio::test]
async fn only_an_admin_kills_pauses_or_reloads_and_not_without_its_record() {
    let room = room();
    let ada = room.operator(ADA);
    let denied = room.control.admit(&ada, Admission::Paused, Method::Psql).await;
    assert_eq!(denied, Err(ActError::NotAnAdmin));
    let admin = Operator { roles: vec![Role::Admin], ..ada };
    assert_eq!(room.control.kill(&admin, SessionId::new(), Method::Psql).await, Err(ActError::NotFound));
    room.sink.broken.store(true, Ordering::SeqCst);
    assert!(matches!(room.control.reload(&admin, Method::Psql).await, Err(ActError::Log(_))));
    assert_eq!(room.sink.events(), [Event::Operator]);
}

#[tokio::test]
async fn the_pump_carries_the_outbox_in_order_and_settles_the_release() {
    let room = room();
    let stop = CancellationToken::new();
    let sink = room.sink.clone();
    let pump = tokio::spawn(Pump::new(room.approvals.clone(), sink).run(stop.clone()));
    let id = room.park(hold()).await;
    room.approvals.decide(&id, &room.operator(ADA), request(Answer::Approve)).await.unwrap();
    let record = StatementRecord::new(StatementId::new(), Event::Started);
    room.approvals.release(&id, Release { action_hash: "aa".to_owned(), record }).await.unwrap();
    assert_eq!(room.approvals.settled(&id).await, Ok(()));
    assert_eq!(room.sink.events(), [Event::Held, Event::Decided, Event::Released]);
    stop.cancel();
    pump.await.unwrap();
}

#[tokio::test]
async fn a_broken_log_fails_the_release_and_loses_no_record() {
    let room = room();
    room.sink.broken.store(true, Ordering::SeqCst);
    let id = room.park(hold()).await;
    let stop = CancellationToken::new();
    let sink = room.sink.clone();
    let pump = tokio::spawn(Pump::new(room.approvals.clone(), sink).run(stop.clone()));
    assert!(matches!(room.approvals.settled(&id).await, Err(SettleError::Log(_))));
    room.sink.broken.store(false, Ordering::SeqCst);
    stop.cancel();
    pump.await.unwrap();
    assert_eq!(room.sink.events(), [Event::Held]);
    assert_eq!(room.approvals.settled(&id).await, Ok(()));
}

#[tokio::test]
async fn the_sweep_ends_what_nobody_decided() {
    let room = room();
    let id = room.park(hold()).await;
    let mut watch = room.approvals.subscribe(&id).await.unwrap().unwrap();
    room.clock.advance(Duration::from_mins(30));
    let stop = CancellationToken::new();
    let sweeping = tokio::spawn(sweep(room.approvals.clone(), Duration::from_mins(1), stop.clone()));
    assert_eq!(watch.decided().await, HoldState::Expired);
    stop.cancel();
    sweeping.await.unwrap();
}
