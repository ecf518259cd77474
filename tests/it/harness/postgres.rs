//! One Postgres for all tests of a run, whichever process starts it first.
//!
//! The tests run in processes of their own. The first one starts the server under a file lock; a small watchdog shell
//! stops it when no test process has been there for a while, so that nothing is left behind.

use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::eventually;

/// The superuser, believed without a password.
pub const SUPERUSER: &str = "postgres";
/// The password of all `agent_*` roles.
pub const PASSWORD: &str = "correct horse";

/// The directory of `initdb`, `pg_ctl` and `postgres` of the server to test against.
const BIN_VARIABLE: &str = "HOLDGATE_PG_BIN";

/// Seconds without a test process after which the server is stopped.
const IDLE_SECONDS: u32 = 45;

/// A database of a test's own.
pub struct TestDb {
    /// Its name.
    pub name: String,
    /// The server's port on 127.0.0.1.
    pub port: u16,
    /// The authority that has signed the server's certificate, for `localhost`, PEM.
    pub root: PathBuf,
}

impl TestDb {
    /// A new database from the template.
    pub fn new(label: &str) -> Self {
        let port = server();
        let name = format!("t_{label}_{}", std::process::id());
        let db = Self { name, port, root: home().join("root.crt") };
        // Another test may be copying the template at this moment.
        eventually("the template is free", || {
            let made = db.admin_try(&format!("CREATE DATABASE {} TEMPLATE shop_template", db.name));
            match made {
                Ok(()) => Some(()),
                Err(text) if text.contains("being accessed by other users") => None,
                Err(text) => panic!("{text}"),
            }
        });
        db
    }

    /// Runs SQL directly on the server, as the superuser.
    pub fn direct(&self, sql: &str) -> String {
        let output = psql(self.port, &self.name, sql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// The server's major version.
    pub fn version(&self) -> u32 {
        self.direct("SHOW server_version_num").parse::<u32>().unwrap() / 10_000
    }

    /// The server's own log, where statements of this database stand from now on (`log_statement`).
    pub fn log_statements(&self) -> PathBuf {
        let name = &self.name;
        self.direct(&format!("ALTER DATABASE {name} SET log_statement = 'all'"));
        self.direct(&format!("ALTER DATABASE {name} SET log_min_messages = 'log'"));
        home().join("server.log")
    }

    /// The DSN of the server itself.
    pub fn dsn(&self) -> String {
        format!("postgres://{SUPERUSER}@127.0.0.1:{}/{}?sslmode=disable", self.port, self.name)
    }

    fn admin_try(&self, sql: &str) -> Result<(), String> {
        let output = psql(self.port, "postgres", sql);
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        // What is left of a failed test goes with the server.
        drop(self.admin_try(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)));
    }
}

fn psql(port: u16, database: &str, sql: &str) -> std::process::Output {
    Command::new("psql")
        .args(["-X", "-At", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &port.to_string()])
        .args(["-U", SUPERUSER, "-d", database, "-c", sql])
        .env("PGSSLMODE", "disable")
        .output()
        .expect("psql is missing: install postgresql-client")
}

/// The port of the shared server, started where it does not run.
fn server() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let home = home();
        fs::create_dir_all(&home).unwrap();
        let lock = File::create(home.join("lock")).unwrap();
        lock.lock().unwrap();
        note_use(&home);
        let port = running(&home).unwrap_or_else(|| start(&home));
        drop(lock);
        std::thread::spawn(move || {
            loop {
                note_use(&home);
                std::thread::sleep(std::time::Duration::from_secs(5));
            }
        });
        port
    })
}

/// Reachable for the server's own user, and different for each checkout and each server.
fn home() -> PathBuf {
    let checkout = env!("CARGO_MANIFEST_DIR").replace('/', "_");
    // A socket's path has little room.
    let mut server = std::hash::DefaultHasher::new();
    std::env::var_os(BIN_VARIABLE).hash(&mut server);
    std::env::temp_dir().join(format!("holdgate-it{checkout}_{:x}", server.finish()))
}

fn note_use(home: &Path) {
    fs::write(home.join("used"), b"").unwrap();
}

fn running(home: &Path) -> Option<u16> {
    let port: u16 = fs::read_to_string(home.join("port")).ok()?.trim().parse().ok()?;
    psql(port, "shop_template", "SELECT 1").status.success().then_some(port)
}

fn start(home: &Path) -> u16 {
    let bin = bin();
    let data = home.join("data");
    if data.exists() {
        drop(server_command(&bin, "pg_ctl").args(["-D", &text(&data), "-m", "immediate", "stop"]).output());
        fs::remove_dir_all(&data).unwrap();
    }
    if is_root() {
        run(Command::new("chown").arg(SUPERUSER).arg(home));
    }
    run(server_command(&bin, "initdb").args(["-D", &text(&data), "-U", SUPERUSER, "-A", "trust", "-N", "-E", "UTF8"]));
    let port = free_port();
    configure(&data, home, port);
    certify(&data, home);
    let log = text(&home.join("server.log"));
    run(server_command(&bin, "pg_ctl").args(["-D", &text(&data), "-l", &log, "-w", "start"]).stdout(Stdio::null()));
    prepare(port);
    fs::write(home.join("port"), port.to_string()).unwrap();
    watch(home, &bin, &data);
    port
}

fn configure(data: &Path, home: &Path, port: u16) {
    let settings = format!(
        "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\n\
         synchronous_commit = off\nfull_page_writes = off\nmax_connections = 200\nmax_prepared_transactions = 10\n\
         wal_level = logical\nmax_wal_senders = 50\nmax_replication_slots = 50\n\
         autovacuum = off\nlog_min_messages = fatal\n",
        home.display()
    );
    let hba = "host all agent_password 127.0.0.1/32 password\nhost all agent_md5 127.0.0.1/32 md5\n\
               host all agent_scram 127.0.0.1/32 scram-sha-256\n\
               hostssl all agent_cert 127.0.0.1/32 cert\nhost all agent_cert 127.0.0.1/32 reject\nlocal all all trust\n\
               host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n";
    append(&data.join("postgresql.conf"), &settings);
    fs::write(data.join("pg_hba.conf"), hba).unwrap();
}

/// A certificate for `localhost`, and roles whose log-in wants a certificate of the same authority or TLS.
fn certify(data: &Path, home: &Path) {
    let authority = super::certs::Authority::new();
    authority.write_root(&home.join("root.crt"));
    let (cert, key) = authority.issue("localhost", &["localhost"]);
    let (bot_cert, bot_key) = authority.issue("agent_cert", &[]);
    for (path, text) in [
        (data.join("server.crt"), cert),
        (data.join("server.key"), key),
        (data.join("root.crt"), authority.pem()),
        (home.join("agent_cert.crt"), bot_cert),
        (home.join("agent_cert.key"), bot_key),
    ] {
        fs::write(&path, text).unwrap();
        if is_root() && path.starts_with(data) {
            run(Command::new("chown").arg(SUPERUSER).arg(&path));
        }
        run(Command::new("chmod").arg("600").arg(&path));
    }
    append(&data.join("postgresql.conf"), "ssl = on\nssl_ca_file = 'root.crt'\n");
}

fn append(path: &Path, text: &str) {
    let before = fs::read_to_string(path).unwrap();
    fs::write(path, before + text).unwrap();
}

fn prepare(port: u16) {
    let roles = format!(
        "SET password_encryption = 'md5'; CREATE ROLE agent_md5 LOGIN PASSWORD '{PASSWORD}';
         SET password_encryption = 'scram-sha-256'; CREATE ROLE agent_scram LOGIN PASSWORD '{PASSWORD}';
         CREATE ROLE agent_password LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE agent_trust LOGIN;
         CREATE ROLE agent_cert LOGIN;"
    );
    for (database, sql) in [
        ("postgres", roles.as_str()),
        ("postgres", "CREATE DATABASE shop_template"),
        ("shop_template", include_str!("shop.sql")),
    ] {
        let output = psql(port, database, sql);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A shell of its own session stops the server when nobody has used it for a while.
fn watch(home: &Path, bin: &Path, data: &Path) {
    let stop = if is_root() {
        format!("runuser -u {SUPERUSER} -- {}/pg_ctl -D {} -m immediate stop", bin.display(), data.display())
    } else {
        format!("{}/pg_ctl -D {} -m immediate stop", bin.display(), data.display())
    };
    let script = format!(
        "while [ $(( $(date +%s) - $(stat -c %Y {used}) )) -lt {IDLE_SECONDS} ]; do sleep 5; done; {stop}; rm -rf {home}",
        used = home.join("used").display(),
        home = home.display(),
    );
    // `setsid --fork` comes back at once and leaves the shell behind.
    Command::new("setsid")
        .args(["--fork", "sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("setsid is part of util-linux");
}

pub fn server_command(bin: &Path, program: &str) -> Command {
    let program = bin.join(program);
    // Postgres refuses to run as root.
    let mut command = if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", SUPERUSER, "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

pub fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

/// Where the server's programs are: what [`BIN_VARIABLE`] names, else the newest that Debian has installed.
pub fn bin() -> PathBuf {
    if let Some(bin) = std::env::var_os(BIN_VARIABLE) {
        let bin = PathBuf::from(bin);
        assert!(bin.join("initdb").exists(), "{BIN_VARIABLE} names {}, where no initdb is", bin.display());
        return bin;
    }
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut bins: Vec<_> =
        installed.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists()).collect();
    bins.sort();
    bins.pop().expect("Postgres is missing: install the package postgresql")
}

/// Free now, and below the range that the kernel hands out by itself.
fn free_port() -> u16 {
    let start = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    (start..32_000).find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
