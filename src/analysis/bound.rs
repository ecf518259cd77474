//! How many rows a query can return, as far as its text and the catalog's keys prove it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::analyzer::Analyzer;
use super::facts::Bound;
use super::parse::{Node, NodeList, constant_integer, nodes, raw, strings, walk_all};
use crate::catalog::{Oid, Relation, RelationKind};

/// A bound of that many rows.
pub(super) const fn rows(rows: u64) -> Bound {
    if rows <= 1 { Bound::One } else { Bound::Rows(rows) }
}

fn least(left: Bound, right: Bound) -> Bound {
    match (left.rows(), right.rows()) {
        (Some(left), Some(right)) => rows(left.min(right)),
        (Some(one), None) | (None, Some(one)) => rows(one),
        (None, None) => Bound::Unbounded,
    }
}

fn sum(left: Bound, right: Bound) -> Bound {
    match (left.rows(), right.rows()) {
        (Some(left), Some(right)) => rows(left.saturating_add(right)),
        _ => Bound::Unbounded,
    }
}

/// What a name of a WITH stands for.
#[derive(Clone, Debug)]
pub(super) struct Named {
    name: Arc<str>,
    bound: Bound,
    scans: Vec<Oid>,
}

/// Reads something under the names of its WITH, which hide relations of the catalog.
fn under<T>(
    analyzer: &mut Analyzer<'_>,
    with: Option<&nodes::WithClause>,
    read: impl FnOnce(&mut Analyzer<'_>) -> T,
) -> T {
    let before = analyzer.named.len();
    for cte in with.into_iter().flat_map(nodes::WithClause::ctes) {
        let name: Arc<str> = cte.ctename().unwrap_or_default().into();
        let recursive = with.is_some_and(|with| with.recursive);
        if recursive {
            analyzer.named.push(Named { name: Arc::clone(&name), bound: Bound::Unbounded, scans: Vec::new() });
        }
        let bound = if recursive { Bound::Unbounded } else { query(analyzer, cte.ctequery()) };
        let scans = scans(analyzer, cte.ctequery());
        analyzer.named.push(Named { name, bound, scans });
    }
    let found = read(analyzer);
    analyzer.named.truncate(before);
    found
}

/// The WITH name that a relation's name means.
fn named<'a>(analyzer: &'a Analyzer<'_>, var: &nodes::RangeVar) -> Option<&'a Named> {
    let name = var.relname().filter(|_| var.schemaname().is_none())?;
    analyzer.named.iter().rev().find(|known| &*known.name == name)
}

/// The bound of a query in any node.
pub(super) fn query(analyzer: &mut Analyzer<'_>, node: Node<'_>) -> Bound {
    let with = match node {
        Node::InsertStmt(insert) => insert.with_clause(),
        Node::UpdateStmt(update) => update.with_clause(),
        Node::DeleteStmt(delete) => delete.with_clause(),
        _ => None,
    };
    under(analyzer, with, |analyzer| query_under(analyzer, node))
}

fn query_under(analyzer: &mut Analyzer<'_>, node: Node<'_>) -> Bound {
    match node {
        Node::SelectStmt(query) => select(analyzer, query),
        Node::InsertStmt(insert) if insert.returning_clause().is_some() => query(analyzer, insert.select_stmt()),
        Node::UpdateStmt(update) if update.returning_clause().is_some() => {
            if update.from_clause().is_empty() {
                target(analyzer, update.relation(), update.where_clause())
            } else {
                Bound::Unbounded
            }
        }
        Node::DeleteStmt(delete) if delete.returning_clause().is_some() => {
            if delete.using_clause().is_empty() {
                target(analyzer, delete.relation(), delete.where_clause())
            } else {
                Bound::Unbounded
            }
        }
        Node::MergeStmt(merge) if merge.returning_clause().is_some() => Bound::Unbounded,
        _ => Bound::One,
    }
}

fn target(analyzer: &mut Analyzer<'_>, var: Option<&nodes::RangeVar>, condition: Node<'_>) -> Bound {
    let mut items = Items::default();
    if let Some(var) = var {
        items.add(analyzer, var);
    }
    items.condition(condition);
    items.bound()
}

/// The bound of a SELECT.
pub(super) fn select(analyzer: &mut Analyzer<'_>, select: &nodes::SelectStmt) -> Bound {
    let limited = match select.limit_option {
        raw::LimitOption::LIMIT_OPTION_WITH_TIES => Bound::Unbounded,
        _ => constant_integer(select.limit_count()).map_or(Bound::Unbounded, rows),
    };
    least(limited, under(analyzer, select.with_clause(), |analyzer| unlimited(analyzer, select)))
}

fn unlimited(analyzer: &mut Analyzer<'_>, query: &nodes::SelectStmt) -> Bound {
    if query.op != raw::SetOperation::SETOP_NONE {
        let left = query.larg().map_or(Bound::Unbounded, |left| select(analyzer, left));
        let right = query.rarg().map_or(Bound::Unbounded, |right| select(analyzer, right));
        return if query.op == raw::SetOperation::SETOP_UNION { sum(left, right) } else { left };
    }
    if !query.values_lists().is_empty() {
        return rows(u64::try_from(query.values_lists().len()).unwrap_or(u64::MAX));
    }
    if query.target_list().iter().any(|target| returns_set(analyzer, target.val())) {
        return Bound::Unbounded;
    }
    let aggregates = query.target_list().iter().any(|target| aggregates(analyzer, target.val()))
        || aggregates(analyzer, query.having_clause());
    if query.group_clause().is_empty() && (aggregates || query.from_clause().is_empty()) {
        return Bound::One;
    }
    input(analyzer, query)
}

/// The rows of FROM that WHERE lets through.
fn input(analyzer: &mut Analyzer<'_>, query: &nodes::SelectStmt) -> Bound {
    let mut items = Items::default();
    for node in query.from_clause() {
        items.from(analyzer, node);
    }
    items.condition(query.where_clause());
    items.bound()
}

/// Whether one row at most goes into the aggregates of a SELECT that sees no names of a WITH.
pub(super) fn one_row_in(analyzer: &mut Analyzer<'_>, query: &nodes::SelectStmt) -> bool {
    input(analyzer, query) == Bound::One
}

/// Whether an UPDATE writes one row at most.
pub(super) fn one_row_written(analyzer: &mut Analyzer<'_>, update: &nodes::UpdateStmt) -> bool {
    update.from_clause().is_empty() && target(analyzer, update.relation(), update.where_clause()) == Bound::One
}

/// Whether an expression holds an aggregate of its own level.
fn aggregates(analyzer: &Analyzer<'_>, node: Node<'_>) -> bool {
    let mut found = false;
    walk_all(node, |node| match node {
        Node::SubLink(_) => false,
        Node::FuncCall(call) => {
            let plain = call.over().is_none();
            found |= plain && (call.agg_star || call.agg_within_group || is_kind(analyzer, call, 'a'));
            true
        }
        Node::JsonArrayAgg(json) => {
            found |= json.constructor().is_none_or(|common| common.over().is_none());
            true
        }
        Node::JsonObjectAgg(json) => {
            found |= json.constructor().is_none_or(|common| common.over().is_none());
            true
        }
        _ => true,
    });
    found
}

fn is_kind(analyzer: &Analyzer<'_>, call: &nodes::FuncCall, kind: char) -> bool {
    let names = strings(call.funcname());
    let found = analyzer.candidates(&names);
    !found.is_empty() && found.iter().all(|function| function.kind == kind)
}

/// Whether an expression returns a set; an unknown function may.
fn returns_set(analyzer: &Analyzer<'_>, node: Node<'_>) -> bool {
    let mut found = false;
    walk_all(node, |node| match node {
        Node::SubLink(_) => false,
        Node::FuncCall(call) => {
            let names = strings(call.funcname());
            let functions = analyzer.candidates(&names);
            found |= functions.iter().any(|function| function.returns_set);
            true
        }
        _ => true,
    });
    found
}

/// FROM items with the equalities between them.
#[derive(Default)]
struct Items {
    relations: Vec<(Arc<str>, Arc<Relation>)>,
    /// Items that no key bounds.
    open: bool,
    /// Items that have one row at most.
    single: HashSet<Arc<str>>,
    equal: Vec<Equality>,
}

/// `alias.column` (the alias may be missing) equals something made of these aliases; `None` among them is any.
type Equality = (Option<Arc<str>>, Arc<str>, BTreeSet<Option<Arc<str>>>);

impl Items {
    fn add(&mut self, analyzer: &mut Analyzer<'_>, var: &nodes::RangeVar) {
        let name = var.relname().unwrap_or_default();
        let alias = var.alias().and_then(nodes::Alias::aliasname).unwrap_or(name);
        if let Some(known) = named(analyzer, var) {
            if known.bound == Bound::One {
                self.single.insert(alias.into());
            } else {
                self.open = true;
            }
            return;
        }
        if analyzer.catalog().operators("=").iter().any(|own| analyzer.is_people_code(own.function)) {
            // An equality that is none proves nothing.
            self.open = true;
            return;
        }
        match analyzer.find_relation(var.schemaname(), name) {
            // A parent's key says nothing of its children's rows; a partitioned table's does.
            Some(relation)
                if var.inh
                    && relation.kind != RelationKind::Partitioned
                    && analyzer.catalog().family(relation.oid).len() > 1 =>
            {
                self.open = true;
            }
            Some(relation) if var.alias().is_none_or(|alias| alias.colnames().is_empty()) => {
                self.relations.push((alias.into(), relation));
            }
            _ => self.open = true,
        }
    }

    fn from(&mut self, analyzer: &mut Analyzer<'_>, node: Node<'_>) {
        match node {
            Node::RangeVar(var) => self.add(analyzer, var),
            Node::JoinExpr(join) if join.using_clause().is_empty() && !join.is_natural && join.alias().is_none() => {
                self.from(analyzer, join.larg());
                self.from(analyzer, join.rarg());
                match join.jointype {
                    raw::JoinType::JOIN_INNER | raw::JoinType::JOIN_LEFT => self.outer_condition(join),
                    _ => self.open = true,
                }
            }
            Node::RangeSubselect(sub) => {
                if query(analyzer, sub.subquery()) != Bound::One {
                    self.open = true;
                } else if let Some(alias) = sub.alias().and_then(nodes::Alias::aliasname) {
                    self.single.insert(alias.into());
                }
            }
            _ => self.open = true,
        }
    }

    /// ON of a left join bounds its right side alone; of an inner join both.
    fn outer_condition(&mut self, join: &nodes::JoinExpr) {
        let before = self.equal.len();
        self.condition(join.quals());
        if join.jointype == raw::JoinType::JOIN_LEFT {
            let right: HashSet<&str> = from_aliases(join.rarg());
            let tail: Vec<_> = self.equal.drain(before..).collect();
            self.equal.extend(
                tail.into_iter().filter(|(alias, ..)| alias.as_deref().is_some_and(|alias| right.contains(alias))),
            );
        }
    }

    /// Takes the equalities out of a conjunction.
    fn condition(&mut self, node: Node<'_>) {
        match node {
            Node::BoolExpr(expr) if expr.boolop == raw::BoolExprType::AND_EXPR => {
                for inner in expr.args() {
                    self.condition(inner);
                }
            }
            Node::A_Expr(expr) if expr.kind == raw::A_Expr_Kind::AEXPR_OP && strings(expr.name()) == ["="] => {
                self.equality(expr.lexpr(), expr.rexpr());
                self.equality(expr.rexpr(), expr.lexpr());
            }
            _ => {}
        }
    }

    fn equality(&mut self, column: Node<'_>, other: Node<'_>) {
        let Node::ColumnRef(column) = column else { return };
        let names = strings(column.fields());
        let (alias, name) = match names.as_slice() {
            [name] => (None, *name),
            [.., alias, name] => (Some(Arc::from(*alias)), *name),
            [] => return,
        };
        let mut made_of = BTreeSet::new();
        walk_all(other, |node| {
            match node {
                Node::ColumnRef(column) => {
                    let names = strings(column.fields());
                    made_of.insert(match names.as_slice() {
                        [.., alias, _] => Some(Arc::from(*alias)),
                        _ => None,
                    });
                }
                Node::SubLink(_) => drop(made_of.insert(None)),
                _ => {}
            }
            true
        });
        self.equal.push((alias, name.into(), made_of));
    }

    fn bound(mut self) -> Bound {
        if self.open {
            return Bound::Unbounded;
        }
        let mut changed = true;
        while changed {
            changed = false;
            for (alias, relation) in &self.relations {
                if !self.single.contains(alias) && self.is_keyed(alias, relation) {
                    self.single.insert(Arc::clone(alias));
                    changed = true;
                }
            }
        }
        let all = self.relations.iter().all(|(alias, _)| self.single.contains(alias));
        if all { Bound::One } else { Bound::Unbounded }
    }

    /// Whether every column of some key equals something that is known.
    fn is_keyed(&self, alias: &Arc<str>, relation: &Relation) -> bool {
        let only = self.relations.len() == 1 && self.single.is_empty();
        let fixed = |number: i16| {
            let Some(column) = relation.column_number(number) else { return false };
            self.equal.iter().any(|(own, name, made_of)| {
                let this = match own {
                    Some(own) => own == alias,
                    None => only,
                };
                this && *name == column.name
                    && made_of.iter().all(|other| other.as_ref().is_some_and(|other| self.single.contains(other)))
            })
        };
        relation.keys.iter().any(|key| !key.columns.is_empty() && key.columns.iter().all(|number| fixed(*number)))
    }
}

fn from_aliases(node: Node<'_>) -> HashSet<&str> {
    match node {
        Node::RangeVar(var) => var.alias().and_then(nodes::Alias::aliasname).or(var.relname()).into_iter().collect(),
        Node::RangeSubselect(sub) => sub.alias().and_then(nodes::Alias::aliasname).into_iter().collect(),
        Node::JoinExpr(join) => from_aliases(join.larg()).into_iter().chain(from_aliases(join.rarg())).collect(),
        _ => HashSet::new(),
    }
}

/// The relations that an unbounded query reads without a narrowing condition.
pub(super) fn scans(analyzer: &mut Analyzer<'_>, node: Node<'_>) -> Vec<Oid> {
    match node {
        Node::SelectStmt(select) => under(analyzer, select.with_clause(), |analyzer| select_scans(analyzer, select)),
        Node::CopyStmt(copy) => match copy.relation() {
            Some(var) => var_scans(analyzer, var),
            None => scans(analyzer, copy.query()),
        },
        Node::DeclareCursorStmt(declare) => scans(analyzer, declare.query()),
        Node::UpdateStmt(update) if matches!(update.where_clause(), Node::None) => {
            update.relation().map(|var| var_scans(analyzer, var)).unwrap_or_default()
        }
        Node::DeleteStmt(delete) if matches!(delete.where_clause(), Node::None) => {
            delete.relation().map(|var| var_scans(analyzer, var)).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

fn select_scans(analyzer: &mut Analyzer<'_>, select: &nodes::SelectStmt) -> Vec<Oid> {
    if select.op != raw::SetOperation::SETOP_NONE {
        let arms = [select.larg(), select.rarg()];
        return arms.into_iter().flatten().flat_map(|arm| select_scans(analyzer, arm)).collect();
    }
    if narrows(select.where_clause()) || constant_integer(select.limit_count()).is_some() {
        return Vec::new();
    }
    from_scans(analyzer, select.from_clause())
}

fn from_scans(analyzer: &mut Analyzer<'_>, list: &NodeList) -> Vec<Oid> {
    let mut found = Vec::new();
    for node in list {
        item_scans(analyzer, node, &mut found);
    }
    found
}

fn item_scans(analyzer: &mut Analyzer<'_>, node: Node<'_>, found: &mut Vec<Oid>) {
    match node {
        Node::RangeVar(var) => found.extend(var_scans(analyzer, var)),
        Node::JoinExpr(join) => {
            item_scans(analyzer, join.larg(), found);
            item_scans(analyzer, join.rarg(), found);
        }
        Node::RangeSubselect(sub) => {
            if let Node::SelectStmt(select) = sub.subquery() {
                found.extend(select_scans(analyzer, select));
            }
        }
        _ => {}
    }
}

fn var_scans(analyzer: &mut Analyzer<'_>, var: &nodes::RangeVar) -> Vec<Oid> {
    if let Some(known) = named(analyzer, var) {
        return known.scans.clone();
    }
    let found = analyzer.find_relation(var.schemaname(), var.relname().unwrap_or_default());
    match found {
        Some(relation) if relation.kind == RelationKind::View => {
            // A view that is joined twice scans what it scans once.
            if !analyzer.scanned.insert(relation.oid) || !analyzer.enter() {
                return Vec::new();
            }
            let text = relation.definition.clone().unwrap_or_default();
            let Ok(tree) = analyzer.parse(&text) else {
                analyzer.leave();
                return Vec::new();
            };
            let path = std::mem::replace(
                &mut analyzer.path,
                crate::catalog::SearchPath::of_definitions(analyzer.context.catalog),
            );
            let hidden = std::mem::take(&mut analyzer.named);
            let inner = match tree.statements(&text).next().map(|statement| statement.node) {
                Some(node @ Node::SelectStmt(_)) => scans(analyzer, node),
                _ => Vec::new(),
            };
            analyzer.named = hidden;
            analyzer.path = path;
            analyzer.leave();
            inner
        }
        Some(relation) => vec![relation.oid],
        None => Vec::new(),
    }
}

/// A condition that says anything of a row.
fn narrows(node: Node<'_>) -> bool {
    let mut columns = false;
    walk_all(node, |node| {
        columns |= matches!(node, Node::ColumnRef(_));
        true
    });
    columns
}
