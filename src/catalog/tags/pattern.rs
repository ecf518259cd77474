//! Patterns over dotted names: `*` within a segment, `**` for all below.

use std::fmt;
use std::sync::Arc;

/// Why a pattern cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing, or nothing between two dots.
    #[error("a segment of the pattern is empty")]
    Empty,
    /// `**` where it does not stand for "and everything below".
    #[error("`**` can only be the whole last segment of a dotted name")]
    Descend,
    /// More segments than the name can have.
    #[error("the pattern has {found} segments, and the name at most {most}")]
    TooLong {
        /// Segments in the pattern.
        found: usize,
        /// Segments in the longest name.
        most: usize,
    },
    /// A double quote that does not close, or that stands inside a segment.
    #[error("a double quote must open and close a whole segment")]
    Quote,
}

/// A pattern over a whole dotted name, compared exactly: `user.**`, `pg_catalog.pg_read_*`.
///
/// `*` is any characters within a segment; `**` as the last segment is any number of segments, none included, so that
/// `user.**` is `user` and all below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob {
    segments: Vec<Wildcard>,
    descends: bool,
    text: Arc<str>,
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What makes it none.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (body, descends) = match text.strip_suffix("**") {
            Some("") => ("", true),
            Some(body) => (body.strip_suffix('.').ok_or(PatternError::Descend)?, true),
            None => (text, false),
        };
        let segments = match (body, descends) {
            ("", true) => Vec::new(),
            _ => body.split('.').map(Wildcard::parse).collect::<Result<_, _>>()?,
        };
        Ok(Self { segments, descends, text: text.into() })
    }

    /// Whether `name` is one of those that the pattern stands for.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = name.split('.');
        for segment in &self.segments {
            match parts.next() {
                Some(part) if segment.matches(part) => {}
                _ => return false,
            }
        }
        self.descends || parts.next().is_none()
    }

    /// Whether every name that `other` stands for is surely one of this pattern's too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let lengths = if self.descends {
            self.segments.len() <= other.segments.len()
        } else {
            !other.descends && self.segments.len() == other.segments.len()
        };
        lengths && self.segments.iter().zip(&other.segments).all(|(mine, theirs)| mine.covers(theirs))
    }

    /// The one name that it stands for, where it has no wildcard.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        let exact = !self.descends && self.segments.iter().all(|segment| matches!(segment, Wildcard::Exact(_)));
        exact.then_some(&*self.text)
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A pattern over catalog names, aligned with their end and compared as the catalog writes them: `orders`,
/// `public.orders`, `shop.public.*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamePattern {
    segments: Vec<Wildcard>,
    text: Arc<str>,
}

impl NamePattern {
    /// Reads a pattern of at most `most` segments.
    ///
    /// # Errors
    /// What makes it none.
    pub fn parse(text: &str, most: usize) -> Result<Self, PatternError> {
        let segments = split(text)?.into_iter().map(|raw| raw.exact()).collect::<Result<Vec<_>, _>>()?;
        bounded(segments.len(), most)?;
        Ok(Self { segments, text: text.into() })
    }

    /// Whether the name whose parts are `parts` (outermost first) is one of those that the pattern stands for.
    #[must_use]
    pub fn matches(&self, parts: &[&str]) -> bool {
        self.segments.len() <= parts.len()
            && self.segments.iter().rev().zip(parts.iter().rev()).all(|(segment, part)| segment.matches(part))
    }

    /// Whether every name that `other` stands for is surely one of this pattern's too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let mut theirs = other.segments.iter().rev();
        self.segments.iter().rev().all(|mine| mine.covers(theirs.next().unwrap_or(&Wildcard::Any)))
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text in which `*` stands for any characters: one segment of a dotted pattern, or a name that has no segments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wildcard {
    /// Everything.
    Any,
    /// This text alone.
    Exact(String),
    /// Literal pieces with anything between them; first and last are anchored and may be empty.
    Wild {
        /// How it begins.
        first: String,
        /// What follows in this order.
        middle: Vec<String>,
        /// How it ends.
        last: String,
    },
}

impl Wildcard {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It is empty, or asks for more than one segment.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.contains("**") {
            return Err(PatternError::Descend);
        }
        if text == "*" {
            return Ok(Self::Any);
        }
        let mut pieces: Vec<String> = text.split('*').map(str::to_owned).collect();
        Ok(match pieces.pop() {
            None => Self::Any,
            Some(only) if pieces.is_empty() => Self::Exact(only),
            Some(last) => {
                let first = pieces.remove(0);
                Self::Wild { first, middle: pieces, last }
            }
        })
    }

    /// Whether `part` is one of those that the pattern stands for.
    #[must_use]
    pub fn matches(&self, part: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(text) => text == part,
            Self::Wild { first, middle, last } => {
                let inner = part.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()));
                let mut rest = inner;
                for piece in middle {
                    rest = rest.and_then(|rest| rest.split_once(piece.as_str())).map(|(_, after)| after);
                }
                rest.is_some()
            }
        }
    }

    /// Whether every text that `other` stands for is surely one of this pattern's too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Exact(text)) => self.matches(text),
            _ => self == other,
        }
    }
}

/// One segment as written.
pub(super) struct Raw<'a> {
    pub(super) text: &'a str,
    pub(super) quoted: bool,
}

impl Raw<'_> {
    /// The segment, compared as written.
    pub(super) fn exact(&self) -> Result<Wildcard, PatternError> {
        if self.quoted { Ok(Wildcard::Exact(self.text.replace("\"\"", "\""))) } else { Wildcard::parse(self.text) }
    }
}

/// Splits a pattern at its dots, quoted ones excepted.
pub(super) fn split(text: &str) -> Result<Vec<Raw<'_>>, PatternError> {
    let mut segments = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (segment, after) = match text.strip_prefix('"') {
            Some(body) => quoted(body)?,
            None => match text.split_once('.') {
                Some((segment, after)) => (Raw { text: segment, quoted: false }, Some(after)),
                None => (Raw { text, quoted: false }, None),
            },
        };
        match segment {
            Raw { text: "", .. } => return Err(PatternError::Empty),
            Raw { text, quoted: false } if text.contains('"') => return Err(PatternError::Quote),
            segment => segments.push(segment),
        }
        rest = after;
    }
    Ok(segments)
}

/// The segment up to its closing quote, and what follows the dot after it. A doubled quote is one of the name's own.
fn quoted(body: &str) -> Result<(Raw<'_>, Option<&str>), PatternError> {
    let mut from = 0;
    loop {
        let found = body.get(from..).and_then(|rest| rest.find('"')).ok_or(PatternError::Quote)?;
        let (segment, after) = body.split_at_checked(from + found).ok_or(PatternError::Quote)?;
        let segment = Raw { text: segment, quoted: true };
        match after.get(1..) {
            Some("") | None => return Ok((segment, None)),
            Some(after) if after.starts_with('"') => from += found + 2,
            Some(after) => return Ok((segment, Some(after.strip_prefix('.').ok_or(PatternError::Quote)?))),
        }
    }
}

/// Checks the number of segments.
pub(super) fn bounded(found: usize, most: usize) -> Result<(), PatternError> {
    if found <= most { Ok(()) } else { Err(PatternError::TooLong { found, most }) }
}
