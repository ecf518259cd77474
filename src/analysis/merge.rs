//! Facts of one text under more than one reading, and what a statement says where its reading is in doubt.

use super::facts::{Bound, Facts, Kind, Output, SessionEffect, StatementFacts};

impl Facts {
    /// Takes another reading of the same text in: what either touches counts.
    pub fn also(&mut self, other: &Self) {
        if self.statements.len() != other.statements.len() {
            for statement in &mut self.statements {
                statement.cannot_know("its text has been read as another number of statements");
            }
        }
        for (mine, theirs) in self.statements.iter_mut().zip(&other.statements) {
            mine.also(theirs);
        }
    }

    /// Every statement behind that one whose names could mean something else by then is opaque.
    pub fn doubt_after(&mut self, index: usize, why: &str) {
        for statement in self.statements.iter_mut().skip(index + 1).filter(|statement| statement.hangs_on_names()) {
            statement.cannot_know(why);
        }
    }
}

impl StatementFacts {
    /// What another reading of the same statement touches counts too.
    fn also(&mut self, other: &Self) {
        self.kinds.extend(other.kinds.iter().copied());
        self.relations.extend(other.relations.iter().cloned());
        for (name, column) in &other.columns {
            self.columns.entry(name.clone()).or_default().extend(column);
        }
        self.functions.extend(other.functions.iter().cloned());
        if self.outputs.len() == other.outputs.len() {
            for (mine, theirs) in self.outputs.iter_mut().zip(&other.outputs) {
                mine.sources.extend(theirs.sources.iter().cloned());
            }
        } else {
            self.outputs.extend(other.outputs.iter().map(Output::clone));
        }
        add_new(&mut self.opaque, &other.opaque);
        add_new(&mut self.findings, &other.findings);
        add_new(&mut self.effects, &other.effects);
        self.bound = looser(self.bound, other.bound);
        self.packs |= other.packs;
        self.scans.extend(other.scans.iter().cloned());
        self.pure_read &= other.pure_read;
        self.unresolved |= other.unresolved;
        self.session_local |= other.session_local;
    }

    /// Says that a part cannot be known.
    pub fn cannot_know(&mut self, why: &str) {
        self.kinds.insert(Kind::Opaque);
        self.pure_read = false;
        add_new(&mut self.opaque, &[why.to_owned()]);
    }

    /// It ends a transaction or goes back to a savepoint.
    #[must_use]
    pub fn takes_back(&self) -> bool {
        matches!(self.command.as_str(), "COMMIT" | "END" | "ROLLBACK" | "ROLLBACK TO" | "PREPARE TRANSACTION")
    }

    /// What it does depends on what names mean when it runs; a cursor's have got their meaning before.
    pub(super) fn hangs_on_names(&self) -> bool {
        let runs = |effect: &SessionEffect| matches!(effect, SessionEffect::Execute { .. });
        let acts = self.kinds.iter().any(|kind| *kind > Kind::Transaction) || self.effects.iter().any(runs);
        acts && !matches!(self.command.as_str(), "FETCH" | "MOVE")
    }
}

fn add_new<T: Clone + PartialEq>(mine: &mut Vec<T>, theirs: &[T]) {
    for new in theirs {
        if !mine.contains(new) {
            mine.push(new.clone());
        }
    }
}

fn looser(mine: Bound, theirs: Bound) -> Bound {
    match (mine.rows(), theirs.rows()) {
        (Some(mine_rows), Some(their_rows)) => {
            if mine_rows >= their_rows {
                mine
            } else {
                theirs
            }
        }
        _ => Bound::Unbounded,
    }
}
