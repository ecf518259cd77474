//! A record as one line of JSON, and back.

use super::StatementRecord;

/// Appends the record to `line`, without a line end. No text can break the line: JSON escapes every control character.
///
/// # Panics
/// Never: `serde_json` fails on map keys that are no strings and on writers that fail, and there are none here.
#[expect(clippy::expect_used, reason = "a record has string keys, and a Vec takes every byte")]
pub fn encode_line(record: &StatementRecord, line: &mut Vec<u8>) {
    serde_json::to_writer(line, record).expect("a record has string keys, and a Vec takes every byte");
}

/// Parses a line. Fields that a later version added are passed over.
///
/// # Errors
/// It is no record.
pub fn decode_line(line: &[u8]) -> Result<StatementRecord, serde_json::Error> {
    serde_json::from_slice(line)
}
