//! The data plane: one client, one upstream connection, and judgement in between.
//!
//! Knows no HTTP, no admin database and no configuration file. [`serve`] is the straight line from a start-up packet
//! to the end of the session; [`relay`] holds the only place that waits for sockets; [`phase`] knows, without I/O, what
//! the server still owes an answer to. Start reading at [`serve`].

pub mod registry;

mod phase;
mod relay;
mod serve;
