//! FROM: relations, joins, subqueries, functions, and what `XMLTABLE` and `JSON_TABLE` bring.

use std::sync::Arc;

use super::analyzer::{Analyzer, Reading};
use super::parse::{Node, NodeList, nodes, raw, strings};
use super::query::column_names;
use super::scope::{Part, Rel, Scope, rename, sources};
use super::touch::{Field, JOIN, PROBE, Value};
use super::ways::Turn;

/// The column names of an alias.
pub(super) fn alias_names(alias: &nodes::Alias) -> Vec<&str> {
    strings(alias.colnames())
}

impl Analyzer<'_> {
    /// The scope of a FROM clause below `outer`.
    pub(super) fn scope_of_from<'s>(&mut self, list: &NodeList, outer: &'s Scope<'s>) -> Scope<'s> {
        let mut scope = Scope::below(outer);
        for node in list {
            let part = self.item(node, &scope, outer);
            scope.add(part);
        }
        scope
    }

    /// One FROM item. `beside` is what LATERAL sees, `outer` what the rest sees.
    pub(super) fn item(&mut self, node: Node<'_>, beside: &Scope<'_>, outer: &Scope<'_>) -> Part {
        if !self.enter() {
            return Part::default();
        }
        let item = match node {
            Node::RangeVar(var) => self.range_var(var, outer),
            Node::RangeSubselect(sub) => {
                let fields = self.query_node(sub.subquery(), if sub.lateral { beside } else { outer });
                self.touched.seen.extend(sources(&fields));
                part(sub.alias(), "", &fields.into())
            }
            Node::JoinExpr(join) => self.join(join, beside, outer),
            Node::RangeFunction(functions) => self.range_function(functions, beside),
            Node::RangeTableSample(sample) => {
                for arg in sample.args() {
                    self.probe_expr(arg, beside);
                }
                self.probe_expr(sample.repeatable(), beside);
                self.item(sample.relation(), beside, outer)
            }
            Node::RangeTableFunc(table) => self.xml_table(table, beside),
            Node::JsonTable(table) => self.json_table(table, beside),
            _ => {
                self.touched.opaque("a FROM item of a form that is not known");
                Part::default()
            }
        };
        self.leave();
        if self.spend(super::work::weight(&item.columns)) { item } else { Part::default() }
    }

    fn range_var(&mut self, var: &nodes::RangeVar, outer: &Scope<'_>) -> Part {
        let name = var.relname().unwrap_or_default();
        let names = column_names(var.alias());
        if var.schemaname().is_none()
            && let Some(cte) = outer.cte(name)
        {
            let fields = rename(&cte.fields, &names);
            let alias = var.alias().and_then(nodes::Alias::aliasname).unwrap_or(name).into();
            return Part::of(Rel { alias, schema: None, fields, oid: None, scalar: false });
        }
        self.relation_item(var, &names)
    }

    /// A relation of the catalog as a FROM item.
    fn relation_item(&mut self, var: &nodes::RangeVar, names: &[&str]) -> Part {
        let name = var.relname().unwrap_or_default();
        let aliased = var.alias().and_then(nodes::Alias::aliasname);
        let alias: Arc<str> = aliased.unwrap_or(name).into();
        let Some(relation) = self.relation(var) else {
            return Part::of(Rel { alias, schema: None, fields: Arc::new([]), oid: None, scalar: false });
        };
        let reading = if var.inh { Reading::Family } else { Reading::Only };
        let fields = rename(&self.read_relation(&relation, reading), names);
        let schema = aliased.is_none().then(|| Arc::clone(&relation.schema));
        Part::of(Rel { alias, schema, fields, oid: Some(relation.oid), scalar: false })
    }

    fn join(&mut self, join: &nodes::JoinExpr, beside: &Scope<'_>, outer: &Scope<'_>) -> Part {
        let left = self.item(join.larg(), beside, outer);
        let right = if sees_beside(join.rarg()) {
            let mut wider = Scope::below(outer);
            wider.rels = beside.rels.iter().chain(&left.rels).cloned().collect();
            wider.columns = beside.columns.iter().chain(&left.columns).cloned().collect();
            self.item(join.rarg(), &wider, outer)
        } else {
            self.item(join.rarg(), beside, outer)
        };
        let using: Vec<Arc<str>> = if join.is_natural {
            let shared = left.columns.iter().filter(|field| right.columns.iter().any(|other| other.name == field.name));
            shared.map(|field| Arc::clone(&field.name)).collect()
        } else {
            join.using_clause().iter().filter_map(|name| name.sval()).map(Arc::from).collect()
        };
        // A join condition sees both sides and the queries around, not the items that stand before the join.
        let mut scope = Scope::below(outer);
        scope.rels = left.rels;
        scope.rels.extend(right.rels);
        for field in left.columns.iter().chain(&right.columns).filter(|field| using.contains(&field.name)) {
            self.touched.mark(&field.value.sources, PROBE | JOIN);
        }
        let (columns, merged) = merge(join.jointype, left.columns, right.columns, &using);
        scope.columns = columns;
        self.probe_as(join.quals(), &scope, PROBE | JOIN);
        if !using.is_empty() {
            self.operator("=");
        }
        let mut joined = Part { rels: scope.rels, columns: scope.columns };
        if let Some(alias) = join.join_using_alias().and_then(nodes::Alias::aliasname) {
            let fields = merged.into();
            joined.rels.push(Rel { alias: alias.into(), schema: None, fields, oid: None, scalar: false });
        }
        match join.alias() {
            Some(_) => part(join.alias(), "", &joined.columns.into()),
            None => joined,
        }
    }

    fn range_function(&mut self, range: &nodes::RangeFunction, beside: &Scope<'_>) -> Part {
        let defined: Vec<&str> = range.coldeflist().iter().filter_map(nodes::ColumnDef::colname).collect();
        let mut fields: Vec<Field> = Vec::new();
        let mut alias = None;
        let mut scalar = range.functions().len() == 1 && !range.ordinality;
        for item in range.functions() {
            let Node::NodeList(pair) = item else { continue };
            let node = pair.get(0).unwrap_or(Node::None);
            let own: Vec<&str> = pair
                .get(1)
                .and_then(|list| list.as_node_list())
                .map(|list| list.iter().filter_map(column_definition).collect())
                .unwrap_or_default();
            let name = super::names::output_name(node);
            if let Some(columns) = self.unnested(node, beside) {
                scalar = false;
                self.touched.mark(&sources(&columns), PROBE);
                fields.extend(columns);
                alias.get_or_insert(name);
                continue;
            }
            let value = self.expr(node, beside);
            // The function runs, whether anybody asks for its columns or not.
            self.touched.mark(&value.sources, PROBE);
            let value = self.with_fields(value);
            let listed = if own.is_empty() { &defined } else { &own };
            scalar &= value.fields.is_none() && listed.is_empty();
            match &value.fields {
                _ if !listed.is_empty() => fields.extend(
                    listed
                        .iter()
                        .map(|name| Field { name: (*name).into(), value: Value::computed(value.sources.clone()) }),
                ),
                Some(row) => fields.extend(row.iter().cloned()),
                None => {
                    let single = range.alias().and_then(nodes::Alias::aliasname).filter(|_| scalar);
                    let named = self.only_output(node).or_else(|| single.map(Arc::from));
                    fields.push(Field { name: named.unwrap_or_else(|| Arc::clone(&name)), value });
                }
            }
            alias.get_or_insert(name);
        }
        if range.ordinality {
            fields.push(Field { name: "ordinality".into(), value: Value::default() });
        }
        let mut item = part(range.alias(), alias.as_deref().unwrap_or_default(), &fields.into());
        for rel in &mut item.rels {
            rel.scalar = scalar;
        }
        item
    }

    /// `unnest(a, b)` in FROM is a column for each argument.
    fn unnested(&mut self, node: Node<'_>, beside: &Scope<'_>) -> Option<Vec<Field>> {
        let Node::FuncCall(call) = node else { return None };
        if call.args().len() < 2
            || !matches!(strings(call.funcname()).as_slice(), ["unnest"] | ["pg_catalog", "unnest"])
        {
            return None;
        }
        let values = self.row(call.args(), beside);
        Some(
            values
                .into_iter()
                .map(|value| Field { name: "unnest".into(), value: Value::computed(value.sources) })
                .collect(),
        )
    }

    /// The name of a function's only OUT argument, by which its column goes.
    fn only_output(&self, node: Node<'_>) -> Option<Arc<str>> {
        let Node::FuncCall(call) = node else { return None };
        let found = self.candidates(&strings(call.funcname()));
        let mut outputs = found.first()?.outputs();
        outputs.next().filter(|_| outputs.next().is_none()).map(Arc::clone)
    }

    fn xml_table(&mut self, table: &nodes::RangeTableFunc, beside: &Scope<'_>) -> Part {
        let mut value = self.expr(table.docexpr(), beside);
        value.add(self.expr(table.rowexpr(), beside));
        value.fields = None;
        let mut fields = Vec::new();
        for column in table.columns() {
            let mut own = value.clone();
            own.add(self.expr(column.colexpr(), beside));
            own.add(self.expr(column.coldefexpr(), beside));
            fields
                .push(Field { name: column.colname().unwrap_or_default().into(), value: own.turned(Turn::Transform) });
        }
        part(table.alias(), "xmltable", &fields.into())
    }

    fn json_table(&mut self, table: &nodes::JsonTable, beside: &Scope<'_>) -> Part {
        let mut value =
            table.context_item().map(|item| self.children(Node::JsonValueExpr(item), beside)).unwrap_or_default();
        for node in table.passing() {
            value.add(self.expr(node, beside));
        }
        let mut fields = Vec::new();
        for column in table.columns() {
            json_column(column, &value, &mut fields);
        }
        part(table.alias(), "json_table", &fields.into())
    }
}

/// A column of `JSON_TABLE`, and those of NESTED PATH.
fn json_column(column: &nodes::JsonTableColumn, value: &Value, fields: &mut Vec<Field>) {
    if let Some(name) = column.name() {
        fields.push(Field { name: name.into(), value: Value::computed(value.sources.clone()) });
    }
    for nested in column.columns() {
        if let Node::JsonTableColumn(nested) = nested {
            json_column(nested, value, fields);
        }
    }
}

fn column_definition(node: Node<'_>) -> Option<&str> {
    match node {
        Node::ColumnDef(column) => column.colname(),
        _ => None,
    }
}

/// Whether the right side of a join can refer to its left side.
fn sees_beside(node: Node<'_>) -> bool {
    match node {
        Node::RangeVar(_) => false,
        Node::RangeSubselect(sub) => sub.lateral,
        _ => true,
    }
}

/// A FROM item with known columns under its alias; without one its columns are visible all the same.
fn part(alias: Option<&nodes::Alias>, default: &str, fields: &Arc<[Field]>) -> Part {
    let fields = rename(fields, &column_names(alias));
    let alias: Arc<str> = alias.and_then(nodes::Alias::aliasname).unwrap_or(default).into();
    Part::of(Rel { alias, schema: None, fields, oid: None, scalar: false })
}

/// The columns of a join: the merged ones first, then the rest of both sides; and the merged ones alone.
fn merge(
    kind: raw::JoinType::Type,
    left: Vec<Field>,
    right: Vec<Field>,
    using: &[Arc<str>],
) -> (Vec<Field>, Vec<Field>) {
    let mut merged: Vec<Field> = Vec::with_capacity(using.len());
    for name in using {
        let side = |fields: &[Field]| {
            fields.iter().find(|field| field.name == *name).map(|field| field.value.clone()).unwrap_or_default()
        };
        merged.push(Field { name: Arc::clone(name), value: merged_value(kind, side(&left), side(&right)) });
    }
    let rest = left.into_iter().chain(right).filter(|field| !using.contains(&field.name));
    (merged.iter().cloned().chain(rest).collect(), merged)
}

/// The side whose value a merged column shows (`buildMergedJoinVar`). An inner join shows the one that needs no cast:
/// the left one where the types are the same, else either.
fn merged_value(kind: raw::JoinType::Type, mut left: Value, right: Value) -> Value {
    match kind {
        raw::JoinType::JOIN_LEFT => left,
        raw::JoinType::JOIN_RIGHT => right,
        raw::JoinType::JOIN_INNER if left.type_oid != 0 && left.type_oid == right.type_oid => left,
        _ => {
            left.add(right);
            left
        }
    }
}
