//! What is done for the log beside the sessions, now and then.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::options::LogOptions;
use crate::clock::Clock;
use crate::config::CheckpointSink;
use crate::log::{Due, IndexKeeper, LegalHolds, Log, LogError, Retention};

/// How often retention and legal holds are looked at.
const RETIRE_EVERY: Duration = Duration::from_secs(5);
/// How long a server that takes checkpoints may take.
const SEND_WAIT: Duration = Duration::from_secs(20);
/// How long it may take when the proxy ends.
const LAST_WAIT: Duration = Duration::from_secs(2);

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

/// Removes what retention does not keep, and records what people did to legal holds, until the end.
pub(super) async fn retire(options: LogOptions, log: Log, stop: CancellationToken) {
    loop {
        // Cancel-safe: both branches only wait.
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETIRE_EVERY) => {}
        }
        if let Err(error) = record_holds(&options.dir, &log).await {
            tracing::error!(%error, "legal holds could not be recorded");
            continue;
        }
        if let Err(error) = retire_due(&options.dir, options.retention, &log).await {
            tracing::error!(%error, "retention could not remove a segment");
        }
    }
}

async fn record_holds(dir: &Path, log: &Log) -> Result<(), LogError> {
    let mut holds = LegalHolds::open(dir)?;
    let records = holds.unrecorded();
    if records.is_empty() {
        return Ok(());
    }
    log.append_all_strict(records).await?;
    holds.mark_recorded()
}

async fn retire_due(dir: &Path, retention: Retention, log: &Log) -> Result<(), LogError> {
    if retention == Retention::default() {
        return Ok(());
    }
    loop {
        let here = dir.to_path_buf();
        let find = move || Due::find(&here, &retention, Clock::System.now());
        let Some(due) = tokio::task::spawn_blocking(find).await.map_err(|_| LogError::Closed)?? else { return Ok(()) };
        log.append_strict(due.record()).await?;
        let retired = tokio::task::spawn_blocking(|| due.remove()).await.map_err(|_| LogError::Closed)??;
        tracing::info!(segment = retired.segment, why = retired.why, "retention removed a log segment");
    }
}

/// Sends the newest checkpoint to one place off the box on a schedule, and once more at the end. Each place has a task of
/// its own: one that is slow keeps none of the others from theirs.
pub(super) async fn send_checkpoints(options: LogOptions, sink: CheckpointSink, stop: CancellationToken) {
    let client = match crate::net::http_client().timeout(SEND_WAIT).build() {
        Ok(client) => client,
        Err(error) => {
            return tracing::error!(%sink, %error, "no checkpoints are sent: there is no client to send them by");
        }
    };
    let mut sent = String::new();
    loop {
        // Cancel-safe: both branches only wait.
        let round = tokio::select! {
            () = stop.cancelled() => Round::Last,
            () = tokio::time::sleep(options.checkpoints_every) => Round::Scheduled,
        };
        match crate::log::newest_checkpoint(&options.dir) {
            Ok(note) if note != sent => match in_time(send(&client, &sink, &note), round, &stop).await {
                Ok(()) => sent = note,
                Err(error) => tracing::warn!(%sink, %error, "a checkpoint was not sent; the next one will be"),
            },
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the newest checkpoint could not be read"),
        }
        if round == Round::Last {
            return;
        }
    }
}

/// Which of the times it is that a checkpoint is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    Scheduled,
    Last,
}

/// At the end nobody waits long; what is under way when the end comes is left for the last one.
async fn in_time(
    sending: impl Future<Output = Result<(), String>>,
    round: Round,
    stop: &CancellationToken,
) -> Result<(), String> {
    let late = async {
        match round {
            Round::Scheduled => stop.cancelled().await,
            Round::Last => tokio::time::sleep(LAST_WAIT).await,
        }
    };
    // Cancel-safe: a checkpoint that was sent and is sent again is the same one.
    tokio::select! {
        sent = sending => sent,
        () = late => Err("there was no answer before the end".to_owned()),
    }
}

async fn send(client: &reqwest::Client, sink: &CheckpointSink, note: &str) -> Result<(), String> {
    match sink {
        CheckpointSink::Stdout => {
            let mut out = std::io::stdout().lock();
            out.write_all(note.as_bytes()).and_then(|()| out.flush()).map_err(|error| error.to_string())
        }
        CheckpointSink::File(path) => {
            let append = || {
                let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path)?;
                file.write_all(note.as_bytes())?;
                file.sync_data()
            };
            append().map_err(|error| error.to_string())
        }
        CheckpointSink::Http(url) => {
            let sent = client.post(url).header("content-type", "text/plain; charset=utf-8").body(note.to_owned());
            let answer = sent.send().await.map_err(|error| error.without_url().to_string())?;
            answer.error_for_status().map(drop).map_err(|error| error.without_url().to_string())
        }
    }
}
