//! Expressions: which columns a value is made from.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::analyzer::Analyzer;
use super::parse::{Node, Recurse, nodes, raw, strings, walk_manual};
use super::scope::Scope;
use super::touch::{FILTER, Field, PROBE, REVEAL, SORT, Value};
use super::ways::Turn;

impl Analyzer<'_> {
    /// Marks what an expression is made from as deciding which rows stay.
    pub(super) fn probe_expr(&mut self, node: Node<'_>, scope: &Scope<'_>) {
        self.probe_as(node, scope, PROBE | FILTER);
    }

    /// What an expression is made from.
    pub(super) fn expr(&mut self, node: Node<'_>, scope: &Scope<'_>) -> Value {
        if matches!(node, Node::None | Node::A_Const(_) | Node::ParamRef(_) | Node::SetToDefault(_)) || !self.enter() {
            return Value::default();
        }
        let value = self.expr_inner(node, scope);
        self.leave();
        self.carried(value)
    }

    fn expr_inner(&mut self, node: Node<'_>, scope: &Scope<'_>) -> Value {
        match node {
            Node::ColumnRef(column) => self.column_ref(column, scope),
            Node::A_Expr(expr) => self.operation(expr, scope),
            Node::BoolExpr(expr) => self.union(expr.args(), scope).turned(Turn::Transform),
            Node::FuncCall(call) => self.call(call, scope),
            Node::TypeCast(cast) => self.cast(cast, scope),
            Node::SubLink(link) => self.sublink(link, scope),
            Node::A_Indirection(path) => self.indirection(path, scope),
            Node::RowExpr(row) => {
                let values = self.row(row.args(), scope);
                let fields = values.into_iter().enumerate();
                Value::row(
                    fields.map(|(place, value)| Field { name: format!("f{}", place + 1).into(), value }).collect(),
                )
            }
            Node::CaseExpr(case) => self.case(case, scope),
            Node::CoalesceExpr(coalesce) => self.alternatives(coalesce.args(), scope),
            Node::CollateClause(collate) => self.expr(collate.arg(), scope),
            Node::NamedArgExpr(argument) => self.expr(argument.arg(), scope),
            Node::MultiAssignRef(multi) => self.expr(multi.source(), scope),
            Node::ResTarget(target) => self.expr(target.val(), scope),
            Node::SortBy(sort) => self.expr(sort.node(), scope),
            Node::NodeList(list) => self.union(list, scope),
            Node::SelectStmt(_) => {
                let fields = self.query_node(node, scope);
                Value::all(&fields)
            }
            Node::JsonArrayAgg(json) => {
                let value = json.arg().map(|arg| self.children(arg.into(), scope)).unwrap_or_default();
                self.json_aggregate(json.constructor(), value, scope)
            }
            Node::JsonObjectAgg(json) => {
                let value = json.arg().map(|arg| self.children(arg.into(), scope)).unwrap_or_default();
                self.json_aggregate(json.constructor(), value, scope)
            }
            Node::JsonArrayQueryConstructor(array) => {
                let fields = self.query_node(array.query(), scope);
                self.touched.packs = true;
                Value::all(&fields).turned(Turn::Aggregate)
            }
            Node::CurrentOfExpr(_) => {
                self.touched.session_local = true;
                Value::default()
            }
            Node::WindowDef(window) => {
                self.window(window, scope);
                Value::default()
            }
            Node::TypeName(_) | Node::String(_) | Node::Integer(_) | Node::A_Star(_) => Value::default(),
            _ => self.children(node, scope),
        }
    }

    /// FILTER, ORDER BY and OVER decide which rows are gathered and how; they are no part of the value.
    fn json_aggregate(&mut self, common: Option<&nodes::JsonAggConstructor>, value: Value, scope: &Scope<'_>) -> Value {
        if let Some(common) = common {
            self.probe_expr(common.agg_filter(), scope);
            for node in common.agg_order() {
                self.probe_as(node, scope, PROBE | SORT);
            }
            if let Some(window) = common.over() {
                self.window(window, scope);
            }
        }
        self.touched.gathers |= !value.sources.is_empty();
        value.turned(Turn::Aggregate)
    }

    /// All that the children of a node are made from; for nodes that only combine.
    pub(super) fn children(&mut self, node: Node<'_>, scope: &Scope<'_>) -> Value {
        let mut children = Vec::new();
        walk_manual::<()>(node, |child| {
            children.push(child);
            ControlFlow::Continue(Recurse::No)
        });
        let mut value = Value::default();
        for child in children {
            value.add(self.expr(child, scope));
        }
        value.turned(Turn::Transform)
    }

    fn union(&mut self, list: &super::parse::NodeList, scope: &Scope<'_>) -> Value {
        let mut value = Value::default();
        for node in list {
            value.add(self.expr(node, scope));
        }
        value
    }

    /// One of several values: its fields are one of theirs.
    fn alternatives(&mut self, list: &super::parse::NodeList, scope: &Scope<'_>) -> Value {
        let mut values = self.row(list, scope).into_iter();
        let Some(mut value) = values.next() else { return Value::default() };
        for other in values {
            value.fields = None;
            value.add(other);
        }
        value
    }

    fn case(&mut self, case: &nodes::CaseExpr, scope: &Scope<'_>) -> Value {
        if !matches!(case.arg(), Node::None) {
            self.operator("=");
        }
        let mut value = self.expr(case.arg(), scope).turned(Turn::Decide);
        for node in case.args() {
            if let Node::CaseWhen(when) = node {
                value.add(self.expr(when.expr(), scope).turned(Turn::Decide));
                value.add(self.expr(when.result(), scope));
            }
        }
        value.add(self.expr(case.defresult(), scope));
        value.fields = None;
        value
    }

    fn operation(&mut self, expr: &nodes::A_Expr, scope: &Scope<'_>) -> Value {
        if let Some(name) = strings(expr.name()).last() {
            self.operator(name);
        }
        for name in stands_for(expr.kind) {
            self.operator(name);
        }
        let mut value = self.expr(expr.lexpr(), scope);
        value.fields = None;
        value.add(self.expr(expr.rexpr(), scope));
        value.type_oid = 0;
        value.turned(Turn::Transform)
    }

    fn sublink(&mut self, link: &nodes::SubLink, scope: &Scope<'_>) -> Value {
        let mut tested = self.expr(link.testexpr(), scope);
        self.operator(strings(link.oper_name()).last().unwrap_or(&"="));
        let fields = self.query_node(link.subselect(), scope);
        match link.sub_link_type {
            raw::SubLinkType::EXISTS_SUBLINK => {
                self.touched.seen.extend(super::scope::sources(&fields));
                Value::default()
            }
            raw::SubLinkType::EXPR_SUBLINK if fields.len() == 1 => {
                fields.into_iter().next().map(|field| field.value).unwrap_or_default()
            }
            raw::SubLinkType::EXPR_SUBLINK | raw::SubLinkType::MULTIEXPR_SUBLINK => Value::row(fields.into()),
            kind => {
                if kind == raw::SubLinkType::ARRAY_SUBLINK && self.brings_rows_together(link.subselect()) {
                    self.touched.packs |= fields.iter().any(|field| !field.value.sources.is_empty());
                }
                tested.fields = None;
                tested.add(Value::all(&fields));
                let array = kind == raw::SubLinkType::ARRAY_SUBLINK;
                let mut value = tested.turned(if array { Turn::Aggregate } else { Turn::Transform });
                if let (true, [only]) = (array, fields.as_slice()) {
                    let row = self.with_fields(only.value.clone()).fields;
                    value.fields = row.map(|row| value.spread(&row));
                }
                value
            }
        }
    }

    /// Whether a subquery can bring values of several stored rows together. One that reads no relation, and calls nothing
    /// but the server's own functions, takes its values from the row outside.
    fn brings_rows_together(&self, query: Node<'_>) -> bool {
        let gathers = |node: Node<'_>| match node {
            Node::RangeVar(_) => true,
            Node::FuncCall(call) => {
                let found = self.candidates(&strings(call.funcname()));
                found.is_empty() || found.iter().any(|function| !function.is_built_in())
            }
            Node::A_Expr(expr) => {
                strings(expr.name()).last().is_some_and(|name| !self.catalog().operators(name).is_empty())
            }
            Node::TypeCast(_) => !self.catalog().casts().is_empty(),
            _ => false,
        };
        let visit = |node| if gathers(node) { ControlFlow::Break(()) } else { ControlFlow::Continue(Recurse::Yes) };
        // A tree that was too deep to analyse is too deep to walk.
        self.exhausted || walk_manual(query, visit).is_some()
    }

    /// A column, a whole row, a field of a row, or a function of a row.
    fn column_ref(&mut self, column: &nodes::ColumnRef, scope: &Scope<'_>) -> Value {
        let names = strings(column.fields());
        if !self.spend(scope.columns.len() / 64) {
            return Value::default();
        }
        let value = self.column_path(&names, scope);
        if matches!(column.fields().iter().next_back(), Some(Node::A_Star(_))) {
            // `t.*` as an argument is the whole row; a lone star stands only where Postgres counts.
            return if names.is_empty() { Value::default() } else { value };
        }
        value
    }

    /// The value that a dotted name means.
    pub(super) fn column_path(&mut self, names: &[&str], scope: &Scope<'_>) -> Value {
        let found = match names {
            [] => Some(Value::default()),
            [name] => scope
                .column(name)
                .or_else(|| scope.rel(None, name).map(super::scope::Rel::whole))
                .or_else(|| scope.argument(name).then(Value::default)),
            [alias, column] => self.qualified(None, alias, column, scope),
            [schema, alias, column] | [_, schema, alias, column] => self.qualified(Some(schema), alias, column, scope),
            _ => None,
        };
        // `schema.table` and `table.column.field` are spelled alike; a name that fits none is unknown.
        found.unwrap_or_else(|| {
            self.touched.opaque(format!("column \"{}\" is not in the catalog", names.join(".")));
            Value::default()
        })
    }

    fn qualified(&mut self, schema: Option<&str>, alias: &str, name: &str, scope: &Scope<'_>) -> Option<Value> {
        let Some(rel) = scope.rel(schema, alias).cloned() else {
            return match schema {
                None if scope.argument(alias) || scope.argument(name) => Some(Value::default()),
                // `table.column.field` needs parentheses in Postgres; `schema.table` alone is a whole row.
                None => scope.rel(Some(alias), name).map(super::scope::Rel::whole),
                Some(_) => None,
            };
        };
        rel.field(name).or_else(|| self.functional(&rel.whole(), name))
    }

    /// `name(row)` written as `row.name`; `None` where no such function is known.
    fn functional(&mut self, row: &Value, name: &str) -> Option<Value> {
        if self.candidates(&[name]).is_empty() {
            return None;
        }
        self.call_named(&[name], std::slice::from_ref(row))
    }

    /// Gives a value whose type is a row type the fields of that type.
    pub(super) fn with_fields(&mut self, mut value: Value) -> Value {
        if value.fields.is_none()
            && value.type_oid != 0
            && let Some(relation) = self.catalog().row_relation(value.type_oid)
        {
            let fields = relation.columns.iter().map(|column| Field {
                name: Arc::clone(&column.name),
                value: Value { fields: None, type_oid: column.type_oid, ..value.clone() },
            });
            value.fields = Some(fields.collect());
        }
        value
    }

    /// `(value).field`, `(value).*` without its star, `value[…]`.
    pub(super) fn indirection(&mut self, path: &nodes::A_Indirection, scope: &Scope<'_>) -> Value {
        let mut value = self.expr(path.arg(), scope);
        let mut named = names_item(path.arg(), scope);
        for step in path.indirection() {
            value = match step {
                Node::String(name) => {
                    // A field of a FROM item is a column like any other; elsewhere the whole row is made first.
                    if !std::mem::take(&mut named) {
                        self.touched.mark(&value.sources, PROBE);
                    }
                    self.field_of(value, name.sval().unwrap_or_default())
                }
                Node::A_Indices(index) => {
                    value.add(self.expr(index.lidx(), scope));
                    value.add(self.expr(index.uidx(), scope));
                    value.type_oid = self.catalog().type_of(value.type_oid).map_or(0, |array| array.element);
                    let mut value = value.turned(Turn::Transform);
                    value.fields = value.fields.take().map(|row| value.spread(&row));
                    value
                }
                _ => value,
            };
        }
        value
    }

    fn field_of(&mut self, value: Value, name: &str) -> Value {
        let value = self.with_fields(value);
        match value.field(name) {
            Some(field) => field.clone(),
            None if value.fields.is_some() => match self.functional(&value, name) {
                Some(result) => result,
                None => Value::computed(value.sources),
            },
            None => Value::computed(value.sources),
        }
    }

    fn cast(&mut self, cast: &nodes::TypeCast, scope: &Scope<'_>) -> Value {
        let mut value = self.expr(cast.arg(), scope);
        let Some(name) = cast.type_name() else { return value };
        let target = self.type_named(name);
        let source = value.type_oid;
        self.cast_functions(source, target);
        self.type_checks(target);
        if self.speaks(source, target) {
            self.touched.mark(&value.sources, REVEAL);
        }
        value.type_oid = target;
        let composite = self.catalog().row_relation(target).map(Arc::clone);
        if composite.is_some() {
            // Each field is converted, whichever of them is asked for.
            self.touched.mark(&value.sources, PROBE);
        }
        value.fields = match (composite, value.fields.take()) {
            (Some(relation), Some(fields)) => Some(
                relation
                    .columns
                    .iter()
                    .zip(fields.iter())
                    .map(|(column, field)| Field { name: Arc::clone(&column.name), value: field.value.clone() })
                    .collect(),
            ),
            _ => None,
        };
        value.turned(Turn::Transform)
    }

    /// Whether a failing cast says the value: text into anything that is read by a stricter grammar.
    fn speaks(&self, source: u32, target: u32) -> bool {
        let category = |oid: u32| self.catalog().type_of(oid).map(|found| found.category);
        category(source) == Some('S') && category(target).is_some_and(|category| category != 'S')
    }
}

/// Whether an expression is a FROM item by its name alone.
fn names_item(node: Node<'_>, scope: &Scope<'_>) -> bool {
    let Node::ColumnRef(column) = node else { return false };
    matches!(strings(column.fields()).as_slice(), [alias] if scope.column(alias).is_none() && scope.rel(None, alias).is_some())
}

/// The operators that a form of expression runs without spelling them.
const fn stands_for(kind: raw::A_Expr_Kind::Type) -> &'static [&'static str] {
    use raw::A_Expr_Kind as K;
    match kind {
        K::AEXPR_BETWEEN | K::AEXPR_NOT_BETWEEN | K::AEXPR_BETWEEN_SYM | K::AEXPR_NOT_BETWEEN_SYM => {
            &["<", "<=", ">", ">="]
        }
        K::AEXPR_DISTINCT | K::AEXPR_NOT_DISTINCT | K::AEXPR_NULLIF => &["="],
        K::AEXPR_SIMILAR => &["~", "!~"],
        _ => &[],
    }
}
