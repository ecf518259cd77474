//! How a column comes into what is written: how its values are turned, and what it decides.

use serde::{Deserialize, Serialize};

use super::analyzer::Analyzer;
use super::parse::{Node, nodes, raw, strings};
use super::scope::Scope;
use super::touch::{FILTER, Field, GROUP_BY, JOIN, PROBE, SORT, Sources, Value, WINDOW};
use crate::catalog::Function;

/// How a value is made from a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It is the column's value.
    Identity,
    /// It is computed from it.
    Transformation,
    /// It is computed from the values of many rows.
    Aggregation,
    /// It is computed from it so that the value cannot be read from it: a hash, a cipher.
    Masked,
    /// The same of many rows: a count, an aggregate of hashes.
    MaskedAggregation,
    /// The column's value chooses between others: the condition of a CASE.
    Conditional,
}

impl Way {
    const ALL: [Self; 6] = [
        Self::Identity,
        Self::Transformation,
        Self::Aggregation,
        Self::Masked,
        Self::MaskedAggregation,
        Self::Conditional,
    ];

    const fn bit(self) -> u8 {
        match self {
            Self::Identity => 1,
            Self::Transformation => 2,
            Self::Aggregation => 4,
            Self::Masked => 8,
            Self::MaskedAggregation => 16,
            Self::Conditional => 32,
        }
    }

    /// The way through one more step.
    const fn through(self, turn: Turn) -> Self {
        match (self, turn) {
            (Self::Conditional, _) | (_, Turn::Decide) => Self::Conditional,
            (Self::Identity, Turn::Transform) => Self::Transformation,
            (_, Turn::Transform) => self,
            (Self::Identity | Self::Transformation | Self::Aggregation, Turn::Aggregate) => Self::Aggregation,
            (Self::Aggregation | Self::MaskedAggregation, Turn::Mask)
            | (Self::Masked | Self::MaskedAggregation, Turn::Aggregate)
            | (_, Turn::Count) => Self::MaskedAggregation,
            (Self::Identity | Self::Transformation | Self::Masked, Turn::Mask) => Self::Masked,
        }
    }
}

/// All the ways in which one value is made from one column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways(u8);

impl Ways {
    /// One way.
    #[must_use]
    pub const fn of(way: Way) -> Self {
        Self(way.bit())
    }

    /// The ways, the plainest first.
    pub fn iter(self) -> impl Iterator<Item = Way> {
        Way::ALL.into_iter().filter(move |way| self.0 & way.bit() != 0)
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The ways through one more step.
    pub(super) fn through(self, turn: Turn) -> Self {
        self.iter().fold(Self::default(), |ways, way| ways.and(Self::of(way.through(turn))))
    }
}

/// What a column decides, where it is a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// Which rows belong together.
    Join,
    /// Which rows become one.
    GroupBy,
    /// Which rows stay.
    Filter,
    /// In which order they come.
    Sort,
    /// Over which rows a window function looks.
    Window,
}

/// All that a column decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses(u8);

impl Uses {
    const BITS: [(u8, Use); 5] =
        [(JOIN, Use::Join), (GROUP_BY, Use::GroupBy), (FILTER, Use::Filter), (SORT, Use::Sort), (WINDOW, Use::Window)];

    /// Those among the marks of a column.
    pub(super) const fn among(marks: u8) -> Self {
        Self(marks & (JOIN | GROUP_BY | FILTER | SORT | WINDOW))
    }

    /// What it decides.
    pub fn iter(self) -> impl Iterator<Item = Use> {
        Self::BITS.into_iter().filter(move |(bit, _)| self.0 & bit != 0).map(|(_, what)| what)
    }

    /// Adds what another statement decides by it.
    pub(super) const fn extend(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// A step on a value's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Computes.
    Transform,
    /// Computes over many rows.
    Aggregate,
    /// Hides the value.
    Mask,
    /// Counts rows.
    Count,
    /// Chooses by it.
    Decide,
}

impl Turn {
    const fn bit(self) -> u8 {
        match self {
            Self::Transform => 1,
            Self::Aggregate => 2,
            Self::Mask => 4,
            Self::Count => 8,
            Self::Decide => 16,
        }
    }

    /// What a function does to its arguments, as far as its name and kind tell.
    pub(super) fn of(function: &Function) -> Self {
        let known = function.is_built_in() || function.extension.is_some();
        match function.kind {
            'a' if known && matches!(&*function.name, "count" | "regr_count") => Self::Count,
            'a' => Self::Aggregate,
            _ if known && MASKING.contains(&&*function.name) => Self::Mask,
            _ if function.extension.as_deref() == Some("anon") => Self::Mask,
            _ => Self::Transform,
        }
    }
}

/// Hashes and ciphers of the server and of pgcrypto. What only shortens or replaces parts is not among them: who reads
/// the result reads a part of the value.
const MASKING: &[&str] = &[
    "md5",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "digest",
    "hmac",
    "crypt",
    "encrypt",
    "encrypt_iv",
    "pgp_sym_encrypt",
    "pgp_sym_encrypt_bytea",
    "pgp_pub_encrypt",
    "pgp_pub_encrypt_bytea",
    "hashtext",
    "hashtextextended",
    "hashvarlena",
    "hashvarlenaextended",
    "crc32",
    "crc32c",
];

/// Steps that would change nothing more: all the ways of a value have been through them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled(u8);

impl Value {
    /// The ways from a column to this value. One that is not noted is the value itself.
    pub(super) fn ways(&self, source: super::touch::ColumnId) -> Ways {
        self.noted.get(&source).copied().unwrap_or(Ways::of(Way::Identity))
    }

    /// The value behind one more step.
    pub(super) fn turned(mut self, turn: Turn) -> Self {
        if self.settled.0 & turn.bit() == 0 {
            for source in &self.sources {
                self.noted
                    .insert(*source, self.noted.get(source).copied().unwrap_or(Ways::of(Way::Identity)).through(turn));
            }
            // Whatever a step makes, computing with it makes no more of it.
            self.settled.0 |= turn.bit() | Turn::Transform.bit();
        }
        self
    }

    /// Adds what another value is made from, and how.
    pub(super) fn add(&mut self, other: Self) {
        if self.sources.is_empty() {
            (self.sources, self.noted, self.settled) = (other.sources, other.noted, other.settled);
            return;
        }
        if other.sources.is_empty() {
            return;
        }
        self.settled.0 &= other.settled.0;
        for source in &other.sources {
            let ways = other.ways(*source);
            let ways = if self.sources.contains(source) { ways.and(self.ways(*source)) } else { ways };
            if ways != Ways::of(Way::Identity) {
                self.noted.insert(*source, ways);
            }
        }
        self.sources.extend(other.sources);
    }

    /// A value made from these columns by a computation.
    pub(super) fn computed(sources: Sources) -> Self {
        Self::of(sources).turned(Turn::Transform)
    }

    /// One value of all of these.
    pub(super) fn all(fields: &[Field]) -> Self {
        let mut value = Self::default();
        for field in fields {
            value.add(Self { fields: None, type_oid: 0, ..field.value.clone() });
        }
        value
    }
}

impl Analyzer<'_> {
    /// Marks what an expression is made from as deciding in this way.
    pub(super) fn probe_as(&mut self, node: Node<'_>, scope: &Scope<'_>, what: u8) {
        if !matches!(node, Node::None) {
            let value = self.expr(node, scope);
            self.touched.mark(&value.sources, what);
        }
    }

    /// WHERE: each of its conditions compares columns of two FROM items, or decides which rows stay.
    pub(super) fn conditions(&mut self, node: Node<'_>, scope: &Scope<'_>) {
        match node {
            Node::BoolExpr(all) if all.boolop == raw::BoolExprType::AND_EXPR && self.enter() => {
                for part in all.args() {
                    self.conditions(part, scope);
                }
                self.leave();
            }
            Node::A_Expr(expr) if compares_items(expr) => self.probe_as(node, scope, PROBE | JOIN),
            _ => self.probe_expr(node, scope),
        }
    }
}

/// Whether two columns are compared that have different qualifiers.
fn compares_items(expr: &nodes::A_Expr) -> bool {
    let (Node::ColumnRef(left), Node::ColumnRef(right)) = (expr.lexpr(), expr.rexpr()) else { return false };
    let (left, right) = (strings(left.fields()), strings(right.fields()));
    match (left.split_last(), right.split_last()) {
        (Some((_, left)), Some((_, right))) => !left.is_empty() && !right.is_empty() && left != right,
        _ => false,
    }
}
