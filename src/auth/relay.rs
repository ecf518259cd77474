//! Relayed authentication: the client proves itself to the upstream, and the proxy learns nothing that it could use.
//!
//! SCRAM proofs are bound to their nonces, so they pass unchanged; SCRAM-SHA-256-PLUS is not offered, because it binds
//! to a TLS channel that ends here. `pg_hba.conf` sees the proxy's address: a `trust` line meant for it would let every
//! client be any role, so a log-in without a challenge is believed for local clients only.

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;

use super::login::{LoggedIn, LoginFailed, greeted, read_answer, read_frame};
use crate::net::Stream;
use crate::report::Report;
use crate::sqlstate;
use crate::wire::backend::Fields;
use crate::wire::build;
use crate::wire::frame::HEADER_LEN;

/// Whether an `AuthenticationOk` without a challenge is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// A local client, or the configuration says so.
    Believed,
    /// Anybody could be behind the proxy's address.
    Refused,
}

/// Relays a log-in until the server is ready for its first query.
///
/// # Errors
/// The log-in is over, or is refused here.
pub async fn relay(client: &mut Stream, server: &mut Stream, trust: Trust) -> Result<LoggedIn, LoginFailed> {
    let mut input = BytesMut::new();
    let mut challenged = false;
    loop {
        let (header, frame) = read_frame(server, &mut input).await?;
        let body = frame.get(HEADER_LEN..).unwrap_or_default();
        match header.tag {
            b'R' => match body.first_chunk::<4>().map(|code| i32::from_be_bytes(*code)) {
                Some(0) if challenged || trust == Trust::Believed => {
                    return greeted(client, server, input, BytesMut::from(&frame[..])).await;
                }
                Some(0) => return Err(LoginFailed::Refused(trust_refused())),
                Some(10) => {
                    challenged = true;
                    client.write_all(&without_plus(body)?).await?;
                    answer(client, server).await?;
                }
                Some(3 | 5 | 11) => {
                    challenged = true;
                    client.write_all(&frame).await?;
                    answer(client, server).await?;
                }
                Some(12) => client.write_all(&frame).await?,
                _ => return Err(LoginFailed::Refused(method_refused())),
            },
            b'E' => {
                client.write_all(&frame).await?;
                client.flush().await?;
                let denied = Fields::new(body).sqlstate() == sqlstate::INVALID_PASSWORD.as_str();
                return Err(if denied { LoginFailed::Denied } else { LoginFailed::Over });
            }
            _ => client.write_all(&frame).await?,
        }
        client.flush().await?;
    }
}

async fn answer(client: &mut Stream, server: &mut Stream) -> Result<(), LoginFailed> {
    let frame = read_answer(client).await?;
    server.write_all(&frame).await?;
    Ok(server.flush().await?)
}

/// `AuthenticationSASL` without the mechanisms that bind to the server's TLS channel.
fn without_plus(body: &[u8]) -> Result<BytesMut, LoginFailed> {
    let mechanisms = body.get(4..).unwrap_or_default().split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let kept: Vec<_> = mechanisms.filter(|name| !name.ends_with(b"-PLUS")).collect();
    if kept.is_empty() {
        return Err(LoginFailed::Refused(method_refused()));
    }
    let mut rest: Vec<u8> = kept.iter().flat_map(|name| name.iter().copied().chain([0])).collect();
    rest.push(0);
    let mut out = BytesMut::new();
    build::authentication(&mut out, 10, &rest);
    Ok(out)
}

fn trust_refused() -> Report {
    Report::new(sqlstate::INVALID_AUTHORIZATION, "the upstream asked for no password, and this client is not local")
        .detail("The upstream's pg_hba.conf trusts the proxy's address, so every remote client could be any role.")
        .hint("Make pg_hba.conf ask for scram-sha-256 from the proxy's address, or set auth.allow_upstream_trust.")
}

fn method_refused() -> Report {
    Report::new(sqlstate::INVALID_AUTHORIZATION, "the upstream asks for a log-in that cannot be relayed")
        .detail("Certificate, GSS, SSPI and channel-binding log-ins are bound to the upstream's own connection.")
        .hint("Let pg_hba.conf ask for scram-sha-256 from the proxy's address.")
}
