//! From credentials to a session: log-ins are relayed to the upstream, so that its own users and rules stay in force.
//!
//! Must not: keep a credential, or know what a session does after log-in. Start reading at [`relay::relay`].

pub mod oidc;
pub mod relay;
