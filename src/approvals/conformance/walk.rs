//! Steps that people, clients, clocks and crashes try on one hold, in any order.

use super::*;

/// One step that somebody tries.
#[derive(Clone, Copy, Debug)]
enum Try {
    Answer(Person, Answer),
    /// The client cancels, or is gone.
    Withdraw(Waiter),
    Ticket(Waiter),
    /// The same action comes over another connection.
    Join,
    /// Every connection that waits ends.
    Drain,
    Release,
    /// What the approval was bound to has changed.
    ReleaseChanged,
    Finish(HoldEnd),
    /// A policy came that asks for more.
    Void,
    Expire,
    /// The process died and another one started.
    Crash,
    Wait(u16),
}

#[derive(Clone, Copy, Debug)]
enum Person {
    Ada,
    Carol,
}

#[derive(Clone, Copy, Debug)]
enum Waiter {
    First,
    Second,
}

/// A hold of the walk: what opened it, what joins it, and what was seen of it.
struct Walk {
    new: NewHold,
    other: NewHold,
    at: Timestamp,
    releases: u32,
    /// What operators were told that their answer made of the hold.
    told: Vec<HoldState>,
    path: Vec<HoldState>,
}

pub(super) fn any_order_of_steps_has_exactly_one_outcome(make: &impl Make) {
    use proptest::prelude::*;
    let person = prop_oneof![Just(Person::Ada), Just(Person::Carol)];
    let verdict = prop_oneof![3 => Just(Answer::Approve), 1 => Just(Answer::Deny)];
    let waiter = || prop_oneof![Just(Waiter::First), Just(Waiter::Second)];
    let end = prop_oneof![Just(HoldEnd::Finished), Just(HoldEnd::Failed), Just(HoldEnd::Unknown)];
    let step = prop_oneof![
        3 => (person, verdict).prop_map(|(person, verdict)| Try::Answer(person, verdict)),
        1 => waiter().prop_map(Try::Withdraw),
        1 => waiter().prop_map(Try::Ticket),
        1 => Just(Try::Join),
        1 => Just(Try::Drain),
        2 => Just(Try::Release),
        1 => Just(Try::ReleaseChanged),
        1 => end.prop_map(Try::Finish),
        1 => Just(Try::Void),
        1 => Just(Try::Expire),
        1 => Just(Try::Crash),
        1 => (1_u16..2000).prop_map(Try::Wait),
    ];
    let store = std::cell::RefCell::new(make.make(Bounds::default()));
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(make.rounds()) };
    proptest!(config, |(quorum in 1_u32..3, steps in prop::collection::vec(step, 1..14))| {
        check_one_outcome(&mut *store.borrow_mut(), quorum, &steps)?;
    });
}

/// Walks the steps; the states that were seen must be a path of the state machine, and each success of the store must
/// be a step of that path.
fn check_one_outcome(
    store: &mut impl Store,
    quorum: u32,
    steps: &[Try],
) -> Result<(), proptest::test_runner::TestCaseError> {
    let approve = Approvers { from: vec!["dba".to_owned()], quorum, given: vec![] };
    let same = Hold { action_hash: HoldId::new().to_string(), approve, ..hold(agent()) };
    let (new, other) = (new_hold(same.clone()), new_hold(same));
    let id = opened(store, &new).id;
    store.take_changes();
    let path = vec![HoldState::Pending];
    let mut walk = Walk { new, other, at: start(), releases: 0, told: Vec::new(), path };
    for step in steps {
        attempt(store, &mut walk, *step);
        let changes = store.take_changes().into_iter().filter(|change| change.id == id);
        walk.path.extend(changes.map(|change| change.state));
    }
    let Walk { at, releases, told, mut path, .. } = walk;
    path.dedup();
    proptest::prop_assert!(releases <= 1 && told.len() <= 1, "{steps:?} {path:?}");
    proptest::prop_assert!(told.iter().all(|state| path.contains(state)), "lost: {told:?} {steps:?} {path:?}");
    proptest::prop_assert!(path.windows(2).all(|pair| leads(pair[0], pair[1])), "{steps:?} {path:?}");
    proptest::prop_assert_eq!(store.hold(&id).unwrap().unwrap().state, *path.last().unwrap());
    // What is open at the end must not fill the store for the cases to come.
    store.recover(at).unwrap();
    store.expire_due(100, at.after(EXPIRES * 3)).unwrap();
    let rows: Vec<_> = store.outbox_next(100).unwrap().into_iter().map(|row| row.row).collect();
    store.outbox_ack(&rows).unwrap();
    store.take_changes();
    Ok(())
}

fn attempt(store: &mut impl Store, walk: &mut Walk, step: Try) {
    let (id, at) = (walk.new.hold.id.clone(), walk.at);
    let run = |waiter| match waiter {
        Waiter::First => walk.new.record.id,
        Waiter::Second => walk.other.record.id,
    };
    match step {
        Try::Answer(person, verdict) => {
            let carol = operator("carol", "carol", &["dba"], &[Role::Operator]);
            let who = if matches!(person, Person::Ada) { ada() } else { carol };
            let decided = store.decide(&id, &who, &answer(verdict), at);
            assert!(!matches!(decided, Err(DecideError::Store(_) | DecideError::NotFound)));
            walk.told.extend(decided.ok().map(|hold| hold.state).filter(|state| *state != HoldState::Pending));
        }
        Try::Release | Try::ReleaseChanged => {
            let changed = matches!(step, Try::ReleaseChanged);
            let hash = if changed { "changed" } else { &walk.new.hold.action_hash };
            let released = store.release(&id, &release(hash), at);
            assert!(!changed || released.is_err());
            walk.releases += u32::from(released.is_ok());
        }
        Try::Withdraw(waiter) => no_fault(&store.withdraw(&id, run(waiter), "cancelled", at)),
        Try::Ticket(waiter) => no_fault(&store.ticket(&id, run(waiter), at)),
        Try::Drain => {
            for waiter in [Waiter::First, Waiter::Second] {
                no_fault(&store.withdraw(&id, run(waiter), "the connection ended", at));
            }
        }
        // Where the hold has closed, this is a hold of its own.
        Try::Join => {
            let other = NewHold { hold: Hold { id: HoldId::new(), ..walk.other.hold.clone() }, ..walk.other.clone() };
            no_fault(&store.open(&other, at).map_err(StepError::from));
        }
        Try::Finish(end) => no_fault(&store.finish(&id, end, at)),
        Try::Void => no_fault(&store.void(&id, "drift", at)),
        Try::Crash => no_fault(&store.recover(at).map_err(StepError::from)),
        Try::Expire => no_fault(&store.expire_due(10, at).map_err(StepError::from)),
        Try::Wait(seconds) => walk.at = at.after(Duration::from_secs(u64::from(seconds))),
    }
}

/// A step that may be refused for its state, but never for a fault of the store.
fn no_fault<T>(step: &Result<T, StepError>) {
    assert!(!matches!(step, Err(StepError::Store(_) | StepError::NotFound)));
}

fn leads(from: HoldState, to: HoldState) -> bool {
    use HoldState::{Approved, Denied, Expired, Failed, Finished, Pending, Released, Unknown, Void, Withdrawn};
    matches!(
        (from, to),
        (Pending, Approved | Denied | Expired | Withdrawn)
            | (Approved, Released | Expired | Void)
            | (Released, Finished | Failed | Unknown)
    )
}
