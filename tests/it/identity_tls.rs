//! TLS on either side: client certificates, channel binding, direct TLS, reload, and what is checked of an upstream.

use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};

use crate::harness::certs::Authority;
use crate::harness::conn::{self, Conn};
use crate::harness::{ALLOW_ALL, Proxy, TestDb};
use crate::identity::{Home, psql, verifier};

const PASSWORD: &str = "of the agent";

/// A folder with a server's certificate and a configuration.
fn home(config: &str) -> (Home, Authority) {
    let (home, authority) = (Home::new(config), Authority::new());
    authority.write_root(&home.path("ca.crt"));
    authority.issue_to(home.dir.path(), "server", "localhost", &["localhost"]);
    authority.issue_to(home.dir.path(), "bot", "bot", &["spiffe://shop/bot"]);
    authority.issue_to(home.dir.path(), "other", "other", &[]);
    (home, authority)
}

fn scram() -> String {
    format!("principals:\n  - {{ name: copilot, role: agent_trust, scram: '{}' }}\n", verifier(PASSWORD))
}

fn tls_dsn(proxy: &Proxy, db: &TestDb, home: &Home, user: &str) -> String {
    let root = home.path("ca.crt");
    format!(
        "host=localhost hostaddr=127.0.0.1 port={} dbname={} user={user} sslmode=verify-full sslrootcert={}",
        proxy.port,
        db.name,
        root.display()
    )
}

fn shows(home: &Home, name: &str) -> String {
    format!(
        " sslcert={} sslkey={}",
        home.path(&format!("{name}.crt")).display(),
        home.path(&format!("{name}.key")).display()
    )
}

const TLS: &str = "tls: { cert: server.crt, key: server.key, client_ca: ca.crt }\n";

#[test]
fn a_scram_log_in_over_tls_is_bound_to_the_certificate() {
    let db = TestDb::new("plus");
    let (home, _) = home(&format!("tls: {{ cert: server.crt, key: server.key }}\n{}", scram()));
    let proxy = home.start(&db, ALLOW_ALL);
    let dsn = tls_dsn(&proxy, &db, &home, "copilot");
    for mode in ["require", "disable", "prefer"] {
        let bound = format!("{dsn} channel_binding={mode}");
        assert_eq!(psql(&bound, PASSWORD, "SELECT current_user"), (true, "agent_trust".to_owned()), "{mode}");
        assert!(psql(&bound, "wrong", "SELECT 1").1.contains("password authentication failed"));
    }
    // In clear there is nothing to bind to.
    let clear = format!("host=127.0.0.1 port={} dbname={} user=copilot sslmode=disable", proxy.port, db.name);
    assert!(psql(&clear, PASSWORD, "SELECT 1").0);
    assert!(!psql(&format!("{clear} channel_binding=require"), PASSWORD, "SELECT 1").0);
}

#[test]
fn a_certificate_is_the_principal_whose_common_or_alternative_name_it_bears() {
    let db = TestDb::new("certs");
    let (home, _) = home(&format!(
        "{TLS}principals:\n  - {{ name: bot, role: agent_trust, cert: bot }}\n  - {{ name: svc, role: agent_trust, \
         cert: ['uri=spiffe://shop/bot', 'dns=x'] }}\n  - {{ name: third, role: agent_trust, cert: third }}\n"
    ));
    let stranger = Authority::new();
    stranger.issue_to(home.dir.path(), "stranger", "bot", &[]);
    let proxy = home.start(&db, ALLOW_ALL);
    let try_it = |user: &str, shown: &str| {
        let shown = if shown.is_empty() { String::new() } else { shows(&home, shown) };
        psql(&(tls_dsn(&proxy, &db, &home, user) + &shown), "", "SELECT current_user")
    };
    assert_eq!(try_it("bot", "bot"), (true, "agent_trust".to_owned()));
    assert_eq!(try_it("svc", "bot"), (true, "agent_trust".to_owned()));
    for (user, shown) in [("third", "bot"), ("bot", "other"), ("bot", "")] {
        let (worked, said) = try_it(user, shown);
        assert!(!worked && said.contains("certificate authentication failed"), "{user} {shown}: {said}");
    }
    let (worked, said) = try_it("bot", "stranger");
    assert!(!worked && said.contains("SSL"), "{said}");
    // Others are relayed, with a certificate or without.
    assert_eq!(try_it("agent_trust", ""), (true, "agent_trust".to_owned()));
    assert_eq!(try_it("agent_trust", "other"), (true, "agent_trust".to_owned()));
}

#[test]
fn a_certificate_can_be_required() {
    let db = TestDb::new("required");
    let (home, _) = home(
        "tls: { cert: server.crt, key: server.key, client_ca: ca.crt, client_auth: required }\nclient_rules: [{ tls: required, method: relay }]\n",
    );
    let proxy = home.start(&db, ALLOW_ALL);
    let dsn = tls_dsn(&proxy, &db, &home, "agent_trust");
    assert!(psql(&(dsn.clone() + &shows(&home, "other")), "", "SELECT 1").0);
    let (worked, said) = psql(&dsn, "", "SELECT 1");
    assert!(!worked && said.contains("certificate required"), "{said}");
    let clear = format!("host=127.0.0.1 port={} dbname={} user=agent_trust sslmode=disable", proxy.port, db.name);
    assert!(psql(&clear, "", "SELECT 1").1.contains("no client rule for"));
}

#[test]
fn a_new_certificate_serves_new_connections_and_open_sessions_go_on() {
    let db = TestDb::new("renew");
    let (home, _) = home(TLS);
    let proxy = home.start(&db, ALLOW_ALL);
    let runtime = runtime();
    let old = roots(&home);
    let mut open = runtime.block_on(direct(&proxy, &db, old.clone(), Some(b"postgresql"))).unwrap();
    let renewed = Authority::new();
    renewed.write_root(&home.path("ca.crt"));
    renewed.issue_to(home.dir.path(), "server", "localhost", &["localhost"]);
    proxy.signal("HUP");
    proxy.wait_for_line("reloaded");
    assert!(psql(&tls_dsn(&proxy, &db, &home, "agent_trust"), "", "SELECT 1").0);
    assert!(runtime.block_on(direct(&proxy, &db, old, Some(b"postgresql"))).is_err());
    runtime.block_on(async {
        open.write_all(&conn::query("SELECT 'still here'")).await.unwrap();
        assert!(read_until(&mut open, b"still here").await);
    });
    // A certificate that does not fit its key changes nothing.
    home.write("server.key", "no key");
    proxy.signal("HUP");
    proxy.wait_for_line("nothing was reloaded");
    assert!(psql(&tls_dsn(&proxy, &db, &home, "agent_trust"), "", "SELECT 1").0);
}

#[test]
fn direct_tls_is_served_to_clients_that_name_the_protocol() {
    let db = TestDb::new("direct");
    let (home, _) = home(TLS);
    let proxy = home.start(&db, ALLOW_ALL);
    let runtime = runtime();
    let mut open = runtime.block_on(direct(&proxy, &db, roots(&home), Some(b"postgresql"))).unwrap();
    runtime.block_on(async {
        open.write_all(&conn::query("SELECT 'over TLS'")).await.unwrap();
        assert!(read_until(&mut open, b"over TLS").await);
    });
    for alpn in [None, Some(&b"http/1.1"[..])] {
        assert!(runtime.block_on(direct(&proxy, &db, roots(&home), alpn)).is_err());
    }
    // An SSLRequest inside of TLS is one too many.
    assert!(psql(&tls_dsn(&proxy, &db, &home, "agent_trust"), "", "SELECT 1").0);
}

#[test]
fn a_cancel_over_tls_ends_the_statement() {
    let db = TestDb::new("tlscancel");
    let (home, _) = home(TLS);
    let proxy = home.start(&db, ALLOW_ALL);
    let runtime = runtime();
    let connector = connector(roots(&home), Some(b"postgresql"));
    runtime.block_on(async {
        let (mut open, key) = session(&proxy, &db, &connector).await.unwrap();
        open.write_all(&conn::query("SELECT pg_sleep(60)")).await.unwrap();
        // A wrong key does nothing: the statement is still there to be cancelled.
        let wrong: Vec<u8> = key.iter().enumerate().map(|(at, byte)| if at < 4 { *byte } else { !byte }).collect();
        for key in [wrong, key] {
            crate::harness::eventually("the statement runs", || {
                let running =
                    "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'";
                (db.direct(running) == "1").then_some(())
            });
            let mut stream = tls(&proxy, &connector).await.unwrap();
            let packet =
                [&u32::try_from(key.len() + 8).unwrap().to_be_bytes()[..], &80_877_102_u32.to_be_bytes(), &key];
            stream.write_all(&packet.concat()).await.unwrap();
            // The end is a proper one: libpq takes any other for an attack.
            assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
        }
        assert!(read_until(&mut open, b"57014").await);
    });
}

/// DDL is held, and a result of more than ten rows is paused.
const HOLDS: &str = "version: 1\nrules:\n  - { name: ddl, match: { kind: ddl }, effect: hold }\n  \
     - { name: long, match: { kind: read }, effect: allow, limits: { rows: 10, on_limit: hold } }\ndefault: allow\n";

#[test]
fn a_cancel_over_tls_ends_what_is_held_and_what_is_paused_and_a_wrong_key_neither() {
    let db = TestDb::new("tlsheld");
    let (home, _) = home(TLS);
    let proxy = home.start(&db, HOLDS);
    let connector = connector(roots(&home), Some(b"postgresql"));
    runtime().block_on(async {
        for sql in ["CREATE TABLE t_cancelled (a int)", "SELECT id FROM orders"] {
            let (mut open, key) = session(&proxy, &db, &connector).await.unwrap();
            open.write_all(&conn::query(sql)).await.unwrap();
            let hold = proxy.api().wait_for_hold(sql);
            let [first @ .., last] = key.as_slice() else { panic!("a key") };
            let changed = [first, &[!last]].concat();
            let longer = [key.as_slice(), &key].concat();
            for wrong in [&changed, &longer, &first.to_vec()] {
                cancel(&proxy, &connector, wrong).await;
            }
            let id = hold["id"].as_str().unwrap();
            assert_eq!(proxy.api().get(&format!("/api/v1/holds/{id}"))["state"], "pending", "{sql}");
            cancel(&proxy, &connector, &key).await;
            assert!(read_until(&mut open, b"57014").await, "{sql}");
            crate::harness::eventually("the hold is withdrawn", || {
                (proxy.api().get(&format!("/api/v1/holds/{id}"))["state"] == "withdrawn").then_some(())
            });
        }
    });
    assert_eq!(db.direct("SELECT to_regclass('t_cancelled') IS NULL"), "t");
}

async fn cancel(proxy: &Proxy, connector: &TlsConnector, key: &[u8]) {
    let mut stream = tls(proxy, connector).await.unwrap();
    let packet = [&u32::try_from(key.len() + 8).unwrap().to_be_bytes()[..], &80_877_102_u32.to_be_bytes(), key];
    stream.write_all(&packet.concat()).await.unwrap();
    // To its end: the proxy has done then whatever it does.
    while matches!(stream.read(&mut [0; 64]).await, Ok(count) if count > 0) {}
}

#[test]
fn no_tls_session_is_resumed_so_that_every_client_certificate_is_looked_at() {
    let db = TestDb::new("resume");
    let (home, _) = home(TLS);
    let proxy = home.start(&db, ALLOW_ALL);
    // A connector keeps sessions as far as it is given any.
    let connector = connector(roots(&home), Some(b"postgresql"));
    runtime().block_on(async {
        for _ in 0..3 {
            let (mut open, _) = session(&proxy, &db, &connector).await.unwrap();
            open.write_all(&conn::query("SELECT 'read what the server sends'")).await.unwrap();
            assert!(read_until(&mut open, b"read what").await);
            assert_eq!(open.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        }
    });
}

#[test]
fn what_is_checked_of_an_upstream_is_what_libpq_checks() {
    let db = TestDb::new("upstream");
    let home = Home::new(&scram());
    let other = Authority::new();
    other.write_root(&home.path("other.crt"));
    let dsn = |more: &str| {
        format!("host=localhost hostaddr=127.0.0.1 port={} user=postgres dbname={} {more}", db.port, db.name)
    };
    let root = db.root.display().to_string();
    let wrong = home.path("other.crt").display().to_string();
    let by_address = format!("host=127.0.0.1 port={} user=postgres dbname={}", db.port, db.name);
    let cases = [
        (dsn("sslmode=require"), true),
        (dsn(&format!("sslmode=verify-ca sslrootcert={root}")), true),
        (dsn(&format!("sslmode=verify-full sslrootcert={root}")), true),
        (dsn(&format!("sslmode=verify-ca sslrootcert={wrong}")), false),
        (dsn(&format!("sslmode=verify-full sslrootcert={wrong}")), false),
        (dsn(&format!("sslmode=require sslrootcert={wrong}")), false),
        (dsn("sslrootcert=system"), false),
        (format!("{by_address} sslmode=verify-ca sslrootcert={root}"), true),
        (format!("{by_address} sslmode=verify-full sslrootcert={root}"), false),
    ];
    for (upstream, works) in cases {
        let proxy = home.start_to(&upstream, &db.name, ALLOW_ALL);
        let client = format!("host=127.0.0.1 port={} dbname={} user=copilot", proxy.port, db.name);
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let (worked, said) = psql(&client, PASSWORD, sql);
        assert_eq!((worked, said == "t"), (works, works), "{upstream}: {said}");
        assert_eq!(proxy.api().request("GET", "/readyz", None).0, if works { 200 } else { 503 }, "{upstream}");
    }
}

#[test]
fn a_principals_credential_may_be_a_certificate() {
    let db = TestDb::new("certcred");
    let root = db.root.clone();
    let dir = root.parent().unwrap();
    let home = Home::new(&format!(
        "principals:\n  - {{ name: copilot, role: agent_cert, scram: '{}', credential: {{ cert: {dir}/agent_cert.crt, key: \
         {dir}/agent_cert.key }} }}\n",
        verifier(PASSWORD),
        dir = dir.display()
    ));
    let upstream = format!(
        "host=localhost hostaddr=127.0.0.1 port={} user=postgres dbname={} sslmode=verify-full sslrootcert={}",
        db.port,
        db.name,
        root.display()
    );
    let proxy = home.start_to(&upstream, &db.name, ALLOW_ALL);
    let client = format!("host=127.0.0.1 port={} dbname={} user=copilot", proxy.port, db.name);
    assert_eq!(psql(&client, PASSWORD, "SELECT current_user"), (true, "agent_cert".to_owned()));
}

type Tls = tokio_rustls::client::TlsStream<TcpStream>;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn roots(home: &Home) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(home.path("ca.crt")).unwrap()).unwrap();
    Arc::new(roots)
}

fn connector(roots: Arc<RootCertStore>, alpn: Option<&[u8]>) -> TlsConnector {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let mut config =
        builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
    TlsConnector::from(Arc::new(config))
}

/// TLS from the first byte.
async fn tls(proxy: &Proxy, connector: &TlsConnector) -> std::io::Result<Tls> {
    let socket = TcpStream::connect(&proxy.postgres).await?;
    connector.connect(ServerName::try_from("localhost").unwrap(), socket).await
}

async fn direct(proxy: &Proxy, db: &TestDb, roots: Arc<RootCertStore>, alpn: Option<&[u8]>) -> std::io::Result<Tls> {
    session(proxy, db, &connector(roots, alpn)).await.map(|(stream, _)| stream)
}

/// A session over direct TLS, and its cancel key.
async fn session(proxy: &Proxy, db: &TestDb, connector: &TlsConnector) -> std::io::Result<(Tls, Vec<u8>)> {
    let mut stream = tls(proxy, connector).await?;
    stream.write_all(&conn::startup(&[("user", "agent_trust"), ("database", &db.name)])).await?;
    let mut key = Vec::new();
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        stream.read_exact(&mut body).await?;
        match head[0] {
            b'K' => key = body,
            b'Z' => return Ok((stream, key)),
            b'E' => return Err(std::io::Error::other(String::from_utf8_lossy(&body).into_owned())),
            _ => {}
        }
    }
}

async fn read_until(stream: &mut Tls, text: &[u8]) -> bool {
    let mut seen = Vec::new();
    while !seen.windows(text.len()).any(|window| window == text) {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => seen.extend_from_slice(&buffer[..count]),
            _ => return false,
        }
    }
    true
}

#[test]
fn bytes_in_clear_behind_an_ssl_request_are_refused_where_tls_is_on() {
    let db = TestDb::new("cleartls");
    let (home, _) = home(TLS);
    let proxy = home.start(&db, ALLOW_ALL);
    let mut conn = Conn::open(&proxy.postgres);
    let request = [&8_u32.to_be_bytes()[..], &80_877_103_u32.to_be_bytes()].concat();
    conn.send(&[request, conn::startup(&[("user", "postgres")])].concat());
    assert_eq!(conn.frame().unwrap().field(b'C'), "08P01");
    assert!(conn.is_closed());
}
