//! The answer of a policy to one statement: a total, pure function.

use std::sync::Arc;

use super::decision::{
    ALWAYS_RULE, Approve, DEFAULT_RULE, Decision, ErrorText, Limits, Observed, OnLimit, Request, Verdict,
};
use super::document::{Errors, Mode};
use super::matcher::Case;
use super::rule::{Opinion, Rule};
use super::{Policy, sensitivity};
use crate::analysis::{Kind, StatementFacts};

impl Policy {
    /// Allow, hold or deny, and why. The first rule that decides wins; a rule that would have decided had the size been
    /// known leaves its threshold as a tripwire on the allow that follows.
    #[must_use]
    pub fn evaluate(&self, request: &Request<'_>) -> Decision {
        let case = Case { request, sensitivity: sensitivity::of(request) };
        if request.facts.is_always_allowed() {
            return self.always(case);
        }
        let mut trail = Trail::default();
        for rule in &self.rules {
            let opinion = rule.opinion(case);
            if rule.mode == Mode::Observe {
                trail.observe(rule, opinion);
                continue;
            }
            trail.wants_estimate |= opinion.wants_estimate;
            if opinion.decides {
                return self.decided(rule, opinion, case, trail);
            }
            trail.tripwire(rule, opinion);
        }
        self.undecided(case, trail)
    }

    fn always(&self, case: Case<'_>) -> Decision {
        Decision {
            verdict: Verdict::Allow,
            rule: self.always_rule.clone(),
            reason: "A session must always be able to say this.".to_owned(),
            approve: self.approve.clone(),
            limits: Limits::default(),
            sensitivity: case.sensitivity,
            wants_estimate: false,
            errors: ErrorText::Pass,
            observed: Vec::new(),
        }
    }

    fn decided<'a>(&self, rule: &'a Rule, opinion: Opinion, case: Case<'_>, mut trail: Trail<'a>) -> Decision {
        let (mut limits, mut approve) = (Limits::default(), &rule.approve);
        if rule.effect == Verdict::Allow {
            limits.clone_from(&rule.limits);
            trail.tripwire(rule, opinion);
            approve = trail.settle(&mut limits).unwrap_or(approve);
        }
        Decision {
            verdict: rule.effect,
            rule: rule.name.clone(),
            reason: rule.reason(case.request),
            approve: approve.clone(),
            limits,
            sensitivity: case.sensitivity,
            wants_estimate: trail.wants_estimate,
            errors: if rule.reveal_errors { ErrorText::Pass } else { self.error_text(case.request.facts) },
            observed: trail.observed,
        }
    }

    fn undecided(&self, case: Case<'_>, trail: Trail<'_>) -> Decision {
        let (mut limits, mut approve) = (Limits::default(), &self.approve);
        if self.default == Verdict::Allow {
            approve = trail.settle(&mut limits).unwrap_or(approve);
        }
        Decision {
            verdict: self.default,
            rule: self.default_rule.clone(),
            reason: "No rule names it.".to_owned(),
            approve: approve.clone(),
            limits,
            sensitivity: case.sensitivity,
            wants_estimate: trail.wants_estimate,
            errors: self.error_text(case.request.facts),
            observed: trail.observed,
        }
    }

    /// Which error texts are redacted: those that can carry values of tagged columns, or of columns that are unknown.
    fn error_text(&self, facts: &StatementFacts) -> ErrorText {
        let harmless = !facts.is_tagged() && facts.opaque.is_empty();
        if self.errors == Errors::Pass || harmless {
            return ErrorText::Pass;
        }
        let own_code = facts.functions.iter().any(|function| !function.starts_with("pg_catalog."))
            || facts.kinds.contains(&Kind::Call)
            || facts.command == "DO";
        if own_code { ErrorText::RedactAll } else { ErrorText::Redact }
    }
}

/// What the rules so far leave behind.
#[derive(Default)]
struct Trail<'a> {
    rows: Option<(u64, &'a Rule)>,
    bytes: Option<(u64, &'a Rule)>,
    /// A tripwire is one of a deny.
    refuses: bool,
    wants_estimate: bool,
    observed: Vec<Observed>,
}

impl<'a> Trail<'a> {
    fn observe(&mut self, rule: &Rule, opinion: Opinion) {
        if opinion.decides {
            self.observed.push(Observed { rule: rule.name.clone(), verdict: rule.effect });
        }
    }

    fn tripwire(&mut self, rule: &'a Rule, opinion: Opinion) {
        self.refuses |= rule.effect == Verdict::Deny && (opinion.rows.is_some() || opinion.bytes.is_some());
        lower(&mut self.rows, opinion.rows, rule);
        lower(&mut self.bytes, opinion.bytes, rule);
    }

    /// Adds the tripwires to an allow's own limits; the approvers of the first that is crossed, where that is one of
    /// them. There is one answer at a cap: where any of them refuses, it is refusal.
    fn settle(&self, limits: &mut Limits) -> Option<&'a Approve> {
        let mut approve = None;
        for (cap, tripwire) in [(&mut limits.bytes, self.bytes), (&mut limits.rows, self.rows)] {
            if let Some((most, rule)) = tripwire
                && cap.is_none_or(|own| most < own)
            {
                *cap = Some(most);
                approve = Some(&rule.approve);
            }
        }
        if self.refuses {
            limits.on_limit = OnLimit::Deny;
        }
        approve
    }
}

/// Keeps the lower cap; of two equal ones the earlier rule's.
fn lower<'a>(kept: &mut Option<(u64, &'a Rule)>, most: Option<u64>, rule: &'a Rule) {
    let Some(most) = most else { return };
    if kept.is_none_or(|(least, _)| most < least) {
        *kept = Some((most, rule));
    }
}

/// The names of decisions that no rule makes.
pub(super) fn reserved() -> (Arc<str>, Arc<str>) {
    (ALWAYS_RULE.into(), DEFAULT_RULE.into())
}
