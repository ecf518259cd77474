//! One query over the index: candidates chunk by chunk, read from the log where they stand.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension as _};

use super::file::{self, number, stored};
use super::postings::{CHUNK, Set};
use super::{Index, IndexError, first_place};
use crate::lineage::{self, Filters, StatementRecord, Want};
use crate::log::error::LogError;
use crate::log::read::{Place, Records};

/// A reader reads on, instead of looking for a place anew, over so many records.
const READ_ON: u64 = 1024;

/// A query that is under way.
pub(in crate::log) struct Search {
    file: Connection,
    filters: Filters,
    /// Ids of the values that meet each want; a record is in one of the sets of each.
    wants: Vec<Vec<i64>>,
    /// Numbers of records that may have been written at the wanted time, ascending.
    times: Vec<Range<u64>>,
    chunks: Range<u64>,
    ready: VecDeque<u64>,
    reader: Reader,
    /// Behind the last record that the index knows.
    end: Place,
}

impl Search {
    /// Looks up what the filters ask for.
    pub(in crate::log) fn new(index: Index, filters: &Filters) -> Result<Self, IndexError> {
        if !index.is_of_this_log()? {
            return Err(IndexError::Astray);
        }
        let Index { file, dir, .. } = index;
        let stand = file::stand(&file)?;
        let wants = filters.wants().iter().map(|want| values(&file, want)).collect::<Result<_, _>>()?;
        let kept = first_place(&dir)?;
        let times = times(&file, filters, kept.segment)?;
        let last = times.last().map_or(0, |range| range.end.div_ceil(CHUNK));
        let chunks = times.first().map_or(0, |range| range.start / CHUNK)..last;
        let reader = Reader { dir, records: None, next: 0 };
        let filters = filters.clone();
        Ok(Self { file, filters, wants, times, chunks, ready: VecDeque::new(), reader, end: stand.place })
    }

    /// Where to read on for what the index does not know.
    pub(in crate::log) const fn end(&self) -> Place {
        self.end
    }

    /// The next record that matches, the oldest first.
    pub(in crate::log) fn next(&mut self) -> Result<Option<StatementRecord>, IndexError> {
        loop {
            while let Some(seq) = self.ready.pop_front() {
                if let Some(record) = self.reader.get(&self.file, seq, &self.filters)? {
                    return Ok(Some(record));
                }
            }
            let Some(chunk) = self.chunks.next() else { return Ok(None) };
            self.ready = self.candidates(chunk)?.into();
        }
    }

    /// The newest records that match, at most `limit`, the oldest of them first.
    pub(in crate::log) fn newest(&mut self, limit: usize) -> Result<VecDeque<StatementRecord>, IndexError> {
        let mut found = VecDeque::new();
        while found.len() < limit {
            let Some(chunk) = self.chunks.next_back() else { break };
            let mut left = self.candidates(chunk)?;
            while found.len() < limit && !left.is_empty() {
                // As many as are missing, in the order in which they stand in the log.
                let some = left.split_off(left.len().saturating_sub(limit - found.len()));
                let mut records = Vec::with_capacity(some.len());
                for seq in some {
                    records.extend(self.reader.get(&self.file, seq, &self.filters)?);
                }
                records.into_iter().rev().for_each(|record| found.push_front(record));
            }
        }
        Ok(found)
    }

    fn candidates(&self, chunk: u64) -> Result<Vec<u64>, IndexError> {
        let mut set = Set::default();
        let base = chunk * CHUNK;
        for range in self.times.iter().filter(|range| range.start < base + CHUNK && range.end > base) {
            set.add_range(range.start.saturating_sub(base), range.end - base);
        }
        let mut rows = self.file.prepare_cached("SELECT seqs FROM posting WHERE value = ?1 AND chunk = ?2")?;
        for ids in &self.wants {
            let mut any = Set::default();
            for id in ids {
                let stored: Option<Vec<u8>> = rows.query_row((id, stored(chunk)), |row| row.get(0)).optional()?;
                any.add_stored(&stored.unwrap_or_default());
            }
            set.retain(&any);
            if set.is_empty() {
                break;
            }
        }
        Ok(set.seqs(chunk))
    }
}

/// The values that meet a want.
fn values(file: &Connection, want: &Want) -> rusqlite::Result<Vec<i64>> {
    let field = want.field.number();
    if let Some(text) = want.exact() {
        let mut found = file.prepare_cached("SELECT id FROM value WHERE field = ?1 AND text = ?2")?;
        return found.query_map((field, text), |row| row.get(0))?.collect();
    }
    let mut found = file.prepare_cached("SELECT id, text FROM value WHERE field = ?1")?;
    let mut rows = found.query([field])?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        if row.get_ref(1)?.as_str().is_ok_and(|text| want.matches(text)) {
            ids.push(row.get(0)?);
        }
    }
    Ok(ids)
}

/// The records between marks in whose time some of the wanted time lies, of the segments that are left.
fn times(file: &Connection, filters: &Filters, first_segment: u32) -> rusqlite::Result<Vec<Range<u64>>> {
    let micros = |moment: Option<lineage::Moment>, none| match moment {
        Some(moment) => moment.at().map_or(i64::MAX, crate::clock::Timestamp::as_micros),
        None => none,
    };
    let (since, until) = (micros(filters.since, i64::MIN), micros(filters.until, i64::MAX));
    let cursor = filters.cursor.map_or(i64::MAX, stored);
    let mut found = file.prepare_cached(
        "SELECT seq, records FROM mark WHERE segment >= ?1 AND newest >= ?2 AND oldest < ?3 AND seq < ?4 ORDER BY seq",
    )?;
    let mut rows = found.query((first_segment, since, until, cursor))?;
    let mut ranges: Vec<Range<u64>> = Vec::new();
    while let Some(row) = rows.next()? {
        let (seq, end) = (number(row.get(0)?), number(row.get(0)?) + number(row.get(1)?));
        match ranges.last_mut().filter(|last| last.end == seq) {
            Some(last) => last.end = end,
            None => ranges.push(seq..end),
        }
    }
    Ok(ranges)
}

/// Reads records by their numbers; quickly where those ascend.
struct Reader {
    dir: PathBuf,
    records: Option<Records>,
    /// The number of the record that the reader gives next.
    next: u64,
}

impl Reader {
    /// The record, where it matches.
    fn get(&mut self, file: &Connection, seq: u64, filters: &Filters) -> Result<Option<StatementRecord>, IndexError> {
        if self.records.is_none() || seq < self.next || seq - self.next > READ_ON {
            self.find(file, seq)?;
        }
        let Some(records) = self.records.as_mut() else { return Err(IndexError::Astray) };
        let mut line = None;
        while self.next <= seq {
            line = records.next_line()?;
            self.next += 1;
        }
        let Some(line) = line else { return Err(IndexError::Astray) };
        let record = lineage::decode_line(&line)
            .map_err(|error| LogError::NotIntact { what: format!("the line of record {seq} is no record: {error}") })?;
        if record.seq != seq {
            return Err(IndexError::Astray);
        }
        Ok(filters.matches(&record).then_some(record))
    }

    fn find(&mut self, file: &Connection, seq: u64) -> Result<(), IndexError> {
        let mut mark = file
            .prepare_cached("SELECT seq, segment, line, place FROM mark WHERE seq <= ?1 ORDER BY seq DESC LIMIT 1")?;
        let (first, place) = mark.query_row([stored(seq)], |row| {
            let place = Place { segment: row.get(1)?, line: number(row.get(2)?), offset: number(row.get(3)?) };
            Ok((number(row.get(0)?), place))
        })?;
        self.records = Some(Records::behind(&self.dir, place));
        self.next = first;
        Ok(())
    }
}
