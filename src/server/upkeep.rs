//! What is done for the log beside the sessions, now and then.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::log::IndexKeeper;

/// How often the log's growth is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Keeps the log's index behind the log, until the end.
pub(super) async fn keep_index(dir: PathBuf, stop: CancellationToken) {
    let mut keeper = IndexKeeper::new(&dir);
    loop {
        // Cancel-safe: both branches only wait.
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let looked = tokio::task::spawn_blocking(move || {
            if let Err(error) = keeper.look() {
                tracing::warn!(%error, "the log's index could not be caught up");
            }
            keeper
        });
        keeper = looked.await.unwrap_or_else(|_| IndexKeeper::new(&dir));
    }
}
