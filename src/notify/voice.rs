//! How holds are put into words: as every other surface does it, handed in from where that is written down.

use serde_json::Value;

use crate::approvals::Hold;

/// The one card, and where it can be read in full.
#[derive(Clone, Debug)]
pub struct Voice {
    /// The hold in the form of the HTTP contract.
    pub contract: fn(&Hold) -> Value,
    /// The card: one line a field, harmless to print.
    pub lines: fn(&Hold) -> Vec<(&'static str, String)>,
    /// A stranger's text, harmless to print.
    pub printable: fn(&str) -> String,
    /// Scheme, host and port of the decision page, without a slash at the end.
    pub base: String,
}

impl Voice {
    /// The decision page of a hold.
    #[must_use]
    pub fn link(&self, hold: &Hold) -> String {
        format!("{}/holds/{}", self.base, hold.id)
    }

    /// The hold in a few words, without anything of a statement.
    #[must_use]
    pub fn headline(&self, hold: &Hold) -> String {
        let command = (self.printable)(&hold.command);
        match (&hold.decision, hold.state.is_open() && hold.decision.is_none()) {
            (_, true) => format!("Hold {}: {command} waits for a decision", hold.id),
            (Some(decision), _) => {
                format!(
                    "Hold {}: {command}, {} ({} by {})",
                    hold.id,
                    hold.state.as_str(),
                    decision.verdict,
                    decision.by
                )
            }
            (None, _) => format!("Hold {}: {command}, {}", hold.id, hold.state.as_str()),
        }
    }
}
