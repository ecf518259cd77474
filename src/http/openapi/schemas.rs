//! The schemas: of bodies from the types that read them, of answers as they are written.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::approvals::HoldState;
use crate::http::{holds, requests, tags};

/// All schemas by their names.
pub(super) fn all() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut schemas = Map::new();
    schemas.insert("Decision".to_owned(), of::<holds::Decision>(&mut generator));
    schemas.insert("Request".to_owned(), of::<requests::Bundle>(&mut generator));
    schemas.insert("TagReview".to_owned(), of::<tags::Body>(&mut generator));
    let Value::Object(answers) = answers() else { return Value::Object(schemas) };
    schemas.extend(answers);
    Value::Object(schemas)
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    let mut schema = generator.root_schema_for::<T>();
    schema.remove("$schema");
    schema.remove("title");
    schema.to_value()
}

fn answers() -> Value {
    json!({
        "Hold": hold(),
        "Holds": object(&[("holds", list(reference("Hold"))), ("next", nullable("string"))]),
        "Problem": problem(&[]),
        "Conflict": problem(&[("hold", reference("Hold"))]),
        "Event": {"type": "object", "description": "One line of the log, in the log's own versioned form.",
            "required": ["v", "id", "at", "event"]},
        "Events": object(&[("events", list(reference("Event"))), ("next", nullable("integer"))]),
        "Tag": tag(),
        "Tags": object(&[("tags", list(reference("Tag")))]),
        "Notices": object(&[("dead", list(notice()))]),
        "Retried": object(&[("id", json!({"type": "integer"}))]),
        "Readiness": object(&[("ready", json!({"type": "boolean"})), ("reasons", list(text()))]),
        "Document": {"type": "object", "required": ["openapi", "paths"]},
    })
}

fn hold() -> Value {
    let states: Vec<_> = HoldState::ALL.iter().map(|state| state.as_str()).collect();
    object(&[
        ("id", text()),
        ("state", json!({"type": "string", "enum": states})),
        ("waiting", json!({"type": "string", "enum": ["connection", "ticket", "none"]})),
        ("created_at", time()),
        ("expires_at", time()),
        ("rule", text()),
        ("principal", principal()),
        ("origin", object(&[("client", text()), ("application_name", text()), ("environment", nullable("string"))])),
        ("agent", nullable("string")),
        ("model", nullable("string")),
        ("intent", nullable("string")),
        ("database", text()),
        ("statement", described(text(), "In full while the hold is open, masked afterwards.")),
        ("parameters", described(list(nullable("string")), "Bind values; null is NULL.")),
        ("action_hash", described(text(), "SHA-256 over all that a decision is bound to.")),
        ("kinds", list(text())),
        (
            "columns",
            json!({"type": "object", "additionalProperties":
                object(&[("tags", list(text())), ("access", list(text()))])}),
        ),
        ("tags", list(text())),
        ("sensitivity", json!({"type": "string", "enum": ["low", "moderate", "high", "critical"]})),
        (
            "estimate",
            object(&[
                ("rows", nullable("integer")),
                ("bytes", nullable("integer")),
                ("source", json!({"type": "string", "enum": ["proved", "estimated", "counted", "unknown"]})),
            ]),
        ),
        ("approve", approve()),
        ("decision", decision()),
        ("reason", described(text(), "The rule's reason.")),
        ("command", text()),
        ("relations", list(text())),
        ("opaque", list(text())),
        ("findings", list(text())),
        ("rows_sent", json!({"type": "integer", "minimum": 0})),
        ("holding_locks_since", json!({"type": ["string", "null"], "format": "date-time"})),
        (
            "cap",
            described(
                object(&[("rows", nullable("integer")), ("bytes", nullable("integer"))]),
                "What may leave before it is asked about again.",
            ),
        ),
        ("impact", described(json!({"type": "object"}), "What it would do to the server, as far as that was known.")),
        ("requester", described(nullable("object"), "Who asked for a bundle.")),
        ("bundle", described(nullable("object"), "The statements of a bundle.")),
        ("plan", described(nullable("string"), "The server's plan in a line.")),
    ])
}

fn principal() -> Value {
    object(&[
        ("name", text()),
        ("kind", json!({"type": "string", "enum": ["agent", "human", "service", "unknown"]})),
        ("human", nullable("string")),
        ("groups", list(text())),
        ("role", text()),
    ])
}

fn approve() -> Value {
    let given = object(&[("by", text()), ("human", text()), ("reason", nullable("string")), ("at", time())]);
    object(&[
        ("from", described(list(text()), "Groups of operators.")),
        ("quorum", json!({"type": "integer", "minimum": 1})),
        ("given", list(given)),
    ])
}

fn decision() -> Value {
    let made = object(&[
        ("by", text()),
        ("verdict", json!({"type": "string", "enum": ["approve", "deny"]})),
        ("reason", nullable("string")),
        ("at", time()),
    ]);
    json!({"oneOf": [made, {"type": "null"}]})
}

fn tag() -> Value {
    json!({"type": "object", "required": ["id", "state"], "properties": {
        "id": {"type": "integer"}, "state": {"type": "string", "enum": ["open", "confirmed", "dismissed"]}}})
}

fn notice() -> Value {
    object(&[
        ("id", json!({"type": "integer"})),
        ("target", text()),
        ("hold", text()),
        ("event", text()),
        ("at", time()),
        ("attempts", json!({"type": "integer", "minimum": 0})),
        ("error", nullable("string")),
    ])
}

fn problem(more: &[(&str, Value)]) -> Value {
    let words = [("type", text()), ("title", text()), ("status", json!({"type": "integer"})), ("detail", text())];
    object(&words.into_iter().chain(more.iter().cloned()).collect::<Vec<_>>())
}

/// An object that has all of these, and perhaps others.
fn object(properties: &[(&str, Value)]) -> Value {
    let names: Vec<_> = properties.iter().map(|(name, _)| *name).collect();
    let properties: Map<_, _> = properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    json!({"type": "object", "required": names, "properties": properties})
}

fn reference(name: &str) -> Value {
    super::reference(name)
}

fn text() -> Value {
    json!({"type": "string"})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn nullable(kind: &str) -> Value {
    json!({"type": [kind, "null"]})
}

#[expect(clippy::needless_pass_by_value, reason = "schemas are built from the inside out")]
fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn described(mut schema: Value, description: &str) -> Value {
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("description".to_owned(), json!(description));
    }
    schema
}
