//! A bundle: the statements of a migration, decided together and spent one after the other.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{CardColumn, HoldEnd};
use crate::analysis::Kind;
use crate::lineage::StatementRecord;
use crate::policy::Estimate;

/// Where one statement of a bundle stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    /// The policy lets it pass by itself: it needs no approval and spends none.
    Allowed,
    /// Not spent yet.
    Waiting,
    /// On its way to the server.
    Released,
    /// Postgres ran it.
    Finished,
    /// Postgres reported an error.
    Failed,
    /// What became of it cannot be known.
    Unknown,
    /// The bundle ended before it: it is approved no more.
    #[serde(rename = "not_run")]
    NotRun,
}

impl StepState {
    /// The word of cards.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed without approval",
            Self::Waiting => "waiting",
            Self::Released => "released",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::NotRun => "not run",
        }
    }
}

impl From<HoldEnd> for StepState {
    fn from(end: HoldEnd) -> Self {
        match end {
            HoldEnd::Finished => Self::Finished,
            HoldEnd::Failed => Self::Failed,
            HoldEnd::Unknown => Self::Unknown,
        }
    }
}

/// One statement of a bundle, and what it does where those before it have run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleStep {
    /// Its text: in full while the bundle is open, masked afterwards.
    pub statement: String,
    /// The same with its literals masked.
    pub masked: String,
    /// SHA-256 of the text, hex.
    pub digest: String,
    /// Where it stands.
    pub state: StepState,
    /// The rule that decides about it.
    pub rule: String,
    /// Its command.
    pub command: String,
    /// All kinds.
    pub kinds: Vec<Kind>,
    /// Physical relations, `schema.table`.
    pub relations: Vec<String>,
    /// Physical columns, `schema.table.column`.
    pub columns: BTreeMap<String, CardColumn>,
    /// Why parts of it cannot be known.
    pub opaque: Vec<String>,
    /// What a DBA should look at.
    pub findings: Vec<String>,
    /// Its size, as far as it is known.
    pub estimate: Estimate,
    /// The strongest lock that it takes; `None` where that is not known.
    #[serde(default)]
    pub lock: Option<String>,
    /// How it can be undone.
    #[serde(default)]
    pub reversible: String,
    /// The schemas in which its names are looked up, after what stands before it; `None`: those of the bundle.
    #[serde(default)]
    pub search_path: Option<Vec<String>>,
}

/// The statements in order, and what their approval is bound to beside their texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// SHA-256 over role, search path and the definitions of all that the texts name; anew after each statement that ran.
    pub basis: String,
    /// The schemas in which names were looked up.
    pub search_path: Vec<String>,
    /// The statements.
    pub steps: Vec<BundleStep>,
}

impl Bundle {
    /// The place of the statement that may be spent next; `None` while one runs, after a failure, and at the end.
    #[must_use]
    pub fn next(&self) -> Option<usize> {
        let over = |step: &BundleStep| !matches!(step.state, StepState::Allowed | StepState::Finished);
        let place = self.steps.iter().position(over)?;
        self.steps.get(place).filter(|step| step.state == StepState::Waiting).map(|_| place)
    }

    /// The digest of that statement.
    #[must_use]
    pub fn next_digest(&self) -> Option<&str> {
        self.next().and_then(|place| self.steps.get(place)).map(|step| step.digest.as_str())
    }

    /// The places of the statements of one message, given by their digests: where they are exactly the next ones, and one
    /// that waits is among them. What needs no approval may come with them, as it stands in the bundle.
    #[must_use]
    pub fn covered(&self, digests: &[String]) -> Option<Range<usize>> {
        let next = self.next()?;
        let allowed = |place: &usize| self.steps.get(*place).is_some_and(|step| step.state == StepState::Allowed);
        let before = (0..next).rev().take_while(allowed);
        let fits = |from: usize| {
            let range = from..from.checked_add(digests.len())?;
            let steps = self.steps.get(range.clone()).filter(|_| range.contains(&next))?;
            steps.iter().map(|step| &step.digest).eq(digests).then_some(range)
        };
        std::iter::once(next).chain(before).find_map(fits)
    }

    /// What is covered is on its way.
    pub(super) fn release(&mut self, places: Range<usize>) {
        for step in self.steps.get_mut(places).into_iter().flatten() {
            if step.state == StepState::Waiting {
                step.state = StepState::Released;
            }
        }
    }

    /// The schemas in which the names of a statement are looked up.
    #[must_use]
    pub fn path_of(&self, place: usize) -> &[String] {
        self.steps.get(place).and_then(|step| step.search_path.as_ref()).unwrap_or(&self.search_path)
    }

    /// What is on its way ended: of one message everything, as Postgres has it.
    pub(super) fn end(&mut self, end: HoldEnd) {
        for step in self.steps.iter_mut().filter(|step| step.state == StepState::Released) {
            step.state = end.into();
        }
    }

    /// The bundle is over: what was not spent will not be.
    pub(super) fn close(&mut self) {
        for step in self.steps.iter_mut().filter(|step| step.state == StepState::Waiting) {
            step.state = StepState::NotRun;
        }
    }

    /// Whether a statement is left that was not spent.
    pub(super) fn has_more(&self) -> bool {
        self.steps.iter().any(|step| step.state == StepState::Waiting)
    }
}

/// Who asked for a hold where that was not the principal itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// The account.
    pub name: String,
    /// The human behind it; a request is as much theirs as the principal's.
    pub human: String,
}

/// What a session shows to spend the next statements of a bundle.
#[derive(Clone, Debug)]
pub struct Spend {
    /// SHA-256 of the text of each statement of its message, in order.
    pub digests: Vec<String>,
    /// The basis, computed anew just now.
    pub basis: String,
    /// The record of the run that spends it.
    pub record: StatementRecord,
}
