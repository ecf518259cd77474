//! What is asked of a policy and what it answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::analysis::StatementFacts;
use crate::catalog::tags::Glob;
use crate::clock::Timestamp;
use crate::principal::Principal;

/// One statement with all that rules may match.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// The database of the session.
    pub database: &'a str,
    /// Where the client connects from; `None` over a Unix socket.
    pub client: Option<IpAddr>,
    /// The upstream's environment, as configured.
    pub environment: Option<&'a str>,
    /// The agent's own word on why.
    pub intent: Option<&'a str>,
    /// What is known of the statement.
    pub facts: &'a StatementFacts,
    /// What is known of the size of its result beyond the text; `None` where nothing is.
    pub estimate: Option<Estimate>,
    /// When.
    pub at: Timestamp,
}

/// An estimate of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// Rows that would come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Bytes that would come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How that is known.
    #[serde(default)]
    pub source: Basis,
}

/// How a size is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// The text and the keys prove that it is no more.
    Proved,
    /// The server's planner says so.
    Estimated,
    /// The catalog's row counts of what is read say so.
    Counted,
    /// It is not.
    #[default]
    Unknown,
}

impl Basis {
    /// The word that cards and records use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::Estimated => "estimated",
            Self::Counted => "counted",
            Self::Unknown => "unknown",
        }
    }
}

/// The three answers, the mildest first: of several statements the strictest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It goes on, within its limits.
    Allow,
    /// It waits for a person.
    Hold,
    /// It is refused.
    Deny,
}

impl Verdict {
    /// The verdict as records write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Hold => "hold",
            Self::Deny => "deny",
        }
    }
}

/// How grave a statement is, from its tags, its size and its kinds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Sensitivity {
    /// Nothing personal, nothing structural.
    #[default]
    Low,
    /// Some personal data, or structural work.
    Moderate,
    /// Much personal data.
    High,
    /// Credentials or special categories in bulk, or what cannot be known over tagged data.
    Critical,
}

impl Sensitivity {
    /// The word that policies and records use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Moderate => "moderate",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What happens when a stream crosses its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnLimit {
    /// The stream pauses and a person decides.
    #[default]
    Hold,
    /// The stream ends with 53400.
    Deny,
}

/// Row and byte caps that ride on an allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// At most this many rows.
    pub rows: Option<u64>,
    /// At most this many bytes.
    pub bytes: Option<u64>,
    /// What happens at the cap.
    pub on_limit: OnLimit,
    /// Caps over many statements.
    pub budgets: Vec<Budget>,
}

impl Limits {
    /// Whether nothing is capped.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.rows.is_none() && self.bytes.is_none() && self.budgets.is_empty()
    }

    /// Adds the caps of `other`: the lower of each, and a refusal at the cap where either refuses.
    pub fn tighten(&mut self, other: Self) {
        self.rows = lower(self.rows, other.rows);
        self.bytes = lower(self.bytes, other.bytes);
        if other.on_limit == OnLimit::Deny && !other.is_unlimited() {
            self.on_limit = OnLimit::Deny;
        }
        for budget in other.budgets {
            if !self.budgets.contains(&budget) {
                self.budgets.push(budget);
            }
        }
    }
}

/// A cap over all statements of a principal that touch a tag, in a sliding window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Which tags.
    pub tag: Glob,
    /// At most this many rows.
    pub rows: u64,
    /// In this time.
    pub window: Duration,
}

impl Budget {
    /// Whether a statement uses it up: it touches a column with such a tag.
    #[must_use]
    pub fn covers(&self, facts: &StatementFacts) -> bool {
        facts.columns.values().flat_map(|column| &column.tags).any(|name| self.tag.matches(name))
    }
}

/// Who may approve, how many of them, and for how long the question stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approve {
    /// Groups of operators; an operator in any of them may decide.
    pub from: Vec<String>,
    /// How many distinct humans must approve.
    pub quorum: u32,
    /// How long the hold may stay undecided, and an approval unspent.
    #[serde(with = "seconds")]
    pub expires: Duration,
}

/// What the policy says of one statement, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Allow, hold or deny.
    pub verdict: Verdict,
    /// The name of the deciding rule; [`DEFAULT_RULE`] where none decided, [`ALWAYS_RULE`] for what no rule may stop.
    pub rule: Arc<str>,
    /// One sentence on why the rule matched, without values of the statement.
    pub reason: String,
    /// Who may approve it, if it is held now or when a limit is crossed.
    pub approve: Approve,
    /// Caps on what leaves; also on an allow that was given because a size was unknown.
    pub limits: Limits,
    /// How grave it is.
    pub sensitivity: Sensitivity,
    /// A rule depended on a size that is unknown: an estimate could change the answer.
    pub wants_estimate: bool,
    /// What of the server's error texts may reach the client.
    pub errors: ErrorText,
    /// What rules in observe mode would have decided, in their order; usually empty.
    pub observed: Vec<Observed>,
}

/// The rule's name in a decision that no rule made.
pub const DEFAULT_RULE: &str = "default";

/// The rule's name for transaction control and the like, which no policy may stop.
pub const ALWAYS_RULE: &str = "always-allowed";

/// What a rule in observe mode would have decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Its name.
    pub rule: Arc<str>,
    /// What it would have been.
    pub verdict: Verdict,
}

/// Which of the server's errors and notices are redacted for the client: on tagged relations they carry values out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorText {
    /// None.
    #[default]
    Pass,
    /// Notices, and errors whose SQLSTATE is of class 22, 23 or P0.
    Redact,
    /// Notices, and errors of every class: code of users' own ran, which can raise any.
    RedactAll,
}

impl ErrorText {
    /// Whether an error of this SQLSTATE is redacted.
    #[must_use]
    pub fn redacts(self, sqlstate: &str) -> bool {
        match self {
            Self::Pass => false,
            Self::Redact => ["22", "23", "P0"].iter().any(|class| sqlstate.starts_with(class)),
            Self::RedactAll => true,
        }
    }

    /// Whether notices are redacted.
    #[must_use]
    pub fn redacts_notices(self) -> bool {
        self != Self::Pass
    }
}

impl Decision {
    /// The decision over a text of several statements: the strictest verdict with its rule and approvers, the tightest
    /// limits, the gravest sensitivity. `None` for no statement.
    #[must_use]
    pub fn strictest(decisions: impl IntoIterator<Item = Self>) -> Option<Self> {
        decisions.into_iter().reduce(|first, second| {
            let (mut strict, mild) = if second.verdict > first.verdict { (second, first) } else { (first, second) };
            strict.approve.quorum = strict.approve.quorum.max(mild.approve.quorum);
            strict.limits.tighten(mild.limits);
            strict.sensitivity = strict.sensitivity.max(mild.sensitivity);
            strict.wants_estimate |= mild.wants_estimate;
            strict.errors = strict.errors.max(mild.errors);
            strict.observed.extend(mild.observed);
            strict
        })
    }
}

fn lower(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(duration.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}
