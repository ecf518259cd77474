//! Several people for one hold, and nobody for their own: the same rule under psql, the command line and HTTP.

use std::fs;
use std::process::Command;

use crate::harness::{Api, Options, Proxy, TestDb, eventually};

const POLICY: &str = "version: 1\nrules:\n  - { name: ddl, match: { kind: ddl }, effect: hold, approve: { from: [dba, compliance], quorum: 2 } }\ndefault: allow\n";

/// Accounts: name, human, groups, roles.
const ACCOUNTS: [(&str, &str, &str, &str); 4] = [
    ("ada", "ada@example.com", "dba", "operator"),
    ("ada-admin", "Ada@Example.com", "dba, compliance", "admin"),
    ("bob", "bob@example.com", "dba, compliance", "admin"),
    ("carol", "carol@example.com", "compliance", "operator"),
];

struct Office {
    _dir: tempfile::TempDir,
    db: TestDb,
    proxy: Proxy,
}

fn token(name: &str) -> String {
    format!("{name}-token-0123456789abcdef")
}

/// The agent acts for bob, who is an admin and a member of every group.
fn office(label: &str) -> Office {
    let db = TestDb::new(label);
    let dir = tempfile::TempDir::new().unwrap();
    let mut config =
        "principals:\n  - { name: bot, kind: agent, role: postgres, human: bob@example.com }\noperators:\n".to_owned();
    for (name, human, groups, role) in ACCOUNTS {
        let path = dir.path().join(name);
        fs::write(&path, token(name)).unwrap();
        let line = format!(
            "  - {{ name: {name}, human: {human}, groups: [{groups}], roles: [{role}], token_file: {} }}\n",
            path.display()
        );
        config.push_str(&line);
    }
    let path = dir.path().join("holdgate.yaml");
    fs::write(&path, config).unwrap();
    let arguments = ["--config", path.to_str().unwrap()];
    let proxy = Proxy::start(&db, Options { policy: Some(POLICY), arguments: &arguments, ..Options::default() });
    Office { _dir: dir, db, proxy }
}

impl Office {
    fn api(&self, name: &str) -> Api {
        Api::new(&self.proxy.http, &token(name))
    }

    fn held(&self, sql: &str) -> String {
        let client = self.proxy.connect();
        client.query("SET holdgate.wait = '0s'").unwrap();
        assert_eq!(client.fails(sql).0, "57H01");
        self.proxy.api().wait_for_hold(sql)["id"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_quorum_counts_each_human_once_and_the_statement_runs_after_the_last() {
    let office = office("quorum");
    let sql = "CREATE TABLE t_quorum (a int)";
    let id = office.held(sql);
    for name in ["ada", "ada-admin", "ada"] {
        let (status, hold) = office.api(name).decide(&id, "approve", "seen");
        assert_eq!((status, hold["state"].as_str()), (200, Some("pending")), "{name}");
        assert_eq!(hold["approve"]["given"].as_array().unwrap().len(), 1, "{name}");
    }
    let client = office.proxy.connect();
    client.query("SET holdgate.wait = '0s'").unwrap();
    assert_eq!(client.fails(sql).0, "57H01", "one of two is not enough");
    assert_eq!(office.api("carol").decide(&id, "approve", "seen").1["state"], "approved");
    client.query(sql).unwrap();
    eventually("it is finished", || {
        (office.proxy.api().get(&format!("/api/v1/holds/{id}"))["state"] == "finished").then_some(())
    });
    assert_eq!(office.db.direct("SELECT count(*) FROM t_quorum"), "0");
}

#[test]
fn nobody_approves_their_own_agents_request_by_any_surface() {
    let office = office("own_all");
    let id = office.held("CREATE TABLE t_own_all (a int)");
    let (status, problem) = office.api("bob").decide(&id, "approve", "mine");
    assert_eq!(status, 403);
    assert!(problem["type"].as_str().unwrap().ends_with("self-approval"), "{problem}");
    let cli = Command::new(env!("CARGO_BIN_EXE_holdgate"))
        .args(["holds", "approve", &id, "--url", &format!("http://{}", office.proxy.http), "--token", &token("bob")])
        .output()
        .unwrap();
    assert_eq!(cli.status.code(), Some(3), "{}", String::from_utf8_lossy(&cli.stderr));
    let dsn = format!("host=127.0.0.1 port={} dbname=holdgate user=bob", office.proxy.port);
    let psql = Command::new("psql")
        .args(["-X", "-d", &dsn, "-c", &format!("APPROVE '{id}' 'mine'")])
        .env("PGPASSWORD", token("bob"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&psql.stderr).into_owned();
    assert!(said.contains("nobody approves their own request"), "{said}");
    let (_, out, _) = office.proxy.holds(&["list", "--format", "json"]);
    assert!(out.contains("\"given\": []"), "{out}");
    assert_eq!(office.api("bob").decide(&id, "deny", "stop it").0, 200, "whoever may decide may stop their own agent");
    assert_eq!(office.api("carol").decide(&id, "approve", "late").0, 409);
}
