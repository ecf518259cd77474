//! Which records are asked for: the same filters for the command line and the API.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{Event, Outcome, RecordColumn, StatementRecord};
use crate::analysis::{Access, Kind};
use crate::clock::Timestamp;
use crate::ids::SessionId;
use crate::policy::{Sensitivity, Verdict};

/// All given filters must match. Names match exactly or by glob (`*` any text, `?` one character).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct Filters {
    /// Not before this time: RFC 3339, a date, or a time ago (30s, 15m, 2h, 7d).
    #[arg(long)]
    pub since: Option<Moment>,
    /// Before this time.
    #[arg(long)]
    pub until: Option<Moment>,
    /// Who asked.
    #[arg(long)]
    pub principal: Option<String>,
    /// The human for whom the principal acts.
    #[arg(long)]
    pub human: Option<String>,
    /// The agent, by its own word.
    #[arg(long)]
    pub agent: Option<String>,
    /// The database.
    #[arg(long)]
    pub database: Option<String>,
    /// A relation: table, schema.table or database.schema.table.
    #[arg(long)]
    pub relation: Option<String>,
    /// A column: table.column, with or without schema and database.
    #[arg(long)]
    pub column: Option<String>,
    /// A tag; with `column` or `access`, on the same column.
    #[arg(long)]
    pub tag: Option<String>,
    /// How a column is touched: reveal, probe, write.
    #[arg(long, value_parser = word::<Access>)]
    pub access: Option<Access>,
    /// One of the statement's kinds.
    #[arg(long, value_parser = word::<Kind>)]
    pub kind: Option<Kind>,
    /// allow, hold, deny.
    #[arg(long, value_parser = word::<Verdict>)]
    pub verdict: Option<Verdict>,
    /// complete, failed, refused, expired, withdrawn, unknown.
    #[arg(long, value_parser = word::<Outcome>)]
    pub outcome: Option<Outcome>,
    /// Who decided: the operator or the human behind.
    #[arg(long)]
    pub approver: Option<String>,
    /// The deciding rule.
    #[arg(long)]
    pub rule: Option<String>,
    /// The hold's id.
    #[arg(long)]
    pub hold: Option<String>,
    /// The statement's shape.
    #[arg(long)]
    pub shape: Option<String>,
    /// low, moderate, high, critical.
    #[arg(long, value_parser = word::<Sensitivity>)]
    pub sensitivity: Option<Sensitivity>,
    /// What the line tells of: started, held, decided, released, paused, closed, operator, system.
    #[arg(long, value_parser = word::<Event>)]
    pub event: Option<Event>,
    /// The connection's id.
    #[arg(long)]
    pub session: Option<SessionId>,
    /// Anywhere in the masked text, in any case.
    #[arg(long)]
    pub text: Option<String>,
    /// Only records with a lower number: the `next` of the page before.
    #[arg(long)]
    pub cursor: Option<u64>,
    /// At most so many, the newest.
    #[arg(long)]
    pub limit: Option<usize>,
}

impl Filters {
    /// Filters from a query string's pairs, with times ago counted from `now`. An empty value is no filter.
    ///
    /// # Errors
    /// A filter that there is not, one that is given twice, or a value that it cannot have: in words for its sender.
    pub fn from_pairs(pairs: &[(String, String)], now: Timestamp) -> Result<Self, String> {
        let mut fields = serde_json::Map::new();
        for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
            let field = match (name.as_str(), value.parse::<u64>()) {
                ("limit" | "cursor", Ok(number)) => number.into(),
                _ => value.as_str().into(),
            };
            if fields.insert(name.clone(), field).is_some() {
                return Err(format!("the filter {name} is given twice"));
            }
        }
        let filters: Self = serde_json::from_value(fields.into()).map_err(|error| error.to_string())?;
        filters.within(now)
    }

    /// The same with times ago turned into times.
    ///
    /// # Errors
    /// No time is left between them: in words for whoever gave them.
    pub fn within(self, now: Timestamp) -> Result<Self, String> {
        let filters = self.resolved(now);
        let times = filters.since.and_then(Moment::at).zip(filters.until.and_then(Moment::at));
        match times {
            Some((since, until)) if since >= until => {
                Err(format!("since ({since}) is not before until ({until}): no record can match"))
            }
            _ => Ok(filters),
        }
    }

    /// The same with times ago turned into times.
    #[must_use]
    fn resolved(mut self, now: Timestamp) -> Self {
        self.since = self.since.map(|moment| moment.resolved(now));
        self.until = self.until.map(|moment| moment.resolved(now));
        self
    }

    /// Whether the record is asked for. A time ago that was not resolved matches nothing.
    #[must_use]
    pub fn matches(&self, record: &StatementRecord) -> bool {
        self.cursor.is_none_or(|cursor| record.seq < cursor)
            && self.time_matches(record)
            && self.asker_matches(record)
            && self.touch_matches(record)
            && self.answer_matches(record)
    }

    fn time_matches(&self, record: &StatementRecord) -> bool {
        self.since.is_none_or(|since| since.at().is_some_and(|since| record.at >= since))
            && self.until.is_none_or(|until| until.at().is_some_and(|until| record.at < until))
    }

    fn asker_matches(&self, record: &StatementRecord) -> bool {
        let principal = record.principal.as_ref();
        name(self.principal.as_deref(), principal.map(|principal| principal.name.as_str()))
            && name(self.human.as_deref(), principal.and_then(|principal| principal.human.as_deref()))
            && name(self.agent.as_deref(), record.agent.name.as_deref())
            && name(self.database.as_deref(), record.database.as_deref())
            && self.session.is_none_or(|session| record.session == Some(session))
    }

    fn touch_matches(&self, record: &StatementRecord) -> bool {
        let relation = self.relation.as_deref().is_none_or(|pattern| {
            let database = record.database.as_deref().unwrap_or_default();
            record.relations.iter().any(|relation| {
                suffix_matches(pattern, relation) || glob_matches(pattern, &format!("{database}.{relation}"))
            })
        });
        let column = if self.column.is_some() || self.access.is_some() {
            record.columns.iter().any(|(column, touched)| self.column_matches(column, touched))
        } else {
            self.tag.as_deref().is_none_or(|tag| {
                record
                    .tags
                    .iter()
                    .chain(record.columns.values().flat_map(|column| &column.tags))
                    .any(|found| glob_matches(tag, found))
            })
        };
        relation && column && self.kind.is_none_or(|kind| record.kinds.contains(&kind))
    }

    fn column_matches(&self, column: &str, touched: &RecordColumn) -> bool {
        self.column.as_deref().is_none_or(|pattern| suffix_matches(pattern, column))
            && self.access.is_none_or(|access| touched.access.contains(&access))
            && self.tag.as_deref().is_none_or(|tag| touched.tags.iter().any(|found| glob_matches(tag, found)))
    }

    fn answer_matches(&self, record: &StatementRecord) -> bool {
        let approval = record.approval.as_ref();
        let approver = self.approver.is_none()
            || name(self.approver.as_deref(), approval.map(|approval| approval.by.as_str()))
            || name(self.approver.as_deref(), approval.and_then(|approval| approval.human.as_deref()));
        approver
            && self.verdict.is_none_or(|verdict| record.verdict == Some(verdict))
            && self.outcome.is_none_or(|outcome| record.outcome == Some(outcome))
            && self.event.is_none_or(|event| record.event == event)
            && self.sensitivity.is_none_or(|sensitivity| record.sensitivity == sensitivity)
            && name(self.rule.as_deref(), Some(&record.rule))
            && name(self.hold.as_deref(), record.hold.as_ref().map(crate::ids::HoldId::as_str))
            && name(self.shape.as_deref(), Some(&record.shape))
            && self.text.as_deref().is_none_or(|text| record.text.to_lowercase().contains(&text.to_lowercase()))
    }
}

fn name(pattern: Option<&str>, found: Option<&str>) -> bool {
    pattern.is_none_or(|pattern| found.is_some_and(|found| glob_matches(pattern, found)))
}

/// Whether the pattern matches the dotted name, or what is left of it without leading parts.
fn suffix_matches(pattern: &str, dotted: &str) -> bool {
    let mut rest = Some(dotted);
    while let Some(candidate) = rest {
        if glob_matches(pattern, candidate) {
            return true;
        }
        rest = candidate.split_once('.').map(|(_, behind)| behind);
    }
    false
}

/// Whether a glob matches all of `text`: `*` is any text, dots too, `?` one character. Takes at most
/// pattern × text steps.
#[must_use]
pub fn glob_matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    let mut retry = None;
    loop {
        match (pattern.next(), text.clone().next()) {
            (Some('*'), _) => retry = Some((pattern.clone(), text.clone())),
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                text.next();
            }
            _ => {
                // The last star takes one more character, if there is one.
                let Some((behind_star, from)) = &mut retry else { return false };
                if from.next().is_none() {
                    return false;
                }
                pattern = behind_star.clone();
                text = from.clone();
            }
        }
    }
}

/// A time, or a time ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A time.
    At(Timestamp),
    /// So long before now.
    Ago(Duration),
}

impl Moment {
    fn resolved(self, now: Timestamp) -> Self {
        match self {
            Self::At(at) => Self::At(at),
            Self::Ago(ago) => Self::At(now.before(ago)),
        }
    }

    /// The time; none where it was not resolved.
    #[must_use]
    pub const fn at(self) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::Ago(_) => None,
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ago = text.strip_suffix(|unit: char| "smhd".contains(unit)).and_then(|count| count.parse::<u64>().ok());
        let unit = match text.chars().last() {
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86400,
            _ => 1,
        };
        if let Some(count) = ago {
            return Ok(Self::Ago(Duration::from_secs(count.saturating_mul(unit))));
        }
        let at = text.parse().or_else(|_| format!("{text}T00:00:00Z").parse());
        at.map(Self::At)
            .map_err(|_| "not a time: give 2026-11-21T10:00:00Z, 2026-11-21, or a time ago such as 15m".to_owned())
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Parses one of an enum's words as records write them.
fn word<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    use serde::de::IntoDeserializer as _;
    T::deserialize(text.into_deserializer()).map_err(|error: serde::de::value::Error| error.to_string())
}

mod terms;

pub use terms::{Field, Want, terms};

#[cfg(test)]
mod tests;
