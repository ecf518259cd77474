//! Accepts clients and leads each to where it wants: a session, the admin database, or a cancel.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, AdminError};
use crate::auth::login::{self, LoginFailed};
use crate::auth::queue::Place;
use crate::control::Control;
use crate::frontend::startup::{self, Opening};
use crate::net::tls::ServerTls;
use crate::net::{self, Stream};
use crate::report::Report;
use crate::session::Services;
use crate::session::serve;
use crate::sqlstate;
use crate::wire::startup::Parameters;

/// After a failed accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is expected at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Clients, and operators in their database.
    Both,
    /// Clients: operators have a listener of their own.
    Clients,
    /// Operators.
    Operators,
}

/// What every connection needs.
#[derive(Clone)]
pub(super) struct Front {
    pub(super) services: Arc<Services>,
    pub(super) control: Control,
    pub(super) tls: Arc<ArcSwapOption<ServerTls>>,
    pub(super) door: Door,
    /// How long a client may leave unread what waits for it.
    pub(super) unread_max: Duration,
}

/// Accepts until stopped.
pub(super) async fn accept(listener: TcpListener, front: Front, stop: CancellationToken) {
    loop {
        // Cancel-safe: an accept that is dropped has accepted nothing.
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, address)) => {
                tokio::spawn(connection(socket, address, front.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(socket: TcpStream, address: SocketAddr, front: Front) {
    if net::configure_client(&socket, front.unread_max).is_err() {
        return;
    }
    let place = front.services.gate.enter(address);
    let tls = front.tls.load_full();
    match place.within(Box::pin(startup::accept(socket, tls.as_deref()))).await {
        Ok(Ok(Opening::Session(stream, parameters))) => {
            place.has_spoken();
            session(stream, parameters, (address, place), front).await;
        }
        Ok(Ok(Opening::Cancel(mut stream, pid, key))) => {
            if let Err(late) = place.within(cancel(&front.services, pid, &key)).await {
                tracing::debug!(%address, %late, "a cancel was not delivered");
            }
            // The client waits for the end, and over TLS for a proper one.
            drop(stream.shutdown().await);
        }
        Ok(Err(error)) => tracing::debug!(%address, %error, "no session"),
        Err(late) => tracing::debug!(%address, %late, "no session"),
    }
}

async fn session(mut stream: Stream, parameters: Parameters, (address, place): (SocketAddr, Place), front: Front) {
    let report = match (serve::wants_admin(&parameters), front.door) {
        (false, Door::Both | Door::Clients) => {
            serve::serve(front.services, stream, parameters, address, place).await;
            return;
        }
        (true, Door::Both | Door::Operators) => {
            Box::pin(operator(stream, parameters, (address, place), front)).await;
            return;
        }
        (true, Door::Clients) => Report::new(sqlstate::INVALID_AUTHORIZATION, "operators have an address of their own")
            .hint("Connect to the address that admin.listen names."),
        (false, Door::Operators) => {
            Report::new(sqlstate::INVALID_CATALOG_NAME, "only operators are served at this address")
                .hint(format!("Connect to database {}, or to the address for clients.", crate::ids::NAME))
        }
    };
    login::refuse(&mut stream, &report).await;
}

async fn operator(mut stream: Stream, parameters: Parameters, (address, place): (SocketAddr, Place), front: Front) {
    if let Err(LoginFailed::Refused(report)) = front.services.gate.check(address) {
        login::refuse(&mut stream, &report).await;
        return;
    }
    // The log-in of an operator has a time of its own.
    drop(place);
    match admin::serve(stream, &parameters, front.control).await {
        Ok(()) => {}
        Err(error) => {
            if matches!(error, AdminError::Refused(_)) {
                front.services.gate.guessed(address);
            }
            tracing::debug!(%address, %error, "an operator's connection ended early");
        }
    }
}

/// Delivers a cancel. A wrong key does nothing.
async fn cancel(services: &Services, pid: u32, key: &[u8]) {
    let Some((upstream, pid, key)) = services.registry.cancel(pid, key) else { return };
    if let Err(error) = upstream.cancel(pid, &key).await {
        tracing::warn!(%error, "a cancel could not be delivered");
    }
}
