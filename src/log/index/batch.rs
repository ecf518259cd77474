//! What is added in one transaction: values, sets and marks of some thousand records.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::{OptionalExtension as _, Transaction};

use super::Place;
use super::file::stored;
use super::postings::{extended, split};
use crate::clock::Timestamp;
use crate::lineage::{Field, Likeness, StatementRecord, decode_line, terms};

/// Records between two marks: as many must be read to come to one.
const MARK_EVERY: u64 = 64;
/// Ids of values that are remembered.
const IDS_MAX: usize = 1 << 17;

/// Ids of values that were met lately.
#[derive(Default)]
pub(super) struct Ids(HashMap<(Field, String), i64>);

/// Lines that are remembered by what they share with their like, and the most bytes of that.
const ALIKE_MAX: usize = 1 << 12;
const SHARED_MAX: usize = 1 << 12;

/// Records that are to be added.
#[derive(Default)]
pub(super) struct Batch {
    /// The number of each value's set.
    values: HashMap<(Field, String), usize, RandomState>,
    sets: Vec<Vec<u64>>,
    /// The sets of lines that were met, by what such lines share: most statements are repetitions.
    alike: HashMap<Box<[u8]>, Box<[usize]>, RandomState>,
    marks: Vec<Mark>,
    records: u64,
}

struct Mark {
    seq: u64,
    place: Place,
    oldest: i64,
    newest: i64,
    records: u64,
}

impl Batch {
    /// Notes the record of a line, which begins at `place`. False: it is no record.
    pub(super) fn add(&mut self, line: &[u8], place: Place) -> bool {
        let likeness = Likeness::of(line).filter(|likeness| likeness.shared.len() <= SHARED_MAX);
        if let Some(Likeness { seq, at, shared }) = likeness
            && let Some(sets) = self.alike.get(shared)
        {
            put(&mut self.sets, sets, seq);
            self.mark((seq, at), place);
            return true;
        }
        let Ok(record) = decode_line(line) else { return false };
        let sets = self.sets_of(&record);
        put(&mut self.sets, &sets, record.seq);
        self.mark((record.seq, record.at), place);
        if let Some(likeness) = likeness {
            if self.alike.len() >= ALIKE_MAX {
                self.alike.clear();
            }
            self.alike.insert(likeness.shared.into(), sets);
        }
        true
    }

    /// The sets that a record is in, each once.
    fn sets_of(&mut self, record: &StatementRecord) -> Box<[usize]> {
        let mut sets: Vec<usize> = terms(record)
            .into_iter()
            .map(|term| {
                let new = self.sets.len();
                let set = *self.values.entry(term).or_insert(new);
                if set == new {
                    self.sets.push(Vec::new());
                }
                set
            })
            .collect();
        sets.sort_unstable();
        sets.dedup();
        sets.into()
    }

    fn mark(&mut self, (seq, at): (u64, Timestamp), place: Place) {
        let at = at.as_micros();
        match self.marks.last_mut().filter(|mark| mark.place.segment == place.segment && mark.records < MARK_EVERY) {
            Some(mark) => {
                (mark.oldest, mark.newest) = (mark.oldest.min(at), mark.newest.max(at));
                mark.records = seq.saturating_sub(mark.seq) + 1;
            }
            None => self.marks.push(Mark { seq, place, oldest: at, newest: at, records: 1 }),
        }
        self.records += 1;
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Writes all of it.
    pub(super) fn write(mut self, to: &Transaction<'_>, ids: &mut Ids) -> rusqlite::Result<()> {
        if ids.0.len() > IDS_MAX {
            ids.0.clear();
        }
        let mut by_id = Vec::with_capacity(self.sets.len());
        for (term, set) in self.values {
            let seqs = self.sets.get_mut(set).map(std::mem::take).unwrap_or_default();
            by_id.push((ids.of(to, term)?, seqs));
        }
        // In the order of the table, so that pages are written once.
        by_id.sort_unstable_by_key(|(id, _)| *id);
        let mut found = to.prepare_cached("SELECT seqs FROM posting WHERE value = ?1 AND chunk = ?2")?;
        let mut put = to.prepare_cached("INSERT OR REPLACE INTO posting VALUES (?1, ?2, ?3)")?;
        for (id, seqs) in by_id {
            for run in seqs.chunk_by(|left, right| split(*left).0 == split(*right).0) {
                let Some(chunk) = run.first().map(|seq| stored(split(*seq).0)) else { continue };
                let before: Option<Vec<u8>> = found.query_row((id, chunk), |row| row.get(0)).optional()?;
                let places: Vec<u16> = run.iter().map(|seq| split(*seq).1).collect();
                put.execute((id, chunk, extended(&before.unwrap_or_default(), &places)))?;
            }
        }
        let mut mark = to.prepare_cached("INSERT OR REPLACE INTO mark VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
        for Mark { seq, place, oldest, newest, records } in self.marks {
            let at = (stored(seq), place.segment, stored(place.line), stored(place.offset));
            mark.execute((at.0, at.1, at.2, at.3, oldest, newest, stored(records)))?;
        }
        Ok(())
    }
}

fn put(all: &mut [Vec<u64>], sets: &[usize], seq: u64) {
    for set in sets {
        if let Some(set) = all.get_mut(*set) {
            set.push(seq);
        }
    }
}

impl Ids {
    fn of(&mut self, file: &Transaction<'_>, term: (Field, String)) -> rusqlite::Result<i64> {
        if let Some(id) = self.0.get(&term) {
            return Ok(*id);
        }
        let (field, text) = (term.0.number(), &term.1);
        let found = file
            .prepare_cached("SELECT id FROM value WHERE field = ?1 AND text = ?2")?
            .query_row((field, text), |row| row.get(0))
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => file.prepare_cached("INSERT INTO value (field, text) VALUES (?1, ?2)")?.insert((field, text))?,
        };
        self.0.insert(term, id);
        Ok(id)
    }
}
