//! What a closing line shares with its like, found without reading all of it.

use crate::clock::Timestamp;

/// Before the outcome of a statement, the first of what may differ at a line's end.
const OUTCOME: &[u8] = b",\"outcome\":\"";
/// Letters of a UUID.
const ID_LEN: usize = 36;

/// A closing line in its parts. Lines whose shared parts are the same differ in number, id, time, rows, bytes, SQLSTATE and
/// duration alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Likeness<'a> {
    /// The record's number.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// Everything from the event to the outcome, as JSON.
    pub shared: &'a [u8],
}

impl<'a> Likeness<'a> {
    /// Takes a line apart, without its line end; `None` where it is no closing line of the usual form.
    #[must_use]
    pub fn of(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"{\"v\":1,\"seq\":")?;
        let (seq, rest) = number(rest)?;
        let rest = rest.strip_prefix(b",\"id\":\"")?.get(ID_LEN..)?.strip_prefix(b"\",\"at\":\"")?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        let (at, rest) = rest.split_at_checked(end)?;
        let at = std::str::from_utf8(at).ok()?.parse().ok()?;
        let shared = rest.strip_prefix(b"\"").filter(|rest| rest.starts_with(b",\"event\":\"closed\","))?;
        let length = shared.windows(OUTCOME.len()).rposition(|window| window == OUTCOME)? + OUTCOME.len();
        let word = shared.get(length..)?.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
        let (shared, end) = shared.split_at_checked(length + word)?;
        is_end(end.strip_prefix(b"\"")?).then_some(Self { seq, at, shared })
    }
}

/// Whether nothing follows but the numbers of a closing line.
fn is_end(mut rest: &[u8]) -> bool {
    if let Some(sqlstate) = rest.strip_prefix(b",\"sqlstate\":\"") {
        let Some((letters, after)) = sqlstate.split_at_checked(5) else { return false };
        let Some(after) = after.strip_prefix(b"\"").filter(|_| letters.iter().all(u8::is_ascii_alphanumeric)) else {
            return false;
        };
        rest = after;
    }
    for name in [&b",\"rows\":"[..], b",\"bytes\":", b",\"duration_us\":"] {
        if let Some((_, after)) = rest.strip_prefix(name).and_then(number) {
            rest = after;
        }
    }
    rest == b"}"
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(digits)?;
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::StatementId;
    use crate::lineage::{Event, Outcome, StatementRecord, decode_line, encode_line, terms};

    const EVENTS: [Event; 4] = [Event::Closed, Event::Closed, Event::Started, Event::System];

    fn any_record() -> impl Strategy<Value = StatementRecord> {
        let texts = prop::collection::vec(prop_oneof![Just(String::new()), any::<String>()], 3);
        let ends =
            (any::<Option<u64>>(), any::<Option<u64>>(), any::<Option<u64>>(), prop::option::of("[0-9A-Z]{5}|.*"));
        let outcomes = prop::option::of(prop::sample::select(vec![Outcome::Complete, Outcome::Refused]));
        (texts, ends, outcomes, prop::sample::select(EVENTS.to_vec()), 0..3_u64).prop_map(
            |(texts, (rows, bytes, duration_us, sqlstate), outcome, event, seq)| {
                let mut record = StatementRecord::new(StatementId::new(), event);
                (record.text, record.intent) = (texts[0].clone(), Some(texts[1].clone()));
                record.relations = vec![texts[2].clone(), ",\"outcome\":\"complete\"}".to_owned()];
                (record.rows, record.bytes, record.duration_us) = (rows, bytes, duration_us);
                (record.sqlstate, record.outcome, record.seq) = (sqlstate, outcome, seq);
                record
            },
        )
    }

    fn line_of(record: &StatementRecord) -> Vec<u8> {
        let mut line = Vec::new();
        encode_line(record, &mut line);
        line
    }

    proptest! {
        #[test]
        fn what_is_alike_differs_in_nothing_that_can_be_asked_for(record in any_record(), other in any_record()) {
            let (one, two) = (line_of(&record), line_of(&other));
            let Some(likeness) = Likeness::of(&one) else { return Ok(()) };
            let read = decode_line(&one).unwrap();
            prop_assert_eq!((likeness.seq, likeness.at), (read.seq, read.at));
            if let Some(alike) = Likeness::of(&two).filter(|alike| alike.shared == likeness.shared) {
                prop_assert_eq!(alike.seq, other.seq);
                prop_assert_eq!(terms(&record), terms(&other));
            }
        }

        #[test]
        fn the_same_end_of_the_same_statement_is_alike(mut record in any_record(), rows: u64, seq: u64) {
            record.event = Event::Closed;
            record.outcome = Some(Outcome::Complete);
            record.sqlstate = None;
            let one = line_of(&record);
            (record.rows, record.seq, record.id) = (Some(rows), seq, StatementId::new());
            let two = line_of(&record);
            let (one, two) = (Likeness::of(&one).unwrap(), Likeness::of(&two).unwrap());
            prop_assert_eq!(one.shared, two.shared);
            prop_assert_eq!(two.seq, seq);
        }
    }
}
