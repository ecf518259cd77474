//! Principals prove themselves to the proxy, and the upstream sees their role.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::harness::conn::{Conn, Frame, frame, startup};
use crate::harness::{ALLOW_ALL, Api, Options, Proxy, TestDb};

/// A configuration file in a folder of its own.
pub struct Home {
    pub dir: TempDir,
}

impl Home {
    pub fn new(config: &str) -> Self {
        let home = Self { dir: TempDir::new().unwrap() };
        home.write("holdgate.yaml", config);
        home
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn start(&self, db: &TestDb, policy: &str) -> Proxy {
        self.start_to(&db.dsn(), &db.name, policy)
    }

    pub fn start_to(&self, dsn: &str, database: &str, policy: &str) -> Proxy {
        let path = self.path("holdgate.yaml");
        let arguments = ["--config", path.to_str().unwrap()];
        let options = Options { policy: Some(policy), arguments: &arguments, ..Options::default() };
        Proxy::start_to(dsn, database, options)
    }
}

/// What `holdgate scram` makes of a password.
pub fn verifier(password: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_holdgate"))
        .arg("scram")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// psql with a password: whether it worked, and all that it said.
pub fn psql(dsn: &str, password: &str, sql: &str) -> (bool, String) {
    let output =
        Command::new("psql").args(["-X", "-At", "-d", dsn, "-c", sql]).env("PGPASSWORD", password).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.trim().to_owned())
}

fn dsn(proxy: &Proxy, db: &TestDb, user: &str) -> String {
    format!("host=127.0.0.1 port={} dbname={} user={user}", proxy.port, db.name)
}

const SECRET: &str = "pa\u{df}word of the agent";

fn copilot(role: &str) -> String {
    format!(
        "principals:\n  - {{ name: copilot, kind: agent, human: alice, groups: [bots], role: {role}, scram: '{}', \
         credential: {{ password_file: secret }} }}\n",
        verifier(SECRET)
    )
}

#[test]
fn a_principal_logs_in_by_its_own_secret_and_postgres_sees_the_role_by_ours() {
    let db = TestDb::new("principal");
    for role in ["agent_scram", "agent_md5", "agent_password"] {
        let home = Home::new(&copilot(role));
        home.write("secret", "correct horse\n");
        let proxy = home.start(&db, ALLOW_ALL);
        assert_eq!(psql(&dsn(&proxy, &db, "copilot"), SECRET, "SELECT current_user, 1"), (true, format!("{role}|1")));
        let (worked, said) = psql(&dsn(&proxy, &db, "copilot"), "correct horse", "SELECT 1");
        assert!(!worked && said.contains("password authentication failed for user \"copilot\""), "{said}");
        // Everybody else is relayed as ever.
        assert_eq!(psql(&dsn(&proxy, &db, "agent_md5"), "correct horse", "SELECT current_user").1, "agent_md5");
    }
}

#[test]
fn kind_human_and_groups_reach_policy_card_and_record_and_the_human_cannot_approve() {
    let db = TestDb::new("belongs");
    let token = "alice-token-0123456789abcdef";
    let operators = "operators:\n  - { name: al, human: Alice, groups: [dba], roles: [admin], token_file: al.token }\n";
    let home = Home::new(&(copilot("agent_scram") + operators));
    home.write("secret", "correct horse\n");
    home.write("al.token", token);
    let policy = "version: 1\nrules:\n  - { name: bots, match: { principal: { kind: agent, groups: bots, on_behalf_of: alice, \
                  role: agent_scram }, kind: read }, effect: hold }\ndefault: allow\n";
    let proxy = home.start(&db, policy);
    let (alice, api) = (Api::new(&proxy.http, token), proxy.api());
    let deciders = std::thread::spawn(move || {
        let hold = alice.wait_for_hold("SELECT 42");
        let id = hold["id"].as_str().unwrap();
        let refused = alice.decide(id, "approve", "mine").0;
        assert_eq!(api.decide(id, "approve", "not mine").0, 200);
        (hold.clone(), refused)
    });
    let (worked, said) = psql(&dsn(&proxy, &db, "copilot"), SECRET, "SELECT 42");
    assert!(worked && said.lines().any(|line| line == "42"), "{said}");
    let (hold, refused) = deciders.join().unwrap();
    assert_eq!(refused, 403);
    let who = &hold["principal"];
    assert_eq!((&who["name"], &who["kind"], &who["human"]), (&"copilot".into(), &"agent".into(), &"alice".into()));
    assert_eq!(who["role"], "agent_scram");
    let (code, out, _) =
        proxy.holdgate(&["log", "query", "--principal", "copilot", "--human", "alice", "--format", "jsonl"]);
    assert!(code == 0 && out.contains("\"role\":\"agent_scram\""), "{out}");
    assert!(!out.contains(SECRET) && !out.contains("correct horse"));
}

/// The frames of a log-in with a wrong password, and what the server's first SCRAM message says of the verifier.
fn attempt(proxy: &Proxy, database: &str, user: &str) -> (Vec<String>, String) {
    let mut conn = Conn::open(&proxy.postgres);
    conn.send(&startup(&[("user", user), ("database", database)]));
    let mut seen = vec![shown(&conn.frame().unwrap(), user)];
    let first = b"n,,n=,r=abcdefghijklmnopqrstuvwx";
    let length = u32::try_from(first.len()).unwrap().to_be_bytes();
    conn.send(&frame('p', &[&b"SCRAM-SHA-256\0"[..], &length, first].concat()));
    let challenge = conn.frame().unwrap();
    let text = String::from_utf8(challenge.body[4..].to_vec()).unwrap();
    let (nonce, verifier) = text.split_once(",s=").unwrap();
    let nonce = nonce.strip_prefix("r=").unwrap();
    let proof = "A".repeat(43) + "=";
    conn.send(&frame('p', format!("c=biws,r={nonce},p={proof}").as_bytes()));
    while let Some(frame) = conn.frame() {
        seen.push(shown(&frame, user));
    }
    (seen, verifier.to_owned())
}

fn shown(frame: &Frame, user: &str) -> String {
    format!("{} {}", frame.tag, String::from_utf8_lossy(&frame.body).replace(user, "USER"))
}

const EVERYBODY: &str = "client_rules: [{ method: scram }]\n";

#[test]
fn an_unknown_user_cannot_be_told_from_a_wrong_password_and_no_backend_is_opened() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let home = Home::new(&(copilot("agent_scram") + EVERYBODY));
    home.write("secret", "correct horse\n");
    let upstream =
        format!("host=127.0.0.1 port={} sslmode=disable connect_timeout=1", silent.local_addr().unwrap().port());
    let proxy = home.start_to(&upstream, "shop", ALLOW_ALL);
    let (known, verifier) = attempt(&proxy, "shop", "copilot");
    let (unknown, made_up) = attempt(&proxy, "shop", "nobody");
    assert_eq!(known, unknown);
    assert!(known.last().unwrap().contains("28P01"), "{known:?}");
    assert_ne!(verifier, made_up);
    assert_eq!((verifier.len(), made_up.ends_with(",i=4096")), (made_up.len(), true));
    assert_eq!(attempt(&proxy, "shop", "nobody").1, made_up);
    assert_ne!(attempt(&proxy, "shop", "somebody").1, made_up);
    assert!(silent.accept().is_err(), "the upstream was spoken to");
}

#[test]
fn the_verifier_of_nobody_is_the_same_after_a_restart() {
    let db = TestDb::new("mock");
    let home = Home::new(&format!("{EVERYBODY}\n"));
    let start = || {
        let path = home.path("holdgate.yaml");
        let arguments = ["--config", path.to_str().unwrap()];
        Proxy::start(&db, Options { policy: Some(ALLOW_ALL), arguments: &arguments, ..Options::default() })
    };
    let proxy = start();
    let before = attempt(&proxy, &db.name, "nobody").1;
    let key = std::fs::read(proxy.state.path().join("auth.key")).unwrap();
    assert_eq!(key.len(), 32);
    let other = start();
    assert_ne!(attempt(&other, &db.name, "nobody").1, before, "another state has another secret");
    let proxy = proxy.restart_with(&db, &home.path("holdgate.yaml"));
    assert_eq!(attempt(&proxy, &db.name, "nobody").1, before);
}

#[test]
fn the_first_client_rule_that_fits_decides_and_none_is_28000() {
    let db = TestDb::new("rules");
    let rules = "client_rules:\n  - { user: agent_md5, method: reject }\n  - { user: 'agent_*', address: 127.0.0.0/8, \
                 method: relay }\n  - { user: copilot, method: scram }\n  - { address: 10.0.0.0/8, method: relay }\n";
    let home = Home::new(&(copilot("agent_scram") + rules));
    home.write("secret", "correct horse\n");
    let proxy = home.start(&db, ALLOW_ALL);
    let try_as = |user: &str, password: &str| psql(&dsn(&proxy, &db, user), password, "SELECT current_user");
    assert!(try_as("agent_md5", "correct horse").1.contains("a client rule rejects host \"127.0.0.1\""));
    assert_eq!(try_as("agent_scram", "correct horse"), (true, "agent_scram".to_owned()));
    assert_eq!(try_as("copilot", SECRET), (true, "agent_scram".to_owned()));
    let (_, said) = try_as("postgres", "");
    assert!(
        said.contains("no client rule for host \"127.0.0.1\", user \"postgres\"") && said.contains("no encryption"),
        "{said}"
    );
    let mut conn = Conn::open(&proxy.postgres);
    conn.send(&startup(&[("user", "postgres"), ("database", &db.name)]));
    assert_eq!(conn.frame().unwrap().field(b'C'), "28000");
}

#[test]
fn that_the_upstream_refuses_our_credential_is_not_said_to_be_the_clients() {
    let db = TestDb::new("ours");
    let home = Home::new(&copilot("agent_scram"));
    home.write("secret", "wrong\n");
    let proxy = home.start(&db, ALLOW_ALL);
    let (_, said) = psql(&dsn(&proxy, &db, "copilot"), SECRET, "SELECT 1");
    assert!(said.contains("the proxy cannot log in at the upstream") && !said.contains("agent_scram"), "{said}");
    // What the server says of the session is passed on.
    home.write("secret", "correct horse\n");
    proxy.signal("HUP");
    proxy.wait_for_line("reloaded");
    db.direct(&format!("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", db.name));
    let (_, said) = psql(&dsn(&proxy, &db, "copilot"), SECRET, "SELECT 1");
    assert!(said.contains("permission denied for database"), "{said}");
}

#[test]
fn a_reload_brings_new_principals_and_a_bad_one_changes_nothing() {
    let db = TestDb::new("reload");
    let home = Home::new("principals: []\n");
    home.write("secret", "correct horse\n");
    let proxy = home.start(&db, ALLOW_ALL);
    let try_it = || psql(&dsn(&proxy, &db, "copilot"), SECRET, "SELECT current_user");
    assert!(!try_it().0);
    let open = proxy.connect();
    home.write("holdgate.yaml", &copilot("agent_scram"));
    proxy.signal("HUP");
    proxy.wait_for_line("reloaded");
    assert_eq!(try_it(), (true, "agent_scram".to_owned()));
    home.write("holdgate.yaml", "principals: 7\n");
    proxy.signal("HUP");
    proxy.wait_for_line("nothing was reloaded");
    assert!(try_it().0);
    assert_eq!(open.query("SELECT 1").unwrap(), ["1"]);
}

#[test]
fn an_address_that_fails_too_often_waits() {
    let db = TestDb::new("throttle");
    let home = Home::new(&(copilot("agent_scram") + EVERYBODY + "limits: { failures_max: 3 }\n"));
    home.write("secret", "correct horse\n");
    let proxy = home.start(&db, ALLOW_ALL);
    let said: Vec<_> = (0..20).map(|_| attempt_text(&proxy, &db.name)).collect();
    assert!(said.iter().any(|text| text.contains("too many failed log-ins from this address")), "{said:?}");
}

fn attempt_text(proxy: &Proxy, database: &str) -> String {
    let mut conn = Conn::open(&proxy.postgres);
    conn.send(&startup(&[("user", "nobody"), ("database", database)]));
    let first = conn.frame().unwrap();
    if first.tag == 'E' { first.field(b'M') } else { attempt(proxy, database, "nobody").0.join("\n") }
}

#[test]
fn malformed_log_ins_end_that_connection_alone() {
    let db = TestDb::new("hostile");
    let home = Home::new(&(copilot("agent_scram") + EVERYBODY));
    home.write("secret", "correct horse\n");
    let proxy = home.start(&db, ALLOW_ALL);
    let sasl = |mechanism: &str, length: u32, body: &[u8]| {
        frame('p', &[mechanism.as_bytes(), b"\0", &length.to_be_bytes(), body].concat())
    };
    let good = b"n,,n=,r=abc";
    let cases: Vec<Vec<u8>> = vec![
        sasl("SCRAM-SHA-1", 11, good),
        sasl("SCRAM-SHA-256-PLUS", 11, good),
        sasl("SCRAM-SHA-256", 12, good),
        sasl("SCRAM-SHA-256", 10, good),
        sasl("SCRAM-SHA-256", u32::MAX, b""),
        sasl("SCRAM-SHA-256", 3, b"\0\0\0"),
        sasl("SCRAM-SHA-256", 11, b"p=x,,n=,r=a"),
        frame('p', b""),
        frame('p', b"SCRAM-SHA-256"),
        frame('p', &[b'x'; 60_000]),
        frame('Q', b"SELECT 1\0"),
        [&b"p"[..], &70_000_u32.to_be_bytes(), &[b'x'; 100]].concat(),
        [&b"p"[..], &3_u32.to_be_bytes()].concat(),
        vec![b'p', 0xff, 0xff, 0xff, 0xff],
    ];
    for case in cases {
        let mut conn = Conn::open(&proxy.postgres);
        conn.send(&startup(&[("user", "copilot"), ("database", &db.name)]));
        assert_eq!(conn.frame().unwrap().tag, 'R');
        conn.send(&case);
        let frame = conn.frame().unwrap();
        assert_eq!((frame.tag, frame.field(b'C').as_str()), ('E', "08P01"), "{case:?}");
        assert!(conn.is_closed());
    }
    assert_eq!(psql(&dsn(&proxy, &db, "copilot"), SECRET, "SELECT 1"), (true, "1".to_owned()));
}

#[test]
fn operators_have_an_address_of_their_own_and_http_may_be_off() {
    let db = TestDb::new("doors");
    let home = Home::new("admin: { listen: '127.0.0.1:0' }\n");
    let path = home.path("holdgate.yaml");
    let arguments = ["--config", path.to_str().unwrap(), "--http", "off"];
    let proxy = Proxy::start(&db, Options { policy: Some(ALLOW_ALL), arguments: &arguments, ..Options::default() });
    assert_eq!(proxy.http, "off");
    let admin = proxy.wait_for_line("ready admin=").replace("ready admin=127.0.0.1:", "");
    let to =
        |port: &str, database: &str, user: &str| format!("host=127.0.0.1 port={port} dbname={database} user={user}");
    let (worked, said) = psql(&to(&admin, "holdgate", "operator"), &proxy.token, "SHOW VERSION");
    assert!(worked, "{said}");
    let own = proxy.port.to_string();
    assert!(
        psql(&to(&own, "holdgate", "operator"), &proxy.token, "SHOW VERSION").1.contains("an address of their own")
    );
    assert!(psql(&to(&admin, &db.name, "postgres"), "", "SELECT 1").1.contains("only operators are served"));
    assert_eq!(psql(&to(&own, &db.name, "postgres"), "", "SELECT 1").1, "1");
}

#[test]
fn what_serve_refuses_check_reports() {
    let ok = "upstreams: [{ name: a, dsn: 'host=127.0.0.1 sslmode=disable' }]\n";
    let two = "upstreams: [{ name: a, dsn: 'host=127.0.0.1 sslmode=disable' }, { name: b, dsn: 'host=b' }]\n";
    let tls = "tls: { cert: a.crt, key: a.key }\n";
    let cases = [
        (two.to_owned(), "one proxy serves one upstream"),
        (format!("{ok}log: {{ rollup: true }}\n"), "log.rollup is not served"),
        (format!("{ok}operators: [{{ name: o }}]\n"), "needs a token_file"),
        (format!("{ok}operators: [{{ name: o, token_file: nowhere }}]\n"), "nowhere"),
        (format!("{ok}{tls}"), "a.key"),
        (format!("upstreams: [{{ name: a, dsn: 'host=127.0.0.1' }}]\n{tls}"), "relay_allow_nonbinding"),
        (format!("{ok}principals: [{{ name: p, scram: secret }}]\n"), "no SCRAM verifier"),
        (format!("{ok}principals: [{{ name: p, cert: p }}]\n"), "tls.client_ca"),
        (format!("{ok}principals: [{{ name: p, oidc: p }}]\n"), "auth.oidc"),
        (format!("{ok}principals: [{{ name: p, cert: 'ou=p' }}]\n"), "no sort of name"),
        (format!("{ok}client_rules: [{{ method: cert }}]\n"), "tls.client_ca"),
        (format!("{ok}client_rules: [{{ method: relay, tls: required }}]\n"), "wants TLS"),
        (format!("{ok}client_rules: [{{ method: magic }}]\n"), "magic"),
        (format!("{ok}client_rules: [{{ method: relay, address: here }}]\n"), "no network"),
        (format!("{ok}auth: {{ oidc: {{ issuer: i, audience: [], jwks: k }} }}\n"), "without an audience"),
        (format!("{ok}auth: {{ oidc: {{ issuer: i, audience: a, jwks: nowhere.json }} }}\n"), "nowhere.json"),
        (format!("{ok}auth: {{ oidc: {{ issuer: i, audience: a, jwks: 'http://idp.example/k' }} }}\n"), "https"),
        (format!("{ok}auth: {{ oidc: {{ issuer: i, audience: a, jwks: k, algorithms: HS256 }} }}\n"), "HS256"),
    ];
    for (config, wanted) in cases {
        let home = Home::new(&config);
        let run = |command: &str| {
            let output = Command::new(env!("CARGO_BIN_EXE_holdgate"))
                .args([command, "--config"])
                .arg(home.path("holdgate.yaml"))
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            (output.status.code(), text)
        };
        let (checked, findings) = run("check");
        let (served, said) = run("serve");
        assert_eq!((checked, served), (Some(1), Some(2)), "{config}{findings}{said}");
        assert!(findings.contains(wanted) && said.contains(wanted), "{config}{findings}{said}");
    }
}
