//! After a start: what an earlier process left without an end gets one, and nothing is written twice.

use crate::approvals::{Approvals, OutboxRow};
use crate::log::{Leftovers, Log, LogError};

use super::StartError;

/// Rows of the outbox that are carried over at once.
const BATCH_MAX: u32 = 256;

/// Carries the store's outbox to the log, but for what the log has already, and closes each statement that was opened and
/// not closed. How many statements that were.
///
/// May be interrupted anywhere: the next start goes on with what is still missing.
///
/// # Errors
/// The log or the store.
pub(super) async fn recover(log: &Log, approvals: &Approvals) -> Result<usize, StartError> {
    let mut leftovers = log.take_leftovers();
    loop {
        let rows = approvals.outbox_next(BATCH_MAX).await?;
        if rows.is_empty() {
            break;
        }
        let places = rows.iter().map(|row| row.row).collect();
        let (looked, new) =
            tokio::task::spawn_blocking(move || unwritten(leftovers, rows)).await.map_err(|error| panicked(&error))?;
        leftovers = looked;
        let records: Vec<_> = new?.into_iter().map(|row| row.record).collect();
        log.append_all_strict(records.clone()).await?;
        for record in records {
            leftovers.follow(record);
        }
        approvals.outbox_ack(places).await?;
    }
    let closings = leftovers.closings();
    let count = closings.len();
    log.append_all_strict(closings).await?;
    Ok(count)
}

/// The rows that are not in the log. Reads files.
fn unwritten(mut leftovers: Leftovers, rows: Vec<OutboxRow>) -> (Leftovers, Result<Vec<OutboxRow>, LogError>) {
    let mut new = Vec::new();
    for row in rows {
        match leftovers.has(&row.record) {
            Ok(true) => {}
            Ok(false) => new.push(row),
            Err(error) => return (leftovers, Err(error)),
        }
    }
    (leftovers, Ok(new))
}

fn panicked(error: &tokio::task::JoinError) -> StartError {
    StartError::Recovery(error.to_string())
}
