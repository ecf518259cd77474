//! Holds on a terminal and in pipes.

use std::io::Write;

use serde_json::Value;

use super::api::ApiError;
use crate::approvals::{Hold, HoldState};
use crate::control::card::{self, printable};

/// Columns of a list, and the widest that the last may be.
const COLUMNS: [&str; 6] = ["ID", "STATE", "PRINCIPAL", "DATABASE", "RULE", "STATEMENT"];
const STATEMENT_MAX: usize = 60;

/// One line a hold.
pub(in crate::cli) fn table(holds: &[Value], out: &mut impl Write) -> Result<(), ApiError> {
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    for value in holds {
        rows.push(row(&hold(value)?));
    }
    let widths: Vec<_> = (0..COLUMNS.len())
        .map(|n| rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count()).max())
        .collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<0$}", width.unwrap_or(0)));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// All of one hold.
pub(in crate::cli) fn card(value: &Value, out: &mut impl Write) -> Result<(), ApiError> {
    let lines = card::lines(&hold(value)?);
    let width = lines.iter().map(|(field, _)| field.len()).max().unwrap_or(0);
    let mut last = "";
    for (field, text) in &lines {
        // A field of many lines is named once; its other lines are marked, so that none can look like a field.
        let name = if *field == last { "" } else { field };
        writeln!(out, "{name:>width$} │ {text}")?;
        last = field;
    }
    Ok(writeln!(out)?)
}

/// The document as it came.
pub(in crate::cli) fn json(value: &Value, out: &mut impl Write) -> Result<(), ApiError> {
    Ok(writeln!(out, "{value:#}")?)
}

/// One document a line.
pub(in crate::cli) fn lines(values: &[Value], out: &mut impl Write) -> Result<(), ApiError> {
    for value in values {
        writeln!(out, "{value}")?;
    }
    Ok(())
}

/// One hold on one line: id, state, principal, database, rule, statement.
pub(in crate::cli) fn line(value: &Value) -> Result<String, ApiError> {
    Ok(row(&hold(value)?).join("  "))
}

/// Whether no further step of the hold is possible.
pub(in crate::cli) fn is_closed(value: &Value) -> bool {
    let state = value.get("state").and_then(Value::as_str).and_then(HoldState::parse);
    state.is_some_and(HoldState::is_closed)
}

/// The hold's id.
pub(in crate::cli) fn id(value: &Value) -> String {
    value.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Where a hold stands after a decision.
pub(in crate::cli) fn sentence(value: &Value) -> String {
    let text = |value: Option<&Value>| printable(value.and_then(Value::as_str).unwrap_or("unknown"));
    let decision = value.get("decision").filter(|decision| !decision.is_null());
    let by = decision.map(|decision| format!(" by {}", text(decision.get("by")))).unwrap_or_default();
    format!("hold {} is {}{by}", text(value.get("id")), text(value.get("state")))
}

/// The hold as it was sent.
pub(in crate::cli) fn hold(value: &Value) -> Result<Hold, ApiError> {
    serde_json::from_value(value.clone()).map_err(|error| ApiError::Failed(format!("a hold of another form: {error}")))
}

fn row(hold: &Hold) -> [String; COLUMNS.len()] {
    let one_line = one_line(hold);
    let mut statement: String = one_line.chars().take(STATEMENT_MAX).collect();
    if statement.len() < one_line.len() {
        statement.push('…');
    }
    [hold.id.as_str(), hold.state.as_str(), &hold.principal.name, &hold.database, &hold.rule, &statement].map(printable)
}

/// The statement with its white space as single blanks.
pub(in crate::cli) fn one_line(hold: &Hold) -> String {
    hold.statement.split_whitespace().collect::<Vec<_>>().join(" ")
}
