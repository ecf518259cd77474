//! YAML into typed values, with every problem of a file reported at once and in its place.
//!
//! serde stops at the first error. So the text becomes a tree that remembers places, a value is read from the tree, and
//! where that fails the culprit is reported, struck out, and the rest read again.
//! Must not: know what the values mean. Start reading at [`read`].

mod node;
mod read;
mod units;
mod wrap;

#[cfg(test)]
mod tests;

use serde::de::DeserializeOwned;

pub use units::{Duration, Size};
pub(crate) use wrap::text_type;
pub use wrap::{At, List};

use super::finding::{Finding, Place, Source};

/// The most problems that one file is searched for.
const FINDINGS_MAX: usize = 100;

/// Reads a file; `None` where nothing of it can be used. What has problems is left out of the value.
#[must_use]
pub fn read<T: DeserializeOwned>(source: &Source) -> (Option<T>, Vec<Finding>) {
    let tree = match node::Tree::parse(&source.text) {
        Ok(tree) => tree,
        Err((place, message)) => return (None, vec![Finding::error(&source.path, place, "syntax", message)]),
    };
    let mut findings = Vec::new();
    let mut struck = read::Struck::default();
    while findings.len() < FINDINGS_MAX {
        let fault = match read::value(&tree, &struck) {
            Ok(value) => return (Some(value), findings),
            Err(fault) => fault,
        };
        let (place, culprit) = fault.at();
        if let Some((code, message, hint)) = fault.text() {
            let finding = Finding::error(&source.path, place, code, message);
            findings.push(Finding { hint, ..finding });
        }
        if culprit == tree.root().id || !struck.strike(culprit) {
            break;
        }
    }
    (None, findings)
}
