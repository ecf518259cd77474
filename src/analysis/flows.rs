//! Where a statement puts the values that it reads: columns that it writes, relations that it makes, names that it moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::analyzer::Analyzer;
use super::facts::{ColumnName, Output, RelationName, Tag};
use super::parse::{nodes, raw, strings};
use super::render::{column_name, tags};
use super::statement::is_temporary;
use super::touch::{ColumnId, Field, Sources, Value};
use super::ways::{Way, Ways};
use crate::catalog::{PG_TEMP, Relation, clip};

/// What one column is written from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// The physical columns whose values come to lie in it.
    pub sources: BTreeSet<ColumnName>,
    /// Their tags.
    pub tags: BTreeSet<Tag>,
    /// What tags the column now will not any more: it keeps the tags for itself.
    pub keeps: bool,
    /// The statement makes the relation or the column itself: a relation that has the name before it is another one.
    pub creates: bool,
}

/// A relation or a column gets another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The relation, as it was called.
    pub from: RelationName,
    /// The relation, as it is called then.
    pub to: RelationName,
    /// The column and its new name, where one is renamed.
    pub column: Option<(Arc<str>, Arc<str>)>,
}

/// A relation that is made from the result of a prepared statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The relation.
    pub relation: RelationName,
    /// Names for its columns from the left; the others have those of the result.
    pub columns: Vec<Arc<str>>,
}

/// Where values go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    /// By the column that is written; those that nothing of the database flows into are left out.
    pub into: BTreeMap<ColumnName, Flow>,
    /// How a written column is made from others, its own old value included. Without what flows into it through another
    /// column that the same statement writes.
    pub ways: BTreeMap<ColumnName, BTreeMap<ColumnName, Ways>>,
    /// What is renamed, in order.
    pub moves: Vec<Move>,
    /// What EXECUTE fills.
    pub fills: Option<Fill>,
}

impl Flows {
    /// Whether nothing goes anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.into.is_empty() && self.moves.is_empty()
    }

    /// Adds those of another statement.
    pub(super) fn extend(&mut self, other: &Self) {
        for (column, flow) in &other.into {
            let mine = self.into.entry(column.clone()).or_default();
            mine.sources.extend(flow.sources.iter().cloned());
            mine.tags.extend(flow.tags.iter().cloned());
            mine.creates |= flow.creates;
            mine.keeps |= flow.keeps;
        }
        for (column, made) in &other.ways {
            let mine = self.ways.entry(column.clone()).or_default();
            for (source, ways) in made {
                let all = mine.entry(source.clone()).or_default();
                *all = all.and(*ways);
            }
        }
        self.moves.extend(other.moves.iter().cloned());
    }

    /// The relation that EXECUTE fills takes the outputs of what is executed.
    pub(super) fn fill(&mut self, outputs: &[Output], tags: impl Fn(&ColumnName) -> BTreeSet<Tag>) {
        let Some(fill) = self.fills.take() else { return };
        for (place, output) in outputs.iter().enumerate().filter(|(_, output)| !output.sources.is_empty()) {
            let name = fill.columns.get(place).cloned().unwrap_or_else(|| output.name.as_str().into());
            let flow = self.into.entry(ColumnName { relation: fill.relation.clone(), column: name }).or_default();
            flow.creates = true;
            flow.tags.extend(output.sources.iter().flat_map(&tags));
            flow.sources.extend(output.sources.iter().cloned());
        }
    }
}

/// What one analysis has found of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// By the column that is written.
    pub(super) into: BTreeMap<ColumnId, Sources>,
    /// Columns that the statement makes.
    pub(super) made: BTreeMap<ColumnName, Sources>,
    /// How columns that are written are made.
    pub(super) noted: BTreeMap<ColumnId, BTreeMap<ColumnId, Ways>>,
    /// How columns that the statement makes are made.
    pub(super) made_noted: BTreeMap<ColumnName, BTreeMap<ColumnId, Ways>>,
    /// Columns that keep the tags of their parents.
    pub(super) kept: Sources,
    pub(super) moves: Vec<Move>,
    pub(super) fills: Option<Fill>,
}

impl Found {
    pub(super) fn absorb(&mut self, other: &Self) {
        for (column, sources) in &other.into {
            self.into.entry(*column).or_default().extend(sources);
        }
        for (column, sources) in &other.made {
            self.made.entry(column.clone()).or_default().extend(sources);
        }
        for (column, ways) in &other.noted {
            add_ways(self.noted.entry(*column).or_default(), ways);
        }
        for (column, ways) in &other.made_noted {
            add_ways(self.made_noted.entry(column.clone()).or_default(), ways);
        }
        self.moves.extend(other.moves.iter().cloned());
        self.kept.extend(&other.kept);
    }

    /// How columns are written from a value.
    pub(super) fn note(&mut self, targets: &Sources, value: &Value) {
        let ways = value.sources.iter().map(|source| (*source, value.ways(*source))).collect();
        for target in targets.iter().filter(|_| !value.sources.is_empty()) {
            add_ways(self.noted.entry(*target).or_default(), &ways);
        }
    }

    /// Values of some columns come to lie in others.
    pub(super) fn add(&mut self, targets: &Sources, sources: &Sources) {
        for target in targets {
            if sources.iter().any(|source| source != target) {
                self.into.entry(*target).or_default().extend(sources);
            }
        }
    }

    /// What a written column is made from may be written by the same statement: all that is behind it counts.
    fn behind(&self, sources: &Sources) -> Sources {
        let mut all = sources.clone();
        let mut next: Vec<ColumnId> = sources.iter().copied().collect();
        while let Some(column) = next.pop() {
            for source in self.into.get(&column).into_iter().flatten() {
                if all.insert(*source) {
                    next.push(*source);
                }
            }
        }
        all
    }
}

fn add_ways(mine: &mut BTreeMap<ColumnId, Ways>, others: &BTreeMap<ColumnId, Ways>) {
    for (source, ways) in others {
        let all = mine.entry(*source).or_default();
        *all = all.and(*ways);
    }
}

impl Analyzer<'_> {
    /// The flows as facts, with the tags of everything behind them.
    pub(super) fn flows(&mut self) -> Flows {
        let found = std::mem::take(&mut self.touched.flows);
        let ways = self.flow_ways(&found);
        let mut flows = Flows { into: BTreeMap::new(), ways, moves: found.moves.clone(), fills: found.fills.clone() };
        for (target, sources) in &found.into {
            if let Some(name) = column_name(self, *target) {
                let flow = self.flow(&found.behind(sources), false);
                let flow = Flow { keeps: found.kept.contains(target), ..flow };
                flows.into.insert(name, flow);
            }
        }
        for (name, sources) in &found.made {
            let flow = self.flow(&found.behind(sources), true);
            flows.into.insert(name.clone(), flow);
        }
        flows
    }

    /// How what is written is made; a flow of which nothing more is known computes.
    fn flow_ways(&self, found: &Found) -> BTreeMap<ColumnName, BTreeMap<ColumnName, Ways>> {
        let computed = |sources: &Sources| sources.iter().map(|one| (*one, Ways::of(Way::Transformation))).collect();
        let written = found.into.keys().chain(found.noted.keys()).filter_map(|target| {
            let known = found.noted.get(target).cloned();
            Some((column_name(self, *target)?, known.or_else(|| found.into.get(target).map(computed))?))
        });
        let made = found.made.iter().map(|(name, sources)| {
            (name.clone(), found.made_noted.get(name).cloned().unwrap_or_else(|| computed(sources)))
        });
        written
            .chain(made)
            .map(|(name, ways)| {
                let named = ways.into_iter().filter_map(|(source, ways)| Some((column_name(self, source)?, ways)));
                (name, named.collect())
            })
            .collect()
    }

    fn flow(&mut self, sources: &Sources, creates: bool) -> Flow {
        let mut flow = Flow { creates, ..Flow::default() };
        for source in sources {
            flow.sources.extend(column_name(self, *source));
            flow.tags.extend(tags(self, *source));
        }
        flow
    }

    /// A relation that is filled from some columns as it is made.
    pub(super) fn makes(&mut self, into: &nodes::IntoClause, outputs: &[Field]) {
        let Some(relation) = into.rel().and_then(|var| self.new_name(var)) else { return };
        let names = strings(into.col_names());
        for (place, field) in outputs.iter().enumerate().filter(|(_, field)| !field.value.sources.is_empty()) {
            let column = names.get(place).map_or_else(|| Arc::clone(&field.name), |name| clip(name).into());
            let name = ColumnName { relation: relation.clone(), column };
            let ways = field.value.sources.iter().map(|source| (*source, field.value.ways(*source))).collect();
            self.touched.flows.made_noted.insert(name.clone(), ways);
            self.touched.flows.made.entry(name).or_default().extend(&field.value.sources);
        }
    }

    /// A relation that is filled from what EXECUTE gives.
    pub(super) fn fills(&mut self, into: &nodes::IntoClause) {
        let Some(relation) = into.rel().and_then(|var| self.new_name(var)) else { return };
        let columns = strings(into.col_names()).into_iter().map(|name| clip(name).into()).collect();
        self.touched.flows.fills = Some(Fill { relation, columns });
    }

    /// A column that is added to a relation, or rewritten from others.
    pub(super) fn fills_column(&mut self, relation: &Relation, column: &str, sources: &Sources) {
        if sources.is_empty() {
            return;
        }
        let name = ColumnName { relation: name_of(relation), column: column.into() };
        match relation.column(column) {
            Some(known) => {
                let target = ColumnId { relation: relation.oid, number: known.number };
                self.touched.flows.add(&Sources::from([target]), sources);
            }
            None => self.touched.flows.made.entry(name).or_default().extend(sources),
        }
    }

    /// The columns of a new table that are copied from another one: they are meant for the same values.
    pub(super) fn like(&mut self, new: Option<&nodes::RangeVar>, pattern: &Relation) {
        let Some(relation) = new.and_then(|var| self.new_name(var)) else { return };
        for column in &pattern.columns {
            let source = ColumnId { relation: pattern.oid, number: column.number };
            let name = ColumnName { relation: relation.clone(), column: Arc::clone(&column.name) };
            self.touched.flows.made.entry(name).or_default().insert(source);
        }
    }

    /// Where a relation of that name is made.
    fn new_name(&self, var: &nodes::RangeVar) -> Option<RelationName> {
        let schema: Arc<str> = if is_temporary(var) {
            PG_TEMP.into()
        } else {
            match var.schemaname() {
                Some(schema) => clip(schema).into(),
                None => Arc::clone(self.path.creation()?),
            }
        };
        Some(RelationName { schema, name: clip(var.relname()?).into() })
    }

    /// The name that a relation has, or would have if it were there: it may be made by a statement before this one.
    fn old_name(&mut self, var: &nodes::RangeVar) -> Option<RelationName> {
        match self.find_relation(var.schemaname(), var.relname()?) {
            Some(relation) => Some(name_of(&relation)),
            None => self.new_name(var),
        }
    }

    /// ALTER … RENAME of a relation or a column.
    pub(super) fn moves(&mut self, rename: &nodes::RenameStmt) {
        use raw::ObjectType as O;
        let Some(from) = rename.relation().and_then(|var| self.old_name(var)) else { return };
        let Some(new) = rename.newname() else { return };
        let (to, column) = match rename.rename_type {
            O::OBJECT_TABLE | O::OBJECT_VIEW | O::OBJECT_MATVIEW | O::OBJECT_FOREIGN_TABLE => {
                (RelationName { schema: Arc::clone(&from.schema), name: clip(new).into() }, None)
            }
            O::OBJECT_COLUMN | O::OBJECT_ATTRIBUTE => {
                let Some(old) = rename.subname() else { return };
                (from.clone(), Some((clip(old).into(), clip(new).into())))
            }
            _ => return,
        };
        self.touched.flows.moves.push(Move { from, to, column });
    }

    /// ALTER … SET SCHEMA.
    pub(super) fn moves_schema(&mut self, alter: &nodes::AlterObjectSchemaStmt) {
        let Some(from) = alter.relation().and_then(|var| self.old_name(var)) else { return };
        let Some(schema) = alter.newschema() else { return };
        let to = RelationName { schema: clip(schema).into(), name: Arc::clone(&from.name) };
        self.touched.flows.moves.push(Move { from, to, column: None });
    }
}

fn name_of(relation: &Relation) -> RelationName {
    RelationName { schema: Arc::clone(&relation.schema), name: Arc::clone(&relation.name) }
}
