//! Records in the formats in which they are shown.

use std::io::{self, Write};

use clap::ValueEnum;

use super::{csv, table};
use crate::cli::exit;
use crate::lineage::{StatementRecord, encode_line, openlineage};
use crate::log::LogError;

/// How records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns for a terminal.
    Table,
    /// Comma-separated values, RFC 4180, with a line of names.
    Csv,
    /// One array.
    Json,
    /// One record a line, as in the log.
    Jsonl,
    /// One `OpenLineage` run event a line.
    Openlineage,
}

/// Writes all of them.
pub(super) fn show(
    records: impl Iterator<Item = Result<StatementRecord, LogError>>,
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let mut writer = Writer::new(format, out)?;
    for record in records {
        writer.record(&record?)?;
    }
    writer.end()?;
    Ok(exit::DONE)
}

/// Writes records one by one in a format.
pub(super) struct Writer<'a> {
    format: Format,
    pub(super) out: &'a mut dyn Write,
    count: u64,
    line: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(format: Format, out: &'a mut dyn Write) -> io::Result<Self> {
        match format {
            Format::Table => table::head(out)?,
            Format::Csv => csv::head(out)?,
            Format::Json => out.write_all(b"[")?,
            Format::Jsonl | Format::Openlineage => {}
        }
        Ok(Self { format, out, count: 0, line: Vec::new() })
    }

    pub(super) fn record(&mut self, record: &StatementRecord) -> anyhow::Result<()> {
        self.count += 1;
        self.line.clear();
        match self.format {
            Format::Table => return Ok(table::row(record, self.out)?),
            Format::Csv => return Ok(csv::row(record, self.out)?),
            Format::Json => {
                self.out.write_all(if self.count == 1 { b"\n" } else { b",\n" })?;
                encode_line(record, &mut self.line);
                return Ok(self.out.write_all(&self.line)?);
            }
            Format::Jsonl => encode_line(record, &mut self.line),
            Format::Openlineage => {
                let Some(event) = openlineage::render(record) else { return Ok(()) };
                serde_json::to_writer(&mut self.line, &event)?;
            }
        }
        self.line.push(b'\n');
        Ok(self.out.write_all(&self.line)?)
    }

    pub(super) fn end(self) -> io::Result<()> {
        if self.format == Format::Json { self.out.write_all(b"\n]\n") } else { Ok(()) }
    }
}
