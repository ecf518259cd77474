//! What an expression is made of, and what a statement has touched so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::facts::{Kind, SessionEffect};
use super::flows::Found;
use super::ways::{Settled, Turn, Ways};
use crate::catalog::Oid;

/// A column by where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ColumnId {
    pub(super) relation: Oid,
    pub(super) number: i16,
}

/// The columns that a value is made from.
pub(super) type Sources = BTreeSet<ColumnId>;

/// What is known of a value.
#[derive(Clone, Debug, Default)]
pub(super) struct Value {
    /// All columns that it is made from, those of its fields too.
    pub(super) sources: Sources,
    /// Its fields, where it is a row; those of its elements, where it is an array of rows.
    pub(super) fields: Option<Arc<[Field]>>,
    /// Its type, where it is known; else 0.
    pub(super) type_oid: Oid,
    /// How it is made from those columns that are more than taken over.
    pub(super) noted: BTreeMap<ColumnId, Ways>,
    pub(super) settled: Settled,
}

/// A named value: a result column, a field of a row.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: Arc<str>,
    pub(super) value: Value,
}

impl Value {
    /// A value made from these columns.
    pub(super) fn of(sources: Sources) -> Self {
        Self { sources, ..Self::default() }
    }

    /// A row of these fields.
    pub(super) fn row(fields: Arc<[Field]>) -> Self {
        let whole = Self::all(&fields).turned(Turn::Transform);
        Self { fields: Some(fields), ..whole }
    }

    /// Fields of these names, each made from all that this value is made from.
    pub(super) fn spread(&self, fields: &[Field]) -> Arc<[Field]> {
        let all = || Self { fields: None, type_oid: 0, ..self.clone() };
        fields.iter().map(|field| Field { name: Arc::clone(&field.name), value: all() }).collect()
    }

    /// Its field of that name.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        self.fields.as_ref()?.iter().find(|field| &*field.name == name).map(|field| &field.value)
    }
}

/// A column is read into the result.
pub(super) const REVEAL: u8 = 1;
/// A column decides.
pub(super) const PROBE: u8 = 2;
/// A column is written.
pub(super) const WRITE: u8 = 4;
/// A probe decides which rows belong together.
pub(super) const JOIN: u8 = 8;
/// A probe decides which rows become one.
pub(super) const GROUP_BY: u8 = 16;
/// A probe decides which rows stay.
pub(super) const FILTER: u8 = 32;
/// A probe decides their order.
pub(super) const SORT: u8 = 64;
/// A probe decides what a window function sees.
pub(super) const WINDOW: u8 = 128;

/// What has been touched.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "five facts of a statement that hang together in no way")]
pub(super) struct Touched {
    pub(super) columns: BTreeMap<ColumnId, u8>,
    pub(super) relations: BTreeSet<Oid>,
    pub(super) functions: BTreeSet<String>,
    pub(super) opaque: Vec<String>,
    pub(super) kinds: BTreeSet<Kind>,
    pub(super) effects: Vec<SessionEffect>,
    pub(super) packs: bool,
    /// It gathers the rows of a query that is not finished yet into one value; it packs where they can be several.
    pub(super) gathers: bool,
    /// Values go to other sessions, beside the rows.
    pub(super) sends: bool,
    /// How many places of its text bring a value of a tagged relation into one row.
    pub(super) places: usize,
    /// It does more than read: a cancel does not undo it.
    pub(super) acts: bool,
    pub(super) session_local: bool,
    /// It hangs on who asks: it calls a function whose names are the caller's, or reads what the caller's role may see.
    pub(super) path_dependent: bool,
    /// It reads what definitions say that can be replaced in their place: views, functions, rules, triggers, policies.
    pub(super) defined: bool,
    /// Columns that a subquery has and nobody may have asked for: deciding, unless they are marked otherwise.
    pub(super) seen: Sources,
    /// Relations that are read without their children.
    pub(super) only: BTreeSet<Oid>,
    /// Where values go.
    pub(super) flows: Found,
}

/// Reasons that are kept: one is enough to be opaque.
const REASONS_MAX: usize = 32;

impl Touched {
    /// Marks columns.
    pub(super) fn mark<'a>(&mut self, sources: impl IntoIterator<Item = &'a ColumnId>, access: u8) {
        for source in sources {
            *self.columns.entry(*source).or_default() |= access;
        }
    }

    /// Columns that nobody asked for after all decide, unless they are read otherwise.
    pub(super) fn settle(&mut self) {
        for column in std::mem::take(&mut self.seen) {
            let access = self.columns.entry(column).or_default();
            if *access & (REVEAL | PROBE) == 0 {
                *access |= PROBE;
            }
        }
    }

    /// Says that a part cannot be known.
    pub(super) fn opaque(&mut self, why: impl Into<String>) {
        let why = why.into();
        if self.opaque.len() < REASONS_MAX && !self.opaque.contains(&why) {
            self.opaque.push(why);
        }
    }

    /// What it costs to add this to another part.
    pub(super) fn weight(&self) -> usize {
        self.columns.len() + self.relations.len() + self.functions.len() + self.effects.len() + self.seen.len()
    }

    /// Adds all that another part touches.
    pub(super) fn absorb(&mut self, other: &Self) {
        for (column, access) in &other.columns {
            *self.columns.entry(*column).or_default() |= access;
        }
        self.relations.extend(&other.relations);
        self.functions.extend(other.functions.iter().cloned());
        for why in &other.opaque {
            self.opaque(why.clone());
        }
        self.kinds.extend(&other.kinds);
        // A function that is called twice leaves what its last call leaves.
        self.effects.retain(|effect| !other.effects.contains(effect));
        self.effects.extend(other.effects.iter().cloned());
        self.packs |= other.packs || other.gathers;
        self.sends |= other.sends;
        self.places = self.places.saturating_add(other.places);
        self.acts |= other.acts;
        self.session_local |= other.session_local;
        self.path_dependent |= other.path_dependent;
        self.defined |= other.defined;
        self.seen.extend(&other.seen);
        self.only.extend(&other.only);
        self.flows.absorb(&other.flows);
    }
}

/// With more places than these, one row holds what many rows would.
pub(super) const PLACES_MAX: usize = 32;
