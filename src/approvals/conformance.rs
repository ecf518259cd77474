//! What every store must do: one suite of rules against the trait.

mod walk;

use std::time::Duration;

use self::walk::any_order_of_steps_has_exactly_one_outcome;
use super::samples::{EXPIRES, ada, agent, answer, hold, new_hold, operator, principal, release, start};
use super::*;
use crate::clock::Timestamp;
use crate::ids::HoldId;
use crate::lineage::{Event, Outcome};
use crate::principal::PrincipalKind;

/// A store on a fresh directory, with the bounds that it is given.
trait Make {
    type Store: Store;
    fn make(&self, bounds: Bounds) -> Self::Store;

    /// How many interleavings are tried.
    fn rounds(&self) -> u32 {
        200
    }
}

/// The same store without a disk, for rules that many rounds must show.
struct InMemory(tempfile::TempDir);

impl Make for InMemory {
    type Store = SqliteStore;
    fn make(&self, bounds: Bounds) -> SqliteStore {
        SqliteStore::in_memory(&self.0.path().join("store.key"), bounds).unwrap()
    }

    /// `HOLDGATE_TEST_ROUNDS` asks for another number.
    #[allow(clippy::disallowed_methods, reason = "a test reads how much it is to do")]
    fn rounds(&self) -> u32 {
        std::env::var("HOLDGATE_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(2_000)
    }
}

#[test]
fn decisions_expiry_cancel_disconnect_drain_reload_and_crash_in_any_order_have_exactly_one_outcome() {
    any_order_of_steps_has_exactly_one_outcome(&InMemory(tempfile::tempdir().unwrap()));
}

struct Sqlite(tempfile::TempDir);

impl Sqlite {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Make for Sqlite {
    type Store = SqliteStore;
    fn make(&self, bounds: Bounds) -> SqliteStore {
        SqliteStore::open(self.0.path(), bounds).unwrap()
    }
}

/// Runs each rule of the suite against one kind of store.
macro_rules! suite {
    ($($rule:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[test]
                fn $rule() {
                    super::$rule(&super::Sqlite::new());
                }
            )*
        }
    };
}

suite![
    an_open_hold_shows_its_full_text_and_a_closed_one_only_the_masked,
    the_same_action_joins_pending_and_approved_holds_of_its_principal_and_database_alone,
    what_waits_in_its_own_stream_or_transaction_is_never_joined,
    an_approval_is_spent_once,
    another_action_hash_voids_the_approval,
    a_decision_after_the_time_is_over_finds_the_hold_expired,
    an_unspent_approval_expires,
    a_second_decision_is_told_of_the_first,
    a_hold_is_withdrawn_only_when_the_last_run_that_waits_goes,
    a_withdrawal_that_comes_after_the_approval_leaves_a_ticket,
    each_step_leaves_its_record_in_the_outbox_in_order,
    recovery_knows_no_outcome_of_what_was_released_and_makes_tickets_of_the_rest,
    bounds_are_kept_in_all_and_by_principal,
    a_log_that_lags_too_far_stops_new_holds,
    pages_go_from_new_to_old_without_gap_or_repeat,
    history_is_pruned_to_its_bound_and_open_holds_never_are,
    any_order_of_steps_has_exactly_one_outcome,
    a_key_that_comes_again_has_the_first_answer_also_after_a_restart,
];

fn later(seconds: u64) -> Timestamp {
    start().after(Duration::from_secs(seconds))
}

fn opened(store: &mut impl Store, new: &NewHold) -> Hold {
    match store.open(new, start()).unwrap() {
        Opened::New(hold) => hold,
        Opened::Joined(hold) => panic!("joined {}", hold.id),
    }
}

fn approved(store: &mut impl Store, new: &NewHold) -> Hold {
    let id = opened(store, new).id;
    store.decide(&id, &ada(), &answer(Answer::Approve), later(1)).unwrap()
}

fn events(store: &mut impl Store) -> Vec<Event> {
    store.outbox_next(100).unwrap().into_iter().map(|row| row.record.event).collect()
}

fn an_open_hold_shows_its_full_text_and_a_closed_one_only_the_masked(make: &impl Make) {
    let mut store = make.make(Bounds::default());
    let new = new_hold(hold(agent()));
    let id = opened(&mut store, &new).id;
    assert_eq!(store.hold(&id).unwrap().unwrap(), new.hold);
    let denied = store.decide(&id, &ada(), &answer(Answer::Deny), later(1)).unwrap();
    assert_eq!((denied.state, denied.waiting), (HoldState::Denied, Waiting::None));
    let closed = store.hold(&id).unwrap().unwrap();
    assert_eq!((closed.statement, closed.parameters), (new.record.text, new.masked_parameters));
}

fn the_same_action_joins_pending_and_approved_holds_of_its_principal_and_database_alone(make: &impl Make) {
    let mut store = make.make(Bounds::default());
    let first = opened(&mut store, &new_hold(hold(agent())));
    let other_principal = hold(principal("agent-8", PrincipalKind::Agent, Some("bob")));
    let other_database = Hold { database: "crm".to_owned(), ..hold(agent()) };
    let other_action = Hold { action_hash: "bb".to_owned(), ..hold(agent()) };
    for stranger in [other_principal, other_database, other_action] {
        opened(&mut store, &new_hold(stranger));
    }
    let join = |store: &mut _, at| Store::open(store, &new_hold(hold(agent())), at).unwrap();
    assert!(matches!(join(&mut store, later(1)), Opened::Joined(hold) if hold.id == first.id));
    store.decide(&first.id, &ada(), &answer(Answer::Approve), later(2)).unwrap();
    assert!(
        matches!(join(&mut store, later(3)), Opened::Joined(hold) if hold.id == first.id && hold.state == HoldState::Approved)
    );
    store.release(&first.id, &release("aa"), later(4)).unwrap();
    assert!(matches!(join(&mut store, later(5)), Opened::New(_)));
}

fn what_waits_in_its_own_stream_or_transaction_is_never_joined(make: &impl Make) {
    let mut store = make.make(Bounds::default());
    let paused = Hold { rows_sent: 10_000, ..hold(agent()) };
    let locking = Hold { holding_locks_since: Some(start()), ..hold(agent()) };
    opened(&mut store, &new_hold(paused.clone()));
    opened(&mut store, &new_hold(locking.clone()));
    opened(&mut store, &new_hold(hold(agent())));
    opened(&mut store, &new_hold(Hold { id: HoldId::new(), ..paused }));
    assert!(matches!(store.open(&new_hold(Hold { id: HoldId::new(), ..locking }), start()), Ok(Opened::Joined(_))));
}

fn an_approval_is_spent_once(make: &impl Make) {
    let mut store = make.make(Bounds::default());
    let id = approved(&mut store, &new_hold(hold(agent()))).id;
    let released = store.release(&id, &release("aa"), later(2)).unwrap();
    assert_eq!((released.state, released.statement), (HoldState::Released, hold(agent()).statement));
    assert!(matches!(store.release(&id, &release("aa"), later(3)), Err(ReleaseError::NotApproved(_))));
    assert_eq!(store.finish(&id, HoldEnd::Finished, later(4)).unwrap().state, HoldState::Finished);
    assert!(matches!(store.finish(&id, HoldEnd::Failed, later(5)), Err(StepError::NotNow(_))));
}

fn another_action_hash_voids_the_approval(make: &impl Make) {
    let mut store = make.make(Bounds::default());
    let id = approved(&mut store, &new_hold(hold(agent()))).id;
    assert!(
        matches!(store.release(&id, &release("bb"), later(2)), Err(ReleaseError::Changed(hold)) if hold.state == HoldState::Void)
    );
    assert!(matches!(store.release(&id, &release("aa"), later(3)), Err(ReleaseError::NotApproved(_))));
}

fn a_decision_after_the_time_is_over_finds_the_hold_expired(make: &impl Make) {
    let mut store = make.make(Bounds::default());
    let id = opened(&mut store, &new_hold(hold(agent()))).id;
    let late = store.decide(&id, &ada(), &answer(Answer::Approve), start().after(EXPIRES));
    assert!(matches!(late, Err(DecideError::AlreadyDecided(hold)) if hold.state == HoldState::Expired));
    assert_eq!(store.expire_due(100, start().after(EXPIRES)), Ok(0));
}

fn an_unspent_approval_expires(make: &impl Make) {
    let mut store = make.make(Bounds::default());
    let approved = approved(&mut store, &new_hold(hold(agent())));
    assert_eq!(store.expire_due(100, approved.expires_at.before(Duration::from_micros(1))), Ok(0));
    assert_eq!(store.expire_due(100, approved.expires_at), Ok(1));
    assert!(matches!(
        store.release(&approved.id, &release("aa"), approved.expires_at),
        Err(ReleaseError::NotApproved(hold)) if hold.state == HoldState::Expired
    ));
}

fn a_second_decision_is_told_of_the_first(make: &impl Make) {
    let mut store = make.make(Bounds::default());
    let id = opened(&mut store, &new_hold(hold(agent()))).id;
    store.decide(&id, &ada(), &answer(Answer::Deny), later(1)).unwrap();
    let carol = operator("carol", "carol", &["dba"], &[Role::Operator]);
    let second = store.decide(&id, &carol, &answer(Answer::Approve), later(2));
    assert!(matches!(second, Err(DecideError::AlreadyDecided(hold)) if hold.decision.as_ref().unwrap().by == "ada"));
}

fn a_hold_is_withdrawn_only_when_the_last_run_that_waits_goes(make: &impl Make) {
    let mut store = make.make(Bounds::default());
    let (first, second) = (new_hold(hold(agent())), new_hold(hold(agent())));
    let id = opened(&mut store, &first).id;
    store.open(&second, start()).unwrap();
    let after = store.withdraw(&id, first.record.id, "cancelled", later(1)).unwrap();
    assert_eq!((after.state, after.waiting), (HoldState::Pending, Waiting::Connection));
    // Leaving twice is leaving once.
    store.withdraw(&id, first.record.id, "cancelled", later(1)).unwrap();
    let after = store.withdraw(&id, second.record.id, "cancelled", later(2)).unwrap();
    assert_eq!((after.state, after.waiting), (HoldState::Withdrawn, Waiting::None));
    assert!(matches!(store.ticket(&id, second.record.id, later(3)), Err(StepError::NotNow(_))));
}

fn a_withdrawal_that_comes_after_the_approval_leaves_a_ticket(make: &impl Make) {
    let mut store = make.make(Bounds::default());
    let new = new_hold(hold(agent()));
    let id = approved(&mut store, &new).id;
    let after = store.withdraw(&id, new.record.id, "cancelled", later(2)).unwrap();
    assert_eq!((after.state, after.waiting), (HoldState::Approved, Waiting::Ticket));
}

fn each_step_leaves_its_record_in_the_outbox_in_order(make: &impl Make) {
    let mut store = make.make(Bounds::default());
    let id = approved(&mut store, &new_hold(hold(agent()))).id;
    let spent = release("aa");
    store.release(&id, &spent, later(2)).unwrap();
    assert_eq!(events(&mut store), [Event::Held, Event::Decided, Event::Released]);
    let rows = store.outbox_next(100).unwrap();
    let approval = rows[1].record.approval.clone().unwrap();
    assert_eq!((approval.by.as_str(), approval.method.as_str()), ("ada", "http"));
    assert_eq!((rows[2].record.id, &rows[2].record.hold), (spent.record.id, &Some(id.clone())));
    assert!(rows.iter().all(|row| !row.record.text.contains("ada@example.com")));
    store.outbox_ack(&[rows[0].row, rows[1].row]).unwrap();
    assert!(store.outbox_waits(&id).unwrap());
    store.outbox_ack(&[rows[2].row]).unwrap();
    assert!(!store.outbox_waits(&id).unwrap());
}

fn recovery_knows_no_outcome_of_what_was_released_and_makes_tickets_of_the_rest(make: &impl Make) {
    let mut store = make.make(Bounds::default());
    let of = |hash: &str| new_hold(Hold { action_hash: hash.to_owned(), ..hold(agent()) });
    let (running, waiting) = (approved(&mut store, &of("aa")).id, opened(&mut store, &of("bb")).id);
    let spent = release("aa");
    store.release(&running, &spent, later(2)).unwrap();
    drop(store);
    let mut store = make.make(Bounds::default());
    let recovered = store.recover(later(3)).unwrap();
    assert_eq!(recovered, Recovered { unknown: vec![running.clone()], tickets: vec![waiting.clone()] });
    assert_eq!(store.hold(&running).unwrap().unwrap().state, HoldState::Unknown);
    let ticket = store.hold(&waiting).unwrap().unwrap();
    assert_eq!((ticket.state, ticket.waiting), (HoldState::Pending, Waiting::Ticket));
    let closings: Vec<_> = store.outbox_next(100).unwrap().into_iter().map(|row| row.record).collect();
    let closings: Vec<_> = closings.iter().filter(|record| record.event == Event::Closed).collect();
    assert_eq!(closings.len(), 2);
    assert_eq!((closings[0].id, closings[0].outcome), (spent.record.id, Some(Outcome::Unknown)));
    assert_eq!(closings[1].outcome, Some(Outcome::Withdrawn));
    assert_eq!(store.recover(later(4)).unwrap(), Recovered::default());
}

fn bounds_are_kept_in_all_and_by_principal(make: &impl Make) {
    let mut store = make.make(Bounds { holds_max: 3, holds_per_principal_max: 2, ..Bounds::default() });
    let of = |name: &str, hash: &str| {
        let human = principal(name, PrincipalKind::Agent, Some("bob"));
        new_hold(Hold { action_hash: hash.to_owned(), ..hold(human) })
    };
    opened(&mut store, &of("a", "1"));
    opened(&mut store, &of("a", "2"));
    assert!(matches!(store.open(&of("a", "3"), start()), Err(StoreError::Full { max: 2, .. })));
    let last = opened(&mut store, &of("b", "1")).id;
    assert!(matches!(store.open(&of("c", "1"), start()), Err(StoreError::Full { max: 3, .. })));
    store.decide(&last, &ada(), &answer(Answer::Deny), later(1)).unwrap();
    opened(&mut store, &of("c", "1"));
}

fn a_log_that_lags_too_far_stops_new_holds(make: &impl Make) {
    let mut store = make.make(Bounds { outbox_max: 1, ..Bounds::default() });
    opened(&mut store, &new_hold(hold(agent())));
    let other = new_hold(Hold { action_hash: "bb".to_owned(), ..hold(agent()) });
    assert!(matches!(store.open(&other, start()), Err(StoreError::Full { max: 1, .. })));
}

fn pages_go_from_new_to_old_without_gap_or_repeat(make: &impl Make) {
    let mut store = make.make(Bounds::default());
    let mut ids: Vec<_> = (0..5)
        .map(|n| opened(&mut store, &new_hold(Hold { action_hash: n.to_string(), ..hold(agent()) })).id)
        .collect();
    ids.reverse();
    store.decide(&ids[4], &ada(), &answer(Answer::Deny), later(1)).unwrap();
    let filter = |before| HoldFilter { states: vec![HoldState::Pending], principal: None, before, limit: 2 };
    let first = store.list(&filter(None)).unwrap();
    let second = store.list(&filter(first.next)).unwrap();
    assert!(first.next.is_some());
    assert_eq!(second.next, None);
    let seen: Vec<_> = first.holds.into_iter().chain(second.holds).map(|hold| hold.id).collect();
    assert_eq!(seen, ids[..4]);
    assert_eq!(store.list(&HoldFilter::default()).unwrap().holds.len(), 5);
}

fn history_is_pruned_to_its_bound_and_open_holds_never_are(make: &impl Make) {
    let mut store = make.make(Bounds { history_max: 1, ..Bounds::default() });
    let ids: Vec<_> = (0..4)
        .map(|n| opened(&mut store, &new_hold(Hold { action_hash: n.to_string(), ..hold(agent()) })).id)
        .collect();
    for id in &ids[1..] {
        store.decide(id, &ada(), &answer(Answer::Deny), later(1)).unwrap();
    }
    let last = opened(&mut store, &new_hold(Hold { action_hash: "last".to_owned(), ..hold(agent()) })).id;
    let kept: Vec<_> = store.list(&HoldFilter::default()).unwrap().holds.into_iter().map(|hold| hold.id).collect();
    assert_eq!(kept, [last, ids[0].clone()]);
}

fn a_key_that_comes_again_has_the_first_answer_also_after_a_restart(make: &impl Make) {
    let mut store = make.make(Bounds::default());
    let quorum = Approvers { from: vec!["dba".to_owned()], quorum: 2, given: vec![] };
    let id = opened(&mut store, &new_hold(Hold { approve: quorum, ..hold(agent()) })).id;
    let carol = operator("carol", "carol", &["dba"], &[Role::Operator]);
    let keyed = |key: &str, request: &str| {
        let once = Once { key: key.to_owned(), request: request.as_bytes().to_vec() };
        DecisionRequest { once: Some(once), ..answer(Answer::Approve) }
    };
    let first = store.decide(&id, &ada(), &keyed("k", "approve"), later(1)).unwrap();
    let second = store.decide(&id, &carol, &keyed("k", "approve"), later(2)).unwrap();
    assert_eq!((first.state, second.state), (HoldState::Pending, HoldState::Approved), "keys of two operators are two");
    drop(store);
    let mut store = make.make(Bounds::default());
    let records = store.outbox_next(100).unwrap().len();
    assert_eq!(store.decide(&id, &ada(), &keyed("k", "approve"), later(3)), Ok(first.clone()));
    assert_eq!(store.decide(&id, &ada(), &keyed("k", "deny"), later(3)), Err(DecideError::KeyReused));
    assert!(matches!(
        store.decide(&id, &ada(), &keyed("other", "approve"), later(3)),
        Err(DecideError::AlreadyDecided(_))
    ));
    store.release(&id, &release("aa"), later(4)).unwrap();
    let masked = store.decide(&id, &ada(), &keyed("k", "approve"), later(5)).unwrap();
    assert_eq!(
        (masked.state, masked.statement),
        (first.state, new_hold(hold(agent())).record.text),
        "text goes with its hold"
    );
    assert_eq!(store.outbox_next(100).unwrap().len(), records + 1, "only the release is news");
    let day_after = store.decide(&id, &ada(), &keyed("k", "approve"), later(24 * 60 * 60 + 2));
    assert!(matches!(day_after, Err(DecideError::AlreadyDecided(_))), "a key is kept for a day");
}
