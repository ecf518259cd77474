//! Carries records from the store's outbox to the log: the only reader of the outbox.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{RecordSink, SinkError};
use crate::approvals::{Approvals, OutboxRow, StoreError};
use crate::telemetry;

/// Records that are handed to the log at once.
const BATCH_MAX: u32 = 256;
/// Between two attempts while the log or the store fails.
const RETRY: Duration = Duration::from_secs(1);

/// The pump. Each record is written once: where the store fails to note that, it is remembered here, and where the process
/// ends in between, the next start finds it in the log.
pub struct Pump {
    approvals: Approvals,
    sink: Arc<dyn RecordSink>,
    /// Rows that the log has and the store could not note.
    written: HashSet<i64>,
}

#[derive(Debug, thiserror::Error)]
enum PumpError {
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Pump {
    /// Between a store and a log.
    #[must_use]
    pub fn new(approvals: Approvals, sink: Arc<dyn RecordSink>) -> Self {
        Self { approvals, sink, written: HashSet::new() }
    }

    /// Runs until stopped; what is in the outbox then is carried over once more.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let drained = self.drain().await;
            if let Err(error) = &drained {
                tracing::error!(%error, "records of holds were not written to the log");
                telemetry::log_failed();
                self.approvals.outbox_failed(&error.to_string());
            }
            if stop.is_cancelled() {
                return;
            }
            // Cancel-safe: each branch only waits, and the next turn looks at the outbox whichever it was.
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.approvals.outbox_ready(), if drained.is_ok() => {}
                () = tokio::time::sleep(RETRY), if drained.is_err() => {}
            }
        }
    }

    async fn drain(&mut self) -> Result<(), PumpError> {
        loop {
            let rows = self.approvals.outbox_next(BATCH_MAX).await?;
            if rows.is_empty() {
                return Ok(());
            }
            self.carry(rows).await?;
        }
    }

    /// One batch in one group, so that it shares a sync. What the log took before a failure is acknowledged all the same.
    async fn carry(&mut self, rows: Vec<OutboxRow>) -> Result<(), PumpError> {
        let (known, new): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| self.written.contains(&row.row));
        let (places, records): (Vec<_>, Vec<_>) = new.into_iter().map(|row| (row.row, row.record)).unzip();
        let written = self.sink.append_each_strict(records).await;
        self.written.extend(places.iter().zip(&written).filter(|(_, one)| one.is_ok()).map(|(place, _)| *place));
        let taken: Vec<_> =
            known.iter().map(|row| row.row).chain(places).filter(|row| self.written.contains(row)).collect();
        if !taken.is_empty() {
            self.approvals.outbox_ack(taken.clone()).await?;
            self.written.retain(|row| !taken.contains(row));
        }
        written.into_iter().collect::<Result<(), _>>().map_err(PumpError::from)
    }
}
