//! What a server is started with, after flags, environment and files were read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::identity;
use super::surfaces::{Surfaces, SurfacesError};
use crate::approvals::Role;
use crate::auth::gate::Identity;
use crate::backend::connect::{Encryption, Upstream};
use crate::backend::databases::Credential;
use crate::config::dsn::{self, Host, SslMode};
use crate::config::{CheckpointSink, Config, InTransaction, LiteralsMode, OnDisconnect, OperatorConfig, OperatorRole};
use crate::control::OperatorEntry;
use crate::log::{Disk, OsDisk, Retention};
use crate::net::tls::{self, ServerTls, TlsError, Verify};
use crate::policy::{self, Policy};
use crate::session::{Bounds, HoldSettings, Mode};
use crate::sink::SinkOptions;

/// How long a drain waits for sessions that work.
const DRAIN_WAIT: Duration = Duration::from_secs(30);

/// Where policies are read from.
#[derive(Clone, Debug)]
pub enum PolicySource {
    /// The policy that the program ships.
    Shipped,
    /// A file, or all files of a directory.
    Path(PathBuf),
}

/// How the record log is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Its folder.
    pub dir: PathBuf,
    /// A segment that is at least this long, in bytes, is sealed.
    pub segment_max: u64,
    /// How long a disk that neither takes a record nor fails is waited for.
    pub sync_timeout: std::time::Duration,
    /// Records that wait for the disk, in bytes.
    pub queue_max: u32,
    /// What is removed.
    pub retention: Retention,
    /// How often the newest checkpoint is sent.
    pub checkpoints_every: std::time::Duration,
    /// Where to.
    pub checkpoints_to: Vec<CheckpointSink>,
    /// What stands for literals.
    pub literals: LiteralsMode,
    /// Where records are sent.
    pub sinks: Vec<SinkOptions>,
    /// The disk itself; another one where a test lets it fail.
    pub disk: Arc<dyn Disk>,
}

/// Reads the whole configuration again; all that is wrong with it where it cannot be used.
pub type Again = Arc<dyn Fn() -> Result<Options, Vec<String>> + Send + Sync>;

/// Everything that a server is started with.
#[derive(Clone)]
pub struct Options {
    /// Where sessions lead.
    pub upstream: Upstream,
    /// The proxy's own way in; `None` where the configuration gives no role.
    pub credential: Option<Credential>,
    /// The database that the upstream's address names.
    pub database: Option<String>,
    /// `environment` of the upstream.
    pub environment: Option<String>,
    /// Where clients connect, `host:port`.
    pub listen: String,
    /// Where operators connect, `host:port`; `None`: by psql alone.
    pub http: Option<String>,
    /// Where operators connect with psql, `host:port`; `None`: where clients do.
    pub admin: Option<String>,
    /// TLS for clients.
    pub tls: Option<ServerTls>,
    /// Where policies are read from, again at each reload.
    pub policies: PolicySource,
    /// The policies as they were read.
    pub policy: Policy,
    /// Log, store and tokens.
    pub state: PathBuf,
    /// Whether verdicts are carried out.
    pub mode: Mode,
    /// How long people are waited for.
    pub hold: HoldSettings,
    /// Bounds of one session.
    pub bounds: Bounds,
    /// Sessions at once.
    pub sessions_max: usize,
    /// Undecided holds at once.
    pub holds_max: u32,
    /// Connections to one database that ask its planner.
    pub planners_max: usize,
    /// How long such a question may take.
    pub planner_wait: Duration,
    /// How long a client may leave unread what waits for it.
    pub unread_max: Duration,
    /// Where the record log lies, how long its segments are, and how much may wait for it, both in bytes.
    pub log: LogOptions,
    /// The folder of the hold store.
    pub store: PathBuf,
    /// How long a drain waits for working sessions.
    pub drain_wait: Duration,
    /// A server that asks for no password is believed for remote clients.
    pub allow_upstream_trust: bool,
    /// Who clients are, and how they prove it.
    pub identity: Identity,
    /// How long a connection may take until its log-in is done.
    pub login_wait: Duration,
    /// Connections at once that have not logged in.
    pub unauthenticated_max: usize,
    /// Failed log-ins in a row after which an address waits.
    pub failures_max: u32,
    /// How a reload reads everything again; `None`: policies alone are read again.
    pub again: Option<Again>,
    /// Who may decide, besides the first operator.
    pub operators: Vec<OperatorEntry>,
    /// The console, sign-in by a provider, notices.
    pub surfaces: Surfaces,
}

impl Options {
    /// The effective configuration as names and values, without secrets; for operators.
    #[must_use]
    pub fn effective(&self) -> Vec<(String, String)> {
        let policies = match &self.policies {
            PolicySource::Shipped => "shipped".to_owned(),
            PolicySource::Path(path) => path.display().to_string(),
        };
        [
            ("upstream", self.upstream.authority()),
            ("listen", self.listen.clone()),
            ("http", self.http.clone().unwrap_or_else(|| "off".to_owned())),
            ("admin.listen", self.admin.clone().unwrap_or_else(|| self.listen.clone())),
            ("tls", if self.tls.is_some() { "on" } else { "off" }.to_owned()),
            ("policies", policies),
            ("state", self.state.display().to_string()),
            ("mode", format!("{:?}", self.mode).to_lowercase()),
            ("log.literals", format!("{:?}", self.log.literals).to_lowercase()),
            ("hold.wait", format!("{}s", self.hold.wait.as_secs())),
            ("hold.stream_wait", format!("{}s", self.hold.stream_wait.as_secs())),
            ("limits.statement_max", self.bounds.statement_max.to_string()),
            ("limits.bind_max", self.bounds.bind_max.to_string()),
            ("limits.sessions_max", self.sessions_max.to_string()),
            ("limits.planners_max", self.planners_max.to_string()),
            ("limits.planner_wait", format!("{}ms", self.planner_wait.as_millis())),
            ("limits.unread_max", format!("{}s", self.unread_max.as_secs())),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

/// Why a configuration that is well-formed cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// Certificates or keys.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The policies.
    #[error("{}", .0.join("\n"))]
    Policies(Vec<String>),
    /// Something that is configured and not served.
    #[error("{0}")]
    NotServed(&'static str),
    /// A file with a principal's password at the upstream.
    #[error("the credential of principal {0} cannot be read from {1}: {2}")]
    Password(String, String, String),
    /// The keys of the token provider.
    #[error("{0}")]
    Keys(String),
    /// The console and notices.
    #[error("{0}")]
    Surfaces(#[from] SurfacesError),
    /// A token file.
    #[error("the token of operator {0} cannot be read from {1}: {2}")]
    Token(String, String, #[source] std::io::Error),
}

/// Everything for which a configuration cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Problems(pub Vec<OptionsError>);

impl Options {
    /// What a configuration comes to: files are read, certificates loaded. `check` and `serve` ask the same of it.
    ///
    /// # Errors
    /// All that cannot be read or does not go together.
    pub fn of(config: &Config) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let [only] = config.upstreams.as_slice() else {
            return Err(Problems(vec![OptionsError::NotServed("one proxy serves one upstream: start one for each")]));
        };
        let tls = config.tls.as_ref().map(|tls| tls::server_config(&tls.identity, &tls.clients));
        let tls = noted(&mut problems, tls.transpose()).flatten();
        let Some((upstream, credential)) = noted(&mut problems, reach(&only.upstream)) else {
            return Err(Problems(problems));
        };
        let policies = config.policies.clone().map_or(PolicySource::Shipped, PolicySource::Path);
        let policy = noted(&mut problems, super::reload::read(&policies).map_err(OptionsError::Policies));
        let operators: Vec<_> = config.operators.iter().filter_map(|one| noted(&mut problems, operator(one))).collect();
        let identity = identity::identity(config, &upstream, &mut problems);
        let surfaces = noted(&mut problems, Surfaces::of(config)).unwrap_or_default();
        let (Some(policy), true) = (policy, problems.is_empty()) else { return Err(Problems(problems)) };
        Ok(Self {
            upstream,
            credential,
            database: only.upstream.database.clone(),
            environment: only.environment.clone(),
            listen: config.listen.to_string(),
            http: config.http.map(|http| http.to_string()),
            admin: config.admin_listen.map(|admin| admin.to_string()),
            tls,
            policy,
            policies,
            state: config.state.clone(),
            mode: if config.mode == policy::Mode::Observe { Mode::Observe } else { Mode::Enforce },
            hold: hold(config),
            bounds: Bounds {
                statement_max: size(config.limits.statement_max),
                bind_max: size(config.limits.bind_max),
                names_max: size(config.limits.names_max),
                names_bytes_max: size(config.limits.names_bytes_max),
                pipeline_max: size(config.limits.pipeline_max),
            },
            sessions_max: size(config.limits.sessions_max),
            holds_max: number(config.limits.holds_max),
            planners_max: size(config.limits.planners_max),
            planner_wait: config.limits.planner_wait,
            unread_max: config.limits.unread_max,
            log: LogOptions {
                dir: config.log.dir.clone(),
                segment_max: config.log.segment_max,
                sync_timeout: config.log.sync_timeout,
                queue_max: number(config.limits.log_queue_max.saturating_mul(1024)),
                retention: Retention { age: config.log.retention_age, size: config.log.retention_size },
                checkpoints_every: config.log.checkpoints_every,
                checkpoints_to: config.log.checkpoints_to.clone(),
                literals: config.log.literals,
                sinks: config.log.sinks.clone(),
                disk: Arc::new(OsDisk),
            },
            store: config.store.path.parent().map_or_else(|| config.state.clone(), std::path::Path::to_path_buf),
            drain_wait: DRAIN_WAIT,
            allow_upstream_trust: config.auth.allow_upstream_trust,
            identity,
            login_wait: config.auth.timeout,
            unauthenticated_max: size(config.limits.unauthenticated_max),
            failures_max: number(config.limits.failures_max),
            again: None,
            operators,
            surfaces,
        })
    }
}

fn noted<T, E: Into<OptionsError>>(problems: &mut Vec<OptionsError>, result: Result<T, E>) -> Option<T> {
    result.map_err(|error| problems.push(error.into())).ok()
}

fn hold(config: &Config) -> HoldSettings {
    HoldSettings {
        wait: config.hold.wait,
        stream_wait: config.hold.stream_wait,
        expires: config.hold.expires,
        ticket_on_disconnect: config.hold.on_disconnect == OnDisconnect::Ticket,
        in_transaction: config.hold.in_transaction == InTransaction::Wait,
    }
}

/// Where a DSN leads, and as whom.
///
/// # Errors
/// A certificate that cannot be used.
pub fn reach(dsn: &dsn::Upstream) -> Result<(Upstream, Option<Credential>), TlsError> {
    let upstream = Upstream {
        host: match &dsn.host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(dir) => dir.display().to_string(),
        },
        port: dsn.port,
        encryption: encryption(dsn)?,
        address: dsn.hostaddr,
        negotiation: dsn.negotiation,
        timeout: dsn.connect_timeout,
    };
    let credential = dsn
        .user
        .clone()
        .map(|user| Credential { user, password: dsn.password.as_ref().map(|password| password.expose().to_owned()) });
    Ok((upstream, credential))
}

pub(super) fn encryption(dsn: &dsn::Upstream) -> Result<Encryption, TlsError> {
    let root = dsn.sslrootcert.as_deref();
    let config = |verify| tls::client_config(verify, root, dsn.identity.as_ref());
    Ok(match dsn.sslmode {
        SslMode::Disable | SslMode::Allow => Encryption::Never,
        SslMode::Prefer => Encryption::Prefer(config(Verify::Nothing)?),
        SslMode::Require => Encryption::Require(config(if root.is_some() { Verify::Chain } else { Verify::Nothing })?),
        SslMode::VerifyCa => Encryption::Require(config(Verify::Chain)?),
        SslMode::VerifyFull => Encryption::Require(config(Verify::Full)?),
    })
}

fn operator(config: &OperatorConfig) -> Result<OperatorEntry, OptionsError> {
    let token = match &config.token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| OptionsError::Token(config.name.clone(), path.display().to_string(), error))?;
            text.lines().next().unwrap_or_default().trim().to_owned()
        }
        // One that signs in elsewhere: a token that nobody knows.
        None => crate::ids::random_base32(64),
    };
    Ok(OperatorEntry {
        name: config.name.clone(),
        human: config.human.clone(),
        groups: config.groups.clone(),
        roles: config.roles.iter().map(|role| role_of(*role)).collect(),
        token,
    })
}

fn role_of(role: OperatorRole) -> Role {
    match role {
        OperatorRole::Viewer => Role::Viewer,
        OperatorRole::Requester => Role::Requester,
        OperatorRole::Operator => Role::Operator,
        OperatorRole::Admin => Role::Admin,
    }
}

fn number(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
