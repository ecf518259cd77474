//! A YAML document as a tree whose nodes know where they stand.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::Place;

/// The deepest nesting of a file: far beyond what a policy or a configuration needs.
const DEPTH_MAX: usize = 64;

/// A parsed document.
pub(super) struct Tree {
    root: Node,
}

/// One value.
pub(super) struct Node {
    /// Its number in the tree.
    pub(super) id: usize,
    pub(super) place: Place,
    pub(super) value: Value,
}

pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

impl Tree {
    /// Parses a text of one document.
    ///
    /// # Errors
    /// Where it stops being YAML, and why.
    pub(super) fn parse(text: &str) -> Result<Self, (Place, String)> {
        if text.trim().is_empty() {
            return Err((Place { line: 1, column: 1 }, "the file is empty".to_owned()));
        }
        let mut budget = serde_saphyr::Budget::default();
        budget.max_depth = DEPTH_MAX;
        let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false, budget: Some(budget) };
        let raw: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let at = error.location().map_or(Place { line: 1, column: 1 }, place);
            (at, strip_place(&error.without_snippet().to_string()))
        })?;
        Ok(Self { root: number(raw, &mut 0) })
    }

    pub(super) fn root(&self) -> &Node {
        &self.root
    }
}

/// The parser ends its messages with the place, which a finding says by itself.
fn strip_place(message: &str) -> String {
    let line = message.lines().next().unwrap_or(message);
    line.rsplit_once(" at line ").map_or(line, |(text, _)| text).to_owned()
}

fn place(location: Location) -> Place {
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Place { line: narrow(location.line()), column: narrow(location.column()) }
}

fn number(raw: Spanned<Raw>, next: &mut usize) -> Node {
    let id = *next;
    *next += 1;
    let place = place(raw.referenced);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Int(value) => Value::Int(value),
        Raw::Float(value) => Value::Float(value),
        Raw::Text(value) => Value::Text(value),
        Raw::List(items) => Value::List(items.into_iter().map(|item| number(item, next)).collect()),
        Raw::Map(entries) => Value::Map(entries.into_iter().map(|entry| numbered_entry(entry, next)).collect()),
    };
    Node { id, place, value }
}

fn numbered_entry((key, value): (Spanned<String>, Spanned<Raw>), next: &mut usize) -> Entry {
    Entry { place: place(key.referenced), key: key.value, value: number(value, next) }
}

enum Raw {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Int(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Int(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
