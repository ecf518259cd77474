//! What else runs when a relation is written: rules, triggers, checks, index expressions, defaults, domains, cascades.

use std::sync::Arc;

use super::analyzer::{Analyzer, Reader, is_leaf, relation_scope, stored};
use super::parse::{Node, nodes};
use super::scope::{Rel, Scope, sources};
use super::touch::{ColumnId, Field, PROBE, REVEAL, Sources, Value};
use crate::catalog::{Function, Reference, Relation, SearchPath, Trigger};

/// What a statement does to its target, in the words of `pg_rewrite.ev_type` and `pg_trigger.tgtype`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    rule: char,
    trigger: i32,
}

pub(super) const INSERT: Event = Event { rule: '3', trigger: 4 };
pub(super) const UPDATE: Event = Event { rule: '2', trigger: 16 };
pub(super) const DELETE: Event = Event { rule: '4', trigger: 8 };
pub(super) const TRUNCATE: Event = Event { rule: 't', trigger: 32 };

impl Analyzer<'_> {
    /// What else runs when a relation is written.
    pub(super) fn fire(&mut self, relation: &Arc<Relation>, event: Event) {
        if self.open.contains(&relation.oid) || !self.enter() {
            return;
        }
        self.open.push(relation.oid);
        self.as_defined(|analyzer| analyzer.rules(relation, event));
        if !is_leaf(relation) {
            self.fire_below(relation, event);
        }
        for member in self.catalog().family(relation.oid).into_iter().map(Arc::clone).collect::<Vec<_>>() {
            self.fire_stored(&member, event);
        }
        self.open.pop();
        self.leave();
    }

    /// Definitions have their names qualified; the body of a trigger's function sees the caller's path.
    fn as_defined(&mut self, read: impl FnOnce(&mut Self)) {
        let path = std::mem::replace(&mut self.path, SearchPath::of_definitions(self.context.catalog));
        read(self);
        self.path = path;
    }

    /// A view without triggers of its own writes through to what it shows.
    fn fire_below(&mut self, view: &Arc<Relation>, event: Event) {
        let expansion = self.expansion(view);
        let shown: std::collections::BTreeSet<_> =
            sources(&expansion.fields).into_iter().map(|column| column.relation).collect();
        for oid in shown {
            if let Some(below) = self.catalog().relation(oid).map(Arc::clone) {
                let reader = if view.reads_as_invoker() { self.invoker } else { Reader::fixed(Some(view.owner)) };
                let reader = std::mem::replace(&mut self.reader, reader);
                self.write_policies(&below);
                self.reader = reader;
                self.fire(&below, event);
            }
        }
    }

    /// What a write of one relation runs that stores the rows, or that stands for them.
    fn fire_stored(&mut self, relation: &Arc<Relation>, event: Event) {
        for trigger in relation.triggers.iter().filter(|trigger| trigger.events & event.trigger != 0) {
            self.trigger(relation, trigger);
        }
        if event == INSERT || event == UPDATE {
            self.as_defined(|analyzer| analyzer.computed(relation));
        }
        for reference in &relation.references {
            self.cascade(reference, event);
        }
    }

    /// A foreign key carries the write on.
    fn cascade(&mut self, reference: &Reference, event: Event) {
        let action = match event {
            DELETE => reference.on_delete,
            UPDATE => reference.on_update,
            _ => return,
        };
        let carried = match action {
            'c' => event,
            'n' | 'd' => UPDATE,
            _ => return,
        };
        if let Some(from) = self.catalog().relation(reference.from).map(Arc::clone) {
            self.fire(&from, carried);
        }
    }

    fn rules(&mut self, relation: &Arc<Relation>, event: Event) {
        if relation.rules.is_empty() {
            return;
        }
        self.touched.defined = true;
        let fields = if is_leaf(relation) { stored(relation) } else { Arc::clone(&self.expansion(relation).fields) };
        // What a rule does is done as the owner of its relation.
        let reader = std::mem::replace(&mut self.reader, Reader::fixed(Some(relation.owner)));
        for rule in relation.rules.iter().filter(|rule| rule.event == event.rule) {
            let Ok(tree) = self.parse(&rule.definition) else {
                self.touched.opaque(format!("a rule of relation \"{}\" cannot be read", relation.name));
                continue;
            };
            if let Some(Node::RuleStmt(rule)) = tree.statements(&rule.definition).next().map(|found| found.node) {
                self.rule(relation, &fields, rule);
            }
        }
        self.reader = reader;
    }

    /// The policies of a relation that is written: of whatever command, because reading and writing go together.
    pub(super) fn write_policies(&mut self, relation: &Arc<Relation>) {
        if !relation.policies.is_empty() && !self.open.contains(&relation.oid) {
            self.policies(relation, &stored(relation), &['r', 'a', 'w', 'd', '*']);
        }
    }

    /// The condition and the actions of a rule.
    pub(super) fn rule(&mut self, relation: &Relation, fields: &Arc<[Field]>, rule: &nodes::RuleStmt) {
        let scope = old_and_new(relation, fields);
        self.probe_expr(rule.where_clause(), &scope);
        for action in rule.actions() {
            if !matches!(action, Node::NotifyStmt(_)) {
                let result = self.query_node(action, &scope);
                self.touched.mark(&sources(&result), REVEAL);
            }
        }
    }

    fn trigger(&mut self, relation: &Arc<Relation>, trigger: &Trigger) {
        if let Some(definition) = trigger.definition.as_deref() {
            self.as_defined(|analyzer| analyzer.trigger_condition(relation, definition));
        }
        let Some(function) = self.catalog().function(trigger.function).cloned() else {
            self.touched.opaque(format!("the function of trigger \"{}\" is not known", trigger.name));
            return;
        };
        self.touched.functions.insert(format!("{}.{}", function.schema, function.name));
        let named: Sources = row_columns(relation, trigger, &function).into_iter().collect();
        self.touched.mark(&named, PROBE);
        let value = self.routine(&function, &Value::of(named));
        self.touched.mark(&value.sources, PROBE);
        if let Some(source) = function.source.as_deref() {
            self.row_assignments(relation, source, &value.sources);
        }
    }

    fn trigger_condition(&mut self, relation: &Arc<Relation>, definition: &str) {
        let fields = stored(relation);
        let Ok(tree) = self.parse(definition) else {
            self.touched.opaque(format!("a trigger of relation \"{}\" cannot be read", relation.name));
            return;
        };
        if let Some(Node::CreateTrigStmt(trigger)) = tree.statements(definition).next().map(|found| found.node) {
            let scope = old_and_new(relation, &fields);
            self.probe_expr(trigger.when_clause(), &scope);
        }
    }

    /// Defaults, generated columns, checks and index expressions: what a row's own columns are made from is written with
    /// them; other tables are read by functions alone.
    fn computed(&mut self, relation: &Arc<Relation>) {
        let fields = stored(relation);
        let scope = relation_scope(relation, &fields);
        for text in relation.columns.iter().filter_map(|column| column.default.as_deref()) {
            self.compute(relation, text, &scope);
        }
        for expression in &relation.expressions {
            self.compute(relation, &expression.text, &scope);
        }
        for column in &relation.columns {
            self.type_checks(column.type_oid);
        }
    }

    fn compute(&mut self, relation: &Relation, text: &str, scope: &Scope<'_>) {
        let made_of = self.expression_text(text, scope);
        self.touched.mark(made_of.iter().filter(|column| column.relation != relation.oid), PROBE);
    }

    /// What a value runs when it becomes one of this type: the checks of its domains.
    pub(super) fn type_checks(&mut self, oid: u32) {
        let catalog = self.catalog();
        let Some(found) = catalog.type_of(oid).filter(|found| found.is_made_by_people()) else { return };
        if self.open.contains(&oid) || !self.enter() {
            return;
        }
        self.open.push(oid);
        let path = std::mem::replace(&mut self.path, SearchPath::of_definitions(self.context.catalog));
        let scope = Scope { arguments: Some(Arc::new([Arc::from("value")])), ..Scope::default() };
        for check in &found.checks {
            self.probe_text(check, &scope);
        }
        for part in [found.base, found.element] {
            self.type_checks(part);
        }
        let columns = catalog.relation(found.relation).map(|row| row.columns.as_slice()).unwrap_or_default();
        for column in columns {
            self.type_checks(column.type_oid);
        }
        self.path = path;
        self.open.pop();
        self.leave();
    }

    /// Functions that run without being written: casts that need not be spelled, support of operators and ranges. Those
    /// that only compute are passed over; one that reads counts for every statement.
    pub(super) fn unwritten(&mut self) {
        for oid in self.catalog().support() {
            self.unwritten_routine(*oid);
        }
    }
}

/// A scope with the row before and after.
pub(super) fn old_and_new(relation: &Relation, fields: &Arc<[Field]>) -> Scope<'static> {
    let mut scope = Scope::default();
    for alias in ["new", "old"] {
        let fields = Arc::clone(fields);
        scope.rels.push(Rel { alias: alias.into(), schema: None, fields, oid: Some(relation.oid), scalar: false });
    }
    scope
}

/// `OLD.email`, `NEW.email`: the row is at hand without the relation being named. Where all rows are, under names of the
/// trigger's own, every column is.
fn row_columns(relation: &Arc<Relation>, trigger: &Trigger, function: &Function) -> Vec<ColumnId> {
    if !trigger.tables.is_empty() {
        return sources(&stored(relation)).into_iter().collect();
    }
    function.source.as_deref().map(|source| super::plpgsql::columns_named(relation, source)).unwrap_or_default()
}
