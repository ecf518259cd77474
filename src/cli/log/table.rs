//! Records as columns for a terminal.

use std::io::{self, Write};

use crate::lineage::{Event, Outcome, StatementRecord};

const TEXT_MAX: usize = 100;

/// The line above the records.
pub(super) fn head(out: &mut dyn Write) -> io::Result<()> {
    row_of(out, ["TIME", "PRINCIPAL", "VERDICT", "OUTCOME", "COMMAND", "TAGS", "ROWS", "TEXT"])
}

/// One record.
pub(super) fn row(record: &StatementRecord, out: &mut dyn Write) -> io::Result<()> {
    let at = record.at.to_string();
    let principal = record.principal.as_ref().map_or("-", |principal| &principal.name);
    let rows = record.rows.map_or_else(|| "-".to_owned(), |rows| rows.to_string());
    let tags = if record.tags.is_empty() { "-".to_owned() } else { record.tags.join(",") };
    let (seconds, _) = at.split_at_checked(19).unwrap_or((&at, ""));
    row_of(
        out,
        [
            seconds,
            &cut(principal, 20),
            record.verdict.map_or("-", crate::policy::Verdict::as_str),
            outcome(record),
            &cut(&record.command, 14),
            &cut(&tags, 28),
            &rows,
            &cut(&record.text, TEXT_MAX),
        ],
    )
}

fn row_of(
    out: &mut dyn Write,
    [at, principal, verdict, outcome, command, tags, rows, text]: [&str; 8],
) -> io::Result<()> {
    writeln!(out, "{at:<19}  {principal:<20}  {verdict:<7}  {outcome:<9}  {command:<14}  {tags:<28}  {rows:>8}  {text}")
}

/// How it ended; where it has not, what the record tells of.
const fn outcome(record: &StatementRecord) -> &'static str {
    match (record.outcome, record.event) {
        (Some(Outcome::Complete), _) => "complete",
        (Some(Outcome::Failed), _) => "failed",
        (Some(Outcome::Refused), _) => "refused",
        (Some(Outcome::Expired), _) => "expired",
        (Some(Outcome::Withdrawn), _) => "withdrawn",
        (Some(Outcome::Unknown), _) => "unknown",
        (None, Event::Started) => "started",
        (None, Event::Held) => "held",
        (None, Event::Decided) => "decided",
        (None, Event::Released) => "released",
        (None, Event::Paused) => "paused",
        (None, Event::Closed) => "closed",
        (None, Event::Operator) => "operator",
        (None, Event::System) => "system",
    }
}

/// At most so many characters. Control characters, which names and texts may hold, must not reach a terminal.
fn cut(text: &str, length: usize) -> String {
    let shown = text.chars().map(|letter| if letter.is_control() { '·' } else { letter });
    if text.chars().count() <= length {
        return shown.collect();
    }
    shown.take(length.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::StatementId;

    #[test]
    fn a_row_is_one_line_without_control_characters() {
        let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
        record.text = format!("SELECT \u{1b}[2J\n{}", "x".repeat(300));
        let mut out = Vec::new();
        row(&record, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.matches(char::is_control).collect::<Vec<_>>(), ["\n"]);
        assert!(out.ends_with("x…\n") && out.contains("SELECT ·[2J·x"), "{out}");
    }
}
