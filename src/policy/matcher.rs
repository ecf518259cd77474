//! The conditions of a rule, compiled: each condition that is given must hold.

use super::condition::{Compare, Network, TimeOfWeek};
use super::decision::{Request, Sensitivity};
use super::size::{Amount, Answer, suspect, vouched};
use crate::analysis::{Access, Bound, ColumnFacts, ColumnName, Kind, StatementFacts};
use crate::catalog::tags::{Glob, NamePattern, Wildcard};
use crate::principal::{Principal, PrincipalKind};

/// On whose side doubt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// A hold or deny, or what an allow excepts: it matches if any part of the statement does, and in doubt.
    Suspect,
    /// An allow, or what a hold or deny excepts: it matches if it covers all of the statement, without doubt.
    Vouch,
}

/// Conditions; `None` asks nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Matcher {
    pub(super) principal: Option<Vec<Who>>,
    pub(super) database: Option<Vec<Wildcard>>,
    pub(super) kind: Option<Vec<Kind>>,
    pub(super) command: Option<Vec<Wildcard>>,
    pub(super) relation: Option<Vec<NamePattern>>,
    pub(super) column: Option<Vec<NamePattern>>,
    pub(super) tag: Option<Vec<Glob>>,
    pub(super) access: Option<Vec<Access>>,
    pub(super) function: Option<Vec<NamePattern>>,
    pub(super) rows: Option<Compare>,
    pub(super) bytes: Option<Compare>,
    pub(super) unbounded: Option<bool>,
    pub(super) sensitivity: Option<Vec<Sensitivity>>,
    pub(super) environment: Option<Vec<Wildcard>>,
    pub(super) intent: Option<Vec<Wildcard>>,
    pub(super) time: Option<Vec<TimeOfWeek>>,
    pub(super) client: Option<Vec<Network>>,
}

/// What is asked of a principal.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Who {
    pub(super) name: Option<Vec<Wildcard>>,
    pub(super) kind: Option<Vec<PrincipalKind>>,
    pub(super) groups: Option<Vec<Wildcard>>,
    pub(super) on_behalf_of: Option<Vec<Wildcard>>,
    pub(super) role: Option<Vec<Wildcard>>,
}

/// A statement with what was worked out about it once for all rules.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) sensitivity: Sensitivity,
}

/// What the size conditions of a matcher say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    /// They all hold.
    pub(super) matches: bool,
    /// That the milder case was taken depends on these caps.
    pub(super) rows: Option<u64>,
    /// The same for bytes.
    pub(super) bytes: Option<u64>,
    /// An estimate could change the answer.
    pub(super) wants_estimate: bool,
}

impl Who {
    fn matches(&self, principal: &Principal) -> bool {
        wild(self.name.as_ref(), Some(&principal.name))
            && one_of(self.kind.as_ref(), &principal.kind)
            && wild(self.on_behalf_of.as_ref(), principal.human.as_deref())
            && wild(self.role.as_ref(), Some(&principal.role))
            && self.groups.as_ref().is_none_or(|patterns| {
                principal.groups.iter().any(|group| patterns.iter().any(|pattern| pattern.matches(group)))
            })
    }
}

impl Matcher {
    /// Whether every condition holds but those on size.
    pub(super) fn fits(&self, case: Case<'_>, side: Side) -> bool {
        self.fits_session(case.request) && self.fits_statement(case, side)
    }

    fn fits_session(&self, request: &Request<'_>) -> bool {
        self.principal.as_ref().is_none_or(|who| who.iter().any(|who| who.matches(request.principal)))
            && wild(self.database.as_ref(), Some(request.database))
            && wild(self.environment.as_ref(), request.environment)
            && wild(self.intent.as_ref(), request.intent)
            && self.time.as_ref().is_none_or(|times| times.iter().any(|time| time.contains(request.at)))
            && self.client.as_ref().is_none_or(|nets| nets.iter().any(|net| net.contains(request.client)))
    }

    fn fits_statement(&self, case: Case<'_>, side: Side) -> bool {
        let facts = case.request.facts;
        // What an opaque statement touches is unknown: nothing covers it.
        let blind = side == Side::Vouch && self.looks_inside() && !facts.opaque.is_empty();
        !blind
            && self.fits_kind(facts, side)
            && wild(self.command.as_ref(), Some(&facts.command))
            && one_of(self.sensitivity.as_ref(), &case.sensitivity)
            && self.unbounded.is_none_or(|unbounded| (facts.bound == Bound::Unbounded) == unbounded)
            && self.fits_relations(case.request, side)
            && self.fits_functions(facts, side)
            && self.fits_columns(case.request, side)
    }

    /// Whether it depends on what the statement touches.
    pub(super) fn looks_inside(&self) -> bool {
        self.relation.is_some() || self.function.is_some() || self.looks_at_columns()
    }

    fn looks_at_columns(&self) -> bool {
        self.column.is_some() || self.tag.is_some() || self.access.is_some()
    }

    fn fits_kind(&self, facts: &StatementFacts, side: Side) -> bool {
        self.kind.as_ref().is_none_or(|kinds| quantify(side, facts.kinds.iter(), |kind| kinds.contains(kind)))
    }

    fn fits_relations(&self, request: &Request<'_>, side: Side) -> bool {
        self.relation.as_ref().is_none_or(|patterns| {
            quantify(side, request.facts.relations.iter(), |relation| {
                let parts = [request.database, &relation.schema, &relation.name];
                patterns.iter().any(|pattern| pattern.matches(&parts))
            })
        })
    }

    fn fits_functions(&self, facts: &StatementFacts, side: Side) -> bool {
        self.function.as_ref().is_none_or(|patterns| {
            quantify(side, facts.functions.iter(), |function| {
                let (schema, name) = function.split_once('.').unwrap_or(("", function));
                patterns.iter().any(|pattern| pattern.matches(&[schema, name]))
            })
        })
    }

    /// The conditions on columns must hold of one and the same column. An allow by tag needs every tag of every column
    /// covered, and one tag at least; `access` then asks about the tagged columns alone.
    fn fits_columns(&self, request: &Request<'_>, side: Side) -> bool {
        if !self.looks_at_columns() {
            return true;
        }
        let database = request.database;
        let mut columns = request.facts.columns.iter();
        match side {
            Side::Suspect => columns.any(|(name, column)| self.suspects(database, name, column)),
            Side::Vouch => {
                let mut relevant = columns.clone().filter(|(_, column)| self.concerns(column));
                relevant.next().is_some() && columns.all(|(name, column)| self.vouches(database, name, column))
            }
        }
    }

    pub(super) fn suspects(&self, database: &str, name: &ColumnName, column: &ColumnFacts) -> bool {
        self.names_column(database, name)
            && self.tag.as_ref().is_none_or(|globs| column.tags.iter().any(|tag| any_glob(globs, tag)))
            && self.access.as_ref().is_none_or(|access| column.access.iter().any(|one| access.contains(one)))
    }

    fn vouches(&self, database: &str, name: &ColumnName, column: &ColumnFacts) -> bool {
        self.names_column(database, name)
            && self.tag.as_ref().is_none_or(|globs| column.tags.iter().all(|tag| any_glob(globs, tag)))
            && (!self.concerns(column)
                || self.access.as_ref().is_none_or(|access| column.access.iter().all(|one| access.contains(one))))
    }

    /// Whether an allow is about this column.
    fn concerns(&self, column: &ColumnFacts) -> bool {
        self.tag.is_none() || !column.tags.is_empty()
    }

    fn names_column(&self, database: &str, name: &ColumnName) -> bool {
        self.column.as_ref().is_none_or(|patterns| {
            let parts = [database, &name.relation.schema, &name.relation.name, &name.column];
            patterns.iter().any(|pattern| pattern.matches(&parts))
        })
    }

    /// What the size conditions say, once all others hold.
    pub(super) fn sizes(&self, case: Case<'_>, side: Side) -> Sizes {
        let request = case.request;
        let mut sizes = Sizes { matches: true, ..Sizes::default() };
        let mut settled = false;
        let rows = Amount::rows(request);
        let mut ask = |compare: Option<Compare>, amount: Amount| {
            let compare = compare?;
            let answer = match side {
                Side::Suspect => suspect(compare, amount),
                Side::Vouch => vouched(compare, amount),
            };
            sizes.wants_estimate |= amount.likely.is_none() && !amount.hidden && rows.proved.is_none();
            sizes.matches &= answer == Answer::Yes || (side == Side::Vouch && answer != Answer::No);
            settled |= answer == Answer::No;
            if let Answer::Within(most) = answer { Some(most) } else { None }
        };
        let (rows_cap, bytes_cap) = (ask(self.rows, rows), ask(self.bytes, Amount::bytes(request)));
        if !settled {
            (sizes.rows, sizes.bytes) = (rows_cap, bytes_cap);
        }
        sizes.wants_estimate |= self.grades_blindly(case);
        sizes
    }

    /// Whether it asks about a sensitivity that rests on an unknown number of rows.
    pub(super) fn grades_blindly(&self, case: Case<'_>) -> bool {
        let rows = Amount::rows(case.request);
        self.sensitivity.is_some() && !rows.hidden && rows.known().is_none() && case.request.facts.is_tagged()
    }
}

/// Whether one condition on a text holds; what is not known matches nothing.
fn wild(patterns: Option<&Vec<Wildcard>>, text: Option<&str>) -> bool {
    patterns.is_none_or(|patterns| text.is_some_and(|text| patterns.iter().any(|pattern| pattern.matches(text))))
}

fn one_of<T: PartialEq>(listed: Option<&Vec<T>>, value: &T) -> bool {
    listed.is_none_or(|listed| listed.contains(value))
}

fn any_glob(globs: &[Glob], tag: &str) -> bool {
    globs.iter().any(|glob| glob.matches(tag))
}

/// Any of them for suspicion; all, and one at least, to vouch.
fn quantify<T>(side: Side, mut parts: impl Iterator<Item = T> + Clone, holds: impl Fn(T) -> bool) -> bool {
    match side {
        Side::Suspect => parts.any(holds),
        Side::Vouch => parts.clone().next().is_some() && parts.all(holds),
    }
}
