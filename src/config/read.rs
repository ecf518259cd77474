//! File and flags become one configuration, or all that is wrong with them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::document::{
    ClientAuthEntry, Document, HoldEntry, LimitsEntry, Listen, OperatorEntry, OperatorRole, SinkEntry,
};
use super::dsn::{Host, SslMode};
use super::{
    AuthConfig, CheckpointSink, Config, ConfigError, Environment, HTTP, HoldConfig, LISTEN, LimitsConfig, LogConfig,
    OperatorConfig, ServeFlags, StoreConfig, TlsConfig, Upstream, UpstreamConfig, policies,
};
use crate::net::tls::{ClientAuth, Identity};
use crate::policy::yaml::{self, At, Duration, Size};
use crate::policy::{Finding, Mode, Place, Source};
use crate::sink::SinkOptions;

/// The name of the upstream that `--upstream` names.
const FLAG_UPSTREAM: &str = "default";

impl Config {
    /// Reads the file, if one is named, and completes it from flags, environment and defaults.
    ///
    /// # Errors
    /// A file that cannot be read; everything that is wrong with file and flags.
    pub fn load(file: Option<&Path>, flags: &ServeFlags, environment: &Environment) -> Result<Self, ConfigError> {
        let source = file.map(policies::read).transpose()?;
        Self::read(source.as_ref(), flags, environment).map_err(ConfigError::Findings)
    }

    /// The configuration of flags alone.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn from_flags(flags: &ServeFlags, environment: &Environment) -> Result<Self, Vec<Finding>> {
        Self::read(None, flags, environment)
    }

    /// The configuration of a text and flags; a passfile is the only file that it may open.
    ///
    /// # Errors
    /// Everything that is wrong with them, in their order.
    pub fn read(file: Option<&Source>, flags: &ServeFlags, environment: &Environment) -> Result<Self, Vec<Finding>> {
        let (document, findings) = match file {
            Some(source) => yaml::read::<Document>(source),
            None => (None, Vec::new()),
        };
        let path = file.map_or("", |source| source.path.as_str());
        let mut reader = Reader { path, flags, environment, findings };
        let config = reader.config(&document.unwrap_or_default());
        if reader.findings.is_empty() {
            return Ok(config);
        }
        reader.findings.sort_by_key(|finding| finding.place);
        Err(reader.findings)
    }
}

pub(super) struct Reader<'a> {
    path: &'a str,
    flags: &'a ServeFlags,
    pub(super) environment: &'a Environment,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    /// What was read; what is wrong with it is in the findings.
    fn config(&mut self, document: &Document) -> Config {
        let upstreams = self.upstreams(document);
        let listen = self.listen("--listen", self.flags.listen.as_deref(), document.listen, LISTEN);
        let http = self.listen("--http", self.flags.http.as_deref(), document.http, HTTP);
        let state = self.state(document);
        if let Some(At { place, value: Listen(None) }) = document.listen {
            self.error(place, "bad-value", "clients need an address to connect to");
        }
        let config = Config {
            principals: self.principals(document, upstreams.first().map(|first| &first.upstream)),
            client_rules: self.client_rules(document),
            provider: self.provider(document),
            upstreams,
            // A missing address is among the findings.
            listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
            http,
            tls: self.tls(document),
            operators: self.operators(&document.operators),
            surfaces: self.surfaces(document),
            hold: self.hold(&document.hold),
            limits: self.limits(&document.limits),
            log: self.log(document, &state),
            store: self.store(document, &state),
            policies: self.flags.policies.clone().or_else(|| self.file(document.policies.as_deref())),
            auth: self.auth(document),
            admin_listen: document.admin.listen.and_then(|listen| listen.value.0),
            mode: self.flag("--mode", self.flags.mode.as_deref(), mode).or(document.mode).unwrap_or_default(),
            state,
            insecure_listen: self.flags.insecure_listen || document.insecure_listen,
        };
        self.exposed(&config, document);
        self.served(&config, document);
        config
    }

    pub(super) fn error(&mut self, place: Place, code: &'static str, message: impl Into<String>) {
        self.findings.push(Finding::error(self.path, place, code, message));
    }

    /// The same for a value that cannot be, with what to write instead.
    pub(super) fn error_with(&mut self, place: Place, message: impl Into<String>, hint: &str) {
        self.findings.push(Finding::error(self.path, place, "bad-value", message).hint(hint));
    }

    /// A flag's value; `None` where it is not given, or wrong.
    fn flag<T>(&mut self, name: &str, text: Option<&str>, parse: fn(&str) -> Result<T, String>) -> Option<T> {
        match parse(text?) {
            Ok(value) => Some(value),
            Err(message) => {
                let (message, hint) = message.split_once("; ").unwrap_or((&message, "see --help"));
                self.findings.push(Finding::error(name, Place::default(), "bad-flag", message).hint(hint));
                None
            }
        }
    }

    fn listen(
        &mut self,
        name: &str,
        flag: Option<&str>,
        file: Option<At<Listen>>,
        default: &str,
    ) -> Option<SocketAddr> {
        let listen = match flag {
            Some(_) => self.flag(name, flag, Listen::from_str)?,
            None => file.map(|listen| listen.value).or_else(|| default.parse().ok())?,
        };
        if listen.0.is_none() && name == "--listen" && flag.is_some() {
            let finding = Finding::error(name, Place::default(), "bad-flag", "clients need an address to connect to");
            self.findings.push(finding.hint("see --help"));
        }
        listen.0
    }

    fn state(&self, document: &Document) -> PathBuf {
        let file = || self.file(document.state.as_deref());
        self.flags.state.clone().or_else(file).unwrap_or_else(|| self.environment.state())
    }

    /// A path of the file, relative to the file's own directory.
    pub(super) fn file(&self, path: Option<&str>) -> Option<PathBuf> {
        let directory = Path::new(self.path).parent().unwrap_or_else(|| Path::new(""));
        path.map(|path| directory.join(path))
    }

    fn upstreams(&mut self, document: &Document) -> Vec<UpstreamConfig> {
        if let Some(dsn) = &self.flags.upstream {
            return match Upstream::parse(dsn, self.environment) {
                Ok(upstream) => vec![UpstreamConfig { name: FLAG_UPSTREAM.to_owned(), upstream, environment: None }],
                Err(error) => {
                    let finding = Finding::error("--upstream", Place::default(), "bad-dsn", error.to_string());
                    self.findings.push(finding.hint("write postgres://host:port/database"));
                    Vec::new()
                }
            };
        }
        if document.upstreams.is_empty() {
            let path = if self.path.is_empty() { "--upstream" } else { self.path };
            let finding = Finding::error(path, Place::default(), "no-upstream", "no upstream is named");
            self.findings
                .push(finding.hint("give --upstream postgres://host:port/database, or `upstreams:` in the file"));
        }
        self.unique("upstream", document.upstreams.iter().map(|entry| &entry.name));
        document
            .upstreams
            .iter()
            .filter_map(|entry| match Upstream::parse(&entry.dsn, self.environment) {
                Ok(upstream) => {
                    let (name, environment) = (entry.name.value.clone(), entry.environment.clone());
                    Some(UpstreamConfig { name, upstream, environment })
                }
                Err(error) => {
                    self.error(
                        entry.dsn.place,
                        "bad-dsn",
                        format!("the dsn of `{}` is none: {error}", entry.name.value),
                    );
                    None
                }
            })
            .collect()
    }

    pub(super) fn unique<'a>(&mut self, what: &str, names: impl Iterator<Item = &'a At<String>>) {
        let mut seen = Vec::new();
        for name in names {
            if seen.contains(&name.as_str()) {
                self.error(name.place, "duplicate-name", format!("the {what} `{}` stands above already", name.value));
            }
            if name.trim().is_empty() {
                self.error(name.place, "bad-value", format!("the {what} has no name"));
            }
            seen.push(name.as_str());
        }
    }

    fn tls(&mut self, document: &Document) -> Option<TlsConfig> {
        let tls = document.tls.as_ref()?;
        let identity = Identity { cert: self.file(Some(&tls.cert))?, key: self.file(Some(&tls.key))? };
        let clients = match (self.file(tls.client_ca.as_deref()), tls.client_auth) {
            (None, ClientAuthEntry::Optional) => ClientAuth::Off,
            (Some(ca), ClientAuthEntry::Optional) => ClientAuth::Optional(ca),
            (Some(ca), ClientAuthEntry::Required) => ClientAuth::Required(ca),
            (None, ClientAuthEntry::Required) => {
                let text = "tls.client_auth: required needs tls.client_ca, which says who signs the certificates";
                self.error(Place::default(), "no-client-ca", text);
                ClientAuth::Off
            }
        };
        Some(TlsConfig { identity, clients })
    }

    fn auth(&mut self, document: &Document) -> AuthConfig {
        let default = AuthConfig::default();
        if let Some(timeout) = document.auth.timeout.filter(|timeout| timeout.value.0.is_zero()) {
            self.error(timeout.place, "bad-value", "nobody can log in within no time");
        }
        AuthConfig {
            relay_allow_nonbinding: document.auth.relay_allow_nonbinding,
            allow_upstream_trust: document.auth.allow_upstream_trust,
            timeout: document.auth.timeout.map_or(default.timeout, |timeout| timeout.value.0),
        }
    }

    fn operators(&mut self, entries: &[OperatorEntry]) -> Vec<OperatorConfig> {
        self.unique("operator", entries.iter().map(|entry| &entry.name));
        // Two operators of one account elsewhere would be one person with two names.
        self.unique("oidc_subject", entries.iter().filter_map(|entry| entry.oidc_subject.as_ref()));
        self.unique("Slack user", entries.iter().filter_map(|entry| entry.slack.as_ref()));
        self.unique("e-mail address", entries.iter().filter_map(|entry| entry.email.as_ref()));
        let operator = |entry: &OperatorEntry| OperatorConfig {
            name: entry.name.value.clone(),
            human: entry.human.clone().unwrap_or_else(|| entry.name.value.clone()),
            groups: entry.groups.0.clone(),
            roles: if entry.roles.is_empty() { vec![OperatorRole::Operator] } else { entry.roles.0.clone() },
            token_file: self.file(entry.token_file.as_deref()),
            oidc_subject: entry.oidc_subject.as_ref().map(|subject| subject.value.clone()),
            slack: entry.slack.as_ref().map(|user| user.value.clone()),
            email: entry.email.as_ref().map(|email| email.value.clone()),
        };
        entries.iter().map(operator).collect()
    }

    fn hold(&mut self, entry: &HoldEntry) -> HoldConfig {
        let default = HoldConfig::default();
        if let Some(expires) = entry.expires.filter(|expires| expires.value.0.is_zero()) {
            self.error(expires.place, "bad-value", "a hold that expires at once cannot be decided");
        }
        let wait = self.flag("--hold-wait", self.flags.hold_wait.as_deref(), Duration::from_str).or(entry.wait);
        HoldConfig {
            wait: wait.map_or(default.wait, |wait| wait.0),
            expires: entry.expires.map(|expires| expires.value.0),
            stream_wait: entry.stream_wait.map_or(default.stream_wait, |wait| wait.0),
            on_disconnect: entry.on_disconnect,
            in_transaction: entry.in_transaction,
        }
    }

    fn limits(&mut self, entry: &LimitsEntry) -> LimitsConfig {
        let default = LimitsConfig::default();
        LimitsConfig {
            statement_max: self.bound(entry.statement_max, default.statement_max),
            bind_max: self.bound(entry.bind_max, default.bind_max),
            names_max: self.bound(entry.names_max, default.names_max),
            names_bytes_max: self.bound(entry.names_bytes_max, default.names_bytes_max),
            pipeline_max: self.bound(entry.pipeline_max, default.pipeline_max),
            sessions_max: self.bound(entry.sessions_max, default.sessions_max),
            unauthenticated_max: self.bound(entry.unauthenticated_max, default.unauthenticated_max),
            failures_max: self.bound(entry.failures_max, default.failures_max),
            holds_max: self.bound(entry.holds_max, default.holds_max),
            log_queue_max: self.bound(entry.log_queue_max, default.log_queue_max),
            planners_max: self.bound(entry.planners_max, default.planners_max),
            planner_wait: entry.planner_wait.map_or(default.planner_wait, |wait| wait.0),
            unread_max: entry.unread_max.map_or(default.unread_max, |wait| wait.0),
        }
    }

    /// A bound that is not zero, and not more than a frame of the protocol can be (its length is a signed 32-bit number).
    pub(super) fn bound(&mut self, given: Option<At<Size>>, default: u64) -> u64 {
        const MOST: u64 = 0x7fff_ffff;
        let Some(given) = given else { return default };
        if !(1..=MOST).contains(&given.value.0) {
            self.error(given.place, "bad-value", format!("a bound lies between 1 and {MOST}"));
        }
        given.value.0
    }

    fn log(&mut self, document: &Document, state: &Path) -> LogConfig {
        const SEGMENT_MAX: u64 = 64 << 20;
        const EVERY: std::time::Duration = std::time::Duration::from_secs(60);
        const EVERY_LEAST: std::time::Duration = std::time::Duration::from_millis(100);
        let log = &document.log;
        LogConfig {
            dir: self.file(log.dir.as_deref()).unwrap_or_else(|| state.join("log")),
            segment_max: self.bound(log.segment_max, SEGMENT_MAX),
            sync_timeout: self.sync_timeout(log.sync_timeout),
            literals: log.literals,
            sinks: self.sinks(&log.sinks),
            retention_age: log.retention.age.map(|age| age.0),
            retention_size: log.retention.size.map(|size| size.0),
            checkpoints_every: log.checkpoints.every.map_or(EVERY, |every| every.0.max(EVERY_LEAST)),
            checkpoints_to: log.checkpoints.to.0.iter().map(|sink| self.checkpoint_sink(&sink.value)).collect(),
        }
    }

    fn sync_timeout(&mut self, given: Option<At<Duration>>) -> std::time::Duration {
        const LEAST: std::time::Duration = std::time::Duration::from_millis(10);
        const MOST: std::time::Duration = std::time::Duration::from_secs(3600);
        let Some(given) = given else { return crate::log::SYNC_TIMEOUT };
        if !(LEAST..=MOST).contains(&given.value.0) {
            self.error(given.place, "bad-value", "log.sync_timeout lies between 10ms and 1h");
        }
        given.value.0
    }

    fn checkpoint_sink(&self, text: &str) -> CheckpointSink {
        match text {
            "stdout" => CheckpointSink::Stdout,
            url if url.starts_with("http://") || url.starts_with("https://") => CheckpointSink::Http(url.to_owned()),
            path => CheckpointSink::File(self.file(Some(path)).unwrap_or_else(|| path.into())),
        }
    }

    fn sinks(&mut self, entries: &[SinkEntry]) -> Vec<SinkOptions> {
        let mut sinks: Vec<SinkOptions> = Vec::new();
        for (entry, number) in entries.iter().map(|entry| &entry.openlineage).zip(1..) {
            let name = entry.name.as_ref().map_or_else(|| format!("openlineage{number}"), |name| name.value.clone());
            let place = entry.name.as_ref().map_or(entry.url.place, |name| name.place);
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if name.is_empty() || !name.bytes().all(is_plain) {
                self.error(place, "bad-value", "a sink's name is of letters, digits, - and _: it names its files");
            }
            if sinks.iter().any(|sink| sink.name == name) {
                self.error(place, "duplicate-name", format!("the sink `{name}` stands above already"));
            }
            if !entry.url.starts_with("http://") && !entry.url.starts_with("https://") {
                self.error(entry.url.place, "bad-value", "a sink's url begins with http:// or https://");
            }
            let default = SinkOptions::new(name, entry.url.value.clone());
            let batch_max = self.bound(entry.batch_max, u64::try_from(default.batch_max).unwrap_or(1));
            sinks.push(SinkOptions {
                token_file: self.file(entry.token_file.as_deref()),
                batch_max: usize::try_from(batch_max).unwrap_or(usize::MAX),
                timeout: entry.timeout.map_or(default.timeout, |timeout| timeout.0),
                ..default
            });
        }
        sinks
    }

    fn store(&self, document: &Document, state: &Path) -> StoreConfig {
        let path = self.file(document.store.path.as_deref());
        StoreConfig { path: path.unwrap_or_else(|| state.join("holds.sqlite")) }
    }

    /// What is well-formed and not served.
    fn served(&mut self, config: &Config, document: &Document) {
        const NOT_SERVED: &str = "not-served";
        if let (Some(second), None) = (document.upstreams.get(1), &self.flags.upstream) {
            self.error(second.place, NOT_SERVED, "one proxy serves one upstream: start one for each");
        }
        if let Some(rollup) = document.log.rollup.filter(|rollup| rollup.value) {
            self.error(rollup.place, NOT_SERVED, "log.rollup is not served: every statement has a record of its own");
        }
        for operator in document.operators.iter().filter(|operator| operator.has_no_way_in()) {
            let message = "an operator needs a token_file, an oidc_subject, or an account in Slack";
            self.error(operator.name.place, NOT_SERVED, message);
        }
        let encrypts = |upstream: &Upstream| {
            !matches!(upstream.sslmode, SslMode::Disable | SslMode::Allow) && matches!(upstream.host, Host::Tcp(_))
        };
        let both = config.tls.is_some() && config.upstreams.iter().any(|upstream| encrypts(&upstream.upstream));
        if both && config.relays() && !config.auth.relay_allow_nonbinding {
            let place = document.upstreams.first().map_or_else(Place::default, |upstream| upstream.value.dsn.place);
            self.error(place, NOT_SERVED, NONBINDING);
        }
    }

    /// Listening beyond loopback in clear text must be meant.
    fn exposed(&mut self, config: &Config, document: &Document) {
        if config.insecure_listen {
            return;
        }
        let listens = [
            ("--listen", Some(config.listen), config.tls.is_some(), document.listen),
            ("--http", config.http, false, document.http),
            ("admin", config.admin_listen, config.tls.is_some(), document.admin.listen),
        ];
        for (name, address, secured, written) in listens {
            let Some(address) = address.filter(|address| !secured && !address.ip().is_loopback()) else { continue };
            let from_file = written.filter(|written| written.value.0 == Some(address));
            let (path, place) = from_file.map_or((name, Place::default()), |written| (self.path, written.place));
            let message = format!("{address} is open to others, without TLS");
            let finding = Finding::error(path, place, "insecure-listen", message);
            self.findings.push(finding.hint("listen on loopback, configure `tls:`, or say --insecure-listen"));
        }
    }
}

const NONBINDING: &str = "TLS to clients and TLS to the upstream have different certificates, so that relayed SCRAM \
    clients that know channel binding are refused by the server as downgraded, and sslmode=prefer silently goes on in \
    clear; let all clients be principals (`client_rules` without relay), use sslmode=disable to an upstream on this \
    machine, or set auth.relay_allow_nonbinding";

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "enforce" => Ok(Mode::Enforce),
        "observe" => Ok(Mode::Observe),
        _ => Err(format!("`{text}` is no mode; write enforce or observe")),
    }
}
