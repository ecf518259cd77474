//! The one thread that writes: drains the queue, writes a group once, syncs it once, answers it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::active::{CHECKPOINTS, Files, Position, read_back};
use super::checkpoint::Checkpoint;
use super::error::LogError;
use super::handle::{LOCK, Options, Shared};
use super::key::Signer;
use super::merkle::leaf_hash;
use super::open::{self, write_atomic};
use super::queue::{Gather, Pending, Reply};
use super::seal::Sealer;
use super::segment::{self, suffix};
use super::succession;
use super::unclosed::Unclosed;
use crate::clock::{Clock, monotonic};
use crate::ids::StatementId;
use crate::lineage::{Event, StatementRecord};

/// Asynchronous records are gathered for so long before they are written.
const GATHER: Duration = Duration::from_millis(10);
/// A broken log is tried again after this long, also when nobody appends.
const RETRY: Duration = Duration::from_millis(250);
/// A group waits for more strict records for at most this part of the time of a sync, and never longer than that.
const GATHER_SHARE: u32 = 3;
const GATHER_STRICT_MAX: Duration = Duration::from_millis(2);
/// The checkpoint file is cut down to its newest note when it is longer.
const CHECKPOINTS_MAX: u64 = 1 << 20;

/// The writer's state. `durable` is what a crash leaves; `tip` is that and what was written since.
pub(super) struct Writer {
    options: Options,
    clock: Clock,
    signer: Arc<Signer>,
    shared: Arc<Shared>,
    sealer: Sealer,
    /// The directory's lock, held open as long as the log is.
    lock: Option<fs::File>,
    unclosed: Unclosed,
    /// None while the log is broken.
    files: Option<Files>,
    durable: Position,
    tip: Position,
    /// Leaves of durable lines that are in the file of hashes.
    hashed: u64,
    /// Leaf hashes that are not in that file yet.
    leaves: Vec<u8>,
    /// Bytes of checkpoints in their file.
    checkpoints: u64,
    /// Written and not durable.
    pending: Vec<Pending>,
    /// The weight of those.
    waiting: u64,
    /// Taken while the log broke, and not written.
    backlog: Vec<Pending>,
    /// Strict records that were refused since the log broke.
    refused: u64,
    dirty_since: Option<Instant>,
    /// Strict records of late groups, and how long their sync took.
    gather: Gather,
    lines: Vec<u8>,
}

impl Writer {
    /// Brings the directory into order: the torn end off, a checkpoint over all that is there.
    pub(super) fn open(
        options: Options,
        clock: Clock,
        signer: Arc<Signer>,
        shared: Arc<Shared>,
        lock: fs::File,
    ) -> Result<Self, LogError> {
        let opened = open::open(&options.dir, &signer)?;
        let end = opened.position;
        let files = Files::open(&*options.disk, &options.dir, &end, end.tree.size())?;
        let sealer = Sealer::new(options.dir.clone(), Arc::clone(&signer));
        let mut writer = Self {
            clock,
            shared,
            sealer,
            lock: Some(lock),
            unclosed: Unclosed::default(),
            files: Some(files),
            hashed: end.tree.size(),
            tip: end.clone(),
            durable: end,
            leaves: Vec::new(),
            checkpoints: 0,
            pending: Vec::new(),
            waiting: 0,
            backlog: Vec::new(),
            refused: 0,
            dirty_since: None,
            gather: Gather { strict: 1, within: Duration::ZERO },
            lines: Vec::new(),
            signer,
            options,
        };
        writer.sealer.start(opened.unsealed);
        if opened.dropped > 0 {
            let text = format!("log opened: {} bytes of an unfinished write cut off", opened.dropped);
            writer.pending.push(own_record(text));
            writer.write_from(0)?;
        }
        // Also where nothing is new: what a crash left behind the last checkpoint must be durable before it is signed.
        writer.sync_lines()?;
        writer.restart_checkpoints()?;
        writer.append_evidence()?;
        writer.pending.clear();
        Ok(writer)
    }

    /// Takes over what an earlier process left open.
    pub(super) fn go_on_with(&mut self, unclosed: Unclosed) {
        self.unclosed = unclosed;
    }

    /// Serves until the log is closed or the last handle is gone. The lock goes with it.
    pub(super) fn run(mut self) {
        loop {
            let group = self.shared.queue.take(self.wake_at(), self.gather);
            self.shared.set_busy();
            self.commit(group.records);
            self.shared.set_idle();
            if group.is_last {
                break;
            }
        }
        if self.files.is_none() {
            self.try_recover();
        }
        if self.dirty_since.is_some() {
            self.sync_or_fail();
        }
        self.sealer.finish();
        let lost = self.backlog.len();
        if lost > 0 {
            tracing::error!(lost, "the log was closed while it could not be written");
        }
        if self.files.take().is_some() {
            self.mark();
        }
    }

    /// Not evidence, so that a log that cannot take the mark is none the worse: the next start reads more.
    fn mark(&self) {
        if let Err(error) = self.unclosed.mark(&self.options.dir, self.durable.number, &self.signer) {
            tracing::warn!(%error, "the log's mark could not be written; the next start reads more of the log");
        }
    }

    /// When to look without being woken: asynchronous records are gathered for a while, a broken log is tried again.
    fn wake_at(&self) -> Option<Instant> {
        let pause = match (&self.files, self.dirty_since) {
            (None, _) => RETRY,
            (Some(_), Some(_)) => GATHER.min(self.options.sync_interval),
            (Some(_), None) => return None,
        };
        monotonic().checked_add(pause)
    }

    /// Writes a group, and syncs it where somebody waits or it is time.
    fn commit(&mut self, group: Vec<Pending>) {
        if self.files.is_none() && !self.try_recover() {
            let error = self.shared.error().unwrap_or(LogError::Closed);
            self.refuse(group, &error);
            return;
        }
        let strict = group.iter().filter(|pending| pending.reply.is_strict()).count();
        let is_strict = strict > 0;
        if is_strict {
            self.gather.strict = strict.max(self.gather.strict - self.gather.strict.div_ceil(8)).max(1);
        }
        let first = self.pending.len();
        self.waiting += group.iter().map(|pending| u64::from(pending.weight)).sum::<u64>();
        self.pending.extend(group);
        if let Err(error) = self.write_from(first) {
            self.fail(&error);
            return;
        }
        let due = self.dirty_since.and_then(|since| since.checked_add(self.options.sync_interval));
        let is_due = due.is_some_and(|due| due <= monotonic());
        if is_strict || is_due || self.waiting > u64::from(self.shared.room_max) / 2 {
            self.sync_or_fail();
        }
    }

    /// Encodes and writes the pending records from `first` on.
    fn write_from(&mut self, first: usize) -> Result<(), LogError> {
        let Some(files) = self.files.as_mut() else { return Err(LogError::Closed) };
        self.lines.clear();
        let at = self.clock.now();
        let at_text = at.to_string();
        for pending in self.pending.iter_mut().skip(first) {
            pending.seq = self.tip.tree.size();
            let start = self.lines.len();
            pending.line.encode(pending.seq, at, &at_text, &mut self.lines);
            let leaf = leaf_hash(self.lines.get(start..).unwrap_or_default());
            self.lines.push(b'\n');
            self.leaves.extend_from_slice(&leaf);
            self.tip.tree.push(leaf);
        }
        if self.lines.is_empty() {
            return Ok(());
        }
        self.dirty_since.get_or_insert_with(monotonic);
        let path = segment::path(&self.options.dir, self.tip.number, suffix::PLAIN);
        files.lines.append(&self.lines).map_err(LogError::io("write", &path))?;
        self.tip.bytes += u64::try_from(self.lines.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn sync_or_fail(&mut self) {
        match self.sync_lines() {
            Ok(()) => self.settle(),
            Err(error) => self.fail(&error),
        }
    }

    /// What was written is durable from here on.
    fn sync_lines(&mut self) -> Result<(), LogError> {
        let Some(files) = self.files.as_mut() else { return Err(LogError::Closed) };
        let path = segment::path(&self.options.dir, self.tip.number, suffix::PLAIN);
        let since = monotonic();
        files.lines.sync().map_err(LogError::io("sync", &path))?;
        let took = monotonic().saturating_duration_since(since);
        self.gather.within = (took / GATHER_SHARE).min(GATHER_STRICT_MAX);
        self.durable = self.tip.clone();
        self.shared.set_durable(self.durable.tree.size());
        self.dirty_since = None;
        // A closing line without a record of its own closes what had no other line.
        for record in self.pending.iter().filter_map(|pending| pending.line.record()) {
            self.unclosed.note(record, self.durable.number);
        }
        Ok(())
    }

    /// Signs what is durable, then answers. Records are safe even where signing fails: the log breaks, they do not.
    fn settle(&mut self) {
        let changes = self.pending.iter().any(|pending| matches!(pending.reply, Reply::Key(_)));
        let signed = self.append_evidence().and_then(|()| self.rotate());
        let signed = if changes { signed.and_then(|()| self.change_key()) } else { signed };
        self.acknowledge();
        if let Err(error) = signed {
            self.fail(&error);
        }
    }

    /// The old key's last word names the key that lies ready.
    fn change_key(&mut self) -> Result<(), LogError> {
        let changed = succession::introduce(&self.options.dir, &self.signer, &self.durable.tree)?;
        if let Some(signer) = changed {
            self.sign_with(signer)?;
        }
        Ok(())
    }

    fn sign_with(&mut self, signer: Signer) -> Result<(), LogError> {
        self.signer = Arc::new(signer);
        self.sealer.sign_with(Arc::clone(&self.signer));
        self.restart_checkpoints()?;
        self.mark();
        Ok(())
    }

    fn acknowledge(&mut self) {
        self.waiting = 0;
        let pending = std::mem::take(&mut self.pending);
        // All their room at once: a lock for each of them is what costs.
        let room = pending.iter().map(|pending| usize::try_from(pending.weight).unwrap_or(0)).sum();
        self.shared.room.add_permits(room);
        for Pending { reply, seq, .. } in pending {
            reply.answer(Ok(seq));
        }
    }

    /// Leaf hashes and a checkpoint over the durable lines.
    fn append_evidence(&mut self) -> Result<(), LogError> {
        self.append_hashes()?;
        let Some(files) = self.files.as_mut() else { return Err(LogError::Closed) };
        let note = Checkpoint::sign(&self.signer, &self.durable.tree, Vec::new()).note;
        let checkpoints = self.options.dir.join(CHECKPOINTS);
        files.checkpoints.append(note.as_bytes()).map_err(LogError::io("write", &checkpoints))?;
        self.checkpoints += u64::try_from(note.len()).unwrap_or(u64::MAX);
        if self.checkpoints > CHECKPOINTS_MAX { self.restart_checkpoints() } else { Ok(()) }
    }

    fn append_hashes(&mut self) -> Result<(), LogError> {
        let Some(files) = self.files.as_mut() else { return Err(LogError::Closed) };
        let hashes = segment::path(&self.options.dir, self.durable.number, suffix::HASHES);
        files.hashes.append(&self.leaves).map_err(LogError::io("write", &hashes))?;
        self.leaves.clear();
        self.hashed = self.durable.tree.size();
        Ok(())
    }

    /// Leaves only one checkpoint in their file, over what is durable.
    fn restart_checkpoints(&mut self) -> Result<(), LogError> {
        let path: PathBuf = self.options.dir.join(CHECKPOINTS);
        let note = Checkpoint::sign(&self.signer, &self.durable.tree, Vec::new()).note;
        write_atomic(&path, note.as_bytes())?;
        self.checkpoints = u64::try_from(note.len()).unwrap_or(u64::MAX);
        if let Some(files) = self.files.as_mut() {
            files.checkpoints = self.options.disk.open(&path).map_err(LogError::io("open", &path))?;
        }
        Ok(())
    }

    /// Goes on in a new segment where this one is full.
    fn rotate(&mut self) -> Result<(), LogError> {
        if self.durable.bytes < self.options.segment_max { Ok(()) } else { self.start_segment() }
    }

    fn start_segment(&mut self) -> Result<(), LogError> {
        let next = self.durable.following();
        let files = Files::open(&*self.options.disk, &self.options.dir, &next, self.hashed)?;
        let path = segment::path(&self.options.dir, next.number, suffix::PLAIN);
        open::sync_parent(&path).map_err(LogError::io("sync", &self.options.dir))?;
        let full = std::mem::replace(&mut self.durable, next.clone());
        self.tip = next;
        self.files = Some(files);
        self.sealer.start(vec![full]);
        self.mark();
        Ok(())
    }

    /// The log breaks: back to what is durable. Who waits is told; what nobody waits for is kept.
    fn fail(&mut self, error: &LogError) {
        if self.shared.error().is_none() {
            tracing::error!(%error, "the log cannot be written");
        }
        self.files = None;
        self.dirty_since = None;
        self.waiting = 0;
        self.tip = self.durable.clone();
        let unhashed = (self.durable.tree.size() - self.hashed) * 32;
        self.leaves.truncate(usize::try_from(unhashed).unwrap_or(0));
        let pending = std::mem::take(&mut self.pending);
        self.refuse(pending, error);
    }

    /// What is kept gives its room back, so that who comes next is told instead of waiting: while the log is broken no
    /// asynchronous append is taken, so the backlog stays at what was under way.
    fn refuse(&mut self, group: Vec<Pending>, error: &LogError) {
        self.shared.set_health(Some(error.clone()));
        for mut pending in group {
            match pending.reply {
                Reply::Strict(_) | Reply::Key(_) => {
                    self.refused += 1;
                    self.give_back(pending.weight);
                    pending.reply.answer(Err(error.clone()));
                }
                Reply::Nobody => {
                    self.give_back(std::mem::take(&mut pending.weight));
                    self.backlog.push(pending);
                }
                Reply::Own => {}
            }
        }
    }

    /// Whether the log can be written again.
    fn try_recover(&mut self) -> bool {
        if let Err(error) = self.recover() {
            self.fail(&error);
            return false;
        }
        tracing::info!("the log can be written again");
        self.refused = 0;
        self.shared.set_health(None);
        true
    }

    /// Opens the files again at the durable end and writes what is kept, with a record of the gap.
    ///
    /// After a failed sync nobody knows which bytes of a file are on disk, and a second sync that succeeds says nothing of
    /// the first: so the segment is cut back to what was durable before, read back, and left; the next lines go to a new
    /// file.
    fn recover(&mut self) -> Result<(), LogError> {
        self.check_lock()?;
        if let Some(signer) = succession::introduced(&self.options.dir, &self.signer)? {
            // A change of keys was cut short: the old one signs nothing more.
            self.signer = Arc::new(signer);
            self.sealer.sign_with(Arc::clone(&self.signer));
        }
        let files = Files::open(&*self.options.disk, &self.options.dir, &self.durable, self.hashed)?;
        self.files = Some(files);
        if self.durable.bytes > 0 {
            read_back(&self.options.dir, &self.durable)?;
            self.append_hashes()?;
            self.start_segment()?;
        }
        let text = format!(
            "log gap: it could not be written; {} strict records were refused, {} others follow late, \
             {} statements were refused without a record",
            self.refused,
            self.backlog.len(),
            self.shared.refused.swap(0, Ordering::Relaxed)
        );
        self.pending = vec![own_record(text)];
        self.pending.append(&mut self.backlog);
        self.write_from(0)?;
        self.sync_lines()?;
        // Durable now, whatever becomes of the signatures: a second attempt must not write them again.
        self.acknowledge();
        self.restart_checkpoints()?;
        self.append_evidence()?;
        self.rotate()
    }

    /// The directory is still the one that was opened: nothing is written into one that was put in its place.
    fn check_lock(&self) -> Result<(), LogError> {
        let path = self.options.dir.join(LOCK);
        let failed = |doing| LogError::io(doing, &path);
        let Some(lock) = &self.lock else { return Err(LogError::Closed) };
        let (held, found) = (lock.metadata().map_err(failed("read"))?, fs::metadata(&path).map_err(failed("read"))?);
        if (held.dev(), held.ino()) == (found.dev(), found.ino()) {
            return Ok(());
        }
        let what = format!("{} was replaced while it was open", self.options.dir.display());
        Err(LogError::NotIntact { what })
    }

    fn give_back(&self, weight: u32) {
        self.shared.room.add_permits(usize::try_from(weight).unwrap_or(0));
    }
}

/// Also where the thread panics: nobody may wait for a writer that is gone.
impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.set_health(Some(LogError::Closed));
        self.shared.room.close();
        self.pending.clear();
        // Before anybody hears that the log is closed: who hears it may open it.
        self.lock = None;
        self.shared.queue.end();
    }
}

fn own_record(text: String) -> Pending {
    let mut record = StatementRecord::new(StatementId::new(), Event::System);
    record.text = text;
    Pending { line: record.into(), seq: 0, weight: 0, reply: Reply::Own }
}
