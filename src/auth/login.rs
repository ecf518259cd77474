//! What every log-in has in common: its messages, its end, and what a server says once a client is in.

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
/// What a server may say between `AuthenticationOk` and its first `ReadyForQuery`, bytes.
const GREETING_MAX: usize = 4 * 1024 * 1024;

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
    /// The server's own error was passed on, and says that the credential is wrong.
    Denied,
    /// We say why.
    Refused(Report),
}

impl From<std::io::Error> for LoginFailed {
    fn from(_: std::io::Error) -> Self {
        Self::Over
    }
}

impl LoginFailed {
    /// Whether somebody may be guessing credentials.
    #[must_use]
    pub fn is_a_guess(&self) -> bool {
        match self {
            Self::Over => false,
            Self::Denied => true,
            Self::Refused(report) => report.sqlstate == sqlstate::INVALID_PASSWORD,
        }
    }

    pub(super) fn protocol(text: &str) -> Self {
        Self::Refused(Report::new(sqlstate::PROTOCOL_VIOLATION, text))
    }
}

/// After `AuthenticationOk`, which is in `greeting`: parameters and the key, up to the first `ReadyForQuery`. An error of
/// the server's reaches the client as it is, with what came before it.
pub(super) async fn greeted(
    client: &mut Stream,
    server: &mut Stream,
    mut input: BytesMut,
    mut greeting: BytesMut,
) -> Result<LoggedIn, LoginFailed> {
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
            b'E' => {
                greeting.extend_from_slice(&frame);
                client.write_all(&greeting).await?;
                client.flush().await?;
                return Err(LoginFailed::Over);
            }
            _ => greeting.extend_from_slice(&frame),
        }
        if greeting.len() > GREETING_MAX {
            return Err(LoginFailed::Over);
        }
    }
}

/// The server's next message.
pub(super) async fn read_frame(stream: &mut Stream, input: &mut BytesMut) -> Result<(Header, Bytes), LoginFailed> {
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

/// The client's answer to a challenge, exactly one message: the whole frame.
pub(super) async fn read_answer(client: &mut Stream) -> Result<Vec<u8>, LoginFailed> {
    client.flush().await?;
    let mut frame = vec![0; HEADER_LEN];
    let (tag, length) = frame.split_at_mut(1);
    client.read_exact(tag).await?;
    if let Err(error) = frame::password_header(tag) {
        return Err(LoginFailed::protocol(&error.to_string()));
    }
    client.read_exact(length).await?;
    let header = match frame::password_header(&frame) {
        Ok(Some(header)) => header,
        Ok(None) => return Err(LoginFailed::Over),
        Err(error) => return Err(LoginFailed::protocol(&error.to_string())),
    };
    frame.resize(header.frame_len(), 0);
    client.read_exact(frame.get_mut(HEADER_LEN..).unwrap_or_default()).await?;
    Ok(frame)
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
