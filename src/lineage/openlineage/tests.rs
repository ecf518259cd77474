//! Every event, and each facet in it, holds against its own official schema.

use std::fs;
use std::path::PathBuf;

use jsonschema::{Draft, Registry, Resource, Validator};

use super::*;
use crate::ids::StatementId;
use crate::lineage::{RecordApproval, RecordColumn, RecordOutput};
use crate::policy::Verdict;
use crate::principal::Principal;

/// The official schemas, which are not ours to ship: `OPENLINEAGE_SCHEMAS`, or a folder beside the source tree.
#[expect(clippy::disallowed_methods, reason = "a test's own setting")]
fn schemas() -> Option<PathBuf> {
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/openlineage");
    let dir = std::env::var_os("OPENLINEAGE_SCHEMAS").map_or(beside, PathBuf::from);
    if !dir.join("OpenLineage.json").exists() {
        eprintln!("NOT CHECKED against the official OpenLineage schemas: set OPENLINEAGE_SCHEMAS to their folder");
        return None;
    }
    Some(dir)
}

struct Schemas {
    all: Vec<(String, Value)>,
}

impl Schemas {
    fn load() -> Option<Self> {
        let dir = schemas()?;
        let facets = fs::read_dir(dir.join("facets")).unwrap().map(|entry| entry.unwrap().path());
        let files = facets.chain([dir.join("OpenLineage.json")]);
        let all = files
            .map(|path| serde_json::from_str::<Value>(&fs::read_to_string(path).unwrap()).unwrap())
            .map(|schema| (schema["$id"].as_str().unwrap().to_owned(), schema))
            .collect();
        Some(Self { all })
    }

    /// The validator of one definition, offline.
    fn validator(&self, url: &str) -> Validator {
        let known = self.all.iter().any(|(id, _)| url.starts_with(&format!("{id}#")));
        assert!(known, "{url} is no official schema");
        let resources = self.all.iter().map(|(id, schema)| (id.clone(), Resource::from_contents(schema.clone())));
        let registry = Registry::new().extend(resources).unwrap().prepare().unwrap();
        jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_registry(&registry)
            .should_validate_formats(true)
            .build(&json!({ "$ref": url }))
            .unwrap()
    }

    fn check(&self, url: &str, value: &Value) {
        let validator = self.validator(url);
        let errors: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{url}: {errors:?}\n{value:#}");
    }
}

fn column(access: &[Access], tags: &[&str]) -> RecordColumn {
    RecordColumn {
        tags: tags.iter().map(ToString::to_string).collect(),
        access: access.to_vec(),
        ..RecordColumn::default()
    }
}

fn read() -> StatementRecord {
    let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
    record.outcome = Some(Outcome::Complete);
    record.upstream = Some("db.internal:5432".into());
    record.database = Some("shop".into());
    record.principal = Some(Principal { name: "agent".into(), ..Principal::default() });
    record.kinds = vec![Kind::Read];
    record.text = "SELECT email FROM customers WHERE id = ?".into();
    record.shape = "abcd".into();
    record.relations = vec!["public.customers".into()];
    record.columns.insert("shop.public.customers.email".into(), column(&[Access::Reveal], &["user.contact.email"]));
    record.columns.insert("shop.public.customers.id".into(), column(&[Access::Probe], &[]));
    record.tags = vec!["user.contact.email".into()];
    record.verdict = Some(Verdict::Allow);
    record.rows = Some(3);
    record.bytes = Some(99);
    record
}

fn write() -> StatementRecord {
    let mut record = read();
    record.kinds = vec![Kind::Write];
    record.relations.push("public.mails".into());
    record.columns.insert("shop.public.mails.address".into(), column(&[Access::Write], &[]));
    record.columns.insert("shop.public.mails.copy".into(), column(&[Access::Write], &[]));
    let sources = vec!["shop.public.customers.email".into()];
    record.outputs = vec![RecordOutput { name: "address".into(), sources }];
    record.approval = Some(RecordApproval { by: "op".into(), ..RecordApproval::default() });
    record
}

/// What a line of today says of a write: how each column is made, and what every probe decides.
fn told() -> StatementRecord {
    let mut record = write();
    let all =
        [Way::Identity, Way::Transformation, Way::Aggregation, Way::Masked, Way::MaskedAggregation, Way::Conditional];
    let made = [("shop.public.customers.email".to_owned(), all.to_vec())].into();
    record.flows = Some([("shop.public.mails.address".to_owned(), made)].into());
    if let Some(id) = record.columns.get_mut("shop.public.customers.id") {
        id.uses = vec![Use::Join, Use::GroupBy, Use::Filter, Use::Sort, Use::Window];
    }
    record
}

fn ended(outcome: Outcome) -> StatementRecord {
    StatementRecord { outcome: Some(outcome), sqlstate: Some("42501".into()), rule: "r".into(), ..write() }
}

fn every_kind() -> Vec<(StatementRecord, &'static str)> {
    let at = |event| StatementRecord { event, outcome: None, ..write() };
    let bare = StatementRecord { event: Event::Closed, ..StatementRecord::new(StatementId::new(), Event::Closed) };
    vec![
        (at(Event::Started), "START"),
        (at(Event::Held), "OTHER"),
        (at(Event::Decided), "OTHER"),
        (at(Event::Released), "START"),
        (at(Event::Paused), "OTHER"),
        (read(), "COMPLETE"),
        (write(), "COMPLETE"),
        (told(), "COMPLETE"),
        (ended(Outcome::Failed), "FAIL"),
        (ended(Outcome::Refused), "ABORT"),
        (ended(Outcome::Expired), "ABORT"),
        (ended(Outcome::Withdrawn), "ABORT"),
        (ended(Outcome::Unknown), "ABORT"),
        (bare, "OTHER"),
    ]
}

#[test]
fn every_event_and_each_of_its_facets_holds_against_the_official_schemas() {
    let schemas = Schemas::load();
    for (record, event_type) in every_kind() {
        let event = render(&record).unwrap();
        assert_eq!(event["eventType"], event_type);
        let Some(schemas) = &schemas else { continue };
        schemas.check(event["schemaURL"].as_str().unwrap(), &event);
        let datasets = ["inputs", "outputs"].map(|side| event[side].as_array().unwrap().clone()).concat();
        let holders = [event["run"].clone(), event["job"].clone()].into_iter().chain(datasets);
        for holder in holders {
            for part in ["facets", "inputFacets", "outputFacets"] {
                for (name, facet) in holder[part].as_object().into_iter().flatten() {
                    let url = facet["_schemaURL"].as_str().unwrap();
                    if name == "holdgate_statement" {
                        schemas.check("https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunFacet", facet);
                    } else {
                        schemas.check(url, facet);
                    }
                }
            }
        }
    }
}

#[test]
fn a_facet_that_breaks_its_schema_would_be_noticed() {
    let Some(schemas) = Schemas::load() else { return };
    let url = "https://openlineage.io/spec/facets/1-1-0/SQLJobFacet.json#/$defs/SQLJobFacet";
    let broken = official("1-1-0", "SQLJobFacet", json!({ "query": 1 }));
    assert!(!schemas.validator(url).is_valid(&broken));
    assert!(!schemas.validator(url).is_valid(&json!({ "query": "SELECT" })));
}

#[test]
fn what_a_select_reads_is_an_input_with_its_rows() {
    let event = render(&read()).unwrap();
    let input = &event["inputs"][0];
    assert_eq!(input["namespace"], "postgres://db.internal:5432");
    assert_eq!(input["name"], "shop.public.customers");
    assert_eq!(input["inputFacets"]["inputStatistics"]["rowCount"], 3);
    assert_eq!(input["facets"]["tags"]["tags"][0]["field"], "email");
    assert_eq!(event["outputs"], json!([]));
    assert_eq!(event["job"]["name"], "shop.agent.abcd");
}

#[test]
fn a_written_column_names_what_flows_into_it_and_what_decided_on_its_rows() {
    let event = render(&write()).unwrap();
    let lineage = &event["outputs"][0]["facets"]["columnLineage"];
    assert_eq!(event["outputs"][0]["name"], "shop.public.mails");
    for field in ["address", "copy"] {
        let source = &lineage["fields"][field]["inputFields"][0];
        assert_eq!((&source["name"], &source["field"]), (&json!("shop.public.customers"), &json!("email")), "{field}");
        assert_eq!(source["transformations"][0]["type"], "DIRECT");
    }
    assert_eq!(lineage["dataset"][0]["field"], "id");
    assert_eq!(lineage["dataset"][0]["transformations"][0]["type"], "INDIRECT");
}

#[test]
fn each_way_and_each_use_is_a_transformation_of_its_own() {
    let event = render(&told()).unwrap();
    let lineage = &event["outputs"][0]["facets"]["columnLineage"];
    let said = |field: &Value| -> Vec<String> {
        let each = field["transformations"].as_array().unwrap().iter();
        each.map(|one| format!("{} {} {}", one["type"], one["subtype"], one["masking"]).replace('"', "")).collect()
    };
    assert_eq!(
        said(&lineage["fields"]["address"]["inputFields"][0]),
        [
            "DIRECT IDENTITY false",
            "DIRECT TRANSFORMATION false",
            "DIRECT AGGREGATION false",
            "DIRECT TRANSFORMATION true",
            "DIRECT AGGREGATION true",
            "INDIRECT CONDITIONAL false"
        ]
    );
    assert_eq!(lineage["fields"]["copy"]["inputFields"], json!([]), "nothing of the database flows into it");
    let decides = ["JOIN", "GROUP_BY", "FILTER", "SORT", "WINDOW"].map(|what| format!("INDIRECT {what} false"));
    assert_eq!(said(&lineage["dataset"][0]), decides);
}

#[test]
fn acts_of_operators_and_of_the_proxy_are_no_runs() {
    for event in [Event::Operator, Event::System] {
        assert_eq!(render(&StatementRecord { event, ..read() }), None);
    }
}
