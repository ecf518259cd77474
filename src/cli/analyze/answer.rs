//! What is said of a text and of each of its statements.

use std::collections::BTreeSet;

use serde::Serialize;

use super::script::Place;
use crate::analysis::{Access, Bound, Kind, Rejected, StatementFacts};
use crate::policy::{Decision, Verdict};

/// The most characters of a statement that are printed with it.
const TEXT_MAX: usize = 1000;

/// What is said of one text: a line of the output.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) id: serde_json::Value,
    pub(super) verdict: Verdict,
    pub(super) rule: String,
    pub(super) statements: Vec<Statement>,
}

/// What is said of one statement.
#[derive(Debug, Serialize)]
pub(super) struct Statement {
    pub(super) kind: String,
    pub(super) kinds: Vec<String>,
    pub(super) command: String,
    pub(super) relations: Vec<String>,
    pub(super) reads: Vec<String>,
    pub(super) reveals: Vec<String>,
    pub(super) probes: Vec<String>,
    pub(super) writes: Vec<String>,
    pub(super) outputs: Vec<Column>,
    pub(super) tags: serde_json::Map<String, serde_json::Value>,
    pub(super) opaque: Vec<String>,
    /// What was assumed of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
    pub(super) bound: String,
    pub(super) verdict: Verdict,
    pub(super) rule: String,
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) end_line: u64,
    pub(super) end_column: u64,
    pub(super) text: String,
}

/// One column of a result.
#[derive(Debug, Serialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) sources: Vec<String>,
}

/// What was found in all statements.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Total {
    pub(super) statements: u64,
    pub(super) tagged: u64,
    pub(super) held: u64,
    pub(super) denied: u64,
    pub(super) opaque: u64,
}

impl Total {
    pub(super) fn count(&mut self, statement: &Statement) {
        self.statements += 1;
        self.tagged += u64::from(!statement.tags.is_empty());
        self.held += u64::from(statement.verdict == Verdict::Hold);
        self.denied += u64::from(statement.verdict == Verdict::Deny);
        self.opaque += u64::from(!statement.opaque.is_empty());
    }
}

impl Answer {
    /// The strictest verdict of its statements is the text's; the first that has it names the rule.
    pub(super) fn new(id: serde_json::Value, statements: Vec<Statement>) -> Self {
        let strictest = statements.iter().rev().max_by_key(|statement| statement.verdict);
        let (verdict, rule) = strictest.map_or((Verdict::Allow, String::new()), |it| (it.verdict, it.rule.clone()));
        Self { id, verdict, rule, statements }
    }
}

impl Statement {
    pub(super) fn new(facts: &StatementFacts, decision: &Decision) -> Self {
        let with = |wanted: &[Access]| -> Vec<String> {
            let fits = |access: &BTreeSet<Access>| wanted.iter().any(|kind| access.contains(kind));
            facts.columns.iter().filter(|(_, column)| fits(&column.access)).map(|(name, _)| name.to_string()).collect()
        };
        let tagged = facts.columns.iter().filter(|(_, column)| !column.tags.is_empty());
        let outputs = facts.outputs.iter().map(|output| Column {
            name: output.name.clone(),
            sources: output.sources.iter().map(ToString::to_string).collect(),
        });
        Self {
            kind: facts.kind().to_string(),
            kinds: facts.kinds.iter().map(ToString::to_string).collect(),
            command: facts.command.clone(),
            relations: facts.relations.iter().map(ToString::to_string).collect(),
            reads: with(&[Access::Reveal, Access::Probe]),
            reveals: with(&[Access::Reveal]),
            probes: with(&[Access::Probe]),
            writes: with(&[Access::Write]),
            outputs: outputs.collect(),
            tags: tagged
                .map(|(name, column)| {
                    let tags: Vec<&str> = column.tags.iter().map(|tag| &**tag).collect();
                    (name.to_string(), tags.into())
                })
                .collect(),
            opaque: facts.opaque.clone(),
            bound: facts.bound.to_string(),
            verdict: decision.verdict,
            rule: decision.rule.to_string(),
            ..Self::unknown(Verdict::Allow, "")
        }
    }

    /// A text that is not even parsed.
    pub(super) fn rejected(why: &Rejected) -> Self {
        Self { opaque: vec![why.to_string()], ..Self::unknown(Verdict::Deny, "limits") }
    }

    fn unknown(verdict: Verdict, rule: &str) -> Self {
        Self {
            kind: Kind::Opaque.to_string(),
            kinds: vec![Kind::Opaque.to_string()],
            command: "UNKNOWN".to_owned(),
            relations: Vec::new(),
            reads: Vec::new(),
            reveals: Vec::new(),
            probes: Vec::new(),
            writes: Vec::new(),
            outputs: Vec::new(),
            tags: serde_json::Map::new(),
            opaque: Vec::new(),
            notes: Vec::new(),
            bound: Bound::Unbounded.to_string(),
            verdict,
            rule: rule.to_owned(),
            line: 1,
            column: 1,
            end_line: 1,
            end_column: 1,
            text: String::new(),
        }
    }

    /// The same statement where it stands in its file.
    pub(super) fn at(mut self, start: Place, end: Place, text: &str) -> Self {
        (self.line, self.column) = (start.line, start.column);
        (self.end_line, self.end_column) = (end.line, end.column);
        self.text = match text.char_indices().nth(TEXT_MAX) {
            Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
            None => text.to_owned(),
        };
        self
    }
}
