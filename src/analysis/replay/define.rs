//! CREATE and DROP, and what else brings relations and schemas or takes them away.

use std::sync::Arc;

use super::super::parse::{Node, nodes, parse, raw, strings};
use super::State;
use super::draft::Table;
use crate::catalog::tags::TagRules;
use crate::catalog::{Oid, Reference, RelationKind, Rule, Trigger, comment_tags};

/// Why later expressions are not known, where a definition is one that is not followed.
pub(super) type Unknown = Option<String>;

impl State {
    /// Changes the catalog as the statement does; says why later ones are not known, where it cannot.
    pub(super) fn define(&mut self, text: &[u8], rules: &TagRules) -> Unknown {
        // What the grammar refuses the server refuses too, and nothing changes.
        let text = std::str::from_utf8(text).ok()?;
        let tree = parse(text).ok()?;
        let mut unknown = None;
        for statement in tree.statements(text) {
            let text = text.get(statement.span).unwrap_or_default();
            unknown = unknown.or(self.node(statement.node, text, rules));
        }
        unknown
    }

    fn node(&mut self, node: Node<'_>, text: &str, rules: &TagRules) -> Unknown {
        match node {
            Node::CreateStmt(create) => self.create_table(create, rules),
            Node::SelectStmt(select) => match select.into_clause() {
                Some(into) => self.create_from(Some(into), node, RelationKind::Table, rules),
                None => return None,
            },
            Node::CreateTableAsStmt(create) if !matches!(create.query(), Node::ExecuteStmt(_)) => {
                let matview = create.objtype == raw::ObjectType::OBJECT_MATVIEW;
                let kind = if matview { RelationKind::Matview } else { RelationKind::Table };
                self.create_from(create.into(), create.query(), kind, rules);
            }
            Node::ViewStmt(view) => self.create_view(view, rules),
            Node::CreateSchemaStmt(create) => return self.create_schema(create, text, rules),
            Node::CreateFunctionStmt(create) => self.create_function(create),
            Node::AlterTableStmt(alter) => self.alter_table(alter, rules),
            Node::RenameStmt(rename) => self.rename(rename, rules),
            Node::AlterObjectSchemaStmt(alter) => self.move_schema(alter, rules),
            Node::DropStmt(drop) => self.drop_objects(drop),
            Node::CommentStmt(comment) => self.comment(comment, rules),
            Node::CreateTrigStmt(create) => return self.create_trigger(create, text),
            Node::RuleStmt(rule) => self.create_rule(rule, text),
            Node::CreatePolicyStmt(_) | Node::AlterPolicyStmt(_) | Node::CreateCastStmt(_) => {
                return not_followed(node);
            }
            Node::DefineStmt(define) if define.kind == raw::ObjectType::OBJECT_OPERATOR => return not_followed(node),
            _ => {}
        }
        None
    }

    fn create_table(&mut self, create: &nodes::CreateStmt, rules: &TagRules) {
        let Some(var) = create.relation() else { return };
        let target = self.target(var, RelationKind::Table);
        // The server refuses it, or leaves it alone.
        if self.catalog.relation_in(&target.schema, &target.name).is_some() {
            return;
        }
        let mut table = Table::default();
        for parent in create.inh_relations() {
            let Node::RangeVar(parent) = parent else { continue };
            if let Some(parent) = self.find(parent) {
                table.parents.push(parent.oid);
                table.add_all(&self.catalog, &parent);
            }
        }
        if let Some(named) = create.of_typename()
            && let Some(row) = self.catalog.row_relation(self.type_oid(named)).map(Arc::clone)
        {
            table.add_all(&self.catalog, &row);
        }
        table.read(self, create.table_elts());
        let kind = if create.partspec().is_some() { RelationKind::Partitioned } else { RelationKind::Table };
        let oid = self.put(super::draft::Target { kind, ..target }, table, rules, None);
        self.tag_generated(oid, create.table_elts(), rules);
        for element in create.table_elts() {
            match element {
                Node::Constraint(constraint) => self.refer(oid, constraint),
                Node::ColumnDef(column) => self.refer_all(oid, column),
                _ => {}
            }
        }
    }

    fn create_from(&mut self, into: Option<&nodes::IntoClause>, query: Node<'_>, kind: RelationKind, rules: &TagRules) {
        let Some(into) = into else { return };
        let Some(var) = into.rel() else { return };
        let target = self.target(var, kind);
        if self.catalog.relation_in(&target.schema, &target.name).is_some() {
            return;
        }
        let Some((table, expansion)) = self.query(query, &strings(into.col_names())) else { return };
        if kind == RelationKind::Matview {
            table.parsed.keep(Arc::new(expansion));
        }
        self.put(target, table, rules, None);
    }

    fn create_view(&mut self, view: &nodes::ViewStmt, rules: &TagRules) {
        let Some(var) = view.view() else { return };
        let target = self.target(var, RelationKind::View);
        let old = self.catalog.relation_in(&target.schema, &target.name).map(Arc::clone);
        let replaced = match &old {
            Some(old) if view.replace && old.kind == RelationKind::View => Some(old.oid),
            Some(_) => return,
            None => None,
        };
        self.pin_views();
        let Some((mut table, expansion)) = self.query(view.query(), &strings(view.aliases())) else {
            // Deeper than can be read here: a view of which nothing is known.
            if let Some(oid) = replaced {
                self.catalog.remove_relation(oid);
            }
            return;
        };
        table.parsed.keep(Arc::new(expansion));
        // What a view shows has its tags; those of its own are by its name alone.
        for draft in &mut table.columns {
            draft.tags.clear();
        }
        self.put(target, table, rules, replaced);
    }

    fn create_schema(&mut self, create: &nodes::CreateSchemaStmt, text: &str, rules: &TagRules) -> Unknown {
        let role = create.authrole().and_then(nodes::RoleSpec::rolename);
        let name = create.schemaname().or(role).map(str::to_owned)?;
        self.catalog.put_schema(&name);
        let path = std::mem::replace(&mut self.settings.search_path, vec![name]);
        let mut unknown = None;
        for element in create.schema_elts() {
            unknown = unknown.or(self.node(element, text, rules));
        }
        self.settings.search_path = path;
        unknown
    }

    fn create_trigger(&mut self, create: &nodes::CreateTrigStmt, text: &str) -> Unknown {
        let relation = create.relation().and_then(|var| self.find(var))?;
        let names = strings(create.funcname());
        let functions = self.functions(&names);
        let Some(function) = functions.first() else {
            return Some(format!("an earlier trigger calls the function {}, which is not known", names.join(".")));
        };
        let tables = create.transition_rels().iter().filter_map(|node| match node {
            Node::TriggerTransition(table) => table.name().map(Arc::from),
            _ => None,
        });
        let mut changed = relation.alike();
        changed.triggers.push(Trigger {
            relation: relation.oid,
            name: create.trigname().unwrap_or_default().into(),
            function: function.oid,
            events: i32::from(create.events),
            tables: tables.collect(),
            definition: if matches!(create.when_clause(), Node::None) { None } else { Some(text.into()) },
        });
        self.catalog.put_relation(changed);
        None
    }

    /// What it does is read as its text has it: a name that is not qualified in there is not known.
    fn create_rule(&mut self, rule: &nodes::RuleStmt, text: &str) {
        let event = match rule.event {
            raw::CmdType::CMD_UPDATE => '2',
            raw::CmdType::CMD_INSERT => '3',
            raw::CmdType::CMD_DELETE => '4',
            _ => return,
        };
        let Some(relation) = rule.relation().and_then(|var| self.find(var)) else { return };
        let mut changed = relation.alike();
        let name: Arc<str> = rule.rulename().unwrap_or_default().into();
        changed.rules.retain(|known| known.name != name);
        let (relation, instead, definition) = (relation.oid, rule.instead, text.into());
        changed.rules.push(Rule { relation, name, event, instead, definition });
        self.catalog.put_relation(changed);
    }

    /// A foreign key that carries changes on makes a write of what it refers to a write of this one too.
    pub(super) fn refer(&mut self, from: Oid, constraint: &nodes::Constraint) {
        let action = |action: std::ffi::c_char| u8::try_from(action).map_or('a', char::from);
        let (on_delete, on_update) = (action(constraint.fk_del_action), action(constraint.fk_upd_action));
        let carries = ['c', 'n', 'd'].iter().any(|carried| [on_delete, on_update].contains(carried));
        let Some(parent) = constraint.pktable().and_then(|var| self.find(var)).filter(|_| carries) else { return };
        let mut changed = parent.alike();
        changed.references.push(Reference { relation: parent.oid, from, on_delete, on_update });
        self.catalog.put_relation(changed);
    }

    pub(super) fn refer_all(&mut self, from: Oid, column: &nodes::ColumnDef) {
        for constraint in column.constraints() {
            if let Node::Constraint(constraint) = constraint {
                self.refer(from, constraint);
            }
        }
    }

    fn drop_objects(&mut self, drop: &nodes::DropStmt) {
        use raw::ObjectType as O;
        self.pin_views();
        for object in drop.objects() {
            match drop.remove_type {
                O::OBJECT_SCHEMA => {
                    if let Some(name) = object.as_str() {
                        self.catalog.remove_schema(name);
                    }
                }
                O::OBJECT_FUNCTION | O::OBJECT_PROCEDURE | O::OBJECT_ROUTINE | O::OBJECT_AGGREGATE => {
                    if let Node::ObjectWithArgs(named) = object {
                        self.drop_function(named);
                    }
                }
                O::OBJECT_TABLE | O::OBJECT_VIEW | O::OBJECT_MATVIEW | O::OBJECT_FOREIGN_TABLE | O::OBJECT_SEQUENCE => {
                    let names = object.as_node_list().map(strings).unwrap_or_default();
                    if let Some(relation) = self.by_names(&names) {
                        self.catalog.remove_relation(relation.oid);
                    }
                }
                _ => {}
            }
        }
    }

    /// A tag can stand in a comment.
    fn comment(&mut self, comment: &nodes::CommentStmt, rules: &TagRules) {
        if comment.objtype != raw::ObjectType::OBJECT_COLUMN {
            return;
        }
        let names = comment.object().as_node_list().map(strings).unwrap_or_default();
        let Some((column, names)) = names.split_last() else { return };
        let Some(relation) = self.by_names(names) else { return };
        let Some(known) = relation.column(column) else { return };
        let before = known.comment.as_deref().map(comment_tags).unwrap_or_default();
        let mut tags = self.catalog.tags(relation.oid, known.number).to_vec();
        tags.retain(|tag| !before.contains(tag));
        tags.extend(comment.comment().map(comment_tags).unwrap_or_default());
        let mut changed = relation.alike();
        for own in changed.columns.iter_mut().filter(|own| own.number == known.number) {
            own.comment = comment.comment().map(Into::into);
        }
        self.catalog.put_relation(changed);
        self.catalog.tag_column((relation.oid, known.number), tags, rules);
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the arm of a match that says why")]
fn not_followed(node: Node<'_>) -> Unknown {
    let command = super::super::kinds::classify(node).map_or_else(|| "definition".to_owned(), |(_, command)| command);
    Some(format!("an earlier {command} of this text changes what later statements do"))
}
