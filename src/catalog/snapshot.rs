//! A catalog as a file: a row a line, in an order that does not change, so that two of them can be compared.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Catalog, CatalogBuilder, CatalogError, source};

/// The version of the form.
pub(super) const VERSION: u32 = 1;

#[derive(Deserialize)]
struct Snapshot {
    version: u32,
    rows: BTreeMap<String, Vec<Value>>,
}

impl Catalog {
    /// The snapshot as JSON: the rows of each query. Row counts are left out: they change with the data, and a snapshot
    /// is of definitions.
    ///
    /// # Errors
    /// None that a catalog can cause; the parser's type has one.
    pub fn to_json(&self) -> Result<String, CatalogError> {
        let mut text = format!("{{\n\"version\": {VERSION},\n\"rows\": {{");
        let mut first_query = true;
        for query in source::QUERIES {
            let things = self.store.rows.values().flat_map(|thing| &thing.rows);
            let rows: Vec<String> = things
                .filter(|(name, _)| *name == query.name)
                .map(|(_, row)| line(query.name, row))
                .collect::<Result<_, _>>()?;
            let comma = if std::mem::take(&mut first_query) { "" } else { "," };
            let rows = if rows.is_empty() { String::new() } else { format!("\n{}\n", rows.join(",\n")) };
            text.extend([comma, "\n\"", query.name, "\": [", &rows, "]"]);
        }
        text.push_str("\n}\n}\n");
        Ok(text)
    }

    /// Reads what [`Catalog::to_json`] wrote.
    ///
    /// # Errors
    /// Text that is not such a snapshot.
    pub fn from_json(text: &str) -> Result<Self, CatalogError> {
        let snapshot: Snapshot = serde_json::from_str(text)?;
        if snapshot.version != VERSION {
            return Err(CatalogError::Version(snapshot.version));
        }
        let mut builder = CatalogBuilder::new();
        for query in source::QUERIES {
            for row in snapshot.rows.get(query.name).into_iter().flatten() {
                builder.add(query.name, &row.to_string())?;
            }
        }
        Ok(builder.finish())
    }
}

/// A row on one line; a size says that nobody has counted.
fn line(query: &str, row: &str) -> Result<String, serde_json::Error> {
    let mut row: Value = serde_json::from_str(row)?;
    if query == source::SIZES
        && let Some(fields) = row.as_object_mut()
    {
        fields.insert("tuples".to_owned(), Value::from(-1.0));
        fields.insert("pages".to_owned(), Value::from(0));
    }
    Ok(row.to_string())
}
