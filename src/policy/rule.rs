//! One compiled rule, and what it says of one statement.

use std::sync::Arc;

use super::condition::Compare;
use super::decision::{Approve, Limits, Request, Verdict};
use super::document::Mode;
use super::finding::Place;
use super::matcher::{Case, Matcher, Side, Sizes};

/// A rule, ready to be asked.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    /// Where its name stands.
    pub(super) path: Arc<str>,
    pub(super) place: Place,
    pub(super) effect: Verdict,
    pub(super) matches: Matcher,
    pub(super) unless: Option<Matcher>,
    pub(super) approve: Approve,
    pub(super) limits: Limits,
    pub(super) mode: Mode,
    pub(super) reveal_errors: bool,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Opinion {
    /// It decides.
    pub(super) decides: bool,
    /// Whether it decides or not rests on no more rows than this leaving.
    pub(super) rows: Option<u64>,
    /// The same for bytes.
    pub(super) bytes: Option<u64>,
    /// An estimate could change it.
    pub(super) wants_estimate: bool,
}

impl Opinion {
    fn new(decides: bool, sizes: &[Sizes]) -> Self {
        let least = |pick: fn(&Sizes) -> Option<u64>| sizes.iter().filter_map(pick).min();
        let wants_estimate = sizes.iter().any(|sizes| sizes.wants_estimate);
        Self { decides, rows: least(|sizes| sizes.rows), bytes: least(|sizes| sizes.bytes), wants_estimate }
    }
}

impl Rule {
    /// What the rule says of a statement.
    pub(super) fn opinion(&self, case: Case<'_>) -> Opinion {
        let (side, other) = match self.effect {
            Verdict::Allow => (Side::Vouch, Side::Suspect),
            Verdict::Hold | Verdict::Deny => (Side::Suspect, Side::Vouch),
        };
        if !self.matches.fits(case, side) {
            return Opinion { wants_estimate: self.matches.grades_blindly(case), ..Opinion::default() };
        }
        let sizes = self.matches.sizes(case, side);
        let excepted = match &self.unless {
            Some(unless) if unless.fits(case, other) => unless.sizes(case, other),
            _ => Sizes::default(),
        };
        match (sizes.matches, excepted.matches) {
            (true, false) => Opinion::new(true, &[sizes, excepted]),
            // An exemption by estimate alone holds as long as the estimate does.
            (true, true) => Opinion::new(false, &[excepted]),
            (false, true) => Opinion::default(),
            (false, false) => Opinion::new(false, &[sizes]),
        }
    }

    /// Whether it looks at the time.
    pub(super) fn reads_the_clock(&self) -> bool {
        self.matches.time.is_some() || self.unless.as_ref().is_some_and(|unless| unless.time.is_some())
    }

    /// One sentence on why it decided; names columns, never values.
    pub(super) fn reason(&self, request: &Request<'_>) -> String {
        if self.effect == Verdict::Allow {
            return format!("The rule {} covers all of it.", self.name);
        }
        let mut reasons = Vec::new();
        self.kind_reason(request, &mut reasons);
        self.column_reason(request, &mut reasons);
        for (what, compare) in [("rows", self.matches.rows), ("bytes", self.matches.bytes)] {
            match compare {
                Some(Compare::Above(most)) => {
                    reasons.push(format!("the {what} it reveals are not known to be {most} or fewer"));
                }
                Some(Compare::UpTo(most)) => reasons.push(format!("the {what} it reveals may be {most} or fewer")),
                None => {}
            }
        }
        if reasons.is_empty() {
            return format!("The rule {} applies.", self.name);
        }
        format!("The rule {} applies: {}.", self.name, reasons.join(", and "))
    }

    fn kind_reason(&self, request: &Request<'_>, reasons: &mut Vec<String>) {
        let Some(kinds) = &self.matches.kind else { return };
        let hit: Vec<_> =
            request.facts.kinds.iter().filter(|kind| kinds.contains(kind)).map(|kind| kind.as_str()).collect();
        reasons.push(format!("the statement is {}", hit.join(" and ")));
    }

    fn column_reason(&self, request: &Request<'_>, reasons: &mut Vec<String>) {
        const SHOWN: usize = 5;
        if self.matches.tag.is_none() && self.matches.column.is_none() {
            return;
        }
        let hits =
            request.facts.columns.iter().filter(|(name, facts)| self.matches.suspects(request.database, name, facts));
        let mut names: Vec<_> = hits
            .map(|(name, facts)| match facts.tags.iter().next() {
                Some(tag) => format!("{name} ({tag})"),
                None => name.to_string(),
            })
            .collect();
        let more = names.len().saturating_sub(SHOWN);
        names.truncate(SHOWN);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        reasons.push(format!("it touches {}{rest}", names.join(", ")));
    }
}
