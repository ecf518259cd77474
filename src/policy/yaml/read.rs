//! A serde deserializer over the tree whose errors name the node that is to blame.

use std::collections::BTreeSet;
use std::fmt;
use std::slice;

use serde::de::value::{StrDeserializer, U64Deserializer};
use serde::de::{
    self, Deserialize, DeserializeSeed, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};

use super::super::finding::nearest;
use super::node::{Entry, Node, Tree, Value};
use super::{Place, wrap};

/// Reads a value from what is left of a tree.
///
/// # Errors
/// The first problem, and whose it is.
pub(super) fn value<'a, T: Deserialize<'a>>(tree: &'a Tree, struck: &'a Struck) -> Result<T, Fault> {
    let reader = Reader { node: tree.root(), struck };
    T::deserialize(reader).map_err(|fault| fault.blame(tree.root().place, tree.root().id))
}

/// Nodes that were reported already and are left out.
#[derive(Default)]
pub(super) struct Struck(BTreeSet<usize>);

impl Struck {
    /// Leaves a node out from now on; `false` where it was out already.
    pub(super) fn strike(&mut self, id: usize) -> bool {
        self.0.insert(id)
    }

    fn holds(&self, node: &Node) -> bool {
        self.0.contains(&node.id)
    }
}

/// A problem and the node to blame.
#[derive(Debug)]
pub(super) struct Fault {
    what: What,
    at: Option<(Place, usize)>,
}

#[derive(Debug)]
enum What {
    Said {
        code: &'static str,
        message: String,
        hint: Option<String>,
    },
    /// A key that must be there.
    Missing(&'static str),
    /// What follows from a problem that was reported before.
    Consequence,
}

impl Fault {
    fn new(code: &'static str, message: String, hint: Option<String>) -> Self {
        Self { what: What::Said { code, message, hint }, at: None }
    }

    /// Blames a node, unless one within it is to blame.
    fn blame(mut self, place: Place, id: usize) -> Self {
        self.at.get_or_insert((place, id));
        self
    }

    /// Where it is, and the node to strike out.
    pub(super) fn at(&self) -> (Place, usize) {
        self.at.unwrap_or_default()
    }

    /// Code, message and hint; `None` for what follows from an earlier problem.
    pub(super) fn text(&self) -> Option<(&'static str, String, Option<String>)> {
        match &self.what {
            What::Said { code, message, hint } => Some((code, message.clone(), hint.clone())),
            What::Missing(field) => Some(("missing-key", format!("the key `{field}` is missing"), None)),
            What::Consequence => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().map(|(_, message, _)| message).unwrap_or_default())
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        let (message, hint) = match message.split_once("; ") {
            Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
            None => (message, None),
        };
        Self::new("bad-value", message, hint)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new("wrong-type", format!("expected {expected}, found {found}"), None)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new("unknown-key", format!("unknown key `{field}`"), Some(choices(field, expected)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new("unknown-value", format!("unknown value `{variant}`"), Some(choices(variant, expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self { what: What::Missing(field), at: None }
    }
}

fn choices(word: &str, expected: &'static [&'static str]) -> String {
    match nearest(word, expected.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("one of: {}", expected.join(", ")),
    }
}

/// One node, to be read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    node: &'a Node,
    struck: &'a Struck,
}

impl<'a> Reader<'a> {
    fn blame(self, fault: Fault) -> Fault {
        fault.blame(self.node.place, self.node.id)
    }

    fn list<V: Visitor<'a>>(self, items: &'a [Node], visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(Items { items: items.iter(), struck: self.struck })
    }

    fn map<V: Visitor<'a>>(self, entries: &'a [Entry], visitor: V) -> Result<V::Value, Fault> {
        let result = visitor.visit_map(Entries { rest: entries.iter(), current: None, struck: self.struck });
        result.map_err(|mut fault| {
            if let (What::Missing(field), None) = (&fault.what, fault.at) {
                let reported = |entry: &Entry| entry.key == *field && self.struck.holds(&entry.value);
                if entries.iter().any(reported) {
                    fault.what = What::Consequence;
                }
            }
            fault
        })
    }

    /// Text, also where YAML reads a plain word as a number or a truth value.
    fn text(self) -> Option<String> {
        match &self.node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Int(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    fn any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(truth) => visitor.visit_bool(*truth),
            Value::Int(number) => match (u64::try_from(*number), i64::try_from(*number)) {
                (Ok(number), _) => visitor.visit_u64(number),
                (_, Ok(number)) => visitor.visit_i64(number),
                _ => visitor.visit_i128(*number),
            },
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => self.list(items, visitor),
            Value::Map(entries) => self.map(entries, visitor),
        }
    }
}

impl<'a> de::Deserializer<'a> for Reader<'a> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.any(visitor).map_err(|fault| self.blame(fault))
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.text() {
            Some(text) => visitor.visit_string(text),
            None => self.any(visitor),
        }
        .map_err(|fault| self.blame(fault))
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
        .map_err(|fault| self.blame(fault))
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.text() {
            Some(text) => visitor.visit_enum(StrDeserializer::<Fault>::new(&text)),
            None => self.any(visitor),
        }
        .map_err(|fault| self.blame(fault))
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        match (name, &self.node.value) {
            (wrap::AT, _) => visitor.visit_seq(Placed { reader: self, step: 0 }),
            (wrap::LIST, Value::List(items)) => self.list(items, visitor),
            (wrap::LIST, _) => self.list(slice::from_ref(self.node), visitor),
            _ => visitor.visit_newtype_struct(self),
        }
        .map_err(|fault| self.blame(fault))
    }

    serde::forward_to_deserialize_any! { <V: Visitor<'a>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'a> {
    items: slice::Iter<'a, Node>,
    struck: &'a Struck,
}

impl<'a> SeqAccess<'a> for Items<'a> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let struck = self.struck;
        let next = self.items.find(|node| !struck.holds(node));
        next.map(|node| seed.deserialize(Reader { node, struck })).transpose()
    }
}

struct Entries<'a> {
    rest: slice::Iter<'a, Entry>,
    current: Option<&'a Entry>,
    struck: &'a Struck,
}

impl<'a> MapAccess<'a> for Entries<'a> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let struck = self.struck;
        self.current = self.rest.find(|entry| !struck.holds(&entry.value));
        let Some(entry) = self.current else { return Ok(None) };
        let key: StrDeserializer<'a, Fault> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|fault| fault.blame(entry.place, entry.value.id))
    }

    fn next_value_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let entry = self.current.ok_or_else(|| <Fault as de::Error>::custom("a value without a key"))?;
        seed.deserialize(Reader { node: &entry.value, struck: self.struck })
    }
}

/// A place and then the value that stands there.
struct Placed<'a> {
    reader: Reader<'a>,
    step: u8,
}

impl<'a> SeqAccess<'a> for Placed<'a> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        self.step += 1;
        let place = self.reader.node.place;
        let number: fn(u32) -> U64Deserializer<Fault> = |number| u64::from(number).into_deserializer();
        match self.step {
            1 => seed.deserialize(number(place.line)).map(Some),
            2 => seed.deserialize(number(place.column)).map(Some),
            3 => seed.deserialize(self.reader).map(Some),
            _ => Ok(None),
        }
    }
}
