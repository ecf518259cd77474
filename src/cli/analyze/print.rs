//! How answers are written, as they come: for people, a line each, or as one SARIF log.

use std::io::Write;

use super::answer::{Answer, Statement, Total};
use super::sarif;
use crate::policy::Verdict;

/// Writes answers in one of the forms, and counts.
pub(super) struct Printer<W> {
    out: W,
    form: Form,
    total: Total,
    file: String,
    /// Of the open file: the strictest verdict so far with its rule, and whether a statement was written.
    strictest: (Verdict, String),
    begun: bool,
}

enum Form {
    Text,
    Jsonl,
    /// Whether a result was written.
    Sarif(bool),
}

impl<W: Write> Printer<W> {
    fn new(out: W, form: Form) -> Self {
        let strictest = (Verdict::Allow, String::new());
        Self { out, form, total: Total::default(), file: String::new(), strictest, begun: false }
    }

    pub(super) fn text(out: W) -> Self {
        Self::new(out, Form::Text)
    }

    pub(super) fn jsonl(out: W) -> Self {
        Self::new(out, Form::Jsonl)
    }

    pub(super) fn sarif(mut out: W) -> anyhow::Result<Self> {
        sarif::begin(&mut out)?;
        Ok(Self::new(out, Form::Sarif(false)))
    }

    /// A file begins.
    pub(super) fn open(&mut self, name: &str) -> anyhow::Result<()> {
        name.clone_into(&mut self.file);
        self.begun = false;
        self.strictest = (Verdict::Allow, String::new());
        if matches!(self.form, Form::Jsonl) {
            write!(self.out, "{{\"id\":{},\"statements\":[", serde_json::to_string(name)?)?;
        }
        Ok(())
    }

    /// A statement of the open file.
    pub(super) fn statement(&mut self, statement: &Statement) -> anyhow::Result<()> {
        self.total.count(statement);
        if !self.begun || statement.verdict > self.strictest.0 {
            self.strictest = (statement.verdict, statement.rule.clone());
        }
        match &mut self.form {
            Form::Text => people(&mut self.out, &self.file, statement)?,
            Form::Jsonl => {
                self.out.write_all(if self.begun { b"," } else { b"" })?;
                serde_json::to_writer(&mut self.out, statement)?;
            }
            Form::Sarif(begun) => {
                if let Some(result) = sarif::result(&self.file, statement) {
                    self.out.write_all(if std::mem::replace(begun, true) { b",\n" } else { b"\n" })?;
                    serde_json::to_writer(&mut self.out, &result)?;
                }
            }
        }
        self.begun = true;
        Ok(())
    }

    /// The open file is over.
    pub(super) fn close(&mut self) -> anyhow::Result<()> {
        if matches!(self.form, Form::Jsonl) {
            let (verdict, rule) = (self.strictest.0.as_str(), serde_json::to_string(&self.strictest.1)?);
            writeln!(self.out, "],\"verdict\":\"{verdict}\",\"rule\":{rule}}}")?;
        }
        Ok(())
    }

    /// A whole answer, to a line that came in.
    pub(super) fn answer(&mut self, answer: &Answer) -> anyhow::Result<()> {
        if matches!(self.form, Form::Jsonl) {
            answer.statements.iter().for_each(|statement| self.total.count(statement));
            serde_json::to_writer(&mut self.out, answer)?;
            self.out.write_all(b"\n")?;
            return Ok(());
        }
        let name = answer.id.as_str().map_or_else(|| answer.id.to_string(), str::to_owned);
        self.open(&name)?;
        for statement in &answer.statements {
            self.statement(statement)?;
        }
        self.close()
    }

    /// All has been said; what was found in all of it.
    pub(super) fn finish(mut self) -> anyhow::Result<Total> {
        let total = self.total;
        match self.form {
            Form::Text => writeln!(
                self.out,
                "{}: {} touch tagged columns, {} held, {} denied, {} opaque",
                if total.statements == 1 {
                    "1 statement".to_owned()
                } else {
                    format!("{} statements", total.statements)
                },
                total.tagged,
                total.held,
                total.denied,
                total.opaque,
            )?,
            Form::Jsonl => {}
            Form::Sarif(_) => sarif::end(&mut self.out)?,
        }
        self.out.flush()?;
        Ok(total)
    }
}

/// A statement as people read it: where, what, its first line, what it touches.
fn people(out: &mut impl Write, file: &str, statement: &Statement) -> std::io::Result<()> {
    let (verdict, rule) = (statement.verdict.as_str(), &statement.rule);
    let Statement { line, column, command, .. } = statement;
    writeln!(out, "{file}:{line}:{column}: {command} ({}): {verdict} by {rule}", statement.kinds.join(", "))?;
    let mut lines = statement.text.lines();
    let more = if lines.clone().nth(1).is_some() { " …" } else { "" };
    writeln!(out, "  | {}{more}", lines.next().unwrap_or_default())?;
    for (title, names) in [
        ("relations", &statement.relations),
        ("reveals", &statement.reveals),
        ("probes", &statement.probes),
        ("writes", &statement.writes),
    ] {
        if !names.is_empty() {
            writeln!(out, "  {title}: {}", names.join(", "))?;
        }
    }
    for (column, tags) in &statement.tags {
        let tags: Vec<&str> = tags.as_array().into_iter().flatten().filter_map(serde_json::Value::as_str).collect();
        writeln!(out, "  tagged: {column} is {}", tags.join(", "))?;
    }
    for why in &statement.opaque {
        writeln!(out, "  opaque: {why}")?;
    }
    for note in &statement.notes {
        writeln!(out, "  note: {note}")?;
    }
    writeln!(out, "  rows: {}", statement.bound)
}
