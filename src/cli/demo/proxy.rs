//! The proxy as a program of its own: the same binary, with a configuration file.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::sync::watch;

use super::home::Home;
use crate::clock::monotonic;
use crate::control::TOKEN_FILE;

/// The longest that the start may take.
const START_MAX: Duration = Duration::from_secs(20);
/// The longest that the end may take before the program is killed.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Lines of the proxy's diagnostics that are kept.
const LINES_MAX: usize = 20;

/// Where the proxy listens; 0 is any port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    postgres: u16,
    http: u16,
}

impl Ports {
    /// What was asked for; else the usual ports where they are free. A run that ends by itself needs no known ones.
    pub(super) fn of(postgres: Option<u16>, http: Option<u16>, once: bool) -> Self {
        let usual = |port: u16| if !once && is_free(port) { port } else { 0 };
        Self { postgres: postgres.unwrap_or_else(|| usual(6432)), http: http.unwrap_or_else(|| usual(6480)) }
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// What the proxy has said so far.
#[derive(Debug, Default)]
struct Said {
    postgres: Option<String>,
    http: Option<String>,
    last: VecDeque<String>,
    ended: bool,
}

/// A running proxy; stopped when this is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    child: Mutex<Child>,
    said: watch::Receiver<Said>,
    postgres: String,
    http: String,
    token: String,
}

impl Proxy {
    /// Starts it in front of an upstream and waits until it listens.
    pub(super) async fn start(home: &Home, ports: Ports, upstream: &str, alice: &str) -> anyhow::Result<Self> {
        let token_file = home.secret("alice.token", &format!("{alice}\n"))?;
        let path = home.secret("holdgate.yaml", &configuration(&home.state(), ports, upstream, &token_file))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").arg("--config").arg(path);
        // A group of its own: Ctrl-C comes to the demo alone, which then ends the proxy.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().context("the proxy cannot be started")?;
        let (sender, said) = watch::channel(Said::default());
        if let Some(stderr) = child.stderr.take() {
            std::thread::Builder::new().name("proxy stderr".to_owned()).spawn(move || listen(stderr, &sender))?;
        }
        let (empty, child) = (String::new, Mutex::new(child));
        let mut proxy = Self { child, said, postgres: empty(), http: empty(), token: empty() };
        proxy.wait_until_ready().await?;
        std::fs::read_to_string(home.state().join(TOKEN_FILE))?.trim().clone_into(&mut proxy.token);
        Ok(proxy)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let ready = |said: &Said| said.ended || (said.postgres.is_some() && said.http.is_some());
        // Ended, late or ready: what was said by then tells.
        drop(tokio::time::timeout(START_MAX, self.said.clone().wait_for(ready)).await.map(drop));
        let addresses = {
            let said = self.said.borrow();
            said.postgres.clone().zip(said.http.clone())
        };
        let (postgres, http) = addresses.with_context(|| format!("the proxy did not start: {}", self.last_words()))?;
        (self.postgres, self.http) = (postgres, http);
        Ok(())
    }

    /// Where clients connect, `host:port`.
    pub(super) fn postgres(&self) -> &str {
        &self.postgres
    }

    /// Where operators connect.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// The first operator's token.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// The newest lines of its diagnostics.
    pub(super) fn last_words(&self) -> String {
        self.said.borrow().last.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Waits until the program has ended by itself.
    pub(super) async fn ended(&self) {
        // An error means that its standard error is no longer read: it has ended too.
        drop(self.said.clone().wait_for(|said| said.ended).await.map(drop));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = stop(child) {
            eprintln!("the proxy was not stopped: {error:#}");
        }
    }
}

fn stop(child: &mut Child) -> anyhow::Result<()> {
    if child.try_wait()?.is_some() {
        return Ok(());
    }
    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    let since = monotonic();
    while asked.as_ref().is_ok_and(std::process::ExitStatus::success) && since.elapsed() < STOP_MAX {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill()?;
    let status = child.wait()?;
    ensure!(!status.success(), "it was killed and says that it ended well");
    Ok(())
}

/// Reads the proxy's standard error to its end.
fn listen(stderr: ChildStderr, said: &watch::Sender<Said>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        said.send_modify(|said| {
            if let Some(address) = line.strip_prefix("ready postgres=") {
                said.postgres = Some(address.to_owned());
            } else if let Some(address) = line.strip_prefix("ready http=") {
                said.http = Some(address.to_owned());
            } else {
                if said.last.len() == LINES_MAX {
                    said.last.pop_front();
                }
                said.last.push_back(line);
            }
        });
    }
    said.send_modify(|said| said.ended = true);
}

/// The configuration: the shipped policy, an agent that acts for alice, and alice as an operator.
fn configuration(state: &Path, ports: Ports, upstream: &str, alice: &Path) -> String {
    format!(
        "upstreams:
  - {{ name: shop, dsn: \"{upstream}\", environment: demo }}
listen: \"127.0.0.1:{}\"
http: \"127.0.0.1:{}\"
state: \"{}\"
principals:
  - {{ name: {agent}, kind: agent, role: {agent}, human: alice }}
operators:
  - {{ name: alice, human: alice, groups: [dba, compliance], roles: [operator], token_file: \"{}\" }}
",
        ports.postgres,
        ports.http,
        state.display(),
        alice.display(),
        agent = super::AGENT,
    )
}
