//! `holdgate demo`: a throw-away Postgres with a sample shop, the proxy in front of it, and a tour of real checks.

mod agent;
mod home;
mod operator;
mod postgres;
mod proxy;
mod shop;
mod steps;
mod tour;

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::home::{Home, Keep};
use self::shop::{AGENT, DATABASE, Shop};
use super::exit;
use crate::ids::NAME;

/// The tour: a throw-away Postgres with a sample shop, the proxy in front of it, and what happens to an agent there.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Run the tour, clean up and end; exit code 0 only if every step held.
    #[arg(long)]
    once: bool,
    /// Where clients connect [default: 6432, or another where that is taken].
    #[arg(long)]
    port: Option<u16>,
    /// Where operators and metrics are [default: 6480, or another where that is taken].
    #[arg(long)]
    http_port: Option<u16>,
    /// Leave database files, state and log where they are at the end.
    #[arg(long)]
    keep_data: bool,
}

impl Demo {
    /// Runs the command; the exit code is one of [`super::exit`].
    ///
    /// # Errors
    /// What kept the demo from starting; printed by `main`, exit code 2.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.stage()).map(ExitCode::from)
    }

    /// Everything that is started here is a guard: it ends on every way out.
    async fn stage(self) -> anyhow::Result<u8> {
        let mut signals = Stop::new()?;
        let mut out = std::io::stdout();
        let home = Home::new(if self.keep_data { Keep::Yes } else { Keep::No })?;
        writeln!(out, "Starting Postgres, the sample shop and {NAME} in {} …", home.path().display())?;
        let started = signals.or(Shop::start(&home, proxy::Ports::of(self.port, self.http_port, self.once))).await;
        let Some(shop) = started.transpose()? else { return Ok(exit::NO) };
        introduce(&shop, &mut out)?;
        let Some(held) = signals.or(tour::run(&shop, &mut out)).await.transpose()? else { return Ok(exit::NO) };
        if !self.once {
            writeln!(out, "\nEverything stays up until Ctrl-C. Try it:\n")?;
            commands(&shop, &mut out)?;
            tokio::select! {
                // Cancel-safe: both only wait.
                () = signals.asked() => {}
                () = shop.proxy.ended() => anyhow::bail!("the proxy has ended: {}", shop.proxy.last_words()),
            }
            writeln!(out, "\nCleaning up.")?;
        }
        Ok(if held { exit::DONE } else { exit::NO })
    }
}

/// Ctrl-C, or a request of the system to end.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be received");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        // Cancel-safe: both only wait for a signal.
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// The work's result; `None` where the end was asked for before. The work is then dropped, and its guards clean up.
    async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            result = work => Some(result),
            () = self.asked() => None,
        }
    }
}

fn introduce(shop: &Shop<'_>, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "\n  {} rows in the database {DATABASE}. The agent is {AGENT}, who acts for the human alice.\n\n  \
         agent     {}\n  directly  {}\n  http      {}\n  operator  user operator, token {}\n  log       {}\n",
        shop.rows,
        shop.agent_dsn(),
        shop.direct_dsn(),
        shop.proxy.url(),
        shop.proxy.token(),
        shop.home.state().display(),
    )
}

fn commands(shop: &Shop<'_>, out: &mut impl Write) -> std::io::Result<()> {
    let address = shop.proxy.postgres();
    let (token, url, state) = (shop.proxy.token(), shop.proxy.url(), shop.home.state());
    let state = state.display();
    writeln!(out, "  as the agent      psql '{}'", shop.agent_dsn())?;
    writeln!(out, "  as an operator    psql 'postgres://operator:{token}@{address}/{NAME}'")?;
    writeln!(out, "                      SHOW HOLDS;  SHOW HOLD '<id>';  APPROVE '<id>' 'why';  DENY '<id>' 'why';")?;
    writeln!(out, "  or                {NAME} holds list --url {url} --token {token}")?;
    writeln!(out, "  read the log      {NAME} log tail --follow --state {state}")?;
    writeln!(out, "                    {NAME} log query --column customers.email --state {state}")?;
    writeln!(out, "  verify the log    {NAME} log verify --state {state}")
}
