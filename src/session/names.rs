//! Prepared statements and portals of one session, SQL-level and protocol-level ones in one map each, as on the server.
//!
//! The maps change only when the server confirms: `ParseComplete`, `BindComplete`, `CloseComplete`, `CommandComplete`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::phase::Described;
use super::run::Run;
use super::settings::NameContext;
use super::table::Table;
use crate::analysis::{Facts, SessionEffect, StatementFacts};
use crate::clock;

/// What the meaning of a text depends on; facts under another epoch are worked out again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Epoch {
    pub(super) catalog: u64,
    pub(super) settings: u64,
}

/// A prepared statement.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    /// The text that made it: of the Parse, or the whole PREPARE.
    pub(super) text: Bytes,
    /// OIDs of its parameters' types as its Parse gave them; 0, or missing at the end, where it did not.
    pub(super) types: Arc<[u32]>,
    /// The same as the server described them.
    pub(super) told_types: Option<Arc<[u32]>>,
    pub(super) facts: Arc<Facts>,
    pub(super) epoch: Epoch,
    /// It was made by PREPARE: its own facts are those of the inner statement.
    pub(super) by_sql: bool,
    /// How names resolved when the facts were worked out; `None`: not known.
    pub(super) names: Option<Arc<NameContext>>,
    /// What the text meant before, at times when the server may have read it.
    pub(super) past: Vec<Meaning>,
    /// The plain columns of its result, as the server last said.
    pub(super) shows: Option<Shows>,
}

/// The plain columns of a result, each a table OID and an attribute number, and when the server said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shows {
    pub(super) epoch: Epoch,
    pub(super) at: Instant,
    pub(super) columns: Arc<[(u32, i16)]>,
}

/// How long the server's word on a result is good: what changes behind the proxy's back is not in the epoch.
const SHOWS_FOR: Duration = Duration::from_secs(1);

impl Shows {
    /// Whether it needs not be asked for again.
    pub(super) fn is_good(&self, epoch: Epoch) -> bool {
        self.epoch == epoch && clock::monotonic().saturating_duration_since(self.at) < SHOWS_FOR
    }
}

/// What a text meant at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) names: Option<Arc<NameContext>>,
    pub(super) facts: Arc<Facts>,
}

impl Meaning {
    /// Whether the path was, or may have been, the same.
    pub(super) fn has_path_of(&self, other: &Self) -> bool {
        match (&self.names, &other.names) {
            (Some(mine), Some(theirs)) => mine.search_path == theirs.search_path,
            _ => true,
        }
    }
}

impl Prepared {
    /// Bytes that it keeps.
    fn bytes(&self) -> usize {
        self.text.len() + size_of_val(&*self.types)
    }

    /// OIDs of its parameters' types, as far as anybody has said.
    pub(super) fn value_types(&self) -> Arc<[u32]> {
        self.told_types.clone().unwrap_or_else(|| self.types.clone())
    }

    /// A statement of which nothing is known, and which is therefore never taken for harmless.
    pub(super) fn unknown(text: Bytes) -> Self {
        Self {
            text,
            types: Arc::default(),
            facts: Arc::new(Facts::default()),
            epoch: Epoch::default(),
            by_sql: false,
            names: None,
            past: Vec::new(),
            told_types: None,
            shows: None,
        }
    }

    /// A name that is not known: never assumed to be harmless. It stands in the text as a literal, which records mask: what
    /// a client calls its statements is its own business.
    pub(super) fn opaque(name: &[u8], why: &str) -> Self {
        let text = Bytes::from(format!("EXECUTE '{}'", String::from_utf8_lossy(name).replace('\'', "''")));
        let facts = StatementFacts::opaque("EXECUTE", 0..text.len(), why);
        Self {
            text,
            types: Arc::default(),
            facts: Arc::new(Facts { statements: vec![facts] }),
            epoch: Epoch::default(),
            by_sql: false,
            names: None,
            past: Vec::new(),
            told_types: None,
            shows: None,
        }
    }

    /// The statement of a run, to be judged again.
    pub(super) fn of(run: &Run) -> Self {
        Self {
            text: run.text.clone(),
            types: Arc::default(),
            facts: run.facts.clone(),
            epoch: Epoch::default(),
            by_sql: false,
            names: None,
            past: Vec::new(),
            told_types: None,
            shows: None,
        }
    }
}

/// A portal or a cursor.
#[derive(Clone, Debug)]
pub(super) struct Portal {
    pub(super) prepared: Prepared,
    /// The name of the prepared statement that was bound.
    pub(super) statement: Box<[u8]>,
    /// The plain columns of its result, once the server has said.
    pub(super) shows: Option<Shows>,
    /// The values of its Bind, as they came.
    pub(super) values: Bytes,
    /// A run that was approved at Bind and is spent by the first Execute.
    pub(super) cleared: Option<Box<Run>>,
    /// Rows that earlier slices sent.
    pub(super) rows_sent: u64,
}

impl Portal {
    /// Bytes that it keeps besides its statement's.
    fn bytes(&self) -> usize {
        let own = if self.prepared.by_sql { self.prepared.bytes() } else { 0 };
        own + self.values.len()
    }

    /// A cursor, or a portal of a statement without a name and without values.
    pub(super) fn new(prepared: Prepared) -> Self {
        Self { prepared, statement: Box::default(), shows: None, values: Bytes::new(), cleared: None, rows_sent: 0 }
    }
}

/// The maps.
#[derive(Debug, Default)]
pub(super) struct Names {
    statements: Table<Prepared>,
    portals: Table<Portal>,
    /// Bytes of names, texts, types and values that are kept.
    bytes: usize,
}

impl Names {
    pub(super) fn statement(&self, name: &[u8]) -> Option<&Prepared> {
        self.statements.get(name)
    }

    pub(super) fn portal_mut(&mut self, name: &[u8]) -> Option<&mut Portal> {
        self.portals.get_mut(name)
    }

    pub(super) fn portal(&self, name: &[u8]) -> Option<&Portal> {
        self.portals.get(name)
    }

    pub(super) fn set_statement(&mut self, name: Box<[u8]>, prepared: Prepared) {
        self.close_statement(&name);
        self.bytes += name.len() + prepared.bytes();
        self.statements.insert(name, prepared);
    }

    /// Keeps what has become known of a statement, unless the name stands for another one by now.
    pub(super) fn remember(&mut self, name: &[u8], prepared: &Prepared) {
        if let Some(kept) = self.statements.get_mut(name)
            && kept.text == prepared.text
            && kept.epoch != prepared.epoch
        {
            *kept = prepared.clone();
        }
    }

    /// The server has said of which types the parameters of a statement are.
    pub(super) fn types_told(&mut self, statement: &[u8], types: Vec<u32>) {
        if let Some(statement) = self.statements.get_mut(statement) {
            statement.told_types = Some(types.into());
        }
    }

    /// The server has said what a statement or a portal shows; a portal shows what its statement does.
    pub(super) fn shows(&mut self, described: &Described, shows: Shows) {
        let statement = match described {
            Described::Statement(name) => self.statements.get_mut(name),
            Described::Portal(name) => {
                let Some(portal) = self.portals.get_mut(name) else { return };
                portal.shows = Some(shows.clone());
                self.statements.get_mut(&portal.statement).filter(|kept| kept.text == portal.prepared.text)
            }
            Described::Nothing => None,
        };
        if let Some(statement) = statement {
            statement.shows = Some(shows);
        }
    }

    pub(super) fn set_portal(&mut self, name: Box<[u8]>, portal: Portal) {
        self.close_portal(&name);
        self.bytes += name.len() + portal.bytes();
        self.portals.insert(name, portal);
    }

    pub(super) fn close_statement(&mut self, name: &[u8]) {
        if let Some(prepared) = self.statements.remove(name) {
            self.bytes = self.bytes.saturating_sub(name.len() + prepared.bytes());
        }
    }

    pub(super) fn close_portal(&mut self, name: &[u8]) {
        if let Some(portal) = self.portals.remove(name) {
            self.bytes = self.bytes.saturating_sub(name.len() + portal.bytes());
        }
    }

    /// A simple Query was begun: the server drops the unnamed statement (`exec_simple_query`).
    pub(super) fn simple_query(&mut self) {
        self.close_statement(b"");
    }

    /// A transaction ended: portals of the protocol end with it. Cursors may have been declared WITH HOLD.
    pub(super) fn end_transaction(&mut self) {
        let mut gone = 0;
        self.portals.retain(|name, portal| {
            let stays = portal.prepared.by_sql;
            gone += if stays { 0 } else { name.len() + portal.bytes() };
            stays
        });
        self.bytes = self.bytes.saturating_sub(gone);
    }

    /// How many names there are; bounded by the session's limit.
    pub(super) fn len(&self) -> usize {
        self.statements.len() + self.portals.len()
    }

    /// How many bytes they keep; bounded by the session's limit.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// DISCARD ALL, or DEALLOCATE ALL for statements alone.
    pub(super) fn clear_statements(&mut self) {
        self.statements.clear();
        self.count();
    }

    pub(super) fn clear_portals(&mut self) {
        self.portals.clear();
        self.count();
    }

    fn count(&mut self) {
        let statements = self.statements.iter().map(|(name, prepared)| name.len() + prepared.bytes());
        let portals = self.portals.iter().map(|(name, portal)| name.len() + portal.bytes());
        self.bytes = statements.chain(portals).sum();
    }

    /// Applies what a completed statement did to the names.
    pub(super) fn apply(&mut self, effect: &SessionEffect, made: &Made) {
        match effect {
            SessionEffect::Prepare { name, inner } => {
                self.set_statement(name.as_bytes().into(), made.holding(inner));
            }
            SessionEffect::Deallocate { name: Some(name) } => self.close_statement(name.as_bytes()),
            SessionEffect::Deallocate { name: None } => self.clear_statements(),
            SessionEffect::Declare { name, inner } => {
                let prepared = made.holding(inner);
                let portal = Portal::new(prepared);
                self.set_portal(name.as_bytes().into(), portal);
            }
            SessionEffect::Close { name: Some(name) } => self.close_portal(name.as_bytes()),
            SessionEffect::Close { name: None } => self.clear_portals(),
            SessionEffect::DiscardAll => {
                self.clear_statements();
                self.clear_portals();
            }
            SessionEffect::Execute { .. }
            | SessionEffect::Fetch { .. }
            | SessionEffect::Set { .. }
            | SessionEffect::CatalogChange => {}
        }
    }
}

/// Where a name comes from that a completed statement made.
pub(super) struct Made {
    /// The text of that statement.
    pub(super) text: Bytes,
    pub(super) epoch: Epoch,
    pub(super) names: Option<Arc<NameContext>>,
}

impl Made {
    fn holding(&self, inner: &StatementFacts) -> Prepared {
        Prepared {
            // Its own bytes: the text that it stands in may be much longer.
            text: Bytes::copy_from_slice(&self.text),
            types: Arc::default(),
            facts: Arc::new(Facts { statements: vec![inner.clone()] }),
            epoch: self.epoch,
            by_sql: true,
            names: self.names.clone(),
            past: Vec::new(),
            told_types: None,
            shows: None,
        }
    }
}
