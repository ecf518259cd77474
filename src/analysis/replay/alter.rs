//! ALTER and RENAME: columns and relations change, their OIDs and tags stay.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::SHALLOW_LEVELS;
use super::super::analyzer::{Analyzer, Expansion};
use super::super::parse::{Node, nodes, raw, strings};
use super::super::touch::Field;
use super::State;
use super::draft::Table;
use crate::catalog::tags::TagRules;
use crate::catalog::{Column, Oid, Relation, RelationKind, clip};

impl State {
    pub(super) fn by_names(&self, names: &[&str]) -> Option<Arc<Relation>> {
        match names {
            [name] => self.named(None, name),
            [.., schema, name] => self.named(Some(schema), name),
            [] => None,
        }
    }

    /// Reads every view by what its names mean now: a view follows what it shows, whatever that is called later.
    pub(super) fn pin_views(&self) {
        let context = self.context();
        let unread = |relation: &&Arc<Relation>| {
            matches!(relation.kind, RelationKind::View | RelationKind::Matview)
                && !relation.is_built_in()
                && !relation.parsed.is_kept()
        };
        for view in self.catalog.relations().filter(unread) {
            let expansion =
                Analyzer::new(&context, &super::super::work::Work::default(), SHALLOW_LEVELS).expansion(view);
            view.parsed.keep(expansion);
        }
    }

    pub(super) fn alter_table(&mut self, alter: &nodes::AlterTableStmt, rules: &TagRules) {
        let Some(relation) = alter.relation().and_then(|var| self.find(var)) else { return };
        for command in alter.cmds() {
            if let Node::AlterTableCmd(command) = command {
                self.alter_one(relation.oid, command, rules);
            }
        }
    }

    fn alter_one(&mut self, oid: Oid, command: &nodes::AlterTableCmd, rules: &TagRules) {
        use raw::AlterTableType as A;
        match (command.subtype, command.def()) {
            (A::AT_AddColumn, Node::ColumnDef(column)) => {
                for member in self.family(oid) {
                    self.add_column(member, column, rules);
                }
            }
            (A::AT_DropColumn, _) => {
                self.pin_views();
                let name = command.name().unwrap_or_default();
                for member in self.family(oid) {
                    self.change(member, |relation| relation.columns.retain(|column| &*column.name != name));
                }
            }
            (A::AT_AlterColumnType, Node::ColumnDef(column)) => {
                let type_oid = column.type_name().map_or(0, |named| self.type_oid(named));
                let name = command.name().unwrap_or_default();
                for member in self.family(oid) {
                    self.change_column(member, name, |column| column.type_oid = type_oid);
                }
            }
            (A::AT_SetNotNull, _) => {
                self.change_column(oid, command.name().unwrap_or_default(), |column| column.not_null = true);
            }
            (A::AT_DropNotNull, _) => {
                self.change_column(oid, command.name().unwrap_or_default(), |column| column.not_null = false);
            }
            (A::AT_AddConstraint, Node::Constraint(constraint)) => self.refer(oid, constraint),
            // A key that is gone proves nothing any more.
            (A::AT_DropConstraint, _) => self.change(oid, |relation| relation.keys.clear()),
            (A::AT_AttachPartition, Node::PartitionCmd(partition)) => {
                if let Some(child) = partition.name().and_then(|var| self.find(var)) {
                    self.adopt(oid, child.oid, rules);
                }
            }
            (A::AT_AddInherit, Node::RangeVar(parent)) => {
                if let Some(parent) = self.find(parent) {
                    self.adopt(parent.oid, oid, rules);
                }
            }
            (A::AT_DetachPartition, Node::PartitionCmd(partition)) => {
                if let Some(child) = partition.name().and_then(|var| self.find(var)) {
                    self.change(child.oid, |relation| relation.parents.retain(|parent| *parent != oid));
                }
            }
            _ => {}
        }
    }

    fn family(&self, oid: Oid) -> Vec<Oid> {
        self.catalog.family(oid).into_iter().map(|relation| relation.oid).collect()
    }

    fn add_column(&mut self, oid: Oid, definition: &nodes::ColumnDef, rules: &TagRules) {
        let Some(relation) = self.catalog.relation(oid).map(Arc::clone) else { return };
        if relation.column(definition.colname().unwrap_or_default()).is_some() {
            return;
        }
        let mut table = Table::default();
        table.define(self, definition);
        let Some(draft) = table.columns.into_iter().next() else { return };
        // A number that a dropped column had is never used again; tags are kept by it.
        let number = relation.columns.iter().map(|column| column.number).max().unwrap_or(0).saturating_add(1);
        let number = (number..i16::MAX).find(|number| self.catalog.tags(oid, *number).is_empty()).unwrap_or(number);
        let column = Column { number, ..draft.column };
        self.change(oid, |relation| relation.columns.push(column));
        self.catalog.tag_column((oid, number), BTreeSet::new(), rules);
        self.tag_one_generated(oid, definition, rules);
        self.refer_all(oid, definition);
    }

    /// A child takes the tags of its parent's columns.
    fn adopt(&mut self, parent: Oid, child: Oid, rules: &TagRules) {
        self.change(child, |relation| relation.parents.push(parent));
        self.retag(child, rules);
    }

    fn retag(&mut self, oid: Oid, rules: &TagRules) {
        let Some(relation) = self.catalog.relation(oid).map(Arc::clone) else { return };
        for column in &relation.columns {
            let known = self.catalog.tags(oid, column.number).to_vec();
            self.catalog.tag_column((oid, column.number), known, rules);
        }
    }

    fn change(&mut self, oid: Oid, edit: impl FnOnce(&mut Relation)) {
        let Some(relation) = self.catalog.relation(oid) else { return };
        let mut changed = relation.alike();
        edit(&mut changed);
        self.catalog.put_relation(changed);
    }

    fn change_column(&mut self, oid: Oid, name: &str, edit: impl FnOnce(&mut Column)) {
        self.change(oid, |relation| {
            if let Some(column) = relation.columns.iter_mut().find(|column| &*column.name == name) {
                edit(column);
            }
        });
    }

    pub(super) fn rename(&mut self, rename: &nodes::RenameStmt, rules: &TagRules) {
        use raw::ObjectType as O;
        let new = clip(rename.newname().unwrap_or_default());
        self.pin_views();
        match rename.rename_type {
            O::OBJECT_COLUMN | O::OBJECT_ATTRIBUTE => {
                let Some(relation) = rename.relation().and_then(|var| self.find(var)) else { return };
                let old = rename.subname().unwrap_or_default();
                for member in self.family(relation.oid) {
                    self.rename_column(member, old, new);
                    self.retag(member, rules);
                }
            }
            O::OBJECT_TABLE | O::OBJECT_VIEW | O::OBJECT_MATVIEW | O::OBJECT_FOREIGN_TABLE | O::OBJECT_SEQUENCE => {
                let Some(relation) = rename.relation().and_then(|var| self.find(var)) else { return };
                self.change(relation.oid, |relation| relation.name = new.into());
                self.retag(relation.oid, rules);
            }
            O::OBJECT_SCHEMA => self.rename_schema(rename.subname().unwrap_or_default(), new, rules),
            O::OBJECT_FUNCTION | O::OBJECT_PROCEDURE | O::OBJECT_ROUTINE => {
                if let Node::ObjectWithArgs(named) = rename.object() {
                    self.drop_function(named);
                }
            }
            _ => {}
        }
    }

    fn rename_column(&mut self, oid: Oid, old: &str, new: &str) {
        self.change(oid, |relation| {
            let named = relation.columns.iter_mut().find(|column| &*column.name == old);
            let Some(column) = named else { return };
            column.name = new.into();
            // What a view shows is called by its own columns' names.
            if let Some(expansion) = relation.parsed.get::<Expansion>() {
                let field = |field: &Field| {
                    let name = if &*field.name == old { new.into() } else { Arc::clone(&field.name) };
                    Field { name, value: field.value.clone() }
                };
                let fields = expansion.fields.iter().map(field).collect();
                relation.parsed = crate::catalog::Parsed::default();
                relation.parsed.keep(Arc::new(Expansion { fields, touched: expansion.touched.clone() }));
            }
        });
    }

    /// Functions of a schema of another name are not known by it.
    fn rename_schema(&mut self, old: &str, new: &str, rules: &TagRules) {
        let inside: Vec<Arc<Relation>> =
            self.catalog.relations().filter(|relation| &*relation.schema == old).map(Arc::clone).collect();
        self.catalog.put_schema(new);
        for relation in inside {
            self.change(relation.oid, |relation| relation.schema = new.into());
            self.retag(relation.oid, rules);
        }
        self.catalog.remove_schema(old);
    }

    pub(super) fn move_schema(&mut self, alter: &nodes::AlterObjectSchemaStmt, rules: &TagRules) {
        let new = alter.newschema().unwrap_or_default();
        self.pin_views();
        match (alter.relation(), alter.object()) {
            (Some(var), _) => {
                let Some(relation) = self.find(var) else { return };
                self.change(relation.oid, |relation| relation.schema = new.into());
                self.retag(relation.oid, rules);
            }
            (None, Node::ObjectWithArgs(named)) => self.drop_function(named),
            _ => {}
        }
    }

    /// Takes away a function that a later name may not mean; what calls it then is not known.
    pub(super) fn drop_function(&mut self, object: &nodes::ObjectWithArgs) {
        let names = strings(object.objname());
        for function in self.functions(&names).iter().filter(|function| !function.is_built_in()) {
            self.catalog.remove_functions(&function.schema, &function.name, None);
        }
    }
}
