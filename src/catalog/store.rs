//! What a catalog holds, put in and taken out one by one.

use std::sync::Arc;

use super::model::{Store, Thing, names_in};
use super::{Function, Oid, Relation, Type};

impl Store {
    pub(super) fn put_relation(&mut self, relation: Relation) {
        names_in(&mut self.relation_names, &relation.schema).insert(Arc::clone(&relation.name), relation.oid);
        for parent in &relation.parents {
            let children = self.children.entry(*parent).or_default();
            let place = children.partition_point(|known| *known < relation.oid);
            children.insert(place, relation.oid);
        }
        self.relations.insert(relation.oid, Arc::new(relation));
    }

    /// Its children stay children of it: it may come again.
    pub(super) fn take_relation(&mut self, oid: Oid) {
        self.rows.remove(&Thing::Relation(oid));
        let Some(old) = self.relations.remove(&oid) else { return };
        let names = names_in(&mut self.relation_names, &old.schema);
        if names.get(&old.name) == Some(&oid) {
            names.remove(&old.name);
        }
        if names.is_empty() {
            self.relation_names.remove(&old.schema);
        }
        for parent in &old.parents {
            if let Some(children) = self.children.get_mut(parent) {
                children.retain(|child| *child != oid);
                if children.is_empty() {
                    self.children.remove(parent);
                }
            }
        }
    }

    /// Of several array types over one type the last one counts.
    pub(super) fn put_type(&mut self, row: Type) {
        if row.relation != 0 {
            self.row_types.insert(row.relation, row.oid);
        }
        names_in(&mut self.type_names, &row.schema).insert(Arc::clone(&row.name), row.oid);
        if is_array(&row) {
            let known = self.array_types.entry(row.element).or_default();
            *known = row.oid.max(*known);
        }
        self.types.insert(row.oid, Arc::new(row));
    }

    pub(super) fn take_type(&mut self, oid: Oid) {
        self.rows.remove(&Thing::Type(oid));
        let Some(old) = self.types.remove(&oid) else { return };
        if self.row_types.get(&old.relation) == Some(&oid) {
            self.row_types.remove(&old.relation);
        }
        let names = names_in(&mut self.type_names, &old.schema);
        if names.get(&old.name) == Some(&oid) {
            names.remove(&old.name);
        }
        if names.is_empty() {
            self.type_names.remove(&old.schema);
        }
        if is_array(&old) && self.array_types.get(&old.element) == Some(&oid) {
            self.array_types.remove(&old.element);
            // A table's row type and the array over it go together.
            if self.types.contains_key(&old.element) {
                let others = self.types.values().filter(|row| is_array(row) && row.element == old.element);
                self.array_types.extend(others.map(|row| row.oid).max().map(|other| (old.element, other)));
            }
        }
    }

    pub(super) fn put_function(&mut self, row: Arc<Function>) {
        let same = names_in(&mut self.functions, &row.schema).entry(Arc::clone(&row.name)).or_default();
        let place = same.partition_point(|known| known.oid < row.oid);
        same.insert(place, Arc::clone(&row));
        self.function_oids.insert(row.oid, row);
    }

    pub(super) fn take_function(&mut self, oid: Oid) {
        self.rows.remove(&Thing::Function(oid));
        let Some(old) = self.function_oids.remove(&oid) else { return };
        let names = names_in(&mut self.functions, &old.schema);
        if let Some(same) = names.get_mut(&old.name) {
            same.retain(|known| known.oid != oid);
            if same.is_empty() {
                names.remove(&old.name);
            }
        }
        if names.is_empty() {
            self.functions.remove(&old.schema);
        }
    }

    /// What is made of a definition is kept with it and rests on others: a catalog in which anything has changed shares no
    /// such definition with the one before it, in which sessions may be at work still.
    pub(super) fn forget_parsed(&mut self) {
        let views = self.relations.values_mut().filter(|known| known.definition.is_some() && !known.is_built_in());
        for view in views {
            *view = Arc::new(Relation::clone(view));
        }
        let made: Vec<Arc<Function>> =
            self.function_oids.values().filter(|function| !function.is_built_in()).cloned().collect();
        for function in made {
            self.renew_function(&function);
        }
    }

    /// Puts a function that was not read yet in the place of one.
    pub(super) fn renew_function(&mut self, function: &Arc<Function>) {
        let fresh = Arc::new(Function::clone(function));
        let same = names_in(&mut self.functions, &function.schema).get_mut(&function.name);
        for known in same.into_iter().flatten().filter(|known| known.oid == function.oid) {
            *known = Arc::clone(&fresh);
        }
        self.function_oids.insert(function.oid, fresh);
    }
}

fn is_array(row: &Type) -> bool {
    row.category == 'A' && row.element != 0
}
