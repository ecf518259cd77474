//! The Postgres driver over a connection of ours, which has done its TLS already.

use std::convert::Infallible;
use std::future::{Ready, ready};

use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, Error, NoTls};

use crate::net::Stream;

/// Logs in over a stream. Where it is encrypted the log-in is bound to its certificate, as far as the server can.
///
/// # Errors
/// The server refuses, or goes away.
pub(super) async fn start(stream: Stream, mut config: Config) -> Result<Client, Error> {
    if !stream.is_tls() {
        let (client, driver) = config.connect_raw(stream, NoTls).await?;
        // The driver ends with its client; what it reports is seen by the next question.
        tokio::spawn(async move { drop(driver.await) });
        return Ok(client);
    }
    // Told that TLS begins at once, the driver asks the connector for it and not the server.
    config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
    let (client, driver) = config.connect_raw(stream, Done).await?;
    tokio::spawn(async move { drop(driver.await) });
    Ok(client)
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
