//! What policies answer, and what is found in them.

mod evaluating;
mod linting;
mod property;
mod shipped;

use super::*;
pub(in crate::policy) use evaluating::statement;

/// A policy with these rules and tags, written as YAML under `rules:` and `tags:`.
fn policy(text: &str) -> Policy {
    Policy::load(&[source(text)]).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

fn source(text: &str) -> Source {
    Source { path: "p.yaml".to_owned(), text: format!("version: 1\n{text}") }
}

fn findings(text: &str) -> Vec<String> {
    Policy::check(&[source(text)]).iter().map(ToString::to_string).collect()
}
