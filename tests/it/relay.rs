//! A client cannot tell the proxy from Postgres where nothing is held.

use std::process::Command;

use crate::harness::conn::{Conn, bind, execute, flush, frame, parse, query, sync};
use crate::harness::{ALLOW_ALL, Options, Proxy, TestDb};

/// Both ways in which nothing is held.
fn both(label: &str, test: impl Fn(&TestDb, &Proxy)) {
    for (suffix, options) in [
        ("o", Options { observe: true, ..Options::default() }),
        ("e", Options { policy: Some(ALLOW_ALL), ..Options::default() }),
    ] {
        let db = TestDb::new(&format!("{label}_{suffix}"));
        let proxy = Proxy::start(&db, options);
        test(&db, &proxy);
    }
}

fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn psql_scripts_give_the_same_output_as_directly() {
    let script = "SELECT 1 AS a; SELECT 2;\nSELECT nosuch;\nBEGIN; SELECT 1/0; SELECT 1; ROLLBACK;\n\
        DO $$ BEGIN RAISE NOTICE 'hello'; END $$;\nCREATE TABLE t (a int, b text);\n\
        COPY t FROM STDIN;\n1\tone\n2\ttwo\n\\.\nCOPY t TO STDOUT;\nCOPY nosuch FROM STDIN;\n\
        INSERT INTO t VALUES ('x');\n\\d t\nLISTEN c; NOTIFY c, 'payload';\nSELECT 1 \\; SELECT 2 \\; SELECT 3;\n\
        \\set FETCH_COUNT 3\nSELECT * FROM generate_series(1, 10);\nDROP TABLE t;\n";
    both("psql", |db, proxy| {
        let path = proxy.state.path().join("script.sql");
        std::fs::write(&path, script).unwrap();
        let path = path.to_str().unwrap();
        let hide_pid = |text: String| {
            let lines = text.lines().map(|line| line.split(" from server process").next().unwrap().to_owned());
            lines.collect::<Vec<_>>().join("\n")
        };
        let direct = run("psql", &["-X", "-d", &db.dsn(), "-f", path]);
        let through = run("psql", &["-X", "-d", &proxy.dsn("postgres"), "-f", path]);
        assert_eq!(hide_pid(through.1), hide_pid(direct.1));
    });
}

#[test]
fn pgbench_runs_in_all_three_protocol_modes() {
    both("pgbench", |_, proxy| {
        let (ok, text) = run("pgbench", &["-i", "-s", "1", "-q", &proxy.dsn("postgres")]);
        assert!(ok, "{text}");
        for mode in ["simple", "extended", "prepared"] {
            for script in [&["-N"][..], &["-S"][..], &[][..]] {
                let dsn = proxy.dsn("postgres");
                let arguments = [&["-n", "-M", mode, "-c", "4", "-t", "25"][..], script, &[dsn.as_str()]].concat();
                let (ok, text) = run("pgbench", &arguments);
                assert!(ok && text.contains("number of failed transactions: 0"), "{mode}: {text}");
            }
        }
    });
}

#[test]
fn a_dump_through_the_proxy_is_the_direct_one_and_restores() {
    both("dump", |db, proxy| {
        let clean = |text: String| {
            let lines =
                text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let direct = run("pg_dump", &["-d", &db.dsn()]);
        let through = run("pg_dump", &["-d", &proxy.dsn("postgres")]);
        assert!(through.0, "{}", through.1);
        assert_eq!(clean(through.1), clean(direct.1));
        let file = proxy.state.path().join("dump");
        let file = file.to_str().unwrap();
        assert!(run("pg_dump", &["-Fc", "-f", file, "-d", &proxy.dsn("postgres")]).0);
        let before = db.direct("SELECT sum(total) FROM orders");
        db.direct("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        let (ok, text) = run("pg_restore", &["-d", &proxy.dsn("postgres"), file]);
        assert!(ok, "{text}");
        assert_eq!(db.direct("SELECT sum(total) FROM orders"), before);
    });
}

#[test]
fn log_ins_are_relayed_and_a_wrong_password_gives_the_servers_own_error() {
    let db = TestDb::new("auth");
    let proxy = Proxy::start(&db, Options { policy: Some(ALLOW_ALL), ..Options::default() });
    for role in ["agent_trust", "agent_password", "agent_md5", "agent_scram"] {
        let login = |address: &str, password: &str| {
            let (host, port) = address.split_once(':').unwrap();
            let output = Command::new("psql")
                .args(["-X", "-At", "-h", host, "-p", port, "-U", role, "-d", &db.name, "-c", "SELECT current_user"])
                .env("PGPASSWORD", password)
                .env("PGSSLMODE", "disable")
                .output()
                .unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
            (text(&output.stdout), text(&output.stderr).replace(port, "PORT"))
        };
        let direct = format!("127.0.0.1:{}", db.port);
        assert_eq!(login(&proxy.postgres, "correct horse").0, role);
        if role != "agent_trust" {
            assert_eq!(login(&proxy.postgres, "wrong"), login(&direct, "wrong"), "{role}");
        }
    }
    let unknown = proxy.dsn("nobody_here");
    assert!(run("psql", &["-X", "-d", &unknown, "-c", "SELECT 1"]).1.contains("role \"nobody_here\" does not exist"));
}

#[test]
fn a_database_that_is_not_served_is_3d000() {
    let db = TestDb::new("served");
    let proxy = Proxy::start(&db, Options::default());
    let mut conn = Conn::open(&proxy.postgres);
    conn.send(&crate::harness::conn::startup(&[("user", "postgres"), ("database", "postgres")]));
    assert_eq!(conn.frame().unwrap().field(b'C'), "3D000");
}

#[test]
fn a_cancel_reaches_the_running_statement_and_the_pid_is_the_backends() {
    both("cancel", |_, proxy| {
        let client = proxy.connect();
        let token = client.inner.cancel_token();
        let other = proxy.connect();
        let canceller = std::thread::spawn(move || {
            crate::harness::eventually("the statement runs", || {
                let running =
                    "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'";
                (other.query(running).unwrap() == ["1"]).then_some(())
            });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(token.cancel_query(tokio_postgres::NoTls)).unwrap();
        });
        assert_eq!(client.fails("SELECT pg_sleep(60)").0, "57014");
        canceller.join().unwrap();
        assert_eq!(client.query("SELECT 1").unwrap(), ["1"]);
    });
}

#[test]
fn copy_in_both_protocols_and_notifications_pass() {
    both("copy", |_, proxy| {
        use futures_util::{SinkExt, TryStreamExt, pin_mut};
        let client = proxy.connect();
        client.wait(async {
            let sink = client.inner.copy_in("COPY orders FROM STDIN").await.unwrap();
            pin_mut!(sink);
            for id in 0..1000 {
                let line = format!("{}\t1\t5\n", 1_000_000 + id);
                sink.send(bytes::Bytes::from(line)).await.unwrap();
            }
            assert_eq!(sink.finish().await.unwrap(), 1000);
            let rows: Vec<bytes::Bytes> = client
                .inner
                .copy_out("COPY (SELECT id FROM orders WHERE id >= 1000000) TO STDOUT")
                .await
                .unwrap()
                .try_collect()
                .await
                .unwrap();
            assert_eq!(rows.len(), 1000);
        });
    });
}

/// The same bytes directly and through the proxy give the same reply tags, errors and statuses.
#[test]
fn sequences_of_messages_get_the_replies_of_postgres() {
    let close = |name: &str| frame('C', &[b"S", name.as_bytes(), b"\0"].concat());
    let describe = |name: &str| frame('D', &[b"S", name.as_bytes(), b"\0"].concat());
    let copy_data = |text: &str| frame('d', text.as_bytes());
    let scripts: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("empty query", vec![query("")]),
        ("multi", vec![query("SELECT 1; SELECT 2; SELECT 1/0; SELECT 3")]),
        ("extended", vec![[parse("", "SELECT 1"), describe(""), bind("", ""), execute("", 0), sync()].concat()]),
        (
            "slices",
            vec![
                [
                    parse("", "SELECT generate_series(1, 5)"),
                    bind("p", ""),
                    execute("p", 2),
                    execute("p", 2),
                    execute("p", 0),
                    sync(),
                ]
                .concat(),
            ],
        ),
        (
            "skip to sync",
            vec![
                [parse("a", "SELECT nosuch"), parse("b", "SELECT 1"), bind("", "b"), execute("", 0), sync()].concat(),
                [bind("", "b"), execute("", 0), sync()].concat(),
                [parse("b", "SELECT 1"), bind("", "b"), execute("", 0), sync()].concat(),
                [close("b"), bind("", "b"), sync()].concat(),
            ],
        ),
        ("flush", vec![[parse("", "SELECT 1"), flush(), bind("", ""), flush(), execute("", 0), sync()].concat()]),
        ("two syncs", vec![[sync(), sync(), query("SELECT 1")].concat()]),
        ("query inside of a batch", vec![[parse("", "SELECT 1"), bind("", ""), query("SELECT 2"), sync()].concat()]),
        (
            "copy in",
            vec![
                query("CREATE TEMP TABLE c (a int)"),
                [query("COPY c FROM STDIN"), copy_data("1\n2\n"), frame('c', b"")].concat(),
                [query("COPY c FROM STDIN"), copy_data("1\n"), frame('f', b"no\0")].concat(),
                [query("COPY c FROM STDIN"), copy_data("x\n"), frame('c', b"")].concat(),
                [query("COPY nosuch FROM STDIN"), copy_data("1\n"), frame('c', b"")].concat(),
                [query("COPY c FROM STDIN"), query("SELECT 7")].concat(),
                [query("COPY c FROM STDIN"), copy_data("y\n"), query("SELECT 8")].concat(),
                [
                    parse("", "COPY c FROM STDIN"),
                    bind("", ""),
                    execute("", 0),
                    copy_data("3\n"),
                    frame('c', b""),
                    sync(),
                ]
                .concat(),
                query("SELECT * FROM c"),
            ],
        ),
        ("transaction", vec![[query("BEGIN"), query("SELECT 1/0"), query("SELECT 1"), query("ROLLBACK")].concat()]),
        (
            "sql cursor by portal",
            vec![
                query("BEGIN"),
                query("DECLARE k CURSOR FOR SELECT generate_series(1, 4)"),
                [execute("k", 2), sync()].concat(),
                query("COMMIT"),
            ],
        ),
        ("function call", vec![frame('F', &[&1610_u32.to_be_bytes()[..], &[0, 0, 0, 0, 0, 0]].concat())]),
        ("bad describe", vec![[frame('D', b"X\0"), sync()].concat(), query("SELECT 1")]),
        ("bad bind", vec![[frame('B', b"\0"), sync()].concat(), query("SELECT 1")]),
        ("close of nothing", vec![[close("nothing"), frame('C', b"Pnothing\0"), sync()].concat()]),
    ];
    both("script", |db, proxy| {
        for (name, steps) in &scripts {
            let mut direct = Conn::session(&format!("127.0.0.1:{}", db.port), &db.name);
            let mut through = Conn::session(&proxy.postgres, &db.name);
            for (at, step) in steps.iter().enumerate() {
                // A query behind a finished one makes every step end with a status of its own.
                let marker = query("SELECT 'marker'");
                let bytes = [step.clone(), marker].concat();
                direct.send(&bytes);
                through.send(&bytes);
                let expected = until_marker(&mut direct);
                assert_eq!(until_marker(&mut through), expected, "{name}, step {at}");
            }
        }
    });
}

fn until_marker(conn: &mut Conn) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(frame) = conn.frame() {
        let marked = frame.tag == 'D' && frame.body.ends_with(b"marker");
        if !matches!(frame.tag, 'S' | 'A') {
            let what = match frame.tag {
                'E' | 'N' => format!("{} {} {}", frame.tag, frame.field(b'C'), frame.field(b'M')),
                tag => format!("{tag} {:?}", frame.body),
            };
            seen.push(what);
        }
        if marked {
            conn.until('Z');
            break;
        }
    }
    seen
}

#[test]
fn a_client_that_says_goodbye_is_told_nothing_more() {
    both("goodbye", |db, proxy| {
        for address in [format!("127.0.0.1:{}", db.port), proxy.postgres.clone()] {
            let mut conn = Conn::session(&address, &db.name);
            conn.send(&query("SELECT 1"));
            assert_eq!(conn.tags(), "TDCZI");
            conn.send(&frame('X', b""));
            assert_eq!(conn.frame(), None);
        }
    });
}
