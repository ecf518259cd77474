//! Approved bundles as real migration tools send them: psql, psycopg, asyncpg, node-postgres.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bundles::{approved, with_carol};
use crate::drivers::{node_modules, python};
use crate::harness::{Api, Client, Proxy, TestDb, eventually};
use crate::node::run;

/// Each tool migrates tables of its own. The comment, the literal with a semicolon and the statement that needs no approval
/// are what files have.
fn statements(tool: &str) -> String {
    format!(
        "-- release of {tool}\nCREATE TABLE {tool}_audit (id bigint PRIMARY KEY, note text);\n\
         ALTER TABLE {tool}_audit ADD COLUMN at timestamptz DEFAULT now();\n\
         INSERT INTO {tool}_audit (id, note) VALUES (1, 'a;b');\n\
         CREATE INDEX {tool}_audit_note ON {tool}_audit (note);\n"
    )
}

struct Site {
    db: TestDb,
    proxy: Proxy,
    carol: Api,
    dir: tempfile::TempDir,
    _client: Client,
}

impl Site {
    fn start(label: &str) -> Self {
        let (db, proxy, client, carol, dir) = with_carol(label);
        Self { db, proxy, carol, dir, _client: client }
    }

    /// An approved bundle: its file and its id.
    fn bundle(&self, tool: &str, sql: &str) -> (PathBuf, String) {
        let file = self.dir.path().join(format!("{tool}.sql"));
        std::fs::write(&file, sql).unwrap();
        let id = approved(&self.db, &self.proxy, sql);
        assert_eq!(self.carol.decide(&id, "approve", "read").0, 200);
        (file, id)
    }

    /// No session waits for a person here: what is not covered fails at once.
    fn dsn(&self) -> String {
        format!("{}?options=-c%20holdgate.wait%3D0s", self.proxy.dsn("postgres"))
    }

    /// The tool runs its approved file to the end, and everything of it happened once.
    fn migrates(&self, tool: &str, sql: &str, migrate: impl FnOnce(&str, &Path)) {
        let (file, id) = self.bundle(tool, sql);
        migrate(&self.dsn(), &file);
        eventually("the bundle is finished", || {
            (self.carol.get(&format!("/api/v1/holds/{id}"))["state"] == "finished").then_some(())
        });
        assert_eq!(self.db.direct(&format!("SELECT count(*) FROM {tool}_audit WHERE note = 'a;b'")), "1", "{tool}");
        let index = format!("SELECT count(*) FROM pg_indexes WHERE indexname = '{tool}_audit_note'");
        assert_eq!(self.db.direct(&index), "1", "{tool}");
    }
}

fn psql(dsn: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn]).args(arguments);
    command
}

#[test]
fn psql_runs_an_approved_file_with_and_without_a_transaction_in_it_and_as_one_command() {
    let site = Site::start("migrate_psql");
    let file = |file: &Path| file.to_str().unwrap().to_owned();
    site.migrates("plain", &statements("plain"), |dsn, path| run(&mut psql(dsn, &["-f", &file(path)])));
    let whole = format!("BEGIN;\nSET LOCAL lock_timeout = '5s';\n{}COMMIT;\n", statements("begins"));
    site.migrates("begins", &whole, |dsn, path| run(&mut psql(dsn, &["-f", &file(path)])));
    site.migrates("single", &statements("single"), |dsn, path| run(&mut psql(dsn, &["-1", "-f", &file(path)])));
    let text = statements("command");
    site.migrates("command", &text, |dsn, _| run(&mut psql(dsn, &["-c", &text])));
}

#[test]
fn psycopg_and_asyncpg_run_an_approved_file_in_a_transaction_prepared_and_as_one_script() {
    let (site, python) = (Site::start("migrate_python"), python());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/drivers/migrate.py");
    for how in ["psycopg", "psycopg-prepared", "psycopg-script", "asyncpg", "asyncpg-script"] {
        let tool = how.replace('-', "_");
        site.migrates(&tool, &statements(&tool), |dsn, path| {
            run(Command::new(&python).arg(script).args([how, dsn]).arg(path));
        });
    }
}

#[test]
fn node_postgres_runs_an_approved_file_in_a_transaction_prepared_and_as_one_script() {
    let (site, modules) = (Site::start("migrate_node"), node_modules());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/drivers/migrate.js");
    for how in ["plain", "prepared", "script"] {
        site.migrates(how, &statements(how), |dsn, path| {
            run(Command::new("node").env("NODE_PATH", &modules).arg(script).args([how, dsn]).arg(path));
        });
    }
}

#[test]
fn a_search_path_that_a_file_sets_is_part_of_it_and_another_one_is_not_covered() {
    let site = Site::start("migrate_path");
    let sql = "CREATE SCHEMA app;\nSET search_path = app, public;\nCREATE TABLE t_path (a int);\n\
               ALTER TABLE t_path ADD COLUMN b int;\n";
    let (_, id) = site.bundle("path", sql);
    let [client, stranger] = [(), ()].map(|()| Client::connect(&site.dsn()));
    client.query("CREATE SCHEMA app").unwrap();
    assert_eq!(stranger.fails("CREATE TABLE t_path (a int)").0, "57H01", "it would be made in another schema");
    for statement in
        ["SET search_path = app, public", "CREATE TABLE t_path (a int)", "ALTER TABLE t_path ADD COLUMN b int"]
    {
        client.query(statement).unwrap();
    }
    eventually("the bundle is finished", || {
        (site.carol.get(&format!("/api/v1/holds/{id}"))["state"] == "finished").then_some(())
    });
    assert_eq!(site.db.direct("SELECT count(*) FROM information_schema.columns WHERE table_schema = 'app'"), "2");
}

#[test]
fn a_message_with_anything_but_the_next_statements_is_not_covered() {
    let site = Site::start("migrate_message");
    let (_, id) = site.bundle("m", &statements("m"));
    let parts: Vec<_> = [
        "CREATE TABLE m_audit (id bigint PRIMARY KEY, note text)",
        "ALTER TABLE m_audit ADD COLUMN at timestamptz DEFAULT now()",
        "INSERT INTO m_audit (id, note) VALUES (1, 'a;b')",
        "CREATE INDEX m_audit_note ON m_audit (note)",
    ]
    .map(str::to_owned)
    .into();
    let client = site.proxy.connect();
    client.query("SET holdgate.wait = '0s'").unwrap();
    for wrong in [
        format!("{}; SELECT 1", parts[0]),
        format!("SET search_path = public; {}", parts[0]),
        format!("{}; {}", parts[1], parts[0]),
        format!("{}; {}", parts[0], parts[0]),
        format!("{}; {}", parts[0], parts[3]),
    ] {
        assert_eq!(client.fails(&wrong).0, "57H01", "{wrong}");
    }
    client.query(&format!("{}; {}", parts[0], parts[1])).unwrap();
    client.query(&format!("{};\n{};", parts[2], parts[3])).unwrap();
    eventually("the bundle is finished", || {
        (site.carol.get(&format!("/api/v1/holds/{id}"))["state"] == "finished").then_some(())
    });
}
