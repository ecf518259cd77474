//! What an index notes of a record, and what a filter asks of such notes.
//!
//! Where a record matches all filters, each [`Want`] of theirs is met by one of its [`terms`]: so an index leaves out
//! nothing. The other way round need not hold; who asks looks at the record itself.

use serde::Serialize;

use super::{Filters, glob_matches, suffix_matches};
use crate::analysis::Access;
use crate::lineage::StatementRecord;

/// Longer texts are not noted whole.
const TEXT_MAX: usize = 2048;
/// Stands before a text that is not whole: it may hold anything.
const CUT: char = '\u{1}';
/// Between the parts of a term.
const PART: char = '\u{2}';
/// Between the items of a part.
const ITEM: char = '\u{3}';

/// Which filter a term answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// `principal`
    Principal,
    /// `human`
    Human,
    /// `agent`
    Agent,
    /// `database`
    Database,
    /// `session`
    Session,
    /// `relation`: database and relation.
    Relation,
    /// `column`, `access`, and `tag` beside them: column, accesses and tags.
    Touch,
    /// `tag`
    Tag,
    /// `kind`
    Kind,
    /// `verdict`
    Verdict,
    /// `outcome`
    Outcome,
    /// `event`
    Event,
    /// `sensitivity`
    Sensitivity,
    /// `approver`
    Approver,
    /// `rule`
    Rule,
    /// `hold`
    Hold,
    /// `shape`
    Shape,
    /// `text`, in lower case.
    Text,
}

impl Field {
    /// The number by which an index file names it.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Principal => 1,
            Self::Human => 2,
            Self::Agent => 3,
            Self::Database => 4,
            Self::Session => 5,
            Self::Relation => 6,
            Self::Touch => 7,
            Self::Tag => 8,
            Self::Kind => 9,
            Self::Verdict => 10,
            Self::Outcome => 11,
            Self::Event => 12,
            Self::Sensitivity => 13,
            Self::Approver => 14,
            Self::Rule => 15,
            Self::Hold => 16,
            Self::Shape => 17,
            Self::Text => 18,
        }
    }
}

/// All that an index notes of a record.
#[must_use]
pub fn terms(record: &StatementRecord) -> Vec<(Field, String)> {
    let mut terms = Vec::with_capacity(24);
    let mut note = |field, text: String| terms.push((field, text));
    if let Some(principal) = &record.principal {
        note(Field::Principal, principal.name.clone());
        principal.human.iter().for_each(|human| note(Field::Human, human.clone()));
    }
    record.agent.name.iter().for_each(|agent| note(Field::Agent, agent.clone()));
    record.database.iter().for_each(|database| note(Field::Database, database.clone()));
    record.session.iter().for_each(|session| note(Field::Session, session.to_string()));
    for relation in &record.relations {
        note(Field::Relation, format!("{}{PART}{relation}", record.database.as_deref().unwrap_or_default()));
    }
    let mut tags = record.tags.clone();
    for (column, touched) in &record.columns {
        let accesses = joined(touched.access.iter().map(word));
        note(Field::Touch, format!("{column}{PART}{accesses}{PART}{}", joined(touched.tags.iter().cloned())));
        tags.extend(touched.tags.iter().cloned());
    }
    tags.sort_unstable();
    tags.dedup();
    for tag in tags {
        note(Field::Tag, tag);
    }
    record.kinds.iter().for_each(|kind| note(Field::Kind, word(kind)));
    record.verdict.iter().for_each(|verdict| note(Field::Verdict, word(verdict)));
    record.outcome.iter().for_each(|outcome| note(Field::Outcome, word(outcome)));
    note(Field::Event, word(&record.event));
    note(Field::Sensitivity, word(&record.sensitivity));
    if let Some(approval) = &record.approval {
        note(Field::Approver, approval.by.clone());
        approval.human.iter().for_each(|human| note(Field::Approver, human.clone()));
    }
    note(Field::Rule, record.rule.clone());
    record.hold.iter().for_each(|hold| note(Field::Hold, hold.as_str().to_owned()));
    note(Field::Shape, record.shape.clone());
    note(Field::Text, text_term(&record.text));
    terms
}

fn text_term(text: &str) -> String {
    if text.len() > TEXT_MAX { CUT.to_string() } else { text.to_lowercase() }
}

/// What a filter asks of a record's terms: one of this field that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The field.
    pub field: Field,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exact(String),
    Glob(String),
    Relation(String),
    Touch { column: Option<String>, access: Option<Access>, tag: Option<String> },
    Text(String),
}

impl Want {
    /// The only term that matches, where there is but one.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        if let Test::Exact(text) = &self.test { Some(text) } else { None }
    }

    /// Whether the term answers it.
    #[must_use]
    pub fn matches(&self, term: &str) -> bool {
        match &self.test {
            Test::Exact(text) => text == term,
            Test::Glob(pattern) => glob_matches(pattern, term),
            Test::Relation(pattern) => term.split_once(PART).is_some_and(|(database, relation)| {
                suffix_matches(pattern, relation) || glob_matches(pattern, &format!("{database}.{relation}"))
            }),
            Test::Text(text) => term.starts_with(CUT) || term.contains(text),
            Test::Touch { column, access, tag } => touches(term, column.as_deref(), *access, tag.as_deref()),
        }
    }
}

fn touches(term: &str, column: Option<&str>, access: Option<Access>, tag: Option<&str>) -> bool {
    let mut parts = term.split(PART);
    let (found, accesses, tags) = (parts.next(), parts.next(), parts.next());
    let item = |part: Option<&str>, test: &dyn Fn(&str) -> bool| part.is_some_and(|part| part.split(ITEM).any(test));
    column.is_none_or(|pattern| found.is_some_and(|found| suffix_matches(pattern, found)))
        && access.is_none_or(|access| item(accesses, &|found| found == word(&access)))
        && tag.is_none_or(|pattern| item(tags, &|found| glob_matches(pattern, found)))
}

impl Filters {
    /// What the filters ask of a record's terms; all of it must be met. Times and numbers are not among them.
    #[must_use]
    pub fn wants(&self) -> Vec<Want> {
        let mut wants = Vec::new();
        for (field, pattern) in [
            (Field::Principal, &self.principal),
            (Field::Human, &self.human),
            (Field::Agent, &self.agent),
            (Field::Database, &self.database),
            (Field::Approver, &self.approver),
            (Field::Rule, &self.rule),
            (Field::Hold, &self.hold),
            (Field::Shape, &self.shape),
        ] {
            wants.extend(pattern.as_deref().map(|pattern| Want { field, test: name_test(pattern) }));
        }
        for (field, exact) in [
            (Field::Session, self.session.map(|session| session.to_string())),
            (Field::Kind, self.kind.as_ref().map(word)),
            (Field::Verdict, self.verdict.as_ref().map(word)),
            (Field::Outcome, self.outcome.as_ref().map(word)),
            (Field::Event, self.event.as_ref().map(word)),
            (Field::Sensitivity, self.sensitivity.as_ref().map(word)),
        ] {
            wants.extend(exact.map(|text| Want { field, test: Test::Exact(text) }));
        }
        wants.extend(self.relation.clone().map(|it| Want { field: Field::Relation, test: Test::Relation(it) }));
        wants.extend(self.text.as_ref().map(|it| Want { field: Field::Text, test: Test::Text(it.to_lowercase()) }));
        wants.extend(self.touch_want());
        wants
    }

    fn touch_want(&self) -> Option<Want> {
        if self.column.is_some() || self.access.is_some() {
            let (column, access, tag) = (self.column.clone(), self.access, self.tag.clone());
            return Some(Want { field: Field::Touch, test: Test::Touch { column, access, tag } });
        }
        self.tag.as_deref().map(|tag| Want { field: Field::Tag, test: name_test(tag) })
    }
}

fn name_test(pattern: &str) -> Test {
    if pattern.contains(['*', '?']) { Test::Glob(pattern.to_owned()) } else { Test::Exact(pattern.to_owned()) }
}

/// The word by which records write a value of an enum.
fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(&ITEM.to_string())
}
