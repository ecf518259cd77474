//! Holdgate: a PostgreSQL proxy for AI agents.
//!
//! **Every statement becomes facts, facts become a decision, the decision becomes a forward, a hold or a refusal, and
//! whatever happened becomes a record.**
//!
//! ```text
//! listener ─ start-up ─ log-in ─ session::serve          database "holdgate" ─ admin
//!                                     │
//! client frame ─▶ intercept ─▶ analysis ─▶ policy ─▶ clear ─┬─▶ forward
//!                                                           ├─▶ hold ─▶ approvals ◀─ control ◀─ admin, http, cli
//!                                                           └─▶ refuse
//! server frame ─▶ watch ─▶ tripwire ─▶ client       scribe ─▶ lineage ─▶ log
//! ```
//!
//! # Rooms, from the ground floor up
//!
//! A room uses only rooms on lower floors; `tests/it/tidy.rs` holds that table.
//!
//! - [`ids`], [`clock`], [`principal`], [`sqlstate`], [`report`]: names, the only reader of time, who asks, every SQLSTATE
//!   that we send, the one shape of text that a peer may read.
//! - [`wire`]: the protocol as values. [`catalog`]: a snapshot of a database, and how names resolve in it.
//! - [`analysis`]: SQL text and a catalog become facts; the parser's types never leave it.
//! - [`policy`]: facts become a decision; total and pure.
//! - [`lineage`]: the log's own versioned line, its masking, its rendering as `OpenLineage`.
//! - [`telemetry`]: metrics and diagnostics.
//! - [`net`]: byte streams and TLS.
//! - [`frontend`]: first packets of a client. [`backend`]: connections to the upstream, its catalogs, and what is remembered
//!   of their tags. [`approvals`]: the
//!   hold store. [`log`]: the append-only log with its Merkle tree.
//! - [`notify`]: Slack, Teams and webhooks from one outbox. [`auth`]: who comes in: principals that prove themselves to us by
//!   SCRAM, certificate or token, relayed log-ins, client rules, and what bounds those who have proved nothing. [`sink`]: copies
//!   of the log for other systems.
//! - [`session`]: the data plane. Its only place that waits for sockets is one file, its judgement of protocol another.
//! - [`config`]: files and flags become one typed configuration. [`control`]: every operator action, once.
//! - [`admin`], [`http`]: surfaces of `control`.
//! - [`server`]: puts everything together. [`cli`]: one file a subcommand.
//!
//! # What always holds
//!
//! 1. Nothing of a statement executes before its decision exists, planning included: planning runs functions.
//! 2. Unknown is a fact, judged on the strict side, and never an absence.
//! 3. Every judged statement has exactly one closing record, also when its session dies.
//! 4. What is tagged, held or refused is on disk in the log before it reaches the server; without a log it does not.
//! 5. An approval covers exactly what was shown, is spent once, and is void when anything that it was bound to changed.
//! 6. Nobody approves their own request, by whatever surface, group or agent.
//! 7. Bytes pass unchanged, but for refusals, redacted errors, our own cancel keys and notices. Rows are counted, not read.
//! 8. Waiting costs others nothing: no lock of ours is held across an await, no database lock while people think. The one
//!    exception is a hold in the client's own open transaction or paused stream: bounded, and said on its card.
//! 9. Every queue, frame, script, cache and hold has a bound.
//! 10. Every operator act is a record, with issuer, subject and method.

pub mod admin;
pub mod analysis;
pub mod approvals;
pub mod auth;
pub mod backend;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod frontend;
pub mod http;
pub mod ids;
pub mod lineage;
pub mod log;
pub mod net;
pub mod notify;
pub mod policy;
pub mod principal;
pub mod report;
pub mod server;
pub mod session;
pub mod sink;
pub mod sqlstate;
pub mod telemetry;
pub mod wire;
