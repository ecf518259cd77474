//! The document is whole, current, and true of what is answered.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::control::card;
use crate::control::tests::hold;
use crate::http::endpoints;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

#[test]
#[expect(clippy::disallowed_methods, reason = "whether the file is to be written is said by whoever runs the test")]
fn the_committed_document_is_the_one_that_is_served() {
    let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("HOLDGATE_WRITE_OPENAPI").is_some() {
        std::fs::write(COMMITTED, &text).unwrap();
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap();
    assert!(committed == text, "openapi.json is not current: run this test with HOLDGATE_WRITE_OPENAPI=1");
}

#[test]
fn every_path_of_the_router_is_documented_and_no_other() {
    let documented: BTreeSet<_> = OPERATIONS.iter().map(|operation| operation.path).collect();
    let served: BTreeSet<_> = endpoints().into_iter().map(|(path, _)| path).collect();
    assert_eq!(documented, served);
}

#[test]
fn a_hold_has_every_key_that_its_schema_names_and_no_other() {
    let document = document();
    let schema = serde_json::json!({"$ref": "#/components/schemas/Hold", "components": document["components"]});
    let card = card::contract(&hold());
    let errors: Vec<_> =
        jsonschema::validator_for(&schema).unwrap().iter_errors(&card).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(&document["components"]["schemas"]["Hold"]["properties"]), keys(&card));
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let text = document.to_string();
    for rest in text.split("#/components/schemas/").skip(1) {
        let name: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
        assert!(document["components"]["schemas"][&name].is_object(), "{name}");
    }
}
