//! Connections to an upstream: TCP or Unix socket, TLS by libpq's `sslmode`.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use crate::net::{self, Stream};
use crate::wire::build;

/// Whether a connection is encrypted (libpq's `sslmode`, less what is checked of the certificate).
#[derive(Clone, Debug, Default)]
pub enum Encryption {
    /// Never.
    #[default]
    Never,
    /// Where the server offers it.
    Prefer(Arc<ClientConfig>),
    /// Or no connection.
    Require(Arc<ClientConfig>),
}

/// A Postgres that we connect to.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// A host name, an address, or the directory of a Unix socket (it begins with a slash).
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is encrypted; not over Unix sockets.
    pub encryption: Encryption,
    /// The address to connect to instead of looking the host up (libpq's `hostaddr`).
    pub address: Option<IpAddr>,
    /// How TLS begins (libpq's `sslnegotiation`).
    pub negotiation: Negotiation,
    /// How long connecting may take.
    pub timeout: Duration,
}

/// How TLS begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Negotiation {
    /// With an `SSLRequest` and its answer.
    #[default]
    Asked,
    /// With the first byte (Postgres 17 and later).
    Direct,
}

/// Why an upstream cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The socket failed, or TLS did.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// It offers no encryption and the configuration requires it.
    #[error("the server does not support SSL, but SSL was required")]
    NoTls,
    /// It answered an `SSLRequest` with something else than S or N.
    #[error("the server sent an invalid response to SSL negotiation")]
    Negotiation,
}

impl Upstream {
    /// The upstream as `host:port`.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        self.host.starts_with('/')
    }

    /// Opens a connection, encrypted as configured.
    ///
    /// # Errors
    /// It cannot be reached, or not in the configured way.
    pub async fn connect(&self) -> Result<Stream, ConnectError> {
        match tokio::time::timeout(self.timeout, self.open()).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout(self.timeout)),
        }
    }

    /// Delivers a `CancelRequest`; returns once the server has closed the connection, which it does after it has
    /// signalled the backend.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn cancel(&self, pid: u32, key: &[u8]) -> Result<(), ConnectError> {
        let delivery = async {
            let mut stream = self.open().await?;
            let mut packet = BytesMut::new();
            build::cancel_request(&mut packet, pid, key);
            stream.write_all(&packet).await?;
            stream.flush().await?;
            let mut rest = [0; 64];
            while matches!(stream.read(&mut rest).await, Ok(count) if count > 0) {}
            Ok(())
        };
        match tokio::time::timeout(self.timeout, delivery).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout(self.timeout)),
        }
    }

    async fn open(&self) -> Result<Stream, ConnectError> {
        if self.is_unix() {
            let path = PathBuf::from(&self.host).join(format!(".s.PGSQL.{}", self.port));
            return Ok(Stream::Unix(UnixStream::connect(path).await?));
        }
        let socket = match self.address {
            Some(address) => TcpStream::connect((address, self.port)).await?,
            None => TcpStream::connect((self.host.as_str(), self.port)).await?,
        };
        net::configure(&socket)?;
        match &self.encryption {
            Encryption::Require(config) if self.negotiation == Negotiation::Direct => {
                let stream = self.encrypt(socket, config).await?;
                // Without it another service could be made to read our bytes as its own protocol.
                if stream.names_protocol() { Ok(stream) } else { Err(ConnectError::Negotiation) }
            }
            Encryption::Never => Ok(Stream::Tcp(socket)),
            Encryption::Prefer(config) => self.negotiate(socket, config, Refused::GoOn).await,
            Encryption::Require(config) => self.negotiate(socket, config, Refused::Fail).await,
        }
    }

    async fn negotiate(
        &self,
        mut socket: TcpStream,
        config: &Arc<ClientConfig>,
        refused: Refused,
    ) -> Result<Stream, ConnectError> {
        let mut request = BytesMut::new();
        build::ssl_request(&mut request);
        socket.write_all(&request).await?;
        match (socket.read_u8().await?, refused) {
            (b'S', _) => self.encrypt(socket, config).await,
            (b'N', Refused::GoOn) => Ok(Stream::Tcp(socket)),
            (b'N', Refused::Fail) => Err(ConnectError::NoTls),
            _ => Err(ConnectError::Negotiation),
        }
    }

    async fn encrypt(&self, socket: TcpStream, config: &Arc<ClientConfig>) -> Result<Stream, ConnectError> {
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config.clone()).connect(name, socket).await?;
        Ok(Stream::TlsClient(Box::new(stream)))
    }
}

#[derive(Clone, Copy)]
enum Refused {
    GoOn,
    Fail,
}
