//! Carries records from the store's outbox to the log: the only reader of the outbox.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::{RecordSink, SinkError};
use crate::approvals::{Approvals, OutboxRow, StoreError};
use crate::telemetry;

/// Records that are handed to the log at once.
const BATCH_MAX: u32 = 256;
/// Between two attempts while the log or the store fails.
const RETRY: Duration = Duration::from_secs(1);

/// The pump. A record that was written but not acknowledged, because the process ended in between, is written again with
/// the same id.
pub struct Pump {
    approvals: Approvals,
    sink: Arc<dyn RecordSink>,
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
        Self { approvals, sink }
    }

    /// Runs until stopped; what is in the outbox then is carried over once more.
    pub async fn run(self, stop: CancellationToken) {
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

    async fn drain(&self) -> Result<(), PumpError> {
        loop {
            let rows = self.approvals.outbox_next(BATCH_MAX).await?;
            if rows.is_empty() {
                return Ok(());
            }
            self.carry(rows).await?;
        }
    }

    /// One batch: the log may write it with one sync. What it took before a failure is acknowledged all the same.
    async fn carry(&self, rows: Vec<OutboxRow>) -> Result<(), PumpError> {
        let (places, records): (Vec<_>, Vec<_>) = rows.into_iter().map(|row| (row.row, row.record)).unzip();
        let written = join_all(records.into_iter().map(|record| self.sink.append_strict(record))).await;
        let taken = written.iter().take_while(|one| one.is_ok()).count();
        if taken > 0 {
            self.approvals.outbox_ack(places.into_iter().take(taken).collect()).await?;
        }
        written.into_iter().collect::<Result<(), _>>().map_err(PumpError::from)
    }
}
