//! One byte stream, whatever carries it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{client, server};

/// How long an idle peer may be silent before the kernel asks whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A connection to a client or to an upstream.
#[derive(Debug)]
pub enum Stream {
    /// Clear text over TCP.
    Tcp(TcpStream),
    /// A Unix-domain socket.
    Unix(UnixStream),
    /// TLS in which we are the server, and the channel binding of the certificate that was shown.
    TlsServer(Box<server::TlsStream<TcpStream>>, Option<Arc<[u8]>>),
    /// TLS in which we are the client.
    TlsClient(Box<client::TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether bytes are encrypted on the wire.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::TlsServer(..) | Self::TlsClient(_))
    }

    /// What SCRAM binds to: the hash of the certificate that the server's side has shown (`tls-server-end-point`).
    #[must_use]
    pub fn binding(&self) -> Option<Vec<u8>> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => None,
            Self::TlsServer(_, binding) => binding.as_ref().map(|binding| binding.to_vec()),
            Self::TlsClient(stream) => super::end_point(stream.get_ref().1.peer_certificates()?.first()?),
        }
    }

    /// The certificate that a client has shown and that an authority of ours has signed.
    #[must_use]
    pub fn client_certificate(&self) -> Option<CertificateDer<'static>> {
        match self {
            Self::TlsServer(stream, _) => {
                stream.get_ref().1.peer_certificates()?.first().map(|found| found.clone().into_owned())
            }
            Self::Tcp(_) | Self::Unix(_) | Self::TlsClient(_) => None,
        }
    }

    /// Whether the peers agreed on Postgres's protocol by its ALPN name.
    #[must_use]
    pub fn names_protocol(&self) -> bool {
        let name = match self {
            Self::Tcp(_) | Self::Unix(_) => None,
            Self::TlsServer(stream, _) => stream.get_ref().1.alpn_protocol(),
            Self::TlsClient(stream) => stream.get_ref().1.alpn_protocol(),
        };
        name == Some(super::tls::ALPN)
    }
}

/// No delay for small frames, and an end for dead peers. A peer that lives and reads nothing is waited for: a server may wait
/// for a lock in the middle of a COPY.
///
/// # Errors
/// The operating system refuses an option.
pub fn configure(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream)
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(Duration::from_secs(10)))
}

/// The same for a client, and an end for one that takes nothing of what waits for it for so long: it keeps a backend at
/// work, with its locks and its snapshot.
///
/// # Errors
/// The operating system refuses an option.
pub fn configure_client(stream: &TcpStream, unread_max: Duration) -> io::Result<()> {
    configure(stream)?;
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_user_timeout(Some(unread_max))?;
    Ok(())
}

macro_rules! on_stream {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
            Stream::TlsServer($stream, _) => $call,
            Stream::TlsClient($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on_stream!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_client_has_its_time_to_read_and_an_upstream_all_that_it_wants() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (client, _) = listener.accept().await.unwrap();
        configure(&upstream).unwrap();
        configure_client(&client, Duration::from_secs(7)).unwrap();
        let timeout = |stream: &TcpStream| SockRef::from(stream).tcp_user_timeout().unwrap();
        assert_eq!(timeout(&upstream), None);
        assert_eq!(timeout(&client), Some(Duration::from_secs(7)));
    }
}
