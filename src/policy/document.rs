//! The policy file as it is written: the typed form of the YAML, and the source of its JSON Schema.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use super::condition::{Compare, Network, TimeOfWeek};
use super::decision::{OnLimit, Sensitivity, Verdict};
use super::yaml::{At, Duration, List, Size};
use crate::analysis::{Access, Kind};
use crate::catalog::tags::OnLookalike;
use crate::clock::Timestamp;
use crate::principal::PrincipalKind;

/// Texts that are compared or read as patterns later, each with its place.
pub(super) type Words = List<At<String>>;

/// Whether a policy, or one of its rules, acts or only records what it would have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It acts.
    #[default]
    Enforce,
    /// It records what it would have done.
    Observe,
}

/// Whether error texts on tagged relations reach the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Errors {
    /// Message, detail, hint and context that can carry values are replaced.
    #[default]
    Redact,
    /// They pass as Postgres wrote them.
    Pass,
}

/// A Holdgate policy: what is personal data, and what may happen to it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Holdgate policy", rename = "Policy")]
pub(super) struct Document {
    /// The version of the policy language: 1.
    pub(super) version: At<u32>,
    /// `observe`: record what the whole policy would have done, and do nothing.
    #[serde(default)]
    pub(super) mode: Option<At<Mode>>,
    /// Whether error texts on tagged relations are redacted (the default) or pass.
    #[serde(default)]
    pub(super) errors: Option<At<Errors>>,
    /// Whether untagged columns whose names look personal count as tagged, or are reported (the default).
    #[serde(default)]
    pub(super) untagged_lookalikes: Option<At<OnLookalike>>,
    /// Which columns carry which data category; all that match accumulate.
    #[serde(default)]
    pub(super) tags: Vec<At<TagEntry>>,
    /// Functions whose bodies no analysis can know and that somebody has read.
    #[serde(default)]
    pub(super) vouched: Vec<At<VouchedEntry>>,
    /// Rules, top-down: the first that decides wins.
    #[serde(default)]
    pub(super) rules: Vec<At<RuleEntry>>,
    /// What happens to what no rule names; `hold` where absent.
    #[serde(default)]
    pub(super) default: Option<At<Verdict>>,
    /// Examples that `check` runs against the rules.
    #[serde(default)]
    pub(super) tests: Vec<At<TestEntry>>,
}

/// Columns and their data category.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TagEntry {
    /// `column` up to `database.schema.table.column`, without regard to case; `*` is any characters of a segment.
    pub(super) columns: Words,
    /// Columns that are not meant.
    #[serde(default)]
    pub(super) except: Words,
    /// A dotted Fideslang category.
    pub(super) tag: At<String>,
}

/// A function that somebody has read.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VouchedEntry {
    /// `schema.name`.
    pub(super) function: At<String>,
    /// `sha256:…` of its definition, as the reason says why it is opaque; any change of it makes it opaque again.
    pub(super) definition: At<String>,
    /// `schema.table.column` of each column that it can touch.
    #[serde(default)]
    pub(super) touches: Vec<String>,
}

/// One rule.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleEntry {
    /// Its name in decisions, records and metrics; unique.
    pub(super) name: At<String>,
    /// What it applies to: an allow only where it covers all of the statement, a hold or deny where anything matches.
    #[serde(rename = "match")]
    pub(super) matches: At<Match>,
    /// What it does not apply to.
    #[serde(default)]
    pub(super) unless: Option<At<Match>>,
    /// What it decides.
    pub(super) effect: At<Verdict>,
    /// Who may approve.
    #[serde(default)]
    pub(super) approve: Option<ApproveEntry>,
    /// Caps on what leaves under this allow.
    #[serde(default)]
    pub(super) limits: Option<At<LimitsEntry>>,
    /// `observe`: record what this rule would have decided, and go on to the next.
    #[serde(default)]
    pub(super) mode: Mode,
    /// Error texts pass under this allow, also on tagged relations.
    #[serde(default)]
    pub(super) reveal_errors: Option<At<bool>>,
}

/// Who may approve.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApproveEntry {
    /// Groups of operators; `dba` where absent.
    #[serde(default)]
    pub(super) from: Option<At<List<String>>>,
    /// How many distinct humans; 1 where absent.
    #[serde(default)]
    pub(super) quorum: Option<At<u32>>,
    /// How long the question stands; 30m where absent.
    #[serde(default)]
    pub(super) expires: Option<At<Duration>>,
}

/// Caps.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsEntry {
    /// At most this many rows.
    #[serde(default)]
    pub(super) rows: Option<u64>,
    /// At most this many bytes.
    #[serde(default)]
    pub(super) bytes: Option<Size>,
    /// At the cap: a person decides (`hold`, the default) or the stream ends (`deny`).
    #[serde(default)]
    pub(super) on_limit: OnLimit,
    /// Caps over many statements of a principal.
    #[serde(default)]
    pub(super) per: List<At<BudgetEntry>>,
}

/// A cap over all statements that touch a tag.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BudgetEntry {
    /// A pattern over tags.
    pub(super) tag: At<String>,
    /// At most this many rows.
    pub(super) rows: u64,
    /// In a sliding window of this length.
    pub(super) window: Duration,
}

/// Conditions; all that are given must hold. Each is one value or a list.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Match {
    /// Who asks: a name with `*`, or its name, kind, groups, human and role.
    pub(super) principal: Option<List<At<PrincipalEntry>>>,
    /// The database's name.
    pub(super) database: Option<Words>,
    /// What the statement does.
    pub(super) kind: Option<List<Kind>>,
    /// The command as its command tag says it: `ALTER TABLE`.
    pub(super) command: Option<Words>,
    /// `table` up to `database.schema.table`.
    pub(super) relation: Option<Words>,
    /// `column` up to `database.schema.table.column`.
    pub(super) column: Option<Words>,
    /// A pattern over the tags of the columns: `user.**`.
    pub(super) tag: Option<Words>,
    /// How a column is touched.
    pub(super) access: Option<List<Access>>,
    /// `function` or `schema.function`.
    pub(super) function: Option<Words>,
    /// How many rows come back.
    pub(super) rows: Option<Compare>,
    /// How many bytes come back.
    pub(super) bytes: Option<Compare>,
    /// Whether nothing in the text bounds the result.
    pub(super) unbounded: Option<bool>,
    /// How grave the statement is.
    pub(super) sensitivity: Option<List<Sensitivity>>,
    /// The environment of the upstream.
    pub(super) environment: Option<Words>,
    /// What the agent says that it is doing.
    pub(super) intent: Option<Words>,
    /// When.
    pub(super) time: Option<List<TimeOfWeek>>,
    /// From where.
    pub(super) client: Option<List<Network>>,
}

/// A principal by name, or by what is known of it.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub(super) enum PrincipalEntry {
    /// A name with `*`.
    Name(String),
    /// All that are given must hold.
    Traits(Box<TraitsEntry>),
}

/// What is known of a principal.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TraitsEntry {
    /// Its name.
    pub(super) name: Option<Words>,
    /// Agent, human, service or unknown.
    pub(super) kind: Option<List<PrincipalKind>>,
    /// A group that it is in.
    pub(super) groups: Option<Words>,
    /// The human for whom it acts.
    pub(super) on_behalf_of: Option<Words>,
    /// The role that Postgres sees.
    pub(super) role: Option<Words>,
}

impl<'de> Deserialize<'de> for PrincipalEntry {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PrincipalVisitor)
    }
}

struct PrincipalVisitor;

impl<'de> serde::de::Visitor<'de> for PrincipalVisitor {
    type Value = PrincipalEntry;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name or a map of name, kind, groups, on_behalf_of and role")
    }

    fn visit_str<E>(self, name: &str) -> Result<PrincipalEntry, E> {
        Ok(PrincipalEntry::Name(name.to_owned()))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<PrincipalEntry, A::Error> {
        let traits = TraitsEntry::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Ok(PrincipalEntry::Traits(Box::new(traits)))
    }
}

/// An example that stands beside the rules.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TestEntry {
    /// What it shows.
    pub(super) name: At<String>,
    /// The statement, as facts.
    #[serde(default)]
    pub(super) given: Given,
    /// What the policy must answer.
    pub(super) expect: Expect,
}

/// A statement as facts; what is absent is harmless: a bounded read of nothing.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Given {
    /// Who asks.
    pub(super) principal: Option<At<GivenPrincipal>>,
    /// The database; `test` where absent.
    pub(super) database: Option<String>,
    /// The environment of the upstream.
    pub(super) environment: Option<String>,
    /// What the agent says.
    pub(super) intent: Option<String>,
    /// From where; a Unix socket where absent.
    pub(super) client: Option<At<ClientAddress>>,
    /// When, RFC 3339.
    pub(super) at: Option<At<Moment>>,
    /// Its kinds; `read` where absent.
    pub(super) kind: List<Kind>,
    /// Its command; `SELECT` where absent.
    pub(super) command: Option<String>,
    /// Relations, `schema.table`.
    pub(super) relation: Words,
    /// Columns, `schema.table.column`; they carry the tags that the policy gives them.
    pub(super) column: Words,
    /// Tags that the columns carry besides; of an unnamed column where there are none.
    pub(super) tag: List<String>,
    /// How the columns are touched; `reveal` where absent.
    pub(super) access: List<Access>,
    /// Functions, `schema.name`.
    pub(super) function: List<String>,
    /// The proved bound of its rows; nothing bounds it where absent.
    pub(super) rows: Option<u64>,
    /// The estimated number of rows.
    pub(super) estimate: Option<u64>,
    /// The estimated number of bytes.
    pub(super) bytes: Option<u64>,
    /// The rows that leave do not show how much is revealed.
    pub(super) packs: bool,
    /// Nothing narrows the relations down.
    pub(super) whole: bool,
}

/// A principal in a test.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GivenPrincipal {
    /// Its name, and its role unless that is given.
    pub(super) name: String,
    /// Agent, human, service or unknown.
    pub(super) kind: PrincipalKind,
    /// Its groups.
    pub(super) groups: List<String>,
    /// The human for whom it acts.
    pub(super) on_behalf_of: Option<String>,
    /// The role that Postgres sees.
    pub(super) role: Option<String>,
}

/// What a test expects; what is absent may be anything.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    /// The verdict.
    pub(super) verdict: At<Verdict>,
    /// The deciding rule.
    #[serde(default)]
    pub(super) rule: Option<At<String>>,
    /// The row cap of an allow.
    #[serde(default)]
    pub(super) rows: Option<At<u64>>,
    /// How grave it is.
    #[serde(default)]
    pub(super) sensitivity: Option<At<Sensitivity>>,
}

/// A point in time as RFC 3339.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) Timestamp);

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("`{text}` is no point in time; write 2026-01-31T12:00:00Z"))
    }
}

/// An IP address.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientAddress(pub(super) IpAddr);

impl std::str::FromStr for ClientAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("`{text}` is no IP address"))
    }
}

super::yaml::text_type!(Moment, "Moment", "A point in time, RFC 3339.", "2026-01-31T12:00:00Z");
super::yaml::text_type!(ClientAddress, "ClientAddress", "An IP address.", "10.1.2.3");
