//! Which columns carry which data category: patterns from the policy over physical column names.
//!
//! Patterns align with the end of a name: `email` is any column of that name, `customers.email` that of any table
//! `customers`, and `shop.public.customers.email` one column of one database. `*` stands for any characters within one
//! segment; a segment in double quotes is taken literally, dots and asterisks included.
//!
//! Tag patterns ignore case, quoted segments excepted: a tag that reaches too far is seen by everyone, one that misses
//! `"passwordHash"` by nobody. What rules name (`Glob`, [`NamePattern`]) is compared as the catalog writes it, for there
//! a pattern may widen an allow.

mod pattern;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::Vouched;

pub use pattern::{Glob, NamePattern, PatternError, Wildcard};
use pattern::{Raw, bounded, split};

#[cfg(test)]
#[path = "tags_tests.rs"]
mod tests;

/// A tag rule's pattern: `column` up to `database.schema.table.column`, without regard to case.
///
/// The schemas of the system itself are reached only by a pattern that names them: `*password*` is not
/// `pg_catalog.pg_authid.rolpassword`, and no false alarm follows every catalog query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ColumnPattern {
    /// Outermost first, one to four of them.
    segments: Vec<(Wildcard, Compare)>,
    text: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Compare {
    Exact,
    Folded,
}

impl ColumnPattern {
    /// Reads a pattern of one to four segments.
    ///
    /// # Errors
    /// What makes it none.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let segments = split(text)?.iter().map(folded).collect::<Result<Vec<_>, _>>()?;
        bounded(segments.len(), 4)?;
        Ok(Self { segments, text: text.into() })
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn matches(&self, name: &Name<'_>) -> bool {
        (!name.system || self.names_schema())
            && self.segments.iter().rev().zip(name.parts.iter().rev()).all(|((segment, compare), part)| match compare {
                Compare::Exact => segment.matches(part.exact),
                Compare::Folded => segment.matches(&part.folded),
            })
    }

    /// Whether the schema is spelled out.
    fn names_schema(&self) -> bool {
        self.segments.iter().rev().nth(2).is_some_and(|(schema, _)| matches!(schema, Wildcard::Exact(_)))
    }
}

impl fmt::Display for ColumnPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A segment in lower case, unless it is quoted.
fn folded(raw: &Raw<'_>) -> Result<(Wildcard, Compare), PatternError> {
    if raw.quoted {
        return Ok((raw.exact()?, Compare::Exact));
    }
    Ok((Wildcard::parse(&raw.text.to_lowercase())?, Compare::Folded))
}

/// Columns and the tag that they carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRule {
    /// A column carries the tag where one of these matches …
    pub columns: Vec<ColumnPattern>,
    /// … and none of these does.
    pub except: Vec<ColumnPattern>,
    /// A dotted Fideslang category.
    pub tag: Arc<str>,
}

impl TagRule {
    fn matches(&self, name: &Name<'_>) -> bool {
        let any = |patterns: &[ColumnPattern]| patterns.iter().any(|pattern| pattern.matches(name));
        any(&self.columns) && !any(&self.except)
    }
}

/// All tag rules of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagRules {
    rules: Vec<TagRule>,
    lookalikes: Vec<TagRule>,
    on_lookalike: OnLookalike,
    vouched: Vec<Vouched>,
}

/// What a column means whose name looks personal or secret and that no tag rule names.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum OnLookalike {
    /// It counts as tagged.
    Tag,
    /// It is reported to those who write the policy, and is untagged.
    #[default]
    Report,
}

impl TagRules {
    /// Tag rules, and what stands in for them where none of them matches.
    #[must_use]
    pub fn new(rules: Vec<TagRule>, lookalikes: Vec<TagRule>, on_lookalike: OnLookalike) -> Self {
        Self { rules, lookalikes, on_lookalike, vouched: Vec::new() }
    }

    /// The same rules, with functions that somebody has read.
    #[must_use]
    pub fn with_vouched(self, vouched: Vec<Vouched>) -> Self {
        Self { vouched, ..self }
    }

    /// Functions that somebody has read.
    #[must_use]
    pub fn vouched(&self) -> &[Vouched] {
        &self.vouched
    }

    /// All tags of one column, sorted, each once; empty where it has none.
    #[must_use]
    pub fn tags_for(&self, database: &str, schema: &str, relation: &str, column: &str) -> Vec<Arc<str>> {
        let name = Name::new([database, schema, relation, column]);
        let tags = matching(&self.rules, &name);
        match self.on_lookalike {
            OnLookalike::Tag if tags.is_empty() => matching(&self.lookalikes, &name),
            OnLookalike::Tag | OnLookalike::Report => tags,
        }
    }

    /// The tags that an untagged column should perhaps have, going by its name; empty for a column that a rule tags.
    #[must_use]
    pub fn looks_like(&self, database: &str, schema: &str, relation: &str, column: &str) -> Vec<Arc<str>> {
        let name = Name::new([database, schema, relation, column]);
        if matching(&self.rules, &name).is_empty() { matching(&self.lookalikes, &name) } else { Vec::new() }
    }

    /// What look-alikes count as.
    #[must_use]
    pub fn on_lookalike(&self) -> OnLookalike {
        self.on_lookalike
    }

    /// Every tag that a rule can give.
    #[must_use]
    pub fn tags(&self) -> BTreeSet<Arc<str>> {
        self.rules.iter().map(|rule| rule.tag.clone()).collect()
    }
}

fn matching(rules: &[TagRule], name: &Name<'_>) -> Vec<Arc<str>> {
    let tags: BTreeSet<_> = rules.iter().filter(|rule| rule.matches(name)).map(|rule| rule.tag.clone()).collect();
    tags.into_iter().collect()
}

/// A column's name, folded once for all patterns.
struct Name<'a> {
    parts: [Part<'a>; 4],
    system: bool,
}

struct Part<'a> {
    exact: &'a str,
    folded: String,
}

impl<'a> Name<'a> {
    fn new(parts: [&'a str; 4]) -> Self {
        let [_, schema, _, _] = parts;
        let system = schema.starts_with("pg_") && !schema.starts_with("pg_temp") || schema == "information_schema";
        Self { parts: parts.map(|exact| Part { exact, folded: exact.to_lowercase() }), system }
    }
}
