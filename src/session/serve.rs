//! The straight line of one session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;

use super::memo::Memo;
use super::registry::SessionRow;
use super::relay::{End, Peer};
use super::scribe::Scribe;
use super::settings::Settings;
use super::{Services, Session, Who};
use crate::auth::relay::{self as login, LoggedIn, LoginFailed, Trust};
use crate::catalog::Remembered;
use crate::clock::Timestamp;
use crate::ids::{NAME, SessionId, StatementId};
use crate::lineage::{Event, StatementRecord};
use crate::net::Stream;
use crate::principal::Principal;
use crate::report::Report;
use crate::sqlstate;
use crate::wire::build;
use crate::wire::startup::Parameters;

/// Values of `replication` that ask for an ordinary connection.
const OFF: [&str; 5] = ["false", "off", "no", "0", ""];

/// How long a log-in may take (`authentication_timeout`).
const LOGIN_WAIT: Duration = Duration::from_secs(60);

/// Serves one client from its start-up packet to the end of its session.
pub async fn serve(services: Arc<Services>, mut client: Stream, parameters: Parameters, address: SocketAddr) {
    if let Some(report) = not_served(&services, &parameters) {
        login::refuse(&mut client, &report).await;
        return;
    }
    let Some(server) = reach(&services, &mut client).await else { return };
    let Some((server, greeting)) = log_in(&services, &mut client, server, &parameters, address).await else { return };
    let Ok(mut session) = greet(services, client, server, greeting, &parameters, address).await else { return };
    let end = session.run().await;
    session.wind_up(&end).await;
}

fn not_served(services: &Services, parameters: &Parameters) -> Option<Report> {
    let replication = parameters.text("replication").is_some_and(|value| !OFF.contains(&value.to_lowercase().as_str()));
    if replication {
        let text = "replication connections are not served: they carry whole tables past every rule";
        return Some(Report::new(sqlstate::FEATURE_NOT_SUPPORTED, text).hint("Connect to the upstream itself."));
    }
    let served = services.database.as_deref()?;
    let wanted = database(parameters);
    (wanted != served).then(|| {
        Report::new(sqlstate::INVALID_CATALOG_NAME, format!("database \"{wanted}\" is not served by this proxy"))
            .hint(format!("Connect to database \"{served}\"."))
    })
}

/// The database that a client asks for; its user's name where it names none, as the server has it.
fn database(parameters: &Parameters) -> String {
    let named = parameters.text("database").filter(|name| !name.is_empty());
    named.or_else(|| parameters.text("user")).unwrap_or_default()
}

async fn reach(services: &Services, client: &mut Stream) -> Option<Stream> {
    match services.upstream.connect().await {
        Ok(server) => Some(server),
        Err(error) => {
            let authority = services.upstream.authority();
            let report =
                Report::new(sqlstate::UNABLE_TO_CONNECT, format!("cannot connect to upstream {authority}: {error}"))
                    .hint("Check that the upstream runs and that its address is right.");
            login::refuse(client, &report).await;
            None
        }
    }
}

async fn log_in(
    services: &Services,
    client: &mut Stream,
    mut server: Stream,
    parameters: &Parameters,
    address: SocketAddr,
) -> Option<(Stream, LoggedIn)> {
    let local = address.ip().is_loopback();
    let trust = if local || services.allow_upstream_trust { Trust::Believed } else { Trust::Refused };
    let mut startup = BytesMut::new();
    build::startup(&mut startup, parameters);
    let exchange = async {
        server.write_all(&startup).await?;
        server.flush().await?;
        login::relay(client, &mut server, trust).await
    };
    match tokio::time::timeout(LOGIN_WAIT, exchange).await {
        Ok(Ok(greeting)) => Some((server, greeting)),
        Ok(Err(LoginFailed::Over)) => None,
        Ok(Err(LoginFailed::Refused(report))) => {
            login::refuse(client, &report).await;
            None
        }
        Err(_) => {
            let report = Report::new(sqlstate::INVALID_AUTHORIZATION, "log-in took too long");
            login::refuse(client, &report).await;
            None
        }
    }
}

/// Builds the session and lets the client's first query come.
async fn greet(
    services: Arc<Services>,
    client: Stream,
    server: Stream,
    greeting: LoggedIn,
    parameters: &Parameters,
    address: SocketAddr,
) -> Result<Session, End> {
    let user = parameters.text("user").unwrap_or_default();
    let database = database(parameters);
    let who = Who {
        principal: principal(&services.principals, &user),
        environment: services.environment.clone(),
        client: Some(address),
        database,
    };
    let row = SessionRow {
        id: SessionId::new(),
        user,
        database: who.database.clone(),
        client: Some(address),
        application_name: parameters.text("application_name").unwrap_or_default(),
        since: services.clock.now(),
        backend_pid: greeting.pid,
        holding: false,
    };
    let scribe = Scribe::new(template(&services, &who, &row), services.clone());
    let backend = (services.upstream.clone(), greeting.pid, greeting.key.clone());
    let (registration, secret) = services.registry.enter(row, backend.clone());
    let mut settings = Settings::from_startup(parameters);
    for (name, value) in &greeting.parameters {
        settings.server_reports(name, value);
    }
    let mut session = Session {
        services,
        who,
        registration,
        client: Peer::new(client),
        server: Peer::new(server),
        client_want: 0,
        phase: super::phase::Phase::default(),
        watch: super::watch::Watch::default(),
        names: super::names::Names::default(),
        settings,
        scribe,
        snapshot: None,
        private: false,
        private_base: 0,
        has_own: false,
        changed: false,
        own_changed: false,
        wrote: false,
        plans: None,
        own: Remembered::default(),
        expecting: Vec::new(),
        decided: Memo::default(),
        looked_up_at: Timestamp::from_micros(0),
        transaction_since: None,
        released: Vec::new(),
        backend,
        cancel_requested: false,
        draining: false,
        killed: None,
    };
    session.scribe.claims(&session.settings);
    session.server.input = greeting.rest;
    session.client.output = greeting.greeting;
    build::key_data(&mut session.client.output, greeting.pid, &secret);
    // Asked before the first query, so that no question of ours comes between BEGIN and what follows it.
    session.learn_names().await?;
    build::ready(&mut session.client.output, b'I');
    Ok(session)
}

impl Session {
    async fn run(&mut self) -> End {
        loop {
            if let Err(end) = self.next_frame().await {
                return end;
            }
        }
    }
}

fn principal(principals: &[Principal], role: &str) -> Principal {
    let known = principals.iter().find(|principal| principal.role == role).cloned();
    known.unwrap_or_else(|| Principal { name: role.to_owned(), role: role.to_owned(), ..Principal::default() })
}

fn template(services: &Services, who: &Who, row: &SessionRow) -> StatementRecord {
    let mut record = StatementRecord::new(StatementId::new(), Event::Closed);
    record.session = Some(row.id);
    record.application_name = Some(row.application_name.clone());
    record.client = row.client.map(|address| address.to_string());
    record.principal = Some(who.principal.clone());
    record.upstream = Some(services.upstream.authority());
    record.database = Some(who.database.clone());
    record
}

/// Whether a start-up packet asks for the admin database.
#[must_use]
pub fn wants_admin(parameters: &Parameters) -> bool {
    parameters.get("database").is_some_and(|database| database == NAME.as_bytes())
}
