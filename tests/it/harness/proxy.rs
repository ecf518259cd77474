//! The built binary in front of a test's database.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use tempfile::TempDir;

use super::{Api, DEADLINE, TestDb};

/// A policy that lets everything pass.
pub const ALLOW_ALL: &str = "version: 1\nerrors: pass\nrules: []\ndefault: allow\n";

/// What a proxy writes to its standard output goes into this file of its state.
pub const STDOUT: &str = "stdout";

/// How a proxy is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Recorded only.
    pub observe: bool,
    /// The text of a policy file; the shipped policy where absent.
    pub policy: Option<&'a str>,
    /// More of the command line.
    pub arguments: &'a [&'a str],
}

/// A running proxy; it is killed when this is dropped.
pub struct Proxy {
    child: Child,
    /// Where clients connect: `127.0.0.1:PORT`.
    pub postgres: String,
    /// The port of that.
    pub port: u16,
    /// Where operators connect.
    pub http: String,
    /// Log, store and tokens.
    pub state: TempDir,
    /// The first operator's token.
    pub token: String,
    database: String,
    lines: mpsc::Receiver<String>,
}

impl Proxy {
    /// Starts a proxy and waits until it listens.
    pub fn start(db: &TestDb, options: Options<'_>) -> Self {
        Self::start_to(&db.dsn(), &db.name, options)
    }

    /// The same in front of any upstream.
    pub fn start_to(dsn: &str, database: &str, options: Options<'_>) -> Self {
        Self::start_in(TempDir::new().unwrap(), dsn, database, options)
    }

    /// Ends this one as an operator would, and starts another over its state and its policy.
    pub fn restart(mut self, db: &TestDb) -> Self {
        self.signal("TERM");
        self.wait();
        let state = std::mem::replace(&mut self.state, TempDir::new().unwrap());
        let policy = fs::read_to_string(state.path().join("policy.yaml")).ok();
        Self::start_in(state, &db.dsn(), &db.name, Options { policy: policy.as_deref(), ..Options::default() })
    }

    /// The same with a configuration file.
    pub fn restart_with_config(mut self, db: &TestDb, config: &std::path::Path) -> Self {
        self.signal("TERM");
        self.wait();
        let state = std::mem::replace(&mut self.state, TempDir::new().unwrap());
        let arguments = ["--config", config.to_str().unwrap()];
        Self::start_in(state, &db.dsn(), &db.name, Options { arguments: &arguments, ..Options::default() })
    }

    /// The process is killed in the middle of whatever it does, and another one starts over its state and its policy.
    pub fn killed_and_restarted(mut self, db: &TestDb) -> Self {
        self.signal("KILL");
        self.wait();
        let state = std::mem::replace(&mut self.state, TempDir::new().unwrap());
        let policy = fs::read_to_string(state.path().join("policy.yaml")).ok();
        Self::start_in(state, &db.dsn(), &db.name, Options { policy: policy.as_deref(), ..Options::default() })
    }

    /// The same with arguments of its own.
    pub fn restart_with(mut self, db: &TestDb, arguments: &[&str]) -> Self {
        self.signal("TERM");
        self.wait();
        let state = std::mem::replace(&mut self.state, TempDir::new().unwrap());
        Self::start_in(state, &db.dsn(), &db.name, Options { arguments, ..Options::default() })
    }

    /// Kills this one (SIGKILL) and gives back what it leaves.
    pub fn kill(mut self) -> TempDir {
        self.signal("KILL");
        self.wait();
        std::mem::replace(&mut self.state, TempDir::new().unwrap())
    }

    /// Starts a proxy over a state that another one left.
    pub fn start_in(state: TempDir, dsn: &str, database: &str, options: Options<'_>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdgate"));
        command.args(["serve", "--upstream", dsn, "--listen", "127.0.0.1:0", "--state"]);
        command.arg(state.path());
        if !options.arguments.contains(&"--http") {
            command.args(["--http", "127.0.0.1:0"]);
        }
        if options.observe {
            command.args(["--mode", "observe"]);
        }
        if let Some(policy) = options.policy {
            let path = state.path().join("policy.yaml");
            fs::write(&path, policy).unwrap();
            command.arg("--policies").arg(path);
        }
        let stdout = fs::File::create(state.path().join(STDOUT)).unwrap();
        command.args(options.arguments).stdout(stdout).stderr(Stdio::piped()).stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let postgres = ready(&lines, "ready postgres=");
        let http = ready(&lines, "ready http=");
        let token = fs::read_to_string(state.path().join("operator.token")).unwrap().trim().to_owned();
        let port = postgres.rsplit(':').next().unwrap().parse().unwrap();
        Self { child, postgres, port, http, state, token, database: database.to_owned(), lines }
    }

    /// The operators' API.
    pub fn api(&self) -> Api {
        Api::new(&self.http, &self.token)
    }

    /// A DSN for a role.
    pub fn dsn(&self, role: &str) -> String {
        format!("postgres://{role}@{}/{}", self.postgres, self.database)
    }

    /// Connects as the superuser; notices are dropped.
    pub fn connect(&self) -> postgres_client::Client {
        postgres_client::Client::connect(&self.dsn("postgres"))
    }

    /// Runs `holdgate holds` against this proxy.
    pub fn holds(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_holdgate"))
            .arg("holds")
            .args(arguments)
            .args(["--url", &format!("http://{}", self.http), "--token", &self.token])
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// What psql prints of a command on the database `holdgate`.
    pub fn admin(&self, command: &str) -> String {
        let dsn = format!("host=127.0.0.1 port={} dbname=holdgate user=operator", self.port);
        let output = Command::new("psql")
            .args(["-X", "-At", "-d", &dsn, "-c", command])
            .env("PGPASSWORD", &self.token)
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Sends a signal: `TERM`, `HUP`, `KILL`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for a line on standard error that holds a text.
    pub fn wait_for_line(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no line with {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The next line on standard error, where one comes in time.
    pub fn next_line(&self, within: std::time::Duration) -> Option<String> {
        self.lines.recv_timeout(within).ok()
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Runs the binary with `--state` of this proxy.
    pub fn holdgate(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_holdgate"))
            .args(arguments)
            .args(["--state".as_ref(), self.state.path().as_os_str()])
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }
}

fn ready(lines: &mpsc::Receiver<String>, prefix: &str) -> String {
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(DEADLINE) {
            Ok(line) => match line.strip_prefix(prefix) {
                Some(address) => return address.to_owned(),
                None => seen.push(line),
            },
            Err(error) => panic!("the proxy did not start: {error}: {seen:?}"),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A small blocking client over tokio-postgres.
pub mod postgres_client {
    use std::sync::{Arc, Mutex};

    use tokio::runtime::Runtime;
    use tokio_postgres::{AsyncMessage, Error, NoTls, SimpleQueryMessage};

    /// A connection with its runtime.
    pub struct Client {
        runtime: Runtime,
        /// The driver itself.
        pub inner: tokio_postgres::Client,
        notices: Arc<Mutex<Vec<String>>>,
    }

    impl Client {
        /// Connects.
        pub fn connect(dsn: &str) -> Self {
            Self::try_connect(dsn).unwrap()
        }

        /// Connects, or says why not.
        pub fn try_connect(dsn: &str) -> Result<Self, Error> {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let notices = Arc::new(Mutex::new(Vec::new()));
            let (inner, mut connection) = runtime.block_on(tokio_postgres::connect(dsn, NoTls))?;
            let heard = notices.clone();
            runtime.spawn(async move {
                while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                    if let AsyncMessage::Notice(notice) = message {
                        heard.lock().unwrap().push(notice.message().to_owned());
                    }
                }
            });
            Ok(Self { runtime, inner, notices })
        }

        /// Runs a future of the driver.
        pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
            self.runtime.block_on(future)
        }

        /// Runs a simple Query; gives back its rows as text, columns separated by `|`.
        pub fn query(&self, sql: &str) -> Result<Vec<String>, Error> {
            let messages = self.wait(self.inner.simple_query(sql))?;
            let row = |message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|at| row.get(at).unwrap_or("")).collect::<Vec<_>>().join("|"))
                }
                _ => None,
            };
            Ok(messages.into_iter().filter_map(row).collect())
        }

        /// The SQLSTATE and message with which a simple Query fails.
        pub fn fails(&self, sql: &str) -> (String, String) {
            fault(&self.query(sql).expect_err(sql))
        }

        /// What notices said so far.
        pub fn notices(&self) -> Vec<String> {
            self.notices.lock().unwrap().clone()
        }
    }

    /// The SQLSTATE of an error, and its message with detail and hint.
    pub fn fault(error: &Error) -> (String, String) {
        let error = error.as_db_error().unwrap_or_else(|| panic!("no server error: {error}"));
        let text = [Some(error.message()), error.detail(), error.hint()].into_iter().flatten().collect::<Vec<_>>();
        (error.code().code().to_owned(), text.join(" | "))
    }
}
