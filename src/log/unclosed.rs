//! Statements whose opening line is in the log and whose closing line is not, and from where on they are looked for.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checkpoint::Checkpoint;
use super::error::LogError;
use super::key::{Signer, Verifier};
use super::merkle::Tree;
use super::open::write_atomic;
use super::segment::{self, Lines, Segment};
use crate::clock::Timestamp;
use crate::ids::{HoldId, StatementId};
use crate::lineage::{self, Event, Outcome, StatementRecord};

/// The file that names the first segment in which an opening line can stand that has no closing line. Not evidence: where
/// it is missing or was edited, all segments are looked through.
const MARK: &str = "unclosed";

/// Ids are made a moment before the line that carries them, and clocks are set now and then.
const CLOCK_MARGIN: Duration = Duration::from_secs(2);

/// What the writer knows of open statements: each with the segment in which it was opened first.
#[derive(Debug, Default)]
pub(super) struct Unclosed(HashMap<StatementId, u32>);

impl Unclosed {
    /// A line of the segment is durable.
    pub(super) fn note(&mut self, record: &StatementRecord, segment: u32) {
        match record.event {
            Event::Closed => drop(self.0.remove(&record.id)),
            Event::Started | Event::Held | Event::Released | Event::Paused => {
                self.0.entry(record.id).or_insert(segment);
            }
            Event::Decided | Event::Operator | Event::System => {}
        }
    }

    /// Leaves the mark: nothing before it is open. `next`: the segment that is written from now on.
    pub(super) fn mark(&self, dir: &Path, next: u32, signer: &Signer) -> Result<(), LogError> {
        let lowest = self.0.values().copied().min().unwrap_or(next).min(next);
        let note = Checkpoint::sign(signer, &Tree::default(), vec![format!("{MARK} {lowest}")]).note;
        write_atomic(&dir.join(MARK), note.as_bytes())
    }
}

/// One step of a hold: no two lines of a log are the same one.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Step {
    id: StatementId,
    event: Event,
    hold: HoldId,
    /// Who answered, and what.
    answer: Option<(String, String)>,
}

impl Step {
    fn of(record: &StatementRecord) -> Option<Self> {
        let hold = record.hold.clone()?;
        let answer = record.approval.as_ref().map(|approval| (approval.by.clone(), approval.verdict.clone()));
        Some(Self { id: record.id, event: record.event, hold, answer })
    }
}

/// What the end of the log says of the statements of an earlier process.
#[derive(Debug, Default)]
pub struct Leftovers {
    dir: PathBuf,
    /// Opened and not closed, with the newest line of each.
    open: HashMap<StatementId, StatementRecord>,
    /// Closed, of those with a hold.
    closed: HashSet<StatementId>,
    steps: HashSet<Step>,
    /// The segments before this one were not read.
    from: u32,
    /// When the oldest line that was read was written.
    since: Option<Timestamp>,
}

impl Leftovers {
    /// Reads from the mark to the end.
    pub(super) fn read(dir: &Path, verifier: &Verifier) -> Result<Self, LogError> {
        let segments = segment::list(dir).map_err(LogError::io("read", dir))?;
        let mark = marked(dir, verifier).unwrap_or(0);
        let mut leftovers = Self { dir: dir.to_path_buf(), from: u32::MAX, ..Self::default() };
        for segment in segments.iter().filter(|segment| segment.number >= mark) {
            leftovers.scan(segment, Self::follow)?;
        }
        Ok(leftovers)
    }

    /// What the writer goes on with.
    pub(super) fn unclosed(&self) -> Unclosed {
        Unclosed(self.open.keys().map(|id| (*id, self.from)).collect())
    }

    /// Whether the log has this step of a hold already. Looks further back where the step can be older than what was
    /// read.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn has(&mut self, record: &StatementRecord) -> Result<bool, LogError> {
        if self.knows(record) {
            return Ok(true);
        }
        if self.open.contains_key(&record.id) && record.event == Event::Closed {
            return Ok(false);
        }
        self.reach_back(record.id)?;
        Ok(self.knows(record))
    }

    /// A line was written since.
    pub fn follow(&mut self, record: StatementRecord) {
        self.remember(&record);
        match record.event {
            Event::Closed => drop(self.open.remove(&record.id)),
            Event::Started | Event::Held | Event::Released | Event::Paused => drop(self.open.insert(record.id, record)),
            Event::Decided | Event::Operator | Event::System => {}
        }
    }

    /// The closing lines that are missing, in the order of the openings. What waited for a person and was not released
    /// never reached the server; of everything else nobody knows.
    #[must_use]
    pub fn closings(&self) -> Vec<StatementRecord> {
        let mut open: Vec<_> = self.open.values().collect();
        open.sort_by_key(|record| record.seq);
        open.into_iter().map(closing).collect()
    }

    fn knows(&self, record: &StatementRecord) -> bool {
        match record.event {
            Event::Closed => self.closed.contains(&record.id),
            _ => Step::of(record).is_some_and(|step| self.steps.contains(&step)),
        }
    }

    fn remember(&mut self, record: &StatementRecord) {
        let Some(step) = Step::of(record) else { return };
        if record.event == Event::Closed {
            self.closed.insert(record.id);
        }
        self.steps.insert(step);
    }

    /// Reads earlier segments, as far as they can hold lines of this statement.
    fn reach_back(&mut self, id: StatementId) -> Result<(), LogError> {
        let Some(begun) = begun(id) else { return Ok(()) };
        let segments = segment::list(&self.dir).map_err(LogError::io("read", &self.dir))?;
        let from = self.from;
        for segment in segments.iter().rev().filter(|segment| segment.number < from) {
            if self.since.is_some_and(|since| since < begun) {
                break;
            }
            self.since = None;
            self.scan(segment, |leftovers, record| leftovers.remember(&record))?;
        }
        Ok(())
    }

    fn scan(&mut self, segment: &Segment, each: fn(&mut Self, StatementRecord)) -> Result<(), LogError> {
        let mut lines = Lines::open(segment).map_err(LogError::io("open", &segment.path))?;
        while let Some(line) = lines.next().map_err(LogError::io("read", &segment.path))? {
            let record = lineage::decode_line(line).map_err(|error| LogError::NotIntact {
                what: format!("{} holds a line that is no record: {error}", segment.path.display()),
            })?;
            self.since.get_or_insert(record.at);
            each(self, record);
        }
        self.from = self.from.min(segment.number);
        Ok(())
    }
}

fn marked(dir: &Path, verifier: &Verifier) -> Option<u32> {
    let note = fs::read_to_string(dir.join(MARK)).ok()?;
    Checkpoint::parse(&note, verifier)?.extension(MARK)?.next()?.parse().ok()
}

/// When a statement was judged, less a margin: the time in its id (RFC 9562, 5.7).
fn begun(id: StatementId) -> Option<Timestamp> {
    let (seconds, nanos) = id.uuid().get_timestamp()?.to_unix();
    let since_epoch = Duration::new(seconds, nanos).saturating_sub(CLOCK_MARGIN);
    i64::try_from(since_epoch.as_micros()).ok().map(Timestamp::from_micros)
}

/// The closing line of a statement that was opened, and of which nothing more is known.
#[must_use]
pub fn closing(opening: &StatementRecord) -> StatementRecord {
    let withheld = opening.event == Event::Held;
    let mut record = opening.following(Event::Closed);
    record.outcome = Some(if withheld { Outcome::Withdrawn } else { Outcome::Unknown });
    record
}

#[cfg(test)]
mod tests;
