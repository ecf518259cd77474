//! What a PL/pgSQL body writes, and from what: its statements are read one by one, and a name that is no column is a
//! variable, which can hold whatever the body reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::analyzer::{Analyzer, stored};
use super::parse::{Node, parse};
use super::plpgsql::{Word, words};
use super::scope::{Rel, Scope};
use super::touch::{ColumnId, Field, Sources, Value, WRITE};
use crate::catalog::Relation;

/// Values that stand for no column and no variable.
const CONSTANTS: &[&str] = &[
    "null",
    "true",
    "false",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "current_user",
    "session_user",
    "user",
    "current_role",
    "default",
];

impl Analyzer<'_> {
    /// The flows of the statements of a body that reads these columns.
    pub(super) fn body_writes(&mut self, source: &str, words: &[Word], all: &Sources) {
        let scope = variables(words, all);
        for (place, word) in words.iter().enumerate().filter(|(_, word)| word.name && !word.quoted) {
            let next = words.get(place + 1).map_or("", |word| word.text.as_str());
            let target = match word.text.as_str() {
                "insert" | "merge" if next == "into" => place + 2,
                "update" if next == "only" => place + 2,
                "update" if next != "of" && next != "set" => place + 1,
                _ => continue,
            };
            let text = statement(source, words, place);
            if !self.body_statement(text, &scope) {
                self.writes_all(words, target, all);
            }
        }
    }

    /// Reads one statement of a body; false where it is no statement of SQL.
    fn body_statement(&mut self, text: &str, scope: &Scope<'_>) -> bool {
        let Ok(tree) = parse(text) else { return false };
        let Some(found) = tree.statements(text).next() else { return false };
        if !matches!(found.node, Node::InsertStmt(_) | Node::UpdateStmt(_) | Node::MergeStmt(_)) {
            return false;
        }
        let outer = std::mem::take(&mut self.touched);
        drop(self.query_node(found.node, scope));
        let inner = std::mem::replace(&mut self.touched, outer);
        let written = inner.columns.iter().filter(|(_, access)| **access & WRITE != 0).map(|(column, _)| column);
        self.touched.mark(written, WRITE);
        self.touched.flows.absorb(&inner.flows);
        true
    }

    /// A statement that cannot be read by itself: every column of its target can get all that the body reads.
    fn writes_all(&mut self, words: &[Word], at: usize, all: &Sources) {
        let text = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
        let found = if text(at + 1) == "." {
            self.find_relation(Some(text(at)), text(at + 2))
        } else {
            self.find_relation(None, text(at))
        };
        if let Some(relation) = found {
            let written = super::scope::sources(&stored(&relation));
            self.touched.mark(&written, WRITE);
            self.touched.flows.add(&written, all);
        }
    }

    /// `NEW.note := NEW.email`: a trigger moves values within the row that is written.
    pub(super) fn row_assignments(&mut self, relation: &Arc<Relation>, source: &str, read: &Sources) {
        let words = words(source);
        let text = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
        for at in 0..words.len() {
            if text(at) != "new" || text(at + 1) != "." {
                continue;
            }
            let Some(column) = relation.column(text(at + 2)) else { continue };
            let target = Sources::from([ColumnId { relation: relation.oid, number: column.number }]);
            let before = at.checked_sub(1).map_or("", text);
            let assigned = match text(at + 3) {
                ":" if text(at + 4) == "=" => Some(at + 5),
                ":=" | "=" if ["", ";", "begin", "then", "else", "loop"].contains(&before) => Some(at + 4),
                _ => None,
            };
            let sources = match assigned {
                Some(from) => assigned_from(relation, words.get(from..).unwrap_or_default(), read),
                None if ["into", "strict"].contains(&before) => read.clone(),
                None => continue,
            };
            self.touched.flows.add(&target, &sources);
        }
    }
}

/// What the right side of an assignment is made from.
fn assigned_from(relation: &Relation, words: &[Word], read: &Sources) -> Sources {
    let text = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
    let mut sources = Sources::new();
    for (at, word) in words.iter().enumerate().take_while(|(_, word)| word.text != ";") {
        let dotted = at > 0 && text(at - 1) == ".";
        if !word.name || dotted || text(at + 1) == "(" || CONSTANTS.contains(&word.text.as_str()) {
            continue;
        }
        let own = ["new", "old"].contains(&word.text.as_str()) && text(at + 1) == ".";
        match relation.column(text(at + 2)).filter(|_| own) {
            Some(column) => drop(sources.insert(ColumnId { relation: relation.oid, number: column.number })),
            None => sources.extend(read),
        }
    }
    sources
}

/// The text of a statement from a word on, up to its semicolon.
fn statement<'t>(source: &'t str, words: &[Word], place: usize) -> &'t str {
    let start = words.get(place).map_or(0, |word| word.at);
    let end = words.iter().skip(place).find(|word| word.text == ";").map_or(source.len(), |word| word.at);
    source.get(start..end).unwrap_or_default()
}

/// Every name of a body that is no column can be a variable, and every variable can hold what the body reads.
fn variables(words: &[Word], all: &Sources) -> Scope<'static> {
    let names: BTreeSet<&str> = words.iter().filter(|word| word.name).map(|word| word.text.as_str()).collect();
    let fields: Arc<[Field]> =
        names.iter().map(|name| Field { name: (*name).into(), value: Value::computed(all.clone()) }).collect();
    let rows: BTreeSet<&str> = words
        .windows(2)
        .filter_map(|pair| match pair {
            [row, dot] if row.name && dot.text == "." => Some(row.text.as_str()),
            _ => None,
        })
        .collect();
    let rel = |name: &&str| Rel {
        alias: (*name).into(),
        schema: None,
        fields: Arc::clone(&fields),
        oid: None,
        scalar: false,
    };
    Scope {
        rels: rows.iter().map(rel).collect(),
        columns: fields.to_vec(),
        arguments: Some(names.iter().map(|name| Arc::from(*name)).collect()),
        ..Scope::default()
    }
}
