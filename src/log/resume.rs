//! Reading from a record on, without reading what lies before it.

use std::path::Path;

use super::error::LogError;
use super::read::Records;
use super::segment::{self, Lines, Segment};
use crate::lineage;

/// The records of the log in `dir` from the segment on that holds record `seq`; a few before it come first.
///
/// # Errors
/// The directory cannot be read.
pub fn read_from(dir: &Path, seq: u64) -> Result<Records, LogError> {
    let segments = segment::list(dir).map_err(LogError::io("read", dir))?;
    // The first segment that begins behind it, by halves: only first lines are read.
    let (mut low, mut high) = (0, segments.len());
    while low < high {
        let middle = low.midpoint(high);
        let begins_behind = match segments.get(middle) {
            Some(segment) => first_seq(segment)?.is_none_or(|first| first > seq),
            None => true,
        };
        if begins_behind { high = middle } else { low = middle + 1 }
    }
    let number = segments.get(low.saturating_sub(1)).map_or(0, |segment| segment.number);
    Ok(Records::from_segment(dir, number))
}

/// The `seq` of the first line; `None` where there is no line yet.
fn first_seq(segment: &Segment) -> Result<Option<u64>, LogError> {
    let mut lines = Lines::open(segment).map_err(LogError::io("open", &segment.path))?;
    let line = lines.next().map_err(LogError::io("read", &segment.path))?;
    Ok(line.and_then(|line| lineage::decode_line(line).ok()).map(|record| record.seq))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::ids::StatementId;
    use crate::lineage::{Event, StatementRecord};
    use crate::log::{Log, Options};

    #[tokio::test]
    async fn reading_begins_in_the_segment_of_the_record() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(Options { segment_max: 600, ..Options::new(dir.path()) }, Clock::System).unwrap();
        for _ in 0..20 {
            log.append_strict(StatementRecord::new(StatementId::new(), Event::Closed)).await.unwrap();
        }
        assert_eq!(log.durable(), 20);
        log.close().await;
        for seq in 0..20 {
            let found: Vec<_> = read_from(dir.path(), seq).unwrap().map(|record| record.unwrap().seq).collect();
            assert!(found[0] <= seq && seq - found[0] < 5 && found.ends_with(&[19]), "{seq}: {found:?}");
        }
        assert_eq!(read_from(&dir.path().join("none"), 0).err().map(|_| ()), Some(()));
    }
}
