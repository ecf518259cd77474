//! The index finds what a scan finds, whatever happened to it.

use std::fs;
use std::path::Path;

use super::*;
use crate::clock::Clock;
use crate::ids::StatementId;
use crate::lineage::{Event, Filters, Outcome, RecordColumn, StatementRecord};
use crate::log::{Log, Options, query};
use crate::principal::Principal;

fn record(number: u64) -> StatementRecord {
    let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
    let name = ["ann", "bob", "cid"][usize::try_from(number % 3).unwrap()];
    record.principal = Some(Principal { name: name.into(), ..Principal::default() });
    record.outcome = Some(if number.is_multiple_of(7) { Outcome::Failed } else { Outcome::Complete });
    record.database = Some("shop".into());
    record.relations = vec![format!("public.t{}", number % 5)];
    let tags = if number.is_multiple_of(4) { vec!["user.contact.email".to_owned()] } else { Vec::new() };
    let access = vec![crate::analysis::Access::Reveal];
    record
        .columns
        .insert(format!("shop.public.t{}.email", number % 5), RecordColumn { tags, access, ..RecordColumn::default() });
    record.text = format!("SELECT Number FROM t{}", number % 11);
    record
}

async fn append(dir: &Path, numbers: std::ops::Range<u64>) {
    let log = Log::open(Options { segment_max: 60_000, ..Options::new(dir) }, Clock::System).unwrap();
    log.append_all_strict(numbers.map(record).collect()).await.unwrap();
    log.close().await;
}

fn catch_up(dir: &Path) -> u64 {
    let mut index = Index::open(dir).unwrap();
    Progress::silent(|progress| index.catch_up(progress)).unwrap()
}

fn filters(pairs: &[(&str, &str)]) -> Filters {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Filters::from_pairs(&pairs, Clock::System.now()).unwrap()
}

const ASKED: &[&[(&str, &str)]] = &[
    &[],
    &[("principal", "ann")],
    &[("principal", "a*"), ("outcome", "failed")],
    &[("relation", "t3"), ("limit", "7")],
    &[("column", "public.t1.email"), ("tag", "user.**"), ("access", "reveal")],
    &[("tag", "user.contact.email"), ("limit", "1000")],
    &[("text", "number from T10"), ("cursor", "150")],
    &[("since", "1h"), ("sensitivity", "low"), ("kind", "read")],
    &[("until", "2020-01-01")],
    &[("principal", "nobody")],
    &[("limit", "0")],
];

fn seqs(dir: &Path, filters: &Filters) -> Vec<u64> {
    query(dir, filters).unwrap().map(|record| record.unwrap().seq).collect()
}

fn same_as_by_a_scan(dir: &Path) {
    for asked in ASKED {
        let filters = filters(asked);
        let scanned: Vec<u64> = crate::log::read(dir)
            .unwrap()
            .map(Result::unwrap)
            .filter(|record| filters.matches(record))
            .map(|record| record.seq)
            .collect();
        let newest = filters.limit.map_or(0, |limit| scanned.len().saturating_sub(limit));
        assert_eq!(seqs(dir, &filters), scanned[newest..], "{asked:?}");
    }
}

#[tokio::test]
async fn a_query_by_index_answers_as_a_scan_does_also_where_the_index_is_behind() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), 0..200).await;
    assert_eq!(catch_up(dir.path()), 200);
    same_as_by_a_scan(dir.path());
    append(dir.path(), 200..420).await;
    same_as_by_a_scan(dir.path());
    assert_eq!(catch_up(dir.path()), 220);
    assert_eq!(catch_up(dir.path()), 0);
    same_as_by_a_scan(dir.path());
    assert!(segment::list(dir.path()).unwrap().iter().filter(|segment| segment.sealed).count() > 1);
}

#[tokio::test]
async fn an_index_that_is_damaged_or_of_another_version_or_of_another_log_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), 0..50).await;
    catch_up(dir.path());
    let path = dir.path().join(FILE);

    fs::write(&path, vec![7; 40_000]).unwrap();
    same_as_by_a_scan(dir.path());
    assert_eq!(catch_up(dir.path()), 50);

    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
    same_as_by_a_scan(dir.path());
    assert_eq!(catch_up(dir.path()), 50);

    let other = tempfile::tempdir().unwrap();
    append(other.path(), 0..30).await;
    catch_up(other.path());
    fs::copy(other.path().join(FILE), &path).unwrap();
    drop(fs::remove_file(path.with_extension("sqlite-wal")));
    same_as_by_a_scan(dir.path());
    assert_eq!(catch_up(dir.path()), 50);
    same_as_by_a_scan(dir.path());
}

#[tokio::test]
async fn a_log_that_was_put_back_to_an_older_copy_does_not_answer_by_the_newer_index() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), 0..20).await;
    let path = dir.path().join("00000000.jsonl");
    let older = fs::read(&path).unwrap();
    append(dir.path(), 20..40).await;
    catch_up(dir.path());
    fs::write(&path, older).unwrap();
    assert_eq!(seqs(dir.path(), &filters(&[("principal", "ann")])).len(), 7);
    assert_eq!(catch_up(dir.path()), 20);
}

#[tokio::test]
async fn what_a_transaction_did_not_commit_is_added_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), 0..20).await;
    catch_up(dir.path());
    append(dir.path(), 20..40).await;
    {
        let mut index = Index::open(dir.path()).unwrap();
        let place = file::stand(&index.file).unwrap().place;
        let transaction = index.file.transaction().unwrap();
        let mut batch = Batch::default();
        let mut line = Vec::new();
        crate::lineage::encode_line(&record(20), &mut line);
        assert!(batch.add(&line, place));
        batch.write(&transaction, &mut index.ids).unwrap();
    }
    same_as_by_a_scan(dir.path());
    assert_eq!(catch_up(dir.path()), 20);
    same_as_by_a_scan(dir.path());
}
