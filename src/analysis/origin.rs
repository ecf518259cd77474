//! The third witness: what the server says that a plain result column comes from, against what was predicted.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::analyzer::{Analyzer, Reading};
use super::context::Context;
use super::facts::{Access, ColumnFacts, ColumnName, StatementFacts};
use super::render;
use crate::catalog::Oid;

/// What a `RowDescription` shows that the facts of its statement do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unforeseen {
    /// Tagged columns that were not predicted, with their tags.
    pub columns: Vec<(ColumnName, ColumnFacts)>,
    /// Relations that the catalog does not know.
    pub unknown: Vec<Oid>,
}

impl Unforeseen {
    /// Whether all is as predicted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.unknown.is_empty()
    }

    /// Writes into the facts of the statement what it turned out to show.
    pub fn enter(self, facts: &mut StatementFacts) {
        for (name, column) in self.columns {
            facts.findings.push(format!("the server shows {name}, which the text did not"));
            facts.relations.insert(name.relation.clone());
            facts.columns.insert(name, column);
        }
        for oid in &self.unknown {
            facts.findings.push(format!("the server shows a relation that the catalog does not know: {oid}"));
        }
    }
}

/// Compares plain result columns, each a table OID and an attribute number, with the facts of their statement. A view's
/// column stands for the columns that the view makes it from, a whole row (attribute 0) for all of them.
#[must_use]
pub fn unforeseen(context: &Context<'_>, columns: &[(Oid, i16)], facts: &StatementFacts) -> Unforeseen {
    let mut unforeseen = Unforeseen::default();
    for (oid, number) in columns.iter().filter(|(_, number)| *number >= 0) {
        let read = catch_unwind(AssertUnwindSafe(|| shown(context, *oid, *number))).ok().flatten();
        let Some(shown) = read else {
            unforeseen.unknown.push(*oid);
            continue;
        };
        for (name, column) in shown {
            let known = facts.columns.contains_key(&name) || unforeseen.columns.iter().any(|(other, _)| *other == name);
            if !column.tags.is_empty() && !known {
                unforeseen.columns.push((name, column));
            }
        }
    }
    unforeseen
}

/// The columns that a plain result column shows; `None` where the catalog does not know them.
fn shown(context: &Context<'_>, oid: Oid, number: i16) -> Option<Vec<(ColumnName, ColumnFacts)>> {
    let relation = Arc::clone(context.catalog.relation(oid)?);
    let work = super::work::Work::new(context.work_max);
    let mut analyzer = Analyzer::new(context, &work, super::SHALLOW_LEVELS);
    let fields = analyzer.read_relation(&relation, Reading::Family);
    let place = relation
        .column_number(number)
        .map(|wanted| relation.columns.iter().take_while(|column| column.number != wanted.number).count());
    let fields = match (number, place) {
        (0, _) => fields.iter().collect(),
        (_, Some(place)) => vec![fields.get(place)?],
        (_, None) => return None,
    };
    let sources: Vec<_> = fields.iter().flat_map(|field| field.value.sources.iter().copied()).collect();
    let facts = |tags| ColumnFacts { access: [Access::Reveal].into(), tags, ..ColumnFacts::default() };
    let known = sources.into_iter().filter_map(|id| {
        let name = render::column_name(&analyzer, id)?;
        Some((name, facts(render::tags(&mut analyzer, id))))
    });
    Some(known.collect())
}
