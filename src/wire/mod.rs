//! The protocol as values (PostgreSQL manual, chapter "Frontend/Backend Protocol"): framing, start-up packets,
//! borrowed views of the messages that are inspected, and building of messages.
//!
//! Knows nothing of sessions, policy or sockets; never awaits. Consumption is exact: bytes that a message's form
//! does not account for are a protocol violation, as in Postgres. Start reading at [`frame`].

pub mod backend;
pub mod build;
pub mod frame;
pub mod frontend;
mod reader;
pub mod startup;

pub use frame::{Frame, Header};
pub use reader::Malformed;
