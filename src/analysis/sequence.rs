//! The statements of one text, each in the light of those before it: search path, role, prepared statements, cursors.
//!
//! What a text sets by a literal is followed. After everything else that could change what names mean, later statements
//! that depend on names say that they cannot know.

use std::collections::HashMap;

use super::analyzer::Analyzer;
use super::context::{Context, Readers};
use super::facts::{Bound, Facts, Kind, SessionEffect, StatementFacts};
use super::parse::{Node, nodes, parse, walk_all};
use super::settings::split;
use super::statement::into_clause;
use super::work::Work;
use crate::catalog::SearchPath;

const ROLE: &str = "the role changes earlier in the same text";
const PATH: &str = "the search path changes earlier in the same text to what is not known";
const TAKEN_BACK: &str = "a transaction that had changed the search path ends earlier in the same text";
const CODE: &str = "code that could change what names mean runs earlier in the same text";
const DEFINED: &str = "definitions change earlier in the same text";
const SHADOWED: &str = "a relation of this name is created earlier in the same text";
const ACCESS: &str = "which schema of the new search path is meant depends on privileges";
const EARLIER: &str = "what it runs was prepared before the search path changed in the same text";

/// What earlier statements of the text have left.
#[derive(Default)]
struct Before {
    /// The search path that a SET of the text gave.
    path: Option<Vec<String>>,
    /// The role is another one, and it is not known which.
    other_role: bool,
    /// Why names may mean anything.
    doubt: Option<&'static str>,
    /// Some definition is another one.
    defined: bool,
    /// Temporary relations of the text.
    created: Vec<String>,
    /// PREPARE: where it stands in the text, to be read anew where it is executed.
    prepared: HashMap<String, std::ops::Range<usize>>,
    /// DECLARE: its query, which was planned then.
    cursors: HashMap<String, StatementFacts>,
}

/// What the statements of a text are read in, and what they may still cost.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) work: &'a Work,
    pub(super) levels: usize,
}

/// Corrects facts that were worked out for each statement alone.
pub(super) fn in_order(text: &str, reading: &Reading<'_>, facts: &mut Facts) {
    if facts.statements.len() < 2 {
        return;
    }
    let mut before = Before::default();
    for statement in &mut facts.statements {
        let part = text.get(statement.span.clone()).unwrap_or_default();
        before.read(part, reading, statement);
        before.resolve(text, reading, statement);
        before.judge(part, statement);
        before.step(part, statement);
    }
}

fn read_alone(part: &str, reading: &Reading<'_>) -> Option<StatementFacts> {
    let tree = parse(part).ok()?;
    let parsed = tree.statements(part).next()?;
    Some(Analyzer::new(reading.context, reading.work, reading.levels).statement(parsed.node, parsed.span))
}

impl Before {
    /// Reads a statement again under the search path of the text.
    fn read(&self, part: &str, reading: &Reading<'_>, statement: &mut StatementFacts) {
        if self.path.is_none() && !self.other_role {
            return;
        }
        let path = self.path.as_deref().unwrap_or(reading.context.search_path);
        let context = &Context { search_path: path, readers: self.readers(reading), ..*reading.context };
        let span = statement.span.clone();
        match read_alone(part, &Reading { context, ..*reading }) {
            Some(again) => *statement = StatementFacts { span, ..again },
            None => statement.cannot_know(PATH),
        }
        // A schema that the role may not use is passed over: another relation of that name would be meant.
        let path = SearchPath::new(context.catalog, path, context.role);
        let twice = self.path.is_some()
            && statement.relations.iter().any(|name| {
                let behind = path.schemas().iter().skip_while(|schema| **schema != name.schema).skip(1);
                behind.into_iter().any(|schema| context.catalog.relation_in(schema, &name.name).is_some())
            });
        if twice {
            statement.cannot_know(ACCESS);
        }
    }

    /// EXECUTE and FETCH of what the text itself has made.
    fn resolve(&self, text: &str, reading: &Reading<'_>, statement: &mut StatementFacts) {
        for effect in std::mem::take(&mut statement.effects) {
            let inner = match &effect {
                SessionEffect::Execute { name } => {
                    let prepared = self.prepared.get(name);
                    if prepared.is_none() && self.path.is_some() {
                        statement.cannot_know(EARLIER);
                    }
                    let part = prepared.and_then(|span| text.get(span.clone()));
                    part.and_then(|part| self.prepared_means(part, reading))
                }
                SessionEffect::Fetch { name, .. } => self.cursors.get(name).cloned(),
                _ => None,
            };
            match inner {
                Some(inner) => statement.carry(&inner),
                None => statement.effects.push(effect.clone()),
            }
            if let SessionEffect::Fetch { rows, moves, .. } = effect
                && (moves || rows.is_some())
            {
                statement.bound = Bound::Rows(if moves { 0 } else { rows.unwrap_or(u64::MAX) });
            }
        }
    }

    fn prepared_means(&self, part: &str, reading: &Reading<'_>) -> Option<StatementFacts> {
        let path = self.path.as_deref().unwrap_or(reading.context.search_path);
        let context = &Context { search_path: path, readers: self.readers(reading), ..*reading.context };
        let read = read_alone(part, &Reading { context, ..*reading })?;
        read.effects.into_iter().find_map(|effect| match effect {
            SessionEffect::Prepare { inner, .. } => Some(*inner),
            _ => None,
        })
    }

    fn readers(&self, reading: &Reading<'_>) -> Readers {
        if self.other_role { Readers::Anyone } else { reading.context.readers }
    }

    fn judge(&self, part: &str, statement: &mut StatementFacts) {
        let touches = !statement.relations.is_empty() || !statement.functions.is_empty();
        if let Some(why) = self.doubt.filter(|_| statement.hangs_on_names()) {
            statement.cannot_know(why);
        }
        if self.defined && touches && statement.hangs_on_names() {
            statement.cannot_know(DEFINED);
        }
        if !self.created.is_empty() && (!statement.functions.is_empty() || names_one(part, &self.created)) {
            statement.cannot_know(SHADOWED);
        }
    }

    /// What a statement leaves to those behind it.
    fn step(&mut self, part: &str, statement: &StatementFacts) {
        let runs_code = !statement.opaque.is_empty()
            || statement.kinds.contains(&Kind::Call)
            || statement.functions.iter().any(|name| !name.starts_with("pg_catalog."));
        if runs_code && statement.kind() > Kind::Transaction {
            self.doubt = Some(CODE);
            self.other_role = true;
        }
        for effect in &statement.effects {
            self.effect(effect, part, statement);
        }
        if statement.takes_back() && (self.path.is_some() || self.defined) {
            self.doubt = Some(TAKEN_BACK);
        }
    }

    fn effect(&mut self, effect: &SessionEffect, part: &str, statement: &StatementFacts) {
        match effect {
            SessionEffect::Prepare { name, .. } => drop(self.prepared.insert(name.clone(), statement.span.clone())),
            SessionEffect::Declare { name, inner } => {
                self.cursors.insert(name.clone(), StatementFacts::clone(inner));
            }
            SessionEffect::Deallocate { name: Some(name) } => drop(self.prepared.remove(name)),
            SessionEffect::Deallocate { name: None } => self.prepared.clear(),
            SessionEffect::Close { name: Some(name) } => drop(self.cursors.remove(name)),
            SessionEffect::Close { name: None } => self.cursors.clear(),
            SessionEffect::Set { name, value } => self.set(name, value.as_deref(), statement),
            SessionEffect::DiscardAll => *self = Self { doubt: Some(PATH), other_role: true, ..Self::default() },
            SessionEffect::CatalogChange => self.define(part, statement),
            SessionEffect::Execute { .. } | SessionEffect::Fetch { .. } => {}
        }
    }

    fn set(&mut self, name: &str, value: Option<&str>, statement: &StatementFacts) {
        match name {
            "role" | "session_authorization" => {
                self.doubt = Some(ROLE);
                self.other_role = true;
            }
            "all" => {
                self.doubt = Some(PATH);
                self.other_role = true;
            }
            "search_path" => match value {
                // A set_config may not be reached by any row.
                Some(value) if statement.command == "SET" => self.path = Some(split(value)),
                _ => self.doubt = Some(PATH),
            },
            _ => {}
        }
    }

    fn define(&mut self, part: &str, statement: &StatementFacts) {
        match created(part) {
            Some(name) if statement.kind() <= Kind::Write => self.created.push(name),
            _ => self.defined = true,
        }
    }
}

/// Whether a statement names one of these relations.
fn names_one(part: &str, created: &[String]) -> bool {
    let Ok(tree) = parse(part) else { return true };
    let mut found = false;
    for statement in tree.statements(part) {
        walk_all(statement.node, |node| {
            if let Node::RangeVar(var) = node {
                let name = var.relname().unwrap_or_default();
                found |= created.iter().any(|created| created == crate::catalog::clip(name));
            }
            !found
        });
    }
    found
}

/// The relation that a statement creates.
fn created(part: &str) -> Option<String> {
    let tree = parse(part).ok()?;
    let statement = tree.statements(part).next()?;
    let relation = match statement.node {
        Node::CreateStmt(create) => create.relation(),
        Node::CreateTableAsStmt(create) => create.into().and_then(nodes::IntoClause::rel),
        Node::SelectStmt(select) => into_clause(select).and_then(nodes::IntoClause::rel),
        _ => None,
    };
    relation.and_then(nodes::RangeVar::relname).map(|name| crate::catalog::clip(name).to_owned())
}
