//! Bodies that no analysis can know: what somebody vouches for them counts, as long as the definition is the one read.

use super::analyzer::Analyzer;
use super::routines::Body;
use super::touch::{ColumnId, Field, REVEAL, Sources, Touched, Value};
use crate::catalog::Function;

impl Analyzer<'_> {
    /// Puts what is vouched for in the place of what is opaque; without it the reason says which definition that is.
    pub(super) fn vouch(&self, function: &Function, body: &mut Body) {
        let read = self.catalog().vouched(function).map(|vouched| &vouched.touches);
        let columns = read.and_then(|touches| touches.iter().map(|column| self.column_named(column)).collect());
        let Some(columns): Option<Sources> = columns else {
            let name = format!(" ({}.{}, {})", function.schema, function.name, function.definition());
            for why in body.touched.opaque.iter_mut().filter(|why| !why.contains("sha256:")) {
                why.push_str(&name);
            }
            return;
        };
        body.touched.opaque.clear();
        body.touched.relations.extend(columns.iter().map(|column| column.relation));
        body.touched.mark(&columns, REVEAL);
        body.fields = vec![Field { name: "result".into(), value: Value::computed(columns) }];
    }

    /// A column by `schema.table.column`; `None` where it is not in the catalog.
    fn column_named(&self, name: &str) -> Option<ColumnId> {
        let (relation, column) = name.rsplit_once('.')?;
        let (schema, relation) = relation.split_once('.')?;
        let relation = self.catalog().relation_in(schema, relation)?;
        Some(ColumnId { relation: relation.oid, number: relation.column(column)?.number })
    }

    /// Whether what was made of a definition is the same under every policy and search path.
    pub(super) fn may_keep(&self, touched: &Touched) -> bool {
        !touched.path_dependent && !self.exhausted && touched.opaque.is_empty() && !self.catalog().has_vouched()
    }
}
