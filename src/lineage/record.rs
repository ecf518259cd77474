//! One line of the log: what was asked, what was decided, what happened. Versioned; fields are added, never renamed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{HoldId, SessionId, StatementId};
use crate::policy::{Sensitivity, Verdict};
use crate::principal::{AgentClaim, Principal};

/// The version of the line's form.
pub const RECORD_VERSION: u32 = 1;

/// What the line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A strict statement is about to be forwarded.
    Started,
    /// A hold opened.
    Held,
    /// A hold was decided by a person.
    Decided,
    /// An approved statement is about to be forwarded.
    Released,
    /// A stream was paused at its limit; the hold's id is in `hold`.
    Paused,
    /// The one closing line of a judged statement.
    Closed,
    /// An operator's act: sign-in, decision, reload, pause, kill, export.
    Operator,
    /// The proxy itself: start, stop, recovery, policy loaded.
    System,
}

/// How a judged statement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ran to its end.
    Complete,
    /// Postgres reported an error, or the connection ended in the middle.
    Failed,
    /// A rule or a person said no.
    Refused,
    /// Nobody decided in time.
    Expired,
    /// The client cancelled, disconnected or was drained before it ran.
    Withdrawn,
    /// The proxy cannot know.
    Unknown,
}

impl Outcome {
    /// The word that records use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Unknown => "unknown",
        }
    }
}

/// One column in a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordColumn {
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// `reveal`, `probe`, `write`.
    pub access: Vec<crate::analysis::Access>,
    /// What it decides, where a statement that writes probes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<crate::analysis::Use>,
}

/// From which columns (`database.schema.table.column`) a column is written, and how.
pub type RecordFlow = BTreeMap<String, Vec<crate::analysis::Way>>;

/// What a person said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordApproval {
    /// The operator.
    pub by: String,
    /// The human behind the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub human: Option<String>,
    /// `approve` or `deny`.
    pub verdict: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `psql`, `http`, `cli`.
    pub method: String,
}

/// One line of the log. `seq` and `at` are set when it is appended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatementRecord {
    /// [`RECORD_VERSION`].
    pub v: u32,
    /// The line's number in the log, from 0, without gaps; set by the log.
    pub seq: u64,
    /// The run of the statement; the same on all of its lines.
    pub id: StatementId,
    /// When the line was written; set by the log.
    pub at: Timestamp,
    /// What it tells of.
    pub event: Event,
    /// The connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// `application_name`, as the client set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_name: Option<String>,
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    /// What the agent says of itself.
    #[serde(default, skip_serializing_if = "AgentClaim::is_empty")]
    pub agent: AgentClaim,
    /// Why, in the agent's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// The upstream as `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// All kinds, the gravest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<crate::analysis::Kind>,
    /// The command, as a command tag would say it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// The statement's text with its literals masked; for events without a statement, one plain sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// A hash of the text with its literals masked: the same for statements that differ in literals alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub shape: String,
    /// Physical relations, `schema.table`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relations: Vec<String>,
    /// Physical columns, `database.schema.table.column`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, RecordColumn>,
    /// All tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Result columns in order with their physical sources (`database.schema.table.column`); for column lineage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<RecordOutput>,
    /// By the column that is written: from which columns. Absent where nothing is written, and in lines that are older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flows: Option<BTreeMap<String, RecordFlow>>,
    /// Why parts of the statement could not be known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opaque: Vec<String>,
    /// How grave.
    #[serde(default)]
    pub sensitivity: Sensitivity,
    /// Allow, hold, deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The deciding rule.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// SHA-256 of the policy, hex.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// Observe mode: what the verdict would have done was not done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observed: bool,
    /// The hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldId>,
    /// What a person said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<RecordApproval>,
    /// How it ended; on closing lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The SQLSTATE that the client got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    /// Rows that went to the client, or that the command tag counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Bytes of rows that went to the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// From the judgement to the end, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
}

/// One column of a result in a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordOutput {
    /// Its name.
    pub name: String,
    /// Physical columns that it is made from, `database.schema.table.column`.
    pub sources: Vec<String>,
}

impl StatementRecord {
    /// A line that says nothing yet but what it is about.
    #[must_use]
    pub fn new(id: StatementId, event: Event) -> Self {
        Self {
            v: RECORD_VERSION,
            seq: 0,
            id,
            at: Timestamp::from_micros(0),
            event,
            session: None,
            application_name: None,
            client: None,
            principal: None,
            agent: AgentClaim::default(),
            intent: None,
            upstream: None,
            database: None,
            kinds: Vec::new(),
            command: String::new(),
            text: String::new(),
            shape: String::new(),
            relations: Vec::new(),
            columns: BTreeMap::new(),
            tags: Vec::new(),
            outputs: Vec::new(),
            flows: None,
            opaque: Vec::new(),
            sensitivity: Sensitivity::Low,
            verdict: None,
            rule: String::new(),
            policy: String::new(),
            observed: false,
            hold: None,
            approval: None,
            outcome: None,
            sqlstate: None,
            rows: None,
            bytes: None,
            duration_us: None,
        }
    }
}
