//! The composition root: builds every room once, listens, routes, reloads, drains.
//!
//! Holds no business rule: what a statement may do is decided in `policy`, what a person may do in `control`.
//! Start reading at [`Server::start`].

mod bundles;
mod explain;
mod identity;
mod listener;
mod literals;
mod options;
mod ports;
mod recovery;
mod reload;
mod surfaces;
mod upkeep;

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::approvals::{Approvals, ApprovalsConfig, StoreError};
use crate::auth::gate::{Bounds, Gate};
use crate::auth::queue::Queue;
use crate::backend::databases::Databases;
use crate::backend::memory::{Memory, MemoryError};
use crate::clock::{self, Clock};
use crate::control::{Control, ControlParts, Operators, OperatorsError, Pump, sweep};
use crate::ids::StatementId;
use crate::lineage::{Event, Literals, StatementRecord};
use crate::log::{Log, LogError};
use crate::session::registry::{Registry, Signal};
use crate::session::{BudgetError, Budgets, Services};
use crate::sink::{Sink, SinkError, SinkOptions};
use crate::{analysis, http};

pub use options::{Again, Options, OptionsError, PolicySource, Problems, reach};
use ports::{LogSink, Ports};

/// Texts whose facts are kept.
const FACTS_MAX: usize = 16_384;

/// How often lapsed holds are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What a crash of the whole machine can lose of budgets.
const BUDGETS_EVERY: Duration = Duration::from_secs(1);

/// Catalogs are compared with what is on the server this often, and less often where comparing them takes long.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// But so often at least.
const CHECK_WITHIN: Duration = Duration::from_secs(5);
/// Comparing takes at most this part of the time of one backend.
const CHECK_SHARE: u32 = 20;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address that cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(String, #[source] std::io::Error),
    /// The state directory.
    #[error("state directory {0}: {1}")]
    State(String, #[source] std::io::Error),
    /// The record log.
    #[error("lineage log: {0}")]
    Log(#[from] LogError),
    /// The hold store.
    #[error("hold store: {0}")]
    Store(#[from] StoreError),
    /// The journal of budgets.
    #[error("{0}")]
    Budgets(#[from] BudgetError),
    /// The end of an earlier run.
    #[error("the end of the earlier run: {0}")]
    Recovery(String),
    /// A sink.
    #[error("sink: {0}")]
    Sink(#[from] SinkError),
    /// The memory of tags.
    #[error("derived tags: {0}")]
    Tags(#[from] MemoryError),
    /// The console and notices.
    #[error(transparent)]
    Surfaces(#[from] surfaces::SurfacesError),
    /// The operators.
    #[error("operators: {0}")]
    Operators(#[from] OperatorsError),
}

/// A running server.
pub struct Server {
    postgres: SocketAddr,
    http: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    services: Arc<Services>,
    ports: Arc<Ports>,
    stop: CancellationToken,
    /// Ends what works for sessions, after the last of them.
    stop_services: CancellationToken,
    accepting: Vec<JoinHandle<()>>,
    helpers: Vec<JoinHandle<()>>,
    drain_wait: Duration,
}

impl Server {
    /// Builds everything and listens. Nothing was started where this fails.
    ///
    /// # Errors
    /// An address, a directory, the log, the store or the operators cannot be used.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let listener = bind(&options.listen).await?;
        let http_listener = bind_to(options.http.as_ref()).await?;
        let admin_listener = bind_to(options.admin.as_ref()).await?;
        let clock = Clock::System;
        let state = &options.state;
        private_dir(state)?;
        private_dir(&options.store)?;
        let log = Log::open(log_options(&options), clock.clone())?;
        crate::log::keep_policy(&options.log.dir, options.policy.sha256(), options.policy.text())?;
        let (approvals, recovered) = Approvals::start(&store_options(&options), clock.clone())?;
        let operators = Operators::with_first(options.operators.clone(), state)?;
        let closed = recovery::recover(&log, &approvals).await?;
        log.append_strict(started(&options, recovered.unknown.len(), closed)).await?;
        let memory = Memory::open(&options.store)?;
        let budgets = Budgets::open(&options.store, clock.now())?;
        let gate = gate(&options)?;
        let tls = Arc::new(ArcSwapOption::from_pointee(options.tls.clone()));
        let stores = Stores { log: log.clone(), approvals: approvals.clone(), memory, budgets };
        let literals = literals::open(options.log.literals, state)
            .map_err(|error| StartError::State(state.display().to_string(), error))?;
        let services = Arc::new(services(&options, clock, stores, (literals, gate)));
        let sink = Arc::new(LogSink(log.clone()));
        let sinks = sinks(&options, &log)?;
        let watches = sinks.iter().map(Sink::watch).collect();
        let ports = Arc::new(Ports::new(services.clone(), &options, tls.clone(), watches));
        let control = Control::new(ControlParts {
            approvals: approvals.clone(),
            operators,
            sink: sink.clone(),
            sessions: ports.clone(),
            reload: ports.clone(),
            events: ports.clone(),
            tags: ports.clone(),
            explain: ports.clone(),
            bundles: ports.clone(),
            health: ports.clone(),
            config: options.effective(),
        });
        let (stop, stop_services) = (CancellationToken::new(), CancellationToken::new());
        let mut helpers = vec![
            tokio::spawn(Pump::new(approvals.clone(), sink).run(stop_services.clone())),
            tokio::spawn(sweep(approvals.clone(), SWEEP_EVERY, stop_services.clone())),
            tokio::spawn(check_catalogs(services.clone(), stop_services.clone())),
            tokio::spawn(upkeep::keep_index(options.log.dir.clone(), stop_services.clone())),
            tokio::spawn(upkeep::retire(options.log.clone(), services.log.clone(), stop_services.clone())),
            tokio::spawn(sync_budgets(services.clone(), stop_services.clone())),
        ];
        helpers.extend(
            options.log.checkpoints_to.iter().map(|to| {
                tokio::spawn(upkeep::send_checkpoints(options.log.clone(), to.clone(), stop_services.clone()))
            }),
        );
        helpers.extend(sinks.into_iter().map(|sink| tokio::spawn(sink.run(stop_services.clone()))));
        let postgres = address(&listener, &options.listen)?;
        let http = http_listener.as_ref().map(|http| address(http, "http")).transpose()?;
        let admin = admin_listener.as_ref().map(|admin| address(admin, "admin")).transpose()?;
        let (site, notices) =
            options.surfaces.clone().start((&control, approvals), (&options.store, http), &stop_services)?;
        helpers.extend(notices);
        if let Some(listener) = http_listener {
            helpers.push(tokio::spawn(serve_http(listener, site, stop_services.clone())));
        }
        let door = if admin.is_some() { listener::Door::Clients } else { listener::Door::Both };
        let unread_max = options.unread_max;
        let front = listener::Front { services: services.clone(), control, tls, door, unread_max };
        let mut accepting = vec![tokio::spawn(listener::accept(listener, front.clone(), stop.clone()))];
        if let Some(listener) = admin_listener {
            let front = listener::Front { door: listener::Door::Operators, ..front };
            accepting.push(tokio::spawn(listener::accept(listener, front, stop.clone())));
        }
        Ok(Self {
            postgres,
            http,
            admin,
            services,
            ports,
            stop,
            stop_services,
            accepting,
            helpers,
            drain_wait: options.drain_wait,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub fn postgres(&self) -> SocketAddr {
        self.postgres
    }

    /// Where operators connect by HTTP, unless that is off.
    #[must_use]
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Where operators connect with psql, where that is a port of its own.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Reads policies, certificates and principals anew: the new ones are in force, or all problems come back and the old
    /// ones stay.
    ///
    /// # Errors
    /// The problems.
    pub async fn reload(&self) -> Result<String, Vec<String>> {
        crate::control::Reload::reload(&*self.ports).await
    }

    /// Ends: no new clients, idle sessions at once, working ones when they are done or the drain is over.
    pub async fn drain(self) {
        self.ports.start_draining();
        self.stop.cancel();
        for accepting in self.accepting {
            drop(accepting.await);
        }
        let registry = &self.services.registry;
        registry.signal_all(&Signal::Drain);
        let deadline = tokio::time::Instant::now() + self.drain_wait;
        while !registry.is_empty() && tokio::time::Instant::now() < deadline {
            registry.signal_all(&Signal::Drain);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        registry.signal_all(&Signal::Kill { by: crate::ids::NAME.to_owned() });
        let deadline = tokio::time::Instant::now() + Duration::from_secs(2);
        while !registry.is_empty() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.stop_services.cancel();
        for helper in self.helpers {
            drop(helper.await);
        }
        let mut record = StatementRecord::new(StatementId::new(), Event::System);
        record.text = "the proxy stopped".into();
        if let Err(error) = self.services.log.append_strict(record).await {
            tracing::error!(%error, "the end was not written to the log");
        }
        self.services.approvals.close().await;
        self.services.log.close().await;
    }
}

async fn bind(address: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::Listen(address.to_owned(), error))
}

async fn bind_to(address: Option<&String>) -> Result<Option<TcpListener>, StartError> {
    match address {
        Some(address) => bind(address).await.map(Some),
        None => Ok(None),
    }
}

fn gate(options: &Options) -> Result<Gate, StartError> {
    let secret = identity::secret(&options.state)
        .map_err(|error| StartError::State(options.state.display().to_string(), error))?;
    let bounds = Bounds {
        queue: Queue::new(options.unauthenticated_max, options.login_wait),
        sessions_max: options.sessions_max,
        failures_max: options.failures_max,
    };
    Ok(Gate::new(options.identity.clone(), &secret, &bounds))
}

fn address(listener: &TcpListener, wanted: &str) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| StartError::Listen(wanted.to_owned(), error))
}

/// A directory that nobody else can enter, where it is made here.
fn private_dir(dir: &Path) -> Result<(), StartError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| StartError::State(dir.display().to_string(), error))
}

fn log_options(options: &Options) -> crate::log::Options {
    let mut log = crate::log::Options::new(options.log.dir.clone());
    log.segment_max = options.log.segment_max;
    log.queue_max = options.log.queue_max;
    log.sync_timeout = options.log.sync_timeout;
    log.disk = options.log.disk.clone();
    log
}

/// What sends records on; their files are in `STATE/sinks`.
fn sinks(options: &Options, log: &Log) -> Result<Vec<Sink>, StartError> {
    let dir = options.state.join("sinks");
    let open = |sink: &SinkOptions| Sink::open(sink.clone(), log.clone(), options.log.dir.clone(), &dir);
    Ok(options.log.sinks.iter().map(open).collect::<Result<_, _>>()?)
}

fn store_options(options: &Options) -> ApprovalsConfig {
    let mut store = ApprovalsConfig::new(options.store.clone());
    store.bounds.holds_max = options.holds_max;
    store
}

/// What outlives the process.
struct Stores {
    log: Log,
    approvals: Approvals,
    memory: Memory,
    budgets: Budgets,
}

fn services(options: &Options, clock: Clock, stores: Stores, (literals, gate): (Literals, Gate)) -> Services {
    let Stores { log, approvals, memory, budgets } = stores;
    let rules = options.policy.tag_rules().clone();
    Services {
        clock,
        log,
        literals,
        approvals,
        policy: ArcSwap::from_pointee(options.policy.clone()),
        upstream: options.upstream.clone(),
        database: options.database.clone(),
        environment: options.environment.clone(),
        databases: Databases::new(options.upstream.clone(), options.credential.clone(), rules, memory)
            .with_planners(options.planners_max, options.planner_wait),
        facts: analysis::Cache::new(FACTS_MAX),
        budgets,
        registry: Registry::default(),
        mode: options.mode,
        hold: options.hold,
        bounds: options.bounds,
        allow_upstream_trust: options.allow_upstream_trust,
        gate,
    }
}

fn started(options: &Options, unknown: usize, closed: usize) -> StatementRecord {
    let mut record = StatementRecord::new(StatementId::new(), Event::System);
    record.upstream = Some(options.upstream.authority());
    options.policy.sha256().clone_into(&mut record.policy);
    record.text = format!(
        "the proxy started in {:?} mode; {unknown} approved statements of an earlier run have an unknown outcome, {closed} \
         others were closed",
        options.mode
    )
    .to_lowercase();
    record
}

async fn serve_http(listener: TcpListener, site: http::Site, stop: CancellationToken) {
    let served = axum::serve(listener, site.router().into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(stop.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the HTTP listener failed");
    }
}

/// Puts the journal of budgets on disk now and then, and once more at the end.
async fn sync_budgets(services: Arc<Services>, stop: CancellationToken) {
    loop {
        // Cancel-safe: both branches only wait.
        let last = tokio::select! {
            () = stop.cancelled() => true,
            () = tokio::time::sleep(BUDGETS_EVERY) => false,
        };
        let of = services.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || of.budgets.sync()).await {
            tracing::error!(%error, "the journal of budgets was not put on disk");
        }
        if last {
            return;
        }
    }
}

/// Catalogs change behind the proxy's back too.
async fn check_catalogs(services: Arc<Services>, stop: CancellationToken) {
    let mut pause = CHECK_EVERY;
    loop {
        // Cancel-safe: both branches only wait.
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let since = clock::monotonic();
        if !services.databases.has_credential() {
            continue;
        }
        for sentence in services.databases.memory().take_dropped() {
            let mut record = StatementRecord::new(StatementId::new(), Event::System);
            record.text = sentence;
            if let Err(error) = services.log.append_strict(record).await {
                tracing::error!(%error, "that a derived tag was forgotten was not written to the log");
            }
        }
        for name in services.databases.names() {
            if let Err(error) = services.databases.check(&name).await {
                tracing::debug!(database = name, %error, "the catalog could not be checked");
            }
        }
        let took = clock::monotonic().saturating_duration_since(since);
        pause = took.saturating_mul(CHECK_SHARE).clamp(CHECK_EVERY, CHECK_WITHIN);
    }
}
