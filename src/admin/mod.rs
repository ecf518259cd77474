//! The psql database `holdgate`: operators read and decide holds with the tools that they have.
//!
//! One table of commands ([`command::COMMANDS`]) makes the parser, the columns and `SHOW HELP`. There are no
//! transactions: a decision stands at once, and BEGIN to ROLLBACK are taken so that drivers can connect, with a notice
//! that says so. Must not: decide anything itself (that is [`Control`]), let anybody in who is no operator, or print a
//! stranger's text unescaped. Start reading at [`serve`].

mod answer;
mod client;
mod command;
mod extended;
mod fault;
mod login;
mod session;
mod token;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::control::Control;
use crate::wire::startup::Parameters;

pub use client::AdminError;

/// Serves one connection to the admin database from the answer to its start-up packet on, until the client leaves.
///
/// Log-in is by SCRAM-SHA-256 with the operator's name and token, also without TLS: the token never crosses the wire.
///
/// # Errors
/// Why the connection ended early; the client was told as far as the protocol lets it.
pub async fn serve<S>(stream: S, parameters: &Parameters, control: Control) -> Result<(), AdminError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut client = client::Client::new(stream);
    let operator = login::login(&mut client, parameters, &control).await?;
    session::Session::new(client, operator, control).run().await
}

#[cfg(test)]
mod tests;
