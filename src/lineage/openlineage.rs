//! Records as `OpenLineage` run events (core 2-0-2, <https://openlineage.io/spec/2-0-2/OpenLineage.json>).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Event, Outcome, StatementRecord};
use crate::analysis::{Access, Kind};
use crate::ids::NAME;

const CORE: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const FACETS: &str = "https://openlineage.io/spec/facets";

/// The run event of a record; `None` for what is no statement's: operators' acts and the proxy's own.
///
/// A statement that nobody strict waited for has only its closing event, without a START.
#[must_use]
pub fn render(record: &StatementRecord) -> Option<Value> {
    let event_type = event_type(record)?;
    let touched = Touched::of(record);
    let inputs: Vec<_> = touched.read.iter().map(|relation| input(record, &touched, relation)).collect();
    let outputs: Vec<_> = touched.written.iter().map(|relation| output(record, &touched, relation)).collect();
    Some(json!({
        "eventType": event_type,
        "eventTime": record.at,
        "run": { "runId": record.id, "facets": run_facets(record) },
        "job": { "namespace": NAME, "name": job_name(record), "facets": job_facets(record) },
        "inputs": inputs,
        "outputs": outputs,
        "producer": producer(),
        "schemaURL": CORE,
    }))
}

fn event_type(record: &StatementRecord) -> Option<&'static str> {
    Some(match (record.event, record.outcome) {
        (Event::Started | Event::Released, _) => "START",
        (Event::Held | Event::Decided | Event::Paused, _) | (Event::Closed, None) => "OTHER",
        (Event::Closed, Some(Outcome::Complete)) => "COMPLETE",
        (Event::Closed, Some(Outcome::Failed)) => "FAIL",
        (Event::Closed, Some(Outcome::Refused | Outcome::Expired | Outcome::Withdrawn | Outcome::Unknown)) => "ABORT",
        (Event::Operator | Event::System, _) => return None,
    })
}

fn producer() -> String {
    format!("urn:{NAME}:{}", env!("CARGO_PKG_VERSION"))
}

/// A facet that names who made it and by which schema.
fn facet(schema_url: String, fields: Value) -> Value {
    let mut facet = Map::new();
    facet.insert("_producer".to_owned(), producer().into());
    facet.insert("_schemaURL".to_owned(), schema_url.into());
    if let Value::Object(fields) = fields {
        facet.extend(fields);
    }
    Value::Object(facet)
}

fn official(version: &str, name: &str, fields: Value) -> Value {
    facet(format!("{FACETS}/{version}/{name}.json#/$defs/{name}"), fields)
}

fn job_name(record: &StatementRecord) -> String {
    let database = record.database.as_deref().unwrap_or("unknown");
    let principal = record.principal.as_ref().map_or("unknown", |principal| &principal.name);
    format!("{database}.{principal}.{}", record.shape)
}

fn job_facets(record: &StatementRecord) -> Value {
    let sql = json!({ "query": record.text, "dialect": "postgresql" });
    let job_type = json!({ "processingType": "BATCH", "integration": NAME.to_uppercase(), "jobType": "QUERY" });
    json!({
        "sql": official("1-1-0", "SQLJobFacet", sql),
        "jobType": official("2-0-4", "JobTypeJobFacet", job_type),
        "tags": official("1-0-0", "TagsJobFacet", json!({ "tags": tags(&record.tags) })),
    })
}

fn run_facets(record: &StatementRecord) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let engine = json!({ "name": NAME, "version": version, "openlineageAdapterVersion": version });
    let mut facets = json!({
        "processing_engine": official("1-1-1", "ProcessingEngineRunFacet", engine),
        "tags": official("1-0-0", "TagsRunFacet", json!({ "tags": tags(&record.tags) })),
        format!("{NAME}_statement"): facet(format!("urn:{NAME}:schema:statement:{}", record.v), statement(record)),
    });
    if let (Some(facets), Some(message)) = (facets.as_object_mut(), error_message(record)) {
        let message = json!({ "message": message, "programmingLanguage": "SQL" });
        facets.insert("errorMessage".to_owned(), official("1-0-1", "ErrorMessageRunFacet", message));
    }
    facets
}

/// Our own facet: the record without what the event says elsewhere.
fn statement(record: &StatementRecord) -> Value {
    let mut statement = serde_json::to_value(record).unwrap_or_default();
    if let Some(fields) = statement.as_object_mut() {
        for elsewhere in ["id", "at", "text"] {
            fields.shift_remove(elsewhere);
        }
    }
    statement
}

/// Says which SQLSTATE the client got and why; never Postgres's message, which can carry values.
fn error_message(record: &StatementRecord) -> Option<String> {
    let outcome = record.outcome.filter(|outcome| *outcome != Outcome::Complete)?;
    let outcome = match outcome {
        Outcome::Failed => "failed",
        Outcome::Refused => "refused",
        Outcome::Expired => "expired",
        Outcome::Withdrawn => "withdrawn",
        Outcome::Complete | Outcome::Unknown => "outcome unknown",
    };
    let sqlstate = record.sqlstate.as_deref().map_or_else(String::new, |sqlstate| format!(", SQLSTATE {sqlstate}"));
    let rule = if record.rule.is_empty() { String::new() } else { format!(", rule {}", record.rule) };
    Some(format!("{outcome}{sqlstate}{rule}"))
}

fn tags<'a>(tags: impl IntoIterator<Item = &'a String>) -> Vec<Value> {
    tags.into_iter().map(|tag| json!({ "key": tag, "value": "true", "source": NAME.to_uppercase() })).collect()
}

/// Which relations a statement reads and writes, and their columns.
struct Touched<'a> {
    namespace: String,
    database: &'a str,
    /// Relation → column → what is recorded of it.
    columns: BTreeMap<&'a str, BTreeMap<&'a str, &'a super::RecordColumn>>,
    read: BTreeSet<&'a str>,
    written: BTreeSet<&'a str>,
}

impl<'a> Touched<'a> {
    fn of(record: &'a StatementRecord) -> Self {
        let upstream = record.upstream.as_deref().unwrap_or("unknown");
        let mut touched = Self {
            namespace: format!("postgres://{upstream}"),
            database: record.database.as_deref().unwrap_or("unknown"),
            columns: BTreeMap::new(),
            read: BTreeSet::new(),
            written: BTreeSet::new(),
        };
        for (path, column) in &record.columns {
            let Some((relation, name)) = split_column(path) else { continue };
            touched.columns.entry(relation).or_default().insert(name, column);
            if column.access.contains(&Access::Write) {
                touched.written.insert(relation);
            }
            if column.access.iter().any(|access| *access != Access::Write) {
                touched.read.insert(relation);
            }
        }
        let changes = record.kinds.iter().any(|kind| matches!(kind, Kind::Ddl | Kind::Dcl | Kind::Write));
        for relation in &record.relations {
            if !touched.columns.contains_key(relation.as_str()) {
                // Without a column nothing says whether it is read; a statement that changes things may change it.
                if changes { &mut touched.written } else { &mut touched.read }.insert(relation);
            }
        }
        touched
    }

    fn name(&self, relation: &str) -> String {
        format!("{}.{relation}", self.database)
    }

    /// What flows into a written column: the result column of that name, or else whatever the statement reveals.
    fn sources(&self, record: &StatementRecord, column: &str) -> Vec<Value> {
        let output = record.outputs.iter().find(|output| output.name == column);
        let direct = |path: &str| self.input_field(path, "DIRECT", "TRANSFORMATION");
        match output {
            Some(output) => output.sources.iter().filter_map(|path| direct(path)).collect(),
            None => with_access(record, Access::Reveal).filter_map(direct).collect(),
        }
    }

    fn input_field(&self, path: &str, kind: &str, subtype: &str) -> Option<Value> {
        let (relation, column) = split_column(path)?;
        Some(json!({
            "namespace": self.namespace,
            "name": self.name(relation),
            "field": column,
            "transformations": [{ "type": kind, "subtype": subtype, "masking": false }],
        }))
    }

    fn tags(&self, relation: &str) -> Value {
        let columns = self.columns.get(relation).into_iter().flatten();
        let tags: Vec<_> = columns
            .flat_map(|(name, column)| column.tags.iter().map(move |tag| (name, tag)))
            .map(|(name, tag)| json!({ "key": tag, "value": "true", "source": NAME.to_uppercase(), "field": name }))
            .collect();
        official("1-0-0", "TagsDatasetFacet", json!({ "tags": tags }))
    }
}

/// The columns that are touched so.
fn with_access(record: &StatementRecord, access: Access) -> impl Iterator<Item = &str> {
    record.columns.iter().filter(move |(_, column)| column.access.contains(&access)).map(|(path, _)| path.as_str())
}

/// `database.schema.table.column` → `schema.table`, `column`.
fn split_column(path: &str) -> Option<(&str, &str)> {
    path.split_once('.')?.1.rsplit_once('.')
}

fn input(record: &StatementRecord, touched: &Touched<'_>, relation: &str) -> Value {
    let mut input = json!({
        "namespace": touched.namespace,
        "name": touched.name(relation),
        "facets": { "tags": touched.tags(relation) },
    });
    // Only where all rows come from one relation do they say anything about it.
    if touched.read.len() == 1 && touched.written.is_empty() && record.rows.is_some() {
        let statistics = official("1-0-0", "InputStatisticsInputDatasetFacet", statistics(record));
        insert(&mut input, "inputFacets", json!({ "inputStatistics": statistics }));
    }
    input
}

fn output(record: &StatementRecord, touched: &Touched<'_>, relation: &str) -> Value {
    let mut output = json!({
        "namespace": touched.namespace,
        "name": touched.name(relation),
        "facets": { "tags": touched.tags(relation), "columnLineage": column_lineage(record, touched, relation) },
    });
    if touched.written.len() == 1 && record.rows.is_some() {
        let rows = json!({ "rowCount": record.rows });
        let statistics = official("1-0-2", "OutputStatisticsOutputDatasetFacet", rows);
        insert(&mut output, "outputFacets", json!({ "outputStatistics": statistics }));
    }
    output
}

fn statistics(record: &StatementRecord) -> Value {
    let mut statistics = json!({ "rowCount": record.rows });
    if let Some(bytes) = record.bytes {
        insert(&mut statistics, "size", bytes.into());
    }
    statistics
}

/// Probes decide which rows are written: they are lineage of the whole dataset.
fn column_lineage(record: &StatementRecord, touched: &Touched<'_>, relation: &str) -> Value {
    let columns = touched.columns.get(relation).into_iter().flatten();
    let fields: Map<_, _> = columns
        .filter(|(_, column)| column.access.contains(&Access::Write))
        .map(|(name, _)| ((*name).to_owned(), json!({ "inputFields": touched.sources(record, name) })))
        .collect();
    let probes: Vec<_> =
        with_access(record, Access::Probe).filter_map(|path| touched.input_field(path, "INDIRECT", "FILTER")).collect();
    official("1-2-0", "ColumnLineageDatasetFacet", json!({ "fields": fields, "dataset": probes }))
}

fn insert(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests;
