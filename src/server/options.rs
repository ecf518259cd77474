//! What a server is started with, after flags, environment and files were read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::ServerConfig;

use crate::backend::connect::Upstream;
use crate::backend::databases::Credential;
use crate::control::OperatorEntry;
use crate::policy::Policy;
use crate::principal::Principal;
use crate::session::{Bounds, HoldSettings, Mode};

/// Where policies are read from.
#[derive(Clone, Debug)]
pub enum PolicySource {
    /// The policy that the program ships.
    Shipped,
    /// A file, or all files of a directory.
    Path(PathBuf),
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
            ("hold.wait", format!("{}s", self.hold.wait.as_secs())),
            ("hold.stream_wait", format!("{}s", self.hold.stream_wait.as_secs())),
            ("limits.statement_max", self.bounds.statement_max.to_string()),
            ("limits.bind_max", self.bounds.bind_max.to_string()),
            ("limits.sessions_max", self.sessions_max.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}
