//! INSERT, UPDATE, DELETE, MERGE: what they write, what they read, what RETURNING gives back.

use std::sync::Arc;

use super::analyzer::{Analyzer, Reading};
use super::bound;
use super::facts::{Bound, Kind, SessionEffect};
use super::fire::{DELETE, INSERT, UPDATE};
use super::from::alias_names;
use super::parse::{Node, NodeList, nodes, raw, strings, walk_all};
use super::scope::{Part, Rel, Scope, sources};
use super::touch::{Field, JOIN, PROBE, REVEAL, Sources, Value, WRITE};
use crate::catalog::Relation;

/// The schema of the server's own catalog.
const SYSTEM: &str = "pg_catalog";

/// The target of a statement.
struct Target {
    relation: Arc<Relation>,
    fields: Arc<[Field]>,
    rel: Rel,
}

impl Analyzer<'_> {
    fn dml_target(&mut self, var: Option<&nodes::RangeVar>) -> Option<Target> {
        self.touched.kinds.insert(Kind::Write);
        self.touched.acts = true;
        let var = var?;
        let relation = self.relation(var)?;
        let reading = if var.inh { Reading::Family } else { Reading::Only };
        let fields = self.read_relation(&relation, reading);
        self.write_policies(&relation);
        if &*relation.schema == SYSTEM {
            // Definitions, rights and statistics are kept there, and a superuser may write them as rows.
            self.touched.kinds.insert(Kind::Dcl);
            self.touched.effects.push(SessionEffect::CatalogChange);
        }
        let aliased = var.alias().and_then(nodes::Alias::aliasname);
        let rel = Rel {
            alias: aliased.map_or_else(|| Arc::clone(&relation.name), Arc::from),
            schema: aliased.is_none().then(|| Arc::clone(&relation.schema)),
            fields: super::scope::rename(&fields, &var.alias().map(alias_names).unwrap_or_default()),
            oid: Some(relation.oid),
            scalar: false,
        };
        Some(Target { relation, fields, rel })
    }

    /// Marks a column of the target as written from a value; a view's column is written through to what it shows.
    fn write(&mut self, target: &Target, name: &str, value: Option<&Value>) {
        if let Some(field) = target.fields.iter().find(|field| &*field.name == name) {
            let written: Sources = field.value.sources.clone();
            self.touched.mark(&written, WRITE);
            if let Some(value) = value {
                self.touched.flows.add(&written, &value.sources);
                self.touched.flows.note(&written, value);
            }
        }
    }

    pub(super) fn insert(&mut self, insert: &nodes::InsertStmt, parent: &Scope<'_>) -> Vec<Field> {
        let mut scope = Scope::below(parent);
        if let Some(with) = insert.with_clause() {
            self.with(with, &mut scope);
        }
        let Some(target) = self.dml_target(insert.relation()) else {
            let fields = self.insert_source(insert.select_stmt(), &scope);
            self.touched.mark(&sources(&fields), REVEAL);
            return Vec::new();
        };
        let fields = self.insert_source(insert.select_stmt(), &scope);
        let read = sources(&fields);
        let one = scope.is_bare() && bound::query(self, insert.select_stmt()) == Bound::One;
        self.touched.packs |= !read.is_empty() && !one;
        self.touched.mark(&read, REVEAL);
        let values: Vec<Value> = fields.iter().map(|field| field.value.clone()).collect();
        self.inserted(&target, insert.cols(), &values);
        let mut own = Scope::below(&scope);
        if let Some(conflict) = insert.on_conflict_clause() {
            own.add(Part::of(target.rel.clone()));
            self.conflict(&target, conflict, &mut own);
        }
        self.fire(&target.relation, INSERT);
        self.returning(insert.returning_clause(), &target, Scope::below(&scope))
    }

    /// The rows of an INSERT: DEFAULT stands for nothing that is read.
    fn insert_source(&mut self, node: Node<'_>, scope: &Scope<'_>) -> Vec<Field> {
        match node {
            Node::None => Vec::new(),
            _ => self.query_node(node, scope),
        }
    }

    fn inserted(&mut self, target: &Target, columns: &NodeList, values: &[Value]) {
        if columns.is_empty() {
            for (field, value) in target.fields.iter().zip(values) {
                self.write(target, &field.name, Some(value));
            }
            return;
        }
        for (place, node) in columns.iter().enumerate() {
            if let Node::ResTarget(column) = node {
                self.write(target, column.name().unwrap_or_default(), values.get(place));
            }
        }
    }

    fn conflict(&mut self, target: &Target, conflict: &nodes::OnConflictClause, scope: &mut Scope<'_>) {
        if let Some(infer) = conflict.infer() {
            for element in infer.index_elems() {
                if let Node::IndexElem(element) = element {
                    match element.name() {
                        Some(name) => {
                            let value = target.rel.field(name).unwrap_or_default();
                            self.touched.mark(&value.sources, PROBE);
                        }
                        None => self.probe_expr(element.expr(), scope),
                    }
                }
            }
            self.probe_expr(infer.where_clause(), scope);
        }
        if conflict.action == raw::OnConflictAction::ONCONFLICT_UPDATE {
            // `excluded` is the row that was to be inserted: its values come from the statement, its names from the target.
            let fields: Arc<[Field]> = target
                .rel
                .fields
                .iter()
                .map(|field| Field { name: Arc::clone(&field.name), value: self.proposed(&field.name, target) })
                .collect();
            scope.rels.push(Rel { alias: "excluded".into(), schema: None, fields, oid: None, scalar: false });
            self.excluded(target, conflict);
            self.assignments(target, conflict.target_list().iter(), scope);
            self.probe_expr(conflict.where_clause(), scope);
            self.fire(&target.relation, UPDATE);
        }
    }

    /// What the statement was to insert into a column: what flows into it so far.
    fn proposed(&self, name: &str, target: &Target) -> Value {
        let written = target.rel.field(name).unwrap_or_default().sources;
        let sources = written.iter().filter_map(|column| self.touched.flows.into.get(column)).flatten().copied();
        let mut value = Value::of(sources.collect());
        for (source, ways) in written.iter().filter_map(|column| self.touched.flows.noted.get(column)).flatten() {
            value.sources.contains(source).then(|| value.noted.insert(*source, *ways));
        }
        value
    }

    /// Columns of `excluded` decide by the target's own types and defaults: they count as asked for.
    fn excluded(&mut self, target: &Target, conflict: &nodes::OnConflictClause) {
        let mut found = Sources::new();
        let mut visit = |node: Node<'_>| {
            if let Node::ColumnRef(column) = node
                && let ["excluded", rest @ ..] = strings(column.fields()).as_slice()
            {
                // Alone it is the whole row.
                let named = target.fields.iter().filter(|field| rest.first().is_none_or(|name| &*field.name == *name));
                found.extend(named.flat_map(|field| &field.value.sources));
            }
            true
        };
        for assignment in conflict.target_list() {
            walk_all(assignment.val(), &mut visit);
        }
        walk_all(conflict.where_clause(), &mut visit);
        self.touched.mark(&found, PROBE);
    }

    /// SET: the columns on the left are written, those on the right flow into them.
    fn assignments<'t>(
        &mut self,
        target: &Target,
        list: impl IntoIterator<Item = &'t nodes::ResTarget>,
        scope: &Scope<'_>,
    ) {
        for assignment in list {
            let value = self.expr(assignment.val(), scope);
            self.write(target, assignment.name().unwrap_or_default(), Some(&value));
            self.touched.gathers |= !value.sources.is_empty();
            self.touched.mark(&value.sources, REVEAL);
            // `home.city = …` puts a part into the value that is there.
            if !assignment.indirection().is_empty() {
                let kept = target.rel.field(assignment.name().unwrap_or_default()).unwrap_or_default();
                self.touched.mark(&kept.sources, PROBE);
            }
            for index in assignment.indirection() {
                self.probe_expr(index, scope);
            }
        }
    }

    pub(super) fn update(&mut self, update: &nodes::UpdateStmt, parent: &Scope<'_>) -> Vec<Field> {
        let mut outer = Scope::below(parent);
        if let Some(with) = update.with_clause() {
            self.with(with, &mut outer);
        }
        let target = self.dml_target(update.relation());
        let mut scope = Scope::below(&outer);
        if let Some(target) = &target {
            scope.add(Part::of(target.rel.clone()));
        }
        self.beside_target(update.from_clause(), &mut scope, &outer);
        self.conditions(update.where_clause(), &scope);
        let Some(target) = target else {
            self.expr_targets(update.target_list(), &scope);
            return Vec::new();
        };
        let gathers = std::mem::take(&mut self.touched.gathers);
        self.assignments(&target, update.target_list().iter(), &scope);
        if std::mem::replace(&mut self.touched.gathers, gathers) {
            self.touched.packs |= !(outer.is_bare() && bound::one_row_written(self, update));
        }
        self.fire(&target.relation, UPDATE);
        self.returning(update.returning_clause(), &target, scope)
    }

    fn expr_targets(&mut self, list: &super::parse::TargetList, scope: &Scope<'_>) {
        for target in list {
            let value = self.expr(target.val(), scope);
            self.touched.mark(&value.sources, REVEAL);
        }
    }

    /// FROM and USING stand beside the target.
    fn beside_target(&mut self, list: &NodeList, scope: &mut Scope<'_>, outer: &Scope<'_>) {
        for node in list {
            let part = self.item(node, scope, outer);
            scope.add(part);
        }
    }

    pub(super) fn delete(&mut self, delete: &nodes::DeleteStmt, parent: &Scope<'_>) -> Vec<Field> {
        let mut outer = Scope::below(parent);
        if let Some(with) = delete.with_clause() {
            self.with(with, &mut outer);
        }
        let target = self.dml_target(delete.relation());
        let mut scope = Scope::below(&outer);
        if let Some(target) = &target {
            scope.add(Part::of(target.rel.clone()));
        }
        self.beside_target(delete.using_clause(), &mut scope, &outer);
        self.conditions(delete.where_clause(), &scope);
        let Some(target) = target else { return Vec::new() };
        self.fire(&target.relation, DELETE);
        self.returning(delete.returning_clause(), &target, scope)
    }

    pub(super) fn merge(&mut self, merge: &nodes::MergeStmt, parent: &Scope<'_>) -> Vec<Field> {
        let mut outer = Scope::below(parent);
        if let Some(with) = merge.with_clause() {
            self.with(with, &mut outer);
        }
        let target = self.dml_target(merge.relation());
        let mut scope = Scope::below(&outer);
        if let Some(target) = &target {
            scope.add(Part::of(target.rel.clone()));
        }
        let source = self.item(merge.source_relation(), &outer, &outer);
        scope.add(source);
        self.probe_as(merge.join_condition(), &scope, PROBE | JOIN);
        let Some(target) = target else { return Vec::new() };
        for when in merge.merge_when_clauses() {
            self.merge_when(when, &target, &scope);
        }
        let mut back = Scope::below(&outer);
        // RETURNING sees the source's columns before the target's.
        std::mem::swap(&mut back.rels, &mut scope.rels);
        std::mem::swap(&mut back.columns, &mut scope.columns);
        self.returning(merge.returning_clause(), &target, back)
    }

    fn merge_when(&mut self, when: &nodes::MergeWhenClause, target: &Target, scope: &Scope<'_>) {
        self.probe_expr(when.condition(), scope);
        match when.command_type {
            raw::CmdType::CMD_INSERT => {
                let values = self.row(when.values(), scope);
                for value in &values {
                    self.touched.packs |= !value.sources.is_empty();
                    self.touched.mark(&value.sources, REVEAL);
                }
                self.inserted(target, when.target_list(), &values);
                self.fire(&target.relation, INSERT);
            }
            raw::CmdType::CMD_UPDATE => {
                let list = when.target_list().iter().filter_map(|node| match node {
                    Node::ResTarget(assignment) => Some(assignment),
                    _ => None,
                });
                self.assignments(target, list, scope);
                self.fire(&target.relation, UPDATE);
            }
            raw::CmdType::CMD_DELETE => self.fire(&target.relation, DELETE),
            _ => {}
        }
    }

    fn returning(
        &mut self,
        clause: Option<&nodes::ReturningClause>,
        target: &Target,
        mut scope: Scope<'_>,
    ) -> Vec<Field> {
        let Some(clause) = clause else { return Vec::new() };
        if scope.rels.is_empty() {
            scope.add(Part::of(target.rel.clone()));
        }
        let named: Vec<&str> = clause.options().iter().filter_map(|option| option.value()).collect();
        for alias in named.into_iter().chain(["old", "new"]) {
            scope.rels.push(Rel { alias: alias.into(), schema: None, ..target.rel.clone() });
        }
        let mut outputs = Vec::new();
        for node in clause.exprs() {
            if let Node::ResTarget(item) = node {
                self.target(item, &scope, &mut outputs);
            }
        }
        // It is computed for every row that is written, also where WITH has it and nobody asks.
        self.touched.mark(&sources(&outputs), PROBE);
        outputs
    }

    /// All columns of a relation as sources, for whole-table commands.
    pub(super) fn whole(&mut self, relation: &Arc<Relation>, names: &[&str]) -> Vec<Field> {
        let fields = self.read_relation(relation, Reading::Family);
        let stays = |field: &&Field| names.is_empty() || names.contains(&&*field.name);
        fields.iter().filter(stays).cloned().collect()
    }

    /// COPY FROM: the named columns are written.
    pub(super) fn copy_in(&mut self, copy: &nodes::CopyStmt) {
        let Some(target) = self.dml_target(copy.relation()) else { return };
        let names = strings(copy.attlist());
        let fields: Vec<Arc<str>> = target.fields.iter().map(|field| Arc::clone(&field.name)).collect();
        for name in fields.iter().filter(|name| names.is_empty() || names.contains(&&***name)) {
            self.write(&target, name, None);
        }
        let mut scope = Scope::default();
        scope.add(Part::of(target.rel.clone()));
        self.probe_expr(copy.where_clause(), &scope);
        self.fire(&target.relation, INSERT);
    }
}
