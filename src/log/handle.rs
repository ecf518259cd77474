//! The handle by which everybody appends.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use super::disk::{Disk, OsDisk};
use super::error::{LogError, TryAppendError};
use super::key::{Signer, Verifier};
use super::open::{create_private, sync_parent};
use super::queue::{Pending, Queue, Reply};
use super::succession;
use super::unclosed::Leftovers;
use super::writer::Writer;
use crate::clock::{Clock, monotonic};
use crate::lineage::{Line, StatementRecord};

/// The file whose lock is the log's.
pub(super) const LOCK: &str = "lock";

/// A disk that has not answered for so long is said to be broken, and nothing more is asked of it.
const STALLED: Duration = Duration::from_secs(2);
/// A strict record is waited for so long, unless it is said otherwise.
pub const SYNC_TIMEOUT: Duration = Duration::from_secs(5);

/// How a log is kept.
#[derive(Clone)]
pub struct Options {
    /// The log's directory; made where it is not there.
    pub dir: PathBuf,
    /// The log's name in checkpoints: a URL without scheme, no white space. Used at the first start alone.
    pub origin: String,
    /// A segment that is at least this long, in bytes, is sealed.
    pub segment_max: u64,
    /// Records that wait for the disk, in bytes of memory, roughly. Appends wait while it is full.
    pub queue_max: u32,
    /// Asynchronous appends are durable after this long.
    pub sync_interval: Duration,
    /// Who appends strictly waits no longer for a disk that neither takes a record nor fails.
    pub sync_timeout: Duration,
    /// The disk; another one in tests that let it fail.
    pub disk: Arc<dyn Disk>,
}

impl Options {
    /// The defaults for a log in `dir`: segments of 64 MiB, 16 MiB waiting, durable within 200 ms.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            origin: format!("{}.local/{}", crate::ids::NAME, crate::ids::random_base32(10)),
            segment_max: 64 << 20,
            queue_max: 16 << 20,
            sync_interval: Duration::from_millis(200),
            sync_timeout: SYNC_TIMEOUT,
            disk: Arc::new(OsDisk),
        }
    }
}

/// A log that is open for appending. Clones share one writer thread and its queue.
#[derive(Clone)]
pub struct Log {
    handle: Arc<Handle>,
    dir: Arc<Path>,
    leftovers: Arc<Mutex<Option<Leftovers>>>,
}

/// The last clone ends the writer, once it has written all that is queued.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.queue.close(None);
    }
}

/// What handles and the writer share.
pub(super) struct Shared {
    pub queue: Queue,
    /// Room in the queue, in bytes.
    pub room: Semaphore,
    pub room_max: u32,
    healthy: AtomicBool,
    error: Mutex<Option<LogError>>,
    /// Statements that were refused since the log broke, before they came to it.
    pub refused: AtomicU64,
    opened: Instant,
    sync_timeout: Duration,
    /// How many records are durable.
    durable: AtomicU64,
    /// Milliseconds from `opened` to when the writer turned to the disk, plus one; 0: it is idle.
    busy_since: AtomicU64,
    /// Somebody has waited as long as one may; until the disk answers nobody else does.
    late: AtomicBool,
}

impl Shared {
    fn new(room_max: u32, sync_timeout: Duration) -> Self {
        Self {
            queue: Queue::default(),
            room: Semaphore::new(usize::try_from(room_max).unwrap_or(1)),
            room_max,
            healthy: AtomicBool::new(true),
            error: Mutex::new(None),
            refused: AtomicU64::new(0),
            opened: monotonic(),
            sync_timeout,
            durable: AtomicU64::new(0),
            busy_since: AtomicU64::new(0),
            late: AtomicBool::new(false),
        }
    }

    /// So many records are durable.
    pub(super) fn set_durable(&self, records: u64) {
        self.durable.store(records, Ordering::Release);
    }

    /// The writer turns to the disk.
    pub(super) fn set_busy(&self) {
        self.busy_since.store(self.millis() + 1, Ordering::Relaxed);
    }

    /// The disk has answered.
    pub(super) fn set_idle(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
        self.late.store(false, Ordering::Relaxed);
    }

    /// For how long the disk has not answered, where that is too long.
    fn stalled(&self) -> Option<Duration> {
        let since = self.busy_since.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.millis().saturating_sub(since)))
            .filter(|busy| self.late.load(Ordering::Relaxed) || *busy > STALLED.min(self.sync_timeout))
    }

    fn millis(&self) -> u64 {
        u64::try_from(monotonic().saturating_duration_since(self.opened).as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// Says how the log is; the flag is what the fast path reads.
    pub(super) fn set_health(&self, error: Option<LogError>) {
        let healthy = error.is_none();
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        self.healthy.store(healthy, Ordering::Release);
    }

    /// Why it cannot be written; `None` where it can.
    pub(super) fn error(&self) -> Option<LogError> {
        if self.healthy.load(Ordering::Acquire) {
            return None;
        }
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Log {
    /// Opens the log, checks what is not sealed against its last checkpoint, repairs an end that a crash tore (and
    /// records that), and starts the writer. Blocks while it reads at most one unsealed segment or two.
    ///
    /// # Errors
    /// Another process appends to it; it is not what its last checkpoint signed; the disk refuses.
    pub fn open(options: Options, clock: Clock) -> Result<Self, LogError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&options.dir).map_err(LogError::io("create", &options.dir))?;
        sync_parent(&options.dir).map_err(LogError::io("sync", &options.dir))?;
        let lock = lock(&options.dir)?;
        succession::finish(&options.dir)?;
        let signer = Arc::new(Signer::open(&options.dir, &options.origin)?);
        let verifier = signer.verifier().clone();
        let room_max = options.queue_max.max(1);
        let shared = Arc::new(Shared::new(room_max, options.sync_timeout));
        let dir = options.dir.clone();
        let mut writer = Writer::open(options, clock, signer, Arc::clone(&shared), lock)?;
        let leftovers = Leftovers::read(&dir, &verifier)?;
        writer.go_on_with(leftovers.unclosed());
        std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(LogError::io("start the writer of", &dir))?;
        let leftovers = Arc::new(Mutex::new(Some(leftovers)));
        Ok(Self { handle: Arc::new(Handle(shared)), dir: dir.into(), leftovers })
    }

    /// What an earlier process left open; once.
    #[must_use]
    pub fn take_leftovers(&self) -> Leftovers {
        let taken = self.leftovers.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.unwrap_or_default()
    }

    /// Appends a record and waits until it is durable. Returns its `seq`.
    ///
    /// # Errors
    /// It is not in the log: the caller must not go on with what it records.
    pub async fn append_strict(&self, line: impl Into<Line>) -> Result<u64, LogError> {
        let line = line.into();
        let weight = self.wait_for_room(&line).await?;
        let (reply, answer) = oneshot::channel();
        self.send(line, weight, Reply::Strict(reply))?;
        answer.await.unwrap_or(Err(LogError::Closed))
    }

    /// Appends records in one group, which shares a sync, and waits until all are durable.
    ///
    /// # Errors
    /// At least one of them is not in the log: the caller must not go on with what they record.
    pub async fn append_all_strict(&self, records: Vec<StatementRecord>) -> Result<(), LogError> {
        self.append_each_strict(records).await.into_iter().try_for_each(|written| written.map(drop))
    }

    /// The same with the answer for each record: behind the first that is not in the log, none is.
    pub async fn append_each_strict(&self, records: Vec<StatementRecord>) -> Vec<Result<u64, LogError>> {
        let count = records.len();
        let mut left = records.into_iter().map(Line::from).collect::<Vec<_>>().into_iter().peekable();
        let mut written = Vec::with_capacity(count);
        while written.len() < count && !matches!(written.last(), Some(Err(_))) {
            match self.send_group(&mut left).await {
                Ok(answers) => {
                    for answer in answers {
                        written.push(answer.await.unwrap_or(Err(LogError::Closed)));
                    }
                }
                Err(error) => written.push(Err(error)),
            }
        }
        if let Some(Err(error)) = written.last().cloned() {
            written.resize_with(count, || Err(error.clone()));
        }
        written
    }

    /// As many as half of the queue takes.
    async fn send_group(
        &self,
        left: &mut std::iter::Peekable<std::vec::IntoIter<Line>>,
    ) -> Result<Vec<oneshot::Receiver<Result<u64, LogError>>>, LogError> {
        let room_max = self.shared().room_max;
        let (mut group, mut answers, mut total) = (Vec::new(), Vec::new(), 0_u32);
        while let Some(line) = left.next_if(|line| total == 0 || total + weight(line, room_max) <= room_max / 2) {
            let (reply, answer) = oneshot::channel();
            let weight = weight(&line, room_max);
            total += weight;
            group.push(Pending { line, seq: 0, weight, reply: Reply::Strict(reply) });
            answers.push(answer);
        }
        let room = self.shared().room.acquire_many(total).await.map_err(|_| LogError::Closed)?;
        room.forget();
        self.shared().queue.push_all(group)?;
        Ok(answers)
    }

    /// Appends a record; returns once it is queued. Waits only while the queue is full, or while the log cannot be
    /// written: then as [`Log::append_strict`] does, so that nothing is lost unsaid.
    ///
    /// # Errors
    /// It is not in the log.
    pub async fn append(&self, line: impl Into<Line>) -> Result<(), LogError> {
        let line = line.into();
        if self.shared().error().is_some() {
            return self.append_strict(line).await.map(|_seq| ());
        }
        let weight = self.wait_for_room(&line).await?;
        self.send(line, weight, Reply::Nobody)
    }

    /// Appends a record without waiting for anything.
    ///
    /// # Errors
    /// The queue is full, or the log cannot be written: the record comes back or is to be appended with [`Log::append`].
    pub fn try_append(&self, line: impl Into<Line>) -> Result<(), TryAppendError> {
        let line = line.into();
        if let Some(error) = self.shared().error() {
            return Err(TryAppendError::Unhealthy(error, line));
        }
        let weight = weight(&line, self.shared().room_max);
        let Ok(room) = self.shared().room.try_acquire_many(weight) else {
            return Err(TryAppendError::Full(line));
        };
        room.forget();
        let pending = Pending { line, seq: 0, weight, reply: Reply::Nobody };
        self.shared().queue.push(pending).map_err(|back| TryAppendError::Unhealthy(LogError::Closed, back.line))
    }

    /// Whether the log can be written, and if not, why.
    ///
    /// # Errors
    /// The last error, in words for an operator.
    pub fn health(&self) -> Result<(), String> {
        if let Some(error) = self.shared().error() {
            return Err(error.to_string());
        }
        match self.shared().stalled() {
            Some(busy) => Err(format!("the disk has not answered for {busy:?}")),
            None => Ok(()),
        }
    }

    /// Something was refused because the log cannot be written: the note of the gap counts it.
    pub fn note_refused(&self) {
        self.shared().refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A strict append was waited for in vain: from here on nothing is forwarded until the disk answers.
    pub fn note_late(&self) {
        self.shared().late.store(true, Ordering::Relaxed);
    }

    /// How many records are durable: all with a lower `seq` stay.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.shared().durable.load(Ordering::Acquire)
    }

    /// How long a strict append is waited for.
    #[must_use]
    pub fn sync_timeout(&self) -> Duration {
        self.shared().sync_timeout
    }

    /// Puts the key that lies ready ([`super::prepare_key`]) in the place of this one; `None` where none does.
    ///
    /// # Errors
    /// The change is not on disk. Where the new key was introduced all the same, it takes its place once the disk answers.
    pub async fn take_key(&self) -> Result<Option<Verifier>, LogError> {
        let Some(next) = succession::ready(&self.dir) else { return Ok(None) };
        let line = Line::from(succession::record(&self.dir, &next)?);
        let weight = self.wait_for_room(&line).await?;
        let (reply, answer) = oneshot::channel();
        self.send(line, weight, Reply::Key(reply))?;
        answer.await.unwrap_or(Err(LogError::Closed))?;
        if Verifier::of(&self.dir)?.is_key(&next) {
            return Ok(Some(next));
        }
        Err(self.shared().error().unwrap_or(LogError::Closed))
    }

    /// Writes and syncs all that is queued, signs it, and ends the writer. Later appends get [`LogError::Closed`].
    pub async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        self.shared().queue.close(Some(reply));
        // A writer that is gone already has nothing left to write.
        let _ = answer.await;
    }

    async fn wait_for_room(&self, line: &Line) -> Result<u32, LogError> {
        let weight = weight(line, self.shared().room_max);
        let room = self.shared().room.acquire_many(weight).await.map_err(|_| LogError::Closed)?;
        room.forget();
        Ok(weight)
    }

    fn send(&self, line: Line, weight: u32, reply: Reply) -> Result<(), LogError> {
        let pending = Pending { line, seq: 0, weight, reply };
        self.shared().queue.push(pending).map_err(|_back| LogError::Closed)
    }

    fn shared(&self) -> &Shared {
        &self.handle.0
    }
}

/// Never more than the whole queue, so that one huge record goes alone.
fn weight(line: &Line, room_max: u32) -> u32 {
    u32::try_from(line.weight()).unwrap_or(u32::MAX).min(room_max)
}

pub(super) fn lock(dir: &std::path::Path) -> Result<fs::File, LogError> {
    let path = dir.join(LOCK);
    let file = create_private(&path).map_err(LogError::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(LogError::InUse { dir: dir.to_path_buf() }),
        Err(fs::TryLockError::Error(error)) => Err(LogError::io("lock", &path)(error)),
    }
}

#[cfg(test)]
mod tests;
