//! Ends holds whose time is over, and shows how many are open.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::approvals::{Approvals, HoldState, StoreError};
use crate::telemetry;

/// Holds that one turn ends at most; the rest follow in the next.
const BATCH_MAX: u32 = 1000;

/// Runs until stopped, a turn each `every`. No outcome depends on it: whoever meets a lapsed hold first expires it.
pub async fn sweep(approvals: Approvals, every: Duration, stop: CancellationToken) {
    let mut turns = interval(every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel-safe: both branches only wait.
        tokio::select! {
            () = stop.cancelled() => return,
            _ = turns.tick() => {}
        }
        match turn(&approvals).await {
            Ok(()) => {}
            Err(StoreError::Closed) => return,
            Err(error) => tracing::error!(%error, "the sweep of lapsed holds failed"),
        }
    }
}

async fn turn(approvals: &Approvals) -> Result<(), StoreError> {
    let expired = approvals.expire_due(BATCH_MAX).await?;
    if expired > 0 {
        tracing::info!(expired, "holds expired");
    }
    let counts = approvals.counts().await?;
    for (state, number) in [
        (HoldState::Pending, counts.pending),
        (HoldState::Approved, counts.approved),
        (HoldState::Released, counts.released),
    ] {
        telemetry::holds(state.as_str(), number);
    }
    telemetry::outbox(counts.outbox);
    Ok(())
}
