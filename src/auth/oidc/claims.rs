//! What a token says.

use serde_json::{Map, Value};

use super::TokenError;
use crate::clock::Timestamp;

/// The most values of one claim that are read.
const VALUES_MAX: usize = 1000;

/// The claims of a token whose signature was right.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims(Map<String, Value>);

impl std::fmt::Debug for Claims {
    /// Names alone: values say who somebody is.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Claims {
    pub(super) fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// A claim by its name, which may be a path with dots (`realm_access.roles`); a claim that has dots in its own name
    /// is found first.
    #[must_use]
    pub fn value(&self, path: &str) -> Option<&Value> {
        if let Some(value) = self.0.get(path) {
            return Some(value);
        }
        let (first, rest) = path.split_once('.')?;
        rest.split('.').try_fold(self.0.get(first)?, |value, name| value.get(name))
    }

    /// A claim that is one text.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.value(path).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// A claim that is a text or a list of texts.
    #[must_use]
    pub fn list(&self, path: &str) -> Vec<String> {
        match self.value(path) {
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(values)) => {
                values.iter().take(VALUES_MAX).filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }

    /// A `NumericDate`: seconds since 1970, perhaps with a fraction.
    pub(super) fn time(&self, name: &'static str) -> Result<Option<Timestamp>, TokenError> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let whole = value.as_i64().or_else(|| {
            // Seconds and their fraction are cut apart as text: no rounding moves the end of a token.
            let text = value.as_f64().filter(|seconds| seconds.is_finite())?.to_string();
            text.split('.').next()?.parse().ok()
        });
        let seconds = whole.filter(|seconds| *seconds >= 0).ok_or(TokenError::Claim(name))?;
        Ok(Some(Timestamp::from_micros(seconds.saturating_mul(1_000_000))))
    }
}
