//! The client's side of start-up: first packets, TLS, parameters.
//!
//! Must not: know upstreams or judge statements. Start reading at [`startup::accept`].

pub mod startup;
