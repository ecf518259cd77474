//! A line on its way to the log: a whole record, or the end of an ordinary statement, whose line is mostly written already.

use std::sync::Arc;

use super::encode::{decode_line, encode_line};
use super::{Event, LINE_MAX, Outcome, RECORD_VERSION, StatementRecord};
use crate::clock::Timestamp;
use crate::ids::StatementId;

/// A line without its number and its time.
#[derive(Clone, Debug)]
pub enum Line {
    /// Any record.
    Record(Box<StatementRecord>),
    /// The closing line of a statement that had no other line.
    Closing(Box<Closing>),
}

/// How a statement ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The outcome.
    pub outcome: Outcome,
    /// The SQLSTATE that the client got.
    pub sqlstate: Option<String>,
    /// Rows that went to the client, or that the command tag counts.
    pub rows: Option<u64>,
    /// Bytes of rows that went to the client.
    pub bytes: Option<u64>,
    /// From the judgement to the end, microseconds.
    pub duration_us: u64,
}

impl Ending {
    /// Fills in the fields of a record.
    pub fn apply(self, record: &mut StatementRecord) {
        record.outcome = Some(self.outcome);
        record.sqlstate = self.sqlstate;
        record.rows = self.rows;
        record.bytes = self.bytes;
        record.duration_us = Some(self.duration_us);
    }
}

/// The closing line of an ordinary statement, in two parts: what is its own, and what it shares with its like.
#[derive(Clone, Debug)]
pub struct Closing {
    /// The run of the statement.
    pub id: StatementId,
    /// How it ended.
    pub ending: Ending,
    /// The rest.
    pub sheet: Arc<Sheet>,
}

/// What the closing lines of one statement in one session have in common, as JSON: everything between `event` and
/// `hold`. Most of a line is this, and it is written once.
#[derive(Debug, PartialEq, Eq)]
pub struct Sheet(Box<[u8]>);

impl Sheet {
    /// The part of this record that its like share; `None` where it has a hold or is too long for that.
    #[must_use]
    pub fn of(record: &StatementRecord) -> Option<Self> {
        if record.hold.is_some() || record.approval.is_some() || record.event != Event::Closed {
            return None;
        }
        let mut plain = record.clone();
        (plain.outcome, plain.sqlstate) = (None, None);
        (plain.rows, plain.bytes, plain.duration_us) = (None, None, None);
        let mut line = Vec::new();
        encode_line(&plain, &mut line);
        let mut beginning = Vec::new();
        begin(&mut beginning, plain.seq, plain.id, &plain.at.to_string());
        let shared = line.strip_prefix(beginning.as_slice())?.strip_suffix(b"}")?;
        (shared.len() < LINE_MAX / 2).then(|| Self(shared.into()))
    }
}

impl Closing {
    fn encode(&self, seq: u64, at: &str, line: &mut Vec<u8>) {
        begin(line, seq, self.id, at);
        line.extend_from_slice(&self.sheet.0);
        let ending = &self.ending;
        line.extend_from_slice(b",\"outcome\":\"");
        line.extend_from_slice(ending.outcome.as_str().as_bytes());
        line.push(b'"');
        if let Some(sqlstate) = &ending.sqlstate {
            line.extend_from_slice(b",\"sqlstate\":");
            string(line, sqlstate);
        }
        for (name, value) in [
            (&b",\"rows\":"[..], ending.rows),
            (&b",\"bytes\":"[..], ending.bytes),
            (&b",\"duration_us\":"[..], Some(ending.duration_us)),
        ] {
            if let Some(value) = value {
                line.extend_from_slice(name);
                number(line, value);
            }
        }
        line.push(b'}');
    }
}

impl Line {
    /// Appends the line to `line`, without a line end. A record that is too long is shortened before.
    pub fn encode(&mut self, seq: u64, at: Timestamp, at_text: &str, line: &mut Vec<u8>) {
        match self {
            Self::Closing(closing) => closing.encode(seq, at_text, line),
            Self::Record(record) => {
                (record.seq, record.at) = (seq, at);
                let start = line.len();
                encode_line(record, line);
                if line.len() - start > LINE_MAX {
                    line.truncate(start);
                    record.shorten();
                    encode_line(record, line);
                }
            }
        }
    }

    /// Roughly the memory that it takes, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Closing(_) => 256,
            Self::Record(record) => {
                let texts = record.text.len() + record.intent.as_ref().map_or(0, String::len);
                let names = record.columns.len() + record.outputs.len() + record.relations.len() + record.tags.len();
                1024 + texts + 128 * names
            }
        }
    }

    /// The record, where it is a whole one.
    #[must_use]
    pub fn record(&self) -> Option<&StatementRecord> {
        match self {
            Self::Record(record) => Some(record),
            Self::Closing(_) => None,
        }
    }

    /// The same as a whole record.
    #[must_use]
    pub fn into_record(self) -> Option<StatementRecord> {
        match self {
            Self::Record(record) => Some(*record),
            Self::Closing(closing) => {
                let mut line = Vec::new();
                let at = Timestamp::from_micros(0).to_string();
                closing.encode(0, &at, &mut line);
                decode_line(&line).ok()
            }
        }
    }
}

impl From<StatementRecord> for Line {
    fn from(record: StatementRecord) -> Self {
        Self::Record(Box::new(record))
    }
}

impl From<Closing> for Line {
    fn from(closing: Closing) -> Self {
        Self::Closing(Box::new(closing))
    }
}

/// The fields that differ from line to line at its beginning.
fn begin(line: &mut Vec<u8>, seq: u64, id: StatementId, at: &str) {
    line.extend_from_slice(b"{\"v\":");
    number(line, u64::from(RECORD_VERSION));
    line.extend_from_slice(b",\"seq\":");
    number(line, seq);
    line.extend_from_slice(b",\"id\":\"");
    line.extend_from_slice(id.uuid().as_hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).as_bytes());
    line.extend_from_slice(b"\",\"at\":");
    string(line, at);
    line.extend_from_slice(b",\"event\":\"closed\"");
}

fn number(line: &mut Vec<u8>, value: u64) {
    let mut digits = [b'0'; 20];
    let mut rest = value;
    let mut length = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        length += 1;
        if rest == 0 {
            break;
        }
    }
    line.extend(digits.iter().skip(20 - length));
}

/// Plain ASCII as a JSON string: what needs an escape is written by the library.
fn string(line: &mut Vec<u8>, text: &str) {
    let is_plain = |byte: &u8| (b' '..=b'~').contains(byte) && !matches!(byte, b'"' | b'\\');
    if text.as_bytes().iter().all(is_plain) {
        line.push(b'"');
        line.extend_from_slice(text.as_bytes());
        line.push(b'"');
    } else {
        line.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OUTCOMES: [Outcome; 6] =
        [Outcome::Complete, Outcome::Failed, Outcome::Refused, Outcome::Expired, Outcome::Withdrawn, Outcome::Unknown];

    proptest! {
        #[test]
        fn a_closing_line_is_byte_for_byte_the_line_of_its_record(
            texts in prop::collection::vec(any::<String>(), 4),
            outcome in prop::sample::select(OUTCOMES.to_vec()),
            sqlstate: Option<String>,
            counts: (Option<u64>, Option<u64>, u64),
            seq: u64,
            micros in 0..4_000_000_000_000_000_i64,
            observed: bool,
        ) {
            let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
            record.text.clone_from(&texts[0]);
            record.intent = Some(texts[1].clone());
            record.relations = vec![texts[2].clone()];
            record.policy.clone_from(&texts[3]);
            record.observed = observed;
            let sheet = Arc::new(Sheet::of(&record).unwrap());
            let (rows, bytes, duration_us) = counts;
            let ending = Ending { outcome, sqlstate, rows, bytes, duration_us };
            let mut short = Line::from(Closing { id: record.id, ending: ending.clone(), sheet });
            ending.apply(&mut record);
            let at = Timestamp::from_micros(micros);
            let (mut one, mut other) = (Vec::new(), Vec::new());
            short.encode(seq, at, &at.to_string(), &mut one);
            Line::from(record.clone()).encode(seq, at, &at.to_string(), &mut other);
            prop_assert_eq!(String::from_utf8(one).unwrap(), String::from_utf8(other).unwrap());
            prop_assert_eq!(short.into_record().unwrap(), record);
        }
    }

    #[test]
    fn what_has_a_hold_is_no_ordinary_statement() {
        let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
        record.hold = Some(crate::ids::HoldId::new());
        assert_eq!(Sheet::of(&record), None);
    }
}
