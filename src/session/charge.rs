//! Budgets meet streams: rows are reserved before they leave, and what was not used is given back.

use super::Session;
use super::run::{Part, Run};
use super::scribe::Scribe;
use crate::analysis::StatementFacts;
use crate::policy::Budget;

/// The budgets that a statement uses up.
fn budgets<'a>(part: &'a Part, facts: &'a StatementFacts) -> impl Iterator<Item = &'a Budget> {
    part.decision.limits.budgets.iter().filter(|budget| budget.covers(facts))
}

impl Session {
    /// Says what is left of the budgets that a run uses up.
    pub(super) fn charge_budgets(&self, run: &mut Run) {
        for (part, facts) in run.parts.iter_mut().zip(&run.facts.statements) {
            let left = |budget| self.services.budgets.left(&self.who.principal.name, budget, self.services.clock.now());
            part.meter.budget_left = budgets(part, facts).map(left).min();
        }
    }

    /// Takes more rows out of the budgets of the stream at the front, and counts its next row. False: nothing is left.
    pub(super) fn admits_by_reserving(&mut self, bytes: u64) -> bool {
        let services = self.services.clone();
        let Some(run) = self.phase.front().and_then(|front| front.request.run_mut()) else { return false };
        let (facts, current) = (run.facts.clone(), run.current);
        let (Some(part), Some(facts)) = (run.part_mut(), facts.statements.get(current)) else { return false };
        if !part.meter.wants_rows() {
            return false;
        }
        let (now, principal) = (services.clock.now(), self.who.principal.name.as_str());
        let mut taken: Vec<(&Budget, u64)> = Vec::new();
        for budget in budgets(part, facts) {
            taken.push((budget, services.budgets.reserve(principal, budget, now)));
        }
        let rows = taken.iter().map(|(_, rows)| *rows).min().unwrap_or(0);
        for (budget, more) in taken {
            services.budgets.give_back(principal, budget, more - rows, now);
        }
        part.meter.reserved += rows;
        rows > 0 && part.meter.admit(bytes)
    }
}

impl Scribe {
    /// A statement has ended: what it reserved and did not use is given back; what a person let pass counts too.
    pub(super) fn settle_budgets(&self, run: &Run, index: usize) {
        let (Some(part), Some(facts)) = (run.parts.get(index), run.facts_of(index)) else { return };
        let Some(principal) = self.principal() else { return };
        let (rows, reserved) = (part.meter.rows, part.meter.reserved);
        if part.meter.budget_left.is_none() || rows == reserved {
            return;
        }
        let now = self.services.clock.now();
        for budget in budgets(part, facts) {
            if rows > reserved {
                self.services.budgets.spend(principal, budget, rows - reserved, now);
            } else {
                self.services.budgets.give_back(principal, budget, reserved - rows, now);
            }
        }
    }
}
