//! End-to-end tests: the built binary between real clients and a real Postgres.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::print_stdout, clippy::string_slice, clippy::as_conversions, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "deadlines of tests")]

mod analysis_corpus;
mod analysis_lineage;
mod analyze;
mod bounds;
mod budgets;
mod bundles;
mod calls;
mod canaries;
mod column_lineage;
mod console;
mod demo;
mod differential;
mod drivers;
mod drivers_rust;
mod estimates;
mod evasions;
mod faults;
mod fresh;
mod fuzzed;
mod generator;
mod harness;
mod holds;
mod identity;
mod identity_tls;
mod identity_tokens;
mod killed;
mod laundering;
mod log;
mod log_evidence;
mod log_upkeep;
mod malformed;
mod many;
mod migrations;
mod node;
mod observe;
mod openapi;
mod oracle;
mod plannable;
mod policy_check;
mod quiet;
mod quorum;
mod races;
mod relay;
mod replication;
mod row_security;
mod sequences;
mod server_state;
mod session_truth;
mod sinks;
mod sizes;
mod splits;
mod startup;
mod states;
mod streams;
mod tidy;
mod torture;
mod transparency;
mod unnoticed;
mod voids;
mod vouched;
mod waits;
mod watch;
