//! The straight line of one session.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::sync::OwnedSemaphorePermit;

use super::foreseen::Foreseen;
use super::memo::Memo;
use super::recall::Recall;
use super::registry::{Activity, SessionRow};
use super::relay::{End, Peer};
use super::scribe::Scribe;
use super::settings::Settings;
use super::walsender::Channel;
use super::{Services, Session, Who};
use crate::auth::gate::{Admission, Caller};
use crate::auth::login::{self, LoggedIn, LoginFailed};
use crate::auth::queue::{Late, Place};
use crate::auth::relay::{self, Trust};
use crate::auth::upstream;
use crate::backend::connect::Upstream;
use crate::catalog::Remembered;
use crate::clock::Timestamp;
use crate::ids::{NAME, SessionId, StatementId};
use crate::lineage::{Event, StatementRecord};
use crate::net::Stream;
use crate::principal::Principal;
use crate::report::Report;
use crate::sqlstate;
use crate::telemetry::SessionGauge;
use crate::wire::build;
use crate::wire::startup::Parameters;

/// What client rules call the database of those who replicate the whole server.
const ALL_DATABASES: &str = "replication";

/// Bytes of a name; what follows is cut off.
const NAME_MAX: usize = 63;

/// A client whose log-in is done.
struct Entered {
    principal: Principal,
    server: Stream,
    greeting: LoggedIn,
    /// Where its backend is.
    upstream: Upstream,
    /// One of the sessions that there may be; given back with the session.
    seat: OwnedSemaphorePermit,
}

/// Lets one client in, from its start-up packet on; its session lives in a task of its own, which holds nothing of the
/// log-in. `place` is its place among those that have not proved anything, and is given up once it has.
pub async fn serve(
    services: Arc<Services>,
    mut client: Stream,
    parameters: Parameters,
    address: SocketAddr,
    place: Place,
) {
    let caller = (&parameters, address);
    let entered = place.within(Box::pin(enter(&services, &mut client, caller))).await;
    let entered = match entered.unwrap_or_else(|late| Err(too_late(late))) {
        Ok(entered) => entered,
        Err(failed) => {
            if failed.is_a_guess() {
                services.gate.failed(address, "client");
            }
            match failed {
                LoginFailed::Refused(report) => login::refuse(&mut client, &report).await,
                // What was to be said has been said.
                LoginFailed::Over | LoginFailed::Denied => drop(client.shutdown().await),
            }
            return;
        }
    };
    drop(place);
    let gauge = SessionGauge::enter();
    if let Ok((session, seat)) = Box::pin(greet(services, client, entered, caller)).await {
        tokio::spawn(live(session, (gauge, seat)));
    }
}

/// The session itself. What it takes up counts as long as it lives.
async fn live(mut session: Box<Session>, _counted: (SessionGauge, OwnedSemaphorePermit)) {
    let end = session.run().await;
    Box::pin(session.wind_up(&end)).await;
}

fn too_late(late: Late) -> LoginFailed {
    let sqlstate = match late {
        Late::TimedOut => sqlstate::INVALID_AUTHORIZATION,
        Late::PushedOut => sqlstate::TOO_MANY_CONNECTIONS,
    };
    LoginFailed::Refused(Report::new(sqlstate, late.to_string()))
}

/// From the start-up packet to a backend that is logged in to.
async fn enter(
    services: &Services,
    client: &mut Stream,
    (parameters, address): (&Parameters, SocketAddr),
) -> Result<Entered, LoginFailed> {
    if let Some(report) = not_served(services, parameters) {
        return Err(LoginFailed::Refused(report));
    }
    let user = name(parameters, "user").unwrap_or_default();
    let database = match Channel::of(parameters) {
        // As in pg_hba.conf.
        Channel::Cluster => ALL_DATABASES.to_owned(),
        Channel::Sql | Channel::Database => database(parameters),
    };
    let caller = Caller { address, parameters, user: &user, database: &database };
    let (principal, server, greeting, upstream) =
        match services.gate.admit(client, &caller, services.clock.now()).await? {
            Admission::Relayed(principal) => {
                let mut server = reach(&services.upstream).await?;
                let greeting = relayed(services, client, &mut server, (parameters, address)).await?;
                (principal, server, greeting, services.upstream.clone())
            }
            Admission::Proved(proved) => {
                let upstream = proved.upstream.unwrap_or_else(|| services.upstream.clone());
                let mut server = reach(&upstream).await?;
                let startup = upstream::startup(parameters, &proved.credential.role, &database);
                let greeting = upstream::log_in(client, &mut server, &startup, &proved.credential).await?;
                (proved.principal, server, greeting, upstream)
            }
        };
    let full = || LoginFailed::Refused(Report::new(sqlstate::TOO_MANY_CONNECTIONS, "sorry, too many clients already"));
    let seat = services.gate.seat().ok_or_else(full)?;
    Ok(Entered { principal, server, greeting, upstream, seat })
}

fn not_served(services: &Services, parameters: &Parameters) -> Option<Report> {
    if Channel::of(parameters) == Channel::Cluster {
        return None;
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
    let named = name(parameters, "database").filter(|name| !name.is_empty());
    named.or_else(|| name(parameters, "user")).unwrap_or_default()
}

/// A name as the server reads it: cut at 63 bytes (`NAMEDATALEN`), so that a longer one is nobody else to us.
fn name(parameters: &Parameters, parameter: &str) -> Option<String> {
    let bytes = parameters.get(parameter)?;
    Some(String::from_utf8_lossy(bytes.get(..NAME_MAX).unwrap_or(bytes)).into_owned())
}

async fn reach(upstream: &Upstream) -> Result<Stream, LoginFailed> {
    upstream.connect().await.map_err(|error| {
        let text = format!("cannot connect to upstream {}: {error}", upstream.authority());
        let report = Report::new(sqlstate::UNABLE_TO_CONNECT, text);
        LoginFailed::Refused(report.hint("Check that the upstream runs and that its address is right."))
    })
}

async fn relayed(
    services: &Services,
    client: &mut Stream,
    server: &mut Stream,
    (parameters, address): (&Parameters, SocketAddr),
) -> Result<LoggedIn, LoginFailed> {
    let local = address.ip().to_canonical().is_loopback();
    let trust = if local || services.allow_upstream_trust { Trust::Believed } else { Trust::Refused };
    let mut startup = BytesMut::new();
    build::startup(&mut startup, parameters);
    server.write_all(&startup).await?;
    server.flush().await?;
    relay::relay(client, server, trust).await
}

/// Builds the session and lets the client's first query come.
async fn greet(
    services: Arc<Services>,
    client: Stream,
    entered: Entered,
    (parameters, address): (&Parameters, SocketAddr),
) -> Result<(Box<Session>, OwnedSemaphorePermit), End> {
    let Entered { principal, server, greeting, upstream, seat } = entered;
    let channel = Channel::of(parameters);
    // What replicates the whole server carries the database that is served, whatever it says.
    let replicated = services.database.clone().filter(|_| channel == Channel::Cluster);
    let who = Who {
        principal,
        environment: services.environment.clone(),
        client: Some(address),
        database: replicated.unwrap_or_else(|| database(parameters)),
    };
    let since = services.clock.now();
    let row = SessionRow {
        id: SessionId::new(),
        principal: who.principal.name.clone(),
        user: who.principal.role.clone(),
        database: who.database.clone(),
        client: Some(address),
        application_name: parameters.text("application_name").unwrap_or_default(),
        since,
        backend_pid: greeting.pid,
        human: who.principal.human.clone(),
        activity: Activity::begun(since),
    };
    let scribe = Scribe::new(template(&services, &who, &row), services.clone());
    let backend = (upstream, greeting.pid, greeting.key.clone());
    let (registration, secret) = services.registry.enter(row, backend.clone());
    let mut settings = Settings::from_startup(parameters);
    for (name, value) in &greeting.parameters {
        settings.server_reports(name, value);
    }
    let presence = services.databases.enter(&who.database);
    let mut session = Box::new(Session {
        database: services.databases.database(&who.database),
        services,
        _presence: presence,
        who,
        registration,
        client: Peer::new(client),
        server: Peer::new(server),
        client_want: 0,
        channel,
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
        calling: None,
        plans: None,
        own: Remembered::default(),
        expecting: Vec::new(),
        recall: Recall::default(),
        spent_here: Vec::new(),
        undone: Vec::new(),
        decided: Memo::default(),
        foreseen: Foreseen::default(),
        looked_up_at: Timestamp::from_micros(0),
        transaction_since: None,
        shown: super::doing::Shown::default(),
        released: Vec::new(),
        approved: None,
        unfinished: Vec::new(),
        rebinds: false,
        backend,
        cancel_requested: false,
        draining: false,
        killed: None,
    });
    session.scribe.claims(&session.settings);
    session.server.input = greeting.rest;
    session.client.output = greeting.greeting;
    build::key_data(&mut session.client.output, greeting.pid, &secret);
    // Asked before the first query, so that no question of ours comes between BEGIN and what follows it.
    session.learn_names().await?;
    session.learn_stream_timeout().await?;
    build::ready(&mut session.client.output, b'I');
    Ok((session, seat))
}

impl Session {
    async fn run(&mut self) -> End {
        loop {
            // Frames that are here already are handled without waiting for anything: others get their turn between them.
            tokio::task::coop::consume_budget().await;
            if let Err(end) = self.next_frame().await {
                return end;
            }
        }
    }
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
