//! Functions that somebody has read, whose bodies no analysis can know.

use std::sync::Arc;

use super::{Catalog, Function};

/// What somebody vouches for: this function, as long as its definition is this one, reads these columns and no other
/// that is tagged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Vouched {
    /// `schema.name`.
    pub function: Arc<str>,
    /// [`Function::definition`] of what was read.
    pub definition: Arc<str>,
    /// `schema.table.column` of each column that it can touch.
    pub touches: Vec<Arc<str>>,
}

impl Function {
    /// What the function is: `sha256:` and the hash of its name, language, body, settings and owner in hex.
    #[must_use]
    pub fn definition(&self) -> String {
        let parts = serde_json::json!([
            self.schema,
            self.name,
            self.arguments.len(),
            self.language,
            self.source,
            self.body,
            self.settings,
            self.definer,
            self.owner
        ]);
        let hash = ring::digest::digest(&ring::digest::SHA256, parts.to_string().as_bytes());
        let digits: Vec<String> = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{}", digits.concat())
    }
}

impl Catalog {
    /// The same catalog, with functions that somebody vouches for.
    #[must_use]
    pub fn with_vouched(&self, vouched: &[Vouched]) -> Self {
        Self { vouched: vouched.into(), ..self.clone() }
    }

    /// Whether anybody vouches for any function.
    #[must_use]
    pub fn has_vouched(&self) -> bool {
        !self.vouched.is_empty()
    }

    /// What is vouched for of a function as it is now.
    #[must_use]
    pub fn vouched(&self, function: &Function) -> Option<&Vouched> {
        let named = |known: &&Vouched| {
            known
                .function
                .split_once('.')
                .is_some_and(|(schema, name)| schema == &*function.schema && name == &*function.name)
        };
        self.vouched.iter().filter(named).find(|known| *known.definition == *function.definition())
    }
}
