//! Socket Mode: clicks come over a WebSocket that we open, where Slack has no way in.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls_platform_verifier::ConfigVerifierExt;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::sync::CancellationToken;

use super::answer::Interactions;
use super::api::Api;
use crate::notify::{Reach, Retry};

/// Slack pings more often than this; a silent connection is dead.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// How long a connection may take to open.
const OPEN_MAX: Duration = Duration::from_secs(15);
/// The longest message that is read, bytes.
const MESSAGE_MAX: usize = 1024 * 1024;
/// Between connections that fail.
const PAUSES: Retry = Retry { first: Duration::from_secs(1), most: Duration::from_secs(60), attempts_max: u32::MAX };

/// One app's socket.
pub struct Socket {
    /// The API with the app's token (`xapp-`).
    pub api: Api,
    /// Whether Slack stands in a private network: in tests, and behind gateways.
    pub reach: Reach,
    /// Where clicks end up.
    pub interactions: Interactions,
}

#[derive(Debug, thiserror::Error)]
enum SocketError {
    #[error(transparent)]
    Slack(#[from] super::SlackError),
    #[error("the address of the socket is not usable")]
    Address,
    #[error("the socket: {0}")]
    Io(#[from] std::io::Error),
    #[error("the socket: {0}")]
    Protocol(Box<Error>),
    #[error("TLS: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
    #[error("the socket was silent for too long")]
    Silent,
}

impl From<Error> for SocketError {
    fn from(error: Error) -> Self {
        Self::Protocol(Box::new(error))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Socket {
    /// Connects, and connects again, until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut failures = 0_u32;
        loop {
            // Cancel-safe: a click that was not acknowledged is sent again over the next connection.
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.connection() => ended,
            };
            failures = match ended {
                Ok(()) => 0,
                Err(error) => {
                    tracing::warn!(%error, "the connection to Slack ended");
                    failures.saturating_add(1)
                }
            };
            if failures > 0 {
                // Cancel-safe: both only wait.
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(PAUSES.pause(failures, None)) => {}
                }
            }
        }
    }

    /// One connection, until Slack asks for another.
    async fn connection(&self) -> Result<(), SocketError> {
        let opened = self.api.ask("apps.connections.open", &[]).await?;
        let url = opened.get("url").and_then(Value::as_str).ok_or(SocketError::Address)?;
        let opening = tokio::time::timeout(OPEN_MAX, open(url, self.reach)).await;
        let mut socket = opening.map_err(|_| SocketError::Silent)??;
        loop {
            let message = tokio::time::timeout(SILENCE_MAX, socket.next()).await.map_err(|_| SocketError::Silent)?;
            match message {
                None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed) | Ok(Message::Close(_))) => {
                    return Ok(());
                }
                Some(Ok(Message::Text(text))) => {
                    let Ok(envelope) = serde_json::from_str::<Value>(&text) else { continue };
                    if self.envelope(&mut socket, &envelope).await? == After::Reconnect {
                        return Ok(());
                    }
                }
                // Pings are answered by the library when the socket is polled again.
                Some(Ok(_)) => socket.flush().await?,
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// Acknowledges once it is on disk, works afterwards. What cannot be worked on now is not acknowledged, so that it is sent
    /// again.
    async fn envelope(
        &self,
        socket: &mut WebSocketStream<Box<dyn Stream>>,
        envelope: &Value,
    ) -> Result<After, SocketError> {
        let text = |name: &str| envelope.get(name).and_then(Value::as_str).unwrap_or_default();
        match text("type") {
            "disconnect" => return Ok(After::Reconnect),
            "interactive" => {
                let taken = match envelope.get("payload") {
                    Some(payload) => self.interactions.take(payload).await,
                    None => Ok(()),
                };
                if taken.is_err() {
                    return Ok(After::Continue);
                }
            }
            _ => {}
        }
        if let id @ [_, ..] = text("envelope_id").as_bytes() {
            let id = String::from_utf8_lossy(id);
            socket.send(Message::text(json!({"envelope_id": id}).to_string())).await?;
        }
        Ok(After::Continue)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Continue,
    Reconnect,
}

/// Opens a socket: with TLS, or in clear where Slack stands in a private network.
async fn open(url: &str, reach: Reach) -> Result<WebSocketStream<Box<dyn Stream>>, SocketError> {
    let parsed = reqwest::Url::parse(url).map_err(|_| SocketError::Address)?;
    let host = parsed.host_str().ok_or(SocketError::Address)?.trim_matches(['[', ']']).to_owned();
    let default = if parsed.scheme() == "wss" { 443 } else { 80 };
    let tcp = TcpStream::connect((host.as_str(), parsed.port().unwrap_or(default))).await?;
    tcp.set_nodelay(true)?;
    let stream: Box<dyn Stream> = match (parsed.scheme(), reach) {
        ("wss", _) => {
            let config = Arc::new(ClientConfig::with_platform_verifier()?);
            let name = rustls_pki_types::ServerName::try_from(host).map_err(|_| SocketError::Address)?;
            Box::new(TlsConnector::from(config).connect(name, tcp).await?)
        }
        ("ws", Reach::Private) => Box::new(tcp),
        _ => return Err(SocketError::Address),
    };
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX)).max_frame_size(Some(MESSAGE_MAX));
    let (socket, _) = client_async_with_config(url, stream, Some(config)).await?;
    Ok(socket)
}
