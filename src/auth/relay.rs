//! Relayed authentication: the client proves itself to the upstream, and the proxy learns nothing that it could use.
//!
//! SCRAM proofs are bound to their nonces, so they pass unchanged; SCRAM-SHA-256-PLUS is not offered, because it binds
//! to a TLS channel that ends here. `pg_hba.conf` sees the proxy's address: a `trust` line meant for it would let every
//! client be any role, so a log-in without a challenge is believed for local clients only.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::Stream;
use crate::report::Report;
use crate::sqlstate;
use crate::wire::backend;
use crate::wire::build::{self, Severity};
use crate::wire::frame::{self, HEADER_LEN, Header};

/// Messages of a log-in are small; beyond this it is not one.
const MESSAGE_MAX: usize = 1024 * 1024;

/// What the server said after it let the client in.
#[derive(Debug)]
pub struct LoggedIn {
    /// Everything for the client but the key and the first `ReadyForQuery`.
    pub greeting: BytesMut,
    /// `ParameterStatus` messages: names and values.
    pub parameters: Vec<(Vec<u8>, Vec<u8>)>,
    /// The backend's process id.
    pub pid: u32,
    /// Its secret key.
    pub key: Vec<u8>,
    /// What the server sent behind its first `ReadyForQuery`.
    pub rest: BytesMut,
}

/// Why a log-in failed; what the client is told, where it was not told by the server itself.
#[derive(Debug)]
pub enum LoginFailed {
    /// A peer is gone, or the server's own error was passed on.
    Over,
    /// We say why.
    Refused(Report),
}

impl From<std::io::Error> for LoginFailed {
    fn from(_: std::io::Error) -> Self {
        Self::Over
    }
}

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
                Some(0) if challenged || trust == Trust::Believed => return finish(server, input, &frame).await,
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
                return Err(LoginFailed::Over);
            }
            _ => client.write_all(&frame).await?,
        }
        client.flush().await?;
    }
}

/// After `AuthenticationOk`: parameters and the key, up to the first `ReadyForQuery`.
async fn finish(server: &mut Stream, mut input: BytesMut, ok: &Bytes) -> Result<LoggedIn, LoginFailed> {
    let mut greeting = BytesMut::from(&ok[..]);
    let mut parameters = Vec::new();
    let mut backend_key = (0, vec![0; 4]);
    loop {
        let (header, frame) = read_frame(server, &mut input).await?;
        let body = frame.get(HEADER_LEN..).unwrap_or_default();
        match header.tag {
            b'Z' => {
                let (pid, key) = backend_key;
                return Ok(LoggedIn { greeting, parameters, pid, key, rest: input });
            }
            b'K' => {
                let (pid, key) = backend::key_data(body).map_err(|_| LoginFailed::Over)?;
                backend_key = (pid, key.to_vec());
            }
            b'S' => {
                if let Ok((name, value)) = backend::parameter_status(body) {
                    parameters.push((name.to_vec(), value.to_vec()));
                }
                greeting.extend_from_slice(&frame);
            }
            b'E' => return Err(LoginFailed::Refused(passed_on(body))),
            _ => greeting.extend_from_slice(&frame),
        }
    }
}

async fn read_frame(stream: &mut Stream, input: &mut BytesMut) -> Result<(Header, Bytes), LoginFailed> {
    loop {
        let header = frame::backend_header(input).map_err(|_| LoginFailed::Over)?;
        if let Some(header) = header {
            if header.body_len > MESSAGE_MAX {
                return Err(LoginFailed::Over);
            }
            if input.len() >= header.frame_len() {
                return Ok((header, input.split_to(header.frame_len()).freeze()));
            }
        }
        if stream.read_buf(input).await? == 0 {
            return Err(LoginFailed::Over);
        }
    }
}

/// The client's answer to a challenge, exactly one message.
async fn answer(client: &mut Stream, server: &mut Stream) -> Result<(), LoginFailed> {
    client.flush().await?;
    let mut head = [0; HEADER_LEN];
    client.read_exact(&mut head[..1]).await?;
    if let Err(error) = frame::password_header(&head[..1]) {
        return Err(LoginFailed::Refused(Report::new(sqlstate::PROTOCOL_VIOLATION, error.to_string())));
    }
    client.read_exact(&mut head[1..]).await?;
    let header = match frame::password_header(&head) {
        Ok(Some(header)) => header,
        Ok(None) => return Err(LoginFailed::Over),
        Err(error) => return Err(LoginFailed::Refused(Report::new(sqlstate::PROTOCOL_VIOLATION, error.to_string()))),
    };
    let mut body = vec![0; header.body_len];
    client.read_exact(&mut body).await?;
    server.write_all(&head).await?;
    server.write_all(&body).await?;
    server.flush().await?;
    Ok(())
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

/// An error that the server raised after it had let the client in.
fn passed_on(body: &[u8]) -> Report {
    let fields = backend::Fields::new(body);
    let text = |code| fields.field(code).map(|value| String::from_utf8_lossy(value).into_owned());
    let code = sqlstate::SqlState::read(fields.sqlstate()).unwrap_or(sqlstate::CONNECTION_FAILURE);
    Report {
        sqlstate: code,
        message: text(b'M').unwrap_or_else(|| "the server refused the session".into()),
        detail: text(b'D'),
        hint: text(b'H'),
    }
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

/// Sends a FATAL to a client that has no session yet, and closes.
pub async fn refuse(client: &mut Stream, report: &Report) {
    let mut out = BytesMut::new();
    build::report(&mut out, Severity::Fatal, report);
    // A client that is gone cannot be told.
    if client.write_all(&out).await.is_ok() {
        drop(client.shutdown().await);
    }
}
