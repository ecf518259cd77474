//! The admin database, spoken to by a driver.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::serve;
use crate::approvals::HoldState;
use crate::control::tests::{ADA, EVE, Room, hold, room};
use crate::lineage::Event;
use crate::wire::startup::{self, Startup};

/// The admin database on a port of its own: what the server does before it routes here.
async fn listening(room: &Room) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let control = room.control.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(accept(stream, control.clone()));
        }
    });
    port
}

async fn accept(mut stream: TcpStream, control: crate::control::Control) {
    loop {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await.unwrap();
        let mut body = vec![0; startup::packet_len(head).unwrap() - 4];
        stream.read_exact(&mut body).await.unwrap();
        if let Startup::Session(parameters) = startup::read(&body).unwrap() {
            // How it ends is what the client sees.
            let _ = serve(stream, &parameters, control).await;
            return;
        }
        // A request for encryption.
        stream.write_all(b"N").await.unwrap();
    }
}

fn config(port: u16, user: &str, token: &str) -> Config {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .user(user)
        .password(token)
        .dbname("holdgate")
        .ssl_mode(tokio_postgres::config::SslMode::Disable);
    config
}

async fn connected(room: &Room, user: &str, token: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config(listening(room).await, user, token).connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The rows of a simple query, each cell as text.
async fn rows(client: &Client, text: &str) -> Result<Vec<Vec<String>>, tokio_postgres::Error> {
    let messages = client.simple_query(text).await?;
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|n| row.get(n).unwrap_or_default().to_owned()).collect::<Vec<_>>())
        }
        _ => None,
    };
    Ok(messages.into_iter().filter_map(row).collect())
}

fn code(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("", SqlState::code)
}

#[tokio::test]
async fn a_dba_reads_a_hold_and_approves_it() {
    let room = room();
    let id = room.park(hold()).await;
    let client = connected(&room, "ada", ADA).await.unwrap();
    let listed = rows(&client, "SHOW HOLDS;").await.unwrap();
    assert_eq!((listed[0][0].as_str(), listed[0][1].as_str()), (id.as_str(), "pending"));
    let card = rows(&client, &format!("show hold '{id}'")).await.unwrap();
    assert!(card.contains(&vec!["statement".to_owned(), hold().statement]));
    let decided = rows(&client, &format!("APPROVE '{id}' 'seen'")).await.unwrap();
    assert_eq!(decided[0][..3], [id.to_string(), "approved".to_owned(), "1 of 1".to_owned()]);
    let error = rows(&client, &format!("DENY '{id}' 'too late'")).await.unwrap_err();
    assert_eq!(code(&error), "55000");
    assert_eq!(room.sink.events()[0], Event::Operator);
}

#[tokio::test]
async fn a_driver_decides_by_the_extended_protocol_with_parameters() {
    let room = room();
    let id = room.park(hold()).await;
    let client = connected(&room, "ada", ADA).await.unwrap();
    let deny = client.prepare("DENY $1 $2").await.unwrap();
    assert_eq!(deny.params().len(), 2);
    let decided = client.query_one(&deny, &[&id.as_str(), &"not on a Friday"]).await.unwrap();
    assert_eq!(decided.get::<_, &str>("state"), "denied");
    let listed = client.query("SHOW HOLDS ALL", &[]).await.unwrap();
    assert_eq!(listed.len(), 1);
    let hold = room.approvals.get(&id).await.unwrap().unwrap();
    assert_eq!(hold.decision.unwrap().reason.as_deref(), Some("not on a Friday"));
}

#[tokio::test]
async fn after_an_error_the_connection_stays_usable_in_both_protocols() {
    let room = room();
    let client = connected(&room, "ada", ADA).await.unwrap();
    let error = rows(&client, "SELECT * FROM pg_catalog.pg_class").await.unwrap_err();
    assert_eq!(code(&error), "42601");
    assert!(error.as_db_error().unwrap().hint().unwrap().contains("SHOW HELP"));
    let error = client.query("APPROVE $1", &[&"0000000000"]).await.unwrap_err();
    assert_eq!(code(&error), "42704");
    let error = client.prepare("SHOW HOLDS; SHOW HELP").await.unwrap_err();
    assert_eq!(code(&error), "42601");
    assert_eq!(client.query("SHOW VERSION", &[]).await.unwrap().len(), 1);
    assert_eq!(rows(&client, "").await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_transaction_of_the_drivers_is_taken_and_takes_nothing_back() {
    let room = room();
    let id = room.park(hold()).await;
    let mut client = connected(&room, "ada", ADA).await.unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction.execute("APPROVE $1", &[&id.as_str()]).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(room.approvals.get(&id).await.unwrap().unwrap().state, HoldState::Approved);
}

#[tokio::test]
async fn nobody_enters_without_the_token_of_an_operator() {
    let room = room();
    for (user, token, expected) in [("ada", EVE, "28P01"), ("app", ADA, "28000")] {
        let error = connected(&room, user, token).await.unwrap_err();
        assert_eq!(code(&error), expected, "{user}");
    }
    room.sink.broken.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(code(&connected(&room, "ada", ADA).await.unwrap_err()), "58030");
}

#[tokio::test]
async fn a_viewer_and_the_human_behind_the_agent_do_not_decide() {
    let room = room();
    let mut own = hold();
    own.principal.human = Some("ada@example.com".to_owned());
    let id = room.park(own).await;
    for (user, token) in [("ada", ADA), ("eve", EVE)] {
        let client = connected(&room, user, token).await.unwrap();
        let error = rows(&client, &format!("APPROVE '{id}'")).await.unwrap_err();
        assert_eq!(code(&error), "42501", "{user}");
    }
    assert_eq!(room.approvals.get(&id).await.unwrap().unwrap().state, HoldState::Pending);
}

#[tokio::test]
async fn a_hostile_statement_is_shown_harmless() {
    let room = room();
    let mut hostile = hold();
    hostile.statement = "DROP TABLE a --\u{1b}[1A\nid | harmless".to_owned();
    hostile.principal.name = "x\u{202e}y".to_owned();
    let id = room.park(hostile).await;
    let client = connected(&room, "ada", ADA).await.unwrap();
    for text in ["SHOW HOLDS".to_owned(), format!("SHOW HOLD '{id}'")] {
        let cells = rows(&client, &text).await.unwrap().concat().concat();
        assert!(cells.contains("\\u{001b}") && !cells.contains(['\u{1b}', '\u{202e}', '\n']), "{cells}");
    }
}

#[tokio::test]
async fn help_lists_every_command_of_the_table() {
    let room = room();
    let client = connected(&room, "eve", EVE).await.unwrap();
    let help = rows(&client, "SHOW HELP").await.unwrap();
    assert_eq!(help.len(), super::command::COMMANDS.len());
    for command in ["SHOW SESSIONS", "SHOW CONFIG", "SHOW VERSION"] {
        rows(&client, command).await.unwrap();
    }
}

#[tokio::test]
async fn psql_reads_and_decides_and_its_own_queries_fail_without_harm() {
    let room = room();
    let id = room.park(hold()).await;
    let port = listening(&room).await.to_string();
    let script = format!("\\d\nSHOW HOLDS;\nAPPROVE '{id}' 'seen';\n");
    let run = move || {
        let mut psql = std::process::Command::new("psql");
        psql.args(["-X", "-A", "-t", "-h", "127.0.0.1", "-p", &port, "-U", "ada", "-d", "holdgate"]);
        psql.env("PGPASSWORD", ADA).stdin(std::process::Stdio::piped());
        psql.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = psql.spawn().expect("psql is needed: install postgresql-client");
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(&format!("{id}|pending")) && said.contains(&format!("{id}|approved|1 of 1")), "{said}");
    assert!(failed.contains("this is no command of the admin database"), "{failed}");
}

#[tokio::test]
async fn garbage_and_oversized_frames_end_that_connection_alone() {
    let room = room();
    let port = listening(&room).await;
    for garbage in [&b"\x01\0\0\0\x04"[..], &b"p\x7f\xff\xff\xff"[..], &b"p\0\0\0\x05x"[..]] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut hello = bytes::BytesMut::new();
        let parameters = startup::Parameters { minor: 0, pairs: vec![(b"user".to_vec(), b"ada".to_vec())] };
        crate::wire::build::startup(&mut hello, &parameters);
        stream.write_all(&hello).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(String::from_utf8_lossy(&answer).contains("08P01"));
    }
    let client = config(port, "ada", ADA).connect(NoTls).await;
    assert!(client.is_ok());
}
