//! What the list reads: the plan of its query, and what it unseals.

use super::*;
use crate::approvals::samples::{agent, hold, new_hold};
use crate::approvals::sqlite::schema;

fn filters() -> Vec<HoldFilter> {
    let of = |states: &[HoldState], principal: Option<&str>| HoldFilter {
        states: states.to_vec(),
        principal: principal.map(str::to_owned),
        ..HoldFilter::default()
    };
    let open = [HoldState::Pending, HoldState::Approved];
    vec![
        of(&[], None),
        of(&[HoldState::Pending], None),
        of(&open, None),
        of(&open, Some("agent-7")),
        of(&[], Some("x")),
    ]
}

#[test]
fn every_list_is_read_by_an_index_and_sorts_no_more_than_its_page() {
    let db = schema::in_memory().unwrap();
    for filter in filters() {
        let sql = format!("EXPLAIN QUERY PLAN {}", places(&filter));
        let mut plan = db.prepare(&sql).unwrap();
        let steps: Vec<String> = plan
            .query_map(params![i64::MAX, 101, filter.principal], |row| row.get("detail"))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let reads: Vec<_> = steps.iter().filter(|step| step.contains(" hold")).collect();
        let index = if filter.principal.is_some() {
            "hold_history (principal=? AND state=? AND "
        } else {
            "hold_by_state (state=? AND "
        };
        assert!(!reads.is_empty() && reads.iter().all(|step| step.starts_with("SEARCH hold USING")), "{steps:#?}");
        assert!(reads.iter().all(|step| step.contains(index)), "{steps:#?}");
    }
}

#[test]
fn a_page_opens_what_it_shows_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let seal = Seal::from_file(&dir.path().join("store.key")).unwrap();
    let db = schema::in_memory().unwrap();
    for number in 0..6 {
        let new = new_hold(Hold { id: HoldId::new(), action_hash: number.to_string(), ..hold(agent()) });
        insert(&db, &seal, &Row::new(&new)).unwrap();
    }
    // All but the two newest are sealed with a key that is not this one.
    db.execute("UPDATE hold SET sealed = x'00' WHERE seq <= 4", []).unwrap();
    let page = |limit, before| page(&db, &seal, &HoldFilter { before, limit, ..HoldFilter::default() });
    let first = page(2, None).unwrap();
    assert_eq!((first.holds.len(), first.next), (2, Some(5)));
    assert_eq!(first.holds[0].statement, hold(agent()).statement);
    assert!(matches!(page(2, first.next), Err(StoreError::Unsealable(_))));
}
