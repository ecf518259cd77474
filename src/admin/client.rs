//! The connection of one operator: whole frames in, buffered messages out.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::report::Report;
use crate::sqlstate;
use crate::wire::frame::{FrameError, Header};
use crate::wire::{build, frame};

/// The longest frame that is read, bytes.
pub(super) const FRAME_MAX: usize = 64 * 1024;
/// Answers are written once they are this long, bytes.
const OUT_MAX: usize = 64 * 1024;

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The client closed without a word.
    #[error("the client closed the connection")]
    Closed,
    /// Bytes that are no protocol, or a frame over its bound.
    #[error("protocol violation: {0}")]
    Protocol(&'static str),
    /// The log-in was refused.
    #[error("log-in refused: {0}")]
    Refused(&'static str),
}

/// A frame of the client's.
pub(super) struct Message {
    pub(super) tag: u8,
    pub(super) body: BytesMut,
}

/// What the log-in and the session share.
pub(super) struct Client<S> {
    stream: S,
    input: BytesMut,
    /// Messages that are not written yet.
    pub(super) out: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, input: BytesMut::new(), out: BytesMut::new() }
    }

    /// The next frame of a client that is logged in.
    pub(super) async fn message(&mut self) -> Result<Message, AdminError> {
        self.read(frame::frontend_header).await
    }

    /// The next frame of a client that logs in.
    pub(super) async fn password(&mut self) -> Result<Message, AdminError> {
        self.read(frame::password_header).await
    }

    async fn read(&mut self, header: fn(&[u8]) -> Result<Option<Header>, FrameError>) -> Result<Message, AdminError> {
        loop {
            match header(&self.input) {
                Ok(Some(header)) if header.frame_len() > FRAME_MAX => {
                    let report = Report::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "the message is too long");
                    return Err(self.end(&report, AdminError::Protocol("a message over its bound")).await);
                }
                Ok(Some(header)) if self.input.len() >= header.frame_len() => {
                    let mut body = self.input.split_to(header.frame_len());
                    let _head = body.split_to(frame::HEADER_LEN);
                    return Ok(Message { tag: header.tag, body });
                }
                Ok(_) => self.fill().await?,
                Err(_) => {
                    let report = Report::new(sqlstate::PROTOCOL_VIOLATION, "invalid frontend message");
                    return Err(self.end(&report, AdminError::Protocol("a message that is none")).await);
                }
            }
        }
    }

    async fn fill(&mut self) -> Result<(), AdminError> {
        if self.stream.read_buf(&mut self.input).await? == 0 { Err(AdminError::Closed) } else { Ok(()) }
    }

    /// Writes what is buffered, if it is much.
    pub(super) async fn relieve(&mut self) -> Result<(), AdminError> {
        if self.out.len() >= OUT_MAX { self.flush().await } else { Ok(()) }
    }

    /// Writes what is buffered.
    pub(super) async fn flush(&mut self) -> Result<(), AdminError> {
        self.stream.write_all(&self.out).await?;
        self.out.clear();
        Ok(self.stream.flush().await?)
    }

    /// Says why the connection ends; the error that it ends with.
    pub(super) async fn end(&mut self, report: &Report, error: AdminError) -> AdminError {
        build::report(&mut self.out, build::Severity::Fatal, report);
        match self.flush().await {
            Ok(()) => error,
            Err(unsaid) => unsaid,
        }
    }
}
