//! `log report`: who touched what in a period, how many rows, under whose approval.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{csv, index, now};
use crate::cli::exit;
use crate::lineage::{Event, Filters, Outcome, StatementRecord};
use crate::log;

/// What the report is about.
#[derive(Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    filters: Box<Filters>,
    /// How it is shown.
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    format: ReportFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReportFormat {
    /// Columns for a terminal.
    Table,
    /// Comma-separated values.
    Csv,
    /// One page that needs nothing else and can be printed.
    Html,
    /// One object.
    Json,
}

/// What one principal did with one tag.
#[derive(Clone, Debug, Default, Serialize)]
struct Row {
    principal: String,
    human: String,
    /// Empty: what carries no tag.
    tag: String,
    statements: u64,
    rows: u64,
    refused: u64,
    failed: u64,
    /// Statements that a person approved.
    approved: u64,
    approvers: BTreeSet<String>,
    relations: BTreeSet<String>,
    first: String,
    last: String,
}

/// The rows, with what they were made from.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Summary {
    /// From the oldest record to the newest.
    first: String,
    last: String,
    statements: u64,
    rows: Vec<Row>,
}

const HEAD: [&str; 12] = [
    "principal",
    "human",
    "tag",
    "statements",
    "rows",
    "refused",
    "failed",
    "approved",
    "approvers",
    "relations",
    "first",
    "last",
];

impl Report {
    pub(super) fn run(self, dir: &Path, out: &mut dyn Write) -> anyhow::Result<u8> {
        let filters = now(*self.filters)?;
        anyhow::ensure!(
            filters.limit.is_none() && filters.cursor.is_none(),
            "a report counts all records that match: name a time by --since and --until instead of --limit or --cursor"
        );
        index::catch_up(dir);
        let summary = Summary::of(dir, &filters)?;
        match self.format {
            ReportFormat::Table => summary.table(out)?,
            ReportFormat::Csv => summary.csv(out)?,
            ReportFormat::Html => summary.html(out)?,
            ReportFormat::Json => {
                serde_json::to_writer_pretty(&mut *out, &summary)?;
                writeln!(out)?;
            }
        }
        Ok(exit::DONE)
    }
}

impl Summary {
    /// Over the closing records that the filters choose: each statement has one.
    pub(super) fn of(dir: &Path, filters: &Filters) -> anyhow::Result<Self> {
        let mut summary = Self::default();
        let mut rows = BTreeMap::new();
        // Who approved stands on the record of the decision as well as on the closing one.
        let closed = Filters { event: Some(Event::Closed), ..filters.clone() };
        for record in log::query(dir, &closed)? {
            summary.add(&mut rows, &record?);
        }
        summary.rows = rows.into_values().collect();
        Ok(summary)
    }

    fn add(&mut self, rows: &mut BTreeMap<(String, String), Row>, record: &StatementRecord) {
        let at = record.at.to_string();
        if self.first.is_empty() {
            self.first.clone_from(&at);
        }
        self.last.clone_from(&at);
        self.statements += 1;
        let principal = record.principal.clone().unwrap_or_default();
        let mut tags: BTreeSet<&str> = record.tags.iter().map(String::as_str).collect();
        tags.extend(record.columns.values().flat_map(|column| column.tags.iter().map(String::as_str)));
        if tags.is_empty() {
            tags.insert("");
        }
        for tag in tags {
            let row = rows.entry((principal.name.clone(), tag.to_owned())).or_default();
            row.principal.clone_from(&principal.name);
            row.human = principal.human.clone().unwrap_or_default();
            tag.clone_into(&mut row.tag);
            row.add(record, &at);
        }
    }

    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{} statements from {} to {}", self.statements, self.first, self.last)?;
        let lines: Vec<[String; 12]> =
            std::iter::once(HEAD.map(str::to_uppercase)).chain(self.rows.iter().map(Row::fields)).collect();
        let mut widths = [0; 12];
        for line in &lines {
            for (width, field) in widths.iter_mut().zip(line) {
                *width = field.chars().count().min(32).max(*width);
            }
        }
        for line in &lines {
            let fields: Vec<_> =
                line.iter().zip(widths).map(|(field, width)| format!("{:<width$}", shown(field))).collect();
            writeln!(out, "{}", fields.join("  ").trim_end())?;
        }
        Ok(())
    }

    fn csv(&self, out: &mut dyn Write) -> io::Result<()> {
        csv::line(out, HEAD.map(str::to_owned))?;
        self.rows.iter().try_for_each(|row| csv::line(out, row.fields()))
    }

    /// Every text is escaped; the page loads nothing and runs nothing.
    pub(super) fn html(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")?;
        writeln!(
            out,
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        )?;
        writeln!(out, "<title>Data access report</title>\n<style>{STYLE}</style></head><body>")?;
        writeln!(out, "<h1>Who touched what</h1>")?;
        let (first, last) = (escaped(&self.first), escaped(&self.last));
        writeln!(out, "<p>{} statements, from {first} to {last}.</p>", self.statements)?;
        writeln!(out, "<table><thead><tr>")?;
        HEAD.iter().try_for_each(|name| writeln!(out, "<th>{name}</th>"))?;
        writeln!(out, "</tr></thead><tbody>")?;
        for row in &self.rows {
            write!(out, "<tr>")?;
            for field in row.fields() {
                write!(out, "<td>{}</td>", escaped(&field))?;
            }
            writeln!(out, "</tr>")?;
        }
        writeln!(out, "</tbody></table></body></html>")
    }
}

impl Row {
    fn add(&mut self, record: &StatementRecord, at: &str) {
        self.statements += 1;
        self.rows += record.rows.unwrap_or(0);
        self.refused += u64::from(matches!(record.outcome, Some(Outcome::Refused | Outcome::Expired)));
        self.failed += u64::from(record.outcome == Some(Outcome::Failed));
        if let Some(approval) = record.approval.as_ref().filter(|approval| approval.verdict == "approve") {
            self.approved += 1;
            self.approvers.insert(approval.human.clone().unwrap_or_else(|| approval.by.clone()));
        }
        self.relations.extend(record.relations.iter().cloned());
        if self.first.is_empty() {
            at.clone_into(&mut self.first);
        }
        at.clone_into(&mut self.last);
    }

    fn fields(&self) -> [String; 12] {
        let words = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        [
            self.principal.clone(),
            self.human.clone(),
            if self.tag.is_empty() { "(none)".to_owned() } else { self.tag.clone() },
            self.statements.to_string(),
            self.rows.to_string(),
            self.refused.to_string(),
            self.failed.to_string(),
            self.approved.to_string(),
            words(&self.approvers),
            words(&self.relations),
            self.first.clone(),
            self.last.clone(),
        ]
    }
}

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#1b1f24;background:#fff}\
    table{border-collapse:collapse;width:100%}th,td{border:1px solid #c8ced6;padding:.3em .5em;text-align:left;\
    vertical-align:top;overflow-wrap:anywhere}th{background:#eef1f4}thead{display:table-header-group}\
    tr{break-inside:avoid}@media print{body{margin:0;font-size:10px}}";

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter if letter.is_control() => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// Nothing that a name holds may steer a terminal.
fn shown(field: &str) -> String {
    field.chars().map(|letter| if letter.is_control() { '·' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::StatementId;
    use crate::lineage::RecordApproval;
    use crate::principal::Principal;

    #[test]
    fn rows_and_approvals_are_counted_per_principal_and_tag_and_no_name_becomes_markup() {
        let mut summary = Summary::default();
        let mut rows = BTreeMap::new();
        for (tags, approved) in
            [(&["user.contact.email", "user.name"][..], true), (&["user.name"], false), (&[], false)]
        {
            let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
            record.principal = Some(Principal { name: "<b>bot".into(), ..Principal::default() });
            record.tags = tags.iter().map(ToString::to_string).collect();
            record.rows = Some(10);
            let approval = RecordApproval { by: "op".into(), verdict: "approve".into(), ..RecordApproval::default() };
            record.approval = approved.then_some(approval);
            summary.add(&mut rows, &record);
        }
        summary.rows = rows.into_values().collect();
        let counts: Vec<_> =
            summary.rows.iter().map(|row| (row.tag.as_str(), row.statements, row.rows, row.approved)).collect();
        assert_eq!(counts, [("", 1, 10, 0), ("user.contact.email", 1, 10, 1), ("user.name", 2, 20, 1)]);
        let mut page = Vec::new();
        summary.html(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        assert!(page.contains("&lt;b&gt;bot") && !page.contains("<b>bot") && !page.contains("<script"), "{page}");
    }
}
