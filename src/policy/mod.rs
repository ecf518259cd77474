//! Rules over facts: YAML becomes a [`Policy`], a policy and a [`Request`] become a [`Decision`].
//!
//! Must not: parse SQL, read the clock, touch a file (texts come in as [`Source`]s), widen what it does not know.
//! Start reading at [`Policy::evaluate`]; `document` is the language, `matcher` its meaning, `lint` what `check` finds.

mod cases;
mod compile;
mod condition;
mod decision;
mod document;
mod evaluate;
mod finding;
mod lint;
mod load;
mod lookalikes;
mod matcher;
mod rule;
mod schema;
mod sensitivity;
mod size;
pub mod yaml;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::catalog::tags::TagRules;

pub use condition::Network;
pub use decision::*;
pub use document::{Errors, Mode};
pub use finding::{Finding, Place, Severity, Source};
pub use schema::schema;

/// A whole policy, ready to be asked. Immutable; a reload makes another one.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Vec<rule::Rule>,
    default: Verdict,
    mode: Mode,
    errors: Errors,
    tag_rules: TagRules,
    approve: Approve,
    sha256: String,
    always_rule: Arc<str>,
    default_rule: Arc<str>,
    timed: bool,
}

impl Policy {
    /// Which columns carry which tags: what a catalog snapshot applies.
    #[must_use]
    pub fn tag_rules(&self) -> &TagRules {
        &self.tag_rules
    }

    /// SHA-256 over the texts of its files, in hex; in every record.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether its verdicts are carried out or only recorded.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether a rule looks at the time, so that the same statement can be decided otherwise later.
    #[must_use]
    pub fn reads_the_clock(&self) -> bool {
        self.timed
    }

    /// The names of its rules, in order.
    pub fn rule_names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| &*rule.name)
    }
}
