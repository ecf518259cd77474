//! What a server is started with, after flags, environment and files were read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::ServerConfig;

use crate::approvals::Role;
use crate::backend::connect::{Encryption, Upstream};
use crate::backend::databases::Credential;
use crate::config::dsn::{self, Host, SslMode};
use crate::config::{Config, InTransaction, LiteralsMode, OnDisconnect, OperatorConfig, OperatorRole};
use crate::control::OperatorEntry;
use crate::log::{Disk, OsDisk};
use crate::net::tls::{self, TlsError, Verify};
use crate::policy::{self, Policy};
use crate::principal::Principal;
use crate::session::{Bounds, HoldSettings, Mode};
use crate::sink::SinkOptions;

/// Prepared statements and portals of one session.
const NAMES_MAX: usize = 10_000;

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
    /// Records that wait for the disk, in bytes.
    pub queue_max: u32,
    /// What stands for literals.
    pub literals: LiteralsMode,
    /// Where records are sent.
    pub sinks: Vec<SinkOptions>,
    /// The disk itself; another one where a test lets it fail.
    pub disk: Arc<dyn Disk>,
}

/// A TLS configuration of the listener.
#[derive(Clone, Debug)]
pub struct Tls(pub Arc<ServerConfig>);

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
    /// Where operators connect, `host:port`.
    pub http: String,
    /// TLS for clients.
    pub tls: Option<Tls>,
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
    /// Where the record log lies, how long its segments are, and how much may wait for it, both in bytes.
    pub log: LogOptions,
    /// The folder of the hold store.
    pub store: PathBuf,
    /// How long a drain waits for working sessions.
    pub drain_wait: Duration,
    /// A server that asks for no password is believed for remote clients.
    pub allow_upstream_trust: bool,
    /// Who a role stands for.
    pub principals: Vec<Principal>,
    /// Who may decide, besides the first operator.
    pub operators: Vec<OperatorEntry>,
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
            ("http", self.http.clone()),
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
    /// A token file.
    #[error("the token of operator {0} cannot be read from {1}: {2}")]
    Token(String, String, #[source] std::io::Error),
}

impl Options {
    /// What a configuration comes to: files are read, certificates loaded.
    ///
    /// # Errors
    /// What cannot be read or does not go together.
    pub fn of(config: &Config) -> Result<Self, OptionsError> {
        let [only] = config.upstreams.as_slice() else {
            return Err(OptionsError::NotServed("one proxy serves one upstream: start one for each"));
        };
        let http =
            config.http.ok_or(OptionsError::NotServed("the HTTP listener cannot be off: holds are decided there"))?;
        if config.log.rollup {
            return Err(OptionsError::NotServed("log.rollup is not served: every statement has a record of its own"));
        }
        if config.admin_listen.is_some() {
            return Err(OptionsError::NotServed("admin.listen is not served: the database is on the same listener"));
        }
        if config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()) {
            return Err(OptionsError::NotServed(
                "tls.client_ca is not served: log-ins are relayed, not made by certificate",
            ));
        }
        let dsn = &only.upstream;
        let tls = config.tls.as_ref().map(|tls| tls::server_config(&tls.cert, &tls.key)).transpose()?;
        let (upstream, credential) = reach(dsn)?;
        if tls.is_some() && !matches!(upstream.encryption, Encryption::Never) && !config.auth.relay_allow_nonbinding {
            return Err(OptionsError::NotServed(NONBINDING));
        }
        let policies = config.policies.clone().map_or(PolicySource::Shipped, PolicySource::Path);
        Ok(Self {
            upstream,
            credential,
            database: dsn.database.clone(),
            environment: only.environment.clone(),
            listen: config.listen.to_string(),
            http: http.to_string(),
            tls: tls.map(Tls),
            policy: super::reload::read(&policies).map_err(OptionsError::Policies)?,
            policies,
            state: config.state.clone(),
            mode: if config.mode == policy::Mode::Observe { Mode::Observe } else { Mode::Enforce },
            hold: HoldSettings {
                wait: config.hold.wait,
                stream_wait: config.hold.stream_wait,
                expires: config.hold.expires,
                ticket_on_disconnect: config.hold.on_disconnect == OnDisconnect::Ticket,
                in_transaction: config.hold.in_transaction == InTransaction::Wait,
            },
            bounds: Bounds {
                statement_max: size(config.limits.statement_max),
                bind_max: size(config.limits.bind_max),
                names_max: NAMES_MAX,
            },
            sessions_max: size(config.limits.sessions_max),
            holds_max: number(config.limits.holds_max),
            planners_max: size(config.limits.planners_max),
            log: LogOptions {
                dir: config.log.dir.clone(),
                segment_max: config.log.segment_max,
                queue_max: number(config.limits.log_queue_max.saturating_mul(1024)),
                literals: config.log.literals,
                sinks: config.log.sinks.clone(),
                disk: Arc::new(OsDisk),
            },
            store: config.store.path.parent().map_or_else(|| config.state.clone(), std::path::Path::to_path_buf),
            drain_wait: DRAIN_WAIT,
            allow_upstream_trust: config.auth.allow_upstream_trust,
            principals: config.principals.iter().map(|known| config.principal(&known.role)).collect(),
            operators: config.operators.iter().map(operator).collect::<Result<_, _>>()?,
        })
    }
}

const NONBINDING: &str = "TLS to clients and TLS to the upstream have different certificates, so that SCRAM clients that know \
    channel binding are refused by the server as downgraded, and sslmode=prefer silently goes on in clear: use \
    sslmode=disable to an upstream on this machine, or set auth.relay_allow_nonbinding";

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
        timeout: dsn.connect_timeout,
    };
    let credential = dsn
        .user
        .clone()
        .map(|user| Credential { user, password: dsn.password.as_ref().map(|password| password.expose().to_owned()) });
    Ok((upstream, credential))
}

fn encryption(dsn: &dsn::Upstream) -> Result<Encryption, TlsError> {
    let root = dsn.sslrootcert.as_deref();
    let config = |verify| tls::client_config(verify, root);
    Ok(match dsn.sslmode {
        SslMode::Disable | SslMode::Allow => Encryption::Never,
        SslMode::Prefer => Encryption::Prefer(config(Verify::Nothing)?),
        SslMode::Require => Encryption::Require(config(if root.is_some() { Verify::Chain } else { Verify::Nothing })?),
        SslMode::VerifyCa => Encryption::Require(config(Verify::Chain)?),
        SslMode::VerifyFull => Encryption::Require(config(Verify::Full)?),
    })
}

fn operator(config: &OperatorConfig) -> Result<OperatorEntry, OptionsError> {
    let path = config.token_file.clone().ok_or(OptionsError::NotServed("every operator needs a token_file"))?;
    let text = std::fs::read_to_string(&path)
        .map_err(|error| OptionsError::Token(config.name.clone(), path.display().to_string(), error))?;
    Ok(OperatorEntry {
        name: config.name.clone(),
        human: config.human.clone(),
        groups: config.groups.clone(),
        roles: config.roles.iter().map(|role| role_of(*role)).collect(),
        token: text.lines().next().unwrap_or_default().trim().to_owned(),
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
