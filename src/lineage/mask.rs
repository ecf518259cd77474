//! Filling a record from what the other rooms know, without a literal.

use super::{RecordColumn, RecordOutput, StatementRecord};
use crate::analysis::scan::{self, Masked, StringMode};
use crate::analysis::{ColumnName, StatementFacts};
use crate::policy::Decision;

/// A record keeps no more of a text than this many bytes; the shape is that of all of it.
pub const TEXT_MAX: usize = 64 << 10;

/// Masks a statement's text for a record: [`scan::mask`], cut at [`TEXT_MAX`].
#[must_use]
pub fn mask(text: impl AsRef<[u8]>, mode: StringMode) -> Masked {
    let mut masked = scan::mask(text, mode);
    if masked.text.len() > TEXT_MAX {
        let more = masked.text.len() - TEXT_MAX;
        let cut = masked.text.floor_char_boundary(TEXT_MAX);
        masked.text.truncate(cut);
        masked.text.push_str(&format!(" … ({more} bytes more)"));
    }
    masked
}

impl StatementRecord {
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
        self.columns = facts
            .columns
            .iter()
            .map(|(name, column)| {
                let tags = column.tags.iter().map(ToString::to_string).collect();
                (path(name), RecordColumn { tags, access: column.access.iter().copied().collect() })
            })
            .collect();
        self.tags = facts.tags().iter().map(ToString::to_string).collect();
        self.outputs = facts
            .outputs
            .iter()
            .map(|output| RecordOutput {
                name: output.name.clone(),
                sources: output.sources.iter().map(path).collect(),
            })
            .collect();
        self.opaque.clone_from(&facts.opaque);
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
