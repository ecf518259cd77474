//! A hold as its page shows it.

use askama::Template;

use super::shown::{Piece, pieces, size};
use super::visitor::{Named, Visitor};
use crate::approvals::{Hold, HoldState};
use crate::control::card;

/// Fields that the page shows in a place of their own.
const ELSEWHERE: [&str; 6] = ["id", "statement", "parameter", "finding", "cannot be known", "holding locks since"];

/// The page.
#[derive(Template)]
#[template(path = "hold.html")]
pub(super) struct HoldPage {
    id: String,
    state: &'static str,
    sensitivity: &'static str,
    action_hash: String,
    statement: Vec<Piece>,
    size: String,
    odd: usize,
    parameters: Vec<Value>,
    warnings: Vec<Warning>,
    facts: Vec<Fact>,
    pending: bool,
    may_decide: bool,
    problem: Option<String>,
    reason: String,
    visitor: Named,
}

struct Value {
    null: bool,
    pieces: Vec<Piece>,
}

struct Warning {
    label: &'static str,
    text: String,
}

struct Fact {
    label: &'static str,
    lines: Vec<String>,
}

/// What became of a form that did not count.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempt {
    pub(super) problem: Option<String>,
    /// What was typed, so that nobody types it twice.
    pub(super) reason: String,
}

impl HoldPage {
    pub(super) fn new(hold: &Hold, visitor: &Visitor, attempt: Attempt) -> Self {
        let lines = card::lines(hold);
        let statement = pieces(&hold.statement);
        let parameters: Vec<_> = hold.parameters.iter().map(|value| Value::new(value.as_deref())).collect();
        let values = parameters.iter().flat_map(|value| &value.pieces);
        Self {
            id: hold.id.to_string(),
            state: hold.state.as_str(),
            sensitivity: hold.sensitivity.as_str(),
            action_hash: hold.action_hash.clone(),
            odd: statement.iter().chain(values).filter(|piece| piece.odd).count(),
            size: size(&hold.statement),
            statement,
            warnings: warnings(&lines),
            facts: facts(lines),
            parameters,
            pending: hold.state == HoldState::Pending,
            may_decide: visitor.operator().may_decide(),
            problem: attempt.problem,
            reason: attempt.reason,
            visitor: visitor.named(),
        }
    }
}

impl Value {
    fn new(value: Option<&str>) -> Self {
        Self { null: value.is_none(), pieces: value.map(pieces).unwrap_or_default() }
    }
}

fn warnings(lines: &[(&'static str, String)]) -> Vec<Warning> {
    let label = |field| match field {
        "finding" => Some("Finding:"),
        "cannot be known" => Some("Cannot be known:"),
        "holding locks since" => Some("It holds locks while it waits, since"),
        _ => None,
    };
    let warning = |(field, text): &(&'static str, String)| Some(Warning { label: label(field)?, text: text.clone() });
    lines.iter().filter_map(warning).collect()
}

/// Lines of the card, those of one field together.
fn facts(lines: Vec<(&'static str, String)>) -> Vec<Fact> {
    let mut facts: Vec<Fact> = Vec::new();
    for (label, line) in lines {
        match facts.last_mut().filter(|last| last.label == label) {
            Some(last) => last.lines.push(line),
            None if ELSEWHERE.contains(&label) => {}
            None => facts.push(Fact { label, lines: vec![line] }),
        }
    }
    facts
}
