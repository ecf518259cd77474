//! From an accepted socket to a start-up packet: `SSLRequest`, `GSSENCRequest`, direct TLS, cancel.

use bytes::BytesMut;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::net::Stream;
use crate::net::tls::ServerTls;
use crate::report::Report;
use crate::sqlstate;
use crate::wire::build::{self, Severity};
use crate::wire::startup::{self as packet, Parameters, Startup, StartupError};

/// The first byte of a TLS record: a client that speaks TLS at once.
const TLS_HANDSHAKE: u8 = 0x16;

/// What a new connection turned out to be.
#[derive(Debug)]
pub enum Opening {
    /// A session, TLS already done.
    Session(Stream, Parameters),
    /// A request to cancel; the stream stays open until the cancel was delivered.
    Cancel(Stream, u32, Vec<u8>),
}

/// Why a connection ends before it is a session.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// The peer went away or the socket failed.
    #[error("connection lost during start-up: {0}")]
    Io(#[from] io::Error),
    /// A packet that cannot be served.
    #[error("{0}")]
    Packet(#[from] StartupError),
    /// Clear text behind a request for encryption: somebody in the middle could have put it there (CVE-2021-23214).
    #[error("received unencrypted data after SSL request")]
    ClearText,
    /// The same behind a request for GSSAPI encryption.
    #[error("received unencrypted data after GSSAPI encryption request")]
    ClearTextAfterGss,
    /// A second request for the same encryption.
    #[error("repeated request for encryption")]
    Repeated,
    /// TLS from the first byte, and no certificate is configured.
    #[error("TLS is not configured")]
    NoTls,
    /// TLS from the first byte, by a client that does not name the protocol.
    #[error("direct TLS without the ALPN protocol name")]
    NoAlpn,
}

/// Reads first packets until one opens a session or cancels. A client that breaks the rules gets a FATAL where it can
/// read one and the server would send it, and the connection ends.
///
/// # Errors
/// The connection is over.
pub async fn accept(socket: TcpStream, tls: Option<&ServerTls>) -> Result<Opening, OpeningError> {
    let mut stream = match first_byte(&socket).await? {
        TLS_HANDSHAKE => direct(socket, tls.ok_or(OpeningError::NoTls)?).await?,
        _ => Stream::Tcp(socket),
    };
    let mut asked_gss = false;
    loop {
        match read_packet(&mut stream).await {
            Ok(Startup::Session(parameters)) => return Ok(Opening::Session(stream, parameters)),
            Ok(Startup::Cancel { pid, key }) => return Ok(Opening::Cancel(stream, pid, key)),
            Ok(Startup::GssEnc) if !asked_gss => {
                asked_gss = true;
                if has_more(&stream)? {
                    return refuse(stream, OpeningError::ClearTextAfterGss).await;
                }
                stream.write_all(b"N").await?;
            }
            Ok(Startup::Ssl) if !stream.is_tls() => stream = answer_ssl(stream, tls).await?,
            Ok(Startup::Ssl | Startup::GssEnc) => return refuse(stream, OpeningError::Repeated).await,
            Err(error @ OpeningError::Packet(StartupError::Length)) => return hang_up(stream, error).await,
            Err(error @ OpeningError::Packet(_)) => return refuse(stream, error).await,
            Err(error) => return Err(error),
        }
    }
}

async fn first_byte(socket: &TcpStream) -> io::Result<u8> {
    let mut byte = [0];
    match socket.peek(&mut byte).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(byte[0]),
    }
}

async fn read_packet(stream: &mut Stream) -> Result<Startup, OpeningError> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let length = packet::packet_len(head)?;
    let mut body = vec![0; length.saturating_sub(4)];
    stream.read_exact(&mut body).await?;
    Ok(packet::read(&body)?)
}

/// Answers an `SSLRequest`. Nothing was read beyond the packet, so bytes that a peer sent in clear behind it are still
/// in the socket: with TLS they fail the handshake, and before the answer they are refused outright.
async fn answer_ssl(stream: Stream, tls: Option<&ServerTls>) -> Result<Stream, OpeningError> {
    if has_more(&stream)? {
        return refuse(stream, OpeningError::ClearText).await;
    }
    let Stream::Tcp(mut socket) = stream else { return Err(OpeningError::Repeated) };
    let Some(tls) = tls else {
        socket.write_all(b"N").await?;
        return Ok(Stream::Tcp(socket));
    };
    socket.write_all(b"S").await?;
    encrypt(socket, tls).await
}

/// Whether the peer has sent more than it was asked for, in clear.
fn has_more(stream: &Stream) -> io::Result<bool> {
    let Stream::Tcp(socket) = stream else { return Ok(false) };
    match socket.try_read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(true),
    }
}

/// TLS without a request for it. Postgres takes it only from a client that names the protocol, so that no other one (such
/// as HTTP in a browser) can be made to speak to it.
async fn direct(socket: TcpStream, tls: &ServerTls) -> Result<Stream, OpeningError> {
    let stream = encrypt(socket, tls).await?;
    if stream.names_protocol() { Ok(stream) } else { Err(OpeningError::NoAlpn) }
}

async fn encrypt(socket: TcpStream, tls: &ServerTls) -> Result<Stream, OpeningError> {
    let stream = TlsAcceptor::from(tls.config.clone()).accept(socket).await?;
    Ok(Stream::TlsServer(Box::new(stream), tls.binding.clone()))
}

/// What has no length is no packet, and its sender need not speak the protocol: Postgres ends the connection without a
/// word. A driver that gives up before its start-up packet sends a Terminate, which is read so.
async fn hang_up<T>(mut stream: Stream, error: OpeningError) -> Result<T, OpeningError> {
    // What is here already is taken, or the peer would be told of a reset.
    if let Stream::Tcp(socket) = &stream {
        drop(socket.try_read(&mut [0; 1024]));
    }
    stream.shutdown().await?;
    Err(error)
}

async fn refuse<T>(mut stream: Stream, error: OpeningError) -> Result<T, OpeningError> {
    let mut out = BytesMut::new();
    let sqlstate = match error {
        OpeningError::Packet(StartupError::Version(..)) => sqlstate::FEATURE_NOT_SUPPORTED,
        OpeningError::Packet(StartupError::NoUser) => sqlstate::INVALID_AUTHORIZATION,
        _ => sqlstate::PROTOCOL_VIOLATION,
    };
    build::report(&mut out, Severity::Fatal, &Report::new(sqlstate, error.to_string()));
    stream.write_all(&out).await?;
    stream.shutdown().await?;
    Err(error)
}
