//! Filling a record from what the other rooms know, without a literal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{RecordColumn, RecordOutput, StatementRecord};
use crate::analysis::scan::{self, Masked, StringMode};
use crate::analysis::{Access, ColumnName, Kind, Output, StatementFacts, Ways};
use crate::policy::Decision;

/// A record keeps no more of a text than this many bytes; the shape is that of all of it.
pub const TEXT_MAX: usize = 64 << 10;

/// Masks a statement's text for a record: [`scan::mask`], cut at [`TEXT_MAX`].
#[must_use]
pub fn mask(text: impl AsRef<[u8]>, mode: StringMode) -> Masked {
    let mut masked = scan::mask(text, mode);
    cut_text(&mut masked.text);
    masked
}

/// Why something could not be known, without what Postgres's parser quotes of the text: that can be a literal.
#[must_use]
pub fn reason(text: &str) -> String {
    text.split(" at or near ").next().unwrap_or_default().to_owned()
}

/// Cuts a statement's text at [`TEXT_MAX`].
pub(super) fn cut_text(text: &mut String) {
    cut(text, TEXT_MAX);
}

fn cut(text: &mut String, length: usize) {
    if text.len() > length {
        let beyond = text.len() - length;
        text.truncate(text.floor_char_boundary(length));
        // Writing to a String cannot fail.
        let _ = write!(text, " … ({beyond} bytes more)");
    }
}

/// A line that is longer is shortened ([`StatementRecord::shorten`]) before it is written.
pub const LINE_MAX: usize = 1 << 20;

impl StatementRecord {
    /// Leaves what an auditor needs and what has a bound: texts are cut; of the columns the tagged ones stay, of the
    /// outputs none. The record says so itself, in `opaque`.
    pub fn shorten(&mut self) {
        cut(&mut self.text, TEXT_MAX);
        for text in [&mut self.intent, &mut self.application_name].into_iter().flatten() {
            cut(text, TEXT_MAX);
        }
        let (columns, outputs) = (self.columns.len(), self.outputs.len());
        self.columns.retain(|_, column| !column.tags.is_empty());
        self.outputs.clear();
        self.flows = None;
        self.opaque.truncate(10);
        self.opaque.iter_mut().for_each(|why| cut(why, 1000));
        let left = self.columns.len();
        self.opaque.push(format!("record shortened: {left} of {columns} columns and 0 of {outputs} outputs are left"));
    }

    /// The same with the masked text and shape of the statement.
    #[must_use]
    pub fn with_text(mut self, text: impl AsRef<[u8]>, mode: StringMode) -> Self {
        let masked = mask(text, mode);
        self.text = masked.text;
        self.shape = masked.shape;
        self
    }

    /// The same with what analysis knows of the statement, in `database`.
    #[must_use]
    pub fn with_facts(mut self, facts: &StatementFacts, database: &str) -> Self {
        let path = |column: &ColumnName| format!("{database}.{column}");
        self.database = Some(database.to_owned());
        self.kinds = facts.kinds.iter().copied().collect();
        self.command.clone_from(&facts.command);
        self.relations = facts.relations.iter().map(ToString::to_string).collect();
        let writes = writes(facts);
        self.columns = facts
            .columns
            .iter()
            .map(|(name, column)| {
                let tags = column.tags.iter().map(ToString::to_string).collect();
                let access = column.access.iter().copied().collect();
                let uses = column.uses.iter().filter(|_| writes).collect();
                (path(name), RecordColumn { tags, access, uses })
            })
            .collect();
        self.flows = writes.then(|| {
            let flow = |(column, made): (&ColumnName, &BTreeMap<ColumnName, Ways>)| {
                (path(column), made.iter().map(|(source, ways)| (path(source), ways.iter().collect())).collect())
            };
            facts.flows.ways.iter().map(flow).collect()
        });
        self.tags = facts.tags().iter().map(ToString::to_string).collect();
        self.outputs = told_outputs(facts)
            .iter()
            .map(|output| RecordOutput {
                name: output.name.clone(),
                sources: output.sources.iter().map(path).collect(),
            })
            .collect();
        self.opaque = facts.opaque.iter().map(|why| reason(why)).collect();
        self
    }

    /// The same with what the policy said.
    #[must_use]
    pub fn with_decision(mut self, decision: &Decision) -> Self {
        self.verdict = Some(decision.verdict);
        decision.rule.as_ref().clone_into(&mut self.rule);
        self.sensitivity = decision.sensitivity;
        self
    }

    /// The record of what comes next for the same statement: the same but for the event.
    #[must_use]
    pub fn following(&self, event: super::Event) -> Self {
        Self { event, ..self.clone() }
    }
}

/// Whether values come to lie in columns: there is column lineage to tell.
fn writes(facts: &StatementFacts) -> bool {
    !facts.flows.ways.is_empty() || facts.columns.values().any(|column| column.access.contains(&Access::Write))
}

/// Result columns are told where somebody asks for them: of what writes, for its column lineage, and of tagged columns.
/// An ordinary read would say them twice.
fn told_outputs(facts: &StatementFacts) -> &[Output] {
    let is_read = facts.kinds.iter().all(|kind| *kind == Kind::Read);
    if is_read && !facts.is_tagged() { &[] } else { &facts.outputs }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::StatementId;
    use crate::lineage::{Event, decode_line, encode_line};

    #[test]
    fn a_long_text_is_cut_and_keeps_the_shape_of_all_of_it() {
        let long = format!("SELECT {}", "é,".repeat(TEXT_MAX));
        let masked = mask(&long, StringMode::Standard);
        assert!(masked.text.len() < TEXT_MAX + 40 && masked.text.ends_with("bytes more)"));
        assert_eq!(masked.shape, scan::mask(&long, StringMode::Standard).shape);
    }

    #[test]
    fn a_shortened_record_keeps_its_tagged_columns_and_says_what_is_gone() {
        let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
        record.text = "\u{1}".repeat(LINE_MAX);
        for number in 0..30_000 {
            let tags = if number == 7 { vec!["user.name".to_owned()] } else { Vec::new() };
            record.columns.insert(format!("d.s.t.column{number}"), RecordColumn { tags, ..RecordColumn::default() });
        }
        record.shorten();
        let mut line = Vec::new();
        encode_line(&record, &mut line);
        assert!(line.len() < LINE_MAX);
        assert_eq!(record.columns.keys().collect::<Vec<_>>(), ["d.s.t.column7"]);
        assert_eq!(record.opaque, ["record shortened: 1 of 30000 columns and 0 of 0 outputs are left"]);
    }

    #[test]
    fn no_literal_of_a_statement_reaches_the_line() {
        for sql in [
            "SELECT 'CANARY', E'\\'CANARY', $$CANARY$$, $a$CANARY$$a$ -- CANARY",
            "ALTER ROLE bob PASSWORD 'CANARY' /* CANARY",
            "INSERT INTO t VALUES (U&'CANARY', 'a'\n'CANARY",
        ] {
            let record = StatementRecord::new(StatementId::new(), Event::Closed).with_text(sql, StringMode::Standard);
            let mut line = Vec::new();
            encode_line(&record, &mut line);
            assert!(!String::from_utf8(line.clone()).unwrap().contains("CANARY"), "{sql}");
            assert_eq!(decode_line(&line).unwrap(), record);
        }
    }
}
