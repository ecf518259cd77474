//! The names that an expression can see: FROM items, outer queries, CTEs, arguments of a function body.

use std::sync::Arc;

use super::touch::{Field, Sources, Value};
use crate::catalog::Oid;

/// One FROM item under its alias.
#[derive(Clone, Debug)]
pub(super) struct Rel {
    pub(super) alias: Arc<str>,
    /// The schema, where the item is a relation without an alias.
    pub(super) schema: Option<Arc<str>>,
    pub(super) fields: Arc<[Field]>,
    /// The stored relation behind it, where it is one.
    pub(super) oid: Option<Oid>,
    /// Its alias alone means this value: a function that returns no row.
    pub(super) scalar: bool,
}

impl Rel {
    /// The whole row, or the value of a function that returns none.
    pub(super) fn whole(&self) -> Value {
        match self.fields.first() {
            Some(only) if self.scalar => only.value.clone(),
            _ => Value::row(Arc::clone(&self.fields)),
        }
    }

    /// A column by name; system columns say nothing of the row.
    pub(super) fn field(&self, name: &str) -> Option<Value> {
        let found = self.fields.iter().find(|field| &*field.name == name).map(|field| field.value.clone());
        found.or_else(|| (self.oid.is_some() && SYSTEM_COLUMNS.contains(&name)).then(Value::default))
    }
}

const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// A common table expression.
#[derive(Clone, Debug)]
pub(super) struct Cte {
    pub(super) name: Arc<str>,
    pub(super) fields: Arc<[Field]>,
}

/// One level of names.
#[derive(Debug, Default)]
pub(super) struct Scope<'s> {
    pub(super) parent: Option<&'s Scope<'s>>,
    pub(super) rels: Vec<Rel>,
    /// What `*` and unqualified names mean, in order; USING columns are merged.
    pub(super) columns: Vec<Field>,
    pub(super) ctes: Vec<Cte>,
    /// The body of a function: names and parameters that are no columns are its arguments.
    pub(super) arguments: Option<Arc<[Arc<str>]>>,
}

/// What a FROM item brings into a scope.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) rels: Vec<Rel>,
    pub(super) columns: Vec<Field>,
}

impl Part {
    /// An item whose columns are visible under its alias.
    pub(super) fn of(rel: Rel) -> Self {
        Self { columns: rel.fields.to_vec(), rels: vec![rel] }
    }
}

impl<'s> Scope<'s> {
    /// A level below another.
    pub(super) fn below(parent: &'s Scope<'s>) -> Self {
        Self { parent: Some(parent), ..Self::default() }
    }

    /// Adds a FROM item.
    pub(super) fn add(&mut self, part: Part) {
        self.rels.extend(part.rels);
        self.columns.extend(part.columns);
    }

    /// No name of a query around this one is to be seen here.
    pub(super) fn is_bare(&self) -> bool {
        self.levels().all(|level| level.rels.is_empty() && level.ctes.is_empty() && level.arguments.is_none())
    }

    fn levels<'a>(&'a self) -> impl Iterator<Item = &'a Scope<'s>> {
        std::iter::successors(Some(self), |scope| scope.parent)
    }

    /// An unqualified column. Where several match, Postgres refuses the text; all of them count.
    pub(super) fn column(&self, name: &str) -> Option<Value> {
        for level in self.levels() {
            let mut found = level.columns.iter().filter(|field| &*field.name == name);
            if let Some(first) = found.next() {
                let mut value = first.value.clone();
                for other in found {
                    value.add(other.value.clone());
                }
                return Some(value);
            }
            if SYSTEM_COLUMNS.contains(&name) && level.rels.iter().any(|rel| rel.oid.is_some()) {
                return Some(Value::default());
            }
        }
        None
    }

    /// A FROM item by alias.
    pub(super) fn rel(&self, schema: Option<&str>, alias: &str) -> Option<&Rel> {
        self.levels().find_map(|level| {
            level.rels.iter().find(|rel| {
                &*rel.alias == alias
                    && schema.is_none_or(|schema| rel.schema.as_deref().is_some_and(|own| own == schema))
            })
        })
    }

    /// A CTE by name.
    pub(super) fn cte(&self, name: &str) -> Option<&Cte> {
        self.levels().find_map(|level| level.ctes.iter().rev().find(|cte| &*cte.name == name))
    }

    /// Whether the name is an argument of the function whose body this is.
    pub(super) fn argument(&self, name: &str) -> bool {
        self.levels().filter_map(|level| level.arguments.as_ref()).any(|names| names.iter().any(|own| &**own == name))
    }
}

/// Gives the columns of a FROM item other names, from the left.
pub(super) fn rename(fields: &Arc<[Field]>, names: &[&str]) -> Arc<[Field]> {
    if names.is_empty() {
        return Arc::clone(fields);
    }
    let mut renamed: Vec<Field> = fields.to_vec();
    for (field, name) in renamed.iter_mut().zip(names) {
        field.name = (*name).into();
    }
    renamed.into()
}

/// All columns behind some fields.
pub(super) fn sources(fields: &[Field]) -> Sources {
    fields.iter().flat_map(|field| field.value.sources.iter().copied()).collect()
}
