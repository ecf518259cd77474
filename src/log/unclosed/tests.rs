//! What a start finds of statements that an earlier process left open.

use super::*;
use crate::clock::Clock;
use crate::lineage::RecordApproval;
use crate::log::{Log, Options, read};

fn record(id: StatementId, event: Event) -> StatementRecord {
    StatementRecord::new(id, event)
}

fn step(id: StatementId, event: Event, hold: &HoldId) -> StatementRecord {
    StatementRecord { hold: Some(hold.clone()), ..record(id, event) }
}

fn open(dir: &Path, segment_max: u64) -> Log {
    Log::open(Options { segment_max, ..Options::new(dir) }, Clock::System).unwrap()
}

async fn write(log: &Log, records: &[StatementRecord]) {
    log.append_all_strict(records.to_vec()).await.unwrap();
}

/// What a process that dies leaves, without the mark of a clean end.
async fn die(dir: &Path, log: Log) {
    let mark = fs::read(dir.join(MARK)).ok();
    log.close().await;
    match mark {
        Some(mark) => fs::write(dir.join(MARK), mark).unwrap(),
        None => fs::remove_file(dir.join(MARK)).unwrap(),
    }
}

#[tokio::test]
async fn what_was_opened_and_not_closed_is_closed_once_however_often_the_start_is_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let ids: Vec<_> = (0..4).map(|_| StatementId::new()).collect();
    let hold = HoldId::new();
    let log = open(dir.path(), 1 << 20);
    write(&log, &[record(ids[0], Event::Started), record(ids[1], Event::Started), step(ids[2], Event::Held, &hold)])
        .await;
    write(&log, &[record(ids[1], Event::Closed), step(ids[3], Event::Held, &hold)]).await;
    write(&log, &[step(ids[3], Event::Released, &hold)]).await;
    die(dir.path(), log).await;

    let expected = [(ids[0], Outcome::Unknown), (ids[2], Outcome::Withdrawn), (ids[3], Outcome::Unknown)];
    for already in 0..=expected.len() {
        let log = open(dir.path(), 1 << 20);
        let closings = log.take_leftovers().closings();
        let found: Vec<_> = closings.iter().map(|closing| (closing.id, closing.outcome.unwrap())).collect();
        assert_eq!(found, expected[already..]);
        assert!(closings.iter().all(|closing| closing.event == Event::Closed));
        write(&log, &closings[..closings.len().min(1)]).await;
        die(dir.path(), log).await;
    }
}

#[tokio::test]
async fn a_line_of_a_hold_that_comes_late_opens_nothing_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1 << 20);
    let (id, hold) = (StatementId::new(), HoldId::new());
    write(&log, &[record(id, Event::Closed), step(id, Event::Held, &hold)]).await;
    die(dir.path(), log).await;
    assert_eq!(open(dir.path(), 1 << 20).take_leftovers().closings(), []);
}

#[tokio::test]
async fn an_opening_is_found_however_many_segments_lie_behind_it_and_what_is_closed_is_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 500);
    let (first, late) = (StatementId::new(), StatementId::new());
    write(&log, &[record(first, Event::Started)]).await;
    for _ in 0..8 {
        write(&log, &[record(StatementId::new(), Event::Closed)]).await;
    }
    write(&log, &[record(late, Event::Started)]).await;
    write(&log, &[record(first, Event::Closed)]).await;
    for _ in 0..8 {
        write(&log, &[record(StatementId::new(), Event::Closed)]).await;
    }
    let verifier = Verifier::of(dir.path()).unwrap();
    die(dir.path(), log).await;
    let mark = marked(dir.path(), &verifier).unwrap();
    assert!(mark > 1 && segment::list(dir.path()).unwrap().last().unwrap().number > mark + 1, "{mark}");
    let log = open(dir.path(), 500);
    let leftovers = log.take_leftovers();
    assert_eq!(leftovers.from, mark);
    assert_eq!(leftovers.closings().iter().map(|closing| closing.id).collect::<Vec<_>>(), [late]);
    // Inherited, and still open after another start: the mark stays behind.
    for _ in 0..8 {
        write(&log, &[record(StatementId::new(), Event::Closed)]).await;
    }
    log.close().await;
    let log = open(dir.path(), 500);
    assert_eq!(log.take_leftovers().closings().len(), 1);
    write(&log, &[record(late, Event::Closed)]).await;
    log.close().await;
    fs::remove_file(dir.path().join(MARK)).unwrap();
    assert_eq!(open(dir.path(), 500).take_leftovers().closings(), []);
}

#[tokio::test]
async fn a_step_of_a_hold_that_the_log_has_is_known_also_from_segments_before_the_mark() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 500);
    let (run, hold) = (StatementId::new(), HoldId::new());
    let answer = |by: &str| StatementRecord {
        approval: Some(RecordApproval { by: by.into(), verdict: "approve".into(), ..RecordApproval::default() }),
        ..step(run, Event::Decided, &hold)
    };
    let written = [step(run, Event::Held, &hold), answer("ann"), step(run, Event::Closed, &hold)];
    write(&log, &written).await;
    for _ in 0..8 {
        write(&log, &[record(StatementId::new(), Event::Closed)]).await;
    }
    log.close().await;
    let log = open(dir.path(), 500);
    let mut leftovers = log.take_leftovers();
    assert!(leftovers.from > 1);
    for known in &written {
        assert!(leftovers.has(known).unwrap(), "{:?}", known.event);
    }
    for new in [answer("bob"), step(run, Event::Released, &hold), step(run, Event::Held, &HoldId::new())] {
        assert!(!leftovers.has(&new).unwrap(), "{:?}", new.event);
    }
    // A closing line of any outcome is the closing line.
    let other = StatementRecord { outcome: Some(Outcome::Unknown), ..step(run, Event::Closed, &hold) };
    assert!(leftovers.has(&other).unwrap());
    assert_eq!(read(dir.path()).unwrap().count(), 11);
}
