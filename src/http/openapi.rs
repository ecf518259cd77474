//! The API in the words of `OpenAPI` 3.1: one table of operations, rendered with the schemas of what goes in and out.

mod operations;
mod schemas;

use axum::Json;
use serde_json::{Map, Value, json};

pub(super) use operations::OPERATIONS;

/// One operation of the API.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) access: Access,
    pub(super) parameters: &'static [Parameter],
    /// The schema of the body.
    pub(super) body: Option<&'static str>,
    pub(super) answer: Answer,
    /// Statuses that come with a problem, besides those that every operation has.
    pub(super) problems: &'static [u16],
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Whoever has an operator's token.
    Operator,
    /// Everybody who reaches the listener.
    Open,
}

/// A successful answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) media: &'static str,
    /// The schema; any text without one.
    pub(super) schema: Option<&'static str>,
    pub(super) description: &'static str,
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: &'static str,
    pub(super) description: &'static str,
    pub(super) form: Form,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Text,
    Id,
    /// Between these two.
    Number(u32, u32),
    /// One of a list, or several with commas where it says so.
    Pattern(&'static str),
}

/// The document.
pub(super) fn document() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(operation.method.to_owned(), operation.render());
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Holdgate",
            "version": "1",
            "summary": "Held statements, their decisions, and the log of who touched which personal data.",
            "description": "Within /api/v1 things are added and never renamed: readers skip what they do not know. \
                Every refusal is application/problem+json (RFC 9457), and its type ends in a word that programs compare.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer",
                "description": "An operator's token (RFC 6750)."}},
        },
    })
}

pub(super) async fn serve() -> Json<Value> {
    Json(document())
}

impl Operation {
    fn render(&self) -> Value {
        let parameters: Vec<_> = self.parameters.iter().map(Parameter::render).collect();
        let mut rendered = json!({
            "operationId": self.id,
            "summary": self.summary,
            "security": if self.access == Access::Operator { json!([{"token": []}]) } else { json!([]) },
            "parameters": parameters,
            "responses": self.responses(),
        });
        if let (Some(schema), Some(fields)) = (self.body, rendered.as_object_mut()) {
            let content = json!({"application/json": {"schema": reference(schema)}});
            fields.insert("requestBody".to_owned(), json!({"required": true, "content": content}));
        }
        rendered
    }

    fn responses(&self) -> Value {
        let schema = self.answer.schema.map_or_else(|| json!({"type": "string"}), reference);
        let mut responses = Map::new();
        responses.insert(
            self.answer.status.to_string(),
            json!({"description": self.answer.description, "content": {self.answer.media: {"schema": schema}}}),
        );
        let common: &[u16] = match (self.access, self.body) {
            (Access::Open, _) => &[],
            (Access::Operator, None) => &[401, 429, 503],
            (Access::Operator, Some(_)) => &[401, 413, 415, 422, 429, 503],
        };
        for status in common.iter().chain(self.problems) {
            let schema = if *status == 409 { "Conflict" } else { "Problem" };
            let content = json!({"application/problem+json": {"schema": reference(schema)}});
            responses.insert(status.to_string(), json!({"description": describe(*status), "content": content}));
        }
        if self.path == "/readyz" {
            let content = json!({self.answer.media: {"schema": reference("Readiness")}});
            responses.insert("503".to_owned(), json!({"description": "Not ready, and why.", "content": content}));
        }
        Value::Object(responses)
    }
}

impl Parameter {
    fn render(&self) -> Value {
        let schema = match self.form {
            Form::Text => json!({"type": "string"}),
            Form::Id => json!({"type": "string", "pattern": "^[0-9a-z]{1,40}$"}),
            Form::Number(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
            Form::Pattern(pattern) => json!({"type": "string", "pattern": pattern}),
        };
        json!({
            "name": self.name,
            "in": self.place,
            "required": self.place == "path",
            "description": self.description,
            "schema": schema,
        })
    }
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn describe(status: u16) -> &'static str {
    match status {
        401 => "No token, or one that nobody has.",
        403 => "You may not: self-approval, not-an-approver, or forbidden.",
        404 => "There is no such thing.",
        409 => "It has its outcome; the hold shows it.",
        413 => "The body is over its bound.",
        415 => "The body is no JSON.",
        422 => "A parameter or the body cannot be read, or an Idempotency-Key stood for another request.",
        429 => "Too many wrong tokens came from the address; Retry-After says how long to wait.",
        _ => "A fault on this side.",
    }
}

#[cfg(test)]
#[path = "openapi_tests.rs"]
mod tests;
