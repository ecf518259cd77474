//! `holdgate serve`: runs the proxy.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Config, ConfigError, Environment, ServeFlags};
use crate::server::{Options, Server};
use crate::telemetry::{self, LogFormat};

/// Runs the proxy.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// The Postgres behind the proxy: postgres://[user[:password]@]host[:port][/database], or libpq's key=value words.
    #[arg(long)]
    upstream: Option<String>,
    /// A configuration file; flags win over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where clients connect [default: 127.0.0.1:6432]; port 0 picks one.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where operators and metrics are [default: 127.0.0.1:6480]; port 0 picks one, `off` leaves psql alone.
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// A policy file or a directory of them [default: the policy that the program ships].
    #[arg(long, value_name = "DIR|FILE")]
    policies: Option<PathBuf>,
    /// Where log, store and tokens live.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Whether verdicts are carried out: enforce or observe.
    #[arg(long)]
    mode: Option<String>,
    /// How long a held statement waits on its live connection [default: 60s].
    #[arg(long, value_name = "DURATION")]
    hold_wait: Option<String>,
    /// Listen beyond loopback without TLS.
    #[arg(long)]
    insecure_listen: bool,
    /// What is told on standard error: error, warn, info, debug, trace.
    #[arg(long, default_value = "warn", env = "HOLDGATE_DIAGNOSTICS")]
    diagnostics: String,
}

impl Serve {
    /// Runs until SIGTERM or SIGINT.
    ///
    /// # Errors
    /// A configuration that cannot be used, or a server that cannot start; exit code 2.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        telemetry::init(LogFormat::Text, &self.diagnostics)?;
        let environment = Environment::process();
        let flags = ServeFlags {
            upstream: self.upstream,
            listen: self.listen,
            http: self.http,
            policies: self.policies,
            state: self.state,
            mode: self.mode,
            hold_wait: self.hold_wait,
            insecure_listen: self.insecure_listen,
        };
        let file = self.config;
        let config = Config::load(file.as_deref(), &flags, &environment).map_err(|error| plain(&error))?;
        let mut options = Options::of(&config)?;
        options.again = Some(Arc::new(move || {
            let config =
                Config::load(file.as_deref(), &flags, &environment).map_err(|error| vec![error.to_string()])?;
            Options::of(&config).map_err(|problems| problems.0.iter().map(ToString::to_string).collect())
        }));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(serve(options, &config.state))?;
        Ok(super::exit::DONE.into())
    }
}

fn plain(error: &ConfigError) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

async fn serve(options: Options, state: &Path) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let server = Server::start(options).await?;
    let mut stderr = std::io::stderr();
    writeln!(stderr, "ready postgres={}", server.postgres())?;
    match server.http() {
        Some(http) => writeln!(stderr, "ready http={http}")?,
        None => writeln!(stderr, "ready http=off")?,
    }
    if let Some(admin) = server.admin() {
        writeln!(stderr, "ready admin={admin}")?;
    }
    tracing::info!(state = %state.display(), "serving");
    loop {
        // Cancel-safe: each branch only waits for a signal.
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hangup.recv() => match server.reload().await {
                Ok(sha256) => writeln!(stderr, "reloaded policy={sha256}")?,
                Err(problems) => {
                    for problem in problems {
                        writeln!(stderr, "{problem}")?;
                    }
                    writeln!(stderr, "nothing was reloaded: what was in force stays")?;
                }
            },
        }
    }
    writeln!(stderr, "draining")?;
    server.drain().await;
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be received");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }
}
