//! A parked statement: what the operator sees, and what its decision is bound to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Bundle, Impact, Requester};
use crate::analysis::{Access, Kind};
use crate::clock::Timestamp;
use crate::ids::HoldId;
use crate::lineage::StatementRecord;
use crate::policy::{Estimate, Sensitivity};
use crate::principal::Principal;

/// Where a hold stands. Each step is a compare-and-set in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldState {
    /// Nobody decided yet.
    Pending,
    /// Approved and not spent yet.
    Approved,
    /// A person said no.
    Denied,
    /// Nobody decided, or nobody spent it, in time.
    Expired,
    /// The client cancelled, disconnected or was drained.
    Withdrawn,
    /// What it was bound to had changed.
    Void,
    /// Durable before the first byte is forwarded.
    Released,
    /// Postgres ran it.
    Finished,
    /// Postgres reported an error.
    Failed,
    /// The proxy died between release and outcome.
    Unknown,
}

impl HoldState {
    /// The state as the API and records write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Void => "void",
            Self::Released => "released",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// All states, in the order of a hold's life.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Approved,
        Self::Denied,
        Self::Expired,
        Self::Withdrawn,
        Self::Void,
        Self::Released,
        Self::Finished,
        Self::Failed,
        Self::Unknown,
    ];

    /// The state of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether the question or the approval still stands: text and values are kept, and the same action joins it.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Approved)
    }

    /// Whether no further step is possible.
    #[must_use]
    pub const fn is_closed(self) -> bool {
        !matches!(self, Self::Pending | Self::Approved | Self::Released)
    }
}

/// Who waits for the hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Waiting {
    /// A live connection.
    Connection,
    /// Nobody now; the same action, sent again, joins it.
    Ticket,
    /// Nobody.
    None,
}

impl Waiting {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Ticket => "ticket",
            Self::None => "none",
        }
    }
}

/// Where a statement came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The client's address.
    pub client: String,
    /// As the client set it.
    pub application_name: String,
}

/// A column on a card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardColumn {
    /// Its tags.
    pub tags: Vec<String>,
    /// How it is touched.
    pub access: Vec<Access>,
}

/// One approval of several that a quorum asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The operator.
    pub by: String,
    /// The human behind the operator.
    pub human: String,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Who may approve, and who did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approvers {
    /// Groups of operators.
    pub from: Vec<String>,
    /// How many distinct humans.
    pub quorum: u32,
    /// What was given so far.
    pub given: Vec<Given>,
}

/// The decision that ended the question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldDecision {
    /// The operator.
    pub by: String,
    /// `approve` or `deny`.
    pub verdict: String,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// The hold as every surface shows it (the public form; JSON field names are frozen).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its id, and the ticket's.
    pub id: HoldId,
    /// Where it stands.
    pub state: HoldState,
    /// Who waits.
    pub waiting: Waiting,
    /// When it opened.
    pub created_at: Timestamp,
    /// When it ends undecided or unspent.
    pub expires_at: Timestamp,
    /// The rule that held it.
    pub rule: String,
    /// The rule's reason.
    pub reason: String,
    /// Who asks.
    pub principal: Principal,
    /// From where.
    pub origin: Origin,
    /// `holdgate.agent`.
    pub agent: Option<String>,
    /// `holdgate.model`.
    pub model: Option<String>,
    /// `holdgate.intent`.
    pub intent: Option<String>,
    /// The database.
    pub database: String,
    /// `environment` of the upstream.
    pub environment: Option<String>,
    /// The full text while undecided or unspent; masked after it closed.
    pub statement: String,
    /// Bind values as text while undecided or unspent (`None` is NULL); masked after it closed.
    pub parameters: Vec<Option<String>>,
    /// SHA-256 over all that an approval is bound to, hex.
    pub action_hash: String,
    /// All kinds.
    pub kinds: Vec<Kind>,
    /// The command.
    pub command: String,
    /// Physical relations, `schema.table`.
    pub relations: Vec<String>,
    /// Physical columns, `schema.table.column`.
    pub columns: BTreeMap<String, CardColumn>,
    /// All tags.
    pub tags: Vec<String>,
    /// How grave.
    pub sensitivity: Sensitivity,
    /// Why parts of it cannot be known.
    pub opaque: Vec<String>,
    /// What a DBA should look at: rewrites, strong locks, missing WHERE.
    pub findings: Vec<String>,
    /// Its size, as far as it is known.
    pub estimate: Estimate,
    /// The server's plan in one line, where it was asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Rows that had left when it was paused; 0 where it had not started.
    pub rows_sent: u64,
    /// Since when locks are held while it waits; `None` where none are.
    pub holding_locks_since: Option<Timestamp>,
    /// Who may approve, and who did.
    pub approve: Approvers,
    /// The decision, once made.
    pub decision: Option<HoldDecision>,
    /// What leaves at most once it is approved; what crosses it is asked about again. `None`: not capped.
    #[serde(default)]
    pub cap: Estimate,
    /// What it meets on the server.
    #[serde(default)]
    pub impact: Impact,
    /// Who asked, where that was not the principal itself.
    #[serde(default)]
    pub requester: Option<Requester>,
    /// The statements of a bundle; `None` for a single statement.
    #[serde(default)]
    pub bundle: Option<Bundle>,
}

/// What opens a hold.
#[derive(Clone, Debug)]
pub struct NewHold {
    /// The hold as it will be shown; `state` is pending and `approve.given` empty.
    pub hold: Hold,
    /// The statement's record so far; every record of the hold (held, decided, released) is made from it.
    pub record: StatementRecord,
    /// Bind values masked as history may show them after closing.
    pub masked_parameters: Vec<Option<String>>,
}
