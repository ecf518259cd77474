//! The loop of a sink: read, send, note.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::files::Files;
use super::post::{Answer, Receiver};
use super::source::{Batch, Source};
use super::status::{Board, Status};
use super::{SinkError, SinkOptions};
use crate::clock::monotonic;
use crate::log::Log;

/// Events that are read at once.
const READ_MAX: usize = 64;
/// How often the log is looked at for more.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often the position is noted, at most.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// One sink that runs.
pub struct Sink {
    options: SinkOptions,
    receiver: Receiver,
    files: Files,
    source: Option<Source>,
    board: Arc<Board>,
    /// All before this record is sent.
    sent: u64,
    saved: u64,
    saved_at: Instant,
}

/// A look at a sink from outside.
#[derive(Clone, Debug)]
pub struct Watch {
    board: Arc<Board>,
}

impl Watch {
    /// How it is, with so many durable records in the log.
    #[must_use]
    pub fn status(&self, durable: u64) -> Status {
        self.board.status(durable)
    }
}

/// The sink is to end.
struct Stopped;

impl Sink {
    /// A sink of the log in `log_dir`, with its files in `dir`.
    ///
    /// # Errors
    /// Its files, or an address that is none.
    pub fn open(options: SinkOptions, log: Log, log_dir: PathBuf, dir: &Path) -> Result<Self, SinkError> {
        let receiver = Receiver::new(&options)?;
        let (files, next) = Files::open(dir, &options.name)?;
        let board = Arc::new(Board::new(&options.name));
        let source = Source::new(log, log_dir, next);
        board.passed(next, source.durable());
        Ok(Self {
            options,
            receiver,
            files,
            source: Some(source),
            board,
            sent: next,
            saved: next,
            saved_at: monotonic(),
        })
    }

    /// For whoever wants to know how it is.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch { board: Arc::clone(&self.board) }
    }

    /// Runs until stopped. What is not sent then is sent after the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Ok(batch) = self.next_batch(&stop).await {
            let durable = batch.durable;
            if self.deliver(&batch, &stop).await.is_err() {
                break;
            }
            self.sent = batch.next;
            self.board.passed(self.sent, durable);
            if batch.events.is_empty() || monotonic().saturating_duration_since(self.saved_at) >= SAVE_EVERY {
                self.save();
            }
        }
        self.save();
    }

    /// What comes next; waits while there is nothing.
    async fn next_batch(&mut self, stop: &CancellationToken) -> Result<Batch, Stopped> {
        let mut failures = 0;
        loop {
            let Some(mut source) = self.source.take() else { return Err(Stopped) };
            let looked = tokio::task::spawn_blocking(move || {
                let batch = source.take(READ_MAX);
                (source, batch)
            });
            let Ok((source, batch)) = looked.await else { return Err(Stopped) };
            self.source = Some(source);
            match batch {
                Ok(batch) if batch.next > self.sent => return Ok(batch),
                Ok(_) => {
                    failures = 0;
                    self.save();
                    pause(LOOK_EVERY, stop).await?;
                }
                Err(error) => {
                    self.board.down(format!("the log cannot be read: {error}"));
                    pause(self.back_off(failures), stop).await?;
                    failures += 1;
                }
            }
        }
    }

    async fn deliver(&mut self, batch: &Batch, stop: &CancellationToken) -> Result<(), Stopped> {
        for group in batch.events.chunks(self.options.batch_max.max(1)) {
            self.deliver_group(group, stop).await?;
            if let Some((last, _)) = group.last() {
                self.sent = last + 1;
            }
        }
        Ok(())
    }

    /// A group that is refused is sent event by event, so that only what is wrong becomes a dead letter.
    async fn deliver_group(&mut self, group: &[(u64, Value)], stop: &CancellationToken) -> Result<(), Stopped> {
        let all: Vec<_> = group.iter().map(|(_, event)| event).collect();
        let Some(why) = self.send(&all, stop).await? else { return Ok(()) };
        if let [(seq, event)] = group {
            return self.bury(*seq, &why, event, stop).await;
        }
        for (seq, event) in group {
            if let Some(why) = self.send(&[event], stop).await? {
                self.bury(*seq, &why, event, stop).await?;
            }
        }
        Ok(())
    }

    /// Sends until the receiver has said yes or no. Some: why not.
    async fn send(&mut self, events: &[&Value], stop: &CancellationToken) -> Result<Option<String>, Stopped> {
        for failures in 0.. {
            if stop.is_cancelled() {
                return Err(Stopped);
            }
            // Cancel-safe: a request that is dropped may have arrived; it is sent again after the next start.
            let answer = tokio::select! {
                () = late(stop) => return Err(Stopped),
                answer = self.receiver.post(events) => answer,
            };
            match answer {
                Answer::Taken => {
                    self.board.sent(events.len());
                    return Ok(None);
                }
                Answer::Refused(why) => return Ok(Some(why)),
                Answer::Down(why, after) => {
                    self.board.down(why);
                    self.save();
                    pause(after.unwrap_or_default().max(self.back_off(failures)), stop).await?;
                }
            }
        }
        Err(Stopped)
    }

    /// Nothing follows before the dead letter is kept.
    async fn bury(&mut self, seq: u64, why: &str, event: &Value, stop: &CancellationToken) -> Result<(), Stopped> {
        for failures in 0.. {
            match self.files.bury(seq, why, event) {
                Ok(()) => {
                    tracing::warn!(sink = self.options.name, seq, why, "an event is a dead letter");
                    self.board.refused();
                    return Ok(());
                }
                Err(error) => self.board.down(format!("a dead letter cannot be kept: {error}")),
            }
            pause(self.back_off(failures), stop).await?;
        }
        Err(Stopped)
    }

    fn back_off(&self, failures: u32) -> Duration {
        self.options.retry_min.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(self.options.retry_max)
    }

    /// A position that cannot be noted costs that events are sent again.
    fn save(&mut self) {
        if self.sent == self.saved {
            return;
        }
        self.saved_at = monotonic();
        match self.files.save(self.sent) {
            Ok(()) => self.saved = self.sent,
            Err(error) => tracing::warn!(sink = self.options.name, %error, "the position of a sink was not noted"),
        }
    }
}

/// A request that is under way when the sink is to stop has this long to be answered, so that it need not be sent twice.
const LAST_ANSWER: Duration = Duration::from_secs(2);

async fn late(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_ANSWER).await;
}

async fn pause(duration: Duration, stop: &CancellationToken) -> Result<(), Stopped> {
    // Cancel-safe: both branches only wait.
    tokio::select! {
        () = stop.cancelled() => Err(Stopped),
        () = tokio::time::sleep(duration) => Ok(()),
    }
}
