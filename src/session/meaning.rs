//! What a text that is kept under a name means: now, and when the server last read it.
//!
//! The server reads a prepared statement again only where its search path is another one than when it last did, or where
//! something that it touches has changed; a table that is new in front of the one that it reads changes nothing. The plan
//! of a portal or a cursor is fixed. So what a text meant before counts beside what it means now, wherever it may still be
//! what runs.

use std::sync::Arc;

use super::Session;
use super::names::{Meaning, Prepared};
use crate::analysis::{Bound, Facts, SessionEffect, StatementFacts};

/// Meanings of one statement that are kept apart; more are taken together.
const PAST_MAX: usize = 4;

/// Why a statement is opaque that comes after the end of a transaction that has changed settings or definitions.
const TAKEN_BACK: &str = "a transaction that had changed settings or definitions ends earlier in the same text";

/// Whether the server may read the text again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// A prepared statement, at its Bind or EXECUTE.
    Anew,
    /// A portal or a cursor: it was planned when it was made.
    Fixed,
}

/// Whether it runs what another text left under a name.
pub(super) fn names_another(facts: &Facts) -> bool {
    let names = |effect: &SessionEffect| matches!(effect, SessionEffect::Execute { .. } | SessionEffect::Fetch { .. });
    facts.statements.iter().any(|facts| facts.effects.iter().any(names))
}

impl Session {
    /// Takes what a kept text means now into account.
    pub(super) fn means_now(&self, prepared: &mut Prepared, facts: Arc<Facts>, plan: Plan) {
        let facts = if prepared.by_sql { inner_facts(&facts).unwrap_or(facts) } else { facts };
        let now = Meaning { names: self.settings.names.clone(), facts: prepared.facts.clone() };
        let before = Meaning { names: prepared.names.take(), ..now.clone() };
        if !prepared.past.contains(&before) {
            prepared.past.push(before);
        }
        let may_run = |past: &&Meaning| plan == Plan::Fixed || past.has_path_of(&now);
        prepared.facts = prepared.past.iter().filter(may_run).fold(facts, |all, past| both(all, &past.facts));
        if prepared.past.len() > PAST_MAX {
            let all = prepared.past.drain(..).map(|past| past.facts).reduce(|all, past| both(all, &past));
            prepared.past.extend(all.map(|facts| Meaning { names: None, facts }));
        }
        prepared.names = now.names;
        prepared.epoch = self.epoch();
    }

    /// EXECUTE and FETCH carry the facts of what they run.
    pub(super) fn resolve(&mut self, facts: Arc<Facts>) -> Arc<Facts> {
        let ends = self.end_that_takes_back(&facts);
        if !names_another(&facts) && ends.is_none() {
            return facts;
        }
        let mut facts = Facts::clone(&facts);
        for statement in &mut facts.statements {
            for effect in statement.effects.clone() {
                match effect {
                    SessionEffect::Execute { name } => {
                        let inner = self.statement_means(&name);
                        carry(statement, inner.as_ref(), "EXECUTE of a statement that is not known");
                    }
                    SessionEffect::Fetch { name, rows, moves } => {
                        let inner = self.cursor_means(&name);
                        carry(statement, inner.as_ref(), "FETCH from a cursor that is not known");
                        if moves || rows.is_some() {
                            statement.bound = Bound::Rows(if moves { 0 } else { rows.unwrap_or(u64::MAX) });
                        }
                    }
                    _ => {}
                }
            }
        }
        if let Some(end) = ends {
            facts.doubt_after(end, TAKEN_BACK);
        }
        Arc::new(facts)
    }

    /// The first COMMIT or ROLLBACK of a longer text after which names mean what they meant before, which is not known.
    fn end_that_takes_back(&self, facts: &Facts) -> Option<usize> {
        if facts.statements.len() < 2 || !(self.settings.touched || self.changed || self.own_changed) {
            return None;
        }
        facts.statements.iter().position(StatementFacts::takes_back)
    }

    fn statement_means(&mut self, name: &str) -> Option<Arc<Facts>> {
        let mut prepared = self.names.statement(name.as_bytes())?.clone();
        if prepared.epoch != self.epoch() {
            let facts = self.analyse(&prepared.text).ok()?;
            self.means_now(&mut prepared, facts, Plan::Anew);
            self.names.set_statement(name.as_bytes().into(), prepared.clone());
        }
        Some(prepared.facts)
    }

    fn cursor_means(&mut self, name: &str) -> Option<Arc<Facts>> {
        let mut prepared = self.names.portal(name.as_bytes())?.prepared.clone();
        if prepared.epoch != self.epoch() {
            let facts = self.analyse(&prepared.text).ok()?;
            self.means_now(&mut prepared, facts, Plan::Fixed);
            if let Some(portal) = self.names.portal_mut(name.as_bytes()) {
                portal.prepared = prepared.clone();
            }
        }
        Some(prepared.facts)
    }
}

/// The facts of the statement inside a PREPARE or DECLARE.
fn inner_facts(facts: &Facts) -> Option<Arc<Facts>> {
    facts.statements.iter().flat_map(|facts| &facts.effects).find_map(|effect| match effect {
        SessionEffect::Prepare { inner, .. } | SessionEffect::Declare { inner, .. } => {
            Some(Arc::new(Facts { statements: vec![StatementFacts::clone(inner)] }))
        }
        _ => None,
    })
}

fn both(all: Arc<Facts>, other: &Arc<Facts>) -> Arc<Facts> {
    if all == *other {
        return all;
    }
    let mut all = Facts::clone(&all);
    all.also(other);
    Arc::new(all)
}

fn carry(statement: &mut StatementFacts, inner: Option<&Arc<Facts>>, unknown: &str) {
    match inner.and_then(|facts| facts.statements.first()) {
        Some(inner) => statement.carry(inner),
        None => statement.cannot_know(unknown),
    }
}
