//! What a definition names: the columns in its expressions and bodies, which nothing reads yet and which the person who
//! decides on it must see.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::analyzer::{Analyzer, relation_scope, stored};
use super::facts::{Kind, SessionEffect};
use super::parse::{Node, NodeList, nodes, raw, strings};
use super::plpgsql;
use super::scope::{Scope, sources};
use super::statement::{is_temporary, option_text};
use super::touch::{ColumnId, Field, PROBE, REVEAL, Sources, Value, WRITE};
use crate::catalog::{Relation, fold};

impl Analyzer<'_> {
    /// What a statement that defines, alters or drops something names.
    pub(super) fn defined(&mut self, node: Node<'_>) {
        match node {
            Node::CreateStmt(create) => self.create_table(create),
            Node::AlterTableStmt(alter) => self.altered(alter),
            Node::IndexStmt(index) => self.indexed(index),
            Node::RenameStmt(rename) => self.renamed(rename),
            Node::CreateTrigStmt(trigger) => self.create_trigger(trigger),
            Node::RuleStmt(rule) => self.create_rule(rule),
            Node::CreatePolicyStmt(policy) => self.policy(policy.table(), [policy.qual(), policy.with_check()]),
            Node::AlterPolicyStmt(policy) => self.policy(policy.table(), [policy.qual(), policy.with_check()]),
            Node::CreateFunctionStmt(function) => self.create_function(function),
            Node::CreateDomainStmt(domain) => {
                for constraint in domain.constraints() {
                    self.value_constraint(constraint);
                }
            }
            Node::AlterDomainStmt(domain) => match domain.def() {
                Node::Constraint(constraint) => self.value_constraint(constraint),
                node => self.foreseen_expr(node, &value_scope()),
            },
            Node::CreateStatsStmt(statistics) => self.statistics(statistics),
            Node::CreatePublicationStmt(publication) => self.published(publication.pubobjects()),
            Node::AlterPublicationStmt(publication) => self.published(publication.pubobjects()),
            Node::DropStmt(drop) => self.dropped(drop),
            Node::CommentStmt(comment) => self.commented(comment),
            _ => {}
        }
    }

    /// Reads a part that nothing runs yet: its columns count as deciding, and nothing else of it counts.
    pub(super) fn foreseen(&mut self, read: impl FnOnce(&mut Self) -> Vec<Field>) {
        let outer = std::mem::take(&mut self.touched);
        let fields = read(self);
        let inner = std::mem::replace(&mut self.touched, outer);
        self.touched.mark(inner.columns.keys(), PROBE);
        self.touched.mark(&inner.seen, PROBE);
        self.touched.mark(&sources(&fields), PROBE);
        self.touched.relations.extend(inner.relations);
        self.touched.functions.extend(inner.functions);
        self.touched.session_local |= inner.session_local;
    }

    fn foreseen_expr(&mut self, node: Node<'_>, scope: &Scope<'_>) {
        self.foreseen(|analyzer| {
            analyzer.probe_expr(node, scope);
            Vec::new()
        });
    }

    /// The relation that a definition is about, and a scope of its columns.
    fn subject(&mut self, var: Option<&nodes::RangeVar>) -> Option<(Arc<Relation>, Arc<[Field]>, Scope<'static>)> {
        let var = var?;
        self.named(var);
        let relation = self.find_relation(var.schemaname(), var.relname().unwrap_or_default())?;
        let fields = stored(&relation);
        let scope = relation_scope(&relation, &fields);
        Some((relation, fields, scope))
    }

    fn create_table(&mut self, create: &nodes::CreateStmt) {
        if create.relation().is_some_and(is_temporary) {
            self.touched.kinds.remove(&Kind::Ddl);
            self.touched.kinds.insert(Kind::Write);
            self.touched.session_local = true;
        }
        for node in create.inh_relations().iter().chain(create.table_elts()) {
            match node {
                Node::RangeVar(var) => self.named(var),
                Node::TableLikeClause(like) => {
                    if let Some((pattern, ..)) = self.subject(like.relation()) {
                        self.like(create.relation(), &pattern);
                    }
                }
                _ => {}
            }
        }
        self.new_columns(create);
        self.touched.effects.push(SessionEffect::CatalogChange);
    }

    /// What the constraints of a new table call: its own columns hold nothing yet.
    fn new_columns(&mut self, create: &nodes::CreateStmt) {
        let columns = || {
            create.table_elts().iter().filter_map(|node| match node {
                Node::ColumnDef(column) => Some(column),
                _ => None,
            })
        };
        let own = columns().filter_map(nodes::ColumnDef::colname);
        let own = own.map(|name| Field { name: name.into(), value: Value::default() }).collect();
        let scope = Scope { columns: own, ..Scope::default() };
        for column in columns() {
            self.column_constraints(column, &scope);
        }
        for node in create.table_elts() {
            if let Node::Constraint(constraint) = node {
                self.constraint(constraint, &scope);
            }
        }
    }

    fn altered(&mut self, alter: &nodes::AlterTableStmt) {
        let Some(var) = alter.relation() else { return };
        self.named(var);
        let Some(relation) = self.find_relation(var.schemaname(), var.relname().unwrap_or_default()) else { return };
        let fields = super::analyzer::stored(&relation);
        let scope = super::analyzer::relation_scope(&relation, &fields);
        for node in alter.cmds() {
            let Node::AlterTableCmd(cmd) = node else { continue };
            if let Some(column) = cmd.name().and_then(|name| fields.iter().find(|field| &*field.name == name)) {
                self.touched.mark(&column.value.sources, WRITE);
            }
            match cmd.def() {
                // USING reads the column row by row, and an error says a value.
                Node::ColumnDef(column) => {
                    let value = self.expr(column.raw_default(), &scope);
                    self.touched.mark(&value.sources, REVEAL);
                    let name = column.colname().or(cmd.name()).unwrap_or_default();
                    self.fills_column(&relation, name, &value.sources);
                    self.column_constraints(column, &scope);
                    self.fills_by_default(&relation, column, &scope);
                }
                Node::Constraint(constraint) => self.constraint(constraint, &scope),
                Node::RangeVar(var) => {
                    self.named(var);
                    self.detached(cmd, &relation, var);
                }
                Node::PartitionCmd(partition) => {
                    if let Some(var) = partition.name() {
                        self.named(var);
                        self.detached(cmd, &relation, var);
                    }
                }
                _ => {}
            }
        }
    }

    /// A child that leaves its parent keeps rows that were written through it: it keeps its tags.
    fn detached(&mut self, cmd: &nodes::AlterTableCmd, relation: &Arc<Relation>, var: &nodes::RangeVar) {
        let Some(other) = self.find_relation(var.schemaname(), var.relname().unwrap_or_default()) else { return };
        let (parent, child) = match cmd.subtype {
            raw::AlterTableType::AT_DropInherit => (&other, relation),
            raw::AlterTableType::AT_DetachPartition => (relation, &other),
            _ => return,
        };
        for column in &parent.columns {
            let source = ColumnId { relation: parent.oid, number: column.number };
            if let Some(own) = child.column(&column.name) {
                self.fills_column(child, &column.name, &Sources::from([source]));
                self.touched.flows.kept.insert(ColumnId { relation: child.oid, number: own.number });
            }
        }
    }

    /// A column that is added is filled with its default.
    fn fills_by_default(&mut self, relation: &Relation, column: &nodes::ColumnDef, scope: &Scope<'_>) {
        for node in column.constraints() {
            if let Node::Constraint(constraint) = node
                && constraint.contype == raw::ConstrType::CONSTR_DEFAULT
            {
                let value = self.expr(constraint.raw_expr(), scope);
                self.fills_column(relation, column.colname().unwrap_or_default(), &value.sources);
            }
        }
    }

    fn indexed(&mut self, index: &nodes::IndexStmt) {
        let Some(var) = index.relation() else { return };
        self.named(var);
        let Some(relation) = self.find_relation(var.schemaname(), var.relname().unwrap_or_default()) else { return };
        let fields = super::analyzer::stored(&relation);
        let scope = super::analyzer::relation_scope(&relation, &fields);
        for element in index.index_params() {
            match element.name() {
                Some(name) => {
                    let value = scope.column(name).unwrap_or_default();
                    self.touched.mark(&value.sources, PROBE);
                }
                None => self.probe_expr(element.expr(), &scope),
            }
        }
        self.probe_expr(index.where_clause(), &scope);
    }

    /// The default, the generation and the checks of a column that a statement defines.
    fn column_constraints(&mut self, column: &nodes::ColumnDef, scope: &Scope<'_>) {
        for node in column.constraints() {
            if let Node::Constraint(constraint) = node {
                self.constraint(constraint, scope);
            }
        }
    }

    /// A constraint is computed over the rows that are there.
    fn constraint(&mut self, constraint: &nodes::Constraint, scope: &Scope<'_>) {
        self.probe_expr(constraint.raw_expr(), scope);
        for name in strings(constraint.keys()).into_iter().chain(strings(constraint.fk_attrs())) {
            let value = scope.column(name).unwrap_or_default();
            self.touched.mark(&value.sources, PROBE);
        }
        self.probe_expr(constraint.where_clause(), scope);
        self.each(constraint.pktable());
    }

    fn renamed(&mut self, rename: &nodes::RenameStmt) {
        self.moves(rename);
        let Some((_, _, scope)) = self.subject(rename.relation()) else { return };
        if rename.rename_type == raw::ObjectType::OBJECT_COLUMN
            && let Some(column) = rename.subname().and_then(|name| scope.column(name))
        {
            self.touched.mark(&column.sources, WRITE);
        }
    }

    fn create_trigger(&mut self, trigger: &nodes::CreateTrigStmt) {
        let Some((relation, fields, _)) = self.subject(trigger.relation()) else { return };
        let scope = super::fire::old_and_new(&relation, &fields);
        self.foreseen_expr(trigger.when_clause(), &scope);
        let called = strings(trigger.funcname());
        self.touched.functions.insert(called.join("."));
    }

    fn create_rule(&mut self, rule: &nodes::RuleStmt) {
        if let Some((relation, fields, _)) = self.subject(rule.relation()) {
            self.foreseen(|analyzer| {
                analyzer.rule(&relation, &fields, rule);
                Vec::new()
            });
        }
    }

    fn policy(&mut self, table: Option<&nodes::RangeVar>, conditions: [Node<'_>; 2]) {
        if let Some((_, _, scope)) = self.subject(table) {
            for condition in conditions {
                self.foreseen_expr(condition, &scope);
            }
        }
    }

    /// The body and the defaults of a function.
    fn create_function(&mut self, function: &nodes::CreateFunctionStmt) {
        let top = Scope::default();
        let mut names = Vec::new();
        for parameter in function.parameters() {
            names.extend(parameter.name().map(Arc::<str>::from));
            self.foreseen_expr(parameter.defexpr(), &top);
        }
        let mut language = "sql".to_owned();
        let mut source = None;
        for option in function.options() {
            match (option.defname(), option.arg()) {
                (Some("language"), arg) => language = fold(&option_text(arg).unwrap_or_default()),
                (Some("as"), Node::NodeList(parts)) => source = parts.iter().next().and_then(option_text),
                _ => {}
            }
        }
        let scope = Scope { arguments: Some(names.into()), ..Scope::default() };
        let body = function.sql_body();
        let name = strings(function.funcname()).join(".");
        self.foreseen(|analyzer| match source.as_deref() {
            Some(source) if language == "sql" => analyzer.sql_text(&name, source, &scope),
            Some(source) if language == "plpgsql" => plpgsql::read(analyzer, source),
            Some(_) => Vec::new(),
            None => analyzer.sql_statements(body, &scope),
        });
    }

    /// The statements of a `BEGIN ATOMIC` body, or its RETURN.
    fn sql_statements(&mut self, body: Node<'_>, scope: &Scope<'_>) -> Vec<Field> {
        match body {
            Node::None => Vec::new(),
            Node::NodeList(list) => list.iter().flat_map(|node| self.sql_statements(node, scope)).collect(),
            Node::ReturnStmt(result) => {
                self.probe_expr(result.returnval(), scope);
                Vec::new()
            }
            node => self.query_node(node, scope),
        }
    }

    fn value_constraint(&mut self, constraint: &nodes::Constraint) {
        self.foreseen_expr(constraint.raw_expr(), &value_scope());
    }

    fn statistics(&mut self, statistics: &nodes::CreateStatsStmt) {
        for node in statistics.relations() {
            if let Some((_, _, scope)) = self.subject(Some(node)) {
                for element in statistics.exprs() {
                    let Node::StatsElem(element) = element else { continue };
                    let named = element.name().and_then(|name| scope.column(name)).unwrap_or_default();
                    self.touched.mark(&named.sources, PROBE);
                    self.foreseen_expr(element.expr(), &scope);
                }
            }
        }
    }

    /// What a publication sends to whoever subscribes.
    fn published(&mut self, objects: &NodeList) {
        for object in objects {
            let Node::PublicationObjSpec(object) = object else { continue };
            let Some(table) = object.pubtable() else { continue };
            let Some((_, fields, scope)) = self.subject(table.relation()) else { continue };
            let named = strings(table.columns());
            let sent = fields.iter().filter(|field| named.is_empty() || named.contains(&&*field.name));
            let sent: BTreeSet<_> = sent.flat_map(|field| field.value.sources.iter().copied()).collect();
            self.touched.mark(&sent, REVEAL);
            self.foreseen_expr(table.where_clause(), &scope);
        }
    }

    fn dropped(&mut self, drop: &nodes::DropStmt) {
        use raw::ObjectType as O;
        for object in drop.objects() {
            let names = object.as_node_list().map(strings).unwrap_or_default();
            let names = match drop.remove_type {
                O::OBJECT_TABLE | O::OBJECT_VIEW | O::OBJECT_MATVIEW | O::OBJECT_FOREIGN_TABLE | O::OBJECT_SEQUENCE => {
                    names
                }
                // The last name is the trigger's, the rule's or the policy's own.
                O::OBJECT_TRIGGER | O::OBJECT_RULE | O::OBJECT_POLICY => {
                    names.split_last().map(|(_, rest)| rest.to_vec()).unwrap_or_default()
                }
                _ => continue,
            };
            let found = match names.as_slice() {
                [name] => self.find_relation(None, name),
                [.., schema, name] => self.find_relation(Some(schema), name),
                [] => None,
            };
            if let Some(relation) = found {
                self.touched.relations.insert(relation.oid);
            }
        }
    }

    fn commented(&mut self, comment: &nodes::CommentStmt) {
        let names = comment.object().as_node_list().map(strings).unwrap_or_default();
        let path = match (comment.objtype, names.split_last()) {
            (raw::ObjectType::OBJECT_COLUMN, Some((_, rest))) => rest,
            _ => names.as_slice(),
        };
        let relation = match path {
            [.., schema, name] => self.find_relation(Some(schema), name),
            [name] => self.find_relation(None, name),
            [] => None,
        };
        if let Some(relation) = relation {
            self.touched.relations.insert(relation.oid);
        }
    }
}

/// What the checks of a domain can name.
fn value_scope() -> Scope<'static> {
    Scope { arguments: Some(Arc::new([Arc::from("value")])), ..Scope::default() }
}
