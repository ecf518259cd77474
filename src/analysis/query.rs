//! SELECT, VALUES, set operations and WITH: what comes out of a query, and what decides it.

use std::sync::Arc;

use super::analyzer::Analyzer;
use super::bound;
use super::from::alias_names;
use super::names::output_name;
use super::parse::{Node, NodeList, constant_integer, nodes, raw, strings};
use super::scope::{Cte, Scope, rename, sources};
use super::touch::{ColumnId, Field, GROUP_BY, PROBE, SORT, Value, WINDOW};

impl Analyzer<'_> {
    /// Analyses a query and returns its result columns. Columns that decide are marked; the result's are the caller's.
    pub(super) fn query(&mut self, select: &nodes::SelectStmt, parent: &Scope<'_>) -> Vec<Field> {
        if !self.enter() {
            return Vec::new();
        }
        let fields = self.query_inner(select, parent);
        self.leave();
        self.carried_fields(fields)
    }

    fn query_inner(&mut self, select: &nodes::SelectStmt, parent: &Scope<'_>) -> Vec<Field> {
        let mut outer = Scope::below(parent);
        if let Some(with) = select.with_clause() {
            self.with(with, &mut outer);
        }
        if select.op != raw::SetOperation::SETOP_NONE {
            return self.set_operation(select, &outer);
        }
        if !select.values_lists().is_empty() {
            return self.values(select, &outer);
        }
        self.simple(select, &outer)
    }

    /// A query in any node that can hold one.
    pub(super) fn query_node(&mut self, node: Node<'_>, parent: &Scope<'_>) -> Vec<Field> {
        match node {
            Node::SelectStmt(select) => self.query(select, parent),
            Node::InsertStmt(insert) => self.insert(insert, parent),
            Node::UpdateStmt(update) => self.update(update, parent),
            Node::DeleteStmt(delete) => self.delete(delete, parent),
            Node::MergeStmt(merge) => self.merge(merge, parent),
            _ => {
                self.touched.opaque("a query of a form that is not known");
                Vec::new()
            }
        }
    }

    fn simple(&mut self, select: &nodes::SelectStmt, outer: &Scope<'_>) -> Vec<Field> {
        let above = self.one_setting.take();
        let gathers = std::mem::take(&mut self.touched.gathers);
        self.locks |= !select.locking_clause().is_empty();
        let scope = self.scope_of_from(select.from_clause(), outer);
        self.conditions(select.where_clause(), &scope);
        self.one_setting = self.one_setting(select, &scope);
        let outputs = self.targets(select.target_list().iter(), &scope);
        self.one_setting = above;
        for node in select.group_clause() {
            self.group_item(node, &scope, &outputs);
        }
        self.probe_expr(select.having_clause(), &scope);
        for window in select.window_clause() {
            if let Node::WindowDef(window) = window {
                self.window(window, &scope);
            }
        }
        for node in select.distinct_clause() {
            self.sort_item(node, &scope, (&outputs, GROUP_BY));
        }
        for sort in select.sort_clause() {
            self.sort_item(sort.node(), &scope, (&outputs, SORT));
            self.sort_operator(sort, &scope);
        }
        self.probe_expr(select.limit_count(), &scope);
        self.probe_expr(select.limit_offset(), &scope);
        if std::mem::replace(&mut self.touched.gathers, gathers) {
            // An aggregate over columns of a query around this one gathers that one's rows.
            self.touched.packs |= !(outer.is_bare() && bound::one_row_in(self, select));
        }
        outputs
    }

    fn sort_operator(&mut self, sort: &nodes::SortBy, _scope: &Scope<'_>) {
        if let Some(name) = strings(sort.use_op()).last() {
            self.operator(name);
        }
    }

    /// The target list with `*` spelled out.
    pub(super) fn targets<'t>(
        &mut self,
        list: impl IntoIterator<Item = &'t nodes::ResTarget>,
        scope: &Scope<'_>,
    ) -> Vec<Field> {
        let mut outputs = Vec::new();
        for target in list {
            self.target(target, scope, &mut outputs);
            if outputs.len() > COLUMNS_MAX {
                self.touched.opaque("a target list has more columns than Postgres takes");
                return Vec::new();
            }
        }
        outputs
    }

    /// One target: `*`, `t.*`, `(row).*` or an expression.
    pub(super) fn target(&mut self, target: &nodes::ResTarget, scope: &Scope<'_>, outputs: &mut Vec<Field>) {
        let node = target.val();
        if let Some(fields) = self.star(node, scope) {
            outputs.extend(self.carried_fields(fields));
            return;
        }
        let value = self.expr(node, scope);
        let name: Arc<str> = target.name().map_or_else(|| output_name(node), Arc::from);
        outputs.push(Field { name, value });
    }

    /// The columns that a star means; `None` where the node is no star.
    pub(super) fn star(&mut self, node: Node<'_>, scope: &Scope<'_>) -> Option<Vec<Field>> {
        match node {
            Node::ColumnRef(column) if matches!(column.fields().iter().next_back(), Some(Node::A_Star(_))) => {
                let names = strings(column.fields());
                Some(match names.as_slice() {
                    [] => scope.columns.clone(),
                    [.., schema, alias] if scope.rel(Some(schema), alias).is_some() => {
                        scope.rel(Some(schema), alias).map(|rel| rel.fields.to_vec()).unwrap_or_default()
                    }
                    [.., alias] => {
                        if let Some(rel) = scope.rel(None, alias) {
                            rel.fields.to_vec()
                        } else {
                            let value = self.column_path(&names, scope);
                            self.row_fields(value, &names.join("."))
                        }
                    }
                })
            }
            Node::A_Indirection(path) if matches!(path.indirection().iter().next_back(), Some(Node::A_Star(_))) => {
                let value = self.indirection(path, scope);
                Some(self.row_fields(value, "an expression"))
            }
            _ => None,
        }
    }

    /// The fields of a row value; where they are not known, one column of all that it is made from.
    fn row_fields(&mut self, value: Value, name: &str) -> Vec<Field> {
        let value = self.with_fields(value);
        match &value.fields {
            Some(fields) => fields.to_vec(),
            None => vec![Field { name: format!("{name}.*").into(), value }],
        }
    }

    fn group_item(&mut self, node: Node<'_>, scope: &Scope<'_>, outputs: &[Field]) {
        match node {
            Node::GroupingSet(set) => {
                for inner in set.content() {
                    self.group_item(inner, scope, outputs);
                }
            }
            Node::RowExpr(row) => {
                for inner in row.args() {
                    self.group_item(inner, scope, outputs);
                }
            }
            Node::ColumnRef(column) => {
                let names = strings(column.fields());
                match names.as_slice() {
                    [name] if scope.column(name).is_none() => self.sort_item(node, scope, (outputs, GROUP_BY)),
                    _ => self.probe_as(node, scope, PROBE | GROUP_BY),
                }
            }
            _ => self.sort_item(node, scope, (outputs, GROUP_BY)),
        }
    }

    /// ORDER BY and DISTINCT ON: a name is a result column first, a number is its place. With the outputs comes the use.
    fn sort_item(&mut self, node: Node<'_>, scope: &Scope<'_>, (outputs, what): (&[Field], u8)) {
        let output = match node {
            Node::None => return,
            Node::ColumnRef(column) => match strings(column.fields()).as_slice() {
                [name] => outputs.iter().find(|field| *field.name == **name),
                _ => None,
            },
            Node::A_Const(_) => {
                constant_integer(node).and_then(|place| outputs.get(usize::try_from(place).ok()?.checked_sub(1)?))
            }
            _ => None,
        };
        match output {
            Some(field) => self.touched.mark(&field.value.sources, PROBE | what),
            None => self.probe_as(node, scope, PROBE | what),
        }
    }

    pub(super) fn window(&mut self, window: &nodes::WindowDef, scope: &Scope<'_>) {
        for node in window.partition_clause() {
            self.probe_as(node, scope, PROBE | WINDOW);
        }
        for sort in window.order_clause() {
            self.probe_as(sort.node(), scope, PROBE | WINDOW);
            self.sort_operator(sort, scope);
        }
        self.probe_as(window.start_offset(), scope, PROBE | WINDOW);
        self.probe_as(window.end_offset(), scope, PROBE | WINDOW);
    }

    fn set_operation(&mut self, select: &nodes::SelectStmt, outer: &Scope<'_>) -> Vec<Field> {
        let mut fields = select.larg().map(|left| self.query(left, outer)).unwrap_or_default();
        let right = select.rarg().map(|right| self.query(right, outer)).unwrap_or_default();
        let decides = select.op != raw::SetOperation::SETOP_UNION;
        if decides || !select.all {
            self.decide(&fields);
            self.decide(&right);
        }
        for (left, right) in fields.iter_mut().zip(right) {
            // EXCEPT returns rows of its left side alone, but what it leaves out comes from the right.
            left.value.add(right.value);
            left.value.fields = None;
        }
        for sort in select.sort_clause() {
            self.sort_item(sort.node(), outer, (&fields, SORT));
        }
        self.probe_expr(select.limit_count(), outer);
        self.probe_expr(select.limit_offset(), outer);
        fields
    }

    /// Duplicates are compared: the columns decide which rows stay.
    fn decide(&mut self, fields: &[Field]) {
        self.touched.seen.extend(sources(fields));
    }

    fn values(&mut self, select: &nodes::SelectStmt, outer: &Scope<'_>) -> Vec<Field> {
        let mut fields: Vec<Field> = Vec::new();
        for row in select.values_lists() {
            let Node::NodeList(row) = row else { continue };
            for (place, value) in self.row(row, outer).into_iter().enumerate() {
                // All of its values are computed, whichever of them is asked for.
                self.touched.mark(&value.sources, PROBE);
                match fields.get_mut(place) {
                    Some(field) => field.value.add(value),
                    None => fields.push(Field { name: format!("column{}", place + 1).into(), value }),
                }
            }
        }
        for sort in select.sort_clause() {
            self.sort_item(sort.node(), outer, (&fields, SORT));
        }
        self.probe_expr(select.limit_count(), outer);
        self.probe_expr(select.limit_offset(), outer);
        fields
    }

    /// The values of a list of expressions, stars spelled out.
    pub(super) fn row(&mut self, list: &NodeList, scope: &Scope<'_>) -> Vec<Value> {
        let mut values = Vec::with_capacity(list.len());
        for node in list {
            match self.star(node, scope) {
                Some(fields) => values.extend(self.carried_fields(fields).into_iter().map(|field| field.value)),
                None => values.push(self.expr(node, scope)),
            }
        }
        values
    }

    /// Brings the CTEs of a WITH into a scope. All names of a recursive WITH see each other.
    pub(super) fn with(&mut self, with: &nodes::WithClause, scope: &mut Scope<'_>) {
        for cte in with.ctes() {
            let name: Arc<str> = cte.ctename().unwrap_or_default().into();
            let names = strings(cte.aliascolnames());
            let fields = if with.recursive {
                self.recursive(cte, &name, &names, scope)
            } else {
                let fields: Arc<[Field]> = self.query_node(cte.ctequery(), scope).into();
                rename(&fields, &names)
            };
            let fields = search_and_cycle(cte, fields);
            self.touched.seen.extend(sources(&fields));
            scope.ctes.push(Cte { name, fields });
        }
    }

    /// A recursive CTE: its columns grow until a round adds nothing.
    fn recursive(
        &mut self,
        cte: &nodes::CommonTableExpr,
        name: &Arc<str>,
        names: &[&str],
        scope: &mut Scope<'_>,
    ) -> Arc<[Field]> {
        let Node::SelectStmt(select) = cte.ctequery() else {
            let fields: Arc<[Field]> = self.query_node(cte.ctequery(), scope).into();
            return rename(&fields, names);
        };
        let anchor = match (select.larg(), select.with_clause()) {
            (Some(left), None) => self.query(left, scope),
            _ => Vec::new(),
        };
        let mut fields = rename(&anchor.into(), names);
        self.gathers(cte, name, &fields, scope);
        // Each round but the last adds a column to a field, and three rounds carry it through a chain of ordinary length.
        for _ in 0..RECURSION_ROUNDS {
            let known: Arc<[Field]> = search_and_cycle(cte, Arc::clone(&fields));
            scope.ctes.push(Cte { name: Arc::clone(name), fields: known });
            let next: Arc<[Field]> = self.query_node(cte.ctequery(), scope).into();
            scope.ctes.pop();
            let next = rename(&next, names);
            let same = next.len() == fields.len()
                && next.iter().zip(fields.iter()).all(|(new, old)| new.value.sources == old.value.sources);
            fields = next;
            if same {
                return fields;
            }
        }
        // Too long a chain of columns: every field is made from every column.
        let all = sources(&fields);
        fields
            .iter()
            .map(|field| Field { name: Arc::clone(&field.name), value: Value::computed(all.clone()) })
            .collect()
    }
}

impl Analyzer<'_> {
    /// Whether a recursive CTE gathers tagged values of many rows into one: a column of a round is made from a column of
    /// the round before and from a tagged one. Rows that come out do not show how many went in.
    fn gathers(&mut self, cte: &nodes::CommonTableExpr, name: &Arc<str>, fields: &Arc<[Field]>, scope: &mut Scope<'_>) {
        let outer = std::mem::take(&mut self.touched);
        let before = fields.iter().enumerate().map(|(place, field)| {
            let number = i16::try_from(place).unwrap_or(i16::MAX);
            Field { name: Arc::clone(&field.name), value: Value::of([ColumnId { relation: 0, number }].into()) }
        });
        let before: Arc<[Field]> = before.collect();
        scope.ctes.push(Cte { name: Arc::clone(name), fields: search_and_cycle(cte, before) });
        // What the anchor brings is the first row's; what the recursive part makes of it is in question.
        let round = match cte.ctequery() {
            Node::SelectStmt(select) if select.with_clause().is_none() => {
                select.rarg().map(|right| self.query(right, scope)).unwrap_or_default()
            }
            query => self.query_node(query, scope),
        };
        scope.ctes.pop();
        self.touched = outer;
        let tagged = |column: &ColumnId| !self.catalog().tags(column.relation, column.number).is_empty();
        self.touched.packs |= round.iter().any(|field| {
            let made_of = &field.value.sources;
            made_of.iter().any(|column| column.relation == 0) && made_of.iter().any(tagged)
        });
    }
}

const RECURSION_ROUNDS: usize = 6;

/// Postgres refuses longer target lists (`MaxTupleAttributeNumber`).
const COLUMNS_MAX: usize = 1_664;

/// The columns that SEARCH and CYCLE add.
fn search_and_cycle(cte: &nodes::CommonTableExpr, fields: Arc<[Field]>) -> Arc<[Field]> {
    let mut added = Vec::new();
    let mut add = |name: Option<&str>, columns: &NodeList| {
        let names = strings(columns);
        let from = fields.iter().filter(|field| names.contains(&&*field.name));
        let value = Value::of(from.flat_map(|field| field.value.sources.iter().copied()).collect());
        added.extend(name.map(|name| Field { name: name.into(), value }));
    };
    if let Some(search) = cte.search_clause() {
        add(search.search_seq_column(), search.search_col_list());
    }
    if let Some(cycle) = cte.cycle_clause() {
        add(cycle.cycle_mark_column(), cycle.cycle_col_list());
        add(cycle.cycle_path_column(), cycle.cycle_col_list());
    }
    added.retain(|field| !fields.iter().any(|known| known.name == field.name));
    if added.is_empty() { fields } else { fields.iter().cloned().chain(added).collect() }
}

/// The names that an alias gives to columns.
pub(super) fn column_names(alias: Option<&nodes::Alias>) -> Vec<&str> {
    alias.map(alias_names).unwrap_or_default()
}
