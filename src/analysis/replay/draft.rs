//! A relation as a definition describes it, before it is in the catalog.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::analyzer::{Analyzer, Expansion, relation_scope, stored};
use super::super::facts::Tag;
use super::super::parse::{Node, NodeList, nodes, raw, strings};
use super::super::render;
use super::super::touch::Field;
use super::State;
use crate::catalog::tags::TagRules;
use crate::catalog::{Catalog, Column, Key, Oid, PG_TEMP, Parsed, Relation, RelationKind, SearchPath, clip};

/// A column with the tags that it has by where its values come from.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) column: Column,
    pub(super) tags: BTreeSet<Tag>,
}

/// A relation in the making.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) columns: Vec<Draft>,
    pub(super) parents: Vec<Oid>,
    /// Names of the columns of each unique key.
    pub(super) keys: Vec<Vec<String>>,
    /// The expressions of generated columns come later: they name the table's own columns.
    pub(super) parsed: Parsed,
}

/// Where a relation is, or goes.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) schema: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) kind: RelationKind,
}

impl Table {
    /// Adds a column, behind the others.
    pub(super) fn add(&mut self, name: &str, type_oid: Oid, tags: BTreeSet<Tag>) {
        let number = i16::try_from(self.columns.len() + 1).unwrap_or(i16::MAX);
        let column = Column {
            number,
            name: clip(name).into(),
            type_oid,
            not_null: false,
            default: None,
            generated: false,
            comment: None,
        };
        self.columns.push(Draft { column, tags });
    }

    /// Adds the columns of another relation that are not there yet, with their tags.
    pub(super) fn add_all(&mut self, catalog: &Catalog, relation: &Relation) {
        for column in &relation.columns {
            if !self.columns.iter().any(|known| known.column.name == column.name) {
                let tags = catalog.tags(relation.oid, column.number).iter().cloned().collect();
                self.add(&column.name, column.type_oid, tags);
            }
        }
    }

    /// Reads the elements of a CREATE TABLE.
    pub(super) fn read(&mut self, state: &State, elements: &NodeList) {
        for element in elements {
            match element {
                Node::ColumnDef(column) => self.define(state, column),
                Node::Constraint(constraint) if is_key(constraint) => {
                    self.keys.push(strings(constraint.keys()).into_iter().map(str::to_owned).collect());
                }
                Node::TableLikeClause(like) => {
                    if let Some(found) = like.relation().and_then(|var| state.find(var)) {
                        self.add_all(&state.catalog, &found);
                    }
                }
                _ => {}
            }
        }
    }

    /// A column's definition; one that a parent has already is only made stricter.
    pub(super) fn define(&mut self, state: &State, definition: &nodes::ColumnDef) {
        let name = definition.colname().unwrap_or_default();
        if !self.columns.iter().any(|known| &*known.column.name == clip(name)) {
            self.add(name, definition.type_name().map_or(0, |named| state.type_oid(named)), BTreeSet::new());
        }
        let Some(draft) = self.columns.iter_mut().find(|known| &*known.column.name == clip(name)) else { return };
        for constraint in definition.constraints() {
            let Node::Constraint(constraint) = constraint else { continue };
            match constraint.contype {
                raw::ConstrType::CONSTR_NOTNULL | raw::ConstrType::CONSTR_IDENTITY => draft.column.not_null = true,
                raw::ConstrType::CONSTR_GENERATED => draft.column.generated = true,
                _ if is_key(constraint) => self.keys.push(vec![clip(name).to_owned()]),
                _ => {}
            }
        }
    }

    fn keys(&self, relation: Oid) -> Vec<Key> {
        let number = |name: &String| {
            let draft = self.columns.iter().find(|draft| *draft.column.name == **name)?;
            Some(draft.column.number)
        };
        let key = |names: &Vec<String>| {
            let columns: Vec<i16> = names.iter().map(number).collect::<Option<_>>()?;
            Some(Key { relation, columns })
        };
        self.keys.iter().filter_map(key).collect()
    }
}

impl State {
    pub(super) fn path(&self) -> SearchPath {
        SearchPath::new(&self.catalog, &self.settings.search_path, &self.settings.role)
    }

    /// The relation that a name means.
    pub(super) fn find(&self, var: &nodes::RangeVar) -> Option<Arc<Relation>> {
        self.named(var.schemaname(), var.relname().unwrap_or_default())
    }

    pub(super) fn named(&self, schema: Option<&str>, name: &str) -> Option<Arc<Relation>> {
        let found = match schema {
            Some(schema) if schema.starts_with(PG_TEMP) => self.catalog.relation_in(PG_TEMP, name),
            Some(schema) => self.catalog.relation_in(schema, name),
            None => self.catalog.find_relation(&self.path(), name),
        };
        found.map(Arc::clone)
    }

    /// Where a new relation of that name goes.
    pub(super) fn target(&self, var: &nodes::RangeVar, kind: RelationKind) -> Target {
        let temporary = u8::try_from(var.relpersistence).is_ok_and(|persistence| persistence == b't');
        let schema: Arc<str> = match var.schemaname() {
            _ if temporary => PG_TEMP.into(),
            Some(schema) if schema.starts_with(PG_TEMP) => PG_TEMP.into(),
            Some(schema) => schema.into(),
            None => self.path().creation().map_or_else(|| "public".into(), Arc::clone),
        };
        Target { schema, name: clip(var.relname().unwrap_or_default()).into(), kind }
    }

    /// The type that a name means; 0 where it is not known.
    pub(super) fn type_oid(&self, written: &nodes::TypeName) -> Oid {
        let names: Vec<&str> = written.names().iter().filter_map(nodes::String::sval).collect();
        let array = !written.array_bounds().is_empty();
        let element = |name: &str| if array { format!("_{name}") } else { name.to_owned() };
        let found = match names.as_slice() {
            [name] => self.catalog.find_type(&self.path(), &element(name)),
            [.., schema, name] => self.catalog.type_in(schema, &element(name)),
            [] => None,
        };
        found.map_or(0, |known| known.oid)
    }

    /// What a query comes to: its columns with their tags, and the whole expansion for a view.
    pub(super) fn query(&self, query: Node<'_>, names: &[&str]) -> Option<(Table, Expansion)> {
        let context = self.context();
        let work = super::super::work::Work::default();
        let mut analyzer = Analyzer::new(&context, &work, super::super::SHALLOW_LEVELS);
        let fields = analyzer.query_node(query, &super::super::scope::Scope::default());
        if analyzer.exhausted {
            return None;
        }
        let mut table = Table::default();
        let mut shown = Vec::with_capacity(fields.len());
        for (place, field) in fields.into_iter().enumerate() {
            let name = names.get(place).map_or_else(|| Arc::clone(&field.name), |name| Arc::from(clip(name)));
            let tags = field.value.sources.iter().flat_map(|source| render::tags(&mut analyzer, *source)).collect();
            table.add(&name, field.value.type_oid, tags);
            shown.push(Field { name, value: field.value });
        }
        let mut touched = std::mem::take(&mut analyzer.touched);
        touched.seen.clear();
        Some((table, Expansion { fields: shown.into(), touched }))
    }

    /// Puts a relation into the catalog, in the place of one of that name and sort where `replace` says which.
    pub(super) fn put(&mut self, target: Target, table: Table, rules: &TagRules, replace: Option<Oid>) -> Oid {
        let oid = replace.unwrap_or_else(|| self.catalog.free_oid());
        let keys = table.keys(oid);
        let temporary = &*target.schema == PG_TEMP;
        let tags: Vec<_> = table.columns.iter().map(|draft| (draft.column.number, draft.tags.clone())).collect();
        self.catalog.put_relation(Relation {
            oid,
            schema: target.schema,
            name: target.name,
            kind: target.kind,
            persistence: if temporary { 't' } else { 'p' },
            // Nobody has counted its rows.
            tuples: -1.0,
            pages: 0,
            row_security: false,
            force_row_security: false,
            owner: 0,
            options: Vec::new(),
            parents: table.parents,
            columns: table.columns.into_iter().map(|draft| draft.column).collect(),
            definition: None,
            keys,
            rules: Vec::new(),
            policies: Vec::new(),
            triggers: Vec::new(),
            expressions: Vec::new(),
            references: Vec::new(),
            parsed: table.parsed,
        });
        for (number, own) in tags {
            self.catalog.tag_column((oid, number), own, rules);
        }
        oid
    }

    /// Generated columns carry the tags of what they are made from.
    pub(super) fn tag_generated(&mut self, oid: Oid, elements: &NodeList, rules: &TagRules) {
        for element in elements {
            if let Node::ColumnDef(definition) = element {
                self.tag_one_generated(oid, definition, rules);
            }
        }
    }

    pub(super) fn tag_one_generated(&mut self, oid: Oid, definition: &nodes::ColumnDef, rules: &TagRules) {
        let Some(relation) = self.catalog.relation(oid).map(Arc::clone) else { return };
        let Some(number) = relation.column(definition.colname().unwrap_or_default()).map(|column| column.number) else {
            return;
        };
        let mut tags: BTreeSet<Tag> = self.catalog.tags(oid, number).iter().cloned().collect();
        let before = tags.len();
        for constraint in definition.constraints() {
            let Node::Constraint(constraint) = constraint else { continue };
            if constraint.contype == raw::ConstrType::CONSTR_GENERATED {
                let context = self.context();
                let work = super::super::work::Work::default();
                let mut analyzer = Analyzer::new(&context, &work, super::super::SHALLOW_LEVELS);
                let scope = relation_scope(&relation, &stored(&relation));
                let value = analyzer.expr(constraint.raw_expr(), &scope);
                tags.extend(value.sources.iter().flat_map(|source| render::tags(&mut analyzer, *source)));
            }
        }
        if tags.len() > before {
            self.catalog.tag_column((oid, number), tags, rules);
        }
    }
}

const fn is_key(constraint: &nodes::Constraint) -> bool {
    matches!(constraint.contype, raw::ConstrType::CONSTR_PRIMARY | raw::ConstrType::CONSTR_UNIQUE)
        && !constraint.deferrable
}
