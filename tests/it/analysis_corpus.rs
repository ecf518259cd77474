//! The corpus under `fixtures/sql/`: each query is analysed, and Postgres's own rewritten tree says what is true.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on says so; the precision is worth reading"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use holdgate::analysis::{Access, Context, StatementFacts, analyze, settings};
use holdgate::backend::catalog::{follow, is_same, load};
use holdgate::catalog::Catalog;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::harness::{bin, is_root, server_command};
use super::oracle::{Place, Truth, printed};

/// A server of this test's own, reached over a socket in its directory.
pub(crate) struct Server {
    pub(crate) home: tempfile::TempDir,
    bin: PathBuf,
}

impl Server {
    pub(crate) fn start() -> Self {
        let server = Self { home: tempfile::tempdir().unwrap(), bin: bin() };
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(server.home.path()));
        }
        let data = server.data();
        run(server.command("initdb").args(["-A", "trust", "-U", "postgres", "-N", "-D"]).arg(&data));
        let options = format!("-c listen_addresses='' -c fsync=off -k {}", server.home.path().display());
        run(server
            .command("pg_ctl")
            .args(["-w", "-s", "-o", &options, "start", "-l"])
            .arg(server.home.path().join("log"))
            .arg("-D")
            .arg(&data));
        server
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    fn command(&self, name: &str) -> Command {
        let mut command = server_command(&self.bin, name);
        command.current_dir(self.home.path()).stdout(Stdio::null());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        run(self.command("pg_ctl").args(["-s", "-m", "immediate", "stop", "-D"]).arg(self.data()));
    }
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

/// A connection whose notices are kept.
pub(crate) struct Session {
    pub(crate) client: Client,
    notices: Arc<Mutex<Vec<String>>>,
}

impl Session {
    pub(crate) async fn open(home: &Path) -> Self {
        let options = format!("host={} user=postgres dbname=postgres", home.display());
        let (client, mut connection) = tokio_postgres::connect(&options, NoTls).await.unwrap();
        let notices = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&notices);
        tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notice(notice) = message {
                    kept.lock().unwrap().extend(notice.detail().map(str::to_owned));
                }
            }
        });
        Self { client, notices }
    }

    /// What the server's rewritten tree of a query touches; the error where the server refuses it.
    async fn truth(&self, query: &str) -> Result<Truth, tokio_postgres::Error> {
        self.client.batch_execute("SET ROLE reader").await?;
        let truth = self.truth_as_is(query).await;
        self.client.batch_execute("RESET ROLE").await?;
        truth
    }

    /// The server's major version.
    pub(crate) async fn version(&self) -> u32 {
        let number: String = self.client.query_one("SHOW server_version_num", &[]).await.unwrap().get(0);
        number.parse::<u32>().unwrap() / 10_000
    }

    /// The same as whoever the session is.
    pub(crate) async fn truth_as_is(&self, query: &str) -> Result<Truth, tokio_postgres::Error> {
        self.client.batch_execute("SET debug_print_rewritten = on; SET client_min_messages = log").await?;
        let tree = printed(&self.client, &self.notices, query).await;
        self.client.batch_execute("RESET debug_print_rewritten; RESET client_min_messages").await?;
        Ok(Truth::read(&tree?))
    }
}

fn corpus(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sql").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn queries(name: &str) -> Vec<String> {
    corpus(name).split(";\n").map(|query| query.trim().to_owned()).filter(|query| !query.is_empty()).collect()
}

/// Truth in the analysis's words; a whole row is each of its columns.
pub(crate) fn names(catalog: &Catalog, places: &BTreeSet<Place>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (oid, number) in places {
        let Some(relation) = catalog.relation(*oid) else { continue };
        for column in &relation.columns {
            if *number == 0 || i64::from(column.number) == *number {
                names.insert(format!("{}.{}.{}", relation.schema, relation.name, column.name));
            }
        }
    }
    names
}

pub(crate) fn read(facts: &StatementFacts) -> BTreeSet<String> {
    let reads = facts.columns.iter().filter(|(_, column)| column.access.iter().any(|access| *access != Access::Write));
    reads.map(|(name, _)| name.to_string()).collect()
}

/// A server with the shop.
async fn shop() -> (Server, Session) {
    let server = Server::start();
    let session = Session::open(server.home.path()).await;
    session.client.batch_execute(&corpus("shop.sql")).await.unwrap();
    (server, session)
}

/// One statement of `fixtures/sql/evasion/`: `-- touches: columns` or `-- opaque` stands above it.
struct Evasion {
    touches: Vec<String>,
    opaque: bool,
    sql: String,
}

fn evasions(name: &str) -> Vec<Evasion> {
    let mut found: Vec<Evasion> = Vec::new();
    for line in corpus(name).lines().filter(|line| !line.is_empty()) {
        if let Some(columns) = line.strip_prefix("-- touches:") {
            let touches = columns.split_whitespace().map(str::to_owned).collect();
            found.push(Evasion { touches, opaque: false, sql: String::new() });
        } else if line.starts_with("-- opaque") {
            found.push(Evasion { touches: Vec::new(), opaque: true, sql: String::new() });
        } else if let Some(last) = found.last_mut() {
            last.sql.push_str(line);
            last.sql.push('\n');
        }
    }
    found
}

#[tokio::test]
async fn an_evasive_statement_is_found_out_or_called_opaque() {
    let (_server, session) = shop().await;
    let catalog = load(&session.client).await.unwrap();
    let path = settings::split("\"$user\", public");
    let context = Context::new(&catalog, "postgres", &path, "reader");
    let mut failures = Vec::new();
    for evasion in evasions("evasion/hidden.sql") {
        let facts = analyze(evasion.sql.as_bytes(), &context).unwrap();
        let found: BTreeSet<String> = facts.statements.iter().flat_map(read).collect();
        let opaque = facts.statements.iter().any(|statement| !statement.opaque.is_empty());
        let missed: Vec<&String> = evasion.touches.iter().filter(|column| !found.contains(*column)).collect();
        if opaque != evasion.opaque || !missed.is_empty() {
            let why: Vec<&String> = facts.statements.iter().flat_map(|statement| &statement.opaque).collect();
            failures.push(format!("{}  missed {missed:?}, opaque {why:?}", evasion.sql));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test]
async fn a_snapshot_says_the_same_as_the_server() {
    let (_server, session) = shop().await;
    let catalog = load(&session.client).await.unwrap();
    let again = Catalog::from_json(&catalog.to_json().unwrap()).unwrap();
    assert_eq!(again.signature(), catalog.signature());
    assert_eq!(again.relations().count(), catalog.relations().count());
}

#[tokio::test]
async fn a_definition_that_changes_is_found_by_a_comparison() {
    let (_server, session) = shop().await;
    let mut known = Arc::new(load(&session.client).await.unwrap());
    for ddl in [
        "ALTER TABLE customers RENAME COLUMN ssn TO tax_number",
        "CREATE OR REPLACE VIEW contacts AS SELECT id, name, 'x@y'::email_address AS mail, phone FROM customers",
        "CREATE OR REPLACE FUNCTION tax(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 0.2'",
        "COMMENT ON COLUMN customers.notes IS '@pii(user.behavior)'",
        "ALTER TABLE orders DISABLE TRIGGER note_order",
        "DROP POLICY own ON secrets",
        "CREATE UNIQUE INDEX ON orders (customer_id)",
    ] {
        session.client.batch_execute(ddl).await.unwrap();
        assert!(!is_same(&session.client, &known).await.unwrap(), "{ddl}");
        known = Arc::new(follow(&session.client, Some(&known)).await.unwrap());
        assert!(is_same(&session.client, &known).await.unwrap(), "{ddl}");
    }
}

#[tokio::test]
async fn every_column_that_postgres_touches_is_found() {
    let (_server, session) = shop().await;
    let catalog = load(&session.client).await.unwrap();
    let path = settings::split("\"$user\", public");
    let context = Context::new(&catalog, "postgres", &path, "reader");
    let mut failures = Vec::new();
    let (mut said, mut wrong) = (0, 0);
    for query in queries("reads.sql").into_iter().chain(queries("writes.sql")) {
        let truth = match session.truth(&query).await {
            Ok(truth) => truth,
            Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::SYNTAX_ERROR) => continue,
            Err(error) => panic!("{query}: {error:?}"),
        };
        let facts = analyze(query.as_bytes(), &context).unwrap();
        let statement = &facts.statements[0];
        let found = read(statement);
        let missed: Vec<String> = names(&catalog, &truth.required).difference(&found).cloned().collect();
        let extra: Vec<String> = found.difference(&names(&catalog, &truth.allowed)).cloned().collect();
        // What functions touch does not stand in the tree.
        if statement.functions.is_empty() {
            said += found.len();
            wrong += extra.len();
        }
        if !missed.is_empty() || !statement.opaque.is_empty() {
            failures.push(format!("{query}\n  missed {missed:?}, opaque {:?}", statement.opaque));
        }
        if !extra.is_empty() {
            println!("{query}\n  beyond the tree: {extra:?}");
        }
    }
    println!("{said} columns said, {wrong} of them beyond the tree");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(wrong * 100 <= said, "{wrong} of {said} columns are beyond the tree");
}
