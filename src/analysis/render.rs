//! What was touched becomes facts: OIDs become names, names get their tags.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::analyzer::{Analyzer, relation_scope, stored};
use super::facts::{Access, Bound, ColumnFacts, ColumnName, Kind, Output, RelationName, StatementFacts, Tag};
use super::touch::{ColumnId, Field, PLACES_MAX, PROBE, REVEAL, WRITE};
use crate::catalog::{Oid, Relation, RelationKind};

/// The result of a statement.
pub(super) struct Outcome {
    pub(super) outputs: Vec<Field>,
    pub(super) bound: Bound,
    pub(super) pure: bool,
}

/// What is known of a statement besides what it touches.
pub(super) struct Parts {
    pub(super) command: String,
    pub(super) span: Range<usize>,
    pub(super) outcome: Outcome,
    pub(super) scans: Vec<Oid>,
    pub(super) findings: Vec<String>,
}

/// The facts of a statement.
pub(super) fn facts(mut analyzer: Analyzer<'_>, parts: Parts) -> StatementFacts {
    analyzer.touched.settle();
    let flows = analyzer.flows();
    let columns = columns(&mut analyzer);
    let outputs = parts
        .outcome
        .outputs
        .iter()
        .map(|field| Output {
            name: field.name.to_string(),
            sources: field.value.sources.iter().filter_map(|source| column_name(&analyzer, *source)).collect(),
        })
        .collect();
    let mut kinds = std::mem::take(&mut analyzer.touched.kinds);
    let opaque = std::mem::take(&mut analyzer.touched.opaque);
    if opaque.is_empty() {
        kinds.remove(&Kind::Opaque);
    } else {
        kinds.insert(Kind::Opaque);
    }
    let pure_read = parts.outcome.pure && !analyzer.touched.acts && opaque.is_empty();
    StatementFacts {
        kinds,
        command: parts.command,
        span: parts.span,
        relations: analyzer.touched.relations.iter().filter_map(|oid| relation_name(&analyzer, *oid)).collect(),
        columns,
        functions: std::mem::take(&mut analyzer.touched.functions),
        outputs,
        unresolved: opaque.iter().any(|why| why.contains("not in the catalog")),
        opaque,
        bound: parts.outcome.bound,
        packs: analyzer.touched.packs || analyzer.touched.gathers || analyzer.touched.places > PLACES_MAX,
        scans: parts.scans.iter().filter_map(|oid| relation_name(&analyzer, *oid)).collect(),
        pure_read,
        flows,
        effects: std::mem::take(&mut analyzer.touched.effects),
        findings: parts.findings,
        defined: analyzer.touched.defined,
        session_local: analyzer.touched.session_local,
    }
}

fn columns(analyzer: &mut Analyzer<'_>) -> BTreeMap<ColumnName, ColumnFacts> {
    let touched = std::mem::take(&mut analyzer.touched.columns);
    let mut columns: BTreeMap<ColumnName, ColumnFacts> = BTreeMap::new();
    for (id, access) in touched {
        let Some(name) = column_name(analyzer, id) else { continue };
        let facts = columns.entry(name).or_default();
        for (bit, kind) in [(REVEAL, Access::Reveal), (PROBE, Access::Probe), (WRITE, Access::Write)] {
            if access & bit != 0 {
                facts.access.insert(kind);
            }
        }
        facts.uses.extend(super::ways::Uses::among(access));
        facts.tags.extend(tags(analyzer, id));
    }
    columns
}

fn relation(analyzer: &Analyzer<'_>, oid: Oid) -> Option<Arc<Relation>> {
    analyzer.catalog().relation(oid).map(Arc::clone)
}

fn relation_name(analyzer: &Analyzer<'_>, oid: Oid) -> Option<RelationName> {
    relation(analyzer, oid)
        .map(|relation| RelationName { schema: Arc::clone(&relation.schema), name: Arc::clone(&relation.name) })
}

pub(super) fn column_name(analyzer: &Analyzer<'_>, id: ColumnId) -> Option<ColumnName> {
    let relation = relation(analyzer, id.relation)?;
    let column = relation.column_number(id.number)?;
    Some(ColumnName {
        relation: RelationName { schema: Arc::clone(&relation.schema), name: Arc::clone(&relation.name) },
        column: Arc::clone(&column.name),
    })
}

/// The tags of a column: its own, its children's, and those of what a materialised view or a generated column is made from.
pub(super) fn tags(analyzer: &mut Analyzer<'_>, id: ColumnId) -> BTreeSet<Tag> {
    let mut tags: BTreeSet<Tag> = analyzer.catalog().tags(id.relation, id.number).iter().cloned().collect();
    let Some(relation) = relation(analyzer, id.relation) else { return tags };
    let Some(column) = relation.column_number(id.number) else { return tags };
    if !analyzer.touched.only.contains(&id.relation) {
        for child in analyzer.catalog().family(id.relation).into_iter().skip(1) {
            if let Some(own) = child.column(&column.name) {
                tags.extend(analyzer.catalog().tags(child.oid, own.number).iter().cloned());
            }
        }
    }
    for source in made_of(analyzer, &relation, id) {
        if source != id {
            tags.extend(analyzer.catalog().tags(source.relation, source.number).iter().cloned());
        }
    }
    tags
}

/// The columns that a stored column was computed from.
fn made_of(analyzer: &mut Analyzer<'_>, relation: &Arc<Relation>, id: ColumnId) -> BTreeSet<ColumnId> {
    let outer = std::mem::take(&mut analyzer.touched);
    let found = match relation.kind {
        RelationKind::Matview => {
            let expansion = analyzer.expansion(relation);
            let place = relation.columns.iter().position(|column| column.number == id.number);
            place
                .and_then(|place| expansion.fields.get(place))
                .map(|field| field.value.sources.clone())
                .unwrap_or_default()
        }
        _ => match relation.column_number(id.number).filter(|column| column.generated) {
            Some(column) => {
                let fields = stored(relation);
                let scope = relation_scope(relation, &fields);
                analyzer.expression_text(column.default.as_deref().unwrap_or("NULL"), &scope)
            }
            None => BTreeSet::new(),
        },
    };
    analyzer.touched = outer;
    found
}
