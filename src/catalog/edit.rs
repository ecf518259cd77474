//! A catalog as it will be after a definition that has not run: edited, not queried.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::model::{FIRST_USER_OID, Store, Type, names_in};
use super::tags::TagRules;
use super::{Catalog, Function, Oid, Relation, RelationKind, Tag};

impl Catalog {
    /// An OID that nothing has.
    #[must_use]
    pub fn free_oid(&self) -> Oid {
        let known = self.store.relations.keys().chain(self.store.types.keys()).chain(self.store.function_oids.keys());
        known.copied().max().unwrap_or(0).max(FIRST_USER_OID).saturating_add(1)
    }

    /// Adds a relation, or puts it in the place of the one with its OID.
    pub fn put_relation(&mut self, relation: Relation) {
        let store = self.edit(&relation.name);
        store.forget(relation.oid);
        names_in(&mut store.relation_names, &relation.schema).insert(Arc::clone(&relation.name), relation.oid);
        for parent in &relation.parents {
            store.children.entry(*parent).or_default().push(relation.oid);
        }
        store.add_row_type(&relation);
        store.relations.insert(relation.oid, Arc::new(relation));
    }

    /// Takes a relation away; its name means nothing then, or what it means further down the path.
    pub fn remove_relation(&mut self, oid: Oid) {
        let store = self.edit("");
        store.forget(oid);
        store.relations.remove(&oid);
        store.children.remove(&oid);
    }

    /// Adds a schema.
    pub fn put_schema(&mut self, name: &str) {
        self.edit(name).schemas.insert(name.into());
    }

    /// Takes a schema away with the relations and functions in it.
    pub fn remove_schema(&mut self, name: &str) {
        let inside: Vec<Oid> =
            self.relations().filter(|relation| &*relation.schema == name).map(|relation| relation.oid).collect();
        for oid in inside {
            self.remove_relation(oid);
        }
        let store = self.edit(name);
        store.schemas.remove(name);
        store.functions.remove(name);
        store.function_oids.retain(|_, function| &*function.schema != name);
    }

    /// Adds a function, in the place of one of the same name that takes as many arguments.
    pub fn put_function(&mut self, function: Function) {
        self.remove_functions(&function.schema, &function.name, Some(function.arguments.len()));
        let store = self.edit(&function.name);
        let function = Arc::new(function);
        let names = names_in(&mut store.functions, &function.schema);
        names.entry(Arc::clone(&function.name)).or_default().push(Arc::clone(&function));
        store.function_oids.insert(function.oid, function);
    }

    /// Takes functions of a name away: all of them, or those that take so many arguments.
    pub fn remove_functions(&mut self, schema: &str, name: &str, arguments: Option<usize>) {
        let goes = |function: &Function| arguments.is_none_or(|count| function.arguments.len() == count);
        let store = self.edit(name);
        if let Some(found) = store.functions.get_mut(schema).and_then(|names| Arc::make_mut(names).get_mut(name)) {
            found.retain(|function| !goes(function));
        }
        store.function_oids.retain(|_, known| &*known.schema != schema || &*known.name != name || !goes(known));
    }

    /// Tags a column: with these, with what the rules say of its name, and with those of its parents' columns.
    pub fn tag_column(&mut self, column: (Oid, i16), own: impl IntoIterator<Item = Tag>, rules: &TagRules) {
        let mut tags: BTreeSet<Tag> = own.into_iter().collect();
        let Some(relation) = self.relation(column.0) else { return };
        let Some(name) = relation.column_number(column.1).map(|column| Arc::clone(&column.name)) else { return };
        tags.extend(rules.tags_for(self.database(), &relation.schema, &relation.name, &name));
        for parent in relation.parents.iter().filter_map(|oid| self.relation(*oid)) {
            let inherited = parent.column(&name).map(|column| self.tags(parent.oid, column.number));
            tags.extend(inherited.unwrap_or_default().iter().cloned());
        }
        self.edit("");
        let known = Arc::make_mut(&mut self.tags);
        if tags.is_empty() {
            known.remove(&column);
        } else {
            known.insert(column, tags.into_iter().collect());
        }
    }

    /// The store, for this catalog alone; what was made of function bodies is forgotten, for names in them mean something
    /// else now.
    fn edit(&mut self, what: &str) -> &mut Store {
        let mut hash = DefaultHasher::new();
        (self.signature, what).hash(&mut hash);
        self.signature = hash.finish();
        self.content = self.signature;
        self.ledger = None;
        let store = Arc::make_mut(&mut self.store);
        store.rows.clear();
        let read: Vec<Arc<Function>> =
            store.function_oids.values().filter(|function| function.parsed.is_kept()).map(Arc::clone).collect();
        for function in &read {
            store.renew_function(function);
        }
        store
    }
}

impl Store {
    /// Takes a relation's name and its place below its parents away.
    fn forget(&mut self, oid: Oid) {
        let Some(old) = self.relations.get(&oid) else { return };
        if let Some(names) = self.relation_names.get_mut(&old.schema) {
            Arc::make_mut(names).retain(|_, named| *named != oid);
        }
        if let Some(names) = self.type_names.get_mut(&old.schema)
            && names.get(&old.name).and_then(|named| self.types.get(named)).is_some_and(|row| row.relation == oid)
        {
            Arc::make_mut(names).remove(&old.name);
        }
        for parent in &old.parents {
            if let Some(children) = self.children.get_mut(parent) {
                children.retain(|child| *child != oid);
            }
        }
    }

    /// The row type, which has the relation's name.
    fn add_row_type(&mut self, relation: &Relation) {
        if relation.kind == RelationKind::Sequence {
            return;
        }
        let known = self.types.values().find(|known| known.relation == relation.oid).map(|known| known.oid);
        // Another space of numbers than the relations' own: a new relation's type has the next one.
        let oid = known.unwrap_or_else(|| relation.oid.saturating_add(1));
        if known.is_none() && self.types.contains_key(&oid) {
            return;
        }
        let row = Type {
            oid,
            schema: Arc::clone(&relation.schema),
            name: Arc::clone(&relation.name),
            kind: 'c',
            category: 'C',
            relation: relation.oid,
            element: 0,
            base: 0,
            subtype: 0,
            checks: Vec::new(),
        };
        names_in(&mut self.type_names, &row.schema).insert(Arc::clone(&row.name), oid);
        self.row_types.insert(relation.oid, oid);
        self.types.insert(oid, Arc::new(row));
    }
}
