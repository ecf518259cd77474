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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::StatementId;
    use crate::lineage::{Event, RecordColumn};

    proptest! {
        #[test]
        fn any_text_stays_in_its_line_and_reads_back(texts in prop::collection::vec(any::<String>(), 6), rows: Option<u64>) {
            let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
            record.text.clone_from(&texts[0]);
            record.intent = Some(texts[1].clone());
            record.application_name = Some(texts[2].clone());
            record.columns.insert(texts[3].clone(), RecordColumn { tags: vec![texts[4].clone()], ..RecordColumn::default() });
            record.opaque = vec![texts[5].clone(), "\n\r\u{2028}{\"v\":1}".to_owned()];
            record.rows = rows;
            let mut line = Vec::new();
            encode_line(&record, &mut line);
            prop_assert!(!line.iter().any(u8::is_ascii_control));
            prop_assert_eq!(decode_line(&line).unwrap(), record);
        }
    }
}
