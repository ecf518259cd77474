//! The Postgres driver over a connection of ours, which has done its TLS already.

use std::convert::Infallible;
use std::future::{Ready, ready};

use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, Connection, Error};

use crate::net::Stream;

/// Logs in over a stream. Where it is encrypted the log-in is bound to its certificate, as far as the server can.
///
/// # Errors
/// The server refuses, or goes away.
pub(super) async fn start(stream: Stream, mut config: Config) -> Result<(Client, Connection<Stream, Stream>), Error> {
    if stream.is_tls() {
        // Told that TLS begins at once, the driver asks the connector for it and not the server.
        config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
    } else {
        config.ssl_mode(SslMode::Disable);
    }
    config.connect_raw(stream, Done).await
}

/// TLS that is there already.
struct Done;

impl TlsConnect<Stream> for Done {
    type Stream = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn connect(self, stream: Stream) -> Self::Future {
        ready(Ok(stream))
    }
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        self.binding().map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}
