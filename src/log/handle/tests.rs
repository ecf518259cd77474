//! Appending, closing, opening again.

use super::*;
use crate::ids::StatementId;
use crate::lineage::Event;

fn record(text: &str) -> StatementRecord {
    let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
    text.clone_into(&mut record.text);
    record
}

#[tokio::test]
async fn what_was_appended_is_there_in_order_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3_u64 {
        let log = Log::open(Options::new(dir.path()), Clock::System).unwrap();
        assert_eq!(log.append_strict(record("a")).await.unwrap(), round * 3);
        log.append(record("b")).await.unwrap();
        log.try_append(record("c")).unwrap();
        log.health().unwrap();
        log.close().await;
        assert!(matches!(log.append_strict(record("d")).await, Err(LogError::Closed)));
    }
}
