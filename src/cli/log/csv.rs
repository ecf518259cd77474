//! Records as comma-separated values (RFC 4180).

use std::io::{self, Write};

use crate::lineage::StatementRecord;

/// Fields of a record that are one value each, or lists of words.
const FIELDS: [&str; 26] = [
    "seq",
    "at",
    "event",
    "principal",
    "human",
    "agent",
    "client",
    "application_name",
    "session",
    "database",
    "kinds",
    "command",
    "relations",
    "columns",
    "tags",
    "sensitivity",
    "verdict",
    "rule",
    "hold",
    "approver",
    "outcome",
    "sqlstate",
    "rows",
    "bytes",
    "shape",
    "text",
];

/// The line of names.
pub(super) fn head(out: &mut dyn Write) -> io::Result<()> {
    line(out, FIELDS.map(str::to_owned))
}

/// One record.
pub(super) fn row(record: &StatementRecord, out: &mut dyn Write) -> io::Result<()> {
    let value = serde_json::to_value(record).map_err(io::Error::other)?;
    let at = |path: &str| value.pointer(path).map_or_else(String::new, plain);
    line(
        out,
        FIELDS.map(|field| match field {
            "principal" => at("/principal/name"),
            "human" => at("/principal/human"),
            "agent" => at("/agent/name"),
            "approver" => at("/approval/by"),
            field => at(&format!("/{field}")),
        }),
    )
}

/// Lists and objects as words with spaces between: names hold none that is not quoted.
fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        serde_json::Value::Object(fields) => fields.keys().cloned().collect::<Vec<_>>().join(" "),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// One line of fields.
pub(super) fn line(out: &mut dyn Write, fields: impl IntoIterator<Item = String>) -> io::Result<()> {
    let fields: Vec<_> = fields.into_iter().map(|field| quoted(&field)).collect();
    write!(out, "{}\r\n", fields.join(","))
}

/// Quoted where it must be. What a spreadsheet would take for a formula begins with an apostrophe.
fn quoted(field: &str) -> String {
    let is_formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']) && field.parse::<f64>().is_err();
    let field = if is_formula { format!("'{field}") } else { field.to_owned() };
    if field.contains([',', '"', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::StatementId;
    use crate::lineage::Event;

    #[test]
    fn no_text_breaks_a_line_and_none_becomes_a_formula() {
        let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
        record.command = "=1+1".to_owned();
        record.text = "SELECT \"a\", b".to_owned();
        record.rows = Some(3);
        let mut out = Vec::new();
        row(&record, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(
            out.contains(",'=1+1,") && out.contains(",3,,,") && out.ends_with(",\"SELECT \"\"a\"\", b\"\r\n"),
            "{out}"
        );
    }
}
