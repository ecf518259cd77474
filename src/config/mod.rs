//! Raw configuration becomes a typed [`Config`], with all problems at once: `holdgate.yaml`, then flags, then defaults.
//!
//! Must not: open a socket, decide about a statement. The environment is read in [`Environment::process`] alone.
//! Start reading at [`Config::load`].

mod document;
pub mod dsn;
mod environment;
mod flags;
mod identity;
mod passfile;
mod policies;
mod read;
mod surfaces;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use document::{InTransaction, LiteralsMode, OnDisconnect, OperatorRole};
pub use dsn::{Host, Upstream};
pub use environment::Environment;
pub use flags::ServeFlags;
pub use identity::{CredentialConfig, KeysAt, PrincipalConfig, ProviderConfig};
pub use policies::{policy, policy_sources};
pub use surfaces::{NotifyConfig, OidcConfig, SlackConfig, SurfacesConfig, TeamsConfig, WebhookConfig};

use crate::auth::rules::{ClientRule, Method};
use crate::net::tls::{ClientAuth, Identity};
use crate::policy::{Finding, Mode};
use crate::sink::SinkOptions;

/// Where clients connect unless said otherwise.
pub const LISTEN: &str = "127.0.0.1:6432";
/// Where the API and the console are unless said otherwise.
pub const HTTP: &str = "127.0.0.1:6480";

/// Everything that `serve` needs.
#[derive(Clone, Debug)]
pub struct Config {
    /// The servers behind the proxy; at least one, names unique.
    pub upstreams: Vec<UpstreamConfig>,
    /// Where clients connect; [`LISTEN`]. Port 0 picks one.
    pub listen: SocketAddr,
    /// The HTTP listener; [`HTTP`]. `None` where it is `off`.
    pub http: Option<SocketAddr>,
    /// TLS toward clients; none by default, and then only loopback is listened on.
    pub tls: Option<TlsConfig>,
    /// What is known of principals beyond the role that they log in as.
    pub principals: Vec<PrincipalConfig>,
    /// Who may log in from where, and how; the first that fits. None: principals as they can, everybody else by relay.
    pub client_rules: Vec<ClientRule>,
    /// Whose tokens are taken as passwords.
    pub provider: Option<ProviderConfig>,
    /// Who may decide, besides the first operator that `STATE/operator.token` makes.
    pub operators: Vec<OperatorConfig>,
    /// The console's address, sign-in by a provider, notices.
    pub surfaces: SurfacesConfig,
    /// How long things wait.
    pub hold: HoldConfig,
    /// Bounds.
    pub limits: LimitsConfig,
    /// The record log.
    pub log: LogConfig,
    /// The hold store.
    pub store: StoreConfig,
    /// A policy file, or a directory of them; the shipped policy where absent.
    pub policies: Option<PathBuf>,
    /// How log-ins are relayed.
    pub auth: AuthConfig,
    /// Where the psql database `holdgate` is; on `listen` where absent.
    pub admin_listen: Option<SocketAddr>,
    /// Whether verdicts are carried out or only recorded; enforce. The policy's own `mode: observe` wins over enforce.
    pub mode: Mode,
    /// Where log, store, keys and tokens live; see [`Environment::state`].
    pub state: PathBuf,
    /// Listening beyond loopback without TLS is meant.
    pub insecure_listen: bool,
}

/// A server behind the proxy.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// Its name in findings and metrics; `default` for the one of `--upstream`.
    pub name: String,
    /// Where and who.
    pub upstream: Upstream,
    /// What rules match as `environment`.
    pub environment: Option<String>,
}

/// TLS toward clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate chain and its private key.
    pub identity: Identity,
    /// Who signs clients' certificates, and whether one must be shown.
    pub clients: ClientAuth,
}

/// A person who may see or decide holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorConfig {
    /// The name in records.
    pub name: String,
    /// The human, for the self-approval check; the name where the file gives none.
    pub human: String,
    /// Groups that `approve.from` names.
    pub groups: Vec<String>,
    /// What the operator may do; `operator` where the file gives none.
    pub roles: Vec<OperatorRole>,
    /// A file whose first line is the token.
    pub token_file: Option<PathBuf>,
    /// `sub` at the identity provider.
    pub oidc_subject: Option<String>,
    /// The id of the user in Slack.
    pub slack: Option<String>,
    /// The e-mail address that Slack has confirmed.
    pub email: Option<String>,
}

/// How long things wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldConfig {
    /// How long a held statement waits on its connection before it becomes a ticket; 60 s.
    pub wait: Duration,
    /// The longest that an undecided hold stands, whatever its rule says; by default each rule's own time holds.
    pub expires: Option<Duration>,
    /// How long it waits in an open transaction or a paused stream; 60 s.
    pub stream_wait: Duration,
    /// What a disconnect leaves; a ticket.
    pub on_disconnect: OnDisconnect,
    /// Whether a statement in an open transaction waits; it does.
    pub in_transaction: InTransaction,
}

/// Bounds; sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Query, Parse and `FunctionCall`, each; 16 MiB.
    pub statement_max: u64,
    /// A Bind that may be held; 1 MiB.
    pub bind_max: u64,
    /// Prepared statements, portals and cursors of one session; 10000.
    pub names_max: u64,
    /// Bytes of their texts and values; 64 MiB.
    pub names_bytes_max: u64,
    /// Messages of one client that wait for their answers; 10000.
    pub pipeline_max: u64,
    /// Sessions at once; 1000.
    pub sessions_max: u64,
    /// Connections at once that have not proved who they are; 500.
    pub unauthenticated_max: u64,
    /// Failed log-ins in a row after which an address waits; 50.
    pub failures_max: u64,
    /// Pending holds at once; 1000.
    pub holds_max: u64,
    /// KiB of records that wait for the log; 16384.
    pub log_queue_max: u64,
    /// Connections to one database that ask the server's planner; 2.
    pub planners_max: u64,
    /// How long one of their questions may take; 900 ms.
    pub planner_wait: Duration,
    /// How long a client may leave unread what waits for it; 15 minutes.
    pub unread_max: Duration,
}

/// The record log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Its directory; `STATE/log`.
    pub dir: PathBuf,
    /// Bytes after which a segment is sealed; 64 MiB.
    pub segment_max: u64,
    /// How long a disk that neither takes a record nor fails is waited for; 5 s.
    pub sync_timeout: Duration,
    /// What stands for literals; `masked`.
    pub literals: LiteralsMode,
    /// Where records are sent as `OpenLineage` events.
    pub sinks: Vec<SinkOptions>,
    /// Records that are older are removed; none are.
    pub retention_age: Option<Duration>,
    /// Bytes of sealed segments that are kept; all of them.
    pub retention_size: Option<u64>,
    /// How often the newest checkpoint is sent off; 60 s.
    pub checkpoints_every: Duration,
    /// Where it is sent to; nowhere.
    pub checkpoints_to: Vec<CheckpointSink>,
}

/// Where checkpoints are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointSink {
    /// Appended to a file, which should lie on another machine's disk.
    File(PathBuf),
    /// Posted as text.
    Http(String),
    /// Written to standard output.
    Stdout,
}

impl std::fmt::Display for CheckpointSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            // What stands behind the address may be a secret.
            Self::Http(url) => f.write_str(url.split(['?', '#']).next().unwrap_or_default()),
            Self::Stdout => f.write_str("stdout"),
        }
    }
}

/// The hold store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The `SQLite` file; `STATE/holds.sqlite`.
    pub path: PathBuf,
}

/// How log-ins are relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// Relay SCRAM without channel binding between two different certificates; no.
    pub relay_allow_nonbinding: bool,
    /// Accept a server's `trust` for clients beyond loopback; no.
    pub allow_upstream_trust: bool,
    /// From the first byte of a connection to the end of its log-in (`authentication_timeout`); 60 s.
    pub timeout: Duration,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self { relay_allow_nonbinding: false, allow_upstream_trust: false, timeout: Duration::from_mins(1) }
    }
}

impl Default for HoldConfig {
    fn default() -> Self {
        Self {
            wait: Duration::from_mins(1),
            expires: None,
            stream_wait: Duration::from_mins(1),
            on_disconnect: OnDisconnect::default(),
            in_transaction: InTransaction::default(),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            statement_max: 16 << 20,
            bind_max: 1 << 20,
            names_max: 10_000,
            names_bytes_max: 64 << 20,
            pipeline_max: 10_000,
            sessions_max: 1000,
            unauthenticated_max: 500,
            failures_max: 50,
            holds_max: 1000,
            log_queue_max: 16_384,
            planners_max: 2,
            planner_wait: crate::backend::planner::WAIT,
            unread_max: Duration::from_secs(15 * 60),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// What is wrong with files or flags, all of it.
    #[error("{}", lines(.0))]
    Findings(Vec<Finding>),
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Config {
    /// Whether any client's log-in is relayed to the upstream.
    #[must_use]
    pub fn relays(&self) -> bool {
        self.client_rules.is_empty() || self.client_rules.iter().any(|rule| rule.method == Method::Relay)
    }
}
