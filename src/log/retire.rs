//! Retention: the oldest sealed segments are removed; what they were stays signed.
//!
//! Of a removed segment its seal stays, which carries the tree's frontier at its end: so all behind it is verified and
//! proved as before. A signed note says what is gone, when and why, and a record in the log said so before. At least one
//! sealed segment is always kept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checkpoint::Checkpoint;
use super::error::LogError;
use super::key::{Signer, Verifier};
use super::legal::LegalHolds;
use super::open::{position_of, sync_parent, write_atomic};
use super::segment::{self, Lines, Segment, suffix};
use crate::clock::Timestamp;
use crate::ids::StatementId;
use crate::lineage::{self, Event, StatementRecord};

/// The suffix of the note.
const RETIRED: &str = "retired";

/// How long and how much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Records that are older are removed, once all of their segment are.
    pub age: Option<Duration>,
    /// Bytes of sealed segments on disk.
    pub size: Option<u64>,
}

/// A segment whose records were removed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Retired {
    /// The segment's number.
    pub segment: u32,
    /// Its first record.
    pub first: u64,
    /// The first record behind it.
    pub end: u64,
    /// When it was removed.
    pub at: String,
    /// Why.
    pub why: String,
}

/// A segment that is to be removed.
#[derive(Debug)]
pub struct Due {
    dir: PathBuf,
    seal: Checkpoint,
    retired: Retired,
}

impl Due {
    /// The oldest segment, where it is to be removed; `None` too where a legal hold keeps a record in it. Reads files.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn find(dir: &Path, retention: &Retention, now: Timestamp) -> Result<Option<Self>, LogError> {
        let segments = segment::list(dir).map_err(LogError::io("list", dir))?;
        let [oldest, next, ..] = segments.as_slice() else { return Ok(None) };
        if !oldest.sealed || !next.sealed {
            return Ok(None);
        }
        let Some(why) = reason(dir, &segments, next, (retention, now))? else { return Ok(None) };
        let path = segment::path(dir, oldest.number, suffix::SEAL);
        let note = fs::read_to_string(&path).map_err(LogError::io("read", &path))?;
        let seal = Checkpoint::parse(&note, &Verifier::of(dir)?);
        let Some((seal, end)) = seal.and_then(|seal| Some((seal.clone(), position_of(oldest.number, &seal)?))) else {
            return Err(LogError::NotIntact { what: format!("{} is no seal of this log", path.display()) });
        };
        if let Some(name) = held(dir, oldest, now)? {
            tracing::debug!(segment = oldest.number, name, "a legal hold keeps a segment that retention would remove");
            return Ok(None);
        }
        let retired = Retired { segment: oldest.number, first: end.first, end: seal.size, at: now.to_string(), why };
        Ok(Some(Self { dir: dir.to_path_buf(), seal, retired }))
    }

    /// The record that must be in the log before anything is removed.
    #[must_use]
    pub fn record(&self) -> StatementRecord {
        let Retired { segment, first, end, why, .. } = &self.retired;
        let mut record = StatementRecord::new(StatementId::new(), Event::System);
        record.command.push_str("retire");
        record.text =
            format!("retention removes records {first} to {} (segment {segment:08}): {why}", end.saturating_sub(1));
        record
    }

    /// Removes the segment. What a crash leaves half done the next call does again.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove(self) -> Result<Retired, LogError> {
        let Retired { segment, first, end, at, why } = &self.retired;
        let signer = Signer::open(&self.dir, "")?;
        let tree = position_of(*segment, &self.seal).map(|end| end.tree).unwrap_or_default();
        let said = vec![format!("{RETIRED} {segment:08} {first} {end} {at}"), format!("why {why}")];
        let note = Checkpoint::sign(&signer, &tree, said).note;
        write_atomic(&segment::path(&self.dir, *segment, RETIRED), note.as_bytes())?;
        // The hashes first: a segment without its lines must not look like one whose lines were taken.
        for suffix in [suffix::HASHES, suffix::SEALED] {
            let path = segment::path(&self.dir, *segment, suffix);
            match fs::remove_file(&path).and_then(|()| sync_parent(&path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LogError::io("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(self.retired)
    }
}

/// What the log signed about a segment that is gone.
pub(super) fn retired(dir: &Path, number: u32, verifier: &Verifier) -> Option<Retired> {
    let note = fs::read_to_string(segment::path(dir, number, RETIRED)).ok()?;
    let note = Checkpoint::parse(&note, verifier)?;
    let mut words = note.extension(RETIRED)?;
    let segment = words.next()?.parse().ok().filter(|found| *found == number)?;
    let (first, end, at) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.to_owned());
    let why = note.extension("why")?.collect::<Vec<_>>().join(" ");
    (end == note.size).then_some(Retired { segment, first, end, at, why })
}

fn reason(
    dir: &Path,
    segments: &[Segment],
    next: &Segment,
    (retention, now): (&Retention, Timestamp),
) -> Result<Option<String>, LogError> {
    if let Some(age) = retention.age {
        // What stands in the next segment was written later than all of this one.
        let first = first_record(next)?;
        if first.is_some_and(|first| now.since(first.at) > age) {
            return Ok(Some(format!("older than {} s", age.as_secs())));
        }
    }
    let Some(most) = retention.size else { return Ok(None) };
    let bytes = |segment: &Segment| {
        [suffix::SEALED, suffix::HASHES, suffix::SEAL]
            .iter()
            .map(|suffix| fs::metadata(segment::path(dir, segment.number, suffix)).map_or(0, |found| found.len()))
            .sum::<u64>()
    };
    let all: u64 = segments.iter().filter(|segment| segment.sealed).map(bytes).sum();
    Ok((all > most).then(|| format!("sealed segments take {all} bytes, {most} are kept")))
}

fn first_record(segment: &Segment) -> Result<Option<StatementRecord>, LogError> {
    let mut lines = Lines::open(segment).map_err(LogError::io("open", &segment.path))?;
    let line = lines.next().map_err(LogError::io("read", &segment.path))?;
    Ok(line.and_then(|line| lineage::decode_line(line).ok()))
}

/// The legal hold that keeps a record of the segment.
fn held(dir: &Path, segment: &Segment, now: Timestamp) -> Result<Option<String>, LogError> {
    let holds = LegalHolds::open(dir)?.in_force(now);
    if holds.is_empty() {
        return Ok(None);
    }
    let mut lines = Lines::open(segment).map_err(LogError::io("open", &segment.path))?;
    while let Some(line) = lines.next().map_err(LogError::io("read", &segment.path))? {
        // What cannot be read cannot be cleared either.
        let record = lineage::decode_line(line).ok();
        let keeps = |filters: &lineage::Filters| record.as_ref().is_none_or(|record| filters.matches(record));
        if let Some((name, _)) = holds.iter().find(|(_, filters)| keeps(filters)) {
            return Ok(Some(name.clone()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::log::{Log, Options, Proofs, VerifyOptions, query, verify};

    fn options(dir: &Path) -> Options {
        Options { segment_max: 1500, ..Options::new(dir) }
    }

    async fn append(dir: &Path, count: u64) {
        let log = Log::open(options(dir), Clock::System).unwrap();
        for number in 0..count {
            let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
            record.text = format!("SELECT {number}");
            log.append_strict(record).await.unwrap();
        }
        log.close().await;
    }

    async fn retire_all(dir: &Path, retention: &Retention, now: Timestamp) -> Vec<Retired> {
        let log = Log::open(options(dir), Clock::System).unwrap();
        let mut gone = Vec::new();
        while let Some(due) = Due::find(dir, retention, now).unwrap() {
            log.append_strict(due.record()).await.unwrap();
            gone.push(due.remove().unwrap());
        }
        log.close().await;
        gone
    }

    #[tokio::test]
    async fn what_is_too_old_goes_and_all_that_is_left_is_verified_and_proved() {
        let dir = tempfile::tempdir().unwrap();
        append(dir.path(), 60).await;
        let before = Proofs::open(dir.path()).unwrap().unwrap();
        let later = Clock::System.now().after(Duration::from_hours(48));
        let none = Retention { age: Some(Duration::from_hours(72)), size: None };
        assert_eq!(retire_all(dir.path(), &none, later).await, []);
        let day = Retention { age: Some(Duration::from_hours(24)), size: None };
        let gone = retire_all(dir.path(), &day, later).await;
        assert!(gone.len() > 3, "{gone:?}");
        append(dir.path(), 10).await;

        let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
        assert_eq!((report.problems.as_slice(), report.retired.len()), (&[][..], gone.len()));
        assert!(report.retired[0].why.starts_with("older than"), "{:?}", report.retired);
        let end = gone.last().unwrap().end;
        let proofs = Proofs::open(dir.path()).unwrap().unwrap();
        assert!(proofs.inclusion(end).unwrap().is_some() && proofs.inclusion(end - 1).unwrap().is_none());
        let consistent = proofs.consistency(before.checkpoint().size).unwrap().unwrap();
        assert_eq!(consistent.old_size, before.checkpoint().size);
        let told =
            query(dir.path(), &lineage::Filters { text: Some("retention removes".into()), ..Default::default() });
        assert_eq!(told.unwrap().count(), gone.len());
    }

    #[tokio::test]
    async fn a_removal_that_is_under_way_is_a_removal() {
        let dir = tempfile::tempdir().unwrap();
        append(dir.path(), 60).await;
        let parts = [suffix::HASHES, suffix::SEALED];
        let files = parts.map(|suffix| segment::path(dir.path(), 0, suffix));
        let texts = files.clone().map(|file| fs::read(file).unwrap());
        let later = Clock::System.now().after(Duration::from_hours(48));
        let due = Due::find(dir.path(), &Retention { age: Some(Duration::ZERO), size: None }, later).unwrap();
        due.unwrap().remove().unwrap();
        let is_found_removed = |expected: usize| {
            let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
            assert_eq!((report.problems.as_slice(), report.retired.len()), (&[][..], expected));
        };
        is_found_removed(1);
        // Back in time: its lines are still there, then its hashes too, and nothing is removed yet.
        fs::write(&files[1], &texts[1]).unwrap();
        is_found_removed(1);
        fs::write(&files[0], &texts[0]).unwrap();
        is_found_removed(0);
    }

    #[tokio::test]
    async fn a_segment_that_is_removed_by_hand_is_missing_whatever_note_another_has() {
        let dir = tempfile::tempdir().unwrap();
        append(dir.path(), 60).await;
        let later = Clock::System.now().after(Duration::from_hours(48));
        let due = Due::find(dir.path(), &Retention { age: Some(Duration::ZERO), size: None }, later).unwrap();
        due.unwrap().remove().unwrap();
        let note = fs::read(segment::path(dir.path(), 0, RETIRED)).unwrap();
        fs::write(segment::path(dir.path(), 1, RETIRED), note).unwrap();
        fs::remove_file(segment::path(dir.path(), 1, suffix::SEALED)).unwrap();
        let report = verify(dir.path(), &VerifyOptions::default()).unwrap();
        let missing = crate::log::Tamper::SegmentMissing;
        assert_eq!(report.problems.iter().map(|it| it.tamper).collect::<Vec<_>>(), [missing]);
        assert!(matches!(Log::open(options(dir.path()), Clock::System), Err(LogError::NotIntact { .. })));
    }

    #[tokio::test]
    async fn what_a_legal_hold_names_stays_until_it_is_lifted() {
        let dir = tempfile::tempdir().unwrap();
        append(dir.path(), 60).await;
        let now = Clock::System.now().after(Duration::from_hours(48));
        let all = Retention { age: None, size: Some(0) };
        let mut holds = LegalHolds::open(dir.path()).unwrap();
        holds.set("case-7", vec![("text".into(), "select 25".into())], ("ann", "a court asked"), now).unwrap();
        drop(holds);
        let gone = retire_all(dir.path(), &all, now).await;
        let kept = gone.last().map_or(0, |gone| gone.end);
        assert!(0 < kept && kept <= 25, "{gone:?}");
        LegalHolds::open(dir.path()).unwrap().lift("case-7", ("ann", "closed"), now).unwrap();
        assert!(retire_all(dir.path(), &all, now).await.last().unwrap().end > 25);
        assert!(verify(dir.path(), &VerifyOptions::default()).unwrap().is_intact());
    }
}
