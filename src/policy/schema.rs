//! The JSON Schema of the policy file, for editors.

use super::document::Document;

/// The schema as text; `policies/schema.json` is this.
#[must_use]
pub fn schema() -> String {
    let mut text = format!("{:#}", schemars::schema_for!(Document).to_value());
    text.push('\n');
    text
}
