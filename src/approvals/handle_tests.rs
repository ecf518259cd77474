//! The handle of the store under races.

use super::*;
use crate::approvals::samples::{ada, agent, answer, hold, new_hold, release, start};
use crate::approvals::{Answer, HoldState, Waiting};

struct Room {
    dir: tempfile::TempDir,
    clock: Clock,
    approvals: Approvals,
}

fn room() -> Room {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual(start());
    let approvals = opened(&dir, &clock);
    Room { dir, clock, approvals }
}

fn opened(dir: &tempfile::TempDir, clock: &Clock) -> Approvals {
    Approvals::start(&ApprovalsConfig::new(dir.path().to_owned()), clock.clone()).unwrap().0
}

/// Hands everything in the outbox to a log that takes it.
async fn acknowledge(approvals: &Approvals) {
    let rows = approvals.outbox_next(100).await.unwrap();
    approvals.outbox_ack(rows.into_iter().map(|row| row.row).collect()).await.unwrap();
}

#[tokio::test]
async fn a_waiting_session_wakes_on_the_decision() {
    let room = room();
    let id = room.approvals.open(new_hold(hold(agent()))).await.unwrap().hold().id.clone();
    let mut watch = room.approvals.subscribe(&id).await.unwrap().unwrap();
    assert_eq!(watch.state(), HoldState::Pending);
    let waiter = tokio::spawn(async move { watch.decided().await });
    room.approvals.decide(&id, &ada(), answer(Answer::Approve)).await.unwrap();
    assert_eq!(waiter.await.unwrap(), HoldState::Approved);
}

#[tokio::test]
async fn a_watch_of_a_closed_hold_answers_at_once() {
    let room = room();
    let id = room.approvals.open(new_hold(hold(agent()))).await.unwrap().hold().id.clone();
    room.approvals.decide(&id, &ada(), answer(Answer::Deny)).await.unwrap();
    let mut watch = room.approvals.subscribe(&id).await.unwrap().unwrap();
    assert_eq!(watch.decided().await, HoldState::Denied);
    assert!(room.approvals.subscribe(&HoldId::new()).await.unwrap().is_none());
}

#[tokio::test]
async fn every_committed_step_is_told_in_order() {
    let room = room();
    let mut changes = room.approvals.changes();
    let new = new_hold(hold(agent()));
    let id = room.approvals.open(new.clone()).await.unwrap().hold().id.clone();
    room.approvals.ticket(&id, new.record.id).await.unwrap();
    room.clock.advance(Duration::from_hours(1));
    assert_eq!(room.approvals.expire_due(10).await, Ok(1));
    for told in [
        (HoldState::Pending, Waiting::Connection),
        (HoldState::Pending, Waiting::Ticket),
        (HoldState::Expired, Waiting::None),
    ] {
        let change = changes.recv().await.unwrap();
        assert_eq!((change.state, change.waiting), told);
    }
}

#[tokio::test]
async fn a_release_is_settled_only_when_the_log_has_acknowledged() {
    let room = room();
    let id = room.approvals.open(new_hold(hold(agent()))).await.unwrap().hold().id.clone();
    room.approvals.decide(&id, &ada(), answer(Answer::Approve)).await.unwrap();
    room.approvals.release(&id, release("aa")).await.unwrap();
    let approvals = room.approvals.clone();
    let of = id.clone();
    let settled = tokio::spawn(async move { approvals.settled(&of).await });
    tokio::task::yield_now().await;
    assert!(!settled.is_finished());
    room.approvals.outbox_ready().await;
    acknowledge(&room.approvals).await;
    assert_eq!(settled.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_log_that_fails_keeps_the_release_from_settling_until_it_works_again() {
    let room = room();
    let id = room.approvals.open(new_hold(hold(agent()))).await.unwrap().hold().id.clone();
    room.approvals.outbox_failed("no space left on device");
    let failed = room.approvals.settled(&id).await;
    assert_eq!(failed, Err(SettleError::Log("no space left on device".to_owned())));
    acknowledge(&room.approvals).await;
    assert_eq!(room.approvals.settled(&id).await, Ok(()));
}

#[tokio::test]
async fn a_log_that_does_not_answer_fails_closed() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        ApprovalsConfig { settle_wait: Duration::from_millis(1), ..ApprovalsConfig::new(dir.path().to_owned()) };
    let (approvals, _) = Approvals::start(&config, Clock::manual(start())).unwrap();
    let id = approvals.open(new_hold(hold(agent()))).await.unwrap().hold().id.clone();
    assert!(matches!(approvals.settled(&id).await, Err(SettleError::Late(_))));
}

#[tokio::test]
async fn one_process_alone_holds_the_store_and_the_next_recovers_it() {
    let room = room();
    let id = room.approvals.open(new_hold(hold(agent()))).await.unwrap().hold().id.clone();
    let config = ApprovalsConfig::new(room.dir.path().to_owned());
    assert!(matches!(Approvals::start(&config, room.clock.clone()), Err(StoreError::Storage(_))));
    room.approvals.close().await;
    assert_eq!(room.approvals.get(&id).await, Err(StoreError::Closed));
    let (again, recovered) = Approvals::start(&config, room.clock.clone()).unwrap();
    assert_eq!(recovered.tickets, std::slice::from_ref(&id));
    assert_eq!(again.get(&id).await.unwrap().unwrap().waiting, Waiting::Ticket);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_race_exactly_one_releases_and_one_decides() {
    let room = room();
    for _ in 0..20 {
        let mut own = hold(agent());
        own.action_hash = own.id.to_string();
        let (hash, new) = (own.action_hash.clone(), new_hold(own));
        let id = room.approvals.open(new.clone()).await.unwrap().hold().id.clone();
        let mut racers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (approvals, id, hash) = (room.approvals.clone(), id.clone(), hash.clone());
            racers.spawn(async move {
                let decided = approvals.decide(&id, &ada(), answer(Answer::Approve)).await.is_ok();
                (decided, approvals.release(&id, release(&hash)).await.is_ok())
            });
        }
        let (approvals, of, run) = (room.approvals.clone(), id.clone(), new.record.id);
        racers.spawn(async move {
            // Whether it comes first shows in the state.
            let _ = approvals.withdraw(&of, run, "cancelled").await;
            (false, false)
        });
        let ends = racers.join_all().await;
        let decided = ends.iter().filter(|end| end.0).count();
        let released = ends.iter().filter(|end| end.1).count();
        let state = room.approvals.get(&id).await.unwrap().unwrap().state;
        let expected = if state == HoldState::Withdrawn { (0, 0) } else { (1, 1) };
        assert_eq!((decided, released), expected, "{state:?}");
    }
}
