//! Records as `OpenLineage` run events (core 2-0-2, <https://openlineage.io/spec/2-0-2/OpenLineage.json>).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Event, Outcome, StatementRecord};
use crate::analysis::{Access, Kind, Use, Way};
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
        for relation in record.flows.iter().flatten().filter_map(|(path, _)| Some(split_column(path)?.0)) {
            touched.written.insert(relation);
        }
        let changes = record.kinds.iter().any(|kind| matches!(kind, Kind::Ddl | Kind::Dcl | Kind::Write));
        for relation in &record.relations {
            if !touched.columns.contains_key(relation.as_str()) && !touched.written.contains(relation.as_str()) {
                // Without a column nothing says whether it is read; a statement that changes things may change it.
                if changes { &mut touched.written } else { &mut touched.read }.insert(relation);
            }
        }
        touched
    }

    fn name(&self, relation: &str) -> String {
        format!("{}.{relation}", self.database)
    }

    /// What flows into a written column. A line that does not say it, because it is older or was shortened: the result
    /// column of that name, or else whatever the statement reveals.
    fn sources(&self, record: &StatementRecord, relation: &str, column: &str) -> Vec<Value> {
        if let Some(flows) = &record.flows {
            let made = flows.get(&format!("{}.{relation}.{column}", self.database)).into_iter().flatten();
            return made
                .filter_map(|(path, ways)| {
                    self.input_field(path, &ways.iter().copied().map(made_so).collect::<Vec<_>>())
                })
                .collect();
        }
        let output = record.outputs.iter().find(|output| output.name == column);
        let direct = |path: &str| self.input_field(path, &[made_so(Way::Transformation)]);
        match output {
            Some(output) => output.sources.iter().filter_map(|path| direct(path)).collect(),
            None => with_access(record, Access::Reveal).filter_map(direct).collect(),
        }
    }

    fn input_field(&self, path: &str, transformations: &[Value]) -> Option<Value> {
        let (relation, column) = split_column(path)?;
        Some(json!({
            "namespace": self.namespace,
            "name": self.name(relation),
            "field": column,
            "transformations": transformations,
        }))
    }

    /// The columns of a relation that are written.
    fn written_columns<'r>(&'r self, record: &'r StatementRecord, relation: &'r str) -> BTreeSet<&'r str> {
        let columns = self.columns.get(relation).into_iter().flatten();
        let touched = columns.filter(|(_, column)| column.access.contains(&Access::Write)).map(|(name, _)| *name);
        let flows = record.flows.iter().flatten().filter_map(|(path, _)| split_column(path));
        touched.chain(flows.filter(|(owner, _)| *owner == relation).map(|(_, name)| name)).collect()
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
    let field = |name: &str| {
        let sources = touched.sources(record, relation, name);
        (name.to_owned(), json!({ "inputFields": sources }))
    };
    let fields: Map<_, _> = touched.written_columns(record, relation).into_iter().map(field).collect();
    let probes = record.columns.iter().filter(|(_, column)| column.access.contains(&Access::Probe));
    let probes: Vec<_> =
        probes.filter_map(|(path, column)| touched.input_field(path, &decides(&column.uses))).collect();
    official("1-2-0", "ColumnLineageDatasetFacet", json!({ "fields": fields, "dataset": probes }))
}

/// How a value was made, as a transformation.
fn made_so(way: Way) -> Value {
    let (kind, subtype, masking) = match way {
        Way::Identity => ("DIRECT", "IDENTITY", false),
        Way::Transformation => ("DIRECT", "TRANSFORMATION", false),
        Way::Aggregation => ("DIRECT", "AGGREGATION", false),
        Way::Masked => ("DIRECT", "TRANSFORMATION", true),
        Way::MaskedAggregation => ("DIRECT", "AGGREGATION", true),
        Way::Conditional => ("INDIRECT", "CONDITIONAL", false),
    };
    transformation(kind, subtype, masking)
}

/// What a probe decides, as transformations; whatever else it is, it is a condition on rows.
fn decides(uses: &[Use]) -> Vec<Value> {
    let subtype = |what: &Use| match what {
        Use::Join => "JOIN",
        Use::GroupBy => "GROUP_BY",
        Use::Filter => "FILTER",
        Use::Sort => "SORT",
        Use::Window => "WINDOW",
    };
    let mut all: Vec<_> = uses.iter().map(|what| transformation("INDIRECT", subtype(what), false)).collect();
    if all.is_empty() {
        all.push(transformation("INDIRECT", "FILTER", false));
    }
    all
}

fn transformation(kind: &str, subtype: &str, masking: bool) -> Value {
    json!({ "type": kind, "subtype": subtype, "masking": masking })
}

fn insert(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests;
