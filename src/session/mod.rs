//! The data plane: one client, one upstream connection, and judgement in between.
//!
//! Knows no HTTP, no admin database and no configuration file. [`serve`] is the straight line from a start-up packet
//! to the end of the session; `relay` holds the only place that waits for sockets; `phase` knows, without I/O, what
//! the server still owes an answer to; `intercept` takes the client's frames and `watch` the server's; `judge` and
//! `clear` decide, `hold` and `trip` wait for people, `refuse` lets Postgres say no. Start reading at [`serve`].

mod action;
mod ask;
mod bell;
mod budget;
mod bundle;
mod call;
mod cancel;
mod card;
mod charge;
mod clear;
mod copy;
mod doing;
mod end;
mod extended;
mod foreseen;
mod hold;
mod impact;
mod intercept;
mod judge;
mod launder;
mod many;
mod meaning;
mod memo;
mod names;
mod patience;
mod pause;
mod phase;
mod read;
mod recall;
mod redact;
mod refuse;
pub mod registry;
mod relay;
mod ring;
mod run;
mod scribe;
pub mod serve;
mod settings;
mod sheets;
mod sizes;
mod table;
mod tickets;
mod trip;
mod walsender;
mod watch;
mod witness;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::analysis;
use crate::approvals::{Approvals, HoldEnd};
use crate::auth::gate::Gate;
use crate::backend::connect::Upstream;
use crate::backend::databases::{Database, Databases, Snapshot};
use crate::backend::presence::Presence;
use crate::catalog::{Oid, Remembered};
use crate::clock::{Clock, Timestamp};
use crate::ids::{HoldId, StatementId};
use crate::lineage::Literals;
use crate::log::Log;
use crate::policy::Policy;
use crate::principal::Principal;

pub use budget::{BudgetError, Budgets};

/// Whether verdicts are carried out or only recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Carried out.
    #[default]
    Enforce,
    /// Recorded.
    Observe,
}

/// How long people are waited for.
#[derive(Clone, Copy, Debug)]
pub struct HoldSettings {
    /// On a live connection that holds no locks.
    pub wait: Duration,
    /// In an open transaction, or with a stream paused.
    pub stream_wait: Duration,
    /// The longest that an undecided hold stands; `None`: as its rule says.
    pub expires: Option<Duration>,
    /// A client that goes away leaves its hold behind as a ticket.
    pub ticket_on_disconnect: bool,
    /// A statement in an open transaction waits; otherwise it is refused at once.
    pub in_transaction: bool,
}

/// The bounds of one session.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of a Query, Parse, Bind or `FunctionCall`.
    pub statement_max: usize,
    /// Bytes of a Bind whose values an operator must see.
    pub bind_max: usize,
    /// Prepared statements and portals, those of SQL among them.
    pub names_max: usize,
    /// Bytes of their texts and values.
    pub names_bytes_max: usize,
    /// Messages of a client that wait for their answers; beyond it, and beyond `statement_max` bytes of their texts and
    /// values, nothing more is read from it.
    pub pipeline_max: usize,
}

/// Everything that sessions share.
pub struct Services {
    /// The time.
    pub clock: Clock,
    /// The record log.
    pub log: Log,
    /// What stands for literals in records.
    pub literals: Literals,
    /// The hold store.
    pub approvals: Approvals,
    /// The policy in force.
    pub policy: ArcSwap<Policy>,
    /// Where sessions lead.
    pub upstream: Upstream,
    /// The only database that is served; `None`: all.
    pub database: Option<String>,
    /// `environment` of the upstream.
    pub environment: Option<String>,
    /// Catalogs.
    pub databases: Databases,
    /// Facts that are known already.
    pub facts: analysis::Cache,
    /// Rows that principals have read of late.
    pub budgets: Budgets,
    /// The sessions that live now.
    pub registry: registry::Registry,
    /// Whether verdicts are carried out.
    pub mode: Mode,
    /// How long people are waited for.
    pub hold: HoldSettings,
    /// The bounds of one session.
    pub bounds: Bounds,
    /// A server that asks for no password is believed for clients that are not on this machine.
    pub allow_upstream_trust: bool,
    /// Who comes in, and who they are.
    pub gate: Gate,
}

/// Who a session belongs to and where it leads.
#[derive(Clone, Debug)]
struct Who {
    principal: Principal,
    database: String,
    environment: Option<String>,
    client: Option<SocketAddr>,
}

/// One session after log-in.
struct Session {
    services: Arc<Services>,
    /// It is in its database.
    _presence: Presence,
    who: Who,
    /// What is known of the database that it leads to.
    database: Arc<Database>,
    registration: registry::Registration,
    client: relay::Peer,
    server: relay::Peer,
    /// Bytes that the client's next frame needs.
    client_want: usize,
    /// SQL, or replication.
    channel: walsender::Channel,
    phase: phase::Phase,
    watch: watch::Watch,
    names: names::Names,
    settings: settings::Settings,
    scribe: scribe::Scribe,
    /// The catalog by which statements are judged now, and where it was read.
    snapshot: Option<Arc<Snapshot>>,
    /// The snapshot shows what only this session sees: temporary relations, uncommitted definitions.
    private: bool,
    /// The shared snapshot beside which the private one was read; it is read again when that one is replaced.
    private_base: u64,
    /// This session has run DDL: there may be relations that only it can see.
    has_own: bool,
    /// This session has changed definitions that other sessions may not see yet.
    changed: bool,
    /// The open transaction has changed what this session sees, which its end may undo.
    own_changed: bool,
    /// Statements of the open transaction may have written, which other connections do not see yet.
    wrote: bool,
    /// The function whose call is being judged, by the number that the client calls it by.
    calling: Option<Oid>,
    /// What the planner said of the text that was judged last.
    plans: Option<Arc<sizes::Plans>>,
    /// What is remembered of this session's temporary relations.
    own: Remembered,
    /// Statements of the open transaction that make relations with tags.
    expecting: Vec<StatementId>,
    /// Texts that were read before.
    recall: recall::Recall,
    /// Decisions that were met before.
    decided: memo::Memo,
    /// Descriptions that agreed with the facts.
    foreseen: foreseen::Foreseen,
    /// When an unknown name last made this session read the catalog again.
    looked_up_at: Timestamp,
    /// Since when the open transaction is open.
    transaction_since: Option<Timestamp>,
    /// What operators were shown last of what it does.
    shown: doing::Shown,
    /// Approvals that were spent and whose statements have not ended.
    released: Vec<HoldId>,
    /// What is left of an approval of several executions.
    approved: Option<many::Approved>,
    /// Ends of holds that the store did not take.
    unfinished: Vec<(HoldId, HoldEnd)>,
    /// A statement of a bundle runs, or its end is being stored.
    rebinds: bool,
    /// Bundles of which the open transaction has spent a part.
    spent_here: Vec<HoldId>,
    /// Those of which such a part was rolled back.
    undone: Vec<HoldId>,
    /// The backend's process id and its own key, for cancels.
    backend: (Upstream, u32, Vec<u8>),
    cancel_requested: bool,
    draining: bool,
    killed: Option<String>,
}
