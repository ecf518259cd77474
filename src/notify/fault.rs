//! What stops a turn of the outbox's followers and workers: it is tried again.

use super::store::NotifyStoreError;
use crate::approvals::StoreError;

/// Which store failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Outbox(#[from] NotifyStoreError),
    #[error(transparent)]
    Holds(#[from] StoreError),
}
