//! Accepts clients and leads each to where it wants: a session, the admin database, or a cancel.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::auth::relay;
use crate::control::Control;
use crate::frontend::startup::{self, Opening};
use crate::net::{self, Stream};
use crate::report::Report;
use crate::session::Services;
use crate::session::serve;
use crate::sqlstate;
use crate::telemetry::SessionGauge;
use crate::wire::startup::Parameters;

/// How long a client may take until its start-up packet is here (`authentication_timeout`).
const STARTUP_WAIT: Duration = Duration::from_secs(60);

/// After a failed accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every connection needs.
#[derive(Clone)]
pub(super) struct Front {
    pub(super) services: Arc<Services>,
    pub(super) control: Control,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) sessions_max: usize,
}

/// Accepts until stopped.
pub(super) async fn accept(listener: TcpListener, front: Front, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(front.sessions_max));
    loop {
        // Cancel-safe: an accept that is dropped has accepted nothing.
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, address)) => {
                tokio::spawn(connection(socket, address, front.clone(), places.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(socket: TcpStream, address: SocketAddr, front: Front, places: Arc<Semaphore>) {
    if net::configure(&socket).is_err() {
        return;
    }
    let opening = tokio::time::timeout(STARTUP_WAIT, startup::accept(socket, front.tls.as_ref())).await;
    match opening {
        Ok(Ok(Opening::Session(stream, parameters))) => session(stream, parameters, address, front, places).await,
        Ok(Ok(Opening::Cancel(stream, pid, key))) => {
            cancel(&front.services, pid, &key).await;
            drop(stream);
        }
        Ok(Err(error)) => tracing::debug!(%address, %error, "no session"),
        Err(_) => tracing::debug!(%address, "start-up took too long"),
    }
}

async fn session(
    mut stream: Stream,
    parameters: Parameters,
    address: SocketAddr,
    front: Front,
    places: Arc<Semaphore>,
) {
    if serve::wants_admin(&parameters) {
        if let Err(error) = admin::serve(stream, &parameters, front.control).await {
            tracing::debug!(%address, %error, "an operator's connection ended early");
        }
        return;
    }
    let Ok(_place) = places.try_acquire() else {
        let report = Report::new(sqlstate::TOO_MANY_CONNECTIONS, "sorry, too many clients already");
        relay::refuse(&mut stream, &report).await;
        return;
    };
    let _gauge = SessionGauge::enter();
    serve::serve(front.services, stream, parameters, address).await;
}

/// Delivers a cancel; the client's connection closes once that is done.
async fn cancel(services: &Services, pid: u32, key: &[u8]) {
    let Some((upstream, pid, key)) = services.registry.cancel(pid, key) else { return };
    if let Err(error) = upstream.cancel(pid, &key).await {
        tracing::warn!(%error, "a cancel could not be delivered");
    }
}
