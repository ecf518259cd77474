//! From credentials to a session: who a client is, and how its backend is logged in to.
//!
//! Principals of the configuration prove themselves here ([`gate`]): by SCRAM over a stored verifier, by certificate, or
//! by a provider's token; then the proxy logs in at the upstream with a credential that the client never sees
//! ([`upstream`]). Everybody else's log-in is relayed ([`relay`]), so that the upstream's own users and rules stay in
//! force. Must not: keep a password, open a backend before a principal is known, tell an unknown user from a wrong
//! password, or know what a session does after log-in. Start reading at [`gate::Gate::admit`].

pub mod certificate;
pub mod gate;
pub mod login;
pub mod oidc;
pub mod principals;
mod prove;
pub mod queue;
pub mod relay;
pub mod rules;
pub mod scram;
pub mod throttle;
pub mod upstream;
