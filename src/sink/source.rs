//! The records of the log from a place on, as events; never more than what is durable.

use std::path::PathBuf;

use serde_json::Value;

use crate::lineage::openlineage;
use crate::log::{self, Log, LogError, Records};

/// Records that are looked at in one go: most are passed over where only few are events.
const LOOK_MAX: usize = 4096;

/// Where a sink reads.
pub(super) struct Source {
    log: Log,
    dir: PathBuf,
    /// The record that is read next.
    next: u64,
    records: Option<Records>,
}

/// Some events with the `seq` of their records.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) events: Vec<(u64, Value)>,
    /// The first record behind it.
    pub(super) next: u64,
    /// Records that are durable.
    pub(super) durable: u64,
}

impl Source {
    pub(super) fn new(log: Log, dir: PathBuf, next: u64) -> Self {
        Self { log, dir, next, records: None }
    }

    pub(super) fn durable(&self) -> u64 {
        self.log.durable()
    }

    /// The next events, at most `most`. Reads files.
    pub(super) fn take(&mut self, most: usize) -> Result<Batch, LogError> {
        let durable = self.log.durable();
        let mut events = Vec::new();
        for _ in 0..LOOK_MAX {
            if self.next >= durable || events.len() >= most {
                break;
            }
            let records = match &mut self.records {
                Some(records) => records,
                None => self.records.insert(log::read_from(&self.dir, self.next)?),
            };
            let Some(record) = records.next() else {
                // Cut back and written anew behind this place, or not visible yet.
                self.records = None;
                break;
            };
            let record = record.inspect_err(|_| self.records = None)?;
            if record.seq < self.next {
                continue;
            }
            if record.seq > self.next {
                tracing::warn!(
                    from = self.next,
                    to = record.seq,
                    "records that a sink had not sent are gone from the log"
                );
            }
            self.next = record.seq + 1;
            events.extend(openlineage::render(&record).map(|event| (record.seq, event)));
        }
        Ok(Batch { events, next: self.next, durable })
    }
}
